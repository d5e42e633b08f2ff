package faulty

import (
	"context"

	"github.com/deferd/deferd"
)

// What notifications pass through on their way.
const (
	outboxRead   = "outbox.read"
	outboxChange = "outbox.change"
)

func (s *store) AddNotice(ctx context.Context, a deferd.AccountID, n deferd.Notification) error {
	return s.cue.run(ctx, outboxChange, func() error { return s.Store.AddNotice(ctx, a, n) })
}

func (s *store) NoticeTargets(ctx context.Context, after string, n int) ([]string, error) {
	return get(ctx, s.cue, outboxRead, func() ([]string, error) { return s.Store.NoticeTargets(ctx, after, n) })
}

func (s *store) DueNotices(ctx context.Context, target string, n int) ([]deferd.Notice, error) {
	return get(ctx, s.cue, outboxRead, func() ([]deferd.Notice, error) { return s.Store.DueNotices(ctx, target, n) })
}

func (s *store) NoticeDelivered(ctx context.Context, seq int64) error {
	return s.cue.run(ctx, outboxChange, func() error { return s.Store.NoticeDelivered(ctx, seq) })
}

func (s *store) NoticeFailed(ctx context.Context, t deferd.NoticeTry) error {
	return s.cue.run(ctx, outboxChange, func() error { return s.Store.NoticeFailed(ctx, t) })
}

func (s *store) Notices(ctx context.Context, q deferd.NoticeQuery) (deferd.Page[deferd.Notice], error) {
	return get(ctx, s.cue, outboxRead, func() (deferd.Page[deferd.Notice], error) { return s.Store.Notices(ctx, q) })
}

func (s *store) ReplayNotice(ctx context.Context, a deferd.AccountID, id string) (int, error) {
	return get(ctx, s.cue, outboxChange, func() (int, error) { return s.Store.ReplayNotice(ctx, a, id) })
}

func (s *store) OutboxCounts(ctx context.Context) (deferd.OutboxCounts, error) {
	return get(ctx, s.cue, outboxRead, func() (deferd.OutboxCounts, error) { return s.Store.OutboxCounts(ctx) })
}
