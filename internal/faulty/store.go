package faulty

import (
	"context"
	"time"

	"github.com/deferd/deferd"
)

// Store wraps a store. Its clock, its feeds and its Close stay as they are. What
// happens to an invocation is called "store"; the rest is in registry.go.
func (c *Cue) Store(s deferd.Store) deferd.Store { return &store{s, c} }

type store struct {
	deferd.Store
	cue *Cue
}

const (
	accept = "store.accept"
	claim  = "store.claim"
	settle = "store.settle"
	finish = "store.finish"
	read   = "store.read"
	change = "store.change"
)

func (s *store) Accept(ctx context.Context, n deferd.NewInvocation) (inv deferd.Invocation, repeated bool, err error) {
	inv, err = get(ctx, s.cue, accept, func() (inv deferd.Invocation, err error) {
		inv, repeated, err = s.Store.Accept(ctx, n)
		return inv, err
	})
	return inv, repeated && err == nil, err
}

func (s *store) OpenSession(ctx context.Context, n deferd.Session) (deferd.SessionID, error) {
	return get(ctx, s.cue, claim, func() (deferd.SessionID, error) { return s.Store.OpenSession(ctx, n) })
}

func (s *store) CloseSession(ctx context.Context, id deferd.SessionID, r deferd.Reason) error {
	return s.cue.run(ctx, claim, func() error { return s.Store.CloseSession(ctx, id, r) })
}

func (s *store) Claim(ctx context.Context, id deferd.SessionID, confirmed int64, n int) (deferd.Claim, error) {
	return get(ctx, s.cue, claim, func() (deferd.Claim, error) { return s.Store.Claim(ctx, id, confirmed, n) })
}

func (s *store) Extend(ctx context.Context, id deferd.SessionID, confirmed int64, held []deferd.LeaseID) ([]deferd.LeaseID, error) {
	return get(ctx, s.cue, claim, func() ([]deferd.LeaseID, error) { return s.Store.Extend(ctx, id, confirmed, held) })
}

func (s *store) RecordUpload(ctx context.Context, id deferd.LeaseID, u deferd.Upload) (deferd.Upload, error) {
	return get(ctx, s.cue, settle, func() (deferd.Upload, error) { return s.Store.RecordUpload(ctx, id, u) })
}

func (s *store) Settle(ctx context.Context, o deferd.Settlement) error {
	return s.cue.run(ctx, settle, func() error { return s.Store.Settle(ctx, o) })
}

func (s *store) Release(ctx context.Context, r deferd.Release) error {
	return s.cue.run(ctx, settle, func() error { return s.Store.Release(ctx, r) })
}

func (s *store) End(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) (deferd.Invocation, error) {
	return get(ctx, s.cue, settle, func() (deferd.Invocation, error) { return s.Store.End(ctx, id, o) })
}

func (s *store) Finish(ctx context.Context, id deferd.InvocationID, decision int, n *deferd.Notification) error {
	return s.cue.run(ctx, finish, func() error { return s.Store.Finish(ctx, id, decision, n) })
}

func (s *store) GiveUp(ctx context.Context, id deferd.InvocationID) error {
	return s.cue.run(ctx, finish, func() error { return s.Store.GiveUp(ctx, id) })
}

func (s *store) Redecide(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) error {
	return s.cue.run(ctx, finish, func() error { return s.Store.Redecide(ctx, id, o) })
}

func (s *store) Aborted(ctx context.Context, uploadID string) error {
	return s.cue.run(ctx, finish, func() error { return s.Store.Aborted(ctx, uploadID) })
}

func (s *store) Sweep(ctx context.Context, n int) (time.Time, error) {
	return get(ctx, s.cue, change, func() (time.Time, error) { return s.Store.Sweep(ctx, n) })
}

func (s *store) ChangeEndpoint(ctx context.Context, id deferd.EndpointID, f func(*deferd.Endpoint) error) (deferd.Endpoint, error) {
	return get(ctx, s.cue, change, func() (deferd.Endpoint, error) { return s.Store.ChangeEndpoint(ctx, id, f) })
}

func (s *store) RemoveEndpoint(ctx context.Context, id deferd.EndpointID) error {
	return s.cue.run(ctx, change, func() error { return s.Store.RemoveEndpoint(ctx, id) })
}

func (s *store) CreateEndpoint(ctx context.Context, e deferd.Endpoint) error {
	return s.cue.run(ctx, change, func() error { return s.Store.CreateEndpoint(ctx, e) })
}

func (s *store) Leased(ctx context.Context, id deferd.LeaseID) (deferd.Invocation, error) {
	return get(ctx, s.cue, read, func() (deferd.Invocation, error) { return s.Store.Leased(ctx, id) })
}

func (s *store) Body(ctx context.Context, id deferd.InvocationID) ([]byte, error) {
	return get(ctx, s.cue, read, func() ([]byte, error) { return s.Store.Body(ctx, id) })
}

func (s *store) Publishing(ctx context.Context, after deferd.Sequence, n int) ([]deferd.Publication, error) {
	return get(ctx, s.cue, read, func() ([]deferd.Publication, error) { return s.Store.Publishing(ctx, after, n) })
}

func (s *store) Abandoned(ctx context.Context, n int) ([]deferd.Upload, error) {
	return get(ctx, s.cue, read, func() ([]deferd.Upload, error) { return s.Store.Abandoned(ctx, n) })
}

func (s *store) OldestQueued(ctx context.Context, e deferd.EndpointID) (time.Time, error) {
	return get(ctx, s.cue, read, func() (time.Time, error) { return s.Store.OldestQueued(ctx, e) })
}

func (s *store) Endpoint(ctx context.Context, a deferd.AccountID, n deferd.EndpointName) (deferd.Endpoint, error) {
	return get(ctx, s.cue, read, func() (deferd.Endpoint, error) { return s.Store.Endpoint(ctx, a, n) })
}

func (s *store) EndpointByID(ctx context.Context, id deferd.EndpointID) (deferd.Endpoint, error) {
	return get(ctx, s.cue, read, func() (deferd.Endpoint, error) { return s.Store.EndpointByID(ctx, id) })
}

func (s *store) ConfigByID(ctx context.Context, id deferd.ConfigID) (deferd.Config, error) {
	return get(ctx, s.cue, read, func() (deferd.Config, error) { return s.Store.ConfigByID(ctx, id) })
}

func (s *store) ModelByID(ctx context.Context, id deferd.ModelID) (deferd.Model, error) {
	return get(ctx, s.cue, read, func() (deferd.Model, error) { return s.Store.ModelByID(ctx, id) })
}

func (s *store) PutDocument(ctx context.Context, d deferd.Document) (deferd.Document, error) {
	return get(ctx, s.cue, change, func() (deferd.Document, error) { return s.Store.PutDocument(ctx, d) })
}

func (s *store) DeleteDocument(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, name string) error {
	return s.cue.run(ctx, change, func() error { return s.Store.DeleteDocument(ctx, k, a, name) })
}

func (s *store) Document(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, name string) (deferd.Document, error) {
	return get(ctx, s.cue, read, func() (deferd.Document, error) { return s.Store.Document(ctx, k, a, name) })
}

func (s *store) Documents(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, prefix, after string, n int) ([]deferd.Document, error) {
	return get(ctx, s.cue, read, func() ([]deferd.Document, error) {
		return s.Store.Documents(ctx, k, a, prefix, after, n)
	})
}
