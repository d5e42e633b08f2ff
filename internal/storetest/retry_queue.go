package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// An accepting is what Accept answers.
type accepting struct {
	Invocation deferd.Invocation
	Repeated   bool
}

// acceptOf accepts what new returns.
func acceptOf(new func() deferd.NewInvocation) call {
	return func(ctx context.Context, s deferd.Store) (any, error) {
		inv, repeated, err := s.Accept(ctx, new())
		return accepting{inv, repeated}, err
	}
}

// queueRetries are what brings work to its instances and back.
var queueRetries = []retry{
	{method: "Accept", name: "with a retry token the first one comes back", differs: func(t *testing.T, once, again result) {
		once.Answer = accepting{once.Answer.(accepting).Invocation, true}
		diff(t, "one call, made again", once, again)
	}, prepare: func(t *testing.T, x *fixture) call {
		return acceptOf(func() deferd.NewInvocation {
			n := x.invocation()
			n.RetryToken, n.Input, n.Inline = [16]byte{1}, deferd.Location{}, []byte("body")
			return n
		})
	}},
	{method: "Accept", name: "without a retry token there are two", differs: func(t *testing.T, once, again result) {
		if a := again.Answer.(accepting); again.Err != "" || a.Repeated || a.Invocation.ID == once.Answer.(accepting).Invocation.ID {
			t.Errorf("%q, accepted %+v, want another one", again.Err, a)
		}
		diff(t, "counts", deferd.Counts{Accepted: 2, Queued: 2}, again.State.Counts)
	}, prepare: func(t *testing.T, x *fixture) call { return acceptOf(x.invocation) }},
	{method: "Accept", name: "an ID is accepted once", differs: func(t *testing.T, once, again result) {
		if again.Err == "" {
			t.Errorf("accepted again: %+v", again.Answer)
		}
		diff(t, "one call, made again", once.State, again.State)
	}, prepare: func(t *testing.T, x *fixture) call {
		n := x.invocation()
		return acceptOf(func() deferd.NewInvocation { return n })
	}},
	{method: "OpenSession", name: "the last one is current, and the work of the one before counts once", prepare: func(t *testing.T, x *fixture) call {
		x.accept(t, 2)
		x.claim(t, x.session(t, "i", 2), 0, 2)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			id, err := s.OpenSession(ctx, deferd.Session{Endpoint: x.endpoint.ID, Variant: "v", Instance: "i", Slots: 2})
			if err != nil {
				return nil, err
			}
			return x.Claim(ctx, id, 0, 0)
		}
	}},
	{method: "CloseSession", prepare: func(t *testing.T, x *fixture) call {
		x.accept(t, 2)
		id := x.session(t, "i", 2)
		x.claim(t, id, 0, 2)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.CloseSession(ctx, id, deferd.AgentLost)
		}
	}},
	{method: "Claim", prepare: func(t *testing.T, x *fixture) call {
		x.accept(t, 5)
		id := x.session(t, "i", 4)
		confirmed := x.claim(t, id, 0, 1).Number
		return func(ctx context.Context, s deferd.Store) (any, error) {
			c, err := s.Claim(ctx, id, confirmed, 2)
			for i, l := range c.Leases {
				if _, err := x.Leased(ctx, l.ID); err != nil {
					return nil, err
				}
				c.Leases[i].ID = "" // drawn
			}
			return c, err
		}
	}},
	{method: "Extend", prepare: func(t *testing.T, x *fixture) call {
		x.accept(t, 3)
		id := x.session(t, "i", 3)
		c := x.claim(t, id, 0, 3)
		must(t, x.Release(t.Context(), deferd.Release{Lease: c.Leases[0].ID, Reason: deferd.ModelBusy, After: time.Hour}))
		return func(ctx context.Context, s deferd.Store) (any, error) {
			lost, err := s.Extend(ctx, id, c.Number, []deferd.LeaseID{c.Leases[0].ID, c.Leases[1].ID})
			return slices.Equal(lost, []deferd.LeaseID{c.Leases[0].ID}), err
		}
	}},
	{method: "RecordUpload", name: "the first one comes back", prepare: func(t *testing.T, x *fixture) call {
		l := x.running(t)
		inv := x.get(t, l.Invocation)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			x.drawn++
			return s.RecordUpload(ctx, l.ID, deferd.Upload{ID: "u" + string(rune('0'+x.drawn)), Location: inv.Output})
		}
	}},
	{method: "Release", name: "lost", refused: deferd.Lost, prepare: func(t *testing.T, x *fixture) call {
		l := x.running(t)
		answered(x.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: "u", Location: x.get(t, l.Invocation).Output}))(t)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.Release(ctx, deferd.Release{Lease: l.ID, Reason: deferd.InstanceLost})
		}
	}},
	{method: "Sweep", prepare: func(t *testing.T, x *fixture) call {
		l := x.running(t)
		must(t, x.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.ModelBusy, After: time.Minute}))
		x.acceptFor(t, time.Minute)
		x.acceptFor(t, time.Hour)
		x.clock.advance(time.Minute)
		return x.sweep(10)
	}},
	{method: "Sweep", name: "one that does not get through goes on", differs: func(t *testing.T, once, again result) {
		if got := again.State.Counts; again.Err != "" || got.Publishing != 2 || got.Queued != 1 {
			t.Errorf("%q, counts %+v, want 2 of 3 expired", again.Err, got)
		}
	}, prepare: func(t *testing.T, x *fixture) call {
		for range 3 {
			x.acceptFor(t, time.Minute)
		}
		x.clock.advance(time.Minute)
		return x.sweep(1)
	}},
}

// acceptFor accepts an invocation that may wait for as long as ttl.
func (x *fixture) acceptFor(t *testing.T, ttl time.Duration) {
	t.Helper()
	n := x.invocation()
	n.TTL = ttl
	_, _, err := x.Accept(t.Context(), n)
	must(t, err)
}

func (x *fixture) sweep(n int) call {
	return func(ctx context.Context, s deferd.Store) (any, error) { return s.Sweep(ctx, n) }
}
