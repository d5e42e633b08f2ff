package deferd

import (
	"slices"
	"testing"
	"time"
)

func TestDimensions(t *testing.T) {
	a, b := Dimension{"B", "1&2=3"}, Dimension{"A", "ä b"}
	d := MakeDimensions(a, b)
	if d != MakeDimensions(b, a) {
		t.Error("the order of dimensions makes a difference")
	}
	if got, want := d.List(), []Dimension{b, a}; !slices.Equal(got, want) {
		t.Errorf("List is %v, want %v", got, want)
	}
	if got := d.Get("B"); got != "1&2=3" || d.Get("C") != "" {
		t.Errorf("Get is %q and %q", got, d.Get("C"))
	}
	for _, tt := range []struct {
		wanted []Dimension
		want   bool
	}{
		{nil, true},
		{[]Dimension{a}, true},
		{[]Dimension{{"A", ""}, a}, true},
		{[]Dimension{{"A", "x"}}, false},
		{[]Dimension{{"C", ""}}, false},
	} {
		if got := d.Has(tt.wanted); got != tt.want {
			t.Errorf("Has(%v) is %t, want %t", tt.wanted, got, tt.want)
		}
	}
	if got := MakeDimensions().List(); len(got) != 0 {
		t.Errorf("no dimensions are %v", got)
	}
}

func TestSample(t *testing.T) {
	s := SampleOf(3).Add(Sample{}).Add(SampleOf(-1))
	want := map[string]float64{"Sum": 2, "Average": 1, "Minimum": -1, "Maximum": 3, "SampleCount": 2}
	for name, v := range want {
		if got, ok := s.Statistic(name); !ok || got != v {
			t.Errorf("%s is %v, want %v", name, got, v)
		}
	}
	if _, ok := s.Statistic("p99"); ok {
		t.Error("there is a p99")
	}
	if got := (Sample{}).Average(); got != 0 {
		t.Errorf("the average of nothing is %v", got)
	}
}

func TestAggregate(t *testing.T) {
	from := time.Date(2026, 1, 2, 3, 2, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return from.Add(time.Duration(minutes) * time.Minute) }
	points := []Point{{Minute: at(-1), Sample: SampleOf(1)}, {Minute: at(0), Sample: SampleOf(2)}, {Minute: at(4), Sample: SampleOf(3)}, {Minute: at(10), Sample: SampleOf(4)}}
	got := Aggregate(points, from, 5*time.Minute)
	want := []Point{{Minute: at(-5), Sample: SampleOf(1)}, {Minute: at(0), Sample: Sample{5, 2, 3, 2}}, {Minute: at(10), Sample: SampleOf(4)}}
	if !slices.Equal(got, want) {
		t.Errorf("Aggregate is %v, want %v", got, want)
	}
}

func TestFindMetric(t *testing.T) {
	for name, want := range map[string]string{"InvocationsProcesssed": "InvocationsProcesssed", "InvocationsProcessed": "InvocationsProcesssed", "ModelLatency": "ModelLatency"} {
		if m, ok := FindMetric(name); !ok || m.Name != want {
			t.Errorf("%s is found as %s, %t", name, m.Name, ok)
		}
	}
	if _, ok := FindMetric("InvocationFilesTooBig"); ok {
		t.Error("there is a metric that AWS does not have")
	}
}

func TestAlarmNotice(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := AlarmChange{Old: AlarmOK, At: at, Alarm: Alarm{
		Account: "000000000000", Name: "stuck", ARN: "arn:x", Namespace: "AWS/SageMaker", Metric: "M", Statistic: "Average",
		Dimensions: MakeDimensions(Dimension{"EndpointName", "ep"}), Period: time.Minute, Periods: 2, Datapoints: 2, Threshold: 1,
		Comparison: "GreaterThanThreshold", MissingData: "missing", AlarmActions: []string{"arn:t"}, Configured: at, State: AlarmRaised, Reason: "because",
	}}
	subject, message := c.Notice("us-east-1")
	if want := `ALARM: "stuck" in us-east-1`; subject != want {
		t.Errorf("subject is %q, want %q", subject, want)
	}
	want := `{"AlarmName":"stuck","AlarmDescription":"","AWSAccountId":"000000000000","AlarmConfigurationUpdatedTimestamp":"2026-01-02T03:04:05.000+0000",` +
		`"NewStateValue":"ALARM","NewStateReason":"because","StateChangeTime":"2026-01-02T03:04:05.000+0000","Region":"us-east-1","AlarmArn":"arn:x",` +
		`"OldStateValue":"OK","OKActions":[],"AlarmActions":["arn:t"],"InsufficientDataActions":[],"Trigger":{"MetricName":"M","Namespace":"AWS/SageMaker",` +
		`"StatisticType":"Statistic","Statistic":"AVERAGE","Unit":null,"Dimensions":[{"value":"ep","name":"EndpointName"}],"Period":60,` +
		`"EvaluationPeriods":2,"DatapointsToAlarm":2,"ComparisonOperator":"GreaterThanThreshold","Threshold":1,"TreatMissingData":"missing"}}`
	if message != want {
		t.Errorf("message is %s, want %s", message, want)
	}
}
