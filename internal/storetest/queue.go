package storetest

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

var acceptTests = map[string]func(*testing.T, *fixture){
	"what is accepted is read back whole": func(t *testing.T, x *fixture) {
		n := x.invocation()
		n.InferenceID, n.ContentType, n.Accept, n.CustomAttributes = "label", "text/csv", "*/*", "a=b"
		n.TTL, n.Timeout = time.Minute, time.Second
		n.RedriveOf = x.accept(t, 1)[0].ID
		n.RetryToken = [16]byte{1}
		inv, _, err := x.Accept(t.Context(), n)
		must(t, err)
		got := x.get(t, n.ID)
		if diff := cmp.Diff(inv, got); diff != "" {
			t.Errorf("invocation differs (-accepted +read):\n%s", diff)
		}
		if got.State != deferd.Queued || got.Accepted != x.Now() {
			t.Errorf("state %v at %v, want Queued at %v", got.State, got.Accepted, x.Now())
		}
	},
	"an inline body is kept": func(t *testing.T, x *fixture) {
		for _, body := range [][]byte{[]byte("hello"), bytes.Repeat([]byte{0}, deferd.MaxInline)} {
			n := x.invocation()
			n.Input, n.Inline = deferd.Location{}, body
			inv, _, err := x.Accept(t.Context(), n)
			must(t, err)
			got, err := x.Body(t.Context(), inv.ID)
			must(t, err)
			if !bytes.Equal(got, body) || inv.InlineSize != int64(len(body)) {
				t.Errorf("body has %d bytes, size says %d, want %d", len(got), inv.InlineSize, len(body))
			}
		}
		_, err := x.Body(t.Context(), x.accept(t, 1)[0].ID)
		wantCode(t, err, deferd.NotFound)
	},
	"inference IDs may repeat, and the newest is found": func(t *testing.T, x *fixture) {
		var last deferd.InvocationID
		for range 3 {
			n := x.invocation()
			n.InferenceID = "same"
			_, _, err := x.Accept(t.Context(), n)
			must(t, err)
			last = n.ID
		}
		got, err := x.Invocation(t.Context(), x.endpoint.ID, "same")
		must(t, err)
		if got.ID != last {
			t.Errorf("found %s, want the newest, %s", got.ID, last)
		}
	},
	"a repeated token gets the first answer for 15 minutes": func(t *testing.T, x *fixture) {
		n := x.invocation()
		n.RetryToken = [16]byte{1}
		first, _, err := x.Accept(t.Context(), n)
		must(t, err)
		again := x.invocation()
		again.RetryToken = [16]byte{1}
		x.clock.advance(deferd.RepeatWindow - time.Second)
		got, repeated, err := x.Accept(t.Context(), again)
		must(t, err)
		if !repeated || got.ID != first.ID || got.Output != first.Output {
			t.Errorf("repeated %v as %s, want true and %s", repeated, got.ID, first.ID)
		}
		x.clock.advance(2 * time.Second)
		got, repeated, err = x.Accept(t.Context(), again)
		must(t, err)
		if repeated || got.ID != again.ID {
			t.Errorf("after the window: repeated %v as %s", repeated, got.ID)
		}
		if c := x.wantConserved(t); c.Accepted != 2 {
			t.Errorf("accepted %d, want 2", c.Accepted)
		}
	},
	"a concurrent repeat is accepted once": func(t *testing.T, x *fixture) {
		var fresh atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			n := x.invocation()
			n.RetryToken = [16]byte{7}
			wg.Go(func() {
				_, repeated, err := x.Accept(t.Context(), n)
				if err != nil {
					t.Error(err)
				}
				if !repeated {
					fresh.Add(1)
				}
			})
		}
		wg.Wait()
		if fresh.Load() != 1 {
			t.Errorf("%d of 20 repeats were accepted, want 1", fresh.Load())
		}
	},
	"an endpoint that does not serve takes nothing": func(t *testing.T, x *fixture) {
		for _, status := range []deferd.EndpointStatus{deferd.EndpointCreating, deferd.EndpointFailed, deferd.EndpointDeleting} {
			_, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.Status = status; return nil })
			must(t, err)
			_, _, err = x.Accept(t.Context(), x.invocation())
			wantCode(t, err, deferd.NotFound)
		}
		n := x.invocation()
		n.Endpoint = "nobody"
		_, _, err := x.Accept(t.Context(), n)
		wantCode(t, err, deferd.NotFound)
		if c := x.wantConserved(t); c.Accepted != 0 {
			t.Errorf("accepted %d, want 0", c.Accepted)
		}
	},
	"an accept tells of work after it can be claimed": func(t *testing.T, x *fixture) {
		s := x.session(t, "i", 5)
		got := make(chan int, 1)
		x.OnWork(func(e deferd.EndpointID) {
			if e == x.endpoint.ID {
				select {
				case got <- 1:
				default:
				}
			}
		})
		x.accept(t, 1)
		<-got
		if c := x.claim(t, s, 0, 5); len(c.Leases) != 1 {
			t.Errorf("claimed %d, want 1", len(c.Leases))
		}
	},
}

// serve has the store serve one claim that waits, and returns where its answer
// comes.
func (x *fixture) serve(c deferd.ClaimRequest) <-chan deferd.Claim {
	answer, waits := make(chan deferd.Claim, 1), true
	x.OnReady(func(e deferd.EndpointID) (w deferd.WaitingClaim, ok bool) {
		if !waits || e != x.endpoint.ID {
			return w, false
		}
		waits = false
		return deferd.WaitingClaim{ClaimRequest: c, Answer: func(c deferd.Claim) { answer <- c }}, true
	})
	return answer
}

var leaseTests = map[string]func(*testing.T, *fixture){
	"a claim that waits is served with the work": func(t *testing.T, x *fixture) {
		s := x.session(t, "i", 5)
		served := x.serve(deferd.ClaimRequest{Session: s, Free: 5})
		want := x.accept(t, 1)[0].ID
		c := <-served
		if len(c.Leases) != 1 || c.Leases[0].Invocation != want {
			t.Fatalf("served with %+v, want a lease of %s", c, want)
		}
		if inv, err := x.Leased(t.Context(), c.Leases[0].ID); err != nil || inv.State != deferd.Running {
			t.Errorf("it is %v (%v), want it to run", inv.State, err)
		}
		if got := x.wantConserved(t); got.Running != 1 {
			t.Errorf("counts are %+v, want 1 running", got)
		}
		again := x.claim(t, s, 0, 5)
		if len(again.Leases) != 1 || again.Leases[0].ID != c.Leases[0].ID {
			t.Errorf("a claim that does not confirm it gets %+v, want the same lease", again)
		}
	},
	"a claim that waits is answered without a lease where it may have none": func(t *testing.T, x *fixture) {
		s := x.session(t, "i", 1)
		x.accept(t, 1)
		c := x.claim(t, s, 0, 1)
		full := x.serve(deferd.ClaimRequest{Session: s, Confirmed: c.Number, Free: 1})
		x.accept(t, 1)
		if got := <-full; len(got.Leases) != 0 {
			t.Errorf("a full instance got %+v", got)
		}
		gone := x.serve(deferd.ClaimRequest{Session: "gone", Free: 1})
		x.accept(t, 1)
		if got := <-gone; len(got.Leases) != 0 {
			t.Errorf("a session that is not current got %+v", got)
		}
		if got := x.wantConserved(t); got.Queued != 2 {
			t.Errorf("counts are %+v, want 2 queued", got)
		}
	},
	"claims hand out in order and never more than asked": func(t *testing.T, x *fixture) {
		invs := x.accept(t, 5)
		s := x.session(t, "i", 10)
		first := x.claim(t, s, 0, 2)
		rest := x.claim(t, s, first.Number, 10)
		if diff := cmp.Diff(accepted(invs), ids(first.Leases)+ids(rest.Leases)); diff != "" {
			t.Errorf("order (-accepted +claimed):\n%s", diff)
		}
		if len(first.Leases) != 2 {
			t.Errorf("claimed %d, want 2", len(first.Leases))
		}
		if empty := x.claim(t, s, rest.Number, 10); len(empty.Leases) != 0 {
			t.Errorf("claimed %d from an empty queue", len(empty.Leases))
		}
		x.wantConserved(t)
	},
	"urgent work comes first": func(t *testing.T, x *fixture) {
		later := x.accept(t, 1)[0]
		n := x.invocation()
		n.Priority = -1
		urgent, _, err := x.Accept(t.Context(), n)
		must(t, err)
		c := x.claim(t, x.session(t, "i", 2), 0, 2)
		if diff := cmp.Diff(accepted([]deferd.Invocation{urgent, later}), ids(c.Leases)); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	},
	"an instance never holds more than its slots": func(t *testing.T, x *fixture) {
		x.accept(t, 10)
		s := x.session(t, "i", 3)
		c := x.claim(t, s, 0, 10)
		more := x.claim(t, s, c.Number, 10)
		if len(c.Leases) != 3 || len(more.Leases) != 0 {
			t.Errorf("claimed %d, then %d; want 3, then 0", len(c.Leases), len(more.Leases))
		}
	},
	"an unconfirmed claim is handed out again, the same": func(t *testing.T, x *fixture) {
		x.accept(t, 3)
		s := x.session(t, "i", 3)
		c := x.claim(t, s, 0, 2)
		again := x.claim(t, s, 0, 2)
		if diff := cmp.Diff(c.Leases, again.Leases); diff != "" {
			t.Errorf("leases differ (-first +again):\n%s", diff)
		}
		if next := x.claim(t, s, again.Number, 3); len(next.Leases) != 1 {
			t.Errorf("after confirming, claimed %d, want 1", len(next.Leases))
		}
	},
	"concurrent claims share the work without overlap": func(t *testing.T, x *fixture) {
		x.accept(t, 60)
		var mu sync.Mutex
		seen := map[deferd.InvocationID]int{}
		var wg sync.WaitGroup
		for i := range 6 {
			s := x.session(t, string(rune('a'+i)), 10)
			wg.Go(func() {
				var confirmed int64
				for range 5 {
					c, err := x.Claim(t.Context(), s, confirmed, 2)
					if err != nil {
						t.Error(err)
						return
					}
					confirmed = c.Number
					mu.Lock()
					for _, l := range c.Leases {
						seen[l.Invocation]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != 60 {
			t.Errorf("%d invocations were handed out, want 60", len(seen))
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s was handed out %d times", id, n)
			}
		}
		x.wantConserved(t)
	},
	"extend tells what is lost and releases what never arrived": func(t *testing.T, x *fixture) {
		x.accept(t, 3)
		s := x.session(t, "i", 3)
		c := x.claim(t, s, 0, 3)
		must(t, x.Release(t.Context(), deferd.Release{Lease: c.Leases[0].ID, Reason: deferd.NotReady}))
		// Nothing is confirmed yet: the other two may still be on their way.
		lost, err := x.Extend(t.Context(), s, 0, []deferd.LeaseID{c.Leases[0].ID, c.Leases[1].ID})
		must(t, err)
		if diff := cmp.Diff([]deferd.LeaseID{c.Leases[0].ID}, lost); diff != "" {
			t.Errorf("lost (-want +got):\n%s", diff)
		}
		x.wantState(t, c.Leases[2].Invocation, deferd.Running, "")
		_, err = x.Extend(t.Context(), s, c.Number, []deferd.LeaseID{c.Leases[1].ID})
		must(t, err)
		got := x.wantState(t, c.Leases[2].Invocation, deferd.Queued, "")
		if got.Attempts != 0 {
			t.Errorf("a claim that never arrived counts as %d attempts", got.Attempts)
		}
	},
	"a new session of an instance voids the old one": func(t *testing.T, x *fixture) {
		x.accept(t, 2)
		old := x.session(t, "i", 2)
		c := x.claim(t, old, 0, 2)
		x.session(t, "i", 2)
		_, err := x.Claim(t.Context(), old, c.Number, 1)
		wantCode(t, err, deferd.Lost)
		_, err = x.Extend(t.Context(), old, c.Number, nil)
		wantCode(t, err, deferd.Lost)
		wantCode(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: success("x")}), deferd.Lost)
		got := x.wantState(t, c.Leases[0].Invocation, deferd.Queued, deferd.InstanceLost)
		if got.Attempts != 1 {
			t.Errorf("attempts are %d, want 1", got.Attempts)
		}
	},
	"closing a session returns its work without counting": func(t *testing.T, x *fixture) {
		x.accept(t, 2)
		s := x.session(t, "i", 2)
		c := x.claim(t, s, 0, 2)
		must(t, x.CloseSession(t.Context(), s, deferd.InstanceEnded))
		must(t, x.CloseSession(t.Context(), s, deferd.InstanceEnded))
		other := x.session(t, "j", 2)
		again := x.claim(t, other, 0, 2)
		if diff := cmp.Diff(ids(c.Leases), ids(again.Leases)); diff != "" {
			t.Errorf("returned work (-want +got):\n%s", diff)
		}
		if again.Leases[0].Attempt != 1 || again.Leases[0].ID == c.Leases[0].ID {
			t.Errorf("second lease is %+v, want attempt 1 under a new ID", again.Leases[0])
		}
	},
	"an instance runs one suspect at a time": func(t *testing.T, x *fixture) {
		x.accept(t, 3)
		s := x.session(t, "i", 3)
		c := x.claim(t, s, 0, 3)
		for _, l := range c.Leases[:2] {
			must(t, x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.InstanceLost}))
		}
		x.clock.advance(time.Minute)
		_, err := x.Sweep(t.Context(), 10)
		must(t, err)
		j := x.session(t, "j", 3)
		first := x.claim(t, j, 0, 3)
		if len(first.Leases) != 1 {
			t.Fatalf("an instance was handed %d suspects, want 1", len(first.Leases))
		}
		if more := x.claim(t, j, first.Number, 3); len(more.Leases) != 0 {
			t.Errorf("it was handed %d more while it runs one", len(more.Leases))
		}
		if third := x.claim(t, x.session(t, "k", 3), 0, 3); len(third.Leases) != 1 {
			t.Errorf("its neighbour was handed %d, want 1", len(third.Leases))
		}
	},
	"a suspect that ends tells of the next one": func(t *testing.T, x *fixture) {
		x.accept(t, 3)
		c := x.claim(t, x.session(t, "i", 3), 0, 3)
		for _, l := range c.Leases {
			must(t, x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.InstanceLost}))
		}
		x.clock.advance(time.Minute)
		_, err := x.Sweep(t.Context(), 10)
		must(t, err)
		s := x.session(t, "j", 3)
		var told atomic.Int64
		x.OnWork(func(deferd.EndpointID) { told.Add(1) })
		ends := []func(deferd.Lease) error{
			func(l deferd.Lease) error {
				return x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("out")})
			},
			func(l deferd.Lease) error {
				return x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.ModelBusy, After: time.Hour})
			},
			func(l deferd.Lease) error {
				return second(x.End(t.Context(), l.Invocation, deferd.End(deferd.CancelRequested, "m")))
			},
		}
		for i, end := range ends {
			c = x.claim(t, s, c.Number, 3)
			if len(c.Leases) != 1 {
				t.Fatalf("claim %d got %d suspects, want 1", i, len(c.Leases))
			}
			before := told.Load()
			if err := end(c.Leases[0]); err != nil && deferd.CodeOf(err) != deferd.Exists {
				t.Fatal(err)
			}
			if told.Load() == before {
				t.Errorf("end %d: nobody was told that the instance may take another suspect", i)
			}
		}
	},
	"the third lost attempt is the last": func(t *testing.T, x *fixture) {
		inv := x.accept(t, 1)[0]
		for attempt := 1; attempt <= deferd.MaxAttempts; attempt++ {
			c := x.claim(t, x.session(t, "i", 1), 0, 1)
			if len(c.Leases) != 1 || c.Leases[0].Attempt != attempt {
				t.Fatalf("claimed %+v, want attempt %d", c.Leases, attempt)
			}
			must(t, x.Release(t.Context(), deferd.Release{Lease: c.Leases[0].ID, Reason: deferd.OutOfMemory}))
			x.clock.advance(time.Minute)
			_, err := x.Sweep(t.Context(), 10)
			must(t, err)
		}
		got := x.wantState(t, inv.ID, deferd.Publishing, deferd.OutOfMemory)
		if got.Verdict != deferd.Failed || got.Message == "" {
			t.Errorf("verdict %v with message %q", got.Verdict, got.Message)
		}
		x.wantConserved(t)
	},
	"released work waits as long as it is told": func(t *testing.T, x *fixture) {
		inv := x.accept(t, 1)[0]
		s := x.session(t, "i", 1)
		c := x.claim(t, s, 0, 1)
		must(t, x.Release(t.Context(), deferd.Release{Lease: c.Leases[0].ID, Reason: deferd.ModelBusy, After: time.Minute}))
		wantCode(t, x.Release(t.Context(), deferd.Release{Lease: c.Leases[0].ID, Reason: deferd.ModelBusy}), deferd.Lost)
		next, err := x.Sweep(t.Context(), 10)
		must(t, err)
		if want := x.Now().Add(time.Minute); !next.Equal(want) {
			t.Errorf("next is due at %v, want %v", next, want)
		}
		if c := x.claim(t, s, c.Number, 1); len(c.Leases) != 0 {
			t.Error("it was claimed before it was due")
		}
		x.clock.advance(time.Minute)
		_, err = x.Sweep(t.Context(), 10)
		must(t, err)
		if c := x.claim(t, s, c.Number, 1); len(c.Leases) != 1 || c.Leases[0].Attempt != 1 {
			t.Errorf("claimed %+v, want attempt 1", c.Leases)
		}
		_ = inv
	},
}
