package deferd

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var missing = math.NaN()

// values are n data points of v, and then the others.
func values(v float64, n int, then ...float64) []float64 {
	return append(slices.Repeat([]float64{v}, n), then...)
}

func tracking(target float64, change ...func(*TargetTracking)) ScalingPolicy {
	k := &TargetTracking{Target: target, Metric: ScalingMetric{Own: MetricBacklogPerInstance}, OutCooldown: DefaultCooldown, InCooldown: DefaultCooldown}
	for _, c := range change {
		c(k)
	}
	return ScalingPolicy{Name: "track", Tracking: k, Alarms: []PolicyAlarm{{Name: "High"}, {Name: "Low"}}}
}

func foreign(k *TargetTracking)   { k.Metric = ScalingMetric{Namespace: "Mine", Name: "load"} }
func disableIn(k *TargetTracking) { k.DisableIn = true }

func TestTargetTracking(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tests := []struct {
		name    string
		policy  ScalingPolicy
		values  []float64
		current int
		settled int // 0: long ago
		stale   bool
		target  ScalableTarget
		want    int // the current number where nothing is to be done
		cause   string
	}{
		{"three above", tracking(5), values(0, 5, 12, 12, 12), 2, 0, false, ScalableTarget{}, 5, "High"},
		{"a little above", tracking(5), values(5.01, 3), 10, 0, false, ScalableTarget{}, 11, "High"},
		{"the latest says how many", tracking(5), []float64{90, 90, 6}, 1, 0, false, ScalableTarget{}, 2, "High"},
		{"two above", tracking(5), []float64{5, 12, 12}, 2, 0, false, ScalableTarget{}, 2, ""},
		{"too few points", tracking(5), values(12, 2), 2, 0, false, ScalableTarget{}, 2, ""},
		{"one is missing", tracking(5), []float64{12, missing, 12}, 2, 0, false, ScalableTarget{}, 2, ""},
		{"at the target", tracking(5), values(5, 30), 2, 0, false, ScalableTarget{}, 2, ""},
		{"not above the most", tracking(5), values(500, 3), 2, 0, false, ScalableTarget{Max: 4}, 4, "High"},
		{"at the most", tracking(5), values(500, 3), 4, 0, false, ScalableTarget{Max: 4}, 4, ""},
		{"from zero", tracking(5), values(12, 3), 0, 0, false, ScalableTarget{}, 3, "High"},

		{"fifteen below", tracking(5), values(1, 15), 10, 0, false, ScalableTarget{}, 2, "Low"},
		{"the highest says how many", tracking(5), values(1, 14, 4), 10, 0, false, ScalableTarget{}, 8, "Low"},
		{"nothing at all", tracking(5), values(0, 15), 10, 0, false, ScalableTarget{}, 0, "Low"},
		{"not below the least", tracking(5), values(0, 15), 10, 0, false, ScalableTarget{Min: 3}, 3, "Low"},
		{"fourteen below", tracking(5), values(1, 14), 10, 0, false, ScalableTarget{}, 10, ""},
		{"one of them not", tracking(5), values(1, 7, append([]float64{4.6}, values(1, 7)...)...), 10, 0, false, ScalableTarget{}, 10, ""},
		{"within the margin", tracking(5), values(4.5, 15), 10, 0, false, ScalableTarget{}, 10, ""},
		{"below the margin", tracking(5), values(4.4, 15), 10, 0, false, ScalableTarget{}, 9, "Low"},
		{"one cannot be spared", tracking(5), values(4.4, 15), 3, 0, false, ScalableTarget{}, 3, ""},
		{"scaled out meanwhile", tracking(5), values(0, 20), 10, 14, false, ScalableTarget{}, 10, ""},
		{"scaling in is off", tracking(5, disableIn), values(0, 15), 10, 0, false, ScalableTarget{}, 10, ""},

		{"cooling after a scale-in", tracking(5), values(0, 15), 10, 0, false, ScalableTarget{LastIn: now.Add(-299 * time.Second)}, 10, ""},
		{"cooled after a scale-in", tracking(5), values(0, 15), 10, 0, false, ScalableTarget{LastIn: now.Add(-300 * time.Second)}, 0, "Low"},
		{"out while cooling after a scale-in", tracking(5), values(12, 3), 2, 0, false, ScalableTarget{LastIn: now}, 5, "High"},
		{
			"a metric of its own has seen what was added", tracking(5), values(12, 3), 4, 0, false,
			ScalableTarget{LastOut: map[string]ScaledOut{"track": {now.Add(-time.Second), 1}}}, 10, "High",
		},
		{
			"another metric may not have", tracking(5, foreign), values(12, 3), 3, 0, false,
			ScalableTarget{LastOut: map[string]ScaledOut{"track": {now.Add(-time.Second), 1}}}, 3, "",
		},
		{
			"a larger scale-out", tracking(5, foreign), values(40, 3), 3, 0, false,
			ScalableTarget{LastOut: map[string]ScaledOut{"track": {now.Add(-time.Second), 1}}}, 8, "High",
		},
		{
			"after its cooldown", tracking(5, foreign), values(12, 3), 3, 0, false,
			ScalableTarget{LastOut: map[string]ScaledOut{"track": {now.Add(-300 * time.Second), 1}}}, 8, "High",
		},
		{"no data point since the last change", tracking(5), values(12, 3), 2, 0, true, ScalableTarget{}, 2, ""},
		{"no data point since the last change to spare any", tracking(5), values(0, 15), 2, 0, true, ScalableTarget{}, 2, ""},
		{"out is suspended", tracking(5), values(12, 3), 2, 0, false, ScalableTarget{Suspended: Suspension{Out: true}}, 2, ""},
		{"in is suspended", tracking(5), values(0, 15), 2, 0, false, ScalableTarget{Suspended: Suspension{In: true}}, 2, ""},
		{"out while in is suspended", tracking(5), values(12, 3), 2, 0, false, ScalableTarget{Suspended: Suspension{In: true}}, 5, "High"},
		{"no number is too large", tracking(1e-300), values(1e300, 3), 2, 0, false, ScalableTarget{}, 100, "High"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.target.Max == 0 {
				tt.target.Max = 100
			}
			if tt.settled == 0 {
				tt.settled = 1000
			}
			d, ok := tt.target.Decide(ScalingState{
				Now: now, Current: tt.current, Settled: tt.settled, Fresh: !tt.stale,
				Policies: []PolicyReading{{ScalingPolicy: tt.policy, Values: tt.values, Latest: missing}},
			})
			got := tt.current
			if ok {
				got = d.To
			}
			if got != tt.want || ok != (tt.want != tt.current) {
				t.Errorf("%d instances become %d (%t), want %d", tt.current, got, ok, tt.want)
			}
			if want := alarmCause(tt.cause, "track"); ok && d.Cause != want {
				t.Errorf("the cause is %q, want %q", d.Cause, want)
			}
		})
	}
}

var inf = math.Inf(1)

// between is the step for a metric between two bounds, which may be infinite.
func between(lower, upper float64, by int) Step {
	s := Step{Adjustment: by}
	if lower > -inf {
		s.Lower = &lower
	}
	if upper < inf {
		s.Upper = &upper
	}
	return s
}

func TestStepScaling(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	// AWS's example: a threshold of 50, and steps around it.
	around := []Step{between(-20, -10, -10), between(-inf, -20, -30), between(-10, 0, 0), between(0, 10, 0), between(10, 20, 10), between(20, inf, 30)}
	above := []Step{between(0, inf, 1)}
	tests := []struct {
		name    string
		step    StepScaling
		value   float64
		current int
		last    *ScaledOut
		want    int
	}{
		{"one more", StepScaling{Adjustment: ChangeInCapacity, Steps: above}, 50, 0, nil, 1},
		{"no step holds", StepScaling{Adjustment: ChangeInCapacity, Steps: above}, 49, 3, nil, 3},
		{"exactly", StepScaling{Adjustment: ExactCapacity, Steps: []Step{between(0, inf, 7)}}, 50, 3, nil, 7},
		{"exactly fewer", StepScaling{Adjustment: ExactCapacity, Steps: []Step{between(-inf, 0, 1)}}, 40, 3, nil, 1},
		{"not below zero", StepScaling{Adjustment: ChangeInCapacity, Steps: []Step{between(-inf, 0, -9)}}, 40, 3, nil, 0},
		{"not above the most", StepScaling{Adjustment: ChangeInCapacity, Steps: []Step{between(0, inf, 1000)}}, 60, 3, nil, 100},

		{"between the steps", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 59, 10, nil, 10},
		{"the lower bound is the step's", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 60, 10, nil, 11},
		{"the upper one is the next one's", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 70, 10, nil, 13},
		{"without end", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, math.Inf(1), 10, nil, 13},
		{"below, the upper bound is the step's", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 40, 10, nil, 9},
		{"below, the lower one is the next one's", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 30, 10, nil, 7},
		{"below without end", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, math.Inf(-1), 10, nil, 7},

		{"less than one is one", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 60, 2, nil, 3},
		{"more than one is rounded down", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 70, 9, nil, 11},
		{"taken away it is rounded, too", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 29, 9, nil, 7},
		{"less than one taken away is one", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 40, 2, nil, 1},
		{"at least so many", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around, MinMagnitude: 4}, 70, 10, nil, 14},
		{"at least so many taken away", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around, MinMagnitude: 4}, 30, 10, nil, 6},
		{"a percentage of none", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around}, 70, 0, nil, 0},
		{"a percentage of none, at least so many", StepScaling{Adjustment: PercentChangeInCapacity, Steps: around, MinMagnitude: 2}, 70, 0, nil, 2},

		{"in its cooldown", StepScaling{Adjustment: ChangeInCapacity, Steps: []Step{between(0, inf, 2)}}, 50, 3, &ScaledOut{now.Add(-time.Second), 1}, 3},
		{"a larger one in its cooldown", StepScaling{Adjustment: ChangeInCapacity, Steps: []Step{between(0, inf, 3)}}, 50, 3, &ScaledOut{now.Add(-time.Second), 1}, 4},
		{"after its cooldown", StepScaling{Adjustment: ChangeInCapacity, Steps: []Step{between(0, inf, 2)}}, 50, 3, &ScaledOut{now.Add(-time.Minute), 1}, 5},
		{"fewer in a scale-out's cooldown", StepScaling{Adjustment: ChangeInCapacity, Steps: []Step{between(-inf, 0, -1)}}, 40, 3, &ScaledOut{now.Add(-time.Second), 1}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := ScalableTarget{Max: 100}
			if tt.last != nil {
				target.LastOut = map[string]ScaledOut{"step": *tt.last}
			}
			tt.step.Cooldown = time.Minute
			d, ok := target.Decide(ScalingState{Now: now, Current: tt.current, Policies: []PolicyReading{{
				ScalingPolicy: ScalingPolicy{Name: "step", Step: &tt.step},
				Alarm:         &AlarmReading{Alarm: "ringing", Threshold: 50, Values: []float64{tt.value}},
			}}})
			got := tt.current
			if ok {
				got = d.To
			}
			if got != tt.want {
				t.Errorf("%d instances become %d, want %d", tt.current, got, tt.want)
			}
			if want := "monitor alarm ringing in state ALARM triggered policy step"; ok && d.Cause != want {
				t.Errorf("the cause is %q, want %q", d.Cause, want)
			}
		})
	}
}

func TestAggregation(t *testing.T) {
	for aggregation, want := range map[string]float64{"": 10, "Average": 10, "Minimum": -5, "Maximum": 25} {
		k := StepScaling{Aggregation: aggregation}
		if got := k.beyond(AlarmReading{Threshold: 10, Values: []float64{5, 20, 35}}); got != want {
			t.Errorf("%q of 5, 20 and 35 is %v beyond 10, want %v", aggregation, got, want)
		}
	}
}

// TestSeveralPolicies has policies that want different things.
func TestSeveralPolicies(t *testing.T) {
	step := func(adjustment int) PolicyReading {
		return PolicyReading{
			ScalingPolicy: ScalingPolicy{Name: "step", Step: &StepScaling{Adjustment: ChangeInCapacity, Steps: []Step{{nil, nil, adjustment}}}},
			Alarm:         &AlarmReading{Alarm: "a"},
		}
	}
	quiet := step(1)
	quiet.Alarm = nil
	track := func(v float64, change ...func(*TargetTracking)) PolicyReading {
		return PolicyReading{ScalingPolicy: tracking(5, change...), Values: values(v, 15), Latest: v}
	}
	tests := []struct {
		name     string
		policies []PolicyReading
		want     int // of 6
	}{
		{"the largest scale-out", []PolicyReading{track(10), step(20)}, 26},
		{"the largest scale-out, the other way round", []PolicyReading{step(1), track(10)}, 12},
		{"out wins", []PolicyReading{track(1), step(1)}, 7},
		{"the smallest scale-in", []PolicyReading{track(0), step(-2)}, 4},
		{"one objects", []PolicyReading{track(5), step(-2)}, 6},
		{"one knows nothing", []PolicyReading{track(missing), step(-2)}, 6},
		{"one never scales in", []PolicyReading{track(5, disableIn), step(-2)}, 4},
		{"no alarm rings", []PolicyReading{track(0), quiet}, 0},
		{"none", nil, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := ScalableTarget{Max: 100}
			d, ok := target.Decide(ScalingState{Now: time.Unix(1, 0), Current: 6, Fresh: true, Settled: 15, Policies: tt.policies})
			if got := map[bool]int{true: d.To, false: 6}[ok]; got != tt.want {
				t.Errorf("6 instances become %d, want %d", got, tt.want)
			}
		})
	}
}

// TestWakes has work and no instance.
func TestWakes(t *testing.T) {
	quiet := PolicyReading{ScalingPolicy: ScalingPolicy{Name: "step", Step: &StepScaling{}}, Latest: missing}
	track := func(latest float64) PolicyReading {
		return PolicyReading{ScalingPolicy: tracking(5), Latest: latest}
	}
	tests := []struct {
		name     string
		target   ScalableTarget
		policies []PolicyReading
		current  int
		backlog  int64
		want     int
	}{
		{"a step policy", ScalableTarget{Max: 9}, []PolicyReading{quiet}, 0, 1, 1},
		{"a tracked metric", ScalableTarget{Max: 9}, []PolicyReading{track(1)}, 0, 1, 1},
		{"a tracked metric that is high", ScalableTarget{Max: 9}, []PolicyReading{track(12)}, 0, 12, 3},
		{"one that is higher still", ScalableTarget{Max: 9}, []PolicyReading{track(1000)}, 0, 1000, 9},
		{"one that nobody knows", ScalableTarget{Max: 9}, []PolicyReading{track(missing)}, 0, 12, 1},
		{"the least is more", ScalableTarget{Min: 2, Max: 9}, []PolicyReading{quiet}, 0, 1, 2},
		{"no policy", ScalableTarget{Max: 9}, nil, 0, 1, 0},
		{"no work", ScalableTarget{Max: 9}, []PolicyReading{quiet}, 0, 0, 0},
		{"never any instance", ScalableTarget{}, []PolicyReading{quiet}, 0, 1, 0},
		{"suspended", ScalableTarget{Max: 9, Suspended: Suspension{Out: true}}, []PolicyReading{quiet}, 0, 1, 0},
		{"in its cooldown", ScalableTarget{Max: 9, LastIn: time.Unix(100, 0)}, []PolicyReading{track(1)}, 0, 1, 1},
		{"awake", ScalableTarget{Max: 9}, []PolicyReading{quiet}, 1, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, ok := tt.target.Decide(ScalingState{Now: time.Unix(100, 0), Current: tt.current, Queued: tt.backlog, Policies: tt.policies})
			if got := map[bool]int{true: d.To, false: tt.current}[ok]; got != tt.want {
				t.Errorf("%d instances become %d, want %d", tt.current, got, tt.want)
			}
		})
	}
}

// Whatever is decided keeps the bounds, obeys what is suspended, leaves an
// instance where there is work, and is a change.
func TestDecisionsKeepTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		value := rapid.OneOf(rapid.Float64Range(0, 20), rapid.Just(0.0), rapid.Just(missing))
		target := ScalableTarget{Min: rapid.IntRange(0, 5).Draw(t, "min")}
		target.Max = target.Min + rapid.IntRange(0, 10).Draw(t, "more")
		target.Suspended = Suspension{In: rapid.Bool().Draw(t, "no in"), Out: rapid.Bool().Draw(t, "no out")}
		target.LastIn = now.Add(-time.Duration(rapid.IntRange(0, 600).Draw(t, "since in")) * time.Second)
		s := ScalingState{
			Now: now, Current: rapid.IntRange(0, 20).Draw(t, "current"), Queued: int64(rapid.IntRange(0, 3).Draw(t, "backlog")),
			Busy: rapid.Bool().Draw(t, "busy"), Fresh: rapid.Bool().Draw(t, "fresh"), Settled: rapid.IntRange(0, 30).Draw(t, "settled"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "tracking policies") {
			s.Policies = append(s.Policies, PolicyReading{
				ScalingPolicy: tracking(rapid.Float64Range(0.1, 10).Draw(t, "target")),
				Values:        rapid.SliceOfN(value, 0, 20).Draw(t, "values"), Latest: value.Draw(t, "latest"),
			})
		}
		for range rapid.IntRange(0, 2).Draw(t, "step policies") {
			s.Policies = append(s.Policies, PolicyReading{
				ScalingPolicy: ScalingPolicy{Name: "step", Step: &StepScaling{
					Adjustment: rapid.SampledFrom([]AdjustmentType{ChangeInCapacity, PercentChangeInCapacity, ExactCapacity}).Draw(t, "adjustment"),
					Steps:      []Step{{nil, nil, rapid.IntRange(-200, 200).Draw(t, "by")}}, MinMagnitude: rapid.IntRange(0, 5).Draw(t, "at least"),
				}},
				Alarm: &AlarmReading{Alarm: "a"},
			})
		}
		d, ok := target.Decide(s)
		switch {
		case !ok:
			return
		case d.To == s.Current:
			t.Fatalf("decided for the %d that there are", d.To)
		case d.To > s.Current && (d.To > target.Max || target.Suspended.Out):
			t.Fatalf("scaled out to %d", d.To)
		case d.To < s.Current && (d.To < target.Min || target.Suspended.In):
			t.Fatalf("scaled in to %d", d.To)
		case d.To == 0 && (s.Queued > 0 || s.Busy):
			t.Fatal("scaled to zero with work to do")
		case d.Cause == "":
			t.Fatal("no cause")
		}
	})
}

// TestDays runs a target for three days on a clock of its own: at night nothing
// comes, in the morning a little, at noon a burst. It follows, comes back to
// zero each night, and does not flap.
func TestDays(t *testing.T) {
	policy := tracking(5)
	target := ScalableTarget{Max: 8}
	start := time.Unix(1_800_000_000, 0).Truncate(24 * time.Hour)
	var loads []Load
	current, settled, changes, waited, wakes := 0, 1000, 0, 0, 0
	most := map[int]int{} // by hour
	backlog := int64(0)
	for minute := range 3 * 24 * 60 {
		now := start.Add(time.Duration(minute) * time.Minute)
		var came int64
		switch hour := now.Hour(); {
		case hour >= 8 && hour < 12 && minute%3 == 0, hour >= 13 && hour < 18 && minute%2 == 0:
			came = 4
		case hour == 12 && now.Minute() < 10:
			came = 100
		}
		backlog += came
		done := min(backlog, int64(current)*4) // each instance does four in a minute
		backlog -= done
		if backlog > 0 && current == 0 {
			waited++
		}
		loads = append(loads, Load{At: now, Period: time.Minute, Backlog: backlog, Instances: current, Accepted: came})
		loads = loads[max(0, len(loads)-TrackingInPoints):]
		settled++
		r := PolicyReading{ScalingPolicy: policy, Latest: MetricBacklogPerInstance.Of(loads[len(loads)-1])}
		for _, l := range loads {
			l.Instances = current
			r.Values = append(r.Values, MetricBacklogPerInstance.Of(l))
		}
		d, ok := target.Decide(ScalingState{
			Now: now, Current: current, Queued: backlog, Busy: slices.ContainsFunc(loads, Load.Busy), Fresh: true, Settled: settled, Policies: []PolicyReading{r},
		})
		if ok {
			target.Applied(d, current, now)
			if d.To > current {
				settled = 0
			}
			if current == 0 {
				wakes++
			}
			current = d.To
			changes++
		}
		most[now.Hour()] = max(most[now.Hour()], current)
		if now.Hour() >= 19 && current > 0 || now.Hour() < 8 && current > 0 {
			t.Fatalf("at %s there are %d instances", now.UTC().Format("Mon 15:04"), current)
		}
	}
	if most[10] != 1 || most[12] != 8 {
		t.Errorf("there were up to %d instances in the morning and %d at noon, want 1 and 8", most[10], most[12])
	}
	if changes > 3*8 {
		t.Errorf("%d changes in three days", changes)
	}
	// It is looked at once in a minute here, and wakes in the first one.
	if waited != wakes {
		t.Errorf("in %d minutes there was work and no instance, and it woke %d times", waited, wakes)
	}
}

func TestVariantRef(t *testing.T) {
	r, err := ParseVariantRef("endpoint/my-ep/variant/variant1")
	if want := (VariantRef{"my-ep", "variant1"}); err != nil || r != want || r.String() != "endpoint/my-ep/variant/variant1" {
		t.Errorf("got %v, %v", r, err)
	}
	for _, id := range []string{"", "endpoint/a", "endpoint//variant/b", "endpoint/a/variant/", "endpoint/a/variant/b/c", "service/a/variant/b"} {
		if _, err := ParseVariantRef(id); CodeOf(err) != Invalid {
			t.Errorf("%q: got %v", id, err)
		}
	}
}

func TestPolicyARN(t *testing.T) {
	for _, name := range []string{"p", "a:b/c", "x:policyName/y"} {
		arn := PolicyARN("us-east-1", "123456789012", "some-guid", VariantRef{"e", "v"}, name)
		a, r, got, err := ParsePolicyARN(arn)
		if err != nil || a != "123456789012" || r != (VariantRef{"e", "v"}) || got != name {
			t.Errorf("%s: got %s, %v, %q, %v", arn, a, r, got, err)
		}
	}
	for _, arn := range []string{"", "arn:aws:sns:us-east-1:123456789012:topic", "arn:aws:autoscaling:r:1:scalingPolicy:g:resource/ecs/service/a/b:policyName/p"} {
		if _, _, _, err := ParsePolicyARN(arn); CodeOf(err) != Invalid {
			t.Errorf("%q: got %v", arn, err)
		}
	}
}

func TestOwn(t *testing.T) {
	r := VariantRef{"e", "v"}
	tests := []struct {
		namespace, name string
		dimensions      map[string]string
		want            OwnMetric
	}{
		{"AWS/SageMaker", "ApproximateBacklogSizePerInstance", map[string]string{"EndpointName": "e"}, MetricBacklogPerInstance},
		{"AWS/SageMaker", "ApproximateAgeOfOldestRequest", map[string]string{"EndpointName": "e"}, MetricOldestAge},
		{"AWS/SageMaker", "HasBacklogWithoutCapacity", map[string]string{"EndpointName": "e"}, MetricWithoutCapacity},
		{"AWS/SageMaker", "ApproximateBacklogSize", map[string]string{"EndpointName": "another"}, ""},
		{"AWS/SageMaker", "ApproximateBacklogSize", map[string]string{"EndpointName": "e", "VariantName": "v"}, ""},
		{"AWS/SageMaker", "ApproximateBacklogSize", nil, ""},
		{"AWS/SageMaker", "CPUUtilization", map[string]string{"EndpointName": "e"}, ""},
		{"Mine", "ApproximateBacklogSize", map[string]string{"EndpointName": "e"}, ""},
	}
	for _, tt := range tests {
		if got := Own(r, tt.namespace, tt.name, tt.dimensions); got != tt.want {
			t.Errorf("%s %s %v is %q, want %q", tt.namespace, tt.name, tt.dimensions, got, tt.want)
		}
	}
}

func TestTrackingAlarm(t *testing.T) {
	p := tracking(5)
	p.Resource, p.Account, p.ARN = VariantRef{"e", "v"}, "a", "arn"
	p.Alarms = []PolicyAlarm{{"high", "arn:high"}, {"low", "arn:low"}}
	common := Alarm{
		Account: "a", Description: "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy arn.",
		Namespace: "AWS/SageMaker", Metric: "ApproximateBacklogSizePerInstance", Dimensions: MakeDimensions(Dimension{"EndpointName", "e"}),
		Statistic: "Average", Period: time.Minute, ActionsEnabled: true, AlarmActions: []string{"arn"},
	}
	high, low := common, common
	high.Name, high.ARN, high.Periods, high.Datapoints, high.Threshold, high.Comparison = "high", "arn:high", 3, 3, 5, "GreaterThanThreshold"
	low.Name, low.ARN, low.Periods, low.Datapoints, low.Threshold, low.Comparison = "low", "arn:low", 15, 15, 4.5, "LessThanThreshold"
	if diff := cmp.Diff([]Alarm{high, low}, []Alarm{TrackingAlarm(p, true), TrackingAlarm(p, false)}); diff != "" {
		t.Errorf("alarms differ (-want +got):\n%s", diff)
	}
	p.Tracking.Metric = ScalingMetric{Namespace: "Mine", Name: "load", Dimensions: map[string]string{"a": "b"}, Statistic: "Sum", Unit: "Count"}
	if a := TrackingAlarm(p, true); a.Namespace != "Mine" || a.Metric != "load" || a.Dimensions != MakeDimensions(Dimension{"a", "b"}) || a.Statistic != "Sum" || a.Unit != "Count" {
		t.Errorf("of a metric of one's own it is %+v", a)
	}
	p.Tracking.Metric = ScalingMetric{Own: MetricInvocationsPerInstance}
	if a := TrackingAlarm(p, true); a.Metric != "InvocationsPerInstance" || a.Dimensions.Get("VariantName") != "v" {
		t.Errorf("of a metric that is not recorded it is %+v", a)
	}
}

func TestLoad(t *testing.T) {
	l := Load{Period: 30 * time.Second, Backlog: 12, Instances: 4, OldestAge: 90 * time.Second, Accepted: 8}
	for m, want := range map[OwnMetric]float64{
		MetricBacklog: 12, MetricBacklogPerInstance: 3, MetricOldestAge: 90, MetricWithoutCapacity: 0, MetricInvocationsPerInstance: 4,
	} {
		if got := m.Of(l); got != want {
			t.Errorf("%s is %v, want %v", m, got, want)
		}
	}
	asleep := Load{Backlog: 3}
	if got := MetricWithoutCapacity.Of(asleep); got != 1 {
		t.Errorf("with backlog and no instance it is %v, want 1", got)
	}
	if got := MetricBacklogPerInstance.Of(asleep); got != 3 {
		t.Errorf("without an instance it is %v, want the backlog", got)
	}
}

// Activities are listed by name, and so the latest comes first.
func TestActivityNames(t *testing.T) {
	early, late := ActivityName(time.Unix(1_800_000_000, 0)), ActivityName(time.Unix(1_800_000_001, 0))
	if strings.Compare(late, early) >= 0 {
		t.Errorf("%s does not come before %s", late, early)
	}
}
