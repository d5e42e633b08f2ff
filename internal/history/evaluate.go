package history

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// extraPeriods are looked at beyond those that an alarm asks for, so that a
// value that comes late does not count as missing.
const extraPeriods = 2

// A reading is the statistic of one period.
type reading struct {
	at    time.Time // its beginning
	value float64
}

// window returns when the periods begin and end that an alarm is judged by at a
// time.
func window(a *deferd.Alarm, now time.Time) (from, to time.Time) {
	to = now.Truncate(time.Minute)
	return to.Add(-time.Duration(a.Periods+extraPeriods) * a.Period), to
}

// readings are the statistics of the periods that have values, in order.
func readings(a *deferd.Alarm, points []deferd.Point, from time.Time) []reading {
	var out []reading
	for _, p := range deferd.Aggregate(points, from, a.Period) {
		v, _ := p.Statistic(a.Statistic)
		out = append(out, reading{p.Minute, v})
	}
	return out
}

// A judgement is the state that an alarm should be in, and why.
type judgement struct {
	state  deferd.AlarmState
	reason string
	used   []reading // that were looked at, in order
}

// judge decides an alarm's state by CloudWatch's rules: the newest values count,
// as many as there are periods to look at; only where there are fewer is what is
// missing made up, by the alarm's own choice. Without one, an alarm is raised if
// all that is there breaches, and the oldest of it is old enough that it would be
// raised even if nothing else breached.
func judge(a *deferd.Alarm, rs []reading, to time.Time) judgement {
	used := rs[max(0, len(rs)-a.Periods):]
	missing := a.Periods - len(used)
	breaching, oldest := 0, 0 // oldest: how many periods ago the first breach began
	for _, r := range used {
		if breaches(a, r.value) {
			breaching++
			oldest = max(oldest, int(to.Sub(r.at)/a.Period))
		}
	}
	j := judgement{a.State, a.Reason, used}
	undecided := breaching > 0 && breaching == len(used) && breaching < a.Datapoints
	switch {
	case breaching >= a.Datapoints:
		j.state = deferd.AlarmRaised
	case missing > 0 && a.MissingData == "breaching" && breaching+missing >= a.Datapoints:
		j.state = deferd.AlarmRaised
	case missing == 0 || a.MissingData == "breaching" || a.MissingData == "notBreaching":
		j.state = deferd.AlarmOK
	case len(used) > 0 && !undecided:
		j.state = deferd.AlarmOK
	case a.MissingData == "ignore":
		return j
	case len(used) == 0:
		j.state = deferd.AlarmInsufficient
	case oldest >= a.Datapoints:
		j.state = deferd.AlarmRaised
	default:
		return j // too early to tell
	}
	j.reason = explain(a, j, breaching, missing)
	return j
}

// comparisons say how CloudWatch's operators compare, and how it words that.
var comparisons = map[string]struct {
	breaches func(v, threshold float64) bool
	words    string
}{
	"GreaterThanOrEqualToThreshold": {func(v, t float64) bool { return v >= t }, "greater than or equal to"},
	"GreaterThanThreshold":          {func(v, t float64) bool { return v > t }, "greater than"},
	"LessThanThreshold":             {func(v, t float64) bool { return v < t }, "less than"},
	"LessThanOrEqualToThreshold":    {func(v, t float64) bool { return v <= t }, "less than or equal to"},
}

func breaches(a *deferd.Alarm, v float64) bool {
	c, ok := comparisons[a.Comparison]
	return ok && c.breaches(v, a.Threshold)
}

// explain words a judgement as CloudWatch does.
func explain(a *deferd.Alarm, j judgement, breaching, missing int) string {
	if j.state == deferd.AlarmInsufficient {
		return "Insufficient Data: " + counted(a.Periods, "datapoint was", "datapoints were") + " unknown."
	}
	if len(j.used) == 0 {
		treated := "NonBreaching"
		if j.state == deferd.AlarmRaised {
			treated = "Breaching"
		}
		return fmt.Sprintf("Threshold Crossed: no datapoints were received for %s and %s treated as [%s].",
			counted(a.Periods, "period", "periods"), counted(missing, "missing datapoint was", "missing datapoints were"), treated)
	}
	did, n, verb := "", breaching, "greater than"
	if c, ok := comparisons[a.Comparison]; ok {
		verb = c.words
	}
	if j.state == deferd.AlarmOK {
		did, n = "not ", len(j.used)-breaching
	}
	shown := make([]string, 0, len(j.used))
	for i := len(j.used) - 1; i >= 0; i-- { // the newest first
		r := j.used[i]
		if breaches(a, r.value) == (j.state == deferd.AlarmRaised) {
			shown = append(shown, decimal(r.value)+" ("+r.at.UTC().Format("02/01/06 15:04:05")+")")
		}
	}
	was := "were"
	if n == 1 {
		was = "was"
	}
	noun := "datapoints"
	if a.Periods == 1 {
		noun = "datapoint"
	}
	return fmt.Sprintf("Threshold Crossed: %d out of the last %d %s [%s] %s %s%s the threshold (%s).",
		n, a.Periods, noun, strings.Join(shown, ", "), was, did, verb, decimal(a.Threshold))
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// decimal writes a number as CloudWatch does, with a decimal point.
func decimal(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// reasonData is the machine's form of a reason.
func reasonData(a *deferd.Alarm, j judgement, now time.Time) string {
	const layout = "2006-01-02T15:04:05.000+0000"
	data := struct {
		Version          string    `json:"version"`
		QueryDate        string    `json:"queryDate"`
		StartDate        string    `json:"startDate,omitempty"`
		Statistic        string    `json:"statistic"`
		Period           int       `json:"period"`
		RecentDatapoints []float64 `json:"recentDatapoints"`
		Threshold        float64   `json:"threshold"`
	}{"1.0", now.UTC().Format(layout), "", a.Statistic, int(a.Period / time.Second), []float64{}, a.Threshold}
	for i, r := range j.used {
		if i == 0 {
			data.StartDate = r.at.UTC().Format(layout)
		}
		data.RecentDatapoints = append(data.RecentDatapoints, r.value)
	}
	b, err := json.Marshal(data)
	if err != nil {
		return "" // a threshold or value that JSON has no number for
	}
	return string(b)
}
