package torture

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// breakThings brings a round's faults about, each at its time, and leaves a
// running server behind.
func (r *run) breakThings(ctx context.Context, faults []Fault, begin time.Time) error {
	for _, f := range faults {
		if !sleepUntil(ctx, begin.Add(f.At)) {
			return context.Cause(ctx)
		}
		r.log.Info("fault", "kind", f.Kind, "for", f.For)
		if err := r.bring(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", f.Kind, err)
		}
	}
	return r.revive(ctx)
}

func (r *run) bring(ctx context.Context, f Fault) error {
	r.edit(func() { r.counts.faults[f.Kind]++ })
	switch f.Kind {
	case KillModel, FreezeModel:
		r.hitModel(ctx, f)
		return nil
	case Rescale, Update, Recreate:
		r.background.Go(func() { r.changeEndpoint(ctx, f) })
		return nil
	case FillDisk:
		return r.fillDisk(ctx, f.For)
	case KillObjects:
		return r.killObjects(ctx, f.For)
	case Sleep:
		r.steady.Lock()
		defer r.steady.Unlock()
		before := r.clock(ctx)
		r.note(Moment{Kind: f.Kind, By: f.By, From: time.Now(), Until: time.Now()})
		if err := r.world.setClock(func() { r.world.slept += f.By }); err != nil {
			return err
		}
		// Nobody is to find the clock in between. A clock that is ahead of wall
		// time counts half of it only.
		for giveUp := time.Now().Add(callLimit); r.clock(ctx) < before+f.By/3 && time.Now().Before(giveUp); {
			sleepUntil(ctx, time.Now().Add(20*time.Millisecond))
		}
		return nil
	case Reboot:
		r.steady.Lock()
		defer r.steady.Unlock()
		r.note(Moment{Kind: f.Kind, By: max(0, f.By), From: time.Now(), Until: time.Now()})
		err := r.world.setClock(func() { r.world.off, r.world.boots = r.world.off+f.By, r.world.boots+1 })
		if err != nil {
			return err
		}
		return r.restart(ctx, KillServer, f.For)
	case FreezeServer:
		from := time.Now()
		r.world.signal(syscall.SIGSTOP)
		sleepUntil(ctx, from.Add(f.For))
		r.world.signal(syscall.SIGCONT)
		r.note(Moment{Kind: f.Kind, From: from, Until: time.Now()})
		return nil
	case KillBoth:
		r.hitModel(ctx, f)
		r.world.signal(syscall.SIGKILL)
	}
	return r.restart(ctx, f.Kind, f.For)
}

// revive starts the server again where it has ended by itself, which it may do
// only when its disk was full.
func (r *run) revive(ctx context.Context) error {
	if !r.world.ended() {
		return nil
	}
	if !r.config.Options.FillDisk {
		r.breaks(Broken{What: "the server has ended by itself; see server.log"})
	}
	r.log.Warn("the server has ended by itself")
	return r.restart(ctx, endedItself, 0)
}

// endedItself is the Kind of a Moment that the server brought about.
const endedItself Kind = "ended by itself"

// fillDisk takes all room of the file system that the server's data is on, for
// a time.
func (r *run) fillDisk(ctx context.Context, d time.Duration) error {
	name := filepath.Join(r.world.data, "filler")
	f, err := os.Create(name)
	if err != nil {
		return nil // it is full already
	}
	from := time.Now()
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		if _, err := f.Write(piece); err != nil {
			piece = piece[:len(piece)/2]
		}
	}
	f.Close()
	r.background.Go(func() {
		sleepUntil(ctx, from.Add(d))
		os.Remove(name)
		r.weather(from)
	})
	return nil
}

// clock is how far the store's clock is off; what cannot be read is off by
// nothing.
func (r *run) clock(ctx context.Context) time.Duration {
	m, err := r.out.metrics(ctx)
	if err != nil {
		return 0
	}
	return time.Duration(m["deferd_store_clock_offset_seconds"] * float64(time.Second))
}

// restart ends the server, looks whether it left something behind, and starts
// it again.
func (r *run) restart(ctx context.Context, kind Kind, after time.Duration) error {
	from := time.Now()
	waiting := r.unfinished()
	r.readJournal()
	listened := r.listened()
	r.weigh()
	switch kind {
	case StopServer:
		if err := r.world.stop(); err != nil {
			r.breaks(Broken{What: fmt.Sprintf("stopping in order: %v", err)})
		}
	case KillStopping:
		r.world.signal(syscall.SIGTERM)
		sleepUntil(ctx, from.Add(after))
		r.world.kill()
	case KillStarting:
		r.world.kill()
		if err := r.world.launch(); err != nil {
			return err
		}
		sleepUntil(ctx, time.Now().Add(after))
		r.world.kill()
	default:
		r.world.kill()
		sleepUntil(ctx, time.Now().Add(after))
	}
	r.note(Moment{Kind: kind, From: from, Until: time.Now()})
	r.background.Go(func() { r.awaitNoModels(ctx, listened) })
	if err := r.world.start(ctx); err != nil {
		return err
	}
	if waiting {
		r.edit(func() { r.resumes = append(r.resumes, resume{ended: from, ready: time.Now()}) })
	}
	return nil
}

// orphanLimit is how long a model may outlive its server.
const orphanLimit = 10 * time.Second

// awaitNoModels waits until no model of an ended server lives any more.
func (r *run) awaitNoModels(ctx context.Context, listened []Entry) {
	giveUp := time.Now().Add(orphanLimit)
	for _, e := range listened {
		for r.lives(ctx, e) {
			if time.Now().After(giveUp) {
				r.breaks(Broken{What: fmt.Sprintf("the model process %d at %s outlives its server by %v", e.PID, e.Address, orphanLimit)})
				break
			}
			if !sleepUntil(ctx, time.Now().Add(10*time.Millisecond)) {
				return
			}
		}
	}
}

// lives reports whether a process that listened still does. Somebody else may
// have its port by now, so it is asked who it is.
func (r *run) lives(ctx context.Context, e Entry) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Address+"/who", nil)
	if err != nil {
		return false
	}
	resp, err := r.models.Do(req)
	if err != nil {
		return ctx.Err() != nil // frozen: it accepts and does not answer
	}
	defer resp.Body.Close()
	who, err := io.ReadAll(io.LimitReader(resp.Body, 20))
	return err == nil && string(who) == strconv.Itoa(e.PID)
}

// hitModel kills or freezes one of the models that live.
func (r *run) hitModel(ctx context.Context, f Fault) {
	r.readJournal()
	var alive []Entry
	for _, e := range r.listened() {
		if r.lives(ctx, e) {
			alive = append(alive, e)
		}
	}
	if len(alive) == 0 {
		return
	}
	e := alive[f.Which%len(alive)]
	kind, signal := f.Kind, syscall.SIGKILL
	if kind == KillBoth {
		kind = KillModel
	}
	if kind == FreezeModel {
		signal = syscall.SIGSTOP
	}
	from := time.Now()
	r.signalModel(ctx, e, signal)
	if kind == KillModel {
		// Noted with some time to come: the signal may be slower than we.
		r.note(Moment{Kind: kind, PID: e.PID, Of: e.Of, From: from, Until: time.Now().Add(time.Second)})
		return
	}
	r.note(Moment{Kind: kind, PID: e.PID, Of: e.Of, From: from, Until: from.Add(f.For)})
	r.background.Go(func() {
		sleepUntil(ctx, from.Add(f.For))
		syscall.Kill(e.PID, syscall.SIGCONT) // harms nobody who should have this number by now
	})
}

// signalModel makes a model send itself a signal. It does not answer then.
func (r *run) signalModel(ctx context.Context, e Entry, s syscall.Signal) {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://%s/signal/%d", e.Address, int(s)), nil)
	if err != nil {
		return
	}
	if resp, err := r.models.Do(req); err == nil {
		resp.Body.Close()
	}
}
