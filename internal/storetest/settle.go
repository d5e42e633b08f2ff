package storetest

import (
	"slices"
	"sync/atomic"
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
		must(t, x.Finish(t.Context(), l.Invocation, 2, nil)) // another decision: nothing
		x.wantState(t, l.Invocation, deferd.Publishing, deferd.ModelOK)
		must(t, x.Finish(t.Context(), l.Invocation, 1, nil))
		must(t, x.Finish(t.Context(), l.Invocation, 1, nil))
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
		must(t, x.Finish(t.Context(), l.Invocation, 1, nil))
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
	"too much that waits to be published holds claims up, and its end tells": func(t *testing.T, x *fixture) {
		l := x.running(t)
		inv := x.get(t, l.Invocation)
		large := success("")
		large.Body, large.Size = nil, 1<<30+1
		large.Upload = &deferd.Upload{Location: inv.Output, ID: "u", Parts: []deferd.Part{{Number: 1, ETag: "e", Size: large.Size}}}
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: large}))
		x.accept(t, 1)
		s := x.session(t, "j", 1)
		if c := x.claim(t, s, 0, 1); len(c.Leases) != 0 {
			t.Fatalf("with more than 1 GB waiting %d were claimed", len(c.Leases))
		}
		var told atomic.Int64
		x.OnWork(func(deferd.EndpointID) { told.Add(1) })
		must(t, x.Finish(t.Context(), inv.ID, 1, nil))
		if told.Load() == 0 {
			t.Error("nobody was told that work may be claimed again")
		}
		if c := x.claim(t, s, 0, 1); len(c.Leases) != 1 {
			t.Errorf("when it was published %d were claimed, want 1", len(c.Leases))
		}
	},
	"an abandoned upload outlives its invocation": func(t *testing.T, x *fixture) {
		l := x.running(t)
		inv := x.get(t, l.Invocation)
		_, err := x.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: "u", Location: inv.Output})
		must(t, err)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("small")}))
		must(t, x.Finish(t.Context(), inv.ID, 1, nil))
		n, err := x.Prune(t.Context(), x.Now().Add(time.Second), 10)
		must(t, err)
		left, err := x.Abandoned(t.Context(), 10)
		must(t, err)
		if n != 1 || len(left) != 1 || left[0].ID != "u" {
			t.Errorf("after %d were pruned %v are to be aborted, want u", n, left)
		}
	},
	"a second decision replaces the first once": func(t *testing.T, x *fixture) {
		l := x.running(t)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("refused")}))
		must(t, x.GiveUp(t.Context(), l.Invocation))
		if !x.publication(t).GivenUp {
			t.Error("giving up was not recorded")
		}
		x.clock.advance(time.Hour)
		second := deferd.End(deferd.UploadFailed, "no bucket")
		must(t, x.Redecide(t.Context(), l.Invocation, second))
		must(t, x.Redecide(t.Context(), l.Invocation, deferd.End(deferd.UploadFailed, "again")))
		p := x.publication(t)
		if p.Decision != 2 || p.GivenUp || p.Outcome.Message != "no bucket" || string(p.Outcome.Body) != "no bucket" {
			t.Errorf("decision %d with %+v", p.Decision, p.Outcome)
		}
		if got := p.Invocation.Settled; got != x.Now() {
			t.Errorf("the second decision was settled at %v, want %v", got, x.Now())
		}
		must(t, x.Finish(t.Context(), l.Invocation, 1, nil))
		x.wantState(t, l.Invocation, deferd.Publishing, deferd.UploadFailed)
		must(t, x.Finish(t.Context(), l.Invocation, 2, nil))
		x.wantState(t, l.Invocation, deferd.Failed, deferd.UploadFailed)
		x.wantConserved(t)
	},
	"a decision that is replaced abandons its upload": func(t *testing.T, x *fixture) {
		l := x.running(t)
		inv := x.get(t, l.Invocation)
		u := deferd.Upload{ID: "u", Location: inv.Output}
		_, err := x.RecordUpload(t.Context(), l.ID, u)
		must(t, err)
		o := deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, Size: 9, Upload: &deferd.Upload{
			ID: u.ID, Location: u.Location, Parts: []deferd.Part{{Number: 1, ETag: "e", Size: 9}},
		}}
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: o}))
		must(t, x.GiveUp(t.Context(), l.Invocation))
		if left, err := x.Abandoned(t.Context(), 10); err != nil || len(left) != 0 {
			t.Errorf("abandoned while decision 1 stands: %v, %v", left, err)
		}
		for range 2 {
			must(t, x.Redecide(t.Context(), l.Invocation, deferd.End(deferd.UploadFailed, "m")))
		}
		must(t, x.Finish(t.Context(), l.Invocation, 2, nil))
		left, err := x.Abandoned(t.Context(), 10)
		must(t, err)
		if diff := cmp.Diff([]deferd.Upload{u}, left); diff != "" {
			t.Errorf("abandoned (-want +got):\n%s", diff)
		}
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
			must(t, x.Finish(t.Context(), n.ID, 1, nil))
			_, err = x.Body(t.Context(), n.ID)
			if kept := err == nil; kept != (o.State != deferd.Completed) {
				t.Errorf("after %v the body is kept: %v", o.State, kept)
			}
		}
	},
}
