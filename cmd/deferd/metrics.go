package main

import (
	"maps"
	"slices"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/scheduler"
	"github.com/deferd/deferd/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics is everything that /metrics shows.
func (srv *server) metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		telemetry.NewCollector(srv.metricSource()),
		srv.latencies,
	)
	return r
}

func (srv *server) metricSource() telemetry.Source {
	d := srv.dispatch
	s := telemetry.Source{
		Endpoints: srv.busyEndpoints,
		Endpoint:  srv.store.EndpointByID,
		Counts:    srv.store.Counts,
		Oldest:    srv.store.OldestQueued,
		Now:       srv.store.Now,
		Instances: func(id deferd.EndpointID) (ready, starting, busy int) {
			n := srv.scheduler.AllInstances(id)
			return n.Ready, n.Starting, n.Busy
		},
		Slots: func() []telemetry.Slots {
			var all []telemetry.Slots
			for _, s := range srv.history.Slots() {
				all = append(all, telemetry.Slots(s))
			}
			return all
		},
		Attempts: func() map[deferd.Reason]int64 { return srv.history.Attempts().Ended },
		Gauges: map[string]func() float64{
			"deferd_claims_waiting":             func() float64 { return float64(d.Stats().ClaimsWaiting) },
			"deferd_outcomes_to_publish":        func() float64 { return float64(d.Stats().ToPublish) },
			"deferd_store_clock_offset_seconds": func() float64 { return time.Until(srv.store.Now()).Seconds() },
		},
		Counters: map[string]func() float64{
			"deferd_leases_lost_total":          func() float64 { return float64(srv.history.Attempts().Lost) },
			"deferd_outcomes_published_total":   func() float64 { return float64(d.Stats().Published) },
			"deferd_publish_retries_total":      func() float64 { return float64(d.Stats().PublishRetries) },
			"deferd_settles_refused_total":      func() float64 { return float64(d.Stats().SettlesRefused) },
			"deferd_store_commits_total":        func() float64 { n, _ := srv.store.CommitStats(); return float64(n) },
			"deferd_store_operations_total":     func() float64 { _, n := srv.store.CommitStats(); return float64(n) },
			"deferd_store_commit_seconds_total": func() float64 { return srv.store.CommitTime().Seconds() },
		},
	}
	srv.addOutboxMetrics(&s)
	return s
}

// busyEndpoints are those that have instances, or work, or had some lately.
func (srv *server) busyEndpoints() []deferd.EndpointID {
	busy := map[deferd.EndpointID]bool{}
	for _, id := range srv.history.Recent() {
		busy[id] = true
	}
	for _, id := range srv.scheduler.Endpoints() {
		if srv.scheduler.AllInstances(id) != (scheduler.InstanceCounts{}) {
			busy[id] = true
		}
	}
	return slices.Collect(maps.Keys(busy))
}
