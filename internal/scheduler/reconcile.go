package scheduler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deferd/deferd"
)

// An endpoint is what the scheduler knows of an endpoint that has, or had,
// instances. All fields are guarded by Scheduler.mu.
type endpoint struct {
	id        deferd.EndpointID
	instances []*instance
	fleets    map[int]*fleet // by number; those that have failures
}

// A fleet is how the instances of one fleet have fared. All fields are guarded
// by Scheduler.mu.
type fleet struct {
	failures int       // instances in a row that ended before they were ready long enough
	restart  time.Time // not before: back-off after a failure
	failed   string    // why it cannot come into service; "" while it may
	trial    time.Time // start of the deployment that the failures are counted for
}

// Instances that end in a row before they were ready: a new endpoint is given
// up after the third, one that has served backs off up to a minute.
const (
	maxFirstFailures = 3
	firstBackoff     = time.Second
	maxBackoff       = time.Minute
	// steady is how long an instance must have been ready for its end not to
	// count as another failure in a row.
	steady = time.Minute
)

// reconcile brings one endpoint a step nearer to its wish.
func (s *Scheduler) reconcile(ctx context.Context, id deferd.EndpointID) error {
	e, err := s.c.Store.EndpointByID(ctx, id)
	if err != nil {
		if deferd.CodeOf(err) == deferd.NotFound {
			if s.stopAll(id) == 0 {
				s.mu.Lock()
				delete(s.endpoints, id)
				s.mu.Unlock()
			}
			return nil
		}
		return err
	}
	switch e.Status {
	case deferd.EndpointDeleting:
		return s.remove(ctx, e)
	case deferd.EndpointFailed:
		s.stopAll(id)
		return nil
	}
	if e.Deployment != nil {
		return s.deploy(ctx, e)
	}
	s.drainOthers(id, e.Fleet)
	s.open(id, e.Fleet)
	if reason := s.failure(id, e.Fleet); reason != "" && e.Status == deferd.EndpointCreating {
		return s.fail(ctx, e, reason)
	}
	ready, err := s.matchFleet(ctx, e, e.Fleet, e.ConfigID, e.Variants)
	if err != nil {
		return err
	}
	if e.Status == deferd.EndpointCreating && ready {
		return s.serve(ctx, e)
	}
	return nil
}

// serve takes an endpoint whose instances are all ready into service.
func (s *Scheduler) serve(ctx context.Context, e deferd.Endpoint) error {
	_, err := s.c.Store.ChangeEndpoint(ctx, e.ID, func(e *deferd.Endpoint) error {
		if e.Status != deferd.EndpointCreating {
			return errUnchanged
		}
		e.Status = deferd.EndpointInService
		return nil
	})
	if err == nil {
		s.log.InfoContext(ctx, "endpoint is in service", "endpoint", e.Name)
		s.scaler.looks.add(e.ID)
	}
	return ignoreUnchanged(err)
}

// fail gives a new endpoint up.
func (s *Scheduler) fail(ctx context.Context, e deferd.Endpoint, reason string) error {
	_, err := s.c.Store.ChangeEndpoint(ctx, e.ID, func(e *deferd.Endpoint) error {
		if e.Status != deferd.EndpointCreating {
			return errUnchanged
		}
		e.Status, e.FailureReason = deferd.EndpointFailed, reason
		return nil
	})
	if err == nil {
		s.log.InfoContext(ctx, "endpoint has failed", "endpoint", e.Name, "reason", reason)
		s.stopAll(e.ID)
	}
	return ignoreUnchanged(err)
}

var errUnchanged = errors.New("the endpoint has changed meanwhile")

func ignoreUnchanged(err error) error {
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// remove ends an endpoint that is being deleted: its instances first, then,
// when nothing is queued any more, its name. Whatever ends an instance or the
// queue brings it here again.
func (s *Scheduler) remove(ctx context.Context, e deferd.Endpoint) error {
	if err := s.scaler.deregister(ctx, e); err != nil {
		return err
	}
	if s.stopAll(e.ID) > 0 {
		return nil
	}
	err := s.c.Store.RemoveEndpoint(ctx, e.ID)
	if err != nil && deferd.CodeOf(err) == deferd.Busy {
		// The sweeper is emptying the queue.
		s.queue.addAfter(e.ID, 100*time.Millisecond)
		return nil
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.endpoints, e.ID)
	s.mu.Unlock()
	s.log.InfoContext(ctx, "endpoint is deleted", "endpoint", e.Name)
	return nil
}

// dispensable picks the n instances whose end costs least: those that do not
// serve yet, then the idlest.
func dispensable(living []*instance, n int) []*instance {
	if n <= 0 {
		return nil
	}
	sorted := slices.Clone(living)
	slices.SortStableFunc(sorted, func(a, b *instance) int { return a.cost() - b.cost() })
	return sorted[:n]
}

// endpoint returns the state of an endpoint, made where there is none. The
// caller holds mu.
func (s *Scheduler) endpoint(id deferd.EndpointID) *endpoint {
	ep := s.endpoints[id]
	if ep == nil {
		ep = &endpoint{id: id, fleets: map[int]*fleet{}}
		s.endpoints[id] = ep
	}
	return ep
}

// stopAll tells all instances of an endpoint to stop, and reports how many
// there still are.
func (s *Scheduler) stopAll(id deferd.EndpointID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ep := s.endpoints[id]
	if ep == nil {
		return 0
	}
	for _, i := range ep.instances {
		i.stop()
	}
	return len(ep.instances)
}

// maxReason is the longest FailureReason that AWS's model has, here in bytes.
const maxReason = 1024

// clip shortens text to n bytes without breaking a character.
func clip(text string, n int) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) <= n {
		return text
	}
	for n -= len("…"); n > 0 && !utf8.RuneStart(text[n]); n-- {
	}
	return text[:n] + "…"
}
