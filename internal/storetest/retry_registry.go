package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// registryRetries are what changes the registry and the keys. What it is about
// has a name, so a repeat finds what it did before.
var registryRetries = []retry{
	{method: "CreateModel", name: "exists", refused: deferd.Exists, prepare: func(t *testing.T, x *fixture) call {
		m := deferd.Model{ID: "m-new", Account: account, Name: "new", Created: x.Now(), Image: "img"}
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.CreateModel(ctx, m) }
	}},
	{method: "CreateConfig", name: "exists", refused: deferd.Exists, prepare: func(t *testing.T, x *fixture) call {
		c := x.config
		c.ID, c.Name = "c-new", "new"
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.CreateConfig(ctx, c) }
	}},
	{method: "CreateEndpoint", name: "exists", refused: deferd.Exists, prepare: func(t *testing.T, x *fixture) call {
		e := x.endpoint
		e.ID, e.Name = "e-new", "new"
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.CreateEndpoint(ctx, e) }
	}},
	{method: "DeleteModel", name: "not found", refused: deferd.NotFound, prepare: func(t *testing.T, x *fixture) call {
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.DeleteModel(ctx, account, "m-ep")
		}
	}},
	{method: "DeleteConfig", name: "not found", refused: deferd.NotFound, prepare: func(t *testing.T, x *fixture) call {
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.DeleteConfig(ctx, account, "c-ep")
		}
	}},
	{method: "ChangeEndpoint", prepare: func(t *testing.T, x *fixture) call {
		return x.change(func(e *deferd.Endpoint) error { e.FailureReason = "why"; return nil })
	}},
	{method: "ChangeEndpoint", name: "a change that refuses what it made", refused: deferd.Busy, prepare: func(t *testing.T, x *fixture) call {
		return x.change(func(e *deferd.Endpoint) error {
			if e.Status != deferd.EndpointInService {
				return deferd.Errorf(deferd.Busy, "a deployment is under way")
			}
			e.Deploy(deferd.Deployment{ConfigID: e.ConfigID, Started: x.Now(), Limit: time.Hour}, true)
			return nil
		})
	}},
	{method: "ChangeEndpoint", name: "a change that adds to what it made", differs: func(t *testing.T, once, again result) {
		if got := again.State.Endpoints[0].FailureReason; again.Err != "" || got != "xx" {
			t.Errorf("%q, stored %q, want it changed twice", again.Err, got)
		}
	}, prepare: func(t *testing.T, x *fixture) call {
		return x.change(func(e *deferd.Endpoint) error { e.FailureReason += "x"; return nil })
	}},
	{method: "RemoveEndpoint", prepare: func(t *testing.T, x *fixture) call {
		x.accept(t, 1)
		x.delete(t)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.RemoveEndpoint(ctx, x.endpoint.ID)
		}
	}},
	{method: "ChangeTags", prepare: func(t *testing.T, x *fixture) call {
		return changeTags(func([]deferd.Tag) []deferd.Tag { return []deferd.Tag{{Key: "k", Value: "v"}} })
	}},
	{method: "ChangeTags", name: "a change that adds to what it made", differs: func(t *testing.T, once, again result) {
		if got := len(again.State.Endpoints[0].Tags); again.Err != "" || got != 2 {
			t.Errorf("%q, %d tags stored, want it changed twice", again.Err, got)
		}
	}, prepare: func(t *testing.T, x *fixture) call {
		return changeTags(func(tags []deferd.Tag) []deferd.Tag { return append(tags, deferd.Tag{Key: "k"}) })
	}},
	{method: "PutKey", prepare: func(t *testing.T, x *fixture) call {
		must(t, x.PutKey(t.Context(), deferd.AccessKey{ID: "AKIA1", Account: account, Sealed: []byte("old"), Created: x.Now()}))
		k := deferd.AccessKey{ID: "AKIA1", Account: account, ARN: "arn", Sealed: []byte("new"), Created: x.Now()}
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.PutKey(ctx, k) }
	}},
	{method: "DeleteKey", prepare: func(t *testing.T, x *fixture) call {
		must(t, x.PutKey(t.Context(), deferd.AccessKey{ID: "AKIA1", Account: account, Sealed: []byte("s"), Created: x.Now()}))
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.DeleteKey(ctx, "AKIA1") }
	}},
}

func (x *fixture) change(f func(*deferd.Endpoint) error) call {
	return func(ctx context.Context, s deferd.Store) (any, error) { return s.ChangeEndpoint(ctx, x.endpoint.ID, f) }
}

func changeTags(f func([]deferd.Tag) []deferd.Tag) call {
	of := deferd.Tagged{Account: account, Kind: deferd.KindEndpoint, Name: "ep"}
	return func(ctx context.Context, s deferd.Store) (any, error) {
		return s.ChangeTags(ctx, of, func(tags []deferd.Tag) ([]deferd.Tag, error) { return f(tags), nil })
	}
}

// delete has the fixture's endpoint be deleted, and its queue end.
func (x *fixture) delete(t *testing.T) {
	t.Helper()
	answered(x.ChangeEndpoint(t.Context(), x.endpoint.ID, func(e *deferd.Endpoint) error { e.Status = deferd.EndpointDeleting; return nil }))(t)
	answered(x.Sweep(t.Context(), 100))(t)
}

// readRetries are what changes nothing.
var readRetries = []retry{
	reads("Model", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.Model(ctx, account, "m-ep")
	}),
	reads("ModelByID", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.ModelByID(ctx, "m-ep")
	}),
	reads("Models", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.Models(ctx, deferd.ListQuery{Account: account, Max: 1})
	}),
	reads("Config", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.Config(ctx, account, "c-ep")
	}),
	reads("ConfigByID", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.ConfigByID(ctx, "c-ep")
	}),
	reads("Configs", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.Configs(ctx, deferd.ListQuery{Account: account, Max: 1})
	}),
	reads("Endpoint", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.Endpoint(ctx, account, "ep")
	}),
	reads("EndpointByID", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.EndpointByID(ctx, "e-ep")
	}),
	reads("Endpoints", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.Endpoints(ctx, deferd.ListQuery{Account: account, Max: 1})
	}),
	reads("LiveEndpoints", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) { return s.LiveEndpoints(ctx) }),
	reads("Tags", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.Tags(ctx, deferd.Tagged{Account: account, Kind: deferd.KindModel, Name: "tagged"})
	}),
	reads("Key", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) { return s.Key(ctx, "AKIA1") }),
	reads("AccessKeys", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.AccessKeys(ctx, account)
	}),
	reads("Body", func(ctx context.Context, s deferd.Store, l deferd.Lease) (any, error) {
		return s.Body(ctx, l.Invocation)
	}),
	reads("Leased", func(ctx context.Context, s deferd.Store, l deferd.Lease) (any, error) { return s.Leased(ctx, l.ID) }),
	reads("Publishing", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) { return s.Publishing(ctx, 0, 1) }),
	reads("Abandoned", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) { return s.Abandoned(ctx, 10) }),
	reads("Invocation", func(ctx context.Context, s deferd.Store, l deferd.Lease) (any, error) {
		return s.Invocation(ctx, "e-ep", string(l.Invocation))
	}),
	reads("Invocations", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.Invocations(ctx, deferd.InvocationQuery{Endpoint: "e-ep", Max: 1})
	}),
	reads("Counts", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) { return s.Counts(ctx, "e-ep") }),
	reads("Recount", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) { return s.Recount(ctx, "e-ep") }),
	reads("OldestQueued", func(ctx context.Context, s deferd.Store, _ deferd.Lease) (any, error) {
		return s.OldestQueued(ctx, "e-ep")
	}),
}

// reads is a read of a store that holds some of everything, given a lease in it.
func reads(method string, read func(context.Context, deferd.Store, deferd.Lease) (any, error)) retry {
	return retry{method: method, prepare: func(t *testing.T, x *fixture) call {
		l := x.some(t)
		return func(ctx context.Context, s deferd.Store) (any, error) { return read(ctx, s, l) }
	}}
}

// some has the store hold some of everything, and returns a lease on an
// invocation with an inline body.
func (x *fixture) some(t *testing.T) deferd.Lease {
	t.Helper()
	ctx := t.Context()
	must(t, x.PutKey(ctx, deferd.AccessKey{ID: "AKIA1", Account: account, Sealed: []byte("s"), Created: x.Now()}))
	must(t, x.CreateModel(ctx, deferd.Model{ID: "tagged", Account: account, Name: "tagged", Created: x.Now(), Tags: []deferd.Tag{{Key: "k", Value: "v"}}}))
	s := x.session(t, "i", 2)
	decided := x.accept(t, 1)[0]
	c := x.claim(t, s, 0, 1)
	answered(x.RecordUpload(ctx, c.Leases[0].ID, deferd.Upload{ID: "u", Location: decided.Output}))(t)
	must(t, x.Settle(ctx, deferd.Settlement{Lease: c.Leases[0].ID, Outcome: success("out")}))
	n := x.invocation()
	n.Input, n.Inline = deferd.Location{}, []byte("body")
	_, _, err := x.Accept(ctx, n)
	must(t, err)
	c = x.claim(t, s, c.Number, 1)
	x.accept(t, 1)
	return c.Leases[0]
}
