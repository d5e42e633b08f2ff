package agent

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// slots prepares an instance with n slots.
func slots(n int) func(*bench, *Config) {
	return func(_ *bench, c *Config) { c.Session.Slots = n }
}

// takes answers after d.
func takes(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(d)
	}
}

func TestDrain(t *testing.T) {
	for _, by := range []string{"call", "order"} {
		t.Run(by, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := start(t, takes(time.Hour), nil)
				b.work.add(deferd.Lease{Timeout: 2 * time.Hour}, deferd.Lease{})
				after(time.Second)
				if by == "call" {
					b.agent.Drain()
				} else {
					order(b, deferd.OrderDrain)
				}
				began := time.Now()
				if err := b.wait(); err != nil {
					t.Errorf("Run returned %v, want nil", err)
				}
				if got := time.Since(began); got < 59*time.Minute {
					t.Errorf("ended after %s, want it to wait for what runs", got)
				}
				if got := len(b.work.outcomes()); got != 1 {
					t.Errorf("settled %d, want 1", got)
				}
				if got := b.work.seen().closed; got != 1 {
					t.Errorf("session closed %d times, want 1", got)
				}
			})
		})
	}
}

func TestDrainBeforeReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, echo, func(b *bench, _ *Config) { b.container.refuse.Store(true) })
		after(time.Second)
		b.agent.Drain()
		if err := b.wait(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
}

// TestDrainReturnsWhatWasOnItsWay has a claim's answer lost in the drain.
func TestDrainReturnsWhatWasOnItsWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var b *bench
		b = start(t, takes(time.Hour), func(p *bench, c *Config) {
			c.Session.Slots = 2
			p.work.onClaim = func(n int, _ deferd.Claim) error {
				if n == 2 {
					b.agent.Drain()
					return context.Canceled
				}
				return nil
			}
		})
		b.work.add(deferd.Lease{Timeout: 2 * time.Hour})
		after(time.Second)
		b.work.add(deferd.Lease{})
		after(time.Second)
		want := []deferd.Release{{Lease: "lease-2", Reason: deferd.InstanceEnded}}
		if diff := cmp.Diff(want, b.work.releasesMade()); diff != "" {
			t.Errorf("released during the drain (-want +got):\n%s", diff)
		}
	})
}

func TestStop(t *testing.T) {
	tests := []struct {
		name    string
		runs    time.Duration // how long the model takes
		stop    func(*bench)
		ends    time.Duration
		settled int
		reason  deferd.Reason // of what is released
	}{
		{
			name: "what ends within the limit is settled", runs: 20 * time.Second,
			stop: func(b *bench) { b.cancel() }, ends: 19 * time.Second, settled: 1,
		},
		{
			name: "the rest is given back", runs: time.Hour,
			stop: func(b *bench) { b.cancel() }, ends: 30 * time.Second, reason: deferd.ServerStopped,
		},
		{
			name: "ordered", runs: time.Hour,
			stop: func(b *bench) { order(b, deferd.OrderStop) }, ends: 4 * time.Second, reason: deferd.InstanceEnded,
		},
		{
			name: "superseded", runs: time.Hour,
			stop: func(b *bench) { order(b, deferd.OrderSuperseded) }, ends: 4 * time.Second,
		},
		{
			name: "while draining", runs: time.Hour,
			stop: func(b *bench) { b.agent.Drain(); after(time.Second); b.cancel() }, ends: 31 * time.Second, reason: deferd.ServerStopped,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := start(t, takes(tt.runs), nil)
				b.work.add(deferd.Lease{Timeout: 2 * time.Hour})
				after(time.Second)
				began := time.Now()
				tt.stop(b)
				if err := b.wait(); err != nil {
					t.Errorf("Run returned %v, want nil", err)
				}
				if got := time.Since(began); got != tt.ends {
					t.Errorf("ended after %s, want %s", got, tt.ends)
				}
				if got := len(b.work.outcomes()); got != tt.settled {
					t.Errorf("settled %d, want %d", got, tt.settled)
				}
				var want []deferd.Release
				if tt.reason != deferd.NoReason {
					want = []deferd.Release{{Lease: "lease-1", Reason: tt.reason}}
				}
				if diff := cmp.Diff(want, b.work.releasesMade()); diff != "" {
					t.Errorf("released (-want +got):\n%s", diff)
				}
				wantClosed := 1
				if tt.name == "superseded" {
					wantClosed = 0
				}
				if got := b.work.seen().closed; got != wantClosed {
					t.Errorf("session closed %d times, want %d", got, wantClosed)
				}
			})
		})
	}
}

// TestStopAfterTimeout stops an agent whose only request is one that nobody
// waits for any more: the stop does not wait for it either.
func TestStopAfterTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(time.Hour), nil)
		b.work.add(deferd.Lease{Timeout: 10 * time.Second})
		after(12 * time.Second)
		if got := len(b.work.outcomes()); got != 1 {
			t.Fatalf("settled %d, want the time-out", got)
		}
		began := time.Now()
		b.cancel()
		if err := b.wait(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		if got := time.Since(began); got != 0 {
			t.Errorf("ended after %s, want at once", got)
		}
	})
}

// order makes the server give an order with each extend from now on.
func order(b *bench, o deferd.Order) {
	b.work.answerExtend(func(deferd.ExtendRequest) (deferd.Extension, error) { return deferd.Extension{Order: o}, nil })
}

// TestStopWithoutServer stops an agent whose server takes nothing any more: it
// ends all the same.
func TestStopWithoutServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, echo, func(b *bench, _ *Config) {
			never := func(int) error { return deferd.Errorf(deferd.Unavailable, "gone") }
			b.work.onSettle, b.work.onRelease = never, never
		})
		b.work.add(deferd.Lease{})
		after(time.Second)
		began := time.Now()
		b.cancel()
		if err := b.wait(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		if got, want := time.Since(began), DefaultStopLimit+2*closeLimit; got > want {
			t.Errorf("ended after %s, want at most %s", got, want)
		}
	})
}

// TestNothingOfTheCallerIsLogged sends secrets through and looks for them in the
// server's log.
func TestNothingOfTheCallerIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out strings.Builder
		b := start(t, status(500, "Content-Type: a/b", "secret-answer"), func(b *bench, c *Config) {
			b.work.input = "secret-input"
			c.Logger = logTo(&out)
		})
		b.work.add(deferd.Lease{CustomAttributes: "secret-attributes"})
		heard(b)
		b.cancel()
		b.wait()
		if !strings.Contains(out.String(), "settled") {
			t.Fatalf("nothing was logged: %q", out.String())
		}
		if strings.Contains(out.String(), "secret") {
			t.Errorf("the log holds the caller's data: %s", out.String())
		}
	})
}
