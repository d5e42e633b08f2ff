package history

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

var _ deferd.History = (*Recorder)(nil)

// AddHistory adds what somebody else has measured.
func (r *Recorder) AddHistory(ctx context.Context, points []deferd.Point) error {
	err := r.store.AddHistory(ctx, points)
	if err == nil {
		series := make([]deferd.Series, 0, len(points))
		for _, p := range points {
			series = append(series, p.Series)
		}
		r.alarms.measured(series)
	}
	return err
}

// PruneHistory deletes old points.
func (r *Recorder) PruneHistory(ctx context.Context, before time.Time, n int) (int, error) {
	return r.store.PruneHistory(ctx, before, n)
}

// Points reads the points of a series, also what is not written yet. What an
// endpoint had no values of, within its life, is there as a zero. Metrics that
// have two spellings are found under both.
func (r *Recorder) Points(ctx context.Context, of deferd.Series, from, to time.Time) ([]deferd.Point, error) {
	m, ours := metricOf(of)
	if !ours {
		return r.written(ctx, of, from, to)
	}
	if of.Unit != "" && of.Unit != m.Unit {
		return nil, nil
	}
	stored := of
	stored.Metric, stored.Unit = m.Name, m.Unit
	points, err := r.written(ctx, stored, from, to)
	if err != nil {
		return nil, err
	}
	e, err := r.store.Endpoint(ctx, of.Account, deferd.EndpointName(of.Dimensions.Get("EndpointName")))
	switch {
	case deferd.CodeOf(err) == deferd.NotFound && err != nil:
	case err != nil:
		return nil, err
	case hasVariant(e, of, m):
		points = r.withPresent(points, e, stored, m, from, to)
	}
	for i := range points {
		points[i].Series = of
	}
	return points, nil
}

// metricOf is the metric of a series of an endpoint; ok is false for others.
func metricOf(s deferd.Series) (m deferd.MetricSpec, ok bool) {
	if s.Namespace != deferd.SageMakerNamespace {
		return m, false
	}
	if m, ok = deferd.FindMetric(s.Metric); !ok {
		return m, false
	}
	dims := s.Dimensions.List()
	if m.Kind.OfVariant() {
		return m, len(dims) == 2 && dims[0].Name == "EndpointName" && dims[1].Name == "VariantName"
	}
	return m, len(dims) == 1 && dims[0].Name == "EndpointName"
}

// hasVariant reports whether an endpoint has the variant that a series is of.
func hasVariant(e deferd.Endpoint, s deferd.Series, m deferd.MetricSpec) bool {
	return !m.Kind.OfVariant() || slices.ContainsFunc(e.Variants, func(v deferd.EndpointVariant) bool {
		return string(v.Name) == s.Dimensions.Get("VariantName")
	})
}

// written reads points that are, or wait to be, in the store.
func (r *Recorder) written(ctx context.Context, of deferd.Series, from, to time.Time) ([]deferd.Point, error) {
	r.writing.RLock()
	defer r.writing.RUnlock()
	all, err := r.store.Points(ctx, of, from, to)
	if err != nil {
		return nil, err
	}
	for _, p := range r.unsaved {
		if p.Series == of && !p.Minute.Before(from.Truncate(time.Minute)) && p.Minute.Before(to) {
			all = append(all, p)
		}
	}
	return merge(all), nil
}

// merge puts points in order and adds up those of one minute.
func merge(points []deferd.Point) []deferd.Point {
	slices.SortStableFunc(points, func(a, b deferd.Point) int { return a.Minute.Compare(b.Minute) })
	return deferd.Aggregate(points, time.Unix(0, 0).UTC(), time.Minute)
}

// withPresent adds, to the points of an endpoint that lives, what is in memory
// of this minute, and zeros where there are none.
func (r *Recorder) withPresent(points []deferd.Point, e deferd.Endpoint, s deferd.Series, m deferd.MetricSpec, from, to time.Time) []deferd.Point {
	now := r.store.Now().Truncate(time.Minute)
	variant := deferd.VariantName(s.Dimensions.Get("VariantName"))
	sample, present, working := r.present(e.ID, value{m.Name, variant})
	if present && !now.Before(from.Truncate(time.Minute)) && now.Before(to) {
		points = merge(append(points, deferd.Point{Minute: now, Sample: sample}))
	}
	idle, ok := m.Kind.Idle()
	if !ok {
		return points
	}
	begin := from.Truncate(time.Minute)
	if life := e.Created.Truncate(time.Minute); life.After(begin) {
		begin = life
	}
	end := now
	if !working || m.Kind == deferd.VariantCount {
		end = now.Add(time.Minute) // this minute is at zero as well, so far
	}
	if to.Before(end) {
		end = to
	}
	return fill(points, begin, end, idle)
}

// present is what is in memory of a value; working says that the endpoint has
// work, so that a backlog that is not there is not known rather than zero.
func (r *Recorder) present(id deferd.EndpointID, k value) (s deferd.Sample, present, working bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.active[id]
	if e == nil {
		return s, false, false
	}
	s, present = e.values[k]
	return s, present, true
}

// fill adds a sample for each minute from begin to before end that has no point.
func fill(points []deferd.Point, begin, end time.Time, idle deferd.Sample) []deferd.Point {
	filled := make([]deferd.Point, 0, len(points))
	next := begin
	zeros := func(until time.Time) {
		for ; next.Before(until); next = next.Add(time.Minute) {
			filled = append(filled, deferd.Point{Minute: next, Sample: idle})
		}
	}
	for _, p := range points {
		if until := p.Minute; until.Before(end) {
			zeros(until)
		} else {
			zeros(end)
		}
		filled = append(filled, p)
		if after := p.Minute.Add(time.Minute); after.After(next) {
			next = after
		}
	}
	zeros(end)
	return filled
}

// SeriesList lists the series of endpoints that live, then those that are
// stored of anything else.
func (r *Recorder) SeriesList(ctx context.Context, q deferd.SeriesQuery) (deferd.Page[deferd.Series], error) {
	const living, stored = "l", "s"
	phase, token := living, ""
	if q.Token != "" {
		phase, token = q.Token[:1], q.Token[1:]
	}
	q.Max = max(q.Max, 1)
	q.Token = token
	var page deferd.Page[deferd.Series]
	if phase == living && (q.Namespace == "" || q.Namespace == deferd.SageMakerNamespace) {
		next, err := r.livingSeries(ctx, q, &page)
		if err != nil {
			return page, err
		}
		if next != "" {
			page.Token = living + next
			return page, nil
		}
		q.Token = ""
		if len(page.Items) > 0 {
			page.Token = stored
			return page, nil
		}
	}
	more, err := r.store.SeriesList(ctx, q)
	if err != nil {
		return page, err
	}
	for _, s := range more.Items {
		if m, ours := metricOf(s); ours {
			e, err := r.store.Endpoint(ctx, s.Account, deferd.EndpointName(s.Dimensions.Get("EndpointName")))
			if err == nil && hasVariant(e, s, m) {
				continue // listed before
			}
		}
		page.Items = append(page.Items, s)
	}
	if more.Token != "" {
		page.Token = stored + more.Token
	}
	return page, nil
}

// livingSeries lists the series of endpoints, in the order of their names, as
// whole endpoints: a page may be somewhat longer than was asked for.
func (r *Recorder) livingSeries(ctx context.Context, q deferd.SeriesQuery, page *deferd.Page[deferd.Series]) (token string, err error) {
	add := func(e deferd.Endpoint) {
		for _, s := range endpointSeries(e) {
			if (q.Metric == "" || q.Metric == s.Metric) && s.Dimensions.Has(q.Dimensions) {
				page.Items = append(page.Items, s)
			}
		}
	}
	for _, d := range q.Dimensions {
		if d.Name == "EndpointName" && d.Value != "" {
			e, err := r.store.Endpoint(ctx, q.Account, deferd.EndpointName(d.Value))
			if deferd.CodeOf(err) == deferd.NotFound && err != nil {
				return "", nil
			}
			add(e)
			return "", err
		}
	}
	list := deferd.ListQuery{Account: q.Account, SortBy: deferd.ByName, Ascending: true, Max: 20, Token: q.Token}
	for len(page.Items) < q.Max {
		endpoints, err := r.store.Endpoints(ctx, list)
		if err != nil {
			return "", err
		}
		for _, e := range endpoints.Items {
			add(e)
		}
		if list.Token = endpoints.Token; list.Token == "" {
			return "", nil
		}
	}
	return list.Token, nil
}

// endpointSeries are the series of an endpoint, in all spellings.
func endpointSeries(e deferd.Endpoint) []deferd.Series {
	var all []deferd.Series
	for _, m := range deferd.MetricSpecs {
		if !m.Kind.OfVariant() {
			all = append(all, deferd.EndpointSeries(e.Account, m, e.Name, ""))
			continue
		}
		for _, v := range e.Variants {
			s := deferd.EndpointSeries(e.Account, m, e.Name, v.Name)
			all = append(all, s)
			if m.Name == deferd.InvocationsProcessed {
				s.Metric = strings.Replace(s.Metric, "sss", "ss", 1)
				all = append(all, s)
			}
		}
	}
	return all
}
