package agent

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestCountdown(t *testing.T) {
	tests := []struct {
		name    string
		play    func(*countdown)
		fired   time.Duration // after the start of the test; 0: never
		elapsed time.Duration
	}{
		{name: "not started", play: func(*countdown) {}},
		{name: "runs out", play: func(c *countdown) { c.start() }, fired: 10 * time.Second, elapsed: 10 * time.Second},
		{
			name:  "paused",
			play:  func(c *countdown) { c.start(); after(3 * time.Second); c.pause(); after(time.Minute); c.resume() },
			fired: 70 * time.Second, elapsed: 10 * time.Second,
		},
		{
			name: "paused twice at a time",
			play: func(c *countdown) {
				c.start()
				c.pause()
				after(5 * time.Second)
				c.pause()
				after(5 * time.Second)
				c.resume()
				after(5 * time.Second)
				c.resume()
			},
			fired: 25 * time.Second, elapsed: 10 * time.Second,
		},
		{
			name:  "started while paused",
			play:  func(c *countdown) { c.pause(); c.start(); after(time.Minute); c.resume() },
			fired: 70 * time.Second, elapsed: 10 * time.Second,
		},
		{
			name: "ended",
			play: func(c *countdown) {
				c.start()
				after(4 * time.Second)
				c.end()
				c.pause()
				c.resume()
				c.start()
			},
			elapsed: 4 * time.Second,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				began := time.Now()
				var fired time.Duration
				times := 0
				c := newCountdown(10*time.Second, func() { fired = time.Since(began); times++ })
				tt.play(c)
				after(time.Hour)
				if fired != tt.fired || times > 1 {
					t.Errorf("fired after %s, %d times; want %s, once", fired, times, tt.fired)
				}
				if got := c.elapsed(); got != tt.elapsed {
					t.Errorf("elapsed %s, want %s", got, tt.elapsed)
				}
			})
		})
	}
}

// TestCountdownFrozen has the process frozen for an hour when the countdown
// should have run out.
func TestCountdownFrozen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var fired atomic.Int64
		c := newCountdown(10*time.Second, func() { fired.Add(1) })
		c.start()
		after(10*time.Second - time.Millisecond)
		c.mu.Lock()
		c.since = c.since.Add(-time.Hour)
		c.mu.Unlock()
		after(grace)
		if fired.Load() != 0 {
			t.Error("it fired as soon as the process went on")
		}
		after(2 * time.Millisecond)
		if n := fired.Load(); n != 1 {
			t.Errorf("after a grace it has fired %d times, want once", n)
		}
	})
}
