package history

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// alarms are who watches which series. An alarm is looked at after a minute in
// which its series had values, and as long as what it was judged by can still
// change by itself; then it rests with its series.
type alarms struct {
	r     *Recorder
	asked chan struct{} // has room for one: there are changes to act on

	mu       sync.Mutex // guards what follows
	watched  map[string]deferd.Series
	bySeries map[deferd.Series]map[string]bool
	due      map[string]bool      // to be looked at after this minute
	again    map[string]bool      // whose actions want to hear of them
	changes  []deferd.AlarmChange // that somebody else has made
}

func newAlarms(r *Recorder) *alarms {
	return &alarms{
		r: r, asked: make(chan struct{}, 1), watched: map[string]deferd.Series{}, bySeries: map[deferd.Series]map[string]bool{},
		due: map[string]bool{}, again: map[string]bool{},
	}
}

// watchedSeries is what an alarm watches, in the one spelling and without unit.
func watchedSeries(a *deferd.Alarm) deferd.Series {
	s := deferd.Series{Account: a.Account, Namespace: a.Namespace, Metric: a.Metric, Dimensions: a.Dimensions}
	return canonical(s)
}

func canonical(s deferd.Series) deferd.Series {
	if m, ours := metricOf(s); ours {
		s.Metric = m.Name
	}
	s.Unit = ""
	return s
}

// load finds the alarms that there are, once.
func (w *alarms) load(ctx context.Context) {
	const batch = 100
	for after := ""; ; {
		docs, err := w.r.store.Documents(ctx, deferd.KindAlarm, w.r.c.Account, "", after, batch)
		if err != nil {
			w.r.log.ErrorContext(ctx, "the alarms could not be read: those of before are not watched", "err", err)
			return
		}
		for _, d := range docs {
			w.put(d)
			w.resume(d)
			after = d.Name
		}
		if len(docs) < batch {
			return
		}
	}
}

// resume has a raised alarm's scaling policies hear of it again: what they
// wanted to hear in an earlier life of the server is not known.
func (w *alarms) resume(d deferd.Document) {
	a, err := deferd.AlarmOf(d)
	if err != nil || a.State != deferd.AlarmRaised || !slices.ContainsFunc(a.Actions(a.State), isPolicy) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.again[a.Name] = true
}

// isPolicy reports whether an action is a scaling policy. Only these may want to
// hear of an alarm that stays as it is; everybody else was told.
func isPolicy(arn string) bool { return strings.Contains(arn, ":scalingPolicy:") }

// put watches an alarm as it is now.
func (w *alarms) put(d deferd.Document) {
	a, err := deferd.AlarmOf(d)
	if err != nil {
		w.r.log.Warn("an alarm cannot be read", "alarm", d.Name, "err", err)
		return
	}
	if d.Account != w.r.c.Account {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(a.Name)
	s := watchedSeries(&a)
	w.watched[a.Name] = s
	if w.bySeries[s] == nil {
		w.bySeries[s] = map[string]bool{}
	}
	w.bySeries[s][a.Name] = true
	w.due[a.Name] = true
}

func (w *alarms) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(name)
}

// drop forgets an alarm. The caller holds mu.
func (w *alarms) drop(name string) {
	if s, ok := w.watched[name]; ok {
		delete(w.bySeries[s], name)
		if len(w.bySeries[s]) == 0 {
			delete(w.bySeries, s)
		}
	}
	delete(w.watched, name)
	delete(w.due, name)
	delete(w.again, name)
}

// measured says that series have new values.
func (w *alarms) measured(series []deferd.Series) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range series {
		for name := range w.bySeries[canonical(s)] {
			w.due[name] = true
		}
	}
}

// lived says that an endpoint has come to life or has gone, and with it the
// zeros of its series.
func (w *alarms) lived(e deferd.EndpointName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s, names := range w.bySeries {
		if s.Dimensions.Get("EndpointName") == string(e) {
			for name := range names {
				w.due[name] = true
			}
		}
	}
}

// watch judges the alarms that are due after a minute.
func (w *alarms) watch(ctx context.Context, series []deferd.Series, now time.Time) {
	w.measured(series)
	w.mu.Lock()
	due := slices.Sorted(maps.Keys(w.due))
	clear(w.due)
	w.mu.Unlock()
	for _, name := range due {
		if ctx.Err() != nil {
			return
		}
		rests, err := w.look(ctx, name, now)
		if err != nil && ctx.Err() == nil {
			w.r.log.WarnContext(ctx, "an alarm could not be looked after; trying again", "alarm", name, "err", err)
		}
		if !rests || err != nil {
			w.mu.Lock()
			w.due[name] = true
			w.mu.Unlock()
		}
	}
}

// look judges one alarm, and reports whether it rests until its series has
// values again.
func (w *alarms) look(ctx context.Context, name string, now time.Time) (rests bool, err error) {
	d, err := w.r.store.Document(ctx, deferd.KindAlarm, w.r.c.Account, name)
	if deferd.CodeOf(err) == deferd.NotFound && err != nil {
		w.forget(name)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	a, err := deferd.AlarmOf(d)
	if err != nil {
		return true, err
	}
	from, to := window(&a, now)
	s := watchedSeries(&a)
	s.Unit = a.Unit
	points, err := w.r.Points(ctx, s, from, to)
	if err != nil {
		return false, err
	}
	rs := readings(&a, points, from)
	j := judge(&a, rs, to)
	change := deferd.AlarmChange{Old: a.State, At: now}
	if n := len(rs); n > 0 {
		change.Value, change.Known = rs[n-1].value, true
	}
	if j.state != a.State {
		a.Reason, a.ReasonData, a.Updated, a.Transitions = j.reason, reasonData(&a, j, now), now, now
		a.State = j.state
		next, err := a.Document(d.Version)
		if err != nil {
			return true, err
		}
		if _, err := w.r.store.PutDocument(ctx, next); err != nil {
			return false, err // changed meanwhile: the next look sees how
		}
		w.r.log.InfoContext(ctx, "alarm", "alarm", name, "state", a.State, "was", change.Old)
	}
	change.Alarm = a
	if change.Old != a.State || w.wants(name) {
		w.do(ctx, change)
	}
	return atRest(s, points, from, to) && !w.wants(name), nil
}

// atRest reports whether a window stays as it is when nothing is measured: all
// of it is at zero, or there is nothing in it.
func atRest(s deferd.Series, points []deferd.Point, from, to time.Time) bool {
	for _, p := range points {
		if p.Min != 0 || p.Max != 0 || p.Sum != 0 {
			return false
		}
	}
	m, ours := metricOf(s)
	if _, idle := m.Kind.Idle(); ours && idle && len(points) > 0 {
		return len(points) == int(to.Sub(from)/time.Minute)
	}
	return len(points) == 0
}

func (w *alarms) wants(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.again[name]
}

// actLimit is how long one action may take.
const actLimit = 10 * time.Second

// do does what an alarm asks for in the state that it is in. What fails is not
// done again, but where it wants to hear of the alarm anyway.
func (w *alarms) do(ctx context.Context, c deferd.AlarmChange) {
	wanted := false
	for _, arn := range c.Alarm.Actions(c.Alarm.State) {
		if w.r.c.Act == nil {
			break
		}
		if c.Old == c.Alarm.State && !isPolicy(arn) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, actLimit)
		again, err := w.r.c.Act(limited, arn, c)
		cancel()
		if err != nil {
			w.r.log.WarnContext(ctx, "an alarm's action failed", "alarm", c.Alarm.Name, "action", arn, "err", err)
		}
		wanted = wanted || again && isPolicy(arn)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.again, c.Alarm.Name)
	if _, known := w.watched[c.Alarm.Name]; known && wanted {
		w.again[c.Alarm.Name], w.due[c.Alarm.Name] = true, true
	}
}

// AlarmChanged has done what an alarm asks for that somebody has set by hand. It
// does not block.
func (r *Recorder) AlarmChanged(c deferd.AlarmChange) {
	w := r.alarms
	w.mu.Lock()
	w.changes = append(w.changes, c)
	w.mu.Unlock()
	select {
	case w.asked <- struct{}{}:
	default:
	}
}

// act does what the changes ask for that somebody else has made.
func (w *alarms) act(ctx context.Context) {
	w.mu.Lock()
	changes := w.changes
	w.changes = nil
	w.mu.Unlock()
	for _, c := range changes {
		w.do(ctx, c)
	}
}
