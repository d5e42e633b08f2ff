package history

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// Config is what a Recorder works with.
type Config struct {
	Store   deferd.Store
	Account deferd.AccountID // whose alarms are watched
	Logger  *slog.Logger

	// Instances is how many instances of an endpoint serve.
	Instances func(deferd.EndpointID) int

	// Act does what an alarm asks for. Nil: nothing is done.
	Act deferd.AlarmAction

	// Observe is told how long something took, by the metric's name. It must
	// not block. Nil: nobody is told.
	Observe func(id deferd.EndpointID, metric string, d time.Duration)

	// Stored is told how long a call of the store took until it was durable:
	// "accept" or "settle". It must not block. Nil: nobody is told.
	Stored func(call string, d time.Duration)
}

const (
	// lookInterval is how often an endpoint with work is looked at. A minute
	// is a whole number of looks.
	lookInterval = 15 * time.Second

	// recent is how long an endpoint that rests still counts as one that had
	// work.
	recent = 15 * time.Minute

	pruneInterval = time.Hour
	pruneBatch    = 1000
)

// A Recorder measures one server's endpoints.
type Recorder struct {
	c      Config
	store  deferd.Store
	log    *slog.Logger
	alarms *alarms

	attempts attempts
	started  time.Time

	// writing is held while the values of a minute go from memory into the
	// store, so that readers find them in one of the two.
	writing sync.RWMutex
	unsaved []deferd.Point // of minutes that are over; guarded by writing

	mu     sync.Mutex // guards what follows
	active map[deferd.EndpointID]*endpoint
	rested map[deferd.EndpointID]time.Time // when endpoints came to rest, of the last while
}

// An endpoint is one that has work, or had some in this minute. It is guarded
// by Recorder.mu.
type endpoint struct {
	since   time.Time // when it came to have work
	touched bool      // since it was last looked at
	removed bool
	known   *identity // nil until it was looked at
	values  map[value]deferd.Sample
}

// An identity is what does not change of an endpoint.
type identity struct {
	account deferd.AccountID
	name    deferd.EndpointName
	created time.Time
	variant deferd.VariantName // the first one
}

// A value is what samples are collected under; the variant is empty for the
// endpoint as a whole.
type value struct {
	metric  string
	variant deferd.VariantName
}

// New makes a Recorder.
func New(c Config) *Recorder {
	if c.Instances == nil {
		c.Instances = func(deferd.EndpointID) int { return 0 }
	}
	if c.Observe == nil {
		c.Observe = func(deferd.EndpointID, string, time.Duration) {}
	}
	if c.Stored == nil {
		c.Stored = func(string, time.Duration) {}
	}
	r := &Recorder{
		c: c, store: c.Store, log: c.Logger,
		attempts: newAttempts(), started: c.Store.Now(),
		active: map[deferd.EndpointID]*endpoint{},
		rested: map[deferd.EndpointID]time.Time{},
	}
	r.alarms = newAlarms(r)
	return r
}

// Run measures and watches until ctx ends, and then writes down what it has.
func (r *Recorder) Run(ctx context.Context) error {
	r.wakeAll(ctx)
	r.alarms.load(ctx)
	var pruned time.Time
	for minute := r.store.Now().Truncate(time.Minute); ; {
		now := r.store.Now()
		wait := time.NewTimer(now.Truncate(lookInterval).Add(lookInterval).Sub(now))
		select {
		case <-wait.C:
		case <-r.alarms.asked:
			wait.Stop()
			r.alarms.act(ctx)
			continue
		case <-ctx.Done():
			wait.Stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			r.close(last, minute)
			return nil
		}
		if next := r.store.Now().Truncate(time.Minute); next.After(minute) {
			r.alarms.watch(ctx, r.close(ctx, minute), next)
			minute = next
		}
		r.look(ctx)
		if now := r.store.Now(); now.Sub(pruned) >= pruneInterval {
			r.prune(ctx, now)
			pruned = now
		}
	}
}

// wakeAll finds the endpoints that have work from an earlier life, once.
func (r *Recorder) wakeAll(ctx context.Context) {
	ids, err := r.store.LiveEndpoints(ctx)
	if err != nil {
		r.log.WarnContext(ctx, "the endpoints could not be read: what they have to do is measured from their next request on", "err", err)
		return
	}
	for _, id := range ids {
		if c, err := r.store.Counts(ctx, id); err == nil && c.Queued+c.Running+c.Publishing > 0 {
			r.Touch(id)
		}
	}
}

// Touch says that an endpoint has work. It is cheap and never blocks.
func (r *Recorder) Touch(id deferd.EndpointID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoint(id).touched = true
}

// endpoint returns the state of an endpoint, which it wakes. The caller holds mu.
func (r *Recorder) endpoint(id deferd.EndpointID) *endpoint {
	e := r.active[id]
	if e == nil {
		e = &endpoint{since: r.store.Now(), values: map[value]deferd.Sample{}}
		r.active[id] = e
		delete(r.rested, id)
	}
	return e
}

// add collects a value of the present minute.
func (r *Recorder) add(id deferd.EndpointID, v deferd.VariantName, metric string, x float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.endpoint(id)
	k := value{metric, v}
	e.values[k] = e.values[k].Add(deferd.SampleOf(x))
}

// removed says that an endpoint is no more; what it had is still written.
func (r *Recorder) removed(id deferd.EndpointID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.rested, id)
	if e := r.active[id]; e != nil {
		e.removed = true
	}
}

// Recent lists the endpoints that have work, or had some a while ago.
func (r *Recorder) Recent() []deferd.EndpointID {
	now := r.store.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]deferd.EndpointID, 0, len(r.active)+len(r.rested))
	for id, e := range r.active {
		if !e.removed {
			ids = append(ids, id)
		}
	}
	for id, at := range r.rested {
		if now.Sub(at) > recent {
			delete(r.rested, id)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// prune deletes points that are too old.
func (r *Recorder) prune(ctx context.Context, now time.Time) {
	for ctx.Err() == nil {
		n, err := r.store.PruneHistory(ctx, now.Add(-deferd.HistoryKept), pruneBatch)
		if err != nil {
			r.log.WarnContext(ctx, "old measurements could not be deleted", "err", err)
		}
		if err != nil || n < pruneBatch {
			return
		}
	}
}
