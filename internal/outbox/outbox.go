// Package outbox delivers the notifications that wait in a store: it reads a
// [deferd.Outbox], and hands what is due to a [deferd.Notifier] until that has
// taken it.
//
// Each target has a lane of its own, so that a receiver that is slow or gone
// holds up nobody else. Delivery is at least once, in no order.
package outbox

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
	"golang.org/x/sync/semaphore"
)

// Config is what a Deliverer works with.
type Config struct {
	Outbox   deferd.Outbox
	Notifier deferd.Notifier
	Now      func() time.Time // of the store
	Logger   *slog.Logger

	// GivenUp is told of every notice that is dead from now on. It must not
	// block. Nil: nobody is told.
	GivenUp func(deferd.Notice)
}

const (
	// deliverFor is how long a notice is tried. Longer than a receiver is ever
	// gone, and it costs disk for those that are gone for ever.
	deliverFor = 24 * time.Hour

	firstWait   = time.Second
	longestWait = 5 * time.Minute

	// inLane is how many notices are on their way to one target at a time, and
	// how many of them a lane has in memory: each may have 256 KB.
	inLane = 8

	// inFlight is how many are on their way in all. Receivers that are down are
	// tried with one at a time, so it takes that many of them to be in the way.
	inFlight = 256

	// targetPage is how many targets are read at a time.
	targetPage = 100
)

// A Deliverer delivers what is in an outbox. There is one for each.
type Deliverer struct {
	Config
	room *semaphore.Weighted // for tries

	delivered, givenUp atomic.Int64

	mu    sync.Mutex // guards the rest
	lanes map[string]*lane
	start func(*lane) // nil while nothing runs
}

// New makes a Deliverer and registers it for what comes into the outbox.
func New(c Config) *Deliverer {
	if c.GivenUp == nil {
		c.GivenUp = func(deferd.Notice) {}
	}
	d := &Deliverer{Config: c, room: semaphore.NewWeighted(inFlight), lanes: map[string]*lane{}}
	c.Outbox.OnNotice(d.wake)
	return d
}

// Stats are what an operator wants to know of a Deliverer.
type Stats struct {
	Delivered int64 // notices that were taken
	GivenUp   int64 // notices that died
}

// Stats reads the counters.
func (d *Deliverer) Stats() Stats {
	return Stats{Delivered: d.delivered.Load(), GivenUp: d.givenUp.Load()}
}

// Run delivers until ctx ends. What is not delivered then is when it runs again.
func (d *Deliverer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	d.mu.Lock()
	d.start = func(l *lane) { wg.Go(func() { l.run(ctx) }) }
	d.mu.Unlock()
	for tries := 1; ctx.Err() == nil; tries++ {
		again := (<-chan time.Time)(nil)
		if err := d.resume(ctx); err != nil && ctx.Err() == nil {
			d.Logger.ErrorContext(ctx, "what is to be notified cannot be read", "err", err)
			again = time.After(wait(tries))
		}
		select {
		case <-again:
		case <-ctx.Done():
		}
	}
	d.mu.Lock()
	d.start = nil
	d.mu.Unlock()
	wg.Wait()
	return nil
}

// resume begins the lanes of what an earlier life has left.
func (d *Deliverer) resume(ctx context.Context) error {
	after := ""
	for {
		targets, err := d.Outbox.NoticeTargets(ctx, after, targetPage)
		if err != nil || len(targets) == 0 {
			return err
		}
		for _, t := range targets {
			d.wake(t)
		}
		after = targets[len(targets)-1]
	}
}

// wake tells a lane that there is something for its target.
func (d *Deliverer) wake(target string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.start == nil {
		return // Run will look
	}
	l := d.lanes[target]
	if l == nil {
		l = &lane{d: d, target: target, fresh: make(chan struct{}, 1)}
		d.lanes[target] = l
		d.start(l)
		return
	}
	select {
	case l.fresh <- struct{}{}:
	default: // it is told already
	}
}

// leave ends a lane that has nothing to do, unless it was told of more.
func (d *Deliverer) leave(l *lane) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(l.fresh) > 0 {
		return false
	}
	delete(d.lanes, l.target)
	return true
}

// wait is how long to wait after a number of tries: twice as long after each,
// and a random part less, so that those that failed together do not come again
// together.
func wait(tries int) time.Duration {
	d := min(firstWait<<min(tries-1, 20), longestWait)
	return d - rand.N(d/2)
}
