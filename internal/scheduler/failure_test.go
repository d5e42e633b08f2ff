package scheduler

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// TestFailuresOfOneRoundCountOnce lets all instances of an endpoint fail
// together, twice: that is two failures, and the third round serves.
func TestFailuresOfOneRoundCountOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		const n = 3
		x.runtime.onStart = func(spec deferd.InstanceSpec) error {
			if len(x.runtime.starts()) > 2*n {
				x.runtime.listens(spec.ID)
				return nil
			}
			return deferd.Errorf(deferd.Unavailable, "no port is free")
		}
		x.create(t, "e", n)
		pass(time.Second + 2*time.Second)
		x.wantStatus(t, "e", deferd.EndpointInService)
		if got := len(x.runtime.starts()); got != 3*n {
			t.Errorf("%d were started, want three rounds of %d", got, n)
		}
	})
}

// TestStopIsTriedAgain has a runtime that cannot stop an instance at first: the
// endpoint's name is not free before it can.
func TestStopIsTriedAgain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		var broken atomic.Bool
		broken.Store(true)
		x.runtime.mu.Lock()
		x.runtime.onStop = func() error {
			if broken.Load() {
				return errors.New("the engine does not answer")
			}
			return nil
		}
		x.runtime.mu.Unlock()
		x.change(t, "e", func(e *deferd.Endpoint) { e.Status = deferd.EndpointDeleting })
		pass(time.Minute)
		if _, err := x.store.Endpoint(t.Context(), "a", "name"); err != nil {
			t.Errorf("the name is free although the instance runs: %v", err)
		}
		broken.Store(false)
		pass(5 * time.Second)
		if _, err := x.store.Endpoint(t.Context(), "a", "name"); deferd.CodeOf(err) != deferd.NotFound {
			t.Errorf("afterwards the endpoint is still there: %v", err)
		}
	})
}

// TestCrashedIsNotReady counts an instance whose agent has failed as not ready
// while it is being stopped.
func TestCrashedIsNotReady(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		agents := x.serving(t, 1)
		hold := make(chan struct{})
		x.runtime.mu.Lock()
		x.runtime.onStop = func() error { <-hold; return nil }
		x.runtime.mu.Unlock()
		agents[0].fail <- errors.New("crashed")
		synctest.Wait()
		if got := x.Instances("e", 0)["v"].Ready; got != 0 {
			t.Errorf("%d are ready while the only one is being stopped", got)
		}
		close(hold)
	})
}

// TestTimersDoNotPileUp queues one endpoint many times for later: the earliest
// time counts, and once.
func TestTimersDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		for _, d := range []time.Duration{time.Minute, time.Second, time.Hour, time.Second} {
			q.addAfter("e", d)
		}
		pass(time.Second)
		if id, ok := q.next(t.Context()); !ok || id != "e" {
			t.Errorf("after a second the next is %q, %v", id, ok)
		}
		pass(2 * time.Hour)
		if len(q.order) != 0 || len(q.timers) != 0 {
			t.Errorf("there are %d more and %d timers, want none", len(q.order), len(q.timers))
		}
		q.addAfter("e", time.Second)
		q.stop()
		pass(time.Minute)
		if len(q.order) != 0 {
			t.Error("a stopped timer queued its endpoint")
		}
	})
}

// TestStoppedIsNoFailure stops instances that fail in the same moment: an
// endpoint that is being deleted has no failures.
func TestStoppedIsNoFailure(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.runtime.onStart = func(deferd.InstanceSpec) error { return nil } // never listens
		x.create(t, "e", 2)
		x.change(t, "e", func(e *deferd.Endpoint) { e.Status = deferd.EndpointDeleting })
		pass(time.Second)
		if _, err := x.store.Endpoint(t.Context(), "a", "name"); deferd.CodeOf(err) != deferd.NotFound {
			t.Errorf("an endpoint deleted while it was being created is still there: %v", err)
		}
		if n := len(x.Endpoints()); n != 0 {
			t.Errorf("%d endpoints are remembered", n)
		}
	})
}
