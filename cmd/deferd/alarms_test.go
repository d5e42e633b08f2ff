package main

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sqlite"
)

// The minutes that have ended are read, in order, and those without values are
// missing.
func TestHistoryMetrics(t *testing.T) {
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "deferd.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := time.Unix(1_800_000_030, 0).UTC()
	series := deferd.Series{Account: "a", Namespace: "Mine", Metric: "load", Dimensions: deferd.MakeDimensions(deferd.Dimension{Name: "d", Value: "x"}), Unit: "Count"}
	at := func(minutes int, v ...float64) (points []deferd.Point) {
		for _, v := range v {
			points = append(points, deferd.Point{Series: series, Minute: now.Truncate(time.Minute).Add(time.Duration(minutes) * time.Minute), Sample: deferd.SampleOf(v)})
		}
		return points
	}
	for _, points := range [][]deferd.Point{at(-5, 99), at(-4, 1, 3), at(-2, 4), at(-1, 5), at(0, 99)} {
		if err := store.AddHistory(t.Context(), points); err != nil {
			t.Fatal(err)
		}
	}
	metric := deferd.ScalingMetric{Namespace: "Mine", Name: "load", Dimensions: map[string]string{"d": "x"}}
	for statistic, want := range map[string][]float64{
		"Average": {2, math.NaN(), 4, 5}, "Sum": {4, math.NaN(), 4, 5}, "Maximum": {3, math.NaN(), 4, 5}, "SampleCount": {2, math.NaN(), 1, 1},
	} {
		metric.Statistic = statistic
		got, err := historyMetrics{store}.Values(t.Context(), "a", metric, now, 4)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", statistic, diff)
		}
	}
}
