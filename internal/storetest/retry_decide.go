package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// decisionRetries are what ends an invocation, and what comes after its end.
var decisionRetries = []retry{
	{method: "Settle", prepare: func(t *testing.T, x *fixture) call {
		l := x.running(t)
		inv := x.get(t, l.Invocation)
		for _, u := range []deferd.Upload{{ID: "u1", Location: inv.Output}, {ID: "u2", Location: inv.Failure}} {
			answered(x.RecordUpload(t.Context(), l.ID, u))(t)
		}
		o := deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, ModelStatus: 200, Size: 9, Upload: &deferd.Upload{
			ID: "u1", Location: inv.Output, Parts: []deferd.Part{{Number: 1, ETag: "e", Size: 9}},
		}}
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.Settle(ctx, deferd.Settlement{Lease: l.ID, Outcome: o})
		}
	}},
	{method: "End", name: "of what was queued exists, and is shown", differs: endedBefore, prepare: func(t *testing.T, x *fixture) call {
		return endOf(x.accept(t, 1)[0].ID)
	}},
	{method: "End", name: "of what ran exists, and is shown", differs: endedBefore, prepare: func(t *testing.T, x *fixture) call {
		return endOf(x.running(t).Invocation)
	}},
	{method: "Finish", prepare: func(t *testing.T, x *fixture) call {
		n := x.invocation()
		n.Input, n.Inline = deferd.Location{}, []byte("body")
		_, _, err := x.Accept(t.Context(), n)
		must(t, err)
		c := x.claim(t, x.session(t, "i", 1), 0, 1)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: success("out")}))
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.Finish(ctx, n.ID, 1, &deferd.Notification{ID: string(n.ID), Target: "t", Message: "ended"})
		}
	}},
	{method: "GiveUp", prepare: func(t *testing.T, x *fixture) call {
		id := x.decided(t)
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.GiveUp(ctx, id) }
	}},
	{method: "Redecide", prepare: func(t *testing.T, x *fixture) call {
		id := x.decided(t)
		must(t, x.GiveUp(t.Context(), id))
		x.clock.advance(time.Minute)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.Redecide(ctx, id, deferd.End(deferd.UploadFailed, "no bucket"))
		}
	}},
	{method: "Aborted", prepare: func(t *testing.T, x *fixture) call {
		l := x.running(t)
		answered(x.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: "u", Location: x.get(t, l.Invocation).Output}))(t)
		must(t, x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.ModelBusy}))
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.Aborted(ctx, "u") }
	}},
	{method: "Prune", name: "there is nothing left, and it is counted once", differs: func(t *testing.T, once, again result) {
		once.Answer = 0
		diff(t, "one call, made again", once, again)
	}, prepare: func(t *testing.T, x *fixture) call {
		x.finished(t, 1)
		x.accept(t, 1)
		must(t, x.DeleteConfig(t.Context(), account, "c-ep"))
		x.clock.advance(time.Hour)
		return x.prune(10)
	}},
	{method: "Prune", name: "one that does not get through goes on", differs: func(t *testing.T, once, again result) {
		if got := again.State.Counts; again.Err != "" || got.Pruned != 2 || got.Cancelled != 1 {
			t.Errorf("%q, counts %+v, want 2 of 3 pruned", again.Err, got)
		}
	}, prepare: func(t *testing.T, x *fixture) call {
		x.finished(t, 3)
		x.clock.advance(time.Hour)
		return x.prune(1)
	}},
}

func endOf(id deferd.InvocationID) call {
	return func(ctx context.Context, s deferd.Store) (any, error) {
		return s.End(ctx, id, deferd.End(deferd.CancelRequested, "m"))
	}
}

func endedBefore(t *testing.T, once, again result) {
	once.Err = deferd.Exists.String()
	diff(t, "one call, made again", once, again)
}

// decided settles an invocation with an upload.
func (x *fixture) decided(t *testing.T) deferd.InvocationID {
	t.Helper()
	l := x.running(t)
	u := deferd.Upload{ID: "u", Location: x.get(t, l.Invocation).Output}
	answered(x.RecordUpload(t.Context(), l.ID, u))(t)
	u.Parts = []deferd.Part{{Number: 1, ETag: "e", Size: 9}}
	o := deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, Size: 9, Upload: &u}
	must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: o}))
	return l.Invocation
}

// finished takes n invocations to their end.
func (x *fixture) finished(t *testing.T, n int) {
	t.Helper()
	for _, inv := range x.accept(t, n) {
		answered(x.End(t.Context(), inv.ID, deferd.End(deferd.CancelRequested, "m")))(t)
		must(t, x.Finish(t.Context(), inv.ID, 1, nil))
	}
}

func (x *fixture) prune(n int) call {
	return func(ctx context.Context, s deferd.Store) (any, error) { return s.Prune(ctx, x.Now(), n) }
}
