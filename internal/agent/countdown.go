package agent

import (
	"sync"
	"time"
)

// A countdown is a time-out that can be held up. It runs from start to end,
// less the time in which anybody has paused it. Where it finds that the process
// was frozen when it should have run out, it waits a moment longer: what came in
// time is to be seen first. All methods may be called concurrently.
type countdown struct {
	mu      sync.Mutex // guards all below
	left    time.Duration
	spent   time.Duration // of the stretches that are over
	since   time.Time     // when the present stretch began
	running bool
	started bool
	ended   bool
	pauses  int         // how many hold it up now
	graces  int         // how often it has waited a moment longer
	timer   *time.Timer // fires at the end of the present stretch
	expired func()
}

// newCountdown returns a countdown of d that has not started. It calls expired
// at most once, in a goroutine of its own, and never after end has returned
// unless the call had begun by then.
func newCountdown(d time.Duration, expired func()) *countdown {
	return &countdown{left: d, expired: expired}
}

// start begins to count; a second start does nothing.
func (c *countdown) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = true
	c.run()
}

// pause holds the countdown up until resume has been called as often.
func (c *countdown) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses++
	c.halt()
}

func (c *countdown) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses--
	c.run()
}

// end stops the countdown for good.
func (c *countdown) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.halt()
}

// elapsed is how long the countdown has run.
func (c *countdown) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		return c.spent + time.Since(c.since)
	}
	return c.spent
}

// run begins a stretch unless something stands against it. The caller holds mu.
func (c *countdown) run() {
	if !c.started || c.ended || c.running || c.pauses > 0 {
		return
	}
	c.running = true
	c.since = time.Now()
	if c.timer == nil {
		c.timer = time.AfterFunc(c.left, c.fire)
		return
	}
	c.timer.Reset(c.left)
}

// halt ends the present stretch, if there is one. The caller holds mu.
func (c *countdown) halt() {
	if !c.running {
		return
	}
	c.timer.Stop()
	c.running = false
	d := time.Since(c.since)
	c.spent += d
	c.left = max(0, c.left-d)
}

const (
	// grace is how long after a freeze an answer may take to be seen.
	grace = time.Second

	// maxGraces bounds what a machine on which every timer is late can do.
	maxGraces = 10
)

// fire ends the countdown. A timer that fired just before a pause stopped it
// changes nothing: the next stretch fires again.
func (c *countdown) fire() {
	c.mu.Lock()
	late := time.Since(c.since) - c.left
	due := c.running && late >= 0
	if due && late > awakeLate && c.graces < maxGraces {
		c.graces++
		c.left += late + grace
		c.timer.Reset(grace)
		due = false
	}
	if due {
		c.halt()
		c.ended = true
	}
	c.mu.Unlock()
	if due {
		c.expired()
	}
}
