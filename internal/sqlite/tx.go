package sqlite

import (
	"errors"
	"fmt"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/uuid"
	"zombiezen.com/go/sqlite"
)

// A tx is a transaction in progress, or a reading connection.
type tx struct {
	store  *Store // to announce to; nil while the file is being opened
	conn   *sqlite.Conn
	refs   *refs
	now    time.Time
	counts map[int64]*delta // changes of this group, by endpoint row

	work    []deferd.EndpointID // that have some now, see handOut
	changed map[int64]*row      // rows that this group has changed, see live
	after   []func()            // run once the group is durable
	undo    []func()            // run if it is not, the newest first
}

func newTx(conn *sqlite.Conn, now time.Time, refs *refs) *tx {
	return &tx{conn: conn, now: now, refs: refs, counts: map[int64]*delta{}}
}

// errEnough ends a query whose other rows are not wanted.
var errEnough = errors.New("no more rows are wanted")

// query runs a statement, bound to args, and calls row for each row. Column
// values are valid within row only.
func (t *tx) query(query string, row func(*sqlite.Stmt) error, args ...any) (err error) {
	if t.store != nil && t.store.observe != nil {
		t.store.observe(query)
	}
	stmt, err := t.conn.Prepare(query)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer func() {
		err = errors.Join(err, stmt.Reset(), stmt.ClearBindings())
	}()
	for i, a := range args {
		bind(stmt, i+1, a)
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		if row == nil {
			continue
		}
		if err := row(stmt); err == errEnough {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// exec runs a statement for its effect.
func (t *tx) exec(query string, args ...any) error { return t.query(query, nil, args...) }

// change runs a statement for its effect and reports how many rows it changed.
func (t *tx) change(query string, args ...any) (int, error) {
	if err := t.query(query, nil, args...); err != nil {
		return 0, err
	}
	return t.conn.Changes(), nil
}

// bind sets parameter i. Empty byte slices that are not nil are empty blobs;
// nil ones, zero times and nil are NULL.
func bind(stmt *sqlite.Stmt, i int, a any) {
	switch v := a.(type) {
	case nil:
		stmt.BindNull(i)
	case int:
		stmt.BindInt64(i, int64(v))
	case int64:
		stmt.BindInt64(i, v)
	case float64:
		stmt.BindFloat(i, v)
	case bool:
		stmt.BindBool(i, v)
	case string:
		stmt.BindText(i, v)
	case []byte:
		switch {
		case v == nil:
			stmt.BindNull(i)
		case len(v) == 0:
			stmt.BindZeroBlob(i, 0)
		default:
			stmt.BindBytes(i, v)
		}
	case time.Time:
		if v.IsZero() {
			stmt.BindNull(i)
			return
		}
		stmt.BindInt64(i, v.UnixMicro())
	case time.Duration:
		stmt.BindInt64(i, v.Milliseconds())
	case deferd.Location:
		stmt.BindText(i, v.String())
	default:
		panic(fmt.Sprintf("sqlite: cannot bind a %T", a))
	}
}

func columnTime(stmt *sqlite.Stmt, i int) time.Time {
	if stmt.ColumnIsNull(i) {
		return time.Time{}
	}
	return time.UnixMicro(stmt.ColumnInt64(i)).UTC()
}

func columnBytes(stmt *sqlite.Stmt, i int) []byte {
	if stmt.ColumnIsNull(i) {
		return nil
	}
	b := make([]byte, stmt.ColumnLen(i))
	stmt.ColumnBytes(i, b)
	return b
}

func columnLocation(stmt *sqlite.Stmt, i int) (deferd.Location, error) {
	uri := stmt.ColumnText(i)
	if uri == "" {
		return deferd.Location{}, nil
	}
	return deferd.ParseLocation(uri)
}

func columnMillis(stmt *sqlite.Stmt, i int) time.Duration {
	return time.Duration(stmt.ColumnInt64(i)) * time.Millisecond
}

// invocationKey is the stored form of an invocation ID; nil for what cannot be
// one.
func invocationKey(id deferd.InvocationID) []byte {
	u, err := uuid.Parse(string(id))
	if err != nil || len(id) != 36 {
		return nil
	}
	return u[:]
}

func columnID(stmt *sqlite.Stmt, i int) deferd.InvocationID {
	if stmt.ColumnIsNull(i) {
		return ""
	}
	var u uuid.UUID
	stmt.ColumnBytes(i, u[:])
	return deferd.InvocationID(u.String())
}

// A delta is what a group changes of an endpoint's counts.
type delta struct {
	deferd.Counts
	unpublished int64
}

func (t *tx) delta(endpoint int64) *delta {
	d := t.counts[endpoint]
	if d == nil {
		d = &delta{}
		t.counts[endpoint] = d
	}
	return d
}

// move counts an invocation's change of state.
func (t *tx) move(endpoint int64, from, to deferd.State) {
	d := t.delta(endpoint)
	*d.Of(from)--
	*d.Of(to)++
}

// flush writes the group's changes of counts.
func (t *tx) flush() error {
	for endpoint, d := range t.counts {
		if *d == (delta{}) {
			continue
		}
		if d.unpublished != 0 && t.store != nil {
			t.after = append(t.after, func() { t.store.published(endpoint, d.unpublished) })
		}
		err := t.exec(`INSERT INTO counts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
			ON CONFLICT (endpoint) DO UPDATE SET accepted = accepted + ?2, queued = queued + ?3, running = running + ?4,
			publishing = publishing + ?5, completed = completed + ?6, failed = failed + ?7, expired = expired + ?8,
			cancelled = cancelled + ?9, pruned = pruned + ?10, unpublished = unpublished + ?11`,
			endpoint, d.Accepted, d.Queued, d.Running, d.Publishing, d.Completed, d.Failed, d.Expired,
			d.Cancelled, d.Pruned, d.unpublished)
		if err != nil {
			return err
		}
	}
	return nil
}
