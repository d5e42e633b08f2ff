package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

// running accepts one invocation and leases it.
func (x *fixture) running(t *testing.T) deferd.Lease {
	t.Helper()
	x.accept(t, 1)
	c := x.claim(t, x.session(t, "i", 1), 0, 1)
	if len(c.Leases) != 1 {
		t.Fatalf("claimed %d, want 1", len(c.Leases))
	}
	return c.Leases[0]
}

// publication returns the one decided invocation.
func (x *fixture) publication(t *testing.T) deferd.Publication {
	t.Helper()
	ps, err := x.Publishing(t.Context(), 0, 10)
	must(t, err)
	if len(ps) != 1 {
		t.Fatalf("%d invocations wait to be published, want 1", len(ps))
	}
	return ps[0]
}

var settleTests = map[string]func(*testing.T, *fixture){
	"settle, publish, finish": func(t *testing.T, x *fixture) {
		l := x.running(t)
		o := success("result")
		o.Metadata = map[string]string{"custom-attributes": "c"}
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: o}))
		x.wantState(t, l.Invocation, deferd.Publishing, deferd.ModelOK)
		p := x.publication(t)
		if diff := cmp.Diff(o, p.Outcome); diff != "" || p.Decision != 1 {
			t.Errorf("decision %d; outcome (-settled +published):\n%s", p.Decision, diff)
		}
		x.clock.advance(time.Second)
		must(t, x.Finish(t.Context(), l.Invocation, 2)) // another decision: nothing
		x.wantState(t, l.Invocation, deferd.Publishing, deferd.ModelOK)
		must(t, x.Finish(t.Context(), l.Invocation, 1))
		must(t, x.Finish(t.Context(), l.Invocation, 1))
		got := x.wantState(t, l.Invocation, deferd.Completed, deferd.ModelOK)
		if got.Finished != x.Now() || got.OutcomeSize != 6 || got.ModelStatus != 200 {
			t.Errorf("finished %v, size %d, status %d", got.Finished, got.OutcomeSize, got.ModelStatus)
		}
		if c := x.wantConserved(t); c.Completed != 1 {
			t.Errorf("completed %d, want 1", c.Completed)
		}
	},
	"only the current lease settles, and once": func(t *testing.T, x *fixture) {
		l := x.running(t)
		wantCode(t, x.Settle(t.Context(), deferd.Settlement{Lease: "nonsense", Outcome: success("x")}), deferd.Lost)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("first")}))
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("second")}))
		if got := string(x.publication(t).Outcome.Body); got != "first" {
			t.Errorf("a repeated settle changed the outcome to %q", got)
		}
		wantCode(t, x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.InstanceLost}), deferd.Lost)
		must(t, x.Finish(t.Context(), l.Invocation, 1))
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("late")}))
		_, err := x.Leased(t.Context(), l.ID)
		wantCode(t, err, deferd.Lost)
	},
	"a zombie's settle is refused": func(t *testing.T, x *fixture) {
		l := x.running(t)
		must(t, x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.AgentLost}))
		x.clock.advance(time.Hour)
		_, err := x.Sweep(t.Context(), 10)
		must(t, err)
		c := x.claim(t, x.session(t, "j", 1), 0, 1)
		wantCode(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("zombie")}), deferd.Lost)
		_, err = x.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: "u", Location: deferd.Location{Bucket: "b", Key: "k"}})
		wantCode(t, err, deferd.Lost)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: success("heir")}))
		if got := string(x.publication(t).Outcome.Body); got != "heir" {
			t.Errorf("the outcome is %q", got)
		}
	},
	"end decides for queued and running, and voids the lease": func(t *testing.T, x *fixture) {
		l := x.running(t)
		queued := x.accept(t, 1)[0]
		o := deferd.End(deferd.CancelRequested, deferd.FailureMessage(deferd.CancelRequested))
		for _, id := range []deferd.InvocationID{l.Invocation, queued.ID} {
			got, err := x.End(t.Context(), id, o)
			must(t, err)
			if got.State != deferd.Publishing || got.Verdict != deferd.Cancelled {
				t.Errorf("ended as %v (%v)", got.State, got.Verdict)
			}
			_, err = x.End(t.Context(), id, o)
			wantCode(t, err, deferd.Exists)
		}
		wantCode(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("late")}), deferd.Lost)
		_, err := x.End(t.Context(), x.invocation().ID, o)
		wantCode(t, err, deferd.NotFound)
		x.wantConserved(t)
	},
	"an upload is recorded once and settled with its parts": func(t *testing.T, x *fixture) {
		l := x.running(t)
		inv := x.get(t, l.Invocation)
		first, err := x.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: "u1", Location: inv.Output})
		must(t, err)
		again, err := x.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: "u2", Location: inv.Output})
		must(t, err)
		if first.ID != "u1" || again.ID != "u1" {
			t.Errorf("recorded %q, then %q; want u1 twice", first.ID, again.ID)
		}
		_, err = x.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: "u3", Location: inv.Failure})
		must(t, err)
		u := deferd.Upload{ID: "u1", Location: inv.Output, Parts: []deferd.Part{{Number: 1, ETag: "e", Size: 9}}}
		o := deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, Upload: &u, Size: 9}
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: o}))
		if diff := cmp.Diff(&u, x.publication(t).Outcome.Upload); diff != "" {
			t.Errorf("upload (-settled +published):\n%s", diff)
		}
		left, err := x.Abandoned(t.Context(), 10)
		must(t, err)
		if diff := cmp.Diff([]deferd.Upload{{ID: "u3", Location: inv.Failure}}, left); diff != "" {
			t.Errorf("abandoned (-want +got):\n%s", diff)
		}
		must(t, x.Aborted(t.Context(), "u3"))
		left, err = x.Abandoned(t.Context(), 10)
		must(t, err)
		if len(left) != 0 {
			t.Errorf("still abandoned: %v", left)
		}
	},
	"the upload of a lost lease is abandoned": func(t *testing.T, x *fixture) {
		l := x.running(t)
		inv := x.get(t, l.Invocation)
		_, err := x.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: "u", Location: inv.Output})
		must(t, err)
		must(t, x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.InstanceLost}))
		left, err := x.Abandoned(t.Context(), 10)
		must(t, err)
		if len(left) != 1 || left[0].ID != "u" {
			t.Errorf("abandoned %v, want u", left)
		}
	},
	"a second decision replaces the first once": func(t *testing.T, x *fixture) {
		l := x.running(t)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("refused")}))
		must(t, x.GiveUp(t.Context(), l.Invocation))
		if !x.publication(t).GivenUp {
			t.Error("giving up was not recorded")
		}
		second := deferd.End(deferd.UploadFailed, "no bucket")
		must(t, x.Redecide(t.Context(), l.Invocation, second))
		must(t, x.Redecide(t.Context(), l.Invocation, deferd.End(deferd.UploadFailed, "again")))
		p := x.publication(t)
		if p.Decision != 2 || p.GivenUp || p.Outcome.Message != "no bucket" || string(p.Outcome.Body) != "no bucket" {
			t.Errorf("decision %d with %+v", p.Decision, p.Outcome)
		}
		must(t, x.Finish(t.Context(), l.Invocation, 1))
		x.wantState(t, l.Invocation, deferd.Publishing, deferd.UploadFailed)
		must(t, x.Finish(t.Context(), l.Invocation, 2))
		x.wantState(t, l.Invocation, deferd.Failed, deferd.UploadFailed)
		x.wantConserved(t)
	},
	"nothing is staged where there is nowhere to publish": func(t *testing.T, x *fixture) {
		n := x.invocation()
		n.Failure = deferd.Location{}
		_, _, err := x.Accept(t.Context(), n)
		must(t, err)
		c := x.claim(t, x.session(t, "i", 1), 0, 1)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: deferd.End(deferd.ModelTimeout, "late")}))
		if p := x.publication(t); len(p.Outcome.Body) != 0 || p.Outcome.Message != "late" {
			t.Errorf("staged %+v", p.Outcome)
		}
	},
	"publishing is read in order and in pages": func(t *testing.T, x *fixture) {
		invs := x.accept(t, 5)
		for _, inv := range slices.Backward(invs) {
			_, err := x.End(t.Context(), inv.ID, deferd.End(deferd.CancelRequested, "c"))
			must(t, err)
		}
		var got []deferd.Invocation
		var after deferd.Sequence
		for {
			ps, err := x.Publishing(t.Context(), after, 2)
			must(t, err)
			if len(ps) == 0 {
				break
			}
			for _, p := range ps {
				got = append(got, p.Invocation)
				after = p.Invocation.Seq
			}
		}
		if diff := cmp.Diff(accepted(invs), accepted(got)); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	},
	"a decision tells that there is something to publish": func(t *testing.T, x *fixture) {
		told := make(chan deferd.Sequence, 10)
		x.OnPublishing(func(seq deferd.Sequence) { told <- seq })
		l := x.running(t)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
		if got, want := <-told, x.publication(t).Invocation.Seq; got != want {
			t.Errorf("told of %d, want %d", got, want)
		}
	},
	"the inline body goes with a success and stays with a failure": func(t *testing.T, x *fixture) {
		s := x.session(t, "i", 1)
		for _, o := range []deferd.Outcome{success("y"), deferd.End(deferd.ModelTimeout, "m")} {
			n := x.invocation()
			n.Input, n.Inline = deferd.Location{}, []byte("body")
			_, _, err := x.Accept(t.Context(), n)
			must(t, err)
			c := x.claim(t, s, 100, 1)
			must(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: o}))
			must(t, x.Finish(t.Context(), n.ID, 1))
			_, err = x.Body(t.Context(), n.ID)
			if kept := err == nil; kept != (o.State != deferd.Completed) {
				t.Errorf("after %v the body is kept: %v", o.State, kept)
			}
		}
	},
}

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
		must(t, x.Finish(t.Context(), l.Invocation, 1))
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
