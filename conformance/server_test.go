package conformance

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/deferd/deferd/conformance/model/journal"
)

const (
	image = "local/model:1"

	// patience bounds every wait for something that takes moments, so that a
	// broken server fails a test instead of stopping it.
	patience = 60 * time.Second

	// tick is how often a thing outside of this process is looked at.
	tick = 20 * time.Millisecond
)

// The programs under test, made by TestMain.
var deferdProgram, modelProgram string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "deferd-conformance")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	deferdProgram, modelProgram = filepath.Join(dir, "deferd"), filepath.Join(dir, "model")
	for program, source := range map[string]string{deferdProgram: "../cmd/deferd", modelProgram: "./model"} {
		build := exec.Command("go", "build", "-buildvcs=false", "-o", program, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", source, err, out)
			return 1
		}
	}
	return m.Run()
}

// A server is a running "deferd serve", and what outlives it: its data, the
// list of images, and the journal of its models.
type server struct {
	t       *testing.T
	dir     string
	disk    string          // what holds the data; dir if empty
	prepare func(*exec.Cmd) // sees the program before it starts; may be nil
	args    []string        // beyond those that every server is started with
	env     []string        // beyond the environment of the test
	url     string          // of the AWS services
	console string          // of the second listener

	cmd  *exec.Cmd
	gone chan error // what cmd.Wait said
}

// startServer starts a server whose only image is the test model, with the
// model's environment.
func startServer(t *testing.T, modelEnv ...string) *server {
	t.Helper()
	s := newServer(t, modelEnv...)
	s.start()
	return s
}

// newServer prepares a server that is not started yet.
func newServer(t *testing.T, modelEnv ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir()}
	s.writeImages(modelEnv)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			s.showLog()
		}
	})
	return s
}

func (s *server) writeImages(modelEnv []string) {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "images:\n  %s:\n    command: [%q]\n    env:\n", image, modelProgram)
	for _, e := range append(modelEnv, "MODEL_JOURNAL="+s.journalFile()) {
		key, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&b, "      %s: %q\n", key, value)
	}
	if err := os.WriteFile(s.imagesFile(), []byte(b.String()), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) data() string        { return filepath.Join(cmp.Or(s.disk, s.dir), "data") }
func (s *server) imagesFile() string  { return filepath.Join(s.dir, "images.yaml") }
func (s *server) journalFile() string { return filepath.Join(s.dir, "journal") }
func (s *server) logFile() string     { return filepath.Join(s.dir, "deferd.log") }

var readyLine = regexp.MustCompile(`^deferd: listening on (https?://\S+) \(console (http://\S+)\)$`)

// start starts the program and returns when it says that it listens.
func (s *server) start() {
	s.t.Helper()
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(deferdProgram, append([]string{"serve",
		"--data", s.data(), "--images", s.imagesFile(), "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0"}, s.args...)...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if s.prepare != nil {
		s.prepare(cmd)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.gone = cmd, make(chan error, 1)
	ready := make(chan []string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m
			}
		}
		io.Copy(io.Discard, stdout)
		s.gone <- cmd.Wait()
	}()
	select {
	case m := <-ready:
		s.url, s.console = m[1], m[2]
	case err := <-s.gone:
		s.cmd = nil
		s.t.Fatalf("deferd serve ended before it was ready: %v", err)
	case <-time.After(patience):
		s.t.Fatalf("deferd serve was not ready after %v", patience)
	}
}

// kill ends the server as a power cut does. It does nothing when none runs.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.gone
	s.cmd = nil
}

// stop ends the server in order.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.gone:
		s.cmd = nil
		if err != nil {
			s.t.Errorf("after SIGTERM: %v, want exit status 0", err)
		}
	case <-time.After(patience):
		s.t.Fatalf("the server did not stop within %v of SIGTERM", patience)
	}
}

func (s *server) showLog() {
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		s.t.Log(err)
		return
	}
	const tail = 8 << 10
	s.t.Logf("the end of the server's log:\n%s", log[max(0, len(log)-tail):])
}

// command runs another verb of the program and returns what it printed.
func (s *server) command(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(deferdProgram, args...)
	cmd.Env = append(os.Environ(), s.environment()...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		s.t.Fatalf("deferd %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// environment returns the variables that "deferd env" exports, which are all
// that an AWS client needs.
func (s *server) environment() []string {
	s.t.Helper()
	out, err := exec.Command(deferdProgram, "env", "--data", s.data()).Output()
	if err != nil {
		s.t.Fatalf("deferd env: %v", err)
	}
	var env []string
	for line := range strings.Lines(string(out)) {
		exported, ok := strings.CutPrefix(strings.TrimSpace(line), "export ")
		if !ok {
			continue
		}
		key, value, _ := strings.Cut(exported, "=")
		env = append(env, key+"="+strings.Trim(value, `'"`))
	}
	if want := "AWS_ENDPOINT_URL=" + s.url; !slices.Contains(env, want) {
		s.t.Fatalf("deferd env exports %q, want %s among it", env, want)
	}
	return env
}

// awsConfig returns what the Go SDK reads from that environment.
func (s *server) awsConfig() aws.Config {
	s.t.Helper()
	env := map[string]string{}
	for _, e := range s.environment() {
		key, value, _ := strings.Cut(e, "=")
		env[key] = value
	}
	for _, key := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if env[key] == "" {
			s.t.Fatalf("deferd env does not export %s", key)
		}
	}
	return aws.Config{
		Region:       env["AWS_REGION"],
		BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]),
		Credentials:  credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ""),
	}
}

// journal returns the entries of the models' journal that are of the event.
func (s *server) journal(event journal.Event) []journal.Entry {
	s.t.Helper()
	entries, err := journal.Read(s.journalFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	var found []journal.Entry
	for _, e := range entries {
		if e.Event == event {
			found = append(found, e)
		}
	}
	return found
}

// starts counts how often each inference ID has come to a model.
func (s *server) starts() map[string]int {
	s.t.Helper()
	n := map[string]int{}
	for _, e := range s.journal(journal.Start) {
		n[e.ID]++
	}
	return n
}

// awaitNoModels waits until no process of a model, worker or not, listens any
// more.
func (s *server) awaitNoModels() {
	s.t.Helper()
	for _, e := range s.journal(journal.Listening) {
		await(s.t, fmt.Sprintf("the end of the model process %d at %s", e.PID, e.Address), func() bool {
			c, err := net.Dial("tcp", e.Address)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
	}
}

// await waits until done says so: the only way to learn of an event in another
// process that tells nobody.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		case <-time.After(tick):
		}
	}
}
