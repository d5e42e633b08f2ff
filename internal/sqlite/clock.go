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

	mu     sync.Mutex // guards last
	last   time.Time
	anchor anchor
	// ahead is how far the anchor's reading was ahead of wall time.
	ahead time.Duration
}

// An anchor ties a reading of the clock to the machine's uptime. It is stored
// as JSON, once an opening.
type anchor struct {
	Boot    string        // identifies the boot; "" where that cannot be known
	Uptime  time.Duration // since that boot, sleep included
	Reading time.Time
}

const anchorKey = "clock"

// startClock continues the clock of the file's earlier life.
func startClock(conn *sqlite.Conn) (*clock, error) {
	t := newTx(conn, time.Time{})
	var stored anchor
	err := t.query("SELECT value FROM meta WHERE key = ?", func(s *sqlite.Stmt) error {
		return json.Unmarshal([]byte(s.ColumnText(0)), &stored)
	}, anchorKey)
	if err != nil {
		return nil, err
	}
	newest := stored.Reading
	err = t.query("SELECT accepted FROM invocation ORDER BY seq DESC LIMIT 1", func(s *sqlite.Stmt) error {
		if at := columnTime(s, 0); at.After(newest) {
			newest = at
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c := newClock(stored, newest, bootID(), uptime, time.Now().Round(0))
	value, err := json.Marshal(c.anchor)
	if err != nil {
		return nil, err
	}
	return c, t.exec("INSERT OR REPLACE INTO meta VALUES (?, ?)", anchorKey, string(value))
}

// newClock starts a clock at wall time, or continues the stored one.
func newClock(stored anchor, newest time.Time, boot string, uptime func() time.Duration, wall time.Time) *clock {
	c := &clock{uptime: uptime, anchor: anchor{Boot: boot, Uptime: uptime(), Reading: wall.UTC()}}
	switch {
	case boot != "" && boot == stored.Boot:
		c.anchor.Reading = stored.Reading.Add(c.anchor.Uptime - stored.Uptime)
	case newest.After(wall):
		c.anchor.Reading = newest.UTC()
		c.ahead = newest.Sub(wall)
	}
	return c
}

// Now reads the clock.
func (c *clock) Now() time.Time {
	passed := c.uptime() - c.anchor.Uptime
	if slow := min(passed, 2*c.ahead); slow > 0 {
		passed -= slow / 2
	}
	now := c.anchor.Reading.Add(passed)
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.last) {
		return c.last
	}
	c.last = now
	return now
}
