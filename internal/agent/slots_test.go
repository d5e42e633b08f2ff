package agent

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

func TestConcurrencyStaysWithinSlots(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(time.Second), slots(3))
		for range 10 {
			b.work.add(deferd.Lease{})
		}
		after(time.Minute)
		if got, want := len(b.work.outcomes()), 10; got != want {
			t.Errorf("settled %d, want %d", got, want)
		}
		if got, want := b.container.most.Load(), int64(3); got != want {
			t.Errorf("the model ran %d at a time, want %d", got, want)
		}
		if got, want := b.agent.Busy(), 0; got != want {
			t.Errorf("busy %d afterwards, want %d", got, want)
		}
	})
}

func TestTimeoutKeepsTheSlot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(30*time.Second), nil)
		b.work.add(deferd.Lease{Timeout: 10 * time.Second}, deferd.Lease{Timeout: time.Minute})
		after(11 * time.Second)
		if s := b.work.outcomes(); len(s) != 1 || s[0].Outcome.Reason != deferd.ModelTimeout {
			t.Fatalf("after 11s settled %v, want one time-out", s)
		}
		if got := s0(b).Times.Model; got != 10*time.Second {
			t.Errorf("model's time %s, want 10s", got)
		}
		after(18 * time.Second)
		if got := b.container.calls.Load(); got != 1 {
			t.Errorf("%d requests while the first one is not over, want 1", got)
		}
		after(35 * time.Second)
		if got := len(b.work.outcomes()); got != 2 {
			t.Errorf("settled %d, want 2", got)
		}
		if got := b.container.most.Load(); got != 1 {
			t.Errorf("the model ran %d at a time, want 1", got)
		}
	})
}

func s0(b *bench) deferd.Settlement { return b.work.outcomes()[0] }

func TestStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var first atomic.Bool
		invoke := func(w http.ResponseWriter, r *http.Request) {
			if first.CompareAndSwap(false, true) {
				time.Sleep(5 * time.Minute) // hung
				return
			}
			takes(50*time.Second)(w, r)
		}
		b := start(t, invoke, slots(2))
		b.work.add(deferd.Lease{Timeout: 10 * time.Second})
		after(30 * time.Second)
		b.work.add(deferd.Lease{Timeout: 10 * time.Minute}, deferd.Lease{})
		after(41 * time.Second) // 60 s after the time-out, and one more
		if got := b.agent.serving.Err(); got == nil {
			t.Error("still claiming with a request that does not end")
		}
		if err := b.wait(); !errors.Is(err, ErrStuck) {
			t.Errorf("Run returned %v, want ErrStuck", err)
		}
		var got []deferd.Reason
		for _, s := range b.work.outcomes() {
			got = append(got, s.Outcome.Reason)
		}
		want := []deferd.Reason{deferd.ModelTimeout, deferd.ModelOK}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if got := b.container.calls.Load(); got != 2 {
			t.Errorf("%d requests, want 2: the third is for another instance", got)
		}
	})
}

func TestLostLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(30*time.Second), nil)
		var lost atomic.Bool
		b.work.answerExtend(func(e deferd.ExtendRequest) (deferd.Extension, error) {
			if lost.Load() {
				return deferd.Extension{Lost: e.Held}, nil
			}
			return deferd.Extension{}, nil
		})
		b.work.add(deferd.Lease{})
		after(2 * time.Second)
		lost.Store(true)
		b.work.lose("lease-1")
		after(10 * time.Second)
		lost.Store(false)
		if got := b.agent.Busy(); got != 1 {
			t.Errorf("busy %d while the container still runs, want 1", got)
		}
		extends := b.work.seen().extends
		if e := extends[len(extends)-1]; len(e.Held) != 0 {
			t.Errorf("still names %v as held", e.Held)
		}
		after(30 * time.Second)
		if got := b.agent.Busy(); got != 0 {
			t.Errorf("busy %d after the container ended the request, want 0", got)
		}
		if got := b.work.seen().settles + b.work.seen().releases; got != 0 {
			t.Errorf("%d verdicts about a lost lease, want none", got)
		}
	})
}

func TestRetryAfterTakesASlot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		invoke := func(w http.ResponseWriter, r *http.Request) {
			if busy.CompareAndSwap(true, false) {
				status(503, "Retry-After: 60", "")(w, r)
				return
			}
			takes(10*time.Second)(w, r)
		}
		b := start(t, invoke, slots(2))
		b.work.add(deferd.Lease{})
		after(time.Second)
		b.work.add(deferd.Lease{}, deferd.Lease{}, deferd.Lease{})
		after(time.Second)
		if got := b.container.running.Load(); got != 1 {
			t.Errorf("the model runs %d, want 1 of its 2 slots", got)
		}
		after(40 * time.Second)
		if got := b.container.most.Load(); got != 1 {
			t.Errorf("the model ran %d at a time, want 1", got)
		}
		after(30 * time.Second)
		b.work.add(deferd.Lease{}, deferd.Lease{})
		after(time.Second)
		if got := b.container.running.Load(); got != 2 {
			t.Errorf("after the minute the model runs %d, want 2", got)
		}
	})
}

// TestSlotsUnderEverything mixes what may go wrong and counts at the model.
func TestSlotsUnderEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n atomic.Int64
		invoke := func(w http.ResponseWriter, r *http.Request) {
			switch i := n.Add(1); i % 5 {
			case 0:
				status(429, "Retry-After: 2", "")(w, r)
			case 1:
				takes(15*time.Second)(w, r) // beyond the time-out
			case 2:
				panic(http.ErrAbortHandler)
			case 3:
				status(400, "", fmt.Sprint(i))(w, r)
			default:
				takes(time.Second)(w, r)
			}
		}
		b := start(t, invoke, func(b *bench, c *Config) {
			c.Session.Slots = 4
			b.work.requeue = true
			b.work.onClaim = func(n int, _ deferd.Claim) error {
				if n%3 == 0 {
					return deferd.Errorf(deferd.Unavailable, "lost")
				}
				return nil
			}
			b.work.afterSettle = func(n int) error {
				if n%4 == 0 {
					return deferd.Errorf(deferd.Unavailable, "lost")
				}
				return nil
			}
		})
		const invocations = 100
		for range invocations {
			b.work.add(deferd.Lease{Timeout: 5 * time.Second})
		}
		after(time.Hour)
		if got := b.container.most.Load(); got > 4 {
			t.Errorf("the model ran %d at a time, want at most 4", got)
		}
		var ids []deferd.LeaseID
		for _, s := range b.work.outcomes() {
			ids = append(ids, s.Lease)
		}
		slices.Sort(ids)
		if got := len(slices.Compact(ids)); got != invocations {
			t.Errorf("settled %d, want %d", got, invocations)
		}
	})
}
