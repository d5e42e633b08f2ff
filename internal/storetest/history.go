package storetest

import (
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

// series is one of a namespace of the tests' own.
func series(metric string, dims ...deferd.Dimension) deferd.Series {
	return deferd.Series{Account: account, Namespace: "Test", Metric: metric, Dimensions: deferd.MakeDimensions(dims...), Unit: "Count"}
}

func (x *fixture) addHistory(t *testing.T, points ...deferd.Point) {
	t.Helper()
	must(t, x.AddHistory(t.Context(), points))
}

// wantPoints checks what is there of a series.
func (x *fixture) wantPoints(t *testing.T, s deferd.Series, from, to time.Time, want ...deferd.Point) {
	t.Helper()
	got, err := x.Points(t.Context(), s, from, to)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("points of %s from %s to %s differ (-want +got):\n%s", s.Metric, from, to, diff)
	}
}

var historyTests = map[string]func(*testing.T, *fixture){
	"values of one minute add up": func(t *testing.T, x *fixture) {
		s, at := series("a"), x.clock.Now().Truncate(time.Minute)
		x.addHistory(t, deferd.Point{Series: s, Minute: at, Sample: deferd.SampleOf(3)})
		x.addHistory(t,
			deferd.Point{Series: s, Minute: at, Sample: deferd.Sample{Sum: -1, Min: -2, Max: 1, Count: 2}},
			deferd.Point{Series: s, Minute: at.Add(time.Minute), Sample: deferd.SampleOf(0.5)})
		first := deferd.Point{Series: s, Minute: at, Sample: deferd.Sample{Sum: 2, Min: -2, Max: 3, Count: 3}}
		second := deferd.Point{Series: s, Minute: at.Add(time.Minute), Sample: deferd.SampleOf(0.5)}
		x.wantPoints(t, s, at, at.Add(time.Hour), first, second)
		x.wantPoints(t, s, at, at.Add(time.Minute), first)
		x.wantPoints(t, s, at.Add(time.Minute), at.Add(2*time.Minute), second)
	},
	"series are told apart by everything that they have": func(t *testing.T, x *fixture) {
		at := x.clock.Now().Truncate(time.Minute)
		s := series("a", deferd.Dimension{Name: "D", Value: "1&2"})
		others := []deferd.Series{s, s, s, s, s}
		others[0].Account, others[1].Namespace, others[2].Metric = "111111111111", "Other", "b"
		others[3].Dimensions, others[4].Unit = deferd.MakeDimensions(deferd.Dimension{Name: "D", Value: "1"}), "None"
		x.addHistory(t, deferd.Point{Series: s, Minute: at, Sample: deferd.SampleOf(1)})
		for _, o := range others {
			x.wantPoints(t, o, at, at.Add(time.Hour))
		}
		x.addHistory(t, deferd.Point{Series: others[4], Minute: at, Sample: deferd.SampleOf(2)})
		all := s
		all.Unit = ""
		x.wantPoints(t, all, at, at.Add(time.Hour), deferd.Point{Series: all, Minute: at, Sample: deferd.Sample{Sum: 3, Min: 1, Max: 2, Count: 2}})
	},
	"series are listed in pages": func(t *testing.T, x *fixture) {
		at := x.clock.Now().Truncate(time.Minute)
		one, two := deferd.Dimension{Name: "D", Value: "1"}, deferd.Dimension{Name: "D", Value: "2"}
		all := []deferd.Series{series("a"), series("a", one), series("a", two), series("b", two)}
		for i, s := range all {
			x.addHistory(t, deferd.Point{Series: s, Minute: at.Add(time.Duration(i) * time.Minute), Sample: deferd.SampleOf(1)})
		}
		tests := []struct {
			name string
			q    deferd.SeriesQuery
			want []deferd.Series
		}{
			{"all", deferd.SeriesQuery{}, all},
			{"by metric", deferd.SeriesQuery{Namespace: "Test", Metric: "b"}, all[3:]},
			{"by dimension", deferd.SeriesQuery{Dimensions: []deferd.Dimension{two}}, all[2:]},
			{"by the dimension's name", deferd.SeriesQuery{Dimensions: []deferd.Dimension{{Name: "D"}}}, all[1:]},
			{"recent", deferd.SeriesQuery{Since: at.Add(3 * time.Minute)}, all[3:]},
			{"of another account", deferd.SeriesQuery{Account: "111111111111"}, nil},
		}
		for _, tt := range tests {
			for _, size := range []int{1, 2, 100} {
				var got []deferd.Series
				q := tt.q
				if q.Account == "" {
					q.Account = account
				}
				for q.Max = size; ; {
					page, err := x.SeriesList(t.Context(), q)
					must(t, err)
					got = append(got, page.Items...)
					if q.Token = page.Token; q.Token == "" {
						break
					}
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s, pages of %d (-want +got):\n%s", tt.name, size, diff)
				}
			}
		}
		_, err := x.SeriesList(t.Context(), deferd.SeriesQuery{Account: account, Token: "x"})
		wantCode(t, err, deferd.Invalid)
	},
	"what is old is pruned": func(t *testing.T, x *fixture) {
		at := x.clock.Now().Truncate(time.Minute)
		old, living := series("old"), series("living")
		for i := range 3 {
			x.addHistory(t, deferd.Point{Series: old, Minute: at.Add(time.Duration(i) * time.Minute), Sample: deferd.SampleOf(1)})
		}
		kept := deferd.Point{Series: living, Minute: at.Add(3 * time.Minute), Sample: deferd.SampleOf(1)}
		x.addHistory(t, kept)
		for _, want := range []int{2, 1, 0} {
			got, err := x.PruneHistory(t.Context(), kept.Minute, 2)
			must(t, err)
			if got != want {
				t.Errorf("pruned %d points, want %d", got, want)
			}
		}
		x.wantPoints(t, old, at, at.Add(time.Hour))
		x.wantPoints(t, living, at, at.Add(time.Hour), kept)
		page, err := x.SeriesList(t.Context(), deferd.SeriesQuery{Account: account, Max: 10})
		must(t, err)
		if diff := cmp.Diff([]deferd.Series{living}, page.Items); diff != "" {
			t.Errorf("series differ (-want +got):\n%s", diff)
		}
	},
}
