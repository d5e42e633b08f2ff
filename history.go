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

// A Point is the sample of one minute of a series.
type Point struct {
	Series Series
	Minute time.Time // its beginning
	Sample
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
	// another, in order of time. Minutes without values have none.
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
	Name    string
	Unit    string
	Variant bool // of each variant; otherwise of the endpoint as a whole
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

// MetricSpecs are all metrics that are recorded of endpoints. An endpoint
// without work has each of them all the same, at zero.
var MetricSpecs = []MetricSpec{
	{BacklogSize, "Count", false},
	{BacklogSizePerInstance, "Count", false},
	{AgeOfOldestRequest, "Seconds", false},
	{BacklogWithoutCapacity, "Count", false},

	{DownloadFailures, "Count", true},
	{UploadFailures, "Count", true},
	{NotificationFailures, "Count", true},
	{DownloadLatency, "Microseconds", true},
	{UploadLatency, "Microseconds", true},
	{ExpiredRequests, "Count", true},
	{InvocationFailures, "Count", true},
	{InvocationsProcessed, "Count", true},
	{TimeInBacklog, "Milliseconds", true},
	{ProcessingTime, "Milliseconds", true},
	{Invocation4XXErrors, "None", true},
	{Invocation5XXErrors, "None", true},
	{ModelLatency, "Microseconds", true},
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
	if m.Variant {
		dims = append(dims, Dimension{"VariantName", string(v)})
	}
	return Series{Account: a, Namespace: SageMakerNamespace, Metric: m.Name, Dimensions: MakeDimensions(dims...), Unit: m.Unit}
}
