package awsapi

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

const (
	maxStatistics  = 1440    // datapoints of a GetMetricStatistics
	maxMetricData  = 100_800 // datapoints of a page of GetMetricData
	maxQueries     = 500     // of a GetMetricData
	metricsPage    = 500     // of ListMetrics
	maxDatums      = 1000    // of a PutMetricData
	maxDatumValues = 150     // of one of them

	// What may be measured when: CloudWatch takes two weeks of the past, and
	// two hours of the future.
	oldestDatum = 14 * 24 * time.Hour
	newestDatum = 2 * time.Hour
)

// periodOf reads a period, which is a whole number of minutes here.
func periodOf(seconds int32) (time.Duration, error) {
	if seconds <= 0 || seconds%60 != 0 {
		return 0, invalidValue("The parameter Period must be a multiple of 60: values are kept by the minute.")
	}
	return time.Duration(seconds) * time.Second, nil
}

// span checks the time that a request is about.
func span(start, end *awsmodel.Timestamp) (from, to time.Time, err error) {
	from, to = start.Time.Truncate(time.Minute), end.Time
	if !start.Before(to) {
		return from, to, invalidValue("The parameter StartTime must be less than the parameter EndTime.")
	}
	return from, to, nil
}

func (s *Server) getMetricStatistics(c *call, in *awsmodel.GetMetricStatisticsInput) (any, error) {
	period, err := periodOf(*in.Period)
	if err != nil {
		return nil, err
	}
	from, to, err := span(in.StartTime, in.EndTime)
	if err != nil {
		return nil, err
	}
	switch n := int64((to.Sub(from) + period - 1) / period); {
	case len(in.ExtendedStatistics) > 0:
		return nil, invalidValue("Percentiles are not kept: the statistics are SampleCount, Average, Sum, Minimum and Maximum.")
	case len(in.Statistics) == 0:
		return nil, missingParameter("Must specify either Statistics or ExtendedStatistics")
	case n > maxStatistics:
		return nil, invalidCombination("You have requested up to %d datapoints, which exceeds the limit of %d. "+
			"You may reduce the datapoints requested by increasing Period, or decreasing the time range.", n, maxStatistics)
	}
	series, err := c.series(*in.Namespace, *in.MetricName, in.Dimensions, in.Unit)
	if err != nil {
		return nil, err
	}
	points, err := s.History.Points(c.ctx(), series, from, to)
	if err != nil {
		return nil, err
	}
	out := &awsmodel.GetMetricStatisticsOutput{Label: in.MetricName, Datapoints: []awsmodel.Datapoint{}}
	unit := s.unitOf(c, series)
	for _, p := range deferd.Aggregate(points, from, period) {
		out.Datapoints = append(out.Datapoints, datapoint(p, in.Statistics, unit))
	}
	return out, nil
}

// datapoint writes the statistics that were asked for.
func datapoint(p deferd.Point, statistics []string, unit string) awsmodel.Datapoint {
	d := awsmodel.Datapoint{Timestamp: awsmodel.Time(p.Minute), Unit: &unit}
	for name, member := range map[string]**float64{
		"SampleCount": &d.SampleCount, "Average": &d.Average, "Sum": &d.Sum, "Minimum": &d.Minimum, "Maximum": &d.Maximum,
	} {
		if slices.Contains(statistics, name) {
			v, _ := p.Statistic(name)
			*member = &v
		}
	}
	return d
}

// series is the one that a request names, in the caller's account.
func (c *call) series(namespace, metric string, dims []awsmodel.Dimension, unit *string) (deferd.Series, error) {
	d, err := dimensionsOf(dims)
	series := deferd.Series{Account: c.principal.Account, Namespace: namespace, Metric: metric, Dimensions: d}
	if unit != nil {
		series.Unit = *unit
	}
	return series, err
}

// unitOf is the unit of a series that was asked for in any; "None" where there
// are none, or several.
func (s *Server) unitOf(c *call, series deferd.Series) string {
	if series.Unit != "" {
		return series.Unit
	}
	if m, ok := deferd.FindMetric(series.Metric); ok && series.Namespace == deferd.SageMakerNamespace {
		return m.Unit
	}
	q := deferd.SeriesQuery{
		Account: series.Account, Namespace: series.Namespace, Metric: series.Metric, Dimensions: series.Dimensions.List(), Max: 100,
	}
	unit := ""
	page, err := s.History.SeriesList(c.ctx(), q)
	for _, found := range page.Items {
		if found.Dimensions != series.Dimensions {
			continue
		}
		if unit != "" || err != nil {
			return "None"
		}
		unit = found.Unit
	}
	if unit == "" {
		return "None"
	}
	return unit
}

func (s *Server) getMetricData(c *call, in *awsmodel.GetMetricDataInput) (any, error) {
	from, to, err := span(in.StartTime, in.EndTime)
	if err != nil {
		return nil, err
	}
	if len(in.MetricDataQueries) > maxQueries {
		return nil, invalidValue("The parameter MetricDataQueries has more than %d queries.", maxQueries)
	}
	first, skip, err := dataToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	left := maxMetricData
	if in.MaxDatapoints != nil {
		if left = int(*in.MaxDatapoints); left <= 0 || left > maxMetricData {
			return nil, invalidValue("The parameter MaxDatapoints must be between 1 and %d.", maxMetricData)
		}
	}
	ascending := in.ScanBy != nil && *in.ScanBy == "TimestampAscending"
	out := &awsmodel.GetMetricDataOutput{MetricDataResults: []awsmodel.MetricDataResult{}, Messages: []awsmodel.MessageData{}}
	seen := map[string]bool{}
	for i, q := range in.MetricDataQueries {
		if seen[*q.Id] {
			return nil, invalidValue("The value for parameter MetricDataQueries has two queries with the id %s.", *q.Id)
		}
		seen[*q.Id] = true
		if err := checkQuery(q); err != nil {
			return nil, err
		}
		if i < first || q.ReturnData != nil && !*q.ReturnData {
			continue
		}
		if left == 0 {
			out.NextToken = newDataToken(i, 0)
			break
		}
		result, err := s.metricData(c, q, from, to, ascending)
		if err != nil {
			return nil, err
		}
		if i > first {
			skip = 0
		}
		more := page(&result, skip, left)
		left -= len(result.Values)
		out.MetricDataResults = append(out.MetricDataResults, result)
		if more {
			out.NextToken = newDataToken(i, skip+len(result.Values))
			break
		}
	}
	return out, nil
}

// page leaves of a result what fits, and reports whether more follows.
func page(r *awsmodel.MetricDataResult, skip, n int) (more bool) {
	skip = min(skip, len(r.Values))
	end := min(skip+n, len(r.Values))
	more = end < len(r.Values)
	r.Timestamps, r.Values = r.Timestamps[skip:end], r.Values[skip:end]
	r.StatusCode = new("Complete")
	if more {
		r.StatusCode = new("PartialData")
	}
	return more
}

// A token of GetMetricData is the number of a query and how many of its
// datapoints were sent.
func newDataToken(query, sent int) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(query) + ":" + strconv.Itoa(sent))))
}

func dataToken(token *string) (query, sent int, err error) {
	if token == nil || *token == "" {
		return 0, 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(*token)
	q, n, ok := strings.Cut(string(text), ":")
	query, errQuery := strconv.Atoi(q)
	sent, errSent := strconv.Atoi(n)
	if err != nil || !ok || errQuery != nil || errSent != nil || query < 0 || sent < 0 {
		return 0, 0, invalidToken
	}
	return query, sent, nil
}

var invalidToken = &failure{status: 400, code: "InvalidNextToken", msg: "The token is not one of ours."}

// checkQuery refuses what GetMetricData does not answer here.
func checkQuery(q awsmodel.MetricDataQuery) error {
	switch {
	case q.Expression != nil:
		return invalidValue("The query %s has an Expression: metric math is not offered.", *q.Id)
	case q.MetricStat == nil:
		return &failure{status: 400, msg: "The query " + *q.Id + " has neither MetricStat nor Expression."}
	case q.MetricStat.Metric.Namespace == nil || q.MetricStat.Metric.MetricName == nil:
		return missingParameter("The query %s names no metric: Namespace and MetricName are needed.", *q.Id)
	}
	if _, ok := (deferd.Sample{}).Statistic(*q.MetricStat.Stat); !ok {
		return invalidValue("The query %s asks for the statistic %s: those that are kept are SampleCount, Average, Sum, Minimum and Maximum.", *q.Id, *q.MetricStat.Stat)
	}
	_, err := periodOf(*q.MetricStat.Period)
	return err
}

// metricData answers one query.
func (s *Server) metricData(c *call, q awsmodel.MetricDataQuery, from, to time.Time, ascending bool) (awsmodel.MetricDataResult, error) {
	r := awsmodel.MetricDataResult{Id: q.Id, Label: q.Label, Timestamps: []awsmodel.Timestamp{}, Values: []float64{}}
	if r.Label == nil {
		r.Label = q.MetricStat.Metric.MetricName
	}
	period, err := periodOf(*q.MetricStat.Period)
	if err != nil {
		return r, err
	}
	m := q.MetricStat.Metric
	series, err := c.series(*m.Namespace, *m.MetricName, m.Dimensions, q.MetricStat.Unit)
	if err != nil {
		return r, err
	}
	from = from.Truncate(period) // unlike statistics, data comes at whole periods
	points, err := s.History.Points(c.ctx(), series, from, to)
	if err != nil {
		return r, err
	}
	for _, p := range deferd.Aggregate(points, from, period) {
		v, _ := p.Statistic(*q.MetricStat.Stat)
		r.Timestamps = append(r.Timestamps, awsmodel.Timestamp{Time: p.Minute})
		r.Values = append(r.Values, v)
	}
	if !ascending {
		slices.Reverse(r.Timestamps)
		slices.Reverse(r.Values)
	}
	return r, nil
}

func (s *Server) listMetrics(c *call, in *awsmodel.ListMetricsInput) (any, error) {
	q := deferd.SeriesQuery{Account: c.principal.Account, Max: metricsPage}
	if in.Namespace != nil {
		q.Namespace = *in.Namespace
	}
	if in.MetricName != nil {
		q.Metric = *in.MetricName
	}
	if in.RecentlyActive != nil {
		q.Since = s.Store.Now().Add(-3 * time.Hour)
	}
	for _, d := range in.Dimensions {
		f := deferd.Dimension{Name: *d.Name}
		if d.Value != nil {
			f.Value = *d.Value
		}
		q.Dimensions = append(q.Dimensions, f)
	}
	if in.NextToken != nil && *in.NextToken != "" {
		token, err := base64.RawURLEncoding.DecodeString(*in.NextToken)
		if err != nil {
			return nil, invalidToken
		}
		q.Token = string(token)
	}
	found, err := s.History.SeriesList(c.ctx(), q)
	if err != nil && deferd.CodeOf(err) == deferd.Invalid {
		return nil, invalidToken
	}
	if err != nil {
		return nil, err
	}
	out := &awsmodel.ListMetricsOutput{Metrics: []awsmodel.Metric{}}
	for i, m := range found.Items {
		if i > 0 && sameMetric(m, found.Items[i-1]) {
			continue // in another unit
		}
		out.Metrics = append(out.Metrics, awsmodel.Metric{Namespace: &m.Namespace, MetricName: &m.Metric, Dimensions: dimensionsAnswer(m.Dimensions)})
	}
	if found.Token != "" {
		out.NextToken = new(base64.RawURLEncoding.EncodeToString([]byte(found.Token)))
	}
	return out, nil
}

func sameMetric(a, b deferd.Series) bool {
	a.Unit, b.Unit = "", ""
	return a == b
}

func (s *Server) putMetricData(c *call, in *awsmodel.PutMetricDataInput) (any, error) {
	if strings.HasPrefix(*in.Namespace, "AWS/") {
		return nil, invalidValue("The value AWS/ for parameter Namespace is invalid: it is AWS's own.")
	}
	data := in.MetricData
	for _, e := range in.EntityMetricData {
		data = append(data, e.MetricData...)
	}
	if len(data) == 0 {
		return nil, missingParameter("The parameter MetricData is required.")
	}
	if len(data) > maxDatums {
		return nil, invalidValue("The collection MetricData must not have a size greater than %d.", maxDatums)
	}
	now := s.Store.Now()
	points := make([]deferd.Point, 0, len(data))
	for i, d := range data {
		p, err := datumPoint(c, *in.Namespace, d, i+1, now)
		if err != nil {
			return nil, err
		}
		points = append(points, p)
	}
	return nil, s.History.AddHistory(c.ctx(), points)
}

// datumPoint reads what was measured.
func datumPoint(c *call, namespace string, d awsmodel.MetricDatum, number int, now time.Time) (deferd.Point, error) {
	unit := d.Unit
	if unit == nil {
		unit = new("None")
	}
	series, err := c.series(namespace, *d.MetricName, d.Dimensions, unit)
	if err != nil {
		return deferd.Point{}, err
	}
	at := now
	if d.Timestamp != nil {
		at = d.Timestamp.Time
	}
	if at.Before(now.Add(-oldestDatum)) || at.After(now.Add(newestDatum)) {
		return deferd.Point{}, invalidValue("The parameter MetricData.member.%d.Timestamp must specify a time no more than two weeks in the past and two hours in the future.", number)
	}
	sample, err := datumSample(d, number)
	return deferd.Point{Series: series, Minute: at.Truncate(time.Minute), Sample: sample}, err
}

func datumSample(d awsmodel.MetricDatum, number int) (s deferd.Sample, err error) {
	ways := 0
	if d.Value != nil {
		ways++
		s = deferd.SampleOf(*d.Value)
	}
	if v := d.StatisticValues; v != nil {
		ways++
		s = deferd.Sample{Sum: *v.Sum, Min: *v.Minimum, Max: *v.Maximum, Count: *v.SampleCount}
		if s.Min > s.Max || s.Count <= 0 {
			return s, invalidValue("The parameters MetricData.member.%d.StatisticValues are those of no values.", number)
		}
	}
	if d.Values != nil {
		ways++
		if len(d.Values) == 0 || len(d.Values) > maxDatumValues || d.Counts != nil && len(d.Counts) != len(d.Values) {
			return s, invalidValue("The parameter MetricData.member.%d.Values must have 1 to %d values, and Counts as many.", number, maxDatumValues)
		}
		for i, v := range d.Values {
			n := 1.0
			if d.Counts != nil {
				n = d.Counts[i]
			}
			if n < 0 {
				return s, invalidValue("The parameter MetricData.member.%d.Counts has a negative value.", number)
			}
			s = s.Add(deferd.Sample{Sum: n * v, Min: v, Max: v, Count: n})
		}
	}
	switch {
	case ways == 0:
		return s, missingParameter("At least one of the parameters MetricData.member.%d.Value, Values or StatisticValues must be specified.", number)
	case ways > 1:
		return s, invalidCombination("Only one of the parameters MetricData.member.%d.Value, Values and StatisticValues may be specified.", number)
	}
	return s, nil
}
