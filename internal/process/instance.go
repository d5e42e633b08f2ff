package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/deferd/deferd"
)

// An instance is one model instance from its start until it is forgotten.
type instance struct {
	runtime *Runtime
	spec    deferd.InstanceSpec
	image   Image
	output  *logFile
	log     *slog.Logger

	stop   context.CancelFunc // ends the context of live
	killed chan struct{}      // closed when the grace after that is over
	gone   chan struct{}      // closed after the last event

	event deferd.InstanceEvent // the last one; guarded by runtime.mu
	ended time.Time            // zero until it has gone; guarded by runtime.mu

	mu       sync.Mutex  // guards the rest
	killer   *time.Timer // closes killed; nil until the instance is to stop
	killTime time.Time
}

// dirs are an instance's own directories.
type dirs struct{ base, model, home, tmp string }

const (
	// portTries is how often an instance is started when other programs take
	// its port before it does.
	portTries = 3

	// How often to look whether the model listens, from the first look on.
	firstLook = 20 * time.Millisecond
	lastLook  = 500 * time.Millisecond

	// shimPatience is how long a shim has to carry out a kill before it is
	// killed itself.
	shimPatience = 5 * time.Second
)

// terminate asks the instance to end, and kills it when grace is over. Of
// several calls the earliest end counts.
func (i *instance) terminate(grace time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := time.Now().Add(max(grace, 0))
	switch {
	case i.killer == nil:
		i.killTime = at
		i.killer = time.AfterFunc(max(grace, 0), func() { close(i.killed) })
	case at.Before(i.killTime) && i.killer.Stop(): // it has not fired yet
		i.killTime = at
		i.killer.Reset(max(grace, 0))
	}
	i.stop()
}

// live runs the instance until it has gone.
func (i *instance) live(ctx context.Context) {
	defer close(i.gone)
	defer i.stop()
	d, err := i.makeDirs()
	var exit deferd.Exit
	if err != nil {
		i.log.LogAttrs(ctx, slog.LevelError, "instance has no directories", slog.Any("err", err))
		exit.Message = "The model could not be started: its directories cannot be made."
	} else {
		exit = i.fetchAndRun(ctx, d)
	}
	if ctx.Err() != nil {
		exit = deferd.Exit{} // stopped in order, whatever came of it
	}
	if err := i.cleanUp(d); err != nil {
		i.log.LogAttrs(ctx, slog.LevelWarn, "files of an instance stay", slog.Any("err", err))
	}
	i.log.LogAttrs(ctx, slog.LevelInfo, "instance has gone",
		slog.Bool("stopped", ctx.Err() != nil), slog.Bool("out_of_memory", exit.OutOfMemory))
	i.runtime.change(i, deferd.InstanceEvent{ID: i.spec.ID, Phase: deferd.PhaseGone, Exit: exit})
}

// makeDirs makes the instance's directories. Those for temporary files have
// short names, since programs make sockets there, whose paths have a limit of
// about 100 bytes.
func (i *instance) makeDirs() (dirs, error) {
	base := filepath.Join(i.runtime.instancesDir(), string(i.spec.ID))
	d := dirs{base: base, model: filepath.Join(base, "model"), home: filepath.Join(base, "home")}
	for _, dir := range []string{d.model, d.home, i.runtime.tmpDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return d, err
		}
	}
	var err error
	d.tmp, err = os.MkdirTemp(i.runtime.tmpDir(), "")
	return d, err
}

func (i *instance) cleanUp(d dirs) error {
	errs := []error{removeTree(d.base), i.output.close()}
	if d.tmp != "" {
		errs = append(errs, removeTree(d.tmp))
	}
	return errors.Join(errs...)
}

func (i *instance) fetchAndRun(ctx context.Context, d dirs) deferd.Exit {
	if exit, ok := i.fetch(ctx, d); !ok {
		return exit
	}
	for try := 1; ctx.Err() == nil; try++ {
		port, err := i.runtime.ports.take(i.image.Port)
		if err != nil {
			return deferd.Exit{Message: "The model could not be started: " + err.Error() + "."}
		}
		exit, again := i.runOn(ctx, d, port)
		i.runtime.ports.giveBack(port)
		if !again || try == portTries {
			return exit
		}
		i.log.LogAttrs(ctx, slog.LevelInfo, "another program took the instance's port", slog.Int("port", port))
	}
	return deferd.Exit{}
}

// fetch gets the model data, if there is any, and reports whether it came to that.
func (i *instance) fetch(ctx context.Context, d dirs) (deferd.Exit, bool) {
	if i.spec.Data.Location.IsZero() {
		return deferd.Exit{}, true
	}
	limit := i.spec.DownloadTimeout
	if limit == 0 {
		limit = deferd.DefaultDownloadTimeout
	}
	late := fmt.Errorf("not fetched within %v", limit)
	fetching, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	err := i.runtime.options.Fetch(fetching, i.spec.Data, d.model)
	if err == nil {
		return deferd.Exit{}, true
	}
	exit := deferd.Exit{Message: fmt.Sprintf("The model data at %s could not be fetched.", i.spec.Data.Location)}
	e, forOwner := errors.AsType[*deferd.Error](err)
	switch {
	case errors.Is(context.Cause(fetching), late):
		exit.Message = fmt.Sprintf("The model data at %s was %v.", i.spec.Data.Location, late)
	case forOwner && e.Msg != "":
		exit.Message = "The model data could not be fetched: " + e.Msg
	}
	if context.Cause(fetching) == nil {
		switch deferd.CodeOf(err) {
		case deferd.Invalid, deferd.NotFound, deferd.TooLarge, deferd.Denied:
			exit.Permanent = true
		}
	}
	i.log.LogAttrs(ctx, slog.LevelInfo, "model data was not fetched", slog.Any("err", err))
	return exit, false
}

// runOn runs the model on a port until all its processes have ended. Again
// reports that another program has the port, so that the model could not.
func (i *instance) runOn(ctx context.Context, d dirs, port int) (exit deferd.Exit, again bool) {
	command := append(append([]string{}, i.image.Command...), "serve")
	env := environ(i.image, i.spec, d, port, i.runtime.mark(i.spec.ID))
	t, err := plant(i.runtime.options.Executable, command, i.image.Dir, env, i.output)
	if _, gone := os.Stat(i.image.Dir); err != nil && gone != nil {
		err = gone // exec's own error names the program
	}
	if err != nil {
		i.log.LogAttrs(ctx, slog.LevelWarn, "instance was not started", slog.Any("err", err))
		return deferd.Exit{
			Message:   "The model could not be started: " + err.Error() + ".",
			Permanent: isFinal(err),
		}, false
	}
	rec := record{Boot: bootID(), Shim: t.identity()}
	last, served := i.watch(ctx, t, &rec, d, port)
	if last.Exit == nil && last.Error == "" { // somebody killed the shim
		i.runtime.killFound(string(i.spec.ID), func() []proc {
			return append(rec.processes(), marked(i.runtime.mark(i.spec.ID))...)
		})
	}
	t.fell()
	again = !served && last.Exit != nil && i.image.Port == 0 && !bindable(port)
	return i.judge(last), again
}

// watch carries out the instance's end and tells of its port until the shim
// has ended. It returns the shim's last report.
func (i *instance) watch(ctx context.Context, t *tree, rec *record, d dirs, port int) (last report, served bool) {
	i.remember(ctx, *rec, d)
	stopping, killed := ctx.Done(), i.killed
	var patience <-chan time.Time
	pause := firstLook
	look := time.NewTimer(pause)
	defer look.Stop()
	for {
		select {
		case r, ok := <-t.reports:
			if !ok {
				return last, served
			}
			if last = r; r.Model != nil {
				rec.Model, last = *r.Model, report{}
				i.remember(ctx, *rec, d)
			}
		case <-stopping:
			stopping = nil
			t.order(orderTerminate)
		case <-killed:
			killed = nil
			t.order(orderKill)
			patience = time.After(shimPatience)
		case <-patience:
			_ = t.shim.Process.Kill() // it may just have ended
		case <-look.C:
			if addr, ok := listening(rec.Shim.PID, port); ok {
				served = true
				i.serving(ctx, addr, port)
				continue
			}
			pause = min(2*pause, lastLook)
			look.Reset(pause)
		}
	}
}

// remember keeps the record on disk. Without it only the mark finds leftovers.
func (i *instance) remember(ctx context.Context, rec record, d dirs) {
	if err := rec.write(d.base); err != nil {
		i.log.LogAttrs(ctx, slog.LevelWarn, "processes are not on record", slog.Any("err", err))
	}
}

func (i *instance) serving(ctx context.Context, addr netip.Addr, port int) {
	at := netip.AddrPortFrom(addr, uint16(port))
	i.log.LogAttrs(ctx, slog.LevelInfo, "instance listens", slog.Any("address", at))
	i.runtime.change(i, deferd.InstanceEvent{ID: i.spec.ID, Phase: deferd.PhaseRunning, Addr: "http://" + at.String()})
}

// judge says why an instance that nobody stopped has ended.
func (i *instance) judge(last report) deferd.Exit {
	switch {
	case last.Error != "":
		return deferd.Exit{Message: "The model could not be started: " + last.Error + ".", Permanent: last.Final}
	case last.Exit == nil:
		return deferd.Exit{Message: "The process that looks after the model was killed."}
	}
	var exit deferd.Exit
	status := *last.Exit
	const shellSaysKilled = 128 + int(syscall.SIGKILL)
	switch {
	case status.Signal == syscall.SIGKILL || status.Code == shellSaysKilled:
		exit.Message = "The model was killed (perhaps out of memory)."
		if exit.OutOfMemory = i.runtime.ranOutOfMemory(); exit.OutOfMemory {
			exit.Message = "The model was killed because memory ran out."
		}
	case status.Signal != 0:
		exit.Message = fmt.Sprintf("The model was ended by signal %d (%v).", int(status.Signal), status.Signal)
	default:
		exit.Message = fmt.Sprintf("The model exited with code %d.", status.Code)
	}
	if lines := i.output.lastLines(); lines != "" {
		exit.Message += " Its log ends with:\n" + lines
	}
	return exit
}
