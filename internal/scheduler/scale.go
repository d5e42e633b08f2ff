package scheduler

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// Metrics reads the metrics of policies that are not an endpoint's own.
type Metrics interface {
	// Values are the last n data points of a metric, one for each minute that
	// has ended by now, oldest first; NaN where there was none.
	Values(ctx context.Context, a deferd.AccountID, m deferd.ScalingMetric, now time.Time, n int) ([]float64, error)
}

// DefaultScalingPeriod is how long a data point of scaling is, as on AWS.
const DefaultScalingPeriod = time.Minute

// A scaler has the endpoints' variants follow their policies. It looks at an
// endpoint when that has changed, when an alarm rings for it, and once in each
// period while it has work or instances; one at rest wakes it by its first
// work. What it decides it writes down as what there is to be, and the
// scheduler does the rest.
type scaler struct {
	c       *Config
	log     *slog.Logger
	looks   *queue
	changed func(deferd.EndpointID) // has an endpoint follow what it is to be

	mu     sync.Mutex                   // guards what follows
	asleep map[deferd.EndpointID]bool   // whose first work is to be told
	rings  map[deferd.EndpointID][]ring // of alarms, that were not looked at yet

	endpoints map[deferd.EndpointID]*scaledEndpoint // of the looking goroutine
}

// A ring is an alarm that rings for a policy.
type ring struct {
	resource deferd.VariantRef
	policy   string
	reading  deferd.AlarmReading
}

// A scaledEndpoint is what is remembered of an endpoint with targets.
type scaledEndpoint struct {
	loads    []deferd.Load // of the last periods, oldest first
	accepted int64         // in all, at the last of them
	targets  map[deferd.VariantName]*scaledTarget
}

// A scaledTarget is what is remembered of a target.
type scaledTarget struct {
	pending  *deferd.ScalingActivity // in progress
	managed  deferd.ScalableTarget   // what cooldowns are counted from where nothing is registered
	changed  time.Time               // when it was last scaled, of the store's clock
	out      time.Time               // when it was last scaled out
	failures int                     // scale-outs in a row that were rolled back
	retry    time.Time               // not before: back-off after these
}

// A scale-out that is rolled back is tried again while there is cause for it,
// less and less often.
const (
	firstScaleRetry = 10 * time.Second
	maxScaleRetry   = time.Minute
)

func newScaler(s *Scheduler) *scaler {
	return &scaler{c: &s.c, log: s.log, looks: newQueue(), changed: s.queue.add, asleep: map[deferd.EndpointID]bool{}, rings: map[deferd.EndpointID][]ring{}, endpoints: map[deferd.EndpointID]*scaledEndpoint{}}
}

// run looks at what is to be looked at until ctx ends.
func (s *scaler) run(ctx context.Context) {
	defer s.looks.stop()
	for {
		id, ok := s.looks.next(ctx)
		if !ok {
			return
		}
		if err := s.look(ctx, id); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "an endpoint could not be scaled; trying again", "endpoint", id, "err", err)
			s.looks.addAfter(id, retryWait)
		}
	}
}

// HasWork says that an endpoint has work that it may not have had before. It
// never blocks, and costs nearly nothing where the endpoint is awake.
func (s *Scheduler) HasWork(id deferd.EndpointID) {
	if s.scaler.wake(id) {
		s.scaler.looks.add(id)
	}
}

// wake reports whether an endpoint was asleep, which it is not any more.
func (s *scaler) wake(id deferd.EndpointID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asleep := s.asleep[id]
	delete(s.asleep, id)
	return asleep
}

// sleep has the first work of an endpoint told.
func (s *scaler) sleep(id deferd.EndpointID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asleep[id] = true
}

// ActOnAlarm tells a step policy that an alarm that names it rings. Again says
// that the policy wants to hear it at the end of each period in which the alarm
// still does. What a policy that tracks a metric does, its alarms only show.
// NotFound: there is no such policy.
func (s *Scheduler) ActOnAlarm(ctx context.Context, policyARN string, r deferd.AlarmReading) (again bool, err error) {
	account, resource, name, err := deferd.ParsePolicyARN(policyARN)
	if err != nil {
		return false, err
	}
	d, err := s.c.Store.Document(ctx, deferd.KindScalingPolicy, account, deferd.ScalingName(resource, name))
	if err != nil {
		return false, err
	}
	p, err := deferd.ReadScalingPolicy(d)
	if err != nil {
		return false, err
	}
	if p.ARN != policyARN {
		return false, deferd.Errorf(deferd.NotFound, "there is no scaling policy %s any more", policyARN)
	}
	if p.Step == nil {
		return false, nil
	}
	e, err := s.c.Store.Endpoint(ctx, account, resource.Endpoint)
	if err != nil {
		return false, err
	}
	s.scaler.mu.Lock()
	s.scaler.rings[e.ID] = append(s.scaler.rings[e.ID], ring{resource, name, r})
	s.scaler.mu.Unlock()
	s.scaler.looks.add(e.ID)
	return true, nil
}

// takeRings are the alarms that have rung for an endpoint since the last look.
func (s *scaler) takeRings(id deferd.EndpointID) []ring {
	s.mu.Lock()
	defer s.mu.Unlock()
	rings := s.rings[id]
	delete(s.rings, id)
	return rings
}

// look scales an endpoint, and sees to it that it is looked at again.
func (s *scaler) look(ctx context.Context, id deferd.EndpointID) error {
	rings := s.takeRings(id)
	e, err := s.c.Store.EndpointByID(ctx, id)
	if deferd.CodeOf(err) == deferd.NotFound && err != nil {
		s.forget(id)
		return nil
	}
	if err != nil {
		return err
	}
	targets, err := s.targets(ctx, e)
	if err != nil {
		return err
	}
	if len(targets) == 0 || !e.Status.Accepts() {
		s.forget(id)
		return nil
	}
	// Work that comes after this is told, work that came before is counted.
	s.sleep(id)
	ep, now, err := s.sample(ctx, e)
	if err != nil {
		return err
	}
	awake := false
	for _, t := range targets {
		active, err := s.scale(ctx, e, ep, t, now, rings)
		if err != nil {
			return err
		}
		awake = awake || active
	}
	if !awake {
		ep.loads = slices.Clone(ep.loads[len(ep.loads)-1:]) // the others are no last ones when it wakes
		return nil
	}
	s.wake(id)
	s.looks.addAfter(id, s.untilNext(ep, now))
	return nil
}

// forget drops what is known of an endpoint that is not scaled.
func (s *scaler) forget(id deferd.EndpointID) {
	s.wake(id)
	delete(s.endpoints, id)
}

// sample looks at an endpoint's load now, and keeps that where a period has
// ended.
func (s *scaler) sample(ctx context.Context, e deferd.Endpoint) (*scaledEndpoint, deferd.Load, error) {
	ep := s.endpoints[e.ID]
	if ep == nil {
		ep = &scaledEndpoint{targets: map[deferd.VariantName]*scaledTarget{}}
		s.endpoints[e.ID] = ep
	}
	counts, err := s.c.Store.Counts(ctx, e.ID)
	if err != nil {
		return nil, deferd.Load{}, err
	}
	now := deferd.Load{At: s.c.Store.Now(), Period: s.c.ScalingPeriod, Queued: counts.Queued, Backlog: counts.Queued + counts.Running}
	for _, v := range desired(&e) {
		now.Instances += v.Desired
	}
	if counts.Queued > 0 {
		oldest, err := s.c.Store.OldestQueued(ctx, e.ID)
		if err != nil {
			return nil, deferd.Load{}, err
		}
		if !oldest.IsZero() {
			now.OldestAge = max(0, now.At.Sub(oldest))
		}
	}
	if len(ep.loads) > 0 {
		now.Accepted = counts.Accepted - ep.accepted
		since := now.At.Sub(ep.loads[len(ep.loads)-1].At)
		if since < s.c.ScalingPeriod {
			return ep, now, nil
		}
		if since > 2*s.c.ScalingPeriod { // it slept: what was before is not what was last
			ep.loads = nil
		}
	}
	ep.loads = append(ep.loads, now)
	ep.loads = slices.Clone(ep.loads[max(0, len(ep.loads)-keptLoads):])
	ep.accepted = counts.Accepted
	return ep, now, nil
}

// keptLoads are as many as any policy looks at.
const keptLoads = deferd.TrackingInPoints

// untilNext is how long it takes until the period is over.
func (s *scaler) untilNext(ep *scaledEndpoint, now deferd.Load) time.Duration {
	return max(time.Millisecond, s.c.ScalingPeriod-now.At.Sub(ep.loads[len(ep.loads)-1].At))
}

// scale decides for one target, and reports whether it is to be looked at
// again.
func (s *scaler) scale(ctx context.Context, e deferd.Endpoint, ep *scaledEndpoint, t target, now deferd.Load, rings []ring) (active bool, err error) {
	i := slices.IndexFunc(desired(&e), func(v deferd.EndpointVariant) bool { return v.Name == t.Resource.Variant })
	if i < 0 {
		return false, nil // an update has taken the variant away
	}
	known, err := s.known(ctx, ep, &t)
	if err != nil {
		return false, err
	}
	current := desired(&e)[i].Desired
	if err := s.settle(ctx, e, known, current, now.At); err != nil {
		return false, err
	}
	var scheduled string
	t.ScalableTarget, scheduled, err = s.carryOut(ctx, e, t.ScalableTarget, now.At)
	if err != nil {
		return false, err
	}
	policies, foreign, err := s.policies(ctx, t, ep.loads, now, rings)
	if err != nil {
		return false, err
	}
	active = known.pending != nil || len(policies) > 0 && (current > 0 || now.Backlog > 0 || foreign)
	if e.Deployment != nil && e.Deployment.Fleet != e.Fleet {
		return active, nil // it is looked at when that has ended
	}
	d, ok := s.decide(t.ScalableTarget, known, current, now, ep.loads, policies)
	if !ok {
		return active, nil
	}
	if scheduled != "" && d.Policy == "" {
		d.Cause = scheduled
	}
	if d.To > current && now.At.Before(known.retry) {
		s.looks.addAfter(e.ID, known.retry.Sub(now.At))
		return active, nil
	}
	return true, s.apply(ctx, e, t, known, d, current, now.At)
}

// decide asks the target, whose bounds hold whatever its policies say.
func (s *scaler) decide(t deferd.ScalableTarget, known *scaledTarget, current int, now deferd.Load, loads []deferd.Load, policies []deferd.PolicyReading) (deferd.Scaling, bool) {
	if most := s.c.MaxInstances; most > 0 {
		t.Min, t.Max = min(t.Min, most), min(t.Max, most)
	}
	n := t.Bound(current)
	if n > current && !t.Suspended.Out || n < current && !t.Suspended.In {
		return deferd.Scaling{To: n, Cause: boundsCause(t)}, true
	}
	settled := 0
	for _, l := range loads {
		if l.At.After(known.out) {
			settled++
		}
	}
	fresh := len(loads) > 0 && loads[len(loads)-1].At.After(known.changed)
	return t.Decide(deferd.ScalingState{
		Now: now.At, Current: current, Queued: now.Queued, Fresh: fresh, Settled: settled, Policies: policies,
		Busy: now.Busy() || slices.ContainsFunc(loads, deferd.Load.Busy),
	})
}

// policies are what a target's policies are to decide from. Foreign says that
// one of them looks at something that is not the endpoint's own.
func (s *scaler) policies(ctx context.Context, t target, loads []deferd.Load, now deferd.Load, rings []ring) (all []deferd.PolicyReading, foreign bool, err error) {
	policies, err := s.readPolicies(ctx, t)
	for _, p := range policies {
		r := deferd.PolicyReading{ScalingPolicy: p, Latest: math.NaN()}
		switch k := p.Tracking; {
		case k == nil:
			for _, ring := range rings {
				if ring.resource == t.Resource && ring.policy == p.Name {
					r.Alarm = &ring.reading // the last one says how it is now
				}
			}
		case k.Metric.Own != "":
			r.Latest = k.Metric.Own.Of(now)
			for _, l := range loads {
				l.Instances = now.Instances // as it would have been with those
				r.Values = append(r.Values, k.Metric.Own.Of(l))
			}
		default:
			foreign = true
			r.Values = s.foreign(ctx, p, now.At)
		}
		all = append(all, r)
	}
	return all, foreign, err
}

// foreign reads a metric that is not an endpoint's own. What cannot be read is
// missing.
func (s *scaler) foreign(ctx context.Context, p deferd.ScalingPolicy, now time.Time) []float64 {
	if s.c.Metrics == nil {
		return nil
	}
	values, err := s.c.Metrics.Values(ctx, p.Account, p.Tracking.Metric, now, deferd.TrackingInPoints)
	if err != nil {
		s.log.WarnContext(ctx, "a metric of a scaling policy could not be read", "endpoint", p.Resource.Endpoint, "policy", p.Name, "err", err)
		return nil
	}
	return values
}

// desired are the variants of the fleet that serves, as they are to be.
func desired(e *deferd.Endpoint) []deferd.EndpointVariant {
	if d := e.Deployment; d != nil && d.Fleet == e.Fleet {
		return d.Variants
	}
	return e.Variants
}
