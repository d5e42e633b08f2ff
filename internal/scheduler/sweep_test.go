package scheduler

import (
	"testing"
	"time"

	"github.com/deferd/deferd"
)

func TestSweepWakesForAnEarlierTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		x.accept(t, firstID, 10*time.Hour)
		pass(time.Minute)
		x.accept(t, secondID, time.Minute)
		pass(time.Minute - time.Millisecond)
		if got := x.state(t, secondID); got != deferd.Queued {
			t.Errorf("before its time it is %v, want Queued", got)
		}
		pass(time.Millisecond)
		if got := x.state(t, secondID); got != deferd.Publishing {
			t.Errorf("when its time is over it is %v, want Publishing", got)
		}
		before := x.store.sweeps.Load()
		pass(9 * time.Hour)
		if n := x.store.sweeps.Load() - before; n != 0 {
			t.Errorf("in nine hours in which nothing is due it swept %d times", n)
		}
		pass(time.Hour)
		if got := x.state(t, firstID); got != deferd.Publishing {
			t.Errorf("when its time is over the first is %v, want Publishing", got)
		}
	})
}

// TestSweepAfterSleep lets the machine sleep while something waits for its time:
// the store's clock goes on, and timers do not.
func TestSweepAfterSleep(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		x.accept(t, firstID, 10*time.Hour)
		pass(time.Minute)
		x.slept.Store(int64(9 * time.Hour))
		pass(time.Minute)
		if got := x.state(t, firstID); got != deferd.Queued {
			t.Errorf("after nine hours of sleep it is %v, want Queued", got)
		}
		x.slept.Store(int64(10 * time.Hour))
		pass(time.Minute)
		if got := x.state(t, firstID); got != deferd.Publishing {
			t.Errorf("after ten hours of sleep it is %v, want Publishing", got)
		}
	})
}

func TestPrune(t *testing.T) {
	inBubble(t, func(c *Config) { c.History = 24 * time.Hour }, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		x.accept(t, firstID, time.Second)
		pass(time.Second)
		must(t, x.store.Finish(t.Context(), firstID, 1, nil))
		pass(23 * time.Hour)
		if got := x.state(t, firstID); got != deferd.Expired {
			t.Errorf("within the history it is %v, want Expired", got)
		}
		pass(2 * time.Hour)
		if _, err := x.store.Invocation(t.Context(), "e", string(firstID)); deferd.CodeOf(err) != deferd.NotFound {
			t.Errorf("after the history it is found (%v)", err)
		}
		c, err := x.store.Counts(t.Context(), "e")
		must(t, err)
		if want := (deferd.Counts{Accepted: 1, Pruned: 1}); c != want {
			t.Errorf("counts are %+v, want %+v", c, want)
		}
	})
}
