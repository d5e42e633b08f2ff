// Package process runs model instances as plain processes on the server's own
// host: the form of [deferd.Runtime] that needs nothing installed.
//
// Between the server and each model stands a shim, this same program under
// [ShimVerb]. It holds one end of a pipe whose other end is the server's alone:
// when the server is gone, however it died, the shim kills the model with
// everything that descends from it. What a killed shim leaves is found by its
// record on disk and by a mark in its environment when the next server starts.
// Instances are never adopted: a restart is a clean slate.
//
// A command never comes from an API call. An image name stands for what the
// operator wrote in images.yaml, and for nothing where it is not listed there.
//
// It runs on Linux and, with the weaker promises that proc_darwin.go names, on
// macOS.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// Options are what a Runtime needs.
type Options struct {
	// Dir keeps the instances' files: logs, model data, homes and temporary
	// files. It must be one server's alone.
	Dir string

	// Images says what may be run.
	Images *ImageFile

	// Fetch puts model data into a directory that exists. Nil refuses models
	// that have data.
	Fetch func(ctx context.Context, data deferd.ModelData, dir string) error

	// Install tells this installation's processes from another's on the host.
	Install string

	Logger *slog.Logger

	// Executable is the program to run as shim. Default: this program.
	Executable string

	// Ports are what instances listen on. Default: 20000 to 29999.
	Ports PortRange
}

// Runtime is a [deferd.Runtime] of processes.
type Runtime struct {
	options Options
	log     *slog.Logger
	ports   *ports

	running sync.WaitGroup // of instances

	mu        sync.Mutex // guards the rest
	closing   bool
	instances map[deferd.InstanceID]*instance // with those that have gone not long ago
	watchers  map[*watcher]struct{}
	oomSeen   int // of oomKills: those that instances have been told of
}

var _ deferd.Runtime = (*Runtime)(nil)

const (
	// remembered is how long an instance that has gone is still known: a
	// repeated Start does nothing, and Watch yields its end.
	remembered = 10 * time.Minute

	// logsKept is how long the logs of an instance that has gone stay.
	logsKept = 24 * time.Hour

	pruneInterval = 10 * time.Minute
)

// New returns a Runtime after it has killed what an earlier one in the same
// directory left running.
func New(o Options) (*Runtime, error) {
	if o.Dir == "" || o.Images == nil || o.Install == "" || o.Logger == nil {
		return nil, errors.New("process runtime: Dir, Images, Install and Logger are needed")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	o.Dir = dir
	if o.Executable == "" {
		if o.Executable, err = selfExecutable(); err != nil {
			return nil, fmt.Errorf("process runtime: find this program: %w", err)
		}
	}
	ports, err := newPorts(o.Ports)
	if err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	r := &Runtime{
		options:   o,
		log:       o.Logger,
		ports:     ports,
		instances: map[deferd.InstanceID]*instance{},
		watchers:  map[*watcher]struct{}{},
		oomSeen:   oomKills(),
	}
	if err := r.killLeftovers(); err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	return r, nil
}

func (r *Runtime) instancesDir() string { return filepath.Join(r.options.Dir, "instances") }
func (r *Runtime) logsDir() string      { return filepath.Join(r.options.Dir, "logs") }
func (r *Runtime) tmpDir() string       { return filepath.Join(r.options.Dir, "tmp") }

// mark is what an instance's processes have in their environment.
func (r *Runtime) mark(id deferd.InstanceID) string { return r.options.Install + "/" + string(id) }

// Start implements [deferd.Runtime].
func (r *Runtime) Start(ctx context.Context, spec deferd.InstanceSpec) error {
	for _, name := range []string{string(spec.ID), string(spec.Endpoint), string(spec.Variant)} {
		if !isFileName(name) {
			return deferd.Errorf(deferd.Invalid, "%q cannot name a file", name)
		}
	}
	image, err := r.options.Images.Image(spec.Image)
	if err != nil {
		return err
	}
	if !spec.Data.Location.IsZero() && r.options.Fetch == nil {
		return deferd.Errorf(deferd.Invalid, "model data cannot be fetched here")
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.instances[spec.ID]; ok {
		return nil
	}
	if r.closing {
		return deferd.Errorf(deferd.Unavailable, "the server is stopping")
	}
	log, err := createLog(r.logPath(spec))
	if err != nil {
		return &deferd.Error{Code: deferd.Unavailable, Msg: "the instance's log cannot be written", Err: err}
	}
	// The instance outlives the call that started it; Stop ends it.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	i := &instance{
		runtime: r,
		spec:    spec,
		image:   image,
		output:  log,
		log:     r.log.With(slog.String("endpoint", string(spec.Endpoint)), slog.String("instance", string(spec.ID))),
		event:   deferd.InstanceEvent{ID: spec.ID, Phase: deferd.PhaseStarting},
		stop:    stop,
		killed:  make(chan struct{}),
		gone:    make(chan struct{}),
	}
	r.instances[spec.ID] = i
	r.emit(i.event)
	r.running.Go(func() { i.live(ctx) })
	return nil
}

// isFileName reports whether name is a plain name of a file.
func isFileName(name string) bool {
	return filepath.IsLocal(name) && name != "." && !strings.ContainsAny(name, `/\*?[`)
}

func (r *Runtime) logPath(spec deferd.InstanceSpec) string {
	return filepath.Join(r.logsDir(), string(spec.Endpoint), string(spec.Variant)+"-"+string(spec.ID)+".log")
}

// Stop implements [deferd.Runtime]. If ctx ends first the instance is stopped
// all the same.
func (r *Runtime) Stop(ctx context.Context, id deferd.InstanceID, grace time.Duration) error {
	r.mu.Lock()
	i := r.instances[id]
	r.mu.Unlock()
	if i == nil {
		return nil
	}
	i.terminate(grace)
	select {
	case <-i.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop instance %s: %w", id, context.Cause(ctx))
	}
}

// Watch implements [deferd.Runtime]. It begins with all instances that are
// there or have gone not long ago.
func (r *Runtime) Watch(ctx context.Context) <-chan deferd.InstanceEvent {
	w := newWatcher()
	r.mu.Lock()
	for _, i := range r.instances {
		w.add(i.event)
	}
	r.watchers[w] = struct{}{}
	r.mu.Unlock()

	events := make(chan deferd.InstanceEvent)
	go func() {
		defer close(events)
		w.deliver(ctx, events)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, w)
	}()
	return events
}

// emit tells every watcher of an event. The caller holds r.mu, so that all see
// events in the order in which they happened.
func (r *Runtime) emit(e deferd.InstanceEvent) {
	for w := range r.watchers {
		w.add(e)
	}
}

// change records an instance's new phase and tells of it.
func (r *Runtime) change(i *instance, e deferd.InstanceEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i.event = e
	if e.Phase == deferd.PhaseGone {
		i.ended = time.Now()
	}
	r.emit(e)
}

// Logs implements [deferd.Runtime]. A tail that is not positive means all that
// is kept: up to 20 MB, for a day after the instance has gone.
func (r *Runtime) Logs(_ context.Context, id deferd.InstanceID, tail int64) (io.ReadCloser, error) {
	r.mu.Lock()
	i := r.instances[id]
	r.mu.Unlock()
	var (
		logs io.ReadCloser
		err  error
	)
	switch {
	case i != nil:
		logs, err = i.output.open(tail)
	case isFileName(string(id)):
		logs, err = r.oldLog(id, tail)
	default:
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, deferd.Errorf(deferd.NotFound, "there are no logs of instance %q", id)
	}
	return logs, err
}

// oldLog opens the log of an instance that this Runtime does not know any more.
func (r *Runtime) oldLog(id deferd.InstanceID, tail int64) (io.ReadCloser, error) {
	found, err := fs.Glob(os.DirFS(r.logsDir()), "*/*-"+string(id)+".log")
	if err != nil || len(found) == 0 {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	return openLog(filepath.Join(r.logsDir(), found[0]), tail)
}

// Run implements [deferd.Runtime]. Each instance has [deferd.StopGrace] to end.
func (r *Runtime) Run(ctx context.Context) error {
	ticker := time.NewTicker(pruneInterval)
	defer ticker.Stop()
	for {
		r.prune(ctx, time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			r.stopAll()
			return nil
		}
	}
}

// stopAll stops every instance and returns when they are gone.
func (r *Runtime) stopAll() {
	r.mu.Lock()
	r.closing = true
	for _, i := range r.instances {
		i.terminate(deferd.StopGrace)
	}
	r.mu.Unlock()
	r.running.Wait()
}

// prune forgets instances, and removes logs, whose time is over.
func (r *Runtime) prune(ctx context.Context, now time.Time) {
	r.mu.Lock() // also keeps a new log's directory from being removed
	defer r.mu.Unlock()
	live := map[string]bool{}
	for id, i := range r.instances {
		if !i.ended.IsZero() && now.Sub(i.ended) > remembered {
			delete(r.instances, id)
		} else {
			live[i.output.path] = true
		}
	}
	err := pruneLogs(r.logsDir(), now.Add(-logsKept), func(path string) bool { return live[path] })
	if err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "old logs stay", slog.Any("err", err))
	}
}

// ranOutOfMemory reports whether the kernel has killed a process for want of
// memory that no instance has been told of.
func (r *Runtime) ranOutOfMemory() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if oomKills() <= r.oomSeen {
		return false
	}
	r.oomSeen++
	return true
}
