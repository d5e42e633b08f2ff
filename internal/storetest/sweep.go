package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

var sweepTests = map[string]func(*testing.T, *fixture){
	"queued work expires without an instance": func(t *testing.T, x *fixture) {
		n := x.invocation()
		n.TTL = time.Minute
		_, _, err := x.Accept(t.Context(), n)
		must(t, err)
		next, err := x.Sweep(t.Context(), 10)
		must(t, err)
		if want := x.Now().Add(time.Minute); !next.Equal(want) {
			t.Errorf("next at %v, want %v", next, want)
		}
		x.clock.advance(time.Minute)
		next, err = x.Sweep(t.Context(), 10)
		must(t, err)
		if !next.IsZero() {
			t.Errorf("something is due at %v though nothing waits", next)
		}
		got := x.wantState(t, n.ID, deferd.Publishing, deferd.TTLExpired)
		if got.Verdict != deferd.Expired || got.Message != deferd.ExpiredMessage(time.Minute) {
			t.Errorf("verdict %v, message %q", got.Verdict, got.Message)
		}
	},
	"what was attempted before fails with that attempt's reason": func(t *testing.T, x *fixture) {
		n := x.invocation()
		n.TTL = time.Minute
		_, _, err := x.Accept(t.Context(), n)
		must(t, err)
		c := x.claim(t, x.session(t, "i", 1), 0, 1)
		must(t, x.Release(t.Context(), deferd.Release{Lease: c.Leases[0].ID, Reason: deferd.DownloadLost, After: time.Hour}))
		x.clock.advance(2 * time.Minute)
		_, err = x.Sweep(t.Context(), 10)
		must(t, err)
		if got := x.wantState(t, n.ID, deferd.Publishing, deferd.DownloadLost); got.Verdict != deferd.Failed {
			t.Errorf("verdict %v, want Failed", got.Verdict)
		}
	},
	"running work outlives its TTL": func(t *testing.T, x *fixture) {
		n := x.invocation()
		n.TTL = time.Minute
		_, _, err := x.Accept(t.Context(), n)
		must(t, err)
		c := x.claim(t, x.session(t, "i", 1), 0, 1)
		x.clock.advance(time.Hour)
		_, err = x.Sweep(t.Context(), 10)
		must(t, err)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: success("x")}))
	},
	"a sweep that does not get through says so": func(t *testing.T, x *fixture) {
		for range 5 {
			n := x.invocation()
			n.TTL = time.Minute
			_, _, err := x.Accept(t.Context(), n)
			must(t, err)
		}
		x.clock.advance(time.Hour)
		rounds := 0
		for next := x.Now(); !next.IsZero(); rounds++ {
			var err error
			next, err = x.Sweep(t.Context(), 2)
			must(t, err)
			if !next.IsZero() && next.After(x.Now()) {
				t.Fatalf("next sweep at %v though work is left", next)
			}
		}
		if c := x.wantConserved(t); c.Publishing != 5 || rounds != 3 {
			t.Errorf("%d expired in %d rounds, want 5 in 3", c.Publishing, rounds)
		}
	},
	"an earlier due time is announced": func(t *testing.T, x *fixture) {
		x.accept(t, 1)
		_, err := x.Sweep(t.Context(), 10)
		must(t, err)
		told := make(chan struct{}, 10)
		x.OnDue(func() { told <- struct{}{} })
		n := x.invocation()
		n.TTL = time.Minute
		_, _, err = x.Accept(t.Context(), n)
		must(t, err)
		<-told
	},
	"what runs for a deleted endpoint fails when it comes back": func(t *testing.T, x *fixture) {
		l := x.running(t)
		queued := x.accept(t, 1)[0]
		_, err := x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.Status = deferd.EndpointDeleting; return nil })
		must(t, err)
		if c := x.claim(t, x.session(t, "j", 1), 0, 1); len(c.Leases) != 0 {
			t.Error("work of a deleted endpoint was handed out")
		}
		_, err = x.Sweep(t.Context(), 10)
		must(t, err)
		x.wantState(t, queued.ID, deferd.Publishing, deferd.EndpointDeleted)
		x.wantState(t, l.Invocation, deferd.Running, "")
		must(t, x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.ServerStopped}))
		x.wantState(t, l.Invocation, deferd.Publishing, deferd.EndpointDeleted)
	},
	"history is pruned and stays counted": func(t *testing.T, x *fixture) {
		l := x.running(t)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
		must(t, x.Finish(t.Context(), l.Invocation, 1, nil))
		waiting := x.accept(t, 1)[0]
		x.clock.advance(time.Hour)
		n, err := x.Prune(t.Context(), x.Now().Add(-2*time.Hour), 10)
		must(t, err)
		m, err := x.Prune(t.Context(), x.Now(), 10)
		must(t, err)
		if n != 0 || m != 1 {
			t.Errorf("pruned %d, then %d; want 0, then 1", n, m)
		}
		_, err = x.Invocation(t.Context(), x.endpoint.ID, string(l.Invocation))
		wantCode(t, err, deferd.NotFound)
		x.wantState(t, waiting.ID, deferd.Queued, "")
		if c := x.wantConserved(t); c.Accepted != 2 || c.Pruned != 1 {
			t.Errorf("counts %+v", c)
		}
	},
	"deleted things go when nothing refers to them": func(t *testing.T, x *fixture) {
		must(t, x.DeleteConfig(t.Context(), account, x.config.Name))
		must(t, x.DeleteModel(t.Context(), account, "m-ep"))
		_, err := x.Prune(t.Context(), x.Now(), 10)
		must(t, err)
		_, err = x.ConfigByID(t.Context(), x.config.ID)
		must(t, err)
		_, err = x.ModelByID(t.Context(), "m-ep")
		must(t, err)
		_, err = x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.Status = deferd.EndpointDeleting; return nil })
		must(t, err)
		must(t, x.RemoveEndpoint(t.Context(), x.endpoint.ID))
		_, err = x.Prune(t.Context(), x.Now(), 10)
		must(t, err)
		for name, err := range map[string]error{
			"endpoint":      second(x.EndpointByID(t.Context(), x.endpoint.ID)),
			"configuration": second(x.ConfigByID(t.Context(), x.config.ID)),
			"model":         second(x.ModelByID(t.Context(), "m-ep")),
		} {
			if deferd.CodeOf(err) != deferd.NotFound {
				t.Errorf("the %s is still there (%v)", name, err)
			}
		}
	},
}

func second[T any](_ T, err error) error {
	if err == nil {
		return deferd.Errorf(deferd.Exists, "no error")
	}
	return err
}

var queryTests = map[string]func(*testing.T, *fixture){
	"invocations are listed newest first, by state": func(t *testing.T, x *fixture) {
		invs := x.accept(t, 5)
		_, err := x.End(t.Context(), invs[2].ID, deferd.End(deferd.CancelRequested, "c"))
		must(t, err)
		walk := func(states ...deferd.State) (got []deferd.Invocation) {
			q := deferd.InvocationQuery{Endpoint: x.endpoint.ID, Max: 2, States: states}
			for {
				p, err := x.Invocations(t.Context(), q)
				must(t, err)
				got = append(got, p.Items...)
				if q.Token = p.Token; q.Token == "" {
					return got
				}
			}
		}
		backward := slices.Clone(invs)
		slices.Reverse(backward)
		if diff := cmp.Diff(accepted(backward), accepted(walk())); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(accepted(invs[2:3]), accepted(walk(deferd.Publishing))); diff != "" {
			t.Errorf("publishing (-want +got):\n%s", diff)
		}
		if got := walk(deferd.Completed, deferd.Failed); len(got) != 0 {
			t.Errorf("found %d that have ended", len(got))
		}
	},
	"an invocation is found only under its endpoint": func(t *testing.T, x *fixture) {
		inv := x.accept(t, 1)[0]
		other, _ := x.addEndpoint(t, "other")
		_, err := x.Invocation(t.Context(), other.ID, string(inv.ID))
		wantCode(t, err, deferd.NotFound)
		_, err = x.Invocation(t.Context(), x.endpoint.ID, "no-such")
		wantCode(t, err, deferd.NotFound)
	},
	"the oldest that waits": func(t *testing.T, x *fixture) {
		at, err := x.OldestQueued(t.Context(), x.endpoint.ID)
		must(t, err)
		if !at.IsZero() {
			t.Errorf("an empty queue has an oldest of %v", at)
		}
		first := x.accept(t, 1)[0]
		x.clock.advance(time.Minute)
		x.accept(t, 1)
		at, err = x.OldestQueued(t.Context(), x.endpoint.ID)
		must(t, err)
		if !at.Equal(first.Accepted) {
			t.Errorf("oldest is %v, want %v", at, first.Accepted)
		}
	},
}

var crashTests = map[string]func(*testing.T, *fixture){
	"nothing accepted or decided is lost, and leases are void": func(t *testing.T, x *fixture) {
		n := x.invocation()
		n.Input, n.Inline, n.RetryToken = deferd.Location{}, []byte("body"), [16]byte{9}
		_, _, err := x.Accept(t.Context(), n)
		must(t, err)
		s := x.session(t, "i", 2)
		settled := x.accept(t, 1)[0]
		c := x.claim(t, s, 0, 2)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[1].ID, Outcome: success("kept")}))
		_, err = x.RecordUpload(t.Context(), c.Leases[0].ID, deferd.Upload{ID: "u", Location: n.Output})
		must(t, err)

		x.crash(t)

		got := x.wantState(t, n.ID, deferd.Queued, "")
		if got.ServerDeaths != 1 || got.Attempts != 0 {
			t.Errorf("deaths %d, attempts %d; want 1, 0", got.ServerDeaths, got.Attempts)
		}
		body, err := x.Body(t.Context(), n.ID)
		must(t, err)
		if string(body) != "body" {
			t.Errorf("body is %q", body)
		}
		x.wantState(t, settled.ID, deferd.Publishing, deferd.ModelOK)
		if p := x.publication(t); string(p.Outcome.Body) != "kept" {
			t.Errorf("staged %q", p.Outcome.Body)
		}
		wantCode(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: success("zombie")}), deferd.Lost)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[1].ID, Outcome: success("repeat")}))
		_, err = x.Claim(t.Context(), s, 0, 1)
		wantCode(t, err, deferd.Lost)
		left, err := x.Abandoned(t.Context(), 10)
		must(t, err)
		if len(left) != 1 {
			t.Errorf("abandoned uploads: %v, want one", left)
		}
		again, repeated, err := x.Accept(t.Context(), n)
		must(t, err)
		if !repeated || again.ID != n.ID {
			t.Errorf("after the crash a retry was accepted anew (%v, %s)", repeated, again.ID)
		}
		x.wantConserved(t)
	},
	"the tenth death of a server ends it": func(t *testing.T, x *fixture) {
		inv := x.accept(t, 1)[0]
		for death := 1; death <= deferd.MaxServerDeaths; death++ {
			if c := x.claim(t, x.session(t, "i", 1), 0, 1); len(c.Leases) != 1 {
				t.Fatalf("before death %d: claimed %d", death, len(c.Leases))
			}
			x.crash(t)
		}
		x.wantState(t, inv.ID, deferd.Publishing, deferd.ServerDied)
		x.wantConserved(t)
	},
	"the clock does not go back": func(t *testing.T, x *fixture) {
		before := x.Now()
		x.crash(t)
		if after := x.Now(); after.Before(before) {
			t.Errorf("the clock went from %v to %v", before, after)
		}
	},
}
