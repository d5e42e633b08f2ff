package torture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	image      = "local/torture:1"
	bucket     = "torture"
	startLimit = 60 * time.Second // for a server to become ready, and to stop in order
)

// A world is a server as a child process, and what outlives it.
type world struct {
	program string // of server and model: this one
	verb    string // under which it is the model
	dir     string
	data    string // the server's
	log     *slog.Logger
	api     string // host:port
	console string

	external *external // holds the objects; nil for the server itself

	mu    sync.Mutex // guards the rest
	child *child

	weather []string
	slept   time.Duration // so long the machine seems to have slept
	off     time.Duration // so far its wall clock seems to be off
	boots   int           // so often it seems to have booted
}

// A child is one life of the server.
type child struct {
	cmd   *exec.Cmd
	ready chan struct{} // gets a token once it listens
	gone  chan struct{} // closed once it has ended, with err
	err   error
}

func newWorld(c Config) (*world, error) {
	w := &world{program: c.Program, verb: c.ModelVerb, dir: c.Dir, data: c.Data, log: c.Logger}
	for _, d := range []string{w.dir, w.data, w.path(onceDir), w.path(lockDir)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	var err error
	if w.api, err = freeAddress(); err != nil {
		return nil, err
	}
	if w.console, err = freeAddress(); err != nil {
		return nil, err
	}
	if c.Options.ExternalS3 {
		if w.external, err = newExternal(c); err != nil {
			return nil, err
		}
	}
	if err := w.setWeather(nil); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("images:\n  %s:\n    command: [%q, %s]\n    env:\n      %s: %q\n", image, w.program, w.verb, dirVariable, w.dir)
	return w, os.WriteFile(w.path("images.yaml"), []byte(text), 0o644)
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }
func (w *world) url() string             { return "http://" + w.api }

// freeAddress finds a port that stays the server's over its lives. It is below
// those that systems give to outgoing connections.
func freeAddress() (string, error) {
	var last error
	for range 100 {
		a := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(18000))
		l, err := net.Listen("tcp", a)
		if err == nil {
			return a, l.Close()
		}
		last = err
	}
	return "", fmt.Errorf("find a free port: %w", last)
}

// setWeather tells the server what its stores are to do from now on.
func (w *world) setWeather(lines []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.weather = lines
	return w.order()
}

// setClock tells the server what its machine's clocks seem to say.
func (w *world) setClock(change func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	return w.order()
}

// order writes the server's orders down. The caller holds mu.
func (w *world) order() error {
	lines := append([]string{
		fmt.Sprintf("slept %v", w.slept), fmt.Sprintf("off %v", w.off), fmt.Sprintf("boots %d", w.boots),
		"slotwait 3s", // the usual minute would outlast most lives of the server
	}, w.weather...)
	name := w.path("faults")
	if err := os.WriteFile(name+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// startTries is how often a server is started that ends at once: a process that
// the killed one was just about to start may hold its ports for a moment, and
// its disk may be full.
const startTries = 20

// start starts the server and returns when it is ready.
func (w *world) start(ctx context.Context) (err error) {
	for range startTries {
		if err = w.startOnce(ctx); !errors.Is(err, errEnded) {
			return err
		}
		w.log.Warn("the server did not start", "err", err)
		sleepUntil(ctx, time.Now().Add(300*time.Millisecond))
	}
	return err
}

func (w *world) startOnce(ctx context.Context) error {
	if err := w.launch(); err != nil {
		return err
	}
	return w.current().awaitReady(ctx)
}

// awaitReady waits until a server listens.
func (c *child) awaitReady(ctx context.Context) error {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case <-c.ready:
		return nil
	case <-c.gone:
		return fmt.Errorf("the server ended before it was ready: %w", errors.Join(c.err, errEnded))
	case <-limit.C:
		return fmt.Errorf("the server was not ready after %v", startLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// launch starts the server and does not wait.
func (w *world) launch() error {
	args := []string{"serve", "--data", w.data, "--images", w.path("images.yaml"),
		"--listen", w.api, "--console", w.console, "--stop-limit", "2s"}
	env := []string{"DEFERD_FAULTS=" + w.path("faults")}
	if w.external != nil {
		keys, err := readKeys(filepath.Join(w.external.data(), "credentials"))
		if err != nil {
			return err
		}
		args = append(args, "--s3", w.external.url())
		env = append(env, "DEFERD_S3_ACCESS_KEY_ID="+keys.AccessKeyID, "DEFERD_S3_SECRET_ACCESS_KEY="+keys.SecretAccessKey)
	}
	c, err := startChild(exec.Command(w.program, args...), w.path("server.log"), env...)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.child = c
	w.mu.Unlock()
	return nil
}

// startChild starts a server whose log is added to a file, with the variables
// beyond our own environment.
func startChild(cmd *exec.Cmd, logFile string, env ...string) (*child, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd.Env = append(withoutSettings(os.Environ()), env...)
	cmd.Stderr = log
	// An interrupt at the terminal is for us, who then stop it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, ready: make(chan struct{}, 1), gone: make(chan struct{})}
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "deferd: listening on ") {
				c.ready <- struct{}{}
			}
		}
		io.Copy(io.Discard, stdout)
		c.err = cmd.Wait()
		close(c.gone)
	}()
	return c, nil
}

var errEnded = errors.New("see server.log")

func withoutSettings(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "DEFERD_") && !strings.HasPrefix(e, "AWS_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// current returns the server's present life; nil while there is none.
func (w *world) current() *child {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.child
}

// kill ends the server as a power cut of the process does.
func (w *world) kill() {
	if c := w.current(); c != nil {
		c.cmd.Process.Kill()
		<-c.gone
	}
}

// stop ends the server in order, and reports an error where it does not.
func (w *world) stop() error {
	c := w.current()
	if c == nil {
		return nil
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case <-c.gone:
		return c.err
	case <-limit.C:
		c.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to server.log
		<-c.gone
		return fmt.Errorf("the server did not stop within %v of SIGTERM", startLimit)
	}
}

// signal sends the server a signal.
func (w *world) signal(s syscall.Signal) {
	if c := w.current(); c != nil {
		c.cmd.Process.Signal(s)
	}
}

// ended reports whether the server's present life is over.
func (w *world) ended() bool {
	select {
	case <-w.current().gone:
		return true
	default:
		return false
	}
}
