package sqlite

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// Invocation looks an invocation up by ID, then by inference ID.
func (s *Store) Invocation(ctx context.Context, e deferd.EndpointID, id string) (inv deferd.Invocation, err error) {
	err = s.read(ctx, func(t *tx) error {
		r, err := t.invocation("i.id = ?", invocationKey(deferd.InvocationID(id)))
		if err != nil {
			return err
		}
		if r == nil || r.Invocation.Endpoint != e {
			r, err = t.invocation(`i.endpoint = (SELECT row FROM endpoint WHERE id = ?) AND i.inference_id IS NOT NULL
				AND i.inference_id = ? ORDER BY i.seq DESC LIMIT 1`, string(e), id)
		}
		if err != nil {
			return err
		}
		if r == nil {
			return deferd.Errorf(deferd.NotFound, "there is no invocation %q", id)
		}
		inv = r.Invocation
		return nil
	})
	return inv, err
}

// Invocations lists an endpoint's invocations, newest first.
func (s *Store) Invocations(ctx context.Context, q deferd.InvocationQuery) (page deferd.Page[deferd.Invocation], err error) {
	q.Max = max(q.Max, 1)
	before, err := rowBefore(q.Token)
	if err != nil {
		return page, err
	}
	where := "i.endpoint = (SELECT row FROM endpoint WHERE id = ?) AND i.seq < ?"
	args := []any{string(q.Endpoint), before}
	if len(q.States) > 0 {
		marks := make([]string, len(q.States))
		for i, st := range q.States {
			marks[i] = strconv.Itoa(int(st))
		}
		where += " AND i.state IN (" + strings.Join(marks, ", ") + ")"
	}
	err = s.read(ctx, func(t *tx) error {
		rows, err := t.invocations(q.Max+1, where+" ORDER BY i.seq DESC", args...)
		if err != nil {
			return err
		}
		if len(rows) > q.Max {
			rows = rows[:q.Max]
			page.Token = rowToken(int64(rows[q.Max-1].Seq))
		}
		for _, r := range rows {
			page.Items = append(page.Items, r.Invocation)
		}
		return nil
	})
	return page, err
}

// rowToken is the token of a page, newest first, whose last row this is;
// rowBefore reads it.
func rowToken(row int64) string { return strconv.FormatInt(row, 36) }

func rowBefore(token string) (int64, error) {
	if token == "" {
		return math.MaxInt64, nil
	}
	row, err := strconv.ParseInt(token, 36, 64)
	if err != nil {
		return 0, deferd.Errorf(deferd.Invalid, "the page token is not one of ours")
	}
	return row, nil
}

// Counts reads an endpoint's row of counts.
func (s *Store) Counts(ctx context.Context, e deferd.EndpointID) (c deferd.Counts, err error) {
	err = s.read(ctx, func(t *tx) error {
		return t.query(`SELECT accepted, queued, running, publishing, completed, failed, expired, cancelled, pruned
			FROM counts WHERE endpoint = (SELECT row FROM endpoint WHERE id = ?)`, func(st *sqlite.Stmt) error {
			for i, n := range []*int64{&c.Accepted, &c.Queued, &c.Running, &c.Publishing, &c.Completed, &c.Failed, &c.Expired, &c.Cancelled, &c.Pruned} {
				*n = st.ColumnInt64(i)
			}
			return nil
		}, string(e))
	})
	return c, err
}

// Recount counts an endpoint's rows.
func (s *Store) Recount(ctx context.Context, e deferd.EndpointID) (c deferd.Counts, err error) {
	stored, err := s.Counts(ctx, e)
	if err != nil {
		return c, err
	}
	c.Pruned = stored.Pruned
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT state, count(*) FROM invocation WHERE endpoint = (SELECT row FROM endpoint WHERE id = ?) GROUP BY state",
			func(st *sqlite.Stmt) error {
				*c.Of(deferd.State(st.ColumnInt(0))) = st.ColumnInt64(1)
				c.Accepted += st.ColumnInt64(1)
				return nil
			}, string(e))
	})
	c.Accepted += c.Pruned
	return c, err
}

// OldestQueued is the accept of the endpoint's oldest invocation that waits:
// the first of each priority's queue is its oldest, and there is one priority.
func (s *Store) OldestQueued(ctx context.Context, e deferd.EndpointID) (oldest time.Time, err error) {
	err = s.read(ctx, func(t *tx) error {
		for suspect := range 2 {
			err := t.query(`SELECT accepted FROM invocation WHERE endpoint = (SELECT row FROM endpoint WHERE id = ?)
				AND state = 0 AND due IS NULL AND suspect = ? ORDER BY priority, seq LIMIT 1`, func(st *sqlite.Stmt) error {
				if at := columnTime(st, 0); oldest.IsZero() || at.Before(oldest) {
					oldest = at
				}
				return nil
			}, string(e), suspect)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return oldest, err
}
