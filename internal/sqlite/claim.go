package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// OpenSession makes a session the current one of its instance.
func (s *Store) OpenSession(ctx context.Context, n deferd.Session) (deferd.SessionID, error) {
	random := make([]byte, 16)
	rand.Read(random)
	id := deferd.SessionID(hex.EncodeToString(random))
	err := s.write(ctx, func(t *tx) error {
		e, err := t.endpoint(n.Endpoint)
		if err != nil {
			return err
		}
		if e.row == 0 {
			return deferd.Errorf(deferd.NotFound, "there is no endpoint %s", n.Endpoint)
		}
		if old := s.sessions.byInstance[n.Instance]; old != nil {
			if err := t.closeSession(old, deferd.InstanceLost); err != nil {
				return err
			}
		}
		t.enlist(&session{id: id, endpoint: e.row, variant: string(n.Variant), instance: n.Instance, slots: n.Slots, held: map[int64]bool{}})
		return nil
	})
	return id, err
}

// CloseSession ends a session and returns what it holds.
func (s *Store) CloseSession(ctx context.Context, id deferd.SessionID, r deferd.Reason) error {
	return s.write(ctx, func(t *tx) error {
		if se := s.sessions.byID[id]; se != nil {
			return t.closeSession(se, r)
		}
		return nil
	})
}

func (t *tx) closeSession(se *session, r deferd.Reason) error {
	for _, inv := range t.held(se) {
		if err := t.giveBack(inv, r, "", 0); err != nil {
			return err
		}
	}
	t.dismiss(se)
	return nil
}

// maxUnpublished is how many bytes of outcomes an endpoint may have waiting to
// be published before it claims no more.
const maxUnpublished = 1 << 30

// Claim leases ready work to a session.
func (s *Store) Claim(ctx context.Context, id deferd.SessionID, confirmed int64, n int) (c deferd.Claim, err error) {
	err = s.writeUnsynced(ctx, func(t *tx) (err error) {
		c, err = t.claim(id, confirmed, n)
		return err
	})
	return c, err
}

func (t *tx) claim(id deferd.SessionID, confirmed int64, n int) (c deferd.Claim, err error) {
	se, err := t.session(id)
	if err != nil {
		return c, err
	}
	suspect := false
	for _, r := range t.held(se) {
		suspect = suspect || r.InstanceLosses > 0
		if r.claim > confirmed {
			c.Leases = append(c.Leases, r.asLease())
		}
	}
	c.Number = se.number
	fresh, err := t.ready(se, min(n-len(c.Leases), se.slots-len(se.held)), !suspect)
	if err != nil || len(fresh) == 0 {
		return c, err
	}
	c.Number = t.nextNumber(se)
	for _, r := range fresh {
		if err := t.lease(r, se); err != nil {
			return c, err
		}
		c.Leases = append(c.Leases, r.asLease())
	}
	return c, nil
}

// ready returns up to n ready rows of a session's endpoint, in order, at most
// one of them a suspect, and none where suspects is false.
func (t *tx) ready(se *session, n int, suspects bool) ([]*row, error) {
	if n <= 0 {
		return nil, nil
	}
	open, err := t.claimable(se.endpoint)
	if err != nil || !open {
		return nil, err
	}
	// Each plus hides a parameter from SQLite's planner, which would compile the
	// query again for each value: 17 µs instead of 0.4.
	const ready = "i.endpoint = +? AND i.state = 0 AND i.due IS NULL AND i.suspect = +? ORDER BY i.priority, i.seq"
	var rows []*row
	if suspects {
		if rows, err = t.invocations(1, ready, se.endpoint, true); err != nil {
			return nil, err
		}
	}
	if len(rows) == n {
		return rows, nil
	}
	others, err := t.invocations(n-len(rows), ready, se.endpoint, false)
	return append(rows, others...), err
}

// claimable reports whether an endpoint's queue may be claimed from: not once
// it is deleted, and not while too much waits to be published.
func (t *tx) claimable(endpoint int64) (open bool, err error) {
	gone, err := t.deleting(endpoint)
	if err != nil || gone {
		return false, err
	}
	unpublished, err := t.unpublished(endpoint)
	if err == nil && unpublished > maxUnpublished {
		t.store.held[endpoint] = true // until the next one is published
		return false, nil
	}
	return err == nil, err
}

// unpublished is how many bytes of an endpoint's outcomes wait to be published,
// as of the last commit.
func (t *tx) unpublished(endpoint int64) (n int64, err error) {
	n, known := t.store.unpublished[endpoint]
	if known {
		return n, nil
	}
	err = t.query("SELECT unpublished FROM counts WHERE endpoint = ?", func(s *sqlite.Stmt) error {
		n = s.ColumnInt64(0)
		return nil
	}, endpoint)
	if err == nil {
		if len(t.store.unpublished) >= maxRemembered {
			clear(t.store.unpublished)
		}
		t.store.unpublished[endpoint] = n
	}
	return n, err
}

// published takes note of a commit that changed what waits to be published. The
// writer calls it.
func (s *Store) published(endpoint, bytes int64) {
	if n, known := s.unpublished[endpoint]; known {
		s.unpublished[endpoint] = n + bytes
	}
}

// lease hands a row to a session.
func (t *tx) lease(r *row, se *session) error {
	r.lease, r.session, r.claim, r.uploads = newLease(r.Seq), se.id, se.number, false
	r.State, r.Variant, r.Instance, r.Claimed = deferd.Running, deferd.VariantName(se.variant), se.instance, t.now
	t.move(r.endpoint, deferd.Queued, deferd.Running)
	t.hold(se.id, r.Seq, true)
	t.keep(r)
	return t.exec(`UPDATE invocation SET state = 1, lease = ?, variant = ?, instance = ?, claimed = ? WHERE seq = ?`,
		r.lease, se.variant, string(se.instance), t.now, int64(r.Seq))
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

// Extend compares what a session holds with what its agent says. Where that
// ends a lease, which may decide an invocation, it is made durable.
func (s *Store) Extend(ctx context.Context, id deferd.SessionID, confirmed int64, held []deferd.LeaseID) (lost []deferd.LeaseID, err error) {
	var unnamed []*row
	err = s.writeUnsynced(ctx, func(t *tx) (err error) {
		lost, unnamed, err = t.compare(id, confirmed, held)
		return err
	})
	if err != nil || len(unnamed) == 0 {
		return lost, err
	}
	err = s.write(ctx, func(t *tx) (err error) {
		lost, unnamed, err = t.compare(id, confirmed, held)
		for _, r := range unnamed {
			if err := t.giveBack(r, deferd.NeverArrived, "", 0); err != nil {
				return err
			}
		}
		return err
	})
	return lost, err
}

// compare returns which of the held leases are not the session's, and which of
// its rows that were handed out up to confirmed are not held.
func (t *tx) compare(id deferd.SessionID, confirmed int64, held []deferd.LeaseID) (lost []deferd.LeaseID, unnamed []*row, err error) {
	se, err := t.session(id)
	if err != nil {
		return nil, nil, err
	}
	named := make(map[deferd.LeaseID]bool, len(held))
	for _, l := range held {
		named[l] = true
	}
	for _, r := range t.held(se) {
		l := leaseID(r.lease)
		if !named[l] && r.claim <= confirmed {
			unnamed = append(unnamed, r)
		}
		delete(named, l)
	}
	for _, l := range held {
		if named[l] {
			lost = append(lost, l)
		}
	}
	return lost, unnamed, nil
}
