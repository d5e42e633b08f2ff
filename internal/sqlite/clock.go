package sqlite

import (
	"encoding/json"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
)

// A clock gives the store's times. Within one boot of the machine it advances
// with the machine's monotonic time, whatever is done to its wall clock, over
// restarts too; after a boot it begins at wall time. It never goes back: where
// wall time is behind what was stored, it runs at half speed until they meet.
type clock struct {
	uptime func() time.Duration

	anchor anchor

	mu   sync.Mutex // guards last
	last time.Time
}

// An anchor ties a reading of the clock to the machine's uptime. It is stored
// as JSON, and kept as long as the boot lasts.
type anchor struct {
	Boot    string        // identifies the boot; "" where that cannot be known
	Uptime  time.Duration // since that boot, sleep included
	Reading time.Time
	Ahead   time.Duration // how far the reading was ahead of wall time
}

const anchorKey = "clock"

// A Machine is what the clock reads of the machine that it runs on.
type Machine struct {
	Boot   string               // identifies the boot; "" where that cannot be known
	Uptime func() time.Duration // since that boot, sleep included
	Wall   func() time.Time
}

// ThisMachine is the one that this process runs on.
func ThisMachine() Machine { return Machine{Boot: bootID(), Uptime: uptime, Wall: time.Now} }

// startClock continues the clock of the file's earlier life.
func startClock(conn *sqlite.Conn, m Machine) (*clock, error) {
	t := newTx(conn, time.Time{}, nil)
	var stored anchor
	err := t.query("SELECT value FROM meta WHERE key = ?", func(s *sqlite.Stmt) error {
		return json.Unmarshal([]byte(s.ColumnText(0)), &stored)
	}, anchorKey)
	if err != nil {
		return nil, err
	}
	newest := stored.Reading
	for _, query := range []string{
		"SELECT accepted FROM invocation ORDER BY seq DESC LIMIT 1",
		"SELECT max(finished) FROM invocation WHERE finished IS NOT NULL",
		"SELECT max(modified) FROM endpoint",
	} {
		err := t.query(query, func(s *sqlite.Stmt) error {
			if at := columnTime(s, 0); at.After(newest) {
				newest = at
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	c := newClock(stored, newest, m.Boot, m.Uptime, m.Wall().Round(0))
	value, err := json.Marshal(c.anchor)
	if err != nil {
		return nil, err
	}
	return c, t.exec("INSERT OR REPLACE INTO meta VALUES (?, ?)", anchorKey, string(value))
}

// newClock continues the stored clock if it is of this boot, and begins at wall
// time otherwise, but never before the newest stored time.
func newClock(stored anchor, newest time.Time, boot string, uptime func() time.Duration, wall time.Time) *clock {
	if boot != "" && boot == stored.Boot {
		c := &clock{uptime: uptime, anchor: stored}
		if !c.reading().Before(newest) {
			return c
		}
	}
	c := &clock{uptime: uptime, anchor: anchor{Boot: boot, Uptime: uptime(), Reading: wall.UTC()}}
	if newest.After(wall) {
		c.anchor.Reading, c.anchor.Ahead = newest.UTC(), newest.Sub(wall)
	}
	return c
}

// reading is the anchor's reading plus what has passed since, of which half
// does not count as long as the clock is ahead of wall time.
func (c *clock) reading() time.Time {
	passed := c.uptime() - c.anchor.Uptime
	if slow := min(passed, 2*c.anchor.Ahead); slow > 0 {
		passed -= slow / 2
	}
	return c.anchor.Reading.Add(passed)
}

// Now reads the clock.
func (c *clock) Now() time.Time {
	now := c.reading()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.last) {
		return c.last
	}
	c.last = now
	return now
}
