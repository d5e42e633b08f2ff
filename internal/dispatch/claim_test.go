package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// An answer is what a waiting claim came back with.
type answer struct {
	claim deferd.Claim
	err   error
	at    time.Time
}

// waitingClaim claims in the background.
func (b *bench) waitingClaim(ctx context.Context, s deferd.SessionID, free int, wait time.Duration) <-chan answer {
	got := make(chan answer, 1)
	go func() {
		c, err := b.Claim(ctx, deferd.ClaimRequest{Session: s, Free: free, Wait: wait})
		got <- answer{c, err, time.Now()}
	}()
	synctest.Wait() // it waits now, or has ended
	return got
}

// wantAnswer expects an answer now, without any time passing.
func wantAnswer(t *testing.T, got <-chan answer, leases int) answer {
	t.Helper()
	synctest.Wait()
	select {
	case a := <-got:
		if a.err != nil || len(a.claim.Leases) != leases {
			t.Errorf("the claim gives %d leases and %v, want %d", len(a.claim.Leases), a.err, leases)
		}
		return a
	default:
		t.Error("the claim still waits")
		return answer{}
	}
}

func wantWaiting(t *testing.T, got <-chan answer) {
	t.Helper()
	synctest.Wait()
	select {
	case a := <-got:
		t.Errorf("the claim gives %+v, want it to wait", a)
	default:
	}
}

func TestClaimIsWokenByAnAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		start := time.Now()
		got := b.waitingClaim(t.Context(), b.open("i", 1), 1, time.Hour)
		time.Sleep(30 * time.Minute)
		_, before := b.store.CommitStats()
		wantWaiting(t, got)
		if n := b.Stats().ClaimsWaiting; n != 1 {
			t.Errorf("%d claims wait, want 1", n)
		}
		time.Sleep(29 * time.Minute)
		synctest.Wait()
		if _, after := b.store.CommitStats(); after != before {
			t.Errorf("while it waits the store was asked %d times", after-before)
		}
		b.accept()
		if a := wantAnswer(t, got, 1); a.at.Sub(start) != 59*time.Minute {
			t.Errorf("it was answered after %v, want no time after the accept", a.at.Sub(start))
		}
	})
}

func TestClaimWaitsNoLongerThanAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		start := time.Now()
		got := b.waitingClaim(t.Context(), b.open("i", 1), 1, 30*time.Second)
		a := <-got
		if a.err != nil || len(a.claim.Leases) != 0 || a.at.Sub(start) != 30*time.Second {
			t.Errorf("it gives %+v after %v, want nothing after 30 s", a, a.at.Sub(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		got = b.waitingClaim(ctx, b.open("i", 1), 1, time.Hour)
		cancel()
		wantAnswer(t, got, 0)
		if n := b.Stats().ClaimsWaiting; n != 0 {
			t.Errorf("%d claims still wait", n)
		}
	})
}

func TestEachAcceptWakesAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const n = 20
		var claims []<-chan answer
		for i := range n {
			claims = append(claims, b.waitingClaim(t.Context(), b.open(fmt.Sprint(i), 1), 1, time.Hour))
		}
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { b.accept() })
		}
		wg.Wait()
		seen := map[deferd.InvocationID]bool{}
		for _, got := range claims {
			for _, l := range wantAnswer(t, got, 1).claim.Leases {
				seen[l.Invocation] = true
			}
		}
		if len(seen) != n {
			t.Errorf("%d different invocations were handed out, want %d", len(seen), n)
		}
	})
}

func TestAClaimWakesTheNextForWhatItLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		// One announcement for three, as a sweep may make it.
		b.store.OnReady(func(deferd.EndpointID) (c deferd.WaitingClaim, waits bool) { return c, false })
		var claims []<-chan answer
		for i := range 3 {
			claims = append(claims, b.waitingClaim(t.Context(), b.open(fmt.Sprint(i), 1), 1, time.Hour))
		}
		for range claims {
			b.accept()
		}
		b.waiting.wake("e")
		for _, got := range claims {
			wantAnswer(t, got, 1)
		}
	})
}

func TestOnlyTheEndpointsClaimsAreWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.must(b.store.CreateEndpoint(t.Context(), deferd.Endpoint{
			ID: "other", Account: account, Name: "other", ConfigID: "c", Status: deferd.EndpointInService,
			Created: b.store.Now(), Modified: b.store.Now(),
		}))
		got := b.waitingClaim(t.Context(), b.open("i", 1), 1, time.Hour)
		b.accept(func(n *deferd.NewInvocation) { n.Endpoint = "other" })
		wantWaiting(t, got)
		b.accept()
		wantAnswer(t, got, 1)
	})
}

// TestAWokenClaimThatLeavesPassesOn wakes a claim that ends in the same moment:
// the work must not wait with nobody told of it.
func TestAWokenClaimThatLeavesPassesOn(t *testing.T) {
	tests := []struct {
		name  string
		leave func(b *bench, first deferd.SessionID)
	}{
		{"its session was closed", func(b *bench, s deferd.SessionID) {
			b.mu.Lock()
			delete(b.speaks, s)
			b.mu.Unlock()
		}},
		{"its instance drains", func(b *bench, _ deferd.SessionID) {
			b.mu.Lock()
			b.orders["first"] = deferd.OrderDrain
			b.mu.Unlock()
		}},
		{"its session was superseded", func(b *bench, s deferd.SessionID) {
			if err := b.store.CloseSession(context.Background(), s, deferd.InstanceEnded); err != nil {
				panic(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				first := b.open("first", 1)
				leaving := b.waitingClaim(t.Context(), first, 1, time.Hour)
				staying := b.waitingClaim(t.Context(), b.open("second", 1), 1, time.Hour)
				test.leave(b, first)
				b.accept()
				wantAnswer(t, staying, 1)
				if a := <-leaving; len(a.claim.Leases) != 0 {
					t.Errorf("the one that leaves was handed %v", a.claim.Leases)
				}
			})
		})
	}
}

// TestAClaimThatMayNotTakeItPassesOn: an instance runs one suspect at a time.
func TestAClaimThatMayNotTakeItPassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		suspect := func() {
			l := b.lease()
			b.must(b.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.InstanceLost}))
		}
		suspect()
		b.ahead.Add(int64(time.Minute))
		_, err := b.store.Sweep(t.Context(), 10)
		b.must(err)
		s := b.open("i", 2)
		c, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: s, Free: 2})
		if err != nil || len(c.Leases) != 1 {
			t.Fatalf("the first suspect is claimed as %+v, %v", c, err)
		}
		suspect()
		mayNot := make(chan answer, 1)
		go func() {
			c, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: s, Confirmed: c.Number, Free: 1, Wait: time.Hour})
			mayNot <- answer{c, err, time.Now()}
		}()
		synctest.Wait()
		may := b.waitingClaim(t.Context(), b.open("j", 1), 1, time.Hour)
		b.ahead.Add(int64(time.Minute))
		_, err = b.store.Sweep(t.Context(), 10)
		b.must(err)
		wantAnswer(t, may, 1)
		wantWaiting(t, mayNot)
		b.accept()
		wantAnswer(t, mayNot, 1)
	})
}

func TestExtendTellsWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inv := b.accept()
		s := b.open("i", 1)
		c, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: s, Free: 1})
		b.must(err)
		_, err = b.store.End(t.Context(), inv.ID, deferd.End(deferd.CancelRequested, "m"))
		b.must(err)
		e, err := b.Extend(t.Context(), deferd.ExtendRequest{Session: s, Confirmed: c.Number, Held: []deferd.LeaseID{c.Leases[0].ID}})
		b.must(err)
		if len(e.Lost) != 1 || e.Lost[0] != c.Leases[0].ID {
			t.Errorf("lost is %v, want %v", e.Lost, c.Leases[0].ID)
		}
		wantLost(t, b.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: success("late")}))
		if n := b.Stats().SettlesRefused; n != 1 {
			t.Errorf("%d settles were refused, want 1", n)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s := b.open("i", 2)
		b.accept()
		wantAnswer(t, b.waitingClaim(t.Context(), s, 1, 0), 1)
		waits := b.waitingClaim(t.Context(), b.open("j", 1), 1, time.Hour)
		b.must(b.Close(t.Context(), s))
		wantAnswer(t, waits, 1) // what it held goes to the other one
		b.must(b.Close(t.Context(), s))
		_, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: s, Free: 1, Wait: time.Hour})
		wantLost(t, err)

		k := b.open("k", 1)
		waits = b.waitingClaim(t.Context(), k, 1, time.Hour)
		b.must(b.Close(t.Context(), k))
		synctest.Wait()
		select {
		case a := <-waits:
			wantLost(t, a.err)
		default:
			t.Error("the claim of a closed session still waits")
		}
	})
}

func TestAnOrderEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s := b.open("i", 2)
		got := b.waitingClaim(t.Context(), s, 1, time.Hour)
		b.Order("i", deferd.OrderDrain)
		wantAnswer(t, got, 0)
		b.accept()
		wantAnswer(t, b.waitingClaim(t.Context(), s, 1, time.Hour), 0)
	})
}

func wantLost(t *testing.T, err error) {
	t.Helper()
	if err == nil || deferd.CodeOf(err) != deferd.Lost {
		t.Errorf("error is %v, want one with code %q", err, deferd.Lost)
	}
}

// unclosable is a store that cannot close sessions for a while.
type unclosable struct {
	deferd.Store
	broken atomic.Bool
}

func (s *unclosable) CloseSession(ctx context.Context, id deferd.SessionID, r deferd.Reason) error {
	if s.broken.Load() {
		return errUnavailable
	}
	return s.Store.CloseSession(ctx, id, r)
}

// TestASessionIsClosedInTheEnd has an agent that gives up closing while the
// store is full: what it held is worked on by others all the same.
func TestASessionIsClosedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		store := &unclosable{Store: b.store}
		store.broken.Store(true)
		b.again(store, b.objects)
		b.run()
		b.accept()
		s := b.open("i", 1)
		wantAnswer(t, b.waitingClaim(t.Context(), s, 1, 0), 1)
		if err := b.Close(t.Context(), s); !errors.Is(err, errUnavailable) {
			t.Fatalf("closing it gives %v, want %v", err, errUnavailable)
		}
		other := b.waitingClaim(t.Context(), b.open("j", 1), 1, time.Hour)
		time.Sleep(5 * time.Minute)
		wantWaiting(t, other)
		store.broken.Store(false)
		time.Sleep(tidyInterval)
		wantAnswer(t, other, 1)
	})
}
