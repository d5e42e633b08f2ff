package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// documentRetries are of what the services beside the core keep. Who repeats a
// change reads first.
var documentRetries = []retry{
	{method: "PutDocument", name: "exists", refused: deferd.Exists, prepare: func(t *testing.T, x *fixture) call {
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return s.PutDocument(ctx, document("new", "{}"))
		}
	}},
	{method: "PutDocument", name: "changed", refused: deferd.Changed, prepare: func(t *testing.T, x *fixture) call {
		d := x.put(t, document("d", "old"))
		d.Body = []byte("new")
		return func(ctx context.Context, s deferd.Store) (any, error) { return s.PutDocument(ctx, d) }
	}},
	{method: "DeleteDocument", name: "not found", refused: deferd.NotFound, prepare: func(t *testing.T, x *fixture) call {
		x.put(t, document("d", "{}"))
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.DeleteDocument(ctx, "thing", account, "d")
		}
	}},
	{method: "Document", prepare: func(t *testing.T, x *fixture) call {
		x.put(t, document("d", "{}"))
		return func(ctx context.Context, s deferd.Store) (any, error) { return s.Document(ctx, "thing", account, "d") }
	}},
	{method: "Documents", prepare: func(t *testing.T, x *fixture) call {
		x.put(t, document("d", "{}"))
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return s.Documents(ctx, "thing", account, "", "", 10)
		}
	}},
}

// measure adds one value of a series.
func (x *fixture) measure(t *testing.T) deferd.Point {
	t.Helper()
	p := deferd.Point{Series: series("a"), Minute: x.Now().Truncate(time.Minute), Sample: deferd.SampleOf(3)}
	x.addHistory(t, p)
	return p
}

// historyRetries are of metrics.
var historyRetries = []retry{
	{method: "AddHistory", name: "counts twice", differs: func(t *testing.T, once, again result) {
		if got := again.State.Points; again.Err != "" || len(got) != 1 || got[0].Sample.Count != 3 {
			t.Errorf("%q, points %v, want the first and two more", again.Err, got)
		}
	}, prepare: func(t *testing.T, x *fixture) call {
		p := x.measure(t)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.AddHistory(ctx, []deferd.Point{p})
		}
	}},
	{method: "Points", prepare: func(t *testing.T, x *fixture) call {
		p := x.measure(t)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return s.Points(ctx, p.Series, p.Minute, p.Minute.Add(time.Minute))
		}
	}},
	{method: "SeriesList", prepare: func(t *testing.T, x *fixture) call {
		x.measure(t)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return s.SeriesList(ctx, deferd.SeriesQuery{Account: account, Max: 10})
		}
	}},
	{method: "PruneHistory", name: "finds what is left", differs: func(t *testing.T, once, again result) {
		diff(t, "what is left", once.State, again.State)
		if again.Err != "" || again.Answer != any(0) {
			t.Errorf("%q, answered %v, want nothing more pruned", again.Err, again.Answer)
		}
	}, prepare: func(t *testing.T, x *fixture) call {
		p := x.measure(t)
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return s.PruneHistory(ctx, p.Minute.Add(time.Minute), 10)
		}
	}},
}
