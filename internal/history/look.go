package history

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/deferd/deferd"
)

// look measures the backlog of every endpoint that has work.
func (r *Recorder) look(ctx context.Context) {
	r.mu.Lock()
	ids := slices.Collect(maps.Keys(r.active))
	r.mu.Unlock()
	failed := 0
	var last error
	for _, id := range ids {
		if err := r.lookAt(ctx, id); err != nil && ctx.Err() == nil {
			failed, last = failed+1, err
		}
	}
	if last != nil {
		r.log.WarnContext(ctx, "endpoints could not be measured", "endpoints", failed, "err", last)
	}
}

// lookAt measures one endpoint, or lets it rest.
func (r *Recorder) lookAt(ctx context.Context, id deferd.EndpointID) error {
	r.mu.Lock()
	e := r.active[id]
	e.touched = false // before the counts are read, so that no accept is missed
	known := e.known
	r.mu.Unlock()
	if known == nil {
		var err error
		if known, err = r.identify(ctx, id); deferd.CodeOf(err) == deferd.NotFound && err != nil {
			r.forget(id) // it is no more, and nobody can ask for it
			return nil
		} else if err != nil {
			return err
		}
	}
	counts, err := r.store.Counts(ctx, id)
	if err != nil {
		return err
	}
	oldest, err := r.store.OldestQueued(ctx, id)
	if err != nil {
		return err
	}
	now := r.store.Now()
	instances := r.c.Instances(id)
	backlog := float64(counts.Queued + counts.Running)
	age, stuck := 0.0, 0.0
	if !oldest.IsZero() {
		age = now.Sub(oldest).Seconds()
	}
	if counts.Queued > 0 && instances == 0 {
		stuck = 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.known = known
	for metric, v := range map[string]float64{
		deferd.BacklogSize:            backlog,
		deferd.BacklogSizePerInstance: backlog / float64(max(1, instances)),
		deferd.AgeOfOldestRequest:     age,
		deferd.BacklogWithoutCapacity: stuck,
	} {
		k := value{metric: metric}
		sample, looked := e.values[k]
		if !looked && metric != deferd.BacklogWithoutCapacity { // whose minute is a yes or a no from the first request on
			sample = r.earlier(e.since, known.created, now)
		}
		e.values[k] = sample.Add(deferd.SampleOf(v))
	}
	e.touched = e.touched || counts.Queued+counts.Running+counts.Publishing > 0
	return nil
}

// earlier is the sample of the looks of this minute that did not take place
// because an endpoint had no work yet: zeros. Before its creation, and in an
// earlier life of the server, there are none to make up.
func (r *Recorder) earlier(since, created, now time.Time) deferd.Sample {
	begin := now.Truncate(time.Minute)
	for _, t := range []time.Time{created, r.started} {
		if t.After(begin) {
			begin = t
		}
	}
	return deferd.Sample{Count: float64(max(0, looksBefore(since)-looksBefore(begin)))}
}

// looksBefore counts the looks before a time, since some time.
func looksBefore(t time.Time) int64 {
	return (t.UnixNano() + int64(lookInterval) - 1) / int64(lookInterval)
}

// identify reads what does not change of an endpoint.
func (r *Recorder) identify(ctx context.Context, id deferd.EndpointID) (*identity, error) {
	e, err := r.store.EndpointByID(ctx, id)
	if err != nil {
		return nil, err
	}
	known := &identity{account: e.Account, name: e.Name, created: e.Created}
	if len(e.Variants) > 0 {
		known.variant = e.Variants[0].Name
	}
	return known, nil
}

// forget drops an endpoint with what was collected of it.
func (r *Recorder) forget(id deferd.EndpointID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, id)
}

// close writes down what a minute had, lets rest what has no work any more, and
// returns the series that had values.
func (r *Recorder) close(ctx context.Context, minute time.Time) []deferd.Series {
	r.nameNew(ctx)
	r.writing.Lock()
	defer r.writing.Unlock()
	points := r.collect(minute)
	r.unsaved = append(r.unsaved, points...)
	if len(r.unsaved) > 0 {
		err := r.store.AddHistory(ctx, r.unsaved)
		switch {
		case err == nil:
			r.unsaved = nil
		case len(r.unsaved) > maxUnsaved:
			r.log.ErrorContext(ctx, "measurements are lost: they could not be written for too long", "points", len(r.unsaved), "err", err)
			r.unsaved = nil
		default:
			r.log.WarnContext(ctx, "measurements could not be written; trying again", "points", len(r.unsaved), "err", err)
		}
	}
	series := make([]deferd.Series, 0, len(points))
	for _, p := range points {
		series = append(series, p.Series)
	}
	return series
}

// maxUnsaved bounds what waits in memory for a store that cannot be written.
const maxUnsaved = 100_000

// nameNew finds out the names of endpoints that had no look yet.
func (r *Recorder) nameNew(ctx context.Context) {
	r.mu.Lock()
	var unnamed []deferd.EndpointID
	for id, e := range r.active {
		if e.known == nil {
			unnamed = append(unnamed, id)
		}
	}
	r.mu.Unlock()
	for _, id := range unnamed {
		known, err := r.identify(ctx, id)
		if err != nil {
			continue // the next look says why
		}
		r.mu.Lock()
		if e := r.active[id]; e != nil {
			e.known = known
		}
		r.mu.Unlock()
	}
}

// collect takes the values of a minute out of memory.
func (r *Recorder) collect(minute time.Time) []deferd.Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	var points []deferd.Point
	for id, e := range r.active {
		if e.known == nil {
			continue
		}
		points = append(points, e.points(minute)...)
		e.values = map[value]deferd.Sample{}
		if !e.touched {
			delete(r.active, id)
			if !e.removed {
				r.rested[id] = r.store.Now()
			}
		}
	}
	return points
}

// points are what was collected of an endpoint, but for the zeros that would be
// made up anyway.
func (e *endpoint) points(minute time.Time) []deferd.Point {
	var points []deferd.Point
	for k, s := range e.values {
		m, ok := deferd.FindMetric(k.metric)
		if !ok || m.Kind == deferd.EndpointGauge && s.Min == 0 && s.Max == 0 {
			continue
		}
		v := k.variant
		if v == "" {
			v = e.known.variant // of what no instance ever had
		}
		points = append(points, deferd.Point{
			Series: deferd.EndpointSeries(e.known.account, m, e.known.name, v), Minute: minute, Sample: s,
		})
	}
	return points
}
