package deferd

import (
	"math"
	"time"
)

// StepScaling changes the number of instances by how far an alarm's metric is
// beyond its threshold.
type StepScaling struct {
	Adjustment   AdjustmentType
	Steps        []Step
	MinMagnitude int // of PercentChangeInCapacity; 0: none
	Cooldown     time.Duration
	Aggregation  string // of the alarm's data points: Average, Minimum or Maximum; "": Average
}

// An AdjustmentType says what a step's Adjustment is, as AWS spells it.
type AdjustmentType string

const (
	ChangeInCapacity        AdjustmentType = "ChangeInCapacity"
	PercentChangeInCapacity AdjustmentType = "PercentChangeInCapacity"
	ExactCapacity           AdjustmentType = "ExactCapacity"
)

// A Step holds where the metric is this far beyond the threshold, which both
// bounds are relative to; nil is infinite.
type Step struct {
	Lower, Upper *float64
	Adjustment   int
}

// An AlarmReading is what an alarm that rings tells the policy that it names as
// its action.
type AlarmReading struct {
	Alarm     string // its name
	Threshold float64
	Values    []float64 // the data points that it rings for; none says only that it rings
}

// propose says what a policy whose alarm rings wants. What it adds is added to
// base, which is less than current where its last scale-out still counts.
func (k *StepScaling) propose(p PolicyReading, base, current int) (Scaling, vote) {
	if p.Alarm == nil {
		return Scaling{}, voteNone
	}
	beyond := k.beyond(*p.Alarm)
	d := Scaling{Policy: p.Name, Cause: alarmCause(p.Alarm.Alarm, p.Name)}
	if n, ok := k.apply(base, beyond); ok && n > base {
		d.To = n
		return d, voteOut
	}
	if n, ok := k.apply(current, beyond); ok && n < current {
		d.To = n
		return d, voteIn
	}
	return d, voteNone
}

// beyond is how far an alarm's metric is above its threshold; below it is
// negative.
func (k *StepScaling) beyond(a AlarmReading) float64 {
	if len(a.Values) == 0 {
		return 0
	}
	value := a.Values[0]
	for _, v := range a.Values[1:] {
		switch k.Aggregation {
		case "Minimum":
			value = min(value, v)
		case "Maximum":
			value = max(value, v)
		default:
			value += v
		}
	}
	if k.Aggregation != "Minimum" && k.Aggregation != "Maximum" {
		value /= float64(len(a.Values))
	}
	return value - a.Threshold
}

// apply is how many instances the step for a metric this far beyond its
// threshold makes of n; ok is false where no step holds.
func (k *StepScaling) apply(n int, beyond float64) (to int, ok bool) {
	for _, s := range k.Steps {
		if s.holds(beyond) {
			return max(0, min(k.adjust(n, s.Adjustment), mostInstances)), true
		}
	}
	return n, false
}

// holds reports whether a distance is within the step. Above the threshold the
// lower bound belongs to the step, below it the upper one does.
func (s Step) holds(beyond float64) bool {
	lower, upper := math.Inf(-1), math.Inf(1)
	if s.Lower != nil {
		lower = *s.Lower
	}
	if s.Upper != nil {
		upper = *s.Upper
	}
	if beyond >= 0 {
		return lower <= beyond && (beyond < upper || math.IsInf(upper, 1))
	}
	return (lower < beyond || math.IsInf(lower, -1)) && beyond <= upper
}

// adjust applies an adjustment to n instances. Of a percentage, what lies
// between zero and one instance is one, and more than one is rounded towards
// zero; MinMagnitude is then the least.
func (k *StepScaling) adjust(n, adjustment int) int {
	switch k.Adjustment {
	case ExactCapacity:
		return adjustment
	case ChangeInCapacity:
		return n + adjustment
	}
	change := float64(n) * float64(adjustment) / 100
	if math.Abs(change) > 0 && math.Abs(change) < 1 {
		change = math.Copysign(1, change)
	}
	change = math.Trunc(change)
	if least := float64(k.MinMagnitude); adjustment != 0 && math.Abs(change) < least {
		change = math.Copysign(least, float64(adjustment))
	}
	return n + int(max(-mostInstances, min(change, mostInstances)))
}
