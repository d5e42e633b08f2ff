package deferd

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A ScheduledAction gives a target other bounds at set times.
type ScheduledAction struct {
	ID       string // in its ARN
	ARN      string
	Name     string
	Account  AccountID
	Resource VariantRef
	Created  time.Time
	Schedule string
	Timezone string    `json:",omitempty"` // "": UTC
	Start    time.Time // zero: at once
	End      time.Time // zero: never
	Min, Max *int      // what is nil stays as it is
	Last     time.Time // when it was last carried out, or put

	Version int64 `json:"-"` // of its document
}

// Document is the action as it is stored.
func (a ScheduledAction) Document() (Document, error) {
	return scalingDocument(KindScheduledAction, a.Account, ScalingName(a.Resource, a.Name), a.Version, a)
}

// ReadScheduledAction reads an action's document.
func ReadScheduledAction(d Document) (a ScheduledAction, err error) {
	err = readScaling(d, &a)
	a.Version = d.Version
	return a, err
}

// Due is when the action is next to be carried out; zero: never again. One that
// was due while nobody could carry it out still is.
func (a *ScheduledAction) Due() (time.Time, error) {
	s, err := ParseSchedule(a.Schedule, a.Timezone)
	if err != nil {
		return time.Time{}, err
	}
	after := a.Last
	if !a.Start.IsZero() && a.Start.After(after) {
		after = a.Start.Add(-time.Nanosecond)
	}
	begin := a.Created
	if !a.Start.IsZero() {
		begin = a.Start
	}
	due := s.Next(after, begin)
	if !a.End.IsZero() && due.After(a.End) {
		return time.Time{}, nil
	}
	return due, nil
}

// Apply gives the target the action's bounds. A bound that is given moves the
// other one where that would be on the wrong side.
func (a *ScheduledAction) Apply(t *ScalableTarget) {
	if a.Min != nil {
		t.Min = *a.Min
		t.Max = max(t.Max, t.Min)
	}
	if a.Max != nil {
		t.Max = *a.Max
		t.Min = min(t.Min, t.Max)
	}
}

// A Schedule says when something is to happen: at a time, at a rate, or by a
// calendar.
type Schedule struct {
	at    time.Time
	every time.Duration
	cron  *calendar
}

// ParseSchedule reads a schedule as Application Auto Scaling writes it:
// at(yyyy-mm-ddThh:mm:ss), rate(N minutes|hours|days), or cron(minutes hours
// day-of-month month day-of-week year), in a time zone, such as Europe/Vienna.
func ParseSchedule(text, zone string) (Schedule, error) {
	location, err := time.LoadLocation(zone)
	if err != nil {
		return Schedule{}, Errorf(Invalid, "The time zone %q is not known.", zone)
	}
	kind, inner, ok := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	if !ok || !strings.HasSuffix(text, ")") {
		return Schedule{}, Errorf(Invalid, "Schedule expression %q is invalid: at(…), rate(…) or cron(…).", text)
	}
	switch kind {
	case "at":
		at, err := time.ParseInLocation("2006-01-02T15:04:05", inner, location)
		if err != nil {
			return Schedule{}, Errorf(Invalid, "Schedule expression %q is invalid: at(yyyy-mm-ddThh:mm:ss).", text)
		}
		return Schedule{at: at}, nil
	case "rate":
		every, ok := parseRate(inner)
		if !ok {
			return Schedule{}, Errorf(Invalid, "Schedule expression %q is invalid: rate(N minutes), rate(N hours) or rate(N days).", text)
		}
		return Schedule{every: every}, nil
	case "cron":
		c, ok := parseCalendar(inner, location)
		if !ok {
			return Schedule{}, Errorf(Invalid, "Schedule expression %q is invalid, or uses L, W or #, which are not supported here: "+
				"cron(minutes hours day-of-month month day-of-week year).", text)
		}
		return Schedule{cron: c}, nil
	}
	return Schedule{}, Errorf(Invalid, "Schedule expression %q is invalid: at(…), rate(…) or cron(…).", text)
}

func parseRate(text string) (time.Duration, bool) {
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	length := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}[strings.TrimSuffix(unit, "s")]
	const most = 100_000 // of any unit: beyond is no rate
	return time.Duration(n) * length, err == nil && n > 0 && n <= most && length > 0
}

// Next is the first time after a time at which it happens; zero: never again. A
// rate counts from begin.
func (s Schedule) Next(after, begin time.Time) time.Time {
	switch {
	case s.cron != nil:
		return s.cron.next(after)
	case s.every > 0 && after.Before(begin):
		return begin
	case s.every > 0:
		if next := begin.Add((after.Sub(begin)/s.every + 1) * s.every); next.After(after) {
			return next
		}
	case s.at.After(after):
		return s.at
	}
	return time.Time{}
}

// A calendar has the minutes, hours and so on at which something happens.
type calendar struct {
	location                                      *time.Location
	minutes, hours, days, months, weekdays, years []bool // by number; weekdays from Sunday, 1
	anyDay, anyWeekday                            bool
}

var (
	monthNames   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdayNames = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

// Years that a calendar has. Nothing is scheduled in any other.
const (
	firstYear = 1970
	lastYear  = 2199
)

// Schedulable reports whether a time lies in a year in which things are
// scheduled.
func Schedulable(t time.Time) bool { return t.Year() >= firstYear && t.Year() <= lastYear }

func parseCalendar(text string, location *time.Location) (*calendar, bool) {
	f := strings.Fields(text)
	if len(f) != 6 {
		return nil, false
	}
	c := &calendar{location: location, anyDay: f[2] == "*" || f[2] == "?", anyWeekday: f[4] == "*" || f[4] == "?"}
	for i, part := range []struct {
		into        *[]bool
		first, last int
		names       []string
	}{
		{&c.minutes, 0, 59, nil}, {&c.hours, 0, 23, nil}, {&c.days, 1, 31, nil}, {&c.months, 1, 12, monthNames},
		{&c.weekdays, 1, 7, weekdayNames}, {&c.years, firstYear, lastYear, nil},
	} {
		set, ok := parseField(f[i], part.first, part.last, part.names)
		if !ok {
			return nil, false
		}
		*part.into = set
	}
	return c, true
}

// parseField reads lists of numbers, names, ranges and steps.
func parseField(text string, first, last int, names []string) ([]bool, bool) {
	set := make([]bool, last+1)
	number := func(s string) (int, bool) {
		if i := slices.Index(names, strings.ToUpper(s)); i >= 0 {
			return first + i, true
		}
		n, err := strconv.Atoi(s)
		return n, err == nil && n >= first && n <= last
	}
	for item := range strings.SplitSeq(text, ",") {
		span, every, stepped := strings.Cut(item, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(every)
			if err != nil || n < 1 {
				return nil, false
			}
			step = n
		}
		from, to := first, last
		if span != "*" && span != "?" {
			low, high, ranged := strings.Cut(span, "-")
			var ok, ok2 bool
			if from, ok = number(low); !ok {
				return nil, false
			}
			switch {
			case ranged:
				if to, ok2 = number(high); !ok2 || to < from {
					return nil, false
				}
			case !stepped:
				to = from
			}
		}
		for n := from; n <= to; n += step {
			set[n] = true
		}
	}
	return set, true
}

// next is the first time after a time. A time that the clocks skip in spring
// comes as much later; one that they show twice in autumn comes once.
func (c *calendar) next(after time.Time) time.Time {
	local := after.In(c.location)
	day := time.Date(local.Year(), local.Month(), local.Day(), 12, 0, 0, 0, c.location)
	// Days that no year of a leap cycle has never come.
	for range 8*366 + 1 {
		if c.on(day) {
			for hour, wanted := range c.hours {
				for minute, also := range c.minutes {
					at := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, c.location)
					if wanted && also && at.After(after) {
						return at
					}
				}
			}
		}
		day = day.AddDate(0, 0, 1)
		if day.Year() < lastYear && day.Year() > firstYear && !c.years[day.Year()] {
			day = c.skipYears(day)
		}
	}
	return time.Time{}
}

// skipYears is the beginning of the next year that the calendar has.
func (c *calendar) skipYears(day time.Time) time.Time {
	for year := day.Year() + 1; year <= lastYear; year++ {
		if c.years[year] {
			return time.Date(year, 1, 1, 12, 0, 0, 0, c.location)
		}
	}
	return day
}

// on reports whether something happens on a day.
func (c *calendar) on(day time.Time) bool {
	if day.Year() > lastYear || !c.years[day.Year()] || !c.months[day.Month()] {
		return false
	}
	inMonth, inWeek := c.days[day.Day()], c.weekdays[int(day.Weekday())+1]
	if c.anyDay || c.anyWeekday {
		return inMonth && inWeek
	}
	return inMonth || inWeek
}
