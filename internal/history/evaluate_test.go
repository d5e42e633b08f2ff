package history

import (
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// The rows are those of CloudWatch's own tables on missing data: X breaches, 0
// does not, - is missing; the newest is last, five periods are looked at.
func TestJudgeMissingData(t *testing.T) {
	const (
		alarm  = deferd.AlarmRaised
		ok     = deferd.AlarmOK
		none   = deferd.AlarmInsufficient
		before = deferd.AlarmState("before") // it stays as it was
	)
	treatments := []string{"missing", "ignore", "breaching", "notBreaching"}
	tests := []struct {
		data       string
		datapoints int // of 3
		want       [4]deferd.AlarmState
	}{
		{"0-X-X", 3, [4]deferd.AlarmState{ok, ok, ok, ok}},
		{"----0", 3, [4]deferd.AlarmState{ok, ok, ok, ok}},
		{"-----", 3, [4]deferd.AlarmState{none, before, alarm, ok}},
		{"0XX-X", 3, [4]deferd.AlarmState{alarm, alarm, alarm, alarm}},
		{"--X--", 3, [4]deferd.AlarmState{alarm, before, alarm, ok}},
		{"0-X-X", 2, [4]deferd.AlarmState{alarm, alarm, alarm, alarm}},
		{"00X0X", 2, [4]deferd.AlarmState{alarm, alarm, alarm, alarm}},
		{"0-X--", 2, [4]deferd.AlarmState{ok, ok, alarm, ok}},
		{"----0", 2, [4]deferd.AlarmState{ok, ok, alarm, ok}},
		{"---X-", 2, [4]deferd.AlarmState{alarm, before, alarm, ok}},
		{"----X", 2, [4]deferd.AlarmState{before, before, alarm, ok}}, // too early to tell
		{"XXX00", 2, [4]deferd.AlarmState{ok, ok, ok, ok}},
		{"----X", 1, [4]deferd.AlarmState{alarm, alarm, alarm, alarm}},
	}
	to := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	for _, tt := range tests {
		for i, treatment := range treatments {
			a := deferd.Alarm{
				State: before, Period: time.Minute, Periods: 3, Datapoints: tt.datapoints,
				Threshold: 1, Comparison: "GreaterThanOrEqualToThreshold", MissingData: treatment,
			}
			var rs []reading
			for n, c := range tt.data {
				if c != '-' {
					rs = append(rs, reading{to.Add(time.Duration(n-len(tt.data)) * time.Minute), map[rune]float64{'X': 1}[c]})
				}
			}
			if got := judge(&a, rs, to).state; got != tt.want[i] {
				t.Errorf("%s, %d of 3, %s: %s, want %s", tt.data, tt.datapoints, treatment, got, tt.want[i])
			}
		}
	}
}

func TestComparisons(t *testing.T) {
	for _, tt := range []struct {
		operator            string
		below, equal, above bool
	}{
		{"GreaterThanOrEqualToThreshold", false, true, true},
		{"GreaterThanThreshold", false, false, true},
		{"LessThanThreshold", true, false, false},
		{"LessThanOrEqualToThreshold", true, true, false},
		{"LessThanLowerThreshold", false, false, false}, // of anomaly detection, which is not here
	} {
		a := deferd.Alarm{Threshold: 4.5, Comparison: tt.operator}
		for v, want := range map[float64]bool{4.4: tt.below, 4.5: tt.equal, 4.6: tt.above} {
			if got := breaches(&a, v); got != want {
				t.Errorf("%v breaches %s 4.5: %t, want %t", v, tt.operator, got, want)
			}
		}
	}
}

func TestReasons(t *testing.T) {
	to := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	reads := func(values ...float64) (rs []reading) {
		for i, v := range values {
			rs = append(rs, reading{to.Add(time.Duration(i-len(values)) * time.Minute), v})
		}
		return rs
	}
	tests := []struct {
		name    string
		a       deferd.Alarm
		rs      []reading
		want    string
		missing string
	}{
		{"alarm", deferd.Alarm{Periods: 2, Datapoints: 2}, reads(3, 1),
			"Threshold Crossed: 2 out of the last 2 datapoints [1.0 (02/01/26 03:03:00), 3.0 (02/01/26 03:02:00)] were greater than or equal to the threshold (1.0).", ""},
		{"ok", deferd.Alarm{Periods: 1, Datapoints: 1}, reads(0.5),
			"Threshold Crossed: 1 out of the last 1 datapoint [0.5 (02/01/26 03:03:00)] was not greater than or equal to the threshold (1.0).", ""},
		{"nothing known", deferd.Alarm{Periods: 3, Datapoints: 3}, nil, "Insufficient Data: 3 datapoints were unknown.", ""},
		{"missing breaches", deferd.Alarm{Periods: 1, Datapoints: 1}, nil,
			"Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [Breaching].", "breaching"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.a
			a.Period, a.Threshold, a.Comparison, a.MissingData = time.Minute, 1, "GreaterThanOrEqualToThreshold", tt.missing
			if got := judge(&a, tt.rs, to).reason; got != tt.want {
				t.Errorf("reason is %q, want %q", got, tt.want)
			}
		})
	}
}
