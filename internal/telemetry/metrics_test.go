package telemetry

import (
	"context"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestCollector(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := NewCollector(Source{
		Endpoints: func() []deferd.EndpointID { return []deferd.EndpointID{"e1", "gone"} },
		Endpoint: func(_ context.Context, id deferd.EndpointID) (deferd.Endpoint, error) {
			if id == "gone" {
				return deferd.Endpoint{}, deferd.Errorf(deferd.NotFound, "gone")
			}
			return deferd.Endpoint{ID: id, Name: "ep"}, nil
		},
		Counts: func(context.Context, deferd.EndpointID) (deferd.Counts, error) {
			return deferd.Counts{Accepted: 10, Queued: 1, Running: 2, Completed: 4, Failed: 1}, nil
		},
		Oldest:    func(context.Context, deferd.EndpointID) (time.Time, error) { return now.Add(-90 * time.Second), nil },
		Now:       func() time.Time { return now },
		Instances: func(deferd.EndpointID) (int, int, int) { return 3, 1, 2 },
		Slots: func() []Slots {
			return []Slots{{deferd.Session{Endpoint: "e1", Variant: "v", Instance: "i", Slots: 4}, 3}}
		},
		Attempts: func() map[deferd.Reason]int64 { return map[deferd.Reason]int64{deferd.ModelOK: 7} },
		Gauges:   map[string]func() float64{"deferd_claims_waiting": func() float64 { return 5 }},
		Counters: map[string]func() float64{"deferd_settles_refused_total": func() float64 { return 6 }},
	})
	want := `
# HELP deferd_attempts_total Attempts that their agents ended, by what ended them.
# TYPE deferd_attempts_total counter
deferd_attempts_total{reason="ok"} 7
# HELP deferd_claims_waiting Claims of agents that wait for work.
# TYPE deferd_claims_waiting gauge
deferd_claims_waiting 5
# HELP deferd_conservation_drift Accepted less queued, running and ended: zero, or a bug.
# TYPE deferd_conservation_drift gauge
deferd_conservation_drift{endpoint="ep"} 2
# HELP deferd_endpoint_metrics_left_out Endpoints that could not be read for the metrics.
# TYPE deferd_endpoint_metrics_left_out gauge
deferd_endpoint_metrics_left_out 1
# HELP deferd_instance_slots Slots of an instance.
# TYPE deferd_instance_slots gauge
deferd_instance_slots{endpoint="ep",instance="i",variant="v"} 4
# HELP deferd_instance_slots_busy Slots of an instance that are taken.
# TYPE deferd_instance_slots_busy gauge
deferd_instance_slots_busy{endpoint="ep",instance="i",variant="v"} 3
# HELP deferd_instances Model instances of an endpoint, by state.
# TYPE deferd_instances gauge
deferd_instances{endpoint="ep",state="ready"} 3
deferd_instances{endpoint="ep",state="starting"} 1
# HELP deferd_invocations_accepted_total Invocations accepted, since the endpoint was created.
# TYPE deferd_invocations_accepted_total counter
deferd_invocations_accepted_total{endpoint="ep"} 10
# HELP deferd_oldest_queued_age_seconds Age of the oldest invocation that waits; 0 where none does.
# TYPE deferd_oldest_queued_age_seconds gauge
deferd_oldest_queued_age_seconds{endpoint="ep"} 90
# HELP deferd_settles_refused_total Settles of agents whose lease was not current any more.
# TYPE deferd_settles_refused_total counter
deferd_settles_refused_total 6
`
	names := []string{
		"deferd_attempts_total", "deferd_instance_slots", "deferd_instance_slots_busy", "deferd_claims_waiting", "deferd_conservation_drift", "deferd_endpoint_metrics_left_out", "deferd_instances",
		"deferd_invocations_accepted_total", "deferd_oldest_queued_age_seconds", "deferd_settles_refused_total",
	}
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// docs/metrics.md names every series that there is.
func TestMetricsDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Collect(maps.Keys(help))
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for _, d := range append(slices.Collect(maps.Values(timed)), stateDesc, accepted, pruned, drift, age, instances, slots, perSlot, perBusy, attempts, storeWait) {
		names = append(names, name.FindStringSubmatch(d.String())[1])
	}
	for _, n := range names {
		if !strings.Contains(string(page), n) {
			t.Errorf("docs/metrics.md does not name %s", n)
		}
	}
}
