package faulty

import (
	"context"
	"time"

	"github.com/deferd/deferd"
)

func (s *store) AddHistory(ctx context.Context, points []deferd.Point) error {
	return s.cue.run(ctx, metricsChange, func() error { return s.Store.AddHistory(ctx, points) })
}

func (s *store) Points(ctx context.Context, of deferd.Series, from, to time.Time) ([]deferd.Point, error) {
	return get(ctx, s.cue, metricsRead, func() ([]deferd.Point, error) { return s.Store.Points(ctx, of, from, to) })
}

func (s *store) SeriesList(ctx context.Context, q deferd.SeriesQuery) (deferd.Page[deferd.Series], error) {
	return get(ctx, s.cue, metricsRead, func() (deferd.Page[deferd.Series], error) { return s.Store.SeriesList(ctx, q) })
}

func (s *store) PruneHistory(ctx context.Context, before time.Time, n int) (int, error) {
	return get(ctx, s.cue, metricsChange, func() (int, error) { return s.Store.PruneHistory(ctx, before, n) })
}
