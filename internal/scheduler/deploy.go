package scheduler

import (
	"context"
	"fmt"

	"github.com/deferd/deferd"
)

// deploy brings an endpoint a step nearer to what it is to become. The fleet
// that serves goes on until all of what is to come is ready. Then the new fleet
// takes the queue over, and the old one finishes what it runs. A deployment
// whose instances do not come up is rolled back.
func (s *Scheduler) deploy(ctx context.Context, e deferd.Endpoint) error {
	d := e.Deployment
	s.try(e.ID, d.Fleet, d.Started)
	s.drainOthers(e.ID, e.Fleet, d.Fleet)
	s.open(e.ID, e.Fleet)
	if reason := s.failure(e.ID, d.Fleet); reason != "" {
		return s.rollBack(ctx, e, reason)
	}
	if d.Fleet != e.Fleet {
		if _, err := s.matchFleet(ctx, e, e.Fleet, e.ConfigID, e.Variants); err != nil {
			return err
		}
	}
	ready, err := s.matchFleet(ctx, e, d.Fleet, d.ConfigID, d.Variants)
	if err != nil {
		return err
	}
	if ready {
		return s.finishDeployment(ctx, e, "endpoint is updated", (*deferd.Endpoint).Deployed)
	}
	if d.Limit == 0 {
		return nil
	}
	left := d.Limit - s.c.Store.Now().Sub(d.Started)
	if left <= 0 {
		return s.rollBack(ctx, e, fmt.Sprintf("The deployment did not finish within %d seconds.", int(d.Limit.Seconds())))
	}
	s.queue.addAfter(e.ID, left)
	return nil
}

// rollBack gives a deployment up. What it has started is drained when the
// endpoint is looked at again.
func (s *Scheduler) rollBack(ctx context.Context, e deferd.Endpoint, reason string) error {
	return s.finishDeployment(ctx, e, "an update is rolled back", func(e *deferd.Endpoint) { e.RollBack(reason) })
}

// finishDeployment ends the deployment of e, unless it is not under way any
// more, and has the endpoint looked at as it is then.
func (s *Scheduler) finishDeployment(ctx context.Context, e deferd.Endpoint, event string, finish func(*deferd.Endpoint)) error {
	after, err := s.c.Store.ChangeEndpoint(ctx, e.ID, func(now *deferd.Endpoint) error {
		if now.Deployment == nil || now.Deployment.Fleet != e.Deployment.Fleet || !now.Deployment.Started.Equal(e.Deployment.Started) {
			return errUnchanged
		}
		finish(now)
		return nil
	})
	if err == nil {
		s.log.InfoContext(ctx, event, "endpoint", e.Name, "reason", after.FailureReason)
		s.Changed(e.ID)
	}
	return ignoreUnchanged(err)
}
