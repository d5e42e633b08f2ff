// Package step runs the steps of a walk and prints how each went, in the way
// that the conformance tests read.
package step

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// Patience bounds every wait.
const Patience = 60 * time.Second

// Account is the account of the server.
const Account = "000000000000"

// Name returns what the names of everything that a walk makes begin with.
func Name() string { return os.Getenv("DEFERD_WALK_NAME") }

// Image returns the image of the test model.
func Image() string { return os.Getenv("DEFERD_WALK_IMAGE") }

// A Step is one row of the table of clients.
type Step struct {
	Name string
	Run  func() error
}

// Absent says why a client has no such thing.
type Absent string

func (a Absent) Error() string { return string(a) }

// Run runs the steps in order and exits with status 1 after the first that
// fails.
func Run(client, version string, steps []Step) {
	fmt.Println("client", client, version)
	for _, s := range steps {
		started := time.Now()
		err := s.Run()
		if absent, ok := errors.AsType[Absent](err); ok {
			fmt.Println("step", s.Name, "absent", line(string(absent)))
			continue
		}
		if err != nil {
			fmt.Println("step", s.Name, "failed", line(err.Error()))
			os.Exit(1)
		}
		fmt.Printf("step %s ok %.2f\n", s.Name, time.Since(started).Seconds())
	}
}

func line(s string) string { return strings.Join(strings.Fields(s), " ") }

// Version returns the version of the module that this program was built with.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return "unknown"
}

// Equal returns an error unless got is what is wanted.
func Equal[T comparable](what string, got, want T) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s: got %s, want %s", what, short(got), short(want))
}

// Contains returns an error unless part is in text.
func Contains(what, text, part string) error {
	if strings.Contains(text, part) {
		return nil
	}
	return fmt.Errorf("%s: got %s, want %q in it", what, short(text), part)
}

func short(v any) string {
	const most = 400
	s := fmt.Sprintf("%#v", v)
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

// Until asks every moment until done, an error, or the end of patience.
func Until(what string, ask func() (done bool, err error)) error {
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if done, err := ask(); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("there is no %s after %v", what, Patience)
}
