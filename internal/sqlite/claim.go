package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// A session is a row of the session table.
type session struct {
	id       []byte
	endpoint int64
	variant  string
	instance string
	slots    int
	number   int64
}

var errNoSession = &deferd.Error{Code: deferd.Lost, Msg: "the session is not current"}

// session returns a current session, or errNoSession.
func (t *tx) session(id deferd.SessionID) (session, error) {
	key, err := hex.DecodeString(string(id))
	if err != nil || len(key) == 0 {
		return session{}, errNoSession
	}
	return t.sessionWhere("id = ?", key)
}

func (t *tx) sessionWhere(where string, arg any) (s session, err error) {
	err = t.query("SELECT id, endpoint, variant, instance, slots, number FROM session WHERE "+where, func(st *sqlite.Stmt) error {
		s = session{columnBytes(st, 0), st.ColumnInt64(1), st.ColumnText(2), st.ColumnText(3), st.ColumnInt(4), st.ColumnInt64(5)}
		return nil
	}, arg)
	if err == nil && s.id == nil {
		err = errNoSession
	}
	return s, err
}

// held are the rows that a session has leased.
func (t *tx) held(id []byte) ([]*row, error) {
	return t.invocations("i.session = ? AND i.state = 1 ORDER BY i.seq", []any{id})
}

// OpenSession makes a session the current one of its instance.
func (s *Store) OpenSession(ctx context.Context, n deferd.Session) (deferd.SessionID, error) {
	id := make([]byte, 16)
	rand.Read(id)
	err := s.write(ctx, func(t *tx) error {
		var endpoint int64
		err := t.query("SELECT row FROM endpoint WHERE id = ? AND removed = 0", func(st *sqlite.Stmt) error {
			endpoint = st.ColumnInt64(0)
			return nil
		}, string(n.Endpoint))
		if err != nil {
			return err
		}
		if endpoint == 0 {
			return deferd.Errorf(deferd.NotFound, "there is no endpoint %s", n.Endpoint)
		}
		old, err := t.sessionWhere("instance = ?", string(n.Instance))
		if err == nil {
			err = t.closeSession(old.id, deferd.InstanceLost)
		}
		if err != nil && err != errNoSession {
			return err
		}
		return t.exec("INSERT INTO session VALUES (?, ?, ?, ?, ?, 0)", id, endpoint, string(n.Variant), string(n.Instance), n.Slots)
	})
	return deferd.SessionID(hex.EncodeToString(id)), err
}

// CloseSession ends a session and returns what it holds.
func (s *Store) CloseSession(ctx context.Context, id deferd.SessionID, r deferd.Reason) error {
	key, err := hex.DecodeString(string(id))
	if err != nil {
		return nil
	}
	return s.write(ctx, func(t *tx) error { return t.closeSession(key, r) })
}

func (t *tx) closeSession(id []byte, r deferd.Reason) error {
	held, err := t.held(id)
	if err != nil {
		return err
	}
	for _, inv := range held {
		if err := t.giveBack(inv, r, "", 0); err != nil {
			return err
		}
	}
	return t.exec("DELETE FROM session WHERE id = ?", id)
}

// maxUnpublished is how many bytes of outcomes an endpoint may have waiting to
// be published before it claims no more.
const maxUnpublished = 1 << 30

// Claim leases ready work to a session.
func (s *Store) Claim(ctx context.Context, id deferd.SessionID, confirmed int64, n int) (c deferd.Claim, err error) {
	err = s.writeUnsynced(ctx, func(t *tx) error {
		c = deferd.Claim{}
		se, err := t.session(id)
		if err != nil {
			return err
		}
		held, err := t.held(se.id)
		if err != nil {
			return err
		}
		suspect := false
		for _, r := range held {
			suspect = suspect || r.InstanceLosses > 0
			if r.claim > confirmed {
				c.Leases = append(c.Leases, r.asLease())
			}
		}
		c.Number = se.number
		fresh, err := t.ready(se, min(n-len(c.Leases), se.slots-len(held)), !suspect)
		if err != nil || len(fresh) == 0 {
			return err
		}
		c.Number++
		if err := t.exec("UPDATE session SET number = ? WHERE id = ?", c.Number, se.id); err != nil {
			return err
		}
		for _, r := range fresh {
			if err := t.lease(r, se, c.Number); err != nil {
				return err
			}
			c.Leases = append(c.Leases, r.asLease())
		}
		return nil
	})
	return c, err
}

// ready returns up to n ready rows of a session's endpoint, in order, at most
// one of them a suspect, and none where suspects is false.
func (t *tx) ready(se session, n int, suspects bool) ([]*row, error) {
	if n <= 0 {
		return nil, nil
	}
	open, err := t.claimable(se.endpoint)
	if err != nil || !open {
		return nil, err
	}
	const ready = "i.endpoint = ? AND i.state = 0 AND i.due IS NULL AND i.suspect = ? ORDER BY i.priority, i.seq LIMIT ?"
	var rows []*row
	if suspects {
		if rows, err = t.invocations(ready, []any{se.endpoint, true, 1}); err != nil {
			return nil, err
		}
	}
	if len(rows) == n {
		return rows, nil
	}
	others, err := t.invocations(ready, []any{se.endpoint, false, n - len(rows)})
	return append(rows, others...), err
}

// claimable reports whether an endpoint's queue may be claimed from: not once
// it is deleted, and not while too much waits to be published.
func (t *tx) claimable(endpoint int64) (open bool, err error) {
	gone, err := t.deleting(endpoint)
	if err != nil || gone {
		return false, err
	}
	var unpublished int64
	err = t.query("SELECT unpublished FROM counts WHERE endpoint = ?", func(s *sqlite.Stmt) error {
		unpublished = s.ColumnInt64(0)
		return nil
	}, endpoint)
	if err == nil && unpublished > maxUnpublished {
		t.store.held[endpoint] = true // until the next one is published
		return false, nil
	}
	return err == nil, err
}

// lease hands a row to a session.
func (t *tx) lease(r *row, se session, number int64) error {
	r.lease = newLease(r.Seq)
	r.State = deferd.Running
	t.move(r.endpoint, deferd.Queued, deferd.Running)
	return t.exec(`UPDATE invocation SET state = 1, lease = ?, session = ?, claim = ?, variant = ?, instance = ?, claimed = ? WHERE seq = ?`,
		r.lease, se.id, number, se.variant, se.instance, t.now, int64(r.Seq))
}

// asLease is what an agent gets to know of a leased row.
func (r *row) asLease() deferd.Lease {
	return deferd.Lease{
		ID:               leaseID(r.lease),
		Invocation:       r.ID,
		InferenceID:      r.InferenceID,
		Attempt:          r.Attempts + 1,
		Inline:           r.Input.IsZero(),
		ContentType:      r.ContentType,
		Accept:           r.Accept,
		CustomAttributes: r.CustomAttributes,
		Timeout:          r.Timeout,
	}
}

// Extend compares what a session holds with what its agent says.
func (s *Store) Extend(ctx context.Context, id deferd.SessionID, confirmed int64, held []deferd.LeaseID) (lost []deferd.LeaseID, err error) {
	err = s.writeUnsynced(ctx, func(t *tx) error {
		se, err := t.session(id)
		if err != nil {
			return err
		}
		rows, err := t.held(se.id)
		if err != nil {
			return err
		}
		named := make(map[deferd.LeaseID]bool, len(held))
		for _, l := range held {
			named[l] = true
		}
		for _, r := range rows {
			l := leaseID(r.lease)
			if !named[l] && r.claim <= confirmed {
				if err := t.giveBack(r, deferd.NeverArrived, "", 0); err != nil {
					return err
				}
			}
			delete(named, l)
		}
		lost = lost[:0]
		for _, l := range held {
			if named[l] {
				lost = append(lost, l)
			}
		}
		return nil
	})
	return lost, err
}
