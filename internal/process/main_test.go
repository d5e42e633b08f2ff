package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/runtimetest"
)

// TestMain makes this binary everything that the tests run: the shim, models
// and another server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case ShimVerb:
			os.Exit(ShimMain(os.Args[2:]))
		case "model":
			os.Exit(modelMain(os.Args[2], os.Args[3]))
		case "server":
			os.Exit(serverMain(os.Args[2]))
		case "server of the hungry":
			os.Exit(hungryServerMain(os.Args[2]))
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	coverage, err := os.MkdirTemp("", "deferd-coverage-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(coverage) }()
	quiet["GOCOVERDIR"] = coverage
	return m.Run()
}

// quiet is an environment in which instrumented processes neither linger when
// they end (the race detector) nor print warnings (coverage).
var quiet = map[string]string{"GORACE": "atexit_sleep_ms=0"}

// modelMain is a model. Its argument is a path or an address.
func modelMain(behaviour, argument string) int {
	port := os.Getenv(portVariable)
	switch behaviour {
	case "environ": // writes its environment to a file
		data, _ := json.Marshal(os.Environ())
		_ = os.WriteFile(argument, data, 0o600)
	case "family": // has a worker in its group and a daemon in a session of its own
		pids := []int{os.Getpid(), spawn(&syscall.SysProcAttr{}), spawn(&syscall.SysProcAttr{Setsid: true})}
		data, _ := json.Marshal(pids)
		_ = os.WriteFile(argument, data, 0o600)
		return runtimetest.Serve(context.Background(), port)
	case "waits": // for nothing, deaf to SIGTERM
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "asks": // tells the test its port before it listens
		response, err := http.Get(argument + "?port=" + port)
		if err != nil {
			return 1
		}
		_ = response.Body.Close()
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "hungry": // takes all the memory there is
		for hoard := [][]byte{}; ; {
			hoard = append(hoard, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "model data": // wants a file in its model data
		if _, err := os.Stat(filepath.Join(os.Getenv("SM_MODEL_DIR"), argument)); err != nil {
			return 1
		}
	case "stateful": // takes away permissions that removal needs
		dir := filepath.Join(os.Getenv("HOME"), "locked")
		_ = os.MkdirAll(filepath.Join(dir, "inner"), 0o700)
		_ = os.Chmod(dir, 0o500)
	default:
		return runtimetest.Model(runtimetest.Behaviour(behaviour))
	}
	return runtimetest.Model(runtimetest.Serves)
}

// spawn starts a process that never ends by itself.
func spawn(attr *syscall.SysProcAttr) int {
	cmd := exec.Command(os.Args[0], "model", "waits", "")
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return cmd.Process.Pid
}

// serverMain is a server with one instance of family in dir. It says when the
// instance runs.
func serverMain(dir string) int {
	r, err := New(Options{Dir: dir, Images: familyImages(dir), Install: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	events := r.Watch(context.Background())
	if err := r.Start(context.Background(), specOf("a", "family")); err != nil {
		fmt.Println(err)
		return 1
	}
	for e := range events {
		if e.Phase == deferd.PhaseRunning {
			fmt.Println("running")
		}
	}
	return 0
}

// hungryServerMain is a server with one instance of hungry. It starts it when
// its input ends, and says how the instance ended.
func hungryServerMain(dir string) int {
	_, _ = io.Copy(io.Discard, os.Stdin)
	hungry := images("hungry", []string{os.Args[0], "model", "hungry", ""})
	r, err := New(Options{Dir: dir, Images: hungry, Install: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	events := r.Watch(context.Background())
	if err := r.Start(context.Background(), specOf("a", "hungry")); err != nil {
		fmt.Println(err)
		return 1
	}
	for e := range events {
		if e.Phase == deferd.PhaseGone {
			return exitCodeOf(json.NewEncoder(os.Stdout).Encode(e.Exit))
		}
	}
	return 1
}

func exitCodeOf(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

func familyImages(dir string) *ImageFile {
	return images("family", []string{os.Args[0], "model", "family", filepath.Join(dir, "pids")})
}

// images lists one image whose name is the behaviour's.
func images(name string, command []string) *ImageFile {
	dir, _ := os.Getwd()
	return &ImageFile{path: "/nowhere", images: Images{name: {Command: command, Dir: dir, Env: quiet}}}
}

func specOf(id deferd.InstanceID, image string) deferd.InstanceSpec {
	return deferd.InstanceSpec{ID: id, Endpoint: "an-endpoint", Variant: "AllTraffic", Image: image}
}

// open returns a Runtime that knows the model of one behaviour under its name.
// Its instances end with the test.
func open(t *testing.T, behaviour, argument string, change func(*Options)) *Runtime {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Dir:     t.TempDir(),
		Images:  images(behaviour, []string{program, "model", behaviour, argument}),
		Install: t.TempDir(), // unique
		Logger:  slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.mu.Lock()
		for _, i := range r.instances {
			i.terminate(0)
		}
		r.mu.Unlock()
		r.running.Wait()
	})
	return r
}

const limit = time.Minute

// await returns the next event, which must be of a phase.
func await(t *testing.T, events <-chan deferd.InstanceEvent, phase deferd.Phase) deferd.InstanceEvent {
	t.Helper()
	select {
	case e := <-events:
		if e.Phase != phase {
			t.Fatalf("got event %+v, want phase %d", e, phase)
		}
		return e
	case <-time.After(limit):
		t.Fatalf("no event, want phase %d", phase)
	}
	panic("unreachable")
}

// start starts instance "a" and returns the events after it.
func start(t *testing.T, r *Runtime, spec deferd.InstanceSpec) <-chan deferd.InstanceEvent {
	t.Helper()
	events := r.Watch(t.Context())
	if err := r.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	await(t, events, deferd.PhaseStarting)
	return events
}

func readJSON[T any](t *testing.T, path string) T {
	t.Helper()
	var value T
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// startServer starts another server in dir, and returns it and its family when
// its instance runs.
func startServer(t *testing.T, dir string) (*exec.Cmd, []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "server", dir)
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(output)
	line, err := lines.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "running" {
		rest, _ := io.ReadAll(lines)
		t.Fatalf("the server says %q, %v", line+string(rest), err)
	}
	return cmd, readJSON[[]int](t, filepath.Join(dir, "pids"))
}

func TestSuite(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runtimetest.Run(t, func(t *testing.T) runtimetest.Subject {
		r := open(t, "", "", func(o *Options) {
			o.Images.images = Images{}
			for _, b := range runtimetest.Behaviours() {
				o.Images.images[string(b)+":1"] = Image{Command: []string{program, "model", string(b), ""}, Env: quiet}
			}
		})
		return runtimetest.Subject{
			Runtime: r,
			Image:   func(b runtimetest.Behaviour) string { return string(b) + ":1" },
		}
	})
}
