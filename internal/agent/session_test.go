package agent

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

func TestClaimAnswerRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(time.Second), func(b *bench, c *Config) {
			c.Session.Slots = 2
			b.work.onClaim = func(n int, _ deferd.Claim) error {
				if n == 1 {
					return deferd.Errorf(deferd.Unavailable, "the answer is lost")
				}
				return nil
			}
		})
		b.work.add(deferd.Lease{}, deferd.Lease{})
		after(time.Minute)
		if got := len(b.work.outcomes()); got != 2 {
			t.Errorf("settled %d, want 2", got)
		}
		if got := b.container.calls.Load(); got != 2 {
			t.Errorf("%d requests, want 2: each lease is run once", got)
		}
	})
}

func TestKnownLeaseIsNotRunTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(time.Minute), slots(2))
		b.work.add(deferd.Lease{Timeout: time.Hour})
		after(time.Second)
		b.work.mu.Lock()
		running := b.work.live["lease-1"]
		b.work.queue = append(b.work.queue, running) // handed out again
		b.work.mu.Unlock()
		b.work.add()
		after(time.Second)
		if got := b.container.calls.Load(); got != 1 {
			t.Errorf("%d requests for one lease, want 1", got)
		}
		if got := b.agent.Busy(); got != 1 {
			t.Errorf("busy %d, want 1", got)
		}
	})
}

func TestClaimsConfirmWhatArrived(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(time.Second), nil)
		b.work.add(deferd.Lease{}, deferd.Lease{})
		after(10 * time.Second)
		var got []int64
		for _, c := range b.work.seen().claims[:3] {
			got = append(got, c.Confirmed)
		}
		if diff := cmp.Diff([]int64{0, 1, 2}, got); diff != "" {
			t.Errorf("confirmed (-want +got):\n%s", diff)
		}
	})
}

func TestExtendNamesEverythingHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(12*time.Second), slots(2))
		b.work.add(deferd.Lease{}, deferd.Lease{})
		after(16 * time.Second)
		want := []deferd.ExtendRequest{
			{Session: "session-1", Confirmed: 1, Held: []deferd.LeaseID{"lease-1", "lease-2"}},
			{Session: "session-1", Confirmed: 1, Held: []deferd.LeaseID{"lease-1", "lease-2"}},
			{Session: "session-1", Confirmed: 1},
		}
		if diff := cmp.Diff(want, b.work.seen().extends); diff != "" {
			t.Errorf("extends (-want +got):\n%s", diff)
		}
	})
}

// TestSettleFails walks the ways in which a settle may go wrong: each ends with
// one outcome, and none runs the model again.
func TestSettleFails(t *testing.T) {
	unavailable := deferd.Errorf(deferd.Unavailable, "store is full")
	firstTimes := func(times int, err error) func(int) error {
		return func(n int) error {
			if n <= times {
				return err
			}
			return nil
		}
	}
	tests := []struct {
		name          string
		before, after func(int) error
		calls         int
	}{
		{name: "lost on its way", before: firstTimes(3, unavailable), calls: 4},
		{name: "done but not answered", after: firstTimes(2, unavailable), calls: 3},
		{name: "an error of the server's own", before: firstTimes(1, errors.New("disk")), calls: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := start(t, echo, func(b *bench, _ *Config) { b.work.onSettle, b.work.afterSettle = tt.before, tt.after })
				b.work.add(deferd.Lease{})
				after(time.Minute)
				if got := len(b.work.outcomes()); got != 1 {
					t.Errorf("settled %d, want 1", got)
				}
				if got := b.work.seen().settles; got != tt.calls {
					t.Errorf("%d settles, want %d", got, tt.calls)
				}
				if got := b.container.calls.Load(); got != 1 {
					t.Errorf("%d requests, want 1", got)
				}
			})
		})
	}
}

func TestSettleRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(time.Second), nil)
		b.work.add(deferd.Lease{})
		after(500 * time.Millisecond)
		b.work.lose("lease-1")
		after(time.Minute)
		if got := b.work.seen().settles; got != 1 {
			t.Errorf("%d settles, want 1: a refusal is an answer", got)
		}
		if got := b.agent.Busy(); got != 0 {
			t.Errorf("busy %d, want 0", got)
		}
	})
}

func TestSessionOpenedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(20*time.Second), slots(2))
		var unknown atomic.Bool
		b.work.answerExtend(func(e deferd.ExtendRequest) (deferd.Extension, error) {
			if unknown.Load() && e.Session == "session-1" {
				return deferd.Extension{Order: deferd.OrderOpen}, nil
			}
			return deferd.Extension{}, nil
		})
		b.work.add(deferd.Lease{})
		after(time.Second)
		b.work.mu.Lock()
		b.work.session = "" // the server has forgotten it
		b.work.mu.Unlock()
		unknown.Store(true)
		after(10 * time.Second)
		b.work.add(deferd.Lease{})
		after(time.Minute)
		if got := b.work.seen().opened; got != 2 {
			t.Errorf("opened %d sessions, want 2", got)
		}
		s := b.work.outcomes()
		if len(s) != 1 || s[0].Lease != "lease-2" {
			t.Errorf("settled %v, want lease-2 alone", s)
		}
	})
}

// TestLostClaimAsksAtOnce: a claim that hears Lost does not wait for the next
// extend to know what has become of its session.
func TestLostClaimAsksAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(time.Second), nil)
		after(time.Second)
		order(b, deferd.OrderSuperseded)
		b.work.mu.Lock()
		b.work.session = "another"
		b.work.mu.Unlock()
		began := time.Now()
		b.work.add(deferd.Lease{})
		if err := b.wait(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		if got := time.Since(began); got > time.Second {
			t.Errorf("ended after %s, want at once", got)
		}
	})
}

func TestServerUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var down atomic.Bool
		opens := 0
		b := start(t, takes(20*time.Second), func(b *bench, _ *Config) {
			unavailable := func() error {
				if down.Load() {
					return deferd.Errorf(deferd.Unavailable, "down")
				}
				return nil
			}
			b.work.onOpen = func() error {
				if opens++; opens < 3 {
					return deferd.Errorf(deferd.Unavailable, "down")
				}
				return nil
			}
			b.work.onClaim = func(int, deferd.Claim) error { return unavailable() }
			b.work.onSettle = func(int) error { return unavailable() }
			b.work.onExtend = func(deferd.ExtendRequest) (deferd.Extension, error) { return deferd.Extension{}, unavailable() }
		})
		b.work.add(deferd.Lease{}, deferd.Lease{})
		after(10 * time.Second)
		down.Store(true)
		after(time.Hour)
		if got := b.agent.Busy(); got != 1 {
			t.Errorf("busy %d, want 1: the outcome waits for its server", got)
		}
		down.Store(false)
		after(time.Minute)
		if got := len(b.work.outcomes()); got != 2 {
			t.Errorf("settled %d, want 2", got)
		}
		if got := b.container.calls.Load(); got != 2 {
			t.Errorf("%d requests, want 2", got)
		}
	})
}

// TestEmptyClaimsAreNotRepeatedAtOnce: a server that hands out nothing to an
// instance that it drains is asked what it wants, and not asked for work in a
// tight loop.
func TestEmptyClaimsAreNotRepeatedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, echo, func(b *bench, _ *Config) { b.work.empty = true })
		after(4 * time.Second)
		if got := len(b.work.seen().claims); got > 20 {
			t.Errorf("%d claims in 4s, want a few", got)
		}
		order(b, deferd.OrderDrain)
		began := time.Now()
		if err := b.wait(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		if got := time.Since(began); got > deferd.ExtendInterval {
			t.Errorf("drained after %s", got)
		}
	})
}
