package storetest

import (
	"context"
	"time"

	"github.com/deferd/deferd"
)

// Serial returns s with one call at a time let in to what loops ask of it. A store in a
// synctest bubble needs that: SQLite sleeps where two of its connections meet,
// holding a mutex, and the bubble's clock stands while somebody waits for a
// mutex. Who waits for a turn here waits for a channel.
func Serial(s deferd.Store) deferd.Store {
	return &serialStore{Store: s, turn: make(chan struct{}, 1)}
}

type serialStore struct {
	deferd.Store
	turn chan struct{}
}

// take waits for a turn; calling what it returns gives it back.
func (s *serialStore) take() (giveBack func()) {
	s.turn <- struct{}{}
	return func() { <-s.turn }
}

func (s *serialStore) Accept(ctx context.Context, n deferd.NewInvocation) (deferd.Invocation, bool, error) {
	defer s.take()()
	return s.Store.Accept(ctx, n)
}

func (s *serialStore) OpenSession(ctx context.Context, n deferd.Session) (deferd.SessionID, error) {
	defer s.take()()
	return s.Store.OpenSession(ctx, n)
}

func (s *serialStore) Claim(ctx context.Context, id deferd.SessionID, confirmed int64, n int) (deferd.Claim, error) {
	defer s.take()()
	return s.Store.Claim(ctx, id, confirmed, n)
}

func (s *serialStore) Extend(ctx context.Context, id deferd.SessionID, confirmed int64, held []deferd.LeaseID) ([]deferd.LeaseID, error) {
	defer s.take()()
	return s.Store.Extend(ctx, id, confirmed, held)
}

func (s *serialStore) Leased(ctx context.Context, id deferd.LeaseID) (deferd.Invocation, error) {
	defer s.take()()
	return s.Store.Leased(ctx, id)
}

func (s *serialStore) RecordUpload(ctx context.Context, id deferd.LeaseID, u deferd.Upload) (deferd.Upload, error) {
	defer s.take()()
	return s.Store.RecordUpload(ctx, id, u)
}

func (s *serialStore) End(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) (deferd.Invocation, error) {
	defer s.take()()
	return s.Store.End(ctx, id, o)
}

func (s *serialStore) Publishing(ctx context.Context, after deferd.Sequence, n int) ([]deferd.Publication, error) {
	defer s.take()()
	return s.Store.Publishing(ctx, after, n)
}

func (s *serialStore) Abandoned(ctx context.Context, n int) ([]deferd.Upload, error) {
	defer s.take()()
	return s.Store.Abandoned(ctx, n)
}

func (s *serialStore) Invocation(ctx context.Context, e deferd.EndpointID, id string) (deferd.Invocation, error) {
	defer s.take()()
	return s.Store.Invocation(ctx, e, id)
}

func (s *serialStore) Counts(ctx context.Context, e deferd.EndpointID) (deferd.Counts, error) {
	defer s.take()()
	return s.Store.Counts(ctx, e)
}

func (s *serialStore) OldestQueued(ctx context.Context, e deferd.EndpointID) (time.Time, error) {
	defer s.take()()
	return s.Store.OldestQueued(ctx, e)
}

func (s *serialStore) Body(ctx context.Context, id deferd.InvocationID) ([]byte, error) {
	defer s.take()()
	return s.Store.Body(ctx, id)
}

func (s *serialStore) CloseSession(ctx context.Context, id deferd.SessionID, r deferd.Reason) error {
	defer s.take()()
	return s.Store.CloseSession(ctx, id, r)
}

func (s *serialStore) Settle(ctx context.Context, st deferd.Settlement) error {
	defer s.take()()
	return s.Store.Settle(ctx, st)
}

func (s *serialStore) Release(ctx context.Context, r deferd.Release) error {
	defer s.take()()
	return s.Store.Release(ctx, r)
}

func (s *serialStore) Finish(ctx context.Context, id deferd.InvocationID, decision int, n *deferd.Notification) error {
	defer s.take()()
	return s.Store.Finish(ctx, id, decision, n)
}

func (s *serialStore) GiveUp(ctx context.Context, id deferd.InvocationID) error {
	defer s.take()()
	return s.Store.GiveUp(ctx, id)
}

func (s *serialStore) Redecide(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) error {
	defer s.take()()
	return s.Store.Redecide(ctx, id, o)
}

func (s *serialStore) Aborted(ctx context.Context, uploadID string) error {
	defer s.take()()
	return s.Store.Aborted(ctx, uploadID)
}

func (s *serialStore) EndpointByID(ctx context.Context, id deferd.EndpointID) (deferd.Endpoint, error) {
	defer s.take()()
	return s.Store.EndpointByID(ctx, id)
}

func (s *serialStore) Endpoint(ctx context.Context, a deferd.AccountID, n deferd.EndpointName) (deferd.Endpoint, error) {
	defer s.take()()
	return s.Store.Endpoint(ctx, a, n)
}

func (s *serialStore) ConfigByID(ctx context.Context, id deferd.ConfigID) (deferd.Config, error) {
	defer s.take()()
	return s.Store.ConfigByID(ctx, id)
}

func (s *serialStore) ModelByID(ctx context.Context, id deferd.ModelID) (deferd.Model, error) {
	defer s.take()()
	return s.Store.ModelByID(ctx, id)
}

func (s *serialStore) LiveEndpoints(ctx context.Context) ([]deferd.EndpointID, error) {
	defer s.take()()
	return s.Store.LiveEndpoints(ctx)
}

func (s *serialStore) ChangeEndpoint(ctx context.Context, id deferd.EndpointID, change func(*deferd.Endpoint) error) (deferd.Endpoint, error) {
	defer s.take()()
	return s.Store.ChangeEndpoint(ctx, id, change)
}

func (s *serialStore) Sweep(ctx context.Context, n int) (time.Time, error) {
	defer s.take()()
	return s.Store.Sweep(ctx, n)
}

func (s *serialStore) Prune(ctx context.Context, before time.Time, n int) (int, error) {
	defer s.take()()
	return s.Store.Prune(ctx, before, n)
}

func (s *serialStore) RemoveEndpoint(ctx context.Context, id deferd.EndpointID) error {
	defer s.take()()
	return s.Store.RemoveEndpoint(ctx, id)
}

func (s *serialStore) CreateEndpoint(ctx context.Context, e deferd.Endpoint) error {
	defer s.take()()
	return s.Store.CreateEndpoint(ctx, e)
}

func (s *serialStore) CreateModel(ctx context.Context, m deferd.Model) error {
	defer s.take()()
	return s.Store.CreateModel(ctx, m)
}

func (s *serialStore) CreateConfig(ctx context.Context, c deferd.Config) error {
	defer s.take()()
	return s.Store.CreateConfig(ctx, c)
}

func (s *serialStore) ChangeTags(ctx context.Context, of deferd.Tagged, change func([]deferd.Tag) ([]deferd.Tag, error)) ([]deferd.Tag, error) {
	defer s.take()()
	return s.Store.ChangeTags(ctx, of, change)
}

func (s *serialStore) PutDocument(ctx context.Context, d deferd.Document) (deferd.Document, error) {
	defer s.take()()
	return s.Store.PutDocument(ctx, d)
}

func (s *serialStore) Document(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, name string) (deferd.Document, error) {
	defer s.take()()
	return s.Store.Document(ctx, k, a, name)
}

func (s *serialStore) DeleteDocument(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, name string) error {
	defer s.take()()
	return s.Store.DeleteDocument(ctx, k, a, name)
}

func (s *serialStore) Documents(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, prefix, after string, n int) ([]deferd.Document, error) {
	defer s.take()()
	return s.Store.Documents(ctx, k, a, prefix, after, n)
}

func (s *serialStore) AddNotice(ctx context.Context, a deferd.AccountID, n deferd.Notification) error {
	defer s.take()()
	return s.Store.AddNotice(ctx, a, n)
}

func (s *serialStore) NoticeTargets(ctx context.Context, after string, n int) ([]string, error) {
	defer s.take()()
	return s.Store.NoticeTargets(ctx, after, n)
}

func (s *serialStore) DueNotices(ctx context.Context, target string, n int) ([]deferd.Notice, error) {
	defer s.take()()
	return s.Store.DueNotices(ctx, target, n)
}

func (s *serialStore) NoticeDelivered(ctx context.Context, seq int64) error {
	defer s.take()()
	return s.Store.NoticeDelivered(ctx, seq)
}

func (s *serialStore) NoticeFailed(ctx context.Context, t deferd.NoticeTry) error {
	defer s.take()()
	return s.Store.NoticeFailed(ctx, t)
}

func (s *serialStore) Notices(ctx context.Context, q deferd.NoticeQuery) (deferd.Page[deferd.Notice], error) {
	defer s.take()()
	return s.Store.Notices(ctx, q)
}

func (s *serialStore) ReplayNotice(ctx context.Context, a deferd.AccountID, id string) (int, error) {
	defer s.take()()
	return s.Store.ReplayNotice(ctx, a, id)
}

func (s *serialStore) OutboxCounts(ctx context.Context) (deferd.OutboxCounts, error) {
	defer s.take()()
	return s.Store.OutboxCounts(ctx)
}
