package sqlite

import (
	"context"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// Accept stores an invocation and its inline body.
func (s *Store) Accept(ctx context.Context, n deferd.NewInvocation) (inv deferd.Invocation, repeated bool, err error) {
	key := invocationKey(n.ID)
	if key == nil {
		return inv, false, deferd.Errorf(deferd.Invalid, "%q is no invocation ID", n.ID)
	}
	err = s.write(ctx, func(t *tx) error {
		inv, repeated = deferd.Invocation{}, false
		if n.RetryToken != [16]byte{} {
			r, err := s.repeatOf(t, n.RetryToken)
			if err != nil {
				return err
			}
			if r != nil {
				inv, repeated = r.Invocation, true
				return nil
			}
		}
		endpoint, config, err := t.acceptingEndpoint(n)
		if err != nil {
			return err
		}
		inv = deferd.Invocation{NewInvocation: n, InlineSize: int64(len(n.Inline)), State: deferd.Queued, Accepted: t.now}
		if err := t.insert(&inv, key, endpoint, config, n.Inline); err != nil {
			return err
		}
		inv.Inline, inv.RetryToken = nil, [16]byte{} // as it is read
		if n.RetryToken != [16]byte{} {
			s.repeats.add(n.RetryToken, int64(inv.Seq), t.now)
			t.undo = append(t.undo, s.repeats.undo)
		}
		t.announceWork(n.Endpoint)
		t.announceDue(t.now.Add(n.TTL))
		return nil
	})
	return inv, repeated, err
}

// repeatOf returns the invocation that a retry token was accepted for.
func (s *Store) repeatOf(t *tx, token [16]byte) (*row, error) {
	seq := s.repeats.find(token, t.now)
	if seq == 0 {
		return nil, nil
	}
	return t.invocation("i.seq = ? AND i.token = ?", seq, token[:])
}

// acceptingEndpoint returns the rows of the endpoint and configuration, if the
// endpoint takes invocations.
func (t *tx) acceptingEndpoint(n deferd.NewInvocation) (endpoint, config int64, err error) {
	e, err := t.endpoint(n.Endpoint)
	if err != nil {
		return 0, 0, err
	}
	if config, err = t.configRow(n.Config); err != nil {
		return 0, 0, err
	}
	if e.row == 0 || config == 0 || !e.status.Accepts() {
		return 0, 0, deferd.Errorf(deferd.NotFound, "the endpoint takes no invocations")
	}
	return e.row, config, nil
}

func (t *tx) insert(inv *deferd.Invocation, key []byte, endpoint, config int64, inline []byte) error {
	var label any
	if inv.InferenceID != string(inv.ID) {
		label = inv.InferenceID
	}
	var input any
	if !inv.Input.IsZero() {
		input = inv.Input.String()
	}
	var token []byte
	if inv.RetryToken != [16]byte{} {
		token = inv.RetryToken[:]
	}
	err := t.exec(`INSERT INTO invocation (id, endpoint, config, inference_id, access_key, priority, redrive_of, input,
		inline_size, content_type, accept, attributes, output, failure, ttl, timeout, token, accepted, expires,
		state, suspect, claim, variant, instance, attempts, deaths, losses, verdict, decision, given_up, reason, message,
		model_status, outcome_type, outcome_size)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, '', '', 0, 0, 0, 0, 0, 0, '', '', 0, '', 0)`,
		key, endpoint, config, label, inv.AccessKey, inv.Priority, invocationKey(inv.RedriveOf), input,
		inv.InlineSize, inv.ContentType, inv.Accept, inv.CustomAttributes, inv.Output, inv.Failure, inv.TTL, inv.Timeout,
		token, inv.Accepted, inv.Accepted.Add(inv.TTL))
	if err != nil {
		return err
	}
	inv.Seq = deferd.Sequence(t.conn.LastInsertRowID())
	d := t.delta(endpoint)
	d.Accepted++
	d.Queued++
	if inv.Input.IsZero() {
		if inline == nil {
			inline = []byte{}
		}
		seq := inv.Seq
		t.after = append(t.after, func() { t.store.live.remember(seq, inline) })
		return t.exec("INSERT INTO body VALUES (?, ?)", int64(seq), inline)
	}
	return nil
}

// Body reads an inline body.
func (s *Store) Body(ctx context.Context, id deferd.InvocationID) (body []byte, err error) {
	if body := s.live.body(id); body != nil {
		return body, nil
	}
	found := false
	err = s.read(ctx, func(t *tx) error {
		query, key := "SELECT b.bytes FROM invocation i JOIN body b ON b.seq = i.seq WHERE i.id = ?", any(invocationKey(id))
		if seq := s.live.seq(id); seq != 0 {
			query, key = "SELECT bytes FROM body WHERE seq = ?", seq
		}
		return t.query(query, func(st *sqlite.Stmt) error {
			body, found = columnBytes(st, 0), true
			return nil
		}, key)
	})
	if err == nil && !found {
		err = deferd.Errorf(deferd.NotFound, "there is no inline body of invocation %s", id)
	}
	return body, err
}
