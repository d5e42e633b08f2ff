package sqlite

import (
	"path/filepath"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	wall := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hour := time.Hour
	stored := anchor{Boot: "one", Uptime: 10 * hour, Reading: wall}
	tests := []struct {
		name   string
		stored anchor
		newest time.Time
		boot   string
		uptime time.Duration // at the opening
		wall   time.Time     // at the opening
		want   map[time.Duration]time.Time
	}{
		{"a new file begins at wall time", anchor{}, time.Time{}, "one", 5 * hour, wall,
			map[time.Duration]time.Time{0: wall, hour: wall.Add(hour)}},
		{"within a boot nobody asks the wall", stored, wall, "one", 13 * hour, wall.Add(-100 * hour),
			map[time.Duration]time.Time{0: wall.Add(3 * hour), hour: wall.Add(4 * hour)}},
		{"within a boot nobody asks a wall that leapt", stored, wall, "one", 13 * hour, wall.Add(1000 * hour),
			map[time.Duration]time.Time{0: wall.Add(3 * hour), hour: wall.Add(4 * hour)}},
		{"a boot begins at wall time", stored, wall, "two", 0, wall.Add(5 * hour),
			map[time.Duration]time.Time{0: wall.Add(5 * hour), hour: wall.Add(6 * hour)}},
		{"stepped back over a boot it runs at half speed until they meet", stored, wall.Add(2 * hour), "two", 0, wall,
			map[time.Duration]time.Time{
				0: wall.Add(2 * hour), 2 * hour: wall.Add(3 * hour), 4 * hour: wall.Add(4 * hour), 6 * hour: wall.Add(6 * hour),
			}},
		{"half speed outlives a restart within the boot",
			anchor{Boot: "two", Uptime: hour, Reading: wall.Add(2 * hour), Ahead: 2 * hour}, wall.Add(2 * hour), "two", 3 * hour, wall.Add(2 * hour),
			map[time.Duration]time.Time{0: wall.Add(3 * hour), 2 * hour: wall.Add(4 * hour), 3 * hour: wall.Add(5 * hour)}},
		{"where no boot is known each opening is one", anchor{Uptime: 10 * hour, Reading: wall}, wall, "", hour, wall.Add(hour),
			map[time.Duration]time.Time{0: wall.Add(hour)}},
		{"never behind what is stored, also within a boot", stored, wall.Add(9 * hour), "one", 11 * hour, wall.Add(hour),
			map[time.Duration]time.Time{0: wall.Add(9 * hour), 2 * hour: wall.Add(10 * hour), 16 * hour: wall.Add(17 * hour)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			up := test.uptime
			c := newClock(test.stored, test.newest, test.boot, func() time.Duration { return up }, test.wall)
			for passed := time.Duration(0); passed <= 20*hour; passed += hour {
				up = test.uptime + passed
				got := c.Now()
				if want, ok := test.want[passed]; ok && !got.Equal(want) {
					t.Errorf("after %v it is %v, want %v", passed, got, want)
				}
			}
		})
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	up := time.Hour
	c := newClock(anchor{}, time.Time{}, "", func() time.Duration { return up }, time.Now())
	first := c.Now()
	up -= time.Minute
	if again := c.Now(); again.Before(first) {
		t.Errorf("it went back from %v to %v", first, again)
	}
}

// TestClockOverOpenings uses the machine's own boot.
func TestClockOverOpenings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deferd.db")
	s := open(t, path, Options{})
	first := s.Now()
	if off := time.Since(first).Abs(); off > time.Minute {
		t.Errorf("a new store's clock is off wall time by %v", off)
	}
	kept := s.clock.anchor
	must(t, s.Close())
	s = open(t, path, Options{})
	if s.Now().Before(first) {
		t.Errorf("the clock went back from %v to %v", first, s.Now())
	}
	if kept.Boot != "" && s.clock.anchor != kept {
		t.Errorf("within a boot the anchor changed from %+v to %+v", kept, s.clock.anchor)
	}
}
