package sqlite

import (
	"context"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// Sweep moves what is due.
func (s *Store) Sweep(ctx context.Context, n int) (next time.Time, err error) {
	err = s.write(ctx, func(t *tx) error {
		more, err := t.sweep(n)
		if err != nil {
			return err
		}
		next = t.now
		if !more {
			next, err = t.nextDue()
		}
		// Set here, in the writer, so that no accept can fall between the
		// look and the note of it.
		s.feeds.nextDue.Store(micros(next))
		return err
	})
	if err != nil {
		s.feeds.nextDue.Store(0)
	}
	return next, err
}

func micros(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}

// sweep does at most n of each kind of due work; more says that some is left.
func (t *tx) sweep(n int) (more bool, err error) {
	for _, kind := range []func(int) (int, error){t.sweepDue, t.sweepExpired, t.sweepDeleted} {
		did, err := kind(n)
		if err != nil {
			return false, err
		}
		more = more || did == n
	}
	return more, nil
}

// sweepDue makes ready what has waited long enough.
func (t *tx) sweepDue(n int) (int, error) {
	rows, err := t.invocations(n, "i.state = 0 AND i.due IS NOT NULL AND i.due <= ? ORDER BY i.due", t.now)
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if err := t.exec("UPDATE invocation SET due = NULL WHERE seq = ?", int64(r.Seq)); err != nil {
			return 0, err
		}
		t.announceWork(r.Invocation.Endpoint)
	}
	return len(rows), nil
}

// sweepExpired ends what has waited for longer than it may.
func (t *tx) sweepExpired(n int) (int, error) {
	rows, err := t.invocations(n, "i.state = 0 AND i.expires <= ? ORDER BY i.expires", t.now)
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if err := t.decide(r, r.Expire(), false); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// sweepDeleted ends what is queued for endpoints that are being deleted.
func (t *tx) sweepDeleted(n int) (int, error) {
	rows, err := t.queuedForDeleted(n)
	if err != nil {
		return 0, err
	}
	gone := deferd.End(deferd.EndpointDeleted, deferd.FailureMessage(deferd.EndpointDeleted))
	for _, r := range rows {
		if err := t.decide(r, gone, false); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// queuedForDeleted returns the first n rows of those: what is ready, then what
// waits for its time, which is little.
func (t *tx) queuedForDeleted(n int) (rows []*row, err error) {
	var deleting []int64
	err = t.query("SELECT row FROM endpoint WHERE status = 'Deleting'", func(s *sqlite.Stmt) error {
		deleting = append(deleting, s.ColumnInt64(0))
		return nil
	})
	for _, endpoint := range deleting {
		for _, where := range []string{
			"i.endpoint = ? AND i.state = 0 AND i.due IS NULL",
			"+i.endpoint = ? AND i.state = 0 AND i.due IS NOT NULL AND i.due > 0", // the plus: by time
		} {
			if err != nil || len(rows) == n {
				return rows, err
			}
			var some []*row
			some, err = t.invocations(n-len(rows), where, endpoint)
			rows = append(rows, some...)
		}
	}
	return rows, err
}

// nextDue is when the earliest waiting thing is due.
func (t *tx) nextDue() (next time.Time, err error) {
	for _, query := range []string{
		"SELECT min(due) FROM invocation WHERE state = 0 AND due IS NOT NULL",
		"SELECT min(expires) FROM invocation WHERE state = 0",
	} {
		err := t.query(query, func(s *sqlite.Stmt) error {
			if at := columnTime(s, 0); !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
			return nil
		})
		if err != nil {
			return time.Time{}, err
		}
	}
	return next, nil
}
