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
	// Endpoints are those that deserve series: with instances, with work, or
	// with work a while ago.
	Endpoints func() []deferd.EndpointID
	Endpoint  func(context.Context, deferd.EndpointID) (deferd.Endpoint, error)
	Counts    func(context.Context, deferd.EndpointID) (deferd.Counts, error)
	Oldest    func(context.Context, deferd.EndpointID) (time.Time, error)
	Now       func() time.Time

	// Slots are those of the instances that are in session, and Attempts how
	// many attempts ended, by reason. Nil: there are none.
	Slots    func() []Slots
	Attempts func() map[deferd.Reason]int64

	// Instances counts an endpoint's instances.
	Instances func(deferd.EndpointID) (ready, starting, busy int)

	// Gauges and Counters are single numbers by name; see Names for what they
	// mean.
	Gauges   map[string]func() float64
	Counters map[string]func() float64
}

// Slots are the slots of one instance, and how many of them are taken.
type Slots struct {
	deferd.Session
	Busy int
}

// help says what the single numbers mean.
var help = map[string]string{
	"deferd_claims_waiting":             "Claims of agents that wait for work.",
	"deferd_leases_lost_total":          "Attempts that somebody else decided or took while they ran.",
	"deferd_outcomes_to_publish":        "Decided outcomes that are not visible yet.",
	"deferd_outcomes_published_total":   "Outcomes made visible.",
	"deferd_publish_retries_total":      "Tries to publish an outcome that the object store did not take.",
	"deferd_settles_refused_total":      "Settles of agents whose lease was not current any more.",
	"deferd_store_commits_total":        "Transactions that the store has committed.",
	"deferd_store_operations_total":     "Operations in these transactions.",
	"deferd_store_commit_seconds_total": "Time that these transactions took to commit, with their syncs.",
	"deferd_store_clock_offset_seconds": "The store's clock less wall time.",
	"deferd_outbox_waiting":             "Notifications that wait to be delivered.",
	"deferd_outbox_dead":                "Notifications that were given up and are kept.",
	"deferd_outbox_lag_seconds":         "For how long the oldest notification that waits has been tried; 0 where none waits.",
	"deferd_outbox_delivered_total":     "Notifications that their receivers have taken.",
	"deferd_outbox_given_up_total":      "Notifications that were given up.",
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
	perSlot   = prometheus.NewDesc("deferd_instance_slots", "Slots of an instance.", []string{"endpoint", "variant", "instance"}, nil)
	perBusy   = prometheus.NewDesc("deferd_instance_slots_busy", "Slots of an instance that are taken.", []string{"endpoint", "variant", "instance"}, nil)
	attempts  = prometheus.NewDesc("deferd_attempts_total", "Attempts that their agents ended, by what ended them.", []string{"reason"}, nil)
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

// scrapeLimit is how long reading the source may take.
const scrapeLimit = 5 * time.Second

// Collect sends all series.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	for name, read := range c.s.Gauges {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help[name], nil, nil), prometheus.GaugeValue, read())
	}
	for name, read := range c.s.Counters {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help[name], nil, nil), prometheus.CounterValue, read())
	}
	c.attempts(ctx, ch)
	leftOut := 0
	for _, id := range c.s.Endpoints() {
		if err := c.endpoint(ctx, ch, id); err != nil {
			leftOut++
		}
	}
	const name = "deferd_endpoint_metrics_left_out"
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help[name], nil, nil), prometheus.GaugeValue, float64(leftOut))
}

// attempts sends what runs on instances, and what became of it.
func (c *Collector) attempts(ctx context.Context, ch chan<- prometheus.Metric) {
	if c.s.Attempts != nil {
		for reason, n := range c.s.Attempts() {
			ch <- prometheus.MustNewConstMetric(attempts, prometheus.CounterValue, float64(n), string(reason))
		}
	}
	if c.s.Slots == nil {
		return
	}
	names := map[deferd.EndpointID]string{}
	for _, s := range c.s.Slots() {
		name, known := names[s.Endpoint]
		if !known {
			e, err := c.s.Endpoint(ctx, s.Endpoint)
			if err != nil {
				continue // it is being removed
			}
			name = string(e.Name)
			names[s.Endpoint] = name
		}
		labels := []string{name, string(s.Variant), string(s.Instance)}
		ch <- prometheus.MustNewConstMetric(perSlot, prometheus.GaugeValue, float64(s.Session.Slots), labels...)
		ch <- prometheus.MustNewConstMetric(perBusy, prometheus.GaugeValue, float64(s.Busy), labels...)
	}
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
