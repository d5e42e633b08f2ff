package scheduler

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
)

func boundsCause(t deferd.ScalableTarget) string {
	return fmt.Sprintf("the capacity was outside of minimum capacity %d and maximum capacity %d", t.Min, t.Max)
}

// apply has the endpoint have another number of instances, and writes down why.
func (s *scaler) apply(ctx context.Context, e deferd.Endpoint, t target, known *scaledTarget, d deferd.Scaling, current int, now time.Time) error {
	_, err := s.c.Store.ChangeEndpoint(ctx, e.ID, func(e *deferd.Endpoint) error {
		return redeploy(e, t.Resource.Variant, current, d.To, now)
	})
	s.changed(e.ID) // also where nobody knows whether that was stored
	if err != nil {
		if err = ignoreUnchanged(err); err == nil {
			s.looks.addAfter(e.ID, retryWait)
		}
		return err
	}
	s.log.InfoContext(ctx, "scaling", "endpoint", e.Name, "variant", t.Resource.Variant, "from", current, "to", d.To, "reason", d.Cause)
	known.changed = now
	if d.To > current {
		known.out = now
	}
	if err := s.end(ctx, known, deferd.ActivityOverridden, "", now); err != nil {
		s.log.WarnContext(ctx, "a scaling activity could not be written down", "endpoint", e.Name, "err", err)
	}
	known.pending = s.begin(ctx, t.ScalableTarget, d, now)
	return s.note(ctx, t, known, d, current, now)
}

// redeploy has a variant have n instances instead of current ones, in the fleet
// that serves.
func redeploy(e *deferd.Endpoint, v deferd.VariantName, current, n int, now time.Time) error {
	variants := slices.Clone(desired(e))
	i := slices.IndexFunc(variants, func(o deferd.EndpointVariant) bool { return o.Name == v })
	if i < 0 || variants[i].Desired != current {
		return errUnchanged
	}
	variants[i].Desired = n
	switch {
	case e.Status == deferd.EndpointInService:
		e.Deploy(deferd.Deployment{ConfigID: e.ConfigID, Variants: variants, Started: now}, false)
	case e.Status == deferd.EndpointUpdating && e.Deployment != nil && e.Deployment.Fleet == e.Fleet:
		e.Deployment.Variants = variants
	default:
		return errUnchanged
	}
	return nil
}

// settle ends the activity in progress of a target once the endpoint is what it
// was to become, or has given that up.
func (s *scaler) settle(ctx context.Context, e deferd.Endpoint, known *scaledTarget, current int, now time.Time) error {
	if known.pending == nil || e.Deployment != nil {
		return nil
	}
	switch {
	case current == known.pending.To:
		known.failures, known.retry = 0, time.Time{}
		return s.end(ctx, known, deferd.ActivitySuccessful, "", now)
	case e.FailureReason != "":
		if err := s.end(ctx, known, deferd.ActivityFailed, e.FailureReason, now); err != nil {
			return err
		}
		known.retry = now.Add(min(maxScaleRetry, firstScaleRetry<<min(known.failures, 10)))
		known.failures++
		return nil
	}
	return s.end(ctx, known, deferd.ActivityOverridden, "", now)
}

// begin writes down that an activity has begun. Activities are for people to
// read: what cannot be written is not a reason to scale otherwise, and is
// written when the activity ends.
func (s *scaler) begin(ctx context.Context, t deferd.ScalableTarget, d deferd.Scaling, now time.Time) *deferd.ScalingActivity {
	a := &deferd.ScalingActivity{
		ID: uuid.NewString(), Account: t.Account, Resource: t.Resource, To: d.To, Cause: d.Cause,
		Started: now, Status: deferd.ActivityInProgress,
	}
	if err := s.write(ctx, a); err != nil {
		s.log.WarnContext(ctx, "a scaling activity could not be written down", "endpoint", a.Resource.Endpoint, "err", err)
	}
	s.pruneActivities(ctx, t, now)
	return a
}

// end writes down how the activity in progress of a target has ended.
func (s *scaler) end(ctx context.Context, known *scaledTarget, status deferd.ActivityStatus, message string, now time.Time) error {
	a := known.pending
	if a == nil {
		return nil
	}
	a.Status, a.Message, a.Ended = status, message, now
	if err := s.write(ctx, a); err != nil {
		return err
	}
	known.pending = nil
	return nil
}

// write stores an activity, which nobody else changes: another version than the
// one that is known is an earlier try of our own.
func (s *scaler) write(ctx context.Context, a *deferd.ScalingActivity) error {
	for {
		d, err := a.Document()
		if err != nil {
			return err
		}
		put, err := s.c.Store.PutDocument(ctx, d)
		if err == nil {
			a.Version = put.Version
			return nil
		}
		switch deferd.CodeOf(err) {
		case deferd.NotFound: // deleted with its endpoint
			return nil
		case deferd.Exists, deferd.Changed:
		default:
			return fmt.Errorf("write down a scaling activity: %w", err)
		}
		if d, err = s.c.Store.Document(ctx, d.Kind, d.Account, d.Name); err != nil {
			return fmt.Errorf("write down a scaling activity: %w", err)
		}
		a.Version = d.Version
	}
}

// activitiesKept is how long activities are listed, as on AWS.
const activitiesKept = 6 * 7 * 24 * time.Hour

// pruneActivities deletes activities that are old. There are few at a time.
func (s *scaler) pruneActivities(ctx context.Context, t deferd.ScalableTarget, now time.Time) {
	prefix := deferd.ScalingName(t.Resource, "")
	after := prefix + deferd.ActivityName(now.Add(-activitiesKept))
	old, err := s.c.Store.Documents(ctx, deferd.KindScalingActivity, t.Account, prefix, after, 10)
	for _, d := range old {
		if err == nil {
			err = s.c.Store.DeleteDocument(ctx, d.Kind, d.Account, d.Name)
		}
	}
	if err != nil {
		s.log.WarnContext(ctx, "old scaling activities could not be deleted", "endpoint", t.Resource.Endpoint, "err", err)
	}
}

// deregister deletes everything about the scaling of an endpoint that is being
// deleted: another one may get its name.
func (s *scaler) deregister(ctx context.Context, e deferd.Endpoint) error {
	prefix := deferd.VariantRef{Endpoint: e.Name}.String()
	for _, kind := range []deferd.DocumentKind{deferd.KindScalingPolicy, deferd.KindScheduledAction, deferd.KindScalingActivity, deferd.KindTarget} {
		for d, err := range documents(ctx, s.c.Store, kind, e.Account, prefix) {
			if err != nil {
				return err
			}
			if err := deferd.DeleteScaling(ctx, s.c.Store, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// documents reads all documents whose names begin with prefix.
func documents(ctx context.Context, store deferd.Documents, k deferd.DocumentKind, a deferd.AccountID, prefix string) iter.Seq2[deferd.Document, error] {
	const page = 100
	return func(yield func(deferd.Document, error) bool) {
		for after := ""; ; {
			docs, err := store.Documents(ctx, k, a, prefix, after, page)
			if err != nil {
				yield(deferd.Document{}, fmt.Errorf("read the documents %s below %s: %w", k, prefix, err))
				return
			}
			for _, d := range docs {
				if !yield(d, nil) {
					return
				}
			}
			if len(docs) < page {
				return
			}
			after = docs[len(docs)-1].Name
		}
	}
}
