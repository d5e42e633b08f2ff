package telemetry

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestLatencies(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := NewLatencies(func(_ context.Context, id deferd.EndpointID) (deferd.Endpoint, error) {
		if id == "gone" {
			return deferd.Endpoint{}, deferd.Errorf(deferd.NotFound, "gone")
		}
		return deferd.Endpoint{ID: id, Name: deferd.EndpointName("name-" + id)}, nil
	}, func() time.Time { return now })
	l.Observe("e1", deferd.ModelLatency, 3*time.Millisecond)
	l.Observe("gone", deferd.ModelLatency, time.Second)
	now = now.Add(10 * time.Minute)
	l.Observe("e2", deferd.ModelLatency, 2*time.Hour)
	l.Observe("e2", deferd.ModelLatency, 48*time.Hour)
	l.Observe("e2", "unheard of", time.Second)
	l.Stored("accept", time.Millisecond)
	if got := testutil.CollectAndCount(l, "deferd_model_seconds"); got != 2 {
		t.Errorf("%d endpoints have a histogram, want 2", got)
	}
	if got := testutil.CollectAndCount(l, "deferd_store_wait_seconds"); got != 1 {
		t.Errorf("%d calls of the store have a histogram, want 1", got)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(l)
	text := exposition(t, r)
	for _, line := range []string{
		`deferd_model_seconds_bucket{endpoint="name-e1",le="0.001"} 0`,
		`deferd_model_seconds_bucket{endpoint="name-e1",le="0.005"} 1`,
		`deferd_model_seconds_bucket{endpoint="name-e2",le="3600"} 0`,
		`deferd_model_seconds_bucket{endpoint="name-e2",le="86400"} 1`,
		`deferd_model_seconds_bucket{endpoint="name-e2",le="+Inf"} 2`,
		`deferd_model_seconds_sum{endpoint="name-e2"} 180000`,
		`deferd_store_wait_seconds_bucket{call="accept",le="0.001"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("there is no line %q in:\n%s", line, text)
		}
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	now = now.Add(10 * time.Minute) // e1 has been quiet for 20
	if got := testutil.CollectAndCount(l, "deferd_model_seconds"); got != 1 {
		t.Errorf("later %d endpoints have a histogram, want 1", got)
	}
}

// exposition is what a scrape sees.
func exposition(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}
