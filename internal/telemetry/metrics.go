// Package telemetry is where deferd's metrics leave it: as Prometheus series.
package telemetry

import (
	"context"
	"time"

	"github.com/deferd/deferd"
	"github.com/prometheus/client_golang/prometheus"
)

// A Source is what the metrics are read from, when they are asked for.
type Source struct {
	// Endpoints are those that deserve series: with instances or backlog.
	Endpoints func() []deferd.EndpointID
	Endpoint  func(context.Context, deferd.EndpointID) (deferd.Endpoint, error)
	Counts    func(context.Context, deferd.EndpointID) (deferd.Counts, error)
	Oldest    func(context.Context, deferd.EndpointID) (time.Time, error)
	Now       func() time.Time

	// Instances counts an endpoint's instances.
	Instances func(deferd.EndpointID) (ready, starting, busy int)

	// Gauges and Counters are single numbers by name; see Names for what they
	// mean.
	Gauges   map[string]func() float64
	Counters map[string]func() float64
}

// help says what the single numbers mean.
var help = map[string]string{
	"deferd_claims_waiting":             "Claims of agents that wait for work.",
	"deferd_outcomes_to_publish":        "Decided outcomes that are not visible yet.",
	"deferd_outcomes_published_total":   "Outcomes made visible.",
	"deferd_publish_retries_total":      "Tries to publish an outcome that the object store did not take.",
	"deferd_settles_refused_total":      "Settles of agents whose lease was not current any more.",
	"deferd_store_commits_total":        "Transactions that the store has committed.",
	"deferd_store_operations_total":     "Operations in these transactions.",
	"deferd_store_clock_offset_seconds": "The store's clock less wall time.",
	"deferd_endpoint_metrics_left_out":  "Endpoints that could not be read for the metrics.",
}

var (
	byState   = []string{"endpoint", "state"}
	byName    = []string{"endpoint"}
	stateDesc = prometheus.NewDesc("deferd_invocations", "Invocations of an endpoint that are known, by state.", byState, nil)
	accepted  = prometheus.NewDesc("deferd_invocations_accepted_total", "Invocations accepted, since the endpoint was created.", byName, nil)
	pruned    = prometheus.NewDesc("deferd_invocations_pruned_total", "Ended invocations whose history is over.", byName, nil)
	drift     = prometheus.NewDesc("deferd_conservation_drift", "Accepted less queued, running and ended: zero, or a bug.", byName, nil)
	age       = prometheus.NewDesc("deferd_oldest_queued_age_seconds", "Age of the oldest invocation that waits; 0 where none does.", byName, nil)
	instances = prometheus.NewDesc("deferd_instances", "Model instances of an endpoint, by state.", byState, nil)
	slots     = prometheus.NewDesc("deferd_slots_busy", "Invocations that run on an endpoint's instances.", byName, nil)
)

// A Collector reads the source whenever it is scraped; nothing is kept.
type Collector struct {
	s Source
}

// NewCollector returns a collector to be registered.
func NewCollector(s Source) *Collector { return &Collector{s} }

// Describe sends nothing: which series there are depends on the endpoints.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends all series.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for name, read := range c.s.Gauges {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help[name], nil, nil), prometheus.GaugeValue, read())
	}
	for name, read := range c.s.Counters {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help[name], nil, nil), prometheus.CounterValue, read())
	}
	leftOut := 0
	for _, id := range c.s.Endpoints() {
		if err := c.endpoint(ctx, ch, id); err != nil {
			leftOut++
		}
	}
	const name = "deferd_endpoint_metrics_left_out"
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help[name], nil, nil), prometheus.GaugeValue, float64(leftOut))
}

// endpoint sends the series of one endpoint.
func (c *Collector) endpoint(ctx context.Context, ch chan<- prometheus.Metric, id deferd.EndpointID) error {
	e, err := c.s.Endpoint(ctx, id)
	if err != nil {
		return err
	}
	counts, err := c.s.Counts(ctx, id)
	if err != nil {
		return err
	}
	oldest, err := c.s.Oldest(ctx, id)
	if err != nil {
		return err
	}
	name := string(e.Name)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{name}, labels...)...)
	}
	for state := deferd.Queued; state <= deferd.Cancelled; state++ {
		gauge(stateDesc, float64(*counts.Of(state)), state.String())
	}
	ch <- prometheus.MustNewConstMetric(accepted, prometheus.CounterValue, float64(counts.Accepted), name)
	ch <- prometheus.MustNewConstMetric(pruned, prometheus.CounterValue, float64(counts.Pruned), name)
	gauge(drift, float64(counts.Drift()))
	waited := 0.0
	if !oldest.IsZero() {
		waited = c.s.Now().Sub(oldest).Seconds()
	}
	gauge(age, waited)
	ready, starting, busy := c.s.Instances(id)
	gauge(instances, float64(ready), "ready")
	gauge(instances, float64(starting), "starting")
	gauge(slots, float64(busy))
	return nil
}
