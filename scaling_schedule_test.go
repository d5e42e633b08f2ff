package deferd

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestScheduleNext(t *testing.T) {
	const layout = "2006-01-02T15:04:05Z07:00"
	tests := []struct {
		name, schedule, zone string
		after                string
		want                 []string // one after the other; "" ends them
	}{
		{"a time", "at(2027-03-04T05:06:07)", "", "2027-01-01T00:00:00Z", []string{"2027-03-04T05:06:07Z", ""}},
		{"a time elsewhere", "at(2027-03-04T05:06:07)", "Asia/Tokyo", "2027-01-01T00:00:00Z", []string{"2027-03-04T05:06:07+09:00", ""}},
		{"a rate", "rate(90 minutes)", "", "2027-01-01T00:00:00Z", []string{"2027-01-01T01:30:00Z", "2027-01-01T03:00:00Z"}},
		{"each hour", "rate(1 hour)", "", "2027-01-01T00:20:00Z", []string{"2027-01-01T01:00:00Z"}},
		{"each morning", "cron(30 8 * * ? *)", "", "2027-01-01T08:30:00Z", []string{"2027-01-02T08:30:00Z", "2027-01-03T08:30:00Z"}},
		{"on working days", "cron(0 8,18 ? * MON-FRI *)", "", "2027-01-01T09:00:00Z", []string{"2027-01-01T18:00:00Z", "2027-01-04T08:00:00Z"}},
		{"on the first of a month", "cron(0 0 1 * ? *)", "", "2027-01-01T00:00:00Z", []string{"2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"}},
		{"on the 13th, and on Fridays", "cron(0 0 13 * FRI *)", "", "2027-01-10T00:00:00Z", []string{"2027-01-13T00:00:00Z", "2027-01-15T00:00:00Z"}},
		{"each ten minutes of an hour", "cron(0/10 5 * * ? *)", "", "2027-01-01T05:45:00Z", []string{"2027-01-01T05:50:00Z", "2027-01-02T05:00:00Z"}},
		{"in a leap year", "cron(0 0 29 FEB ? *)", "", "2027-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"in a year that is far", "cron(0 0 1 1 ? 2150)", "", "2027-01-01T00:00:00Z", []string{"2150-01-01T00:00:00Z", ""}},
		{"in a year that is over", "cron(0 0 1 1 ? 2020)", "", "2027-01-01T00:00:00Z", []string{""}},
		{"on a day that never comes", "cron(0 0 31 2 ? *)", "", "2027-01-01T00:00:00Z", []string{""}},
		{"as the clocks go forward", "cron(30 2 * * ? *)", "Europe/Vienna", "2027-03-27T02:30:00+01:00", []string{"2027-03-28T03:30:00+02:00", "2027-03-29T02:30:00+02:00"}},
		{"as the clocks go back", "cron(30 2 * * ? *)", "Europe/Vienna", "2027-10-30T02:30:00+02:00", []string{"2027-10-31T02:30:00+01:00", "2027-11-01T02:30:00+01:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSchedule(tt.schedule, tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(layout, tt.after)
			if err != nil {
				t.Fatal(err)
			}
			begin := at.Truncate(time.Hour)
			for _, text := range tt.want {
				var want time.Time
				if text != "" {
					if want, err = time.Parse(layout, text); err != nil {
						t.Fatal(err)
					}
				}
				got := s.Next(at, begin)
				if !got.Equal(want) {
					t.Fatalf("after %v comes %v, want %q", at, got, text)
				}
				at = got
			}
		})
	}
}

func TestSchedulesThatAreNone(t *testing.T) {
	for _, text := range []string{
		"", "at", "at()", "at(2027-13-01T00:00:00)", "at(tomorrow)", "rate(0 minutes)", "rate(5)", "rate(5 fortnights)", "rate(-1 hours)", "rate(9999999999 days)",
		"cron(* * * * *)", "cron(60 * * * ? *)", "cron(* 24 * * ? *)", "cron(* * 0 * ? *)", "cron(* * * 13 ? *)", "cron(* * ? * 8 *)", "cron(* * L * ? *)",
		"cron(* * ? * 6#3 *)", "cron(5-1 * * * ? *)", "cron(*/0 * * * ? *)", "cron(a * * * ? *)", "every(5 minutes)", "rate(5 minutes",
	} {
		if _, err := ParseSchedule(text, ""); CodeOf(err) != Invalid {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if _, err := ParseSchedule("rate(5 minutes)", "Middle/Earth"); CodeOf(err) != Invalid {
		t.Errorf("an unknown time zone: got %v", err)
	}
}

// What comes next is later, and nothing of the calendar is left out.
func TestNextIsTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minute, hour := rapid.IntRange(0, 59).Draw(t, "minute"), rapid.IntRange(0, 23).Draw(t, "hour")
		c, ok := parseCalendar("* * * * ? *", time.UTC)
		if !ok {
			t.Fatal("it cannot be read")
		}
		clear(c.minutes)
		clear(c.hours)
		c.minutes[minute], c.hours[hour] = true, true
		after := time.Unix(rapid.Int64Range(0, 6e9).Draw(t, "after"), 0).UTC()
		got := c.next(after)
		if wait := got.Sub(after); wait <= 0 || wait > 24*time.Hour || got.Minute() != minute || got.Hour() != hour {
			t.Fatalf("after %v comes %v", after, got)
		}
	})
}

func TestDue(t *testing.T) {
	day := func(d, hour int) time.Time { return time.Date(2027, 1, d, hour, 0, 0, 0, time.UTC) }
	base := ScheduledAction{Schedule: "cron(0 8 * * ? *)", Created: day(1, 0), Last: day(1, 0)}
	with := func(change func(*ScheduledAction)) ScheduledAction {
		a := base
		change(&a)
		return a
	}
	tests := []struct {
		name   string
		action ScheduledAction
		want   time.Time
	}{
		{"soon", base, day(1, 8)},
		{"again", with(func(a *ScheduledAction) { a.Last = day(1, 8) }), day(2, 8)},
		{"not before its start", with(func(a *ScheduledAction) { a.Start = day(5, 8) }), day(5, 8)},
		{"not after its end", with(func(a *ScheduledAction) { a.End = day(1, 7) }), time.Time{}},
		{"at its end", with(func(a *ScheduledAction) { a.End = day(1, 8) }), day(1, 8)},
		{"a rate counts from its start", with(func(a *ScheduledAction) { a.Schedule, a.Start = "rate(2 hours)", day(2, 3) }), day(2, 3)},
		{"a rate goes on from there", with(func(a *ScheduledAction) { a.Schedule, a.Start, a.Last = "rate(2 hours)", day(2, 3), day(2, 4) }), day(2, 5)},
		{"a rate without a start counts from the making", with(func(a *ScheduledAction) { a.Schedule = "rate(2 hours)" }), day(1, 2)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.action.Due()
			if err != nil || !got.Equal(tt.want) {
				t.Errorf("it is due at %v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

func TestScheduledBounds(t *testing.T) {
	tests := []struct {
		lowest, highest  *int
		wantMin, wantMax int // of 2 to 5
	}{
		{new(3), new(4), 3, 4}, {new(3), nil, 3, 5}, {nil, new(3), 2, 3}, {new(7), nil, 7, 7}, {nil, new(1), 1, 1}, {new(0), new(0), 0, 0},
	}
	for _, tt := range tests {
		target := ScalableTarget{Min: 2, Max: 5}
		(&ScheduledAction{Min: tt.lowest, Max: tt.highest}).Apply(&target)
		if target.Min != tt.wantMin || target.Max != tt.wantMax {
			t.Errorf("2 to 5 become %d to %d, want %d to %d", target.Min, target.Max, tt.wantMin, tt.wantMax)
		}
	}
}

// FuzzSchedule reads what strangers write. What can be read comes after the
// time that it is asked for.
func FuzzSchedule(f *testing.F) {
	f.Add("cron(0/10 8-18 ? JAN,6 MON-FRI 2030/2)", "Europe/Vienna", int64(1_800_000_000))
	f.Add("cron(0 0 29 2 ? *)", "", int64(0))
	f.Add("rate(100000 days)", "", int64(1_800_000_000))
	f.Add("at(2030-01-01T00:00:00)", "Asia/Tokyo", int64(1_800_000_000))
	f.Fuzz(func(t *testing.T, text, zone string, at int64) {
		after := time.Unix(at, 0)
		s, err := ParseSchedule(text, zone)
		if err != nil || !Schedulable(after.UTC()) {
			return
		}
		if next := s.Next(after, time.Unix(0, 0)); !next.IsZero() && !next.After(after) {
			t.Errorf("%s: after %v comes %v", text, after, next)
		}
	})
}
