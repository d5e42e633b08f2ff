package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/client"
)

// An activity is what an endpoint has to do, and how it gets on. What nobody
// can say is nil.
type activity struct {
	Backlog   *int               `json:"backlog,omitempty"`             // waits or runs
	InFlight  *int               `json:"inFlight,omitempty"`            // runs; counted up to a page
	Oldest    *float64           `json:"oldestQueuedSeconds,omitempty"` // 0 where nothing waits
	Accepted  *float64           `json:"acceptedPerMinute,omitempty"`
	Completed *float64           `json:"completedPerMinute,omitempty"`
	Failed    *float64           `json:"failedPerMinute,omitempty"`
	Failures  map[string]float64 `json:"failuresPerMinute,omitempty"` // by kind
	P50       *float64           `json:"p50Seconds,omitempty"`        // from the accept to the result
	P99       *float64           `json:"p99Seconds,omitempty"`

	// about says that the backlog is an estimate, and atLeast that there is more.
	about, atLeast bool
}

const (
	// onePage is how many invocations are asked for at once: counts are exact
	// up to it, and latencies are of so many.
	onePage = 100

	// recently is how old a result may be that counts for latencies.
	recently = 15 * time.Minute

	// metricsBack is how far back metrics are looked for: AWS's come late.
	metricsBack = 5 * time.Minute
)

// failureKinds are the metrics that tell failures apart, and what they are
// called here.
var failureKinds = []struct{ metric, kind string }{
	{deferd.Invocation4XXErrors, "4xx"}, {deferd.Invocation5XXErrors, "5xx"},
	{deferd.DownloadFailures, "download"}, {deferd.UploadFailures, "upload"},
	{deferd.ExpiredRequests, "expired"}, {deferd.NotificationFailures, "notification"},
}

// A measured holds the values of metrics, by the minute since 1970; several
// variants' counts are added up.
type measured map[string]map[int64]float64

// activity finds out what an endpoint does: by asking where its invocations
// stand, where asked is somebody who knows, and else from metrics.
func (s *site) activity(ctx context.Context, asked *client.Client, e endpointDescription, latency bool) (activity, error) {
	now := time.Now()
	m, err := s.measure(ctx, e, latency, now)
	if _, refused := asAPIError(err); err != nil && !refused { // a refusal is want of a right, or of CloudWatch
		return activity{}, err
	}
	a := m.activity(now)
	if asked == nil {
		return a, nil
	}
	if err := a.ask(ctx, asked, e.EndpointName, latency, now); err != nil && ctx.Err() != nil {
		return a, context.Cause(ctx)
	}
	return a, nil // where that failed it is not one of ours, and cannot say
}

// measure reads the metrics of an endpoint.
func (s *site) measure(ctx context.Context, e endpointDescription, latency bool, now time.Time) (measured, error) {
	var queries []object
	var keys []string
	ask := func(key, metric, stat, variant string) {
		dims := []object{{"Name": "EndpointName", "Value": e.EndpointName}}
		if variant != "" {
			dims = append(dims, object{"Name": "VariantName", "Value": variant})
		}
		queries = append(queries, object{"Id": fmt.Sprintf("m%d", len(queries)), "MetricStat": object{
			"Metric": object{"Namespace": deferd.SageMakerNamespace, "MetricName": metric, "Dimensions": dims}, "Period": 60, "Stat": stat,
		}})
		keys = append(keys, key)
	}
	ask(deferd.BacklogSize, deferd.BacklogSize, "Average", "")
	ask(deferd.AgeOfOldestRequest, deferd.AgeOfOldestRequest, "Maximum", "")
	for _, v := range e.ProductionVariants {
		for _, metric := range []string{deferd.InvocationsProcessed, deferd.InvocationFailures} {
			ask(metric, metric, "Sum", v.VariantName)
		}
		for _, k := range failureKinds {
			ask(k.metric, k.metric, "Sum", v.VariantName)
		}
		if latency && s.isAWS(cloudWatch) { // which keeps percentiles
			ask("p50", deferd.ProcessingTime, "p50", v.VariantName)
			ask("p99", deferd.ProcessingTime, "p99", v.VariantName)
		}
	}
	minute := now.Truncate(time.Minute)
	in := object{
		"StartTime": minute.Add(-metricsBack).Unix(), "EndTime": minute.Add(time.Minute).Unix(), "MetricDataQueries": queries,
	}
	return s.metricData(ctx, in, keys)
}

// metricData performs GetMetricData. Keys are what the queries' values are
// called, in their order.
func (s *site) metricData(ctx context.Context, in object, keys []string) (measured, error) {
	m := measured{}
	for {
		body, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		answer, err := s.send(ctx, cloudWatch, "GetMetricData", string(body), http.Header{
			"Content-Type": {"application/x-amz-json-1.0"},
			"X-Amz-Target": {"GraniteServiceVersion20100801.GetMetricData"},
		})
		if err != nil {
			return nil, err
		}
		var page struct {
			MetricDataResults []struct {
				ID                 string `json:"Id"`
				Timestamps, Values []float64
			}
			NextToken string
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return nil, fmt.Errorf("read the answer to GetMetricData: %w", err)
		}
		for _, r := range page.MetricDataResults {
			var n int
			if _, err := fmt.Sscanf(r.ID, "m%d", &n); err != nil || n < 0 || n >= len(keys) {
				continue
			}
			for i := range min(len(r.Timestamps), len(r.Values)) {
				m.add(keys[n], int64(r.Timestamps[i])/60, r.Values[i])
			}
		}
		if page.NextToken == "" {
			return m, nil
		}
		in["NextToken"] = page.NextToken
	}
}

func (m measured) add(key string, minute int64, v float64) {
	if m[key] == nil {
		m[key] = map[int64]float64{}
	}
	if key == "p50" || key == "p99" { // the slowest variant's
		v = max(v, m[key][minute])
	} else {
		v += m[key][minute]
	}
	m[key][minute] = v
}

// last is the newest value of a metric.
func (m measured) last(key string) *float64 {
	if len(m[key]) == 0 {
		return nil
	}
	return new(m[key][slices.Max(slices.Collect(maps.Keys(m[key])))])
}

// perMinute is how many there were of a count in the last 60 seconds: those of
// this minute, and of the one before in the proportion of what of it belongs to
// them. Where nothing is known of this minute yet it is the newest one's.
func (m measured) perMinute(key string, now time.Time) *float64 {
	minute := now.Unix() / 60
	v, ok := m[key][minute]
	if !ok {
		return m.last(key)
	}
	share := 1 - float64(now.Unix()%60)/60
	return new(v + share*m[key][minute-1])
}

// activity is what can be said from metrics alone.
func (m measured) activity(now time.Time) activity {
	a := activity{Oldest: m.last(deferd.AgeOfOldestRequest), P50: m.seconds("p50"), P99: m.seconds("p99")}
	if size := m.last(deferd.BacklogSize); size != nil {
		a.Backlog, a.about = new(int(math.Round(*size))), *size > 0
	}
	ended, failed := m.perMinute(deferd.InvocationsProcessed, now), m.perMinute(deferd.InvocationFailures, now)
	if ended == nil {
		return a
	}
	all, other := valueOf(failed), valueOf(failed)
	a.Failures = map[string]float64{}
	for _, k := range failureKinds {
		v := m.perMinute(k.metric, now)
		if v == nil || *v <= 0 {
			continue
		}
		a.Failures[k.kind] = rounded(*v)
		switch k.metric {
		case deferd.ExpiredRequests: // which are in no other count
			all += *v
		case deferd.NotificationFailures:
		default:
			other -= *v
		}
	}
	if other = rounded(other); other > 0 {
		a.Failures["other"] = other
	}
	a.Failed = new(rounded(all))
	a.Completed = new(rounded(max(0, *ended-valueOf(failed))))
	a.Accepted = new(rounded(max(0, *a.Completed+all+m.growth(deferd.BacklogSize))))
	return a
}

// growth is by how much a metric's newest value is larger than the one of the
// minute before.
func (m measured) growth(key string) float64 {
	if len(m[key]) == 0 {
		return 0
	}
	minute := slices.Max(slices.Collect(maps.Keys(m[key])))
	return m[key][minute] - m[key][minute-1]
}

// seconds is the newest value of a metric in milliseconds.
func (m measured) seconds(key string) *float64 {
	v := m.last(key)
	if v != nil {
		*v /= 1000
	}
	return v
}

// valueOf is 0 where nothing is known.
func valueOf[N int | float64](v *N) N {
	if v == nil {
		return 0
	}
	return *v
}

func rounded(v float64) float64 { return math.Round(v*100) / 100 }

// ask replaces estimates by what a server of ours says of invocations.
func (a *activity) ask(ctx context.Context, c *client.Client, endpoint string, latency bool, now time.Time) error {
	running, err := page(ctx, c, endpoint, "Running")
	if err != nil {
		return err
	}
	queued, err := page(ctx, c, endpoint, "Queued")
	if err != nil {
		return err
	}
	newest, err := page(ctx, c, endpoint)
	if err != nil {
		return err
	}
	a.InFlight = new(len(running))
	if accepted := float64(acceptedLately(newest, now)); accepted < onePage || valueOf(a.Accepted) < accepted {
		a.Accepted = &accepted
	}
	counted := len(running) + len(queued)
	switch full := len(running) == onePage || len(queued) == onePage; {
	case !full:
		a.Backlog, a.about = &counted, false
	case a.Backlog == nil || *a.Backlog <= counted:
		a.Backlog, a.about, a.atLeast = &counted, false, true
	}
	if a.Oldest == nil || len(queued) < onePage { // else it may not be among them
		a.Oldest = new(0.0)
	}
	for _, inv := range queued {
		*a.Oldest = max(*a.Oldest, rounded(now.Sub(inv.Accepted).Seconds()))
	}
	if !latency {
		return nil
	}
	completed, err := page(ctx, c, endpoint, "Completed")
	a.P50, a.P99 = percentiles(completed, now)
	return err
}

// page lists the newest invocations in one of the states; in any where none are
// given.
func page(ctx context.Context, c *client.Client, endpoint string, states ...string) ([]client.Invocation, error) {
	var list []client.Invocation
	for inv, err := range c.Invocations(ctx, endpoint, states...) {
		if err != nil {
			return nil, err
		}
		if list = append(list, inv); len(list) == onePage {
			break
		}
	}
	return list, nil
}

// acceptedLately is how many of the newest invocations came in the last 60
// seconds.
func acceptedLately(newest []client.Invocation, now time.Time) int {
	n := 0
	for _, inv := range newest {
		if now.Sub(inv.Accepted) < time.Minute {
			n++
		}
	}
	return n
}

// percentiles are the median and the 99th percentile of what results took that
// came recently, in seconds; nil where there were none.
func percentiles(completed []client.Invocation, now time.Time) (p50, p99 *float64) {
	var took []time.Duration
	for _, inv := range completed {
		if now.Sub(inv.Finished) < recently {
			took = append(took, inv.Finished.Sub(inv.Accepted))
		}
	}
	if len(took) == 0 {
		return nil, nil
	}
	slices.Sort(took)
	at := func(percent int) *float64 {
		return new(took[(len(took)*percent+99)/100-1].Seconds())
	}
	return at(50), at(99)
}

// backlog, and what follows, write an activity for people; "" where it is not
// known.
func (a activity) backlog() string {
	switch {
	case a.Backlog == nil:
		return ""
	case a.about:
		return fmt.Sprintf("~%d", *a.Backlog)
	case a.atLeast:
		return fmt.Sprintf("%d+", *a.Backlog)
	}
	return fmt.Sprint(*a.Backlog)
}

func (a activity) inFlight() string {
	switch {
	case a.InFlight == nil:
		return ""
	case *a.InFlight == onePage:
		return fmt.Sprintf("%d+", onePage)
	}
	return fmt.Sprint(*a.InFlight)
}

// oldest is the age of the oldest that waits, if one does.
func (a activity) oldest() string {
	if a.Oldest == nil || *a.Oldest == 0 {
		return ""
	}
	return showSeconds(a.Oldest)
}

// failures are those of each kind, most first.
func (a activity) failures() string {
	kinds := slices.SortedFunc(maps.Keys(a.Failures), func(x, y string) int {
		return cmp.Or(cmp.Compare(a.Failures[y], a.Failures[x]), cmp.Compare(x, y))
	})
	for i, kind := range kinds {
		kinds[i] = kind + " " + showRate(new(a.Failures[kind]))
	}
	return strings.Join(kinds, ", ")
}

// failed is how many fail, and how many of each kind.
func (a activity) failed() string {
	text := showRate(a.Failed)
	if kinds := a.failures(); kinds != "" {
		text += " (" + kinds + ")"
	}
	return text
}

// showRate writes how many there were in a minute.
func showRate(v *float64) string {
	switch {
	case v == nil:
		return ""
	case *v < 10:
		return fmt.Sprint(math.Round(*v*10) / 10)
	}
	return fmt.Sprintf("%.0f", *v)
}

// showSeconds writes how long something took, with two or three digits.
func showSeconds(seconds *float64) string {
	if seconds == nil {
		return ""
	}
	d := time.Duration(*seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d.Microseconds())/1000)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// known is a cell of a table in which nothing is left empty.
func known(text string) string { return cmp.Or(text, "-") }
