package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// Leased returns the invocation under a current lease.
func (s *Store) Leased(_ context.Context, id deferd.LeaseID) (deferd.Invocation, error) {
	t := tx{store: s} // reads no file
	r, err := t.leased(id)
	if err != nil {
		return deferd.Invocation{}, err
	}
	return r.Invocation, nil
}

// RecordUpload notes an upload under a lease, or returns the one that is.
func (s *Store) RecordUpload(ctx context.Context, id deferd.LeaseID, u deferd.Upload) (noted deferd.Upload, err error) {
	err = s.write(ctx, func(t *tx) error {
		r, err := t.leased(id)
		if err != nil {
			return err
		}
		noted = deferd.Upload{Location: u.Location}
		err = t.query("SELECT id FROM upload WHERE seq = ? AND location = ? AND abandoned = 0", func(st *sqlite.Stmt) error {
			noted.ID = st.ColumnText(0)
			return nil
		}, int64(r.Seq), u.Location)
		if err != nil || noted.ID != "" {
			return err
		}
		noted.ID = u.ID
		r.uploads = true
		t.keep(r)
		return t.exec("INSERT INTO upload VALUES (?, ?, ?, 0)", u.ID, int64(r.Seq), u.Location)
	})
	return noted, err
}

// Settle decides the outcome under a lease.
func (s *Store) Settle(ctx context.Context, st deferd.Settlement) error {
	return s.write(ctx, func(t *tx) error {
		r, err := t.leased(st.Lease)
		if errors.Is(err, errLost) {
			return t.settledBefore(st.Lease)
		}
		if err != nil {
			return err
		}
		r.Attempts++
		return t.decide(r, st.Outcome, true)
	})
}

// settledBefore is nil if this very lease settled, and errLost otherwise.
func (t *tx) settledBefore(id deferd.LeaseID) error {
	lease, seq, ok := parseLease(id)
	if !ok {
		return errLost
	}
	if r := t.live(seq); r != nil && r.State == deferd.Publishing && bytes.Equal(r.lease, lease) {
		return nil
	}
	settled := false
	err := t.query("SELECT 1 FROM invocation WHERE seq = ? AND lease = ? AND state >= 2", func(*sqlite.Stmt) error {
		settled = true
		return nil
	}, seq, lease)
	if err == nil && !settled {
		err = errLost
	}
	return err
}

// decide records decision 1 of a queued or running row. Its lease stays, as
// the mark of who decided, only where that was the lease's own settle.
func (t *tx) decide(r *row, o deferd.Outcome, byLease bool) error {
	if err := t.stage(r, o); err != nil {
		return err
	}
	t.freeSuspect(r)
	t.hold(r.session, r.Seq, false)
	t.move(r.endpoint, r.State, deferd.Publishing)
	t.announcePublishing(r.Seq)
	if !byLease {
		r.lease = nil
	}
	if r.Input.IsZero() && t.store != nil {
		t.after = append(t.after, func() { t.store.live.forget(r.Seq) })
	}
	r.session, r.State, r.Decision, r.ModelStatus = "", deferd.Publishing, 1, o.ModelStatus
	t.verdict(r, o)
	return t.exec(`UPDATE invocation SET state = 2, due = NULL, lease = ?, verdict = ?, decision = 1,
		reason = ?, message = ?, model_status = ?, outcome_type = ?, outcome_size = ?, attempts = ?, deaths = ?, losses = ?, settled = ?
		WHERE seq = ?`,
		r.lease, int(o.State), string(o.Reason), o.Message, o.ModelStatus, o.ContentType, o.Size,
		r.Attempts, r.ServerDeaths, r.InstanceLosses, t.now, int64(r.Seq))
}

// verdict notes in memory what a decision says.
func (t *tx) verdict(r *row, o deferd.Outcome) {
	r.Verdict, r.Reason, r.Message, r.Settled = o.State, o.Reason, o.Message, t.now
	r.OutcomeType, r.OutcomeSize = o.ContentType, o.Size
	o.ModelStatus = r.ModelStatus
	if r.Object(o.State).IsZero() {
		o.Body, o.Upload = nil, nil // it goes nowhere
	}
	r.outcome = &o
	t.keep(r)
}

// stage keeps what is to be published of an outcome, and abandons the row's
// other uploads.
func (t *tx) stage(r *row, o deferd.Outcome) error {
	visible := !r.Object(o.State).IsZero()
	var upload string
	if visible && o.Upload != nil {
		b, err := json.Marshal(o.Upload)
		if err != nil {
			return err
		}
		upload = string(b)
		if err := t.exec("DELETE FROM upload WHERE id = ? AND seq = ?", o.Upload.ID, int64(r.Seq)); err != nil {
			return err
		}
	}
	if err := t.abandonUploads(r); err != nil {
		return err
	}
	if !visible {
		return nil
	}
	metadata := "{}"
	if len(o.Metadata) > 0 {
		b, err := json.Marshal(o.Metadata)
		if err != nil {
			return err
		}
		metadata = string(b)
	}
	body := o.Body
	if body == nil || upload != "" {
		body = []byte{}
	}
	t.delta(r.endpoint).unpublished += o.Size
	return t.exec("INSERT OR REPLACE INTO staged VALUES (?, ?, ?, ?)", int64(r.Seq), body, metadata, upload)
}

// abandonUploads has what is recorded under a row's lease aborted.
func (t *tx) abandonUploads(r *row) error {
	if !r.uploads {
		return nil
	}
	return t.exec("UPDATE upload SET abandoned = 1 WHERE seq = ?", int64(r.Seq))
}

// freeSuspect tells of work where a suspect leaves its instance, which may now
// take another one that waits.
func (t *tx) freeSuspect(r *row) {
	if r.State == deferd.Running && r.InstanceLosses > 0 {
		t.announceWork(r.Invocation.Endpoint)
	}
}

// Release ends a lease without an outcome.
func (s *Store) Release(ctx context.Context, rel deferd.Release) error {
	return s.write(ctx, func(t *tx) error {
		r, err := t.leased(rel.Lease)
		if err != nil {
			return err
		}
		return t.giveBack(r, rel.Reason, rel.Message, rel.After)
	})
}

// giveBack ends the lease of a running row: it goes back to the queue or ends,
// as the domain decides.
func (t *tx) giveBack(r *row, reason deferd.Reason, message string, after time.Duration) error {
	t.freeSuspect(r)
	gone, err := t.deleting(r.endpoint)
	if err != nil {
		return err
	}
	o, v := r.Return(reason, message, t.now, gone)
	if v.Counts {
		r.Attempts++
	}
	if reason == deferd.ServerDied {
		r.ServerDeaths++
	}
	if reason.LosesInstance() {
		r.InstanceLosses++
	}
	if o != nil {
		return t.decide(r, *o, false)
	}
	if v.Counts {
		r.Reason, r.Message = reason, message
		if message == "" {
			r.Message = deferd.FailureMessage(reason)
		}
	}
	var due any
	if wait := max(after, v.Wait); wait > 0 {
		due = t.now.Add(wait)
		t.announceDue(t.now.Add(wait))
	} else {
		t.announceWork(r.Invocation.Endpoint)
	}
	t.announceDue(r.Accepted.Add(r.TTL))
	t.move(r.endpoint, deferd.Running, deferd.Queued)
	if err := t.abandonUploads(r); err != nil {
		return err
	}
	t.hold(r.session, r.Seq, false)
	t.drop(r)
	return t.exec(`UPDATE invocation SET state = 0, due = ?, suspect = ?, lease = NULL,
		attempts = ?, deaths = ?, losses = ?, reason = ?, message = ? WHERE seq = ?`,
		due, r.InstanceLosses > 0, r.Attempts, r.ServerDeaths, r.InstanceLosses, string(r.Reason), r.Message, int64(r.Seq))
}

// End decides an outcome without a lease.
func (s *Store) End(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) (inv deferd.Invocation, err error) {
	err = s.write(ctx, func(t *tx) error {
		r, err := t.byID(id)
		if err != nil {
			return err
		}
		if r == nil {
			return deferd.Errorf(deferd.NotFound, "there is no invocation %s", id)
		}
		if r.State > deferd.Running {
			inv = r.Invocation
			return deferd.Errorf(deferd.Exists, "invocation %s has already been decided", id)
		}
		if err := t.decide(r, o, false); err != nil {
			return err
		}
		inv = r.Invocation
		return nil
	})
	return inv, err
}
