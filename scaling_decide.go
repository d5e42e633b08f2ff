package deferd

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Target tracking, as AWS's alarms decide it.
const (
	TrackingOutPoints = 3   // data points above the target before it scales out
	TrackingInPoints  = 15  // data points below the margin before it scales in
	trackingMargin    = 0.9 // of the target
	DefaultCooldown   = 300 * time.Second
)

// TargetTracking keeps a metric near its target, supposing that it falls as
// instances are added.
type TargetTracking struct {
	Target      float64
	Metric      ScalingMetric
	OutCooldown time.Duration
	InCooldown  time.Duration
	DisableIn   bool
}

// TrackingAlarm is the alarm that shows what a policy of target tracking waits
// for: a value above its target, or below its margin.
func TrackingAlarm(p ScalingPolicy, high bool) Alarm {
	m := p.Tracking.Metric.named(p.Resource)
	var dims []Dimension
	for name, v := range m.Dimensions {
		dims = append(dims, Dimension{name, v})
	}
	a := Alarm{
		Account: p.Account, Description: "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy " + p.ARN + ".",
		Namespace: m.Namespace, Metric: m.Name, Dimensions: MakeDimensions(dims...), Unit: m.Unit, Statistic: m.Statistic,
		Period: time.Minute, ActionsEnabled: true, AlarmActions: []string{p.ARN},
	}
	of := p.Alarms[1]
	a.Periods, a.Threshold, a.Comparison = TrackingInPoints, trackingMargin*p.Tracking.Target, "LessThanThreshold"
	if high {
		of, a.Periods, a.Threshold, a.Comparison = p.Alarms[0], TrackingOutPoints, p.Tracking.Target, "GreaterThanThreshold"
	}
	a.Name, a.ARN, a.Datapoints = of.Name, of.ARN, a.Periods
	return a
}

// named is a metric as CloudWatch names it.
func (m ScalingMetric) named(r VariantRef) ScalingMetric {
	if m.Own == "" {
		return m
	}
	m.Namespace, m.Statistic = SageMakerNamespace, "Average"
	m.Dimensions = map[string]string{"EndpointName": string(r.Endpoint)}
	i := slices.IndexFunc(ownMetrics, func(o cloudWatchMetric) bool { return o.own == m.Own })
	if i < 0 { // none that async endpoints have
		m.Name, m.Dimensions["VariantName"] = "InvocationsPerInstance", string(r.Variant)
		return m
	}
	m.Name = ownMetrics[i].name
	return m
}

// A PolicyReading is a policy and what there is to decide from.
type PolicyReading struct {
	ScalingPolicy
	Values []float64     // of Tracking: its metric in the last periods, oldest first; NaN where there was none
	Latest float64       // its value right now; NaN where nobody knows it
	Alarm  *AlarmReading // of Step: the alarm that rings for it; nil where none does
}

// A ScalingState is what is decided from.
type ScalingState struct {
	Now      time.Time
	Current  int // instances that there are to be
	Queued   int64
	Busy     bool // something came or ran in the last periods that a scale-in looks at
	Fresh    bool // there is a data point since the number of instances last changed
	Settled  int  // data points since the last scale-out: those before say nothing of what is to spare now
	Policies []PolicyReading
}

// A Scaling is a decision to have another number of instances.
type Scaling struct {
	To     int
	Policy string // "" where no policy decided
	Cause  string
}

// Bound brings a number of instances into the target's bounds.
func (t *ScalableTarget) Bound(n int) int { return max(t.Min, min(n, t.Max)) }

// Decide says how many instances there are to be instead of those that there
// are; ok is false where it is best to leave it. Decide is pure: Applied notes
// what was done.
//
// A request that waits where there is no instance wakes the target at once,
// whatever its policies wait for. Otherwise each policy has a say: the largest
// number wins, and nothing is taken away unless no policy objects. Nothing is
// taken away to zero while there is work, or was any lately.
func (t *ScalableTarget) Decide(s ScalingState) (d Scaling, ok bool) {
	if d, ok := t.wake(s); ok {
		return d, true
	}
	var out, in []Scaling
	objected := false
	for _, p := range s.Policies {
		d, v := t.propose(p, s)
		switch v {
		case voteOut:
			if d.To = min(d.To, t.Max); d.To > s.Current {
				out = append(out, d)
			}
			objected = true
		case voteIn:
			in = append(in, d)
		case voteObject:
			objected = true
		}
	}
	switch {
	case len(out) > 0 && !t.Suspended.Out:
		return largest(out), true
	case len(in) == 0 || objected || t.Suspended.In:
		return Scaling{}, false
	}
	d = largest(in)
	d.To = max(d.To, t.Min)
	if s.Queued > 0 || s.Busy {
		d.To = max(d.To, 1)
	}
	return d, d.To < s.Current
}

func largest(all []Scaling) Scaling {
	return slices.MaxFunc(all, func(a, b Scaling) int { return a.To - b.To })
}

// wake decides for a target without instances that has work. Where its policies
// know how much there is, they say how many it wakes with.
func (t *ScalableTarget) wake(s ScalingState) (Scaling, bool) {
	if s.Current > 0 || s.Queued == 0 || len(s.Policies) == 0 || t.Suspended.Out || t.Max == 0 {
		return Scaling{}, false
	}
	n := 1
	for _, p := range s.Policies {
		if p.Tracking != nil && p.Latest > p.Tracking.Target {
			n = max(n, p.Tracking.proportional(1, p.Latest))
		}
	}
	cause := "1 request waited and there was no instance"
	if s.Queued > 1 {
		cause = fmt.Sprintf("%d requests waited and there was no instance", s.Queued)
	}
	return Scaling{To: t.Bound(n), Cause: cause}, true
}

// A vote is what a policy wants.
type vote int

const (
	voteNone   vote = iota // it has no say
	voteOut                // more
	voteIn                 // fewer are enough
	voteObject             // not fewer
)

// propose asks one policy. A proposal that its cooldown forbids is an
// objection: the policy wants no fewer, or not yet.
//
// In a scale-out's cooldown only a larger one is made: what it has added is
// part of what it adds now. A metric of the endpoint's own has seen that
// already.
func (t *ScalableTarget) propose(p PolicyReading, s ScalingState) (d Scaling, v vote) {
	outCooldown, inCooldown := p.cooldowns()
	base := s.Current
	if last, ok := t.LastOut[p.Name]; ok && s.Now.Before(last.At.Add(outCooldown)) {
		base = min(base, last.From)
	}
	switch {
	case p.Step != nil:
		d, v = p.Step.propose(p, base, s.Current)
	case p.Tracking.Metric.Own != "":
		d, v = p.Tracking.propose(p, s, s.Current)
	default:
		d, v = p.Tracking.propose(p, s, base)
	}
	switch {
	case v == voteOut && d.To <= s.Current:
		return d, voteObject
	case v == voteIn && s.Now.Before(t.LastIn.Add(inCooldown)):
		return d, voteObject
	}
	return d, v
}

func (p *ScalingPolicy) cooldowns() (out, in time.Duration) {
	if p.Step != nil {
		return p.Step.Cooldown, p.Step.Cooldown
	}
	return p.Tracking.OutCooldown, p.Tracking.InCooldown
}

// propose asks target tracking. The number that it wants follows from the
// latest value where it wants more, for base instances, and from the highest
// where fewer are enough.
func (k *TargetTracking) propose(p PolicyReading, s ScalingState, base int) (Scaling, vote) {
	cause := func(alarm int, what string, points int) string {
		if alarm < len(p.Alarms) {
			return alarmCause(p.Alarms[alarm].Name, p.Name)
		}
		return fmt.Sprintf("the metric was %s in %d data points, which triggered policy %s", what, points, p.Name)
	}
	above := func(v float64) bool { return v > k.Target }
	below := func(v float64) bool { return v < trackingMargin*k.Target }
	switch {
	case !s.Fresh:
		return Scaling{}, voteObject
	case lastAll(p.Values, TrackingOutPoints, above):
		n := k.proportional(max(1, base), p.Values[len(p.Values)-1])
		return Scaling{n, p.Name, cause(0, fmt.Sprintf("above %g", k.Target), TrackingOutPoints)}, voteOut
	case k.DisableIn:
		return Scaling{}, voteNone
	case s.Settled >= TrackingInPoints && lastAll(p.Values, TrackingInPoints, below):
		n := k.proportional(s.Current, slices.Max(p.Values[len(p.Values)-TrackingInPoints:]))
		return Scaling{max(0, min(n, s.Current)), p.Name, cause(1, fmt.Sprintf("below %g", trackingMargin*k.Target), TrackingInPoints)}, voteIn
	}
	return Scaling{}, voteObject
}

// mostInstances is more than anybody has. It keeps numbers that no machine
// could count to out of arithmetic.
const mostInstances = 1 << 30

// proportional is how many of current instances would bring a metric to the
// target.
func (k *TargetTracking) proportional(current int, value float64) int {
	// A hair less than a whole number is that number.
	n := math.Ceil(float64(current)*value/k.Target - 1e-9)
	return int(min(n, mostInstances))
}

// lastAll reports whether there are n last values, all of which are so.
func lastAll(values []float64, n int, so func(float64) bool) bool {
	if len(values) < n {
		return false
	}
	for _, v := range values[len(values)-n:] {
		if math.IsNaN(v) || !so(v) {
			return false
		}
	}
	return true
}

// alarmCause is the cause of an activity in AWS's words.
func alarmCause(alarm, policy string) string {
	return fmt.Sprintf("monitor alarm %s in state ALARM triggered policy %s", alarm, policy)
}

// Applied notes a decision that was carried out where there were from
// instances, for the cooldowns.
func (t *ScalableTarget) Applied(d Scaling, from int, now time.Time) {
	if d.To < from {
		t.LastIn = now
		return
	}
	t.LastIn = time.Time{}
	if d.Policy != "" {
		last := make(map[string]ScaledOut, len(t.LastOut)+1)
		maps.Copy(last, t.LastOut)
		last[d.Policy] = ScaledOut{now, from}
		t.LastOut = last
	}
}
