package outbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
)

// A lane delivers what waits for one target. A notice that fails waits on its
// own, longer after each try, and the store keeps until when. While nothing
// comes through the whole lane waits, and then tries one notice.
type lane struct {
	d      *Deliverer
	target string
	fresh  chan struct{} // there may be new notices

	// The goroutine's own.
	failures int       // rounds since something came through
	down     time.Time // until then nothing is tried; zero while the receiver is up
}

func (l *lane) run(ctx context.Context) {
	for troubles := 0; ctx.Err() == nil; {
		select {
		case <-l.fresh: // what it tells of is seen now
		default:
		}
		pause, left, err := l.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			troubles++
			l.d.Logger.WarnContext(ctx, "notifications cannot be read or noted now", "err", err)
			l.await(ctx, wait(troubles))
		case !left:
			if l.d.leave(l) {
				return
			}
		default:
			troubles = 0
			l.await(ctx, pause)
		}
	}
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	delete(l.d.lanes, l.target)
}

// await waits for a time, or until there is something new. A lane that is down
// just waits on then.
func (l *lane) await(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	case <-l.fresh:
	}
}

// round tries what is due. It returns how long to wait before the next one, and
// whether anything is left.
func (l *lane) round(ctx context.Context) (pause time.Duration, left bool, err error) {
	if until := time.Until(l.down); !l.down.IsZero() && until > 0 {
		return until, true, nil
	}
	most := inLane
	if l.failures > 0 {
		most = 1
	}
	notices, err := l.d.Outbox.DueNotices(ctx, l.target, most)
	if err != nil || len(notices) == 0 {
		return 0, false, err
	}
	now := l.d.Now()
	if first := notices[0].Due; first.After(now) {
		return first.Sub(now), true, nil
	}
	came, err := l.try(ctx, due(notices, now))
	switch {
	case ctx.Err() != nil:
	case came:
		l.failures, l.down = 0, time.Time{}
	case err == nil:
		l.failures++
		l.down = time.Now().Add(wait(l.failures))
	}
	return 0, true, err
}

// due are the first of the notices, as far as they are due.
func due(notices []deferd.Notice, now time.Time) []deferd.Notice {
	for i, n := range notices {
		if n.Due.After(now) {
			return notices[:i]
		}
	}
	return notices
}

// try makes deliveries side by side. It reports whether the receiver has
// answered any of them for good. An error says that something of it could not
// be noted: that is tried again.
func (l *lane) try(ctx context.Context, notices []deferd.Notice) (came bool, err error) {
	var wg sync.WaitGroup
	var answered atomic.Bool
	var failed atomic.Pointer[error]
	for _, n := range notices {
		if l.d.room.Acquire(ctx, 1) != nil {
			break
		}
		wg.Go(func() {
			defer l.d.room.Release(1)
			final, err := l.d.attempt(ctx, n)
			if final {
				answered.Store(true)
			}
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	wg.Wait()
	if e := failed.Load(); e != nil {
		err = *e
	}
	return answered.Load(), err
}

// attempt makes one delivery and notes what became of it. Final says that the
// receiver has taken the notice, or never will.
func (d *Deliverer) attempt(ctx context.Context, n deferd.Notice) (final bool, err error) {
	told := d.Notifier.Notify(ctx, n.Notification)
	switch {
	case told == nil:
		d.delivered.Add(1)
		if err := d.Outbox.NoticeDelivered(ctx, n.Seq); err != nil {
			return true, fmt.Errorf("note that notification %s is delivered: %w", n.ID, err)
		}
		return true, nil
	case ctx.Err() != nil:
		return false, nil // the server ends; nothing is known
	}
	try := deferd.NoticeTry{Seq: n.Seq, Tries: n.Tries + 1, Error: told.Error()}
	final = deferd.CodeOf(told) != deferd.Unavailable
	now := d.Now()
	if !final && now.Sub(n.Since) < deliverFor {
		try.Next = now.Add(wait(try.Tries))
	}
	if err := d.Outbox.NoticeFailed(ctx, try); err != nil {
		return final, fmt.Errorf("note that notification %s failed: %w", n.ID, err)
	}
	if try.Next.IsZero() {
		d.givenUp.Add(1)
		d.Logger.InfoContext(ctx, "a notification is given up", "notification", n.ID, "tries", try.Tries, "err", told)
		d.GivenUp(n)
	}
	return final, nil
}
