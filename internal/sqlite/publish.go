package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// Publishing returns decided invocations with what was staged for them.
func (s *Store) Publishing(ctx context.Context, after deferd.Sequence, n int) (out []deferd.Publication, err error) {
	if r := s.live.row(int64(after) + 1); n == 1 && r != nil && r.State == deferd.Publishing && r.outcome != nil {
		return []deferd.Publication{r.publication(*r.outcome)}, nil
	}
	err = s.read(ctx, func(t *tx) error {
		rows, err := t.invocations(n, "i.state = 2 AND i.seq > ? ORDER BY i.seq", int64(after))
		if err != nil {
			return err
		}
		for _, r := range rows {
			p, err := t.publication(r)
			if err != nil {
				return fmt.Errorf("what is staged of invocation %s: %w", r.ID, err)
			}
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

// publication is a decided row with its outcome.
func (r *row) publication(o deferd.Outcome) deferd.Publication {
	return deferd.Publication{Invocation: r.Invocation, Decision: r.Decision, GivenUp: r.givenUp, Outcome: o}
}

// publication is a decided row with what was staged for it.
func (t *tx) publication(r *row) (deferd.Publication, error) {
	p := r.publication(deferd.Outcome{
		State: r.Verdict, Reason: r.Reason, Message: r.Message, ModelStatus: r.ModelStatus,
		ContentType: r.OutcomeType, Size: r.OutcomeSize,
	})
	if r.outcome != nil {
		p.Outcome = *r.outcome
		return p, nil
	}
	err := t.query("SELECT body, metadata, upload FROM staged WHERE seq = ?", func(s *sqlite.Stmt) error {
		p.Outcome.Body = columnBytes(s, 0)
		if m := s.ColumnText(1); m != "{}" {
			if err := json.Unmarshal([]byte(m), &p.Outcome.Metadata); err != nil {
				return err
			}
		}
		if u := s.ColumnText(2); u != "" {
			p.Outcome.Upload = new(deferd.Upload)
			return json.Unmarshal([]byte(u), p.Outcome.Upload)
		}
		return nil
	}, int64(r.Seq))
	return p, err
}

// publishing returns a row whose decision waits to be published, or nil.
func (t *tx) publishing(id deferd.InvocationID, decision int) (*row, error) {
	r, err := t.byID(id)
	if err != nil || r == nil || r.State != deferd.Publishing || r.Decision != decision {
		return nil, err
	}
	return r, nil
}

// unstage forgets what was staged of a row.
func (t *tx) unstage(r *row) error {
	n, err := t.change("DELETE FROM staged WHERE seq = ?", int64(r.Seq))
	if n > 0 {
		t.delta(r.endpoint).unpublished -= r.OutcomeSize
		if t.store.held[r.endpoint] {
			t.announceWork(r.Invocation.Endpoint)
			t.after = append(t.after, func() { delete(t.store.held, r.endpoint) })
		}
	}
	return err
}

// Finish makes a state terminal.
func (s *Store) Finish(ctx context.Context, id deferd.InvocationID, decision int, n *deferd.Notification) error {
	return s.writeUnsynced(ctx, func(t *tx) error {
		r, err := t.publishing(id, decision)
		if err != nil || r == nil {
			return err
		}
		if err := t.unstage(r); err != nil {
			return err
		}
		if r.Verdict == deferd.Completed && r.Input.IsZero() {
			if err := t.exec("DELETE FROM body WHERE seq = ?", int64(r.Seq)); err != nil {
				return err
			}
		}
		if n != nil {
			if err := t.addNotice(deferd.Notice{Notification: *n, Account: r.Account, Endpoint: r.Invocation.Endpoint, Variant: r.Variant}); err != nil {
				return err
			}
		}
		t.move(r.endpoint, deferd.Publishing, r.Verdict)
		t.drop(r)
		return t.exec("UPDATE invocation SET state = verdict, finished = ? WHERE seq = ?", t.now, int64(r.Seq))
	})
}

// GiveUp records that decision 1 will not be published.
func (s *Store) GiveUp(ctx context.Context, id deferd.InvocationID) error {
	return s.write(ctx, func(t *tx) error {
		r, err := t.publishing(id, 1)
		if err != nil || r == nil {
			return err
		}
		r.givenUp = true
		t.keep(r)
		return t.exec("UPDATE invocation SET given_up = 1 WHERE seq = ?", int64(r.Seq))
	})
}

// Redecide replaces decision 1 by decision 2.
func (s *Store) Redecide(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) error {
	return s.write(ctx, func(t *tx) error {
		r, err := t.publishing(id, 1)
		if err != nil || r == nil {
			return err
		}
		p, err := t.publication(r)
		if err != nil {
			return err
		}
		if err := t.unstage(r); err != nil {
			return err
		}
		if err := t.stage(r, o); err != nil {
			return err
		}
		if u := p.Outcome.Upload; u != nil {
			err := t.exec("INSERT OR REPLACE INTO upload VALUES (?, ?, ?, 1)", u.ID, int64(r.Seq), u.Location)
			if err != nil {
				return err
			}
		}
		t.announcePublishing(r.Seq)
		r.Decision, r.givenUp = 2, false
		t.verdict(r, o)
		return t.exec(`UPDATE invocation SET verdict = ?, decision = 2, given_up = 0, reason = ?, message = ?,
			outcome_type = ?, outcome_size = ?, settled = ? WHERE seq = ?`,
			int(o.State), string(o.Reason), o.Message, o.ContentType, o.Size, t.now, int64(r.Seq))
	})
}

// Abandoned returns uploads to be aborted.
func (s *Store) Abandoned(ctx context.Context, n int) (out []deferd.Upload, err error) {
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT id, location FROM upload WHERE abandoned = 1 LIMIT ?", func(st *sqlite.Stmt) error {
			l, err := columnLocation(st, 1)
			out = append(out, deferd.Upload{ID: st.ColumnText(0), Location: l})
			return err
		}, n)
	})
	return out, err
}

// Aborted forgets an upload.
func (s *Store) Aborted(ctx context.Context, uploadID string) error {
	return s.write(ctx, func(t *tx) error { return t.exec("DELETE FROM upload WHERE id = ?", uploadID) })
}

// Prune deletes what has been over for long enough.
func (s *Store) Prune(ctx context.Context, before time.Time, n int) (pruned int, err error) {
	err = s.write(ctx, func(t *tx) error {
		pruned = 0
		rows, err := t.invocations(n, "i.finished IS NOT NULL AND i.finished < ? ORDER BY i.finished", before)
		if err != nil {
			return err
		}
		for _, r := range rows {
			// Its abandoned uploads stay until they are aborted.
			for _, table := range []string{"invocation", "body"} {
				if err := t.exec("DELETE FROM "+table+" WHERE seq = ?", int64(r.Seq)); err != nil {
					return err
				}
			}
			d := t.delta(r.endpoint)
			*d.Of(r.State)--
			d.Pruned++
		}
		pruned = len(rows)
		if err := t.pruneNotices(before, n); err != nil {
			return err
		}
		t.after = append(t.after, t.refs.forget)
		return t.pruneRegistry()
	})
	return pruned, err
}

// pruneRegistry deletes removed endpoints without invocations, then removed
// configurations without endpoints, then removed models without
// configurations.
func (t *tx) pruneRegistry() error {
	const empty = `row IN (SELECT e.row FROM endpoint e WHERE e.removed = 1 AND NOT EXISTS (SELECT 1 FROM invocation i WHERE i.endpoint = e.row))`
	for _, query := range []string{
		`DELETE FROM endpoint_config WHERE endpoint IN (SELECT row FROM endpoint WHERE ` + empty + `)`,
		`DELETE FROM counts WHERE endpoint IN (SELECT row FROM endpoint WHERE ` + empty + `)`,
		`DELETE FROM endpoint WHERE ` + empty,
		`DELETE FROM config_model WHERE config IN (SELECT row FROM config WHERE removed = 1
			AND NOT EXISTS (SELECT 1 FROM endpoint_config x WHERE x.config = config.row))`,
		`DELETE FROM config WHERE removed = 1 AND NOT EXISTS (SELECT 1 FROM endpoint_config x WHERE x.config = config.row)`,
		`DELETE FROM model WHERE removed = 1 AND NOT EXISTS (SELECT 1 FROM config_model x WHERE x.model = model.id)`,
	} {
		if err := t.exec(query); err != nil {
			return err
		}
	}
	return nil
}
