package faulty

import (
	"context"
	"time"

	"github.com/deferd/deferd"
)

// What no invocation passes through on its way: the registry (of which what
// changes and reads endpoints is "store", too), the access keys, and what
// people look at afterwards.
const (
	registryRead   = "registry.read"
	registryChange = "registry.change"
	keysRead       = "keys.read"
	keysChange     = "keys.change"
	historyRead    = "history.read"
	historyPrune   = "history.prune"
	metricsRead    = "metrics.read"
	metricsChange  = "metrics.change"
)

func (s *store) CreateModel(ctx context.Context, m deferd.Model) error {
	return s.cue.run(ctx, registryChange, func() error { return s.Store.CreateModel(ctx, m) })
}

func (s *store) Model(ctx context.Context, a deferd.AccountID, n deferd.ModelName) (deferd.Model, error) {
	return get(ctx, s.cue, registryRead, func() (deferd.Model, error) { return s.Store.Model(ctx, a, n) })
}

func (s *store) DeleteModel(ctx context.Context, a deferd.AccountID, n deferd.ModelName) error {
	return s.cue.run(ctx, registryChange, func() error { return s.Store.DeleteModel(ctx, a, n) })
}

func (s *store) Models(ctx context.Context, q deferd.ListQuery) (deferd.Page[deferd.Model], error) {
	return get(ctx, s.cue, registryRead, func() (deferd.Page[deferd.Model], error) { return s.Store.Models(ctx, q) })
}

func (s *store) CreateConfig(ctx context.Context, c deferd.Config) error {
	return s.cue.run(ctx, registryChange, func() error { return s.Store.CreateConfig(ctx, c) })
}

func (s *store) Config(ctx context.Context, a deferd.AccountID, n deferd.ConfigName) (deferd.Config, error) {
	return get(ctx, s.cue, registryRead, func() (deferd.Config, error) { return s.Store.Config(ctx, a, n) })
}

func (s *store) DeleteConfig(ctx context.Context, a deferd.AccountID, n deferd.ConfigName) error {
	return s.cue.run(ctx, registryChange, func() error { return s.Store.DeleteConfig(ctx, a, n) })
}

func (s *store) Configs(ctx context.Context, q deferd.ListQuery) (deferd.Page[deferd.Config], error) {
	return get(ctx, s.cue, registryRead, func() (deferd.Page[deferd.Config], error) { return s.Store.Configs(ctx, q) })
}

func (s *store) Endpoints(ctx context.Context, q deferd.ListQuery) (deferd.Page[deferd.Endpoint], error) {
	return get(ctx, s.cue, registryRead, func() (deferd.Page[deferd.Endpoint], error) { return s.Store.Endpoints(ctx, q) })
}

func (s *store) LiveEndpoints(ctx context.Context) ([]deferd.EndpointID, error) {
	return get(ctx, s.cue, registryRead, func() ([]deferd.EndpointID, error) { return s.Store.LiveEndpoints(ctx) })
}

func (s *store) Tags(ctx context.Context, of deferd.Tagged) ([]deferd.Tag, error) {
	return get(ctx, s.cue, registryRead, func() ([]deferd.Tag, error) { return s.Store.Tags(ctx, of) })
}

func (s *store) ChangeTags(ctx context.Context, of deferd.Tagged, f func([]deferd.Tag) ([]deferd.Tag, error)) ([]deferd.Tag, error) {
	return get(ctx, s.cue, registryChange, func() ([]deferd.Tag, error) { return s.Store.ChangeTags(ctx, of, f) })
}

func (s *store) PutKey(ctx context.Context, k deferd.AccessKey) error {
	return s.cue.run(ctx, keysChange, func() error { return s.Store.PutKey(ctx, k) })
}

func (s *store) Key(ctx context.Context, id string) (deferd.AccessKey, error) {
	return get(ctx, s.cue, keysRead, func() (deferd.AccessKey, error) { return s.Store.Key(ctx, id) })
}

func (s *store) DeleteKey(ctx context.Context, id string) error {
	return s.cue.run(ctx, keysChange, func() error { return s.Store.DeleteKey(ctx, id) })
}

func (s *store) AccessKeys(ctx context.Context, a deferd.AccountID) ([]deferd.AccessKey, error) {
	return get(ctx, s.cue, keysRead, func() ([]deferd.AccessKey, error) { return s.Store.AccessKeys(ctx, a) })
}

func (s *store) Invocation(ctx context.Context, e deferd.EndpointID, id string) (deferd.Invocation, error) {
	return get(ctx, s.cue, historyRead, func() (deferd.Invocation, error) { return s.Store.Invocation(ctx, e, id) })
}

func (s *store) Invocations(ctx context.Context, q deferd.InvocationQuery) (deferd.Page[deferd.Invocation], error) {
	return get(ctx, s.cue, historyRead, func() (deferd.Page[deferd.Invocation], error) { return s.Store.Invocations(ctx, q) })
}

func (s *store) Counts(ctx context.Context, e deferd.EndpointID) (deferd.Counts, error) {
	return get(ctx, s.cue, historyRead, func() (deferd.Counts, error) { return s.Store.Counts(ctx, e) })
}

func (s *store) Recount(ctx context.Context, e deferd.EndpointID) (deferd.Counts, error) {
	return get(ctx, s.cue, historyRead, func() (deferd.Counts, error) { return s.Store.Recount(ctx, e) })
}

func (s *store) Prune(ctx context.Context, before time.Time, n int) (int, error) {
	return get(ctx, s.cue, historyPrune, func() (int, error) { return s.Store.Prune(ctx, before, n) })
}
