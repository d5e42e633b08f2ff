package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deferd/deferd"
)

// longestWait is how long the time of a scheduled action is waited for at most
// before the clock is looked at: timers stand still while the machine sleeps.
const longestWait = 5 * time.Minute

// A dueAction is an action and when it is due.
type dueAction struct {
	deferd.ScheduledAction
	due time.Time
}

// carryOut gives a target the bounds that its scheduled actions have made due,
// says by which of them, and has the endpoint looked at when the next one is.
func (s *scaler) carryOut(ctx context.Context, e deferd.Endpoint, t deferd.ScalableTarget, now time.Time) (after deferd.ScalableTarget, cause string, err error) {
	actions, err := s.actions(ctx, t)
	if err != nil {
		return t, "", err
	}
	for _, a := range actions {
		if a.due.After(now) {
			s.looks.addAfter(e.ID, min(longestWait, a.due.Sub(now)))
			continue
		}
		if !t.Suspended.Scheduled {
			cause = fmt.Sprintf("scheduled action name %s was triggered", a.Name)
			if t, err = s.rebound(ctx, t, a.ScheduledAction); err != nil {
				return t, "", err
			}
			s.log.InfoContext(ctx, "a scheduled action", "endpoint", e.Name, "variant", t.Resource.Variant, "action", a.Name, "min", t.Min, "max", t.Max)
		}
		if err := s.carriedOut(ctx, a.ScheduledAction, now); err != nil {
			return t, "", err
		}
		s.looks.addAfter(e.ID, time.Second) // for when it is due next
	}
	return t, cause, nil
}

// actions are a target's actions that are still to come, or due, in the order in
// which they are.
func (s *scaler) actions(ctx context.Context, t deferd.ScalableTarget) ([]dueAction, error) {
	var actions []dueAction
	for d, err := range documents(ctx, s.c.Store, deferd.KindScheduledAction, t.Account, deferd.ScalingName(t.Resource, "")) {
		if err != nil {
			return nil, err
		}
		a, err := deferd.ReadScheduledAction(d)
		if err != nil {
			return nil, err
		}
		due, err := a.Due()
		if err != nil {
			return nil, fmt.Errorf("read the schedule of %s: %w", d.Name, err)
		}
		if !due.IsZero() {
			actions = append(actions, dueAction{a, due})
		}
	}
	slices.SortStableFunc(actions, func(a, b dueAction) int { return a.due.Compare(b.due) })
	return actions, nil
}

// rebound stores a target with an action's bounds.
func (s *scaler) rebound(ctx context.Context, t deferd.ScalableTarget, a deferd.ScheduledAction) (deferd.ScalableTarget, error) {
	a.Apply(&t)
	d, err := t.Document()
	if err != nil {
		return t, err
	}
	if d, err = s.c.Store.PutDocument(ctx, d); err != nil {
		return t, err // where somebody else was faster, it is looked at again
	}
	t.Version = d.Version
	return t, nil
}

// carriedOut notes that an action was carried out. One that was replaced
// meanwhile is looked at again.
func (s *scaler) carriedOut(ctx context.Context, a deferd.ScheduledAction, now time.Time) error {
	a.Last = now
	d, err := a.Document()
	if err == nil {
		_, err = s.c.Store.PutDocument(ctx, d)
	}
	return err
}
