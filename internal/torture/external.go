package torture

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// An external is a second server whose S3 holds all objects of the one that is
// tortured. It breaks nothing by itself.
type external struct {
	program string
	dir     string
	api     string // host:port
	console string

	mu    sync.Mutex // guards child
	child *child
}

func newExternal(c Config) (*external, error) {
	e := &external{program: c.Program, dir: filepath.Join(c.Dir, "external")}
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if e.api, err = freeAddress(); err != nil {
		return nil, err
	}
	e.console, err = freeAddress()
	return e, err
}

func (e *external) url() string  { return "http://" + e.api }
func (e *external) data() string { return filepath.Join(e.dir, "data") }

// start starts the server and returns when it is ready.
func (e *external) start(ctx context.Context) error {
	cmd := exec.Command(e.program, "serve", "--data", e.data(), "--listen", e.api, "--console", e.console)
	c, err := startChild(cmd, filepath.Join(e.dir, "server.log"))
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.child = c
	e.mu.Unlock()
	return c.awaitReady(ctx)
}

func (e *external) kill() {
	e.mu.Lock()
	c := e.child
	e.mu.Unlock()
	if c != nil {
		c.cmd.Process.Kill()
		<-c.gone
	}
}

// killObjects kills the external S3, and starts it again after a time.
func (r *run) killObjects(ctx context.Context, after time.Duration) error {
	from := time.Now()
	r.world.external.kill()
	sleepUntil(ctx, from.Add(after))
	err := r.world.external.start(ctx)
	r.weather(from)
	return err
}
