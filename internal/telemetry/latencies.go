package telemetry

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/deferd/deferd"
	"github.com/prometheus/client_golang/prometheus"
)

// buckets are the bounds of all histograms, in seconds: from a store's commit
// to an invocation that waited for a day.
var buckets = []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300, 900, 3600, 21600, 86400}

// timed are the histograms of endpoints, by the metric that they are of.
var timed = map[string]*prometheus.Desc{
	deferd.ModelLatency:    prometheus.NewDesc("deferd_model_seconds", "Time from a request's first byte to the model to the answer's last one, less waits for S3.", byName, nil),
	deferd.DownloadLatency: prometheus.NewDesc("deferd_download_seconds", "Time that an attempt waited for its input.", byName, nil),
	deferd.UploadLatency:   prometheus.NewDesc("deferd_upload_seconds", "Time that an outcome took to be staged and made visible.", byName, nil),
	deferd.TimeInBacklog:   prometheus.NewDesc("deferd_backlog_seconds", "Time from an accept to the last claim.", byName, nil),
	deferd.ProcessingTime:  prometheus.NewDesc("deferd_processing_seconds", "Time from an accept to the end, once the outcome is visible.", byName, nil),
}

var storeWait = prometheus.NewDesc("deferd_store_wait_seconds", "Time that a call waited until what it stored was durable.", []string{"call"}, nil)

// A histogram counts observations by bucket.
type histogram struct {
	counts []uint64 // beside the buckets, with one more for what is beyond
	sum    float64
}

func (h *histogram) observe(seconds float64) {
	if h.counts == nil {
		h.counts = make([]uint64, len(buckets)+1)
	}
	h.counts[sort.SearchFloat64s(buckets, seconds)]++
	h.sum += seconds
}

// metric is the histogram as it is now.
func (h *histogram) metric(d *prometheus.Desc, label string) prometheus.Metric {
	upTo := make(map[float64]uint64, len(buckets))
	var n uint64
	for i, bound := range buckets {
		n += h.counts[i]
		upTo[bound] = n
	}
	return prometheus.MustNewConstHistogram(d, n+h.counts[len(buckets)], h.sum, upTo, label)
}

// quiet is how long after its last observation an endpoint keeps its
// histograms.
const quiet = 15 * time.Minute

// Latencies are histograms of how long things take: of endpoints that had work
// lately, and of the store.
type Latencies struct {
	endpoint func(context.Context, deferd.EndpointID) (deferd.Endpoint, error)
	now      func() time.Time

	mu        sync.Mutex // guards what follows
	endpoints map[deferd.EndpointID]*observed
	store     map[string]*histogram
}

// observed is what is known of one endpoint.
type observed struct {
	last       time.Time
	histograms map[string]*histogram
}

// NewLatencies returns empty histograms, which are a collector to be registered.
func NewLatencies(endpoint func(context.Context, deferd.EndpointID) (deferd.Endpoint, error), now func() time.Time) *Latencies {
	return &Latencies{endpoint: endpoint, now: now, endpoints: map[deferd.EndpointID]*observed{}, store: map[string]*histogram{}}
}

// Observe takes how long something of an endpoint took.
func (l *Latencies) Observe(id deferd.EndpointID, metric string, d time.Duration) {
	if timed[metric] == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.endpoints[id]
	if o == nil {
		o = &observed{histograms: map[string]*histogram{}}
		l.endpoints[id] = o
	}
	o.last = l.now()
	observe(o.histograms, metric, d)
}

// Stored takes how long a call of the store took.
func (l *Latencies) Stored(call string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	observe(l.store, call, d)
}

func observe(histograms map[string]*histogram, name string, d time.Duration) {
	if histograms[name] == nil {
		histograms[name] = &histogram{}
	}
	histograms[name].observe(d.Seconds())
}

// Describe sends nothing: which series there are depends on the endpoints.
func (l *Latencies) Describe(chan<- *prometheus.Desc) {}

// Collect sends all histograms, and forgets endpoints that rest or are gone.
func (l *Latencies) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	names := l.names(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	for call, h := range l.store {
		ch <- h.metric(storeWait, call)
	}
	for id, o := range l.endpoints {
		if names[id] == "" {
			continue // since this began
		}
		for metric, h := range o.histograms {
			ch <- h.metric(timed[metric], string(names[id]))
		}
	}
}

// names are the names of the endpoints that have histograms. Each is there once.
func (l *Latencies) names(ctx context.Context) map[deferd.EndpointID]deferd.EndpointName {
	names := map[deferd.EndpointID]deferd.EndpointName{}
	taken := map[deferd.EndpointName]bool{}
	for _, id := range l.recent() {
		e, err := l.endpoint(ctx, id)
		if err == nil && !taken[e.Name] {
			names[id] = e.Name
			taken[e.Name] = true
		}
		if err != nil && deferd.CodeOf(err) == deferd.NotFound {
			l.mu.Lock()
			delete(l.endpoints, id)
			l.mu.Unlock()
		}
	}
	return names
}

// recent are the endpoints that have histograms, once those that rest have been
// forgotten.
func (l *Latencies) recent() []deferd.EndpointID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []deferd.EndpointID
	for id, o := range l.endpoints {
		if l.now().Sub(o.last) > quiet {
			delete(l.endpoints, id)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}
