package bothways

import (
	"context"
	"fmt"
	"time"

	"github.com/deferd/deferd"
)

// A store is the real one behind a border where calls fail. What is done on the
// other side of it goes into the record.
type store struct {
	deferd.Store
	*faults
	record *record
}

func (s *store) Accept(ctx context.Context, n deferd.NewInvocation) (inv deferd.Invocation, repeated bool, err error) {
	inv, err = do(ctx, s.faults, "store.Accept", n.InferenceID, func(ctx context.Context) (inv deferd.Invocation, err error) {
		inv, repeated, err = s.Store.Accept(ctx, n)
		return inv, err
	})
	return inv, repeated, err
}

func (s *store) OpenSession(ctx context.Context, n deferd.Session) (deferd.SessionID, error) {
	return do(ctx, s.faults, "store.OpenSession", "", func(ctx context.Context) (deferd.SessionID, error) {
		id, err := s.Store.OpenSession(ctx, n)
		s.record.session(id, err)
		return id, err
	})
}

func (s *store) CloseSession(ctx context.Context, id deferd.SessionID, r deferd.Reason) error {
	return try(ctx, s.faults, "store.CloseSession", string(id), func(ctx context.Context) error {
		return s.Store.CloseSession(ctx, id, r)
	})
}

func (s *store) Claim(ctx context.Context, id deferd.SessionID, confirmed int64, n int) (deferd.Claim, error) {
	return do(ctx, s.faults, "store.Claim", fmt.Sprint(confirmed), func(ctx context.Context) (deferd.Claim, error) {
		return s.Store.Claim(ctx, id, confirmed, n)
	})
}

func (s *store) OldestQueued(ctx context.Context, e deferd.EndpointID) (time.Time, error) {
	return do(ctx, s.faults, "store.OldestQueued", "", func(ctx context.Context) (time.Time, error) {
		return s.Store.OldestQueued(ctx, e)
	})
}

func (s *store) Extend(ctx context.Context, id deferd.SessionID, confirmed int64, held []deferd.LeaseID) ([]deferd.LeaseID, error) {
	return do(ctx, s.faults, "store.Extend", fmt.Sprint(confirmed), func(ctx context.Context) ([]deferd.LeaseID, error) {
		return s.Store.Extend(ctx, id, confirmed, held)
	})
}

func (s *store) Leased(ctx context.Context, id deferd.LeaseID) (deferd.Invocation, error) {
	return do(ctx, s.faults, "store.Leased", string(id), func(ctx context.Context) (deferd.Invocation, error) {
		return s.Store.Leased(ctx, id)
	})
}

func (s *store) Body(ctx context.Context, id deferd.InvocationID) ([]byte, error) {
	return do(ctx, s.faults, "store.Body", string(id), func(ctx context.Context) ([]byte, error) {
		return s.Store.Body(ctx, id)
	})
}

func (s *store) RecordUpload(ctx context.Context, id deferd.LeaseID, u deferd.Upload) (deferd.Upload, error) {
	return do(ctx, s.faults, "store.RecordUpload", string(id), func(ctx context.Context) (deferd.Upload, error) {
		return s.Store.RecordUpload(ctx, id, u)
	})
}

func (s *store) Settle(ctx context.Context, st deferd.Settlement) error {
	return try(ctx, s.faults, "store.Settle", string(st.Lease), func(ctx context.Context) error {
		return s.Store.Settle(ctx, st)
	})
}

func (s *store) Release(ctx context.Context, r deferd.Release) error {
	return try(ctx, s.faults, "store.Release", string(r.Lease), func(ctx context.Context) error {
		return s.Store.Release(ctx, r)
	})
}

func (s *store) End(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) (deferd.Invocation, error) {
	return do(ctx, s.faults, "store.End", string(id), func(ctx context.Context) (deferd.Invocation, error) {
		return s.Store.End(ctx, id, o)
	})
}

func (s *store) Sweep(ctx context.Context, n int) (time.Time, error) {
	return do(ctx, s.faults, "store.Sweep", "", func(ctx context.Context) (time.Time, error) {
		return s.Store.Sweep(ctx, n)
	})
}

func (s *store) Publishing(ctx context.Context, after deferd.Sequence, n int) ([]deferd.Publication, error) {
	return do(ctx, s.faults, "store.Publishing", fmt.Sprint(after, n), func(ctx context.Context) ([]deferd.Publication, error) {
		ps, err := s.Store.Publishing(ctx, after, n)
		s.record.decided(ps)
		return ps, err
	})
}

func (s *store) Finish(ctx context.Context, id deferd.InvocationID, decision int, n *deferd.Notification) error {
	return try(ctx, s.faults, "store.Finish", string(id), func(ctx context.Context) error {
		return s.Store.Finish(ctx, id, decision, n)
	})
}

func (s *store) GiveUp(ctx context.Context, id deferd.InvocationID) error {
	return try(ctx, s.faults, "store.GiveUp", string(id), func(ctx context.Context) error {
		return s.Store.GiveUp(ctx, id)
	})
}

func (s *store) Redecide(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) error {
	return try(ctx, s.faults, "store.Redecide", string(id), func(ctx context.Context) error {
		return s.Store.Redecide(ctx, id, o)
	})
}

func (s *store) Abandoned(ctx context.Context, n int) ([]deferd.Upload, error) {
	return do(ctx, s.faults, "store.Abandoned", "", func(ctx context.Context) ([]deferd.Upload, error) {
		return s.Store.Abandoned(ctx, n)
	})
}

func (s *store) Aborted(ctx context.Context, uploadID string) error {
	return try(ctx, s.faults, "store.Aborted", uploadID, func(ctx context.Context) error {
		return s.Store.Aborted(ctx, uploadID)
	})
}
