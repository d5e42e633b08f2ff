package history

import (
	"context"
	"time"

	"github.com/deferd/deferd"
)

// Store returns s as it is to be used by whoever puts work or alarms into it,
// so that both are noticed.
func (r *Recorder) Store(s deferd.Store) deferd.Store { return &store{s, r} }

type store struct {
	deferd.Store
	r *Recorder
}

// OnWork has the recorder hear of work first.
func (s *store) OnWork(f func(deferd.EndpointID)) {
	s.Store.OnWork(func(id deferd.EndpointID) {
		s.r.Touch(id)
		f(id)
	})
}

// Accept measures how long an accept takes until it is durable.
func (s *store) Accept(ctx context.Context, n deferd.NewInvocation) (deferd.Invocation, bool, error) {
	began := time.Now()
	inv, repeated, err := s.Store.Accept(ctx, n)
	s.r.c.Stored("accept", time.Since(began))
	return inv, repeated, err
}

// Settle measures how long a settle takes until it is durable.
func (s *store) Settle(ctx context.Context, x deferd.Settlement) error {
	began := time.Now()
	err := s.Store.Settle(ctx, x)
	s.r.c.Stored("settle", time.Since(began))
	return err
}

// PutDocument has an alarm that is put looked at.
func (s *store) PutDocument(ctx context.Context, d deferd.Document) (deferd.Document, error) {
	put, err := s.Store.PutDocument(ctx, d)
	if err == nil && d.Kind == deferd.KindAlarm {
		s.r.alarms.put(put)
	}
	return put, err
}

// DeleteDocument forgets an alarm that is deleted.
func (s *store) DeleteDocument(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, name string) error {
	err := s.Store.DeleteDocument(ctx, k, a, name)
	if err == nil && k == deferd.KindAlarm {
		s.r.alarms.forget(name)
	}
	return err
}

// CreateEndpoint wakes the alarms that watch for the endpoint.
func (s *store) CreateEndpoint(ctx context.Context, e deferd.Endpoint) error {
	err := s.Store.CreateEndpoint(ctx, e)
	if err == nil {
		s.r.alarms.lived(e.Name)
	}
	return err
}

// RemoveEndpoint wakes the alarms that watch the endpoint.
func (s *store) RemoveEndpoint(ctx context.Context, id deferd.EndpointID) error {
	e, known := s.Store.EndpointByID(ctx, id)
	err := s.Store.RemoveEndpoint(ctx, id)
	if err == nil {
		s.r.removed(id)
	}
	if err == nil && known == nil {
		s.r.alarms.lived(e.Name)
	}
	return err
}
