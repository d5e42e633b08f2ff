package deferd

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Series is what values are recorded under, minute by minute. Values of
// another unit are another series.
type Series struct {
	Account    AccountID
	Namespace  string
	Metric     string
	Dimensions Dimensions
	Unit       string
}

// A Dimension is one of the names that tell a metric's series apart.
type Dimension struct{ Name, Value string }

// Dimensions are a set of them in one form that is equal for equal sets.
type Dimensions string

// MakeDimensions returns the set of the given dimensions. Of two with one name
// only one can be kept, so callers see to it that there are none.
func MakeDimensions(dims ...Dimension) Dimensions {
	v := url.Values{}
	for _, d := range dims {
		v.Set(d.Name, d.Value)
	}
	return Dimensions(v.Encode())
}

// List returns the set in the order of its names.
func (d Dimensions) List() []Dimension {
	v, err := url.ParseQuery(string(d))
	if err != nil {
		return nil // MakeDimensions does not make such
	}
	list := make([]Dimension, 0, len(v))
	for name := range v {
		list = append(list, Dimension{name, v.Get(name)})
	}
	slices.SortFunc(list, func(a, b Dimension) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Get returns the value of a dimension; "" where the set has none of that name.
func (d Dimensions) Get(name string) string {
	for _, x := range d.List() {
		if x.Name == name {
			return x.Value
		}
	}
	return ""
}

// A Sample is what the values of some time add up to. One without values is
// the zero Sample.
type Sample struct {
	Sum, Min, Max float64
	Count         float64 // of values; callers may weight them
}

// SampleOf is the sample of one value.
func SampleOf(v float64) Sample { return Sample{v, v, v, 1} }

// Add returns the sample of the values of both.
func (s Sample) Add(o Sample) Sample {
	switch {
	case o.Count == 0:
		return s
	case s.Count == 0:
		return o
	}
	return Sample{s.Sum + o.Sum, min(s.Min, o.Min), max(s.Max, o.Max), s.Count + o.Count}
}

// Average is the mean of the values; 0 where there are none.
func (s Sample) Average() float64 {
	if s.Count == 0 {
		return 0
	}
	return s.Sum / s.Count
}

// Statistic is the value of a statistic, by CloudWatch's name of it; ok is false
// for names that a sample does not answer. It is 0 where there are no values.
func (s Sample) Statistic(name string) (v float64, ok bool) {
	switch name {
	case "Average":
		return s.Average(), true
	case "Sum":
		return s.Sum, true
	case "Minimum":
		return s.Min, true
	case "Maximum":
		return s.Max, true
	case "SampleCount":
		return s.Count, true
	}
	return 0, false
}

// A Point is the sample of one minute of a series.
type Point struct {
	Series Series
	Minute time.Time // its beginning
	Sample
}

// Aggregate adds up points, which are in order of time, over periods of which
// one begins at from. Periods without points have none.
func Aggregate(points []Point, from time.Time, period time.Duration) []Point {
	var out []Point
	for _, p := range points {
		begin := from.Add(floor(p.Minute.Sub(from), period))
		if n := len(out); n > 0 && out[n-1].Minute.Equal(begin) {
			out[n-1].Sample = out[n-1].Add(p.Sample)
			continue
		}
		p.Minute = begin
		out = append(out, p)
	}
	return out
}

// floor is the largest multiple of period that is at most d.
func floor(d, period time.Duration) time.Duration {
	n := d / period
	if d < 0 && d%period != 0 {
		n--
	}
	return n * period
}

// HistoryKept is how long points are kept.
const HistoryKept = 15 * 24 * time.Hour

// A History keeps what was measured, a point for each series and minute. All
// methods may be called concurrently.
type History interface {
	// AddHistory adds samples to those that are there of the same series and
	// minute. What was added may be lost in a crash of the machine. After an
	// Unavailable error some of it may have been added, and a repeat would
	// count that twice.
	AddHistory(ctx context.Context, points []Point) error

	// Points reads the points of a series from one minute up to before
	// another, in order of time. Minutes without values have none. A series
	// without a unit stands for those of all units together.
	Points(ctx context.Context, s Series, from, to time.Time) ([]Point, error)

	// SeriesList lists the series that have points, in the order of namespace,
	// metric, dimensions and unit.
	SeriesList(ctx context.Context, q SeriesQuery) (Page[Series], error)

	// PruneHistory deletes up to n points of the time before, and the series
	// that this leaves without any, and reports how many points it deleted.
	PruneHistory(ctx context.Context, before time.Time, n int) (pruned int, err error)
}

// A SeriesQuery selects a page of series.
type SeriesQuery struct {
	Account    AccountID
	Namespace  string      // "": any
	Metric     string      // "": any
	Dimensions []Dimension // that a series has; one without a value asks for the name only
	Since      time.Time   // with a point at or after this time; zero: any
	Max        int
	Token      string // of the page before
}

// Has reports whether d has all the wanted dimensions.
func (d Dimensions) Has(wanted []Dimension) bool {
	have := d.List()
	for _, w := range wanted {
		if !slices.ContainsFunc(have, func(h Dimension) bool { return h.Name == w.Name && (w.Value == "" || w.Value == h.Value) }) {
			return false
		}
	}
	return true
}

// SageMakerNamespace is where what endpoints measure is found.
const SageMakerNamespace = "AWS/SageMaker"

// A MetricSpec is a metric that is recorded of endpoints.
type MetricSpec struct {
	Name string
	Unit string
	Kind MetricKind
}

// A MetricKind says what a metric is of, and what it says of a minute in which
// nothing was recorded.
type MetricKind int

const (
	EndpointGauge MetricKind = iota // of the endpoint as a whole, looked at now and then; zero
	VariantCount                    // of what happened with a variant; zero, of no events
	VariantTime                     // of how long something took; nothing, since zero would be a lie
)

// OfVariant reports whether each variant has a metric of this kind.
func (k MetricKind) OfVariant() bool { return k != EndpointGauge }

// Idle is the sample of a minute in which nothing was recorded; ok is false
// where there is none.
func (k MetricKind) Idle() (s Sample, ok bool) {
	switch k {
	case EndpointGauge:
		return SampleOf(0), true
	case VariantCount:
		return Sample{}, true
	}
	return Sample{}, false
}

// Names of the metrics that are recorded, as SageMaker spells them.
const (
	BacklogSize            = "ApproximateBacklogSize"
	BacklogSizePerInstance = "ApproximateBacklogSizePerInstance"
	AgeOfOldestRequest     = "ApproximateAgeOfOldestRequest"
	BacklogWithoutCapacity = "HasBacklogWithoutCapacity"

	DownloadFailures     = "RequestDownloadFailures"
	UploadFailures       = "ResponseUploadFailures"
	NotificationFailures = "NotificationFailures"
	DownloadLatency      = "RequestDownloadLatency"
	UploadLatency        = "ResponseUploadLatency"
	ExpiredRequests      = "ExpiredRequests"
	InvocationFailures   = "InvocationFailures"
	InvocationsProcessed = "InvocationsProcesssed" // with three s: AWS documents it so
	TimeInBacklog        = "TimeInBacklog"
	ProcessingTime       = "TotalProcessingTime"
	Invocation4XXErrors  = "Invocation4XXErrors"
	Invocation5XXErrors  = "Invocation5XXErrors"
	ModelLatency         = "ModelLatency"
)

// MetricSpecs are all metrics that are recorded of endpoints.
var MetricSpecs = []MetricSpec{
	{BacklogSize, "Count", EndpointGauge},
	{BacklogSizePerInstance, "Count", EndpointGauge},
	{AgeOfOldestRequest, "Seconds", EndpointGauge},
	{BacklogWithoutCapacity, "Count", EndpointGauge},

	{DownloadFailures, "Count", VariantCount},
	{UploadFailures, "Count", VariantCount},
	{NotificationFailures, "Count", VariantCount},
	{DownloadLatency, "Microseconds", VariantTime},
	{UploadLatency, "Microseconds", VariantTime},
	{ExpiredRequests, "Count", VariantCount},
	{InvocationFailures, "Count", VariantCount},
	{InvocationsProcessed, "Count", VariantCount},
	{TimeInBacklog, "Milliseconds", VariantTime},
	{ProcessingTime, "Milliseconds", VariantTime},
	{Invocation4XXErrors, "None", VariantCount},
	{Invocation5XXErrors, "None", VariantCount},
	{ModelLatency, "Microseconds", VariantTime},
}

// metricAliases are other spellings of recorded metrics.
var metricAliases = map[string]string{"InvocationsProcessed": InvocationsProcessed}

// FindMetric returns the recorded metric of a name in any of its spellings.
func FindMetric(name string) (MetricSpec, bool) {
	if recorded, ok := metricAliases[name]; ok {
		name = recorded
	}
	i := slices.IndexFunc(MetricSpecs, func(m MetricSpec) bool { return m.Name == name })
	if i < 0 {
		return MetricSpec{}, false
	}
	return MetricSpecs[i], true
}

// EndpointSeries is the series of a recorded metric; a metric of variants wants
// the variant.
func EndpointSeries(a AccountID, m MetricSpec, e EndpointName, v VariantName) Series {
	dims := []Dimension{{"EndpointName", string(e)}}
	if m.Kind.OfVariant() {
		dims = append(dims, Dimension{"VariantName", string(v)})
	}
	return Series{Account: a, Namespace: SageMakerNamespace, Metric: m.Name, Dimensions: MakeDimensions(dims...), Unit: m.Unit}
}
