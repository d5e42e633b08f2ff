package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deferd/deferd"
)

// matchFleet brings a fleet's instances to their number in each variant, and
// reports whether all of them are ready.
func (s *Scheduler) matchFleet(ctx context.Context, e deferd.Endpoint, number int, id deferd.ConfigID, wish []deferd.EndpointVariant) (ready bool, err error) {
	config, err := s.c.Store.ConfigByID(ctx, id)
	if err != nil {
		return false, err
	}
	ready = true
	for _, v := range wish {
		variant := config.Variant(v.Name)
		if variant == nil {
			continue
		}
		if err := s.match(ctx, e, number, config, *variant, v.Desired); err != nil {
			return false, err
		}
		ready = ready && s.Instances(e.ID, number)[v.Name].Ready >= v.Desired
	}
	return ready, nil
}

// match starts or drains instances of a variant of a fleet until there are as
// many as desired.
func (s *Scheduler) match(ctx context.Context, e deferd.Endpoint, number int, c deferd.Config, v deferd.Variant, desired int) error {
	s.mu.Lock()
	ep := s.endpoint(e.ID)
	var living []*instance
	for _, i := range ep.instances {
		if i.fleet == number && i.variant.Name == v.Name && !i.ending {
			living = append(living, i)
		}
	}
	for _, i := range dispensable(living, len(living)-desired) {
		i.drain()
	}
	f := *ep.fleet(number)
	s.mu.Unlock()
	missing := desired - len(living)
	if missing <= 0 {
		return nil
	}
	if wait := time.Until(f.restart); wait > 0 {
		s.queue.addAfter(e.ID, wait)
		return nil
	}
	m, err := s.c.Store.ModelByID(ctx, v.ModelID)
	if err != nil {
		return err
	}
	for range missing {
		// All of one round, even if the first has failed when the last is started.
		s.start(ctx, e, number, f, c, v, m)
	}
	return nil
}

// open lets the instances of a fleet serve.
func (s *Scheduler) open(id deferd.EndpointID, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ep := s.endpoints[id]; ep != nil {
		for _, i := range ep.instances {
			if i.fleet == number {
				i.open()
			}
		}
	}
}

// drainOthers ends the instances of an endpoint that are of none of these
// fleets, each when it has finished its work, and forgets how they fared.
func (s *Scheduler) drainOthers(id deferd.EndpointID, numbers ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ep := s.endpoints[id]
	if ep == nil {
		return
	}
	for _, i := range ep.instances {
		if !i.ending && !slices.Contains(numbers, i.fleet) {
			i.drain()
		}
	}
	for number := range ep.fleets {
		if !slices.Contains(numbers, number) {
			delete(ep.fleets, number)
		}
	}
}

// fleet returns how a fleet has fared, made where nothing is known. The caller
// holds Scheduler.mu.
func (ep *endpoint) fleet(number int) *fleet {
	f := ep.fleets[number]
	if f == nil {
		f = &fleet{}
		ep.fleets[number] = f
	}
	return f
}

// failure says why a fleet cannot come into service; "" while it may.
func (s *Scheduler) failure(id deferd.EndpointID, number int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ep := s.endpoints[id]; ep != nil {
		return ep.fleet(number).failed
	}
	return ""
}

// try begins to count a fleet's failures for a deployment that started then,
// once: what was before does not speak against it.
func (s *Scheduler) try(id deferd.EndpointID, number int, started time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.endpoint(id).fleet(number)
	if !f.trial.Equal(started) {
		*f = fleet{trial: started}
	}
}

// ended takes an instance out, notes how it ended, and has its endpoint looked
// at. Of instances that were started together, the first failure counts: they
// tell of one cause.
func (s *Scheduler) ended(i *instance, o ending) {
	s.mu.Lock()
	ep := s.endpoint(i.endpoint)
	ep.instances = slices.DeleteFunc(ep.instances, func(j *instance) bool { return j == i })
	delete(s.instances, i.id)
	f := ep.fleet(i.fleet)
	served := !i.readyAt.IsZero()
	if served && time.Since(i.readyAt) >= steady {
		f.failures, i.round = 0, 0
	}
	if o.message != "" && !i.ending && f.trial.Equal(i.trial) {
		if i.round == f.failures {
			f.restart = time.Now().Add(min(maxBackoff, firstBackoff<<min(f.failures, 10)))
			f.failures++
		}
		// What fails before it was given any work would fail with it, too.
		if (!served || !i.mayServe()) && (o.permanent || f.failures >= maxFirstFailures) {
			f.failed = clip(failedBeforeServing(i, o), maxReason)
		}
	}
	s.dropIdle(ep)
	s.mu.Unlock()
	s.queue.add(i.endpoint)
}

// failedBeforeServing says, for the endpoint's owner, why an instance ended that
// was never given work.
func failedBeforeServing(i *instance, o ending) string {
	if i.readyAt.IsZero() {
		return o.message
	}
	return fmt.Sprintf("An instance of production variant %s passed the ping health check and ended before it served: %s", i.variant.Name, o.message)
}

// dropIdle forgets an endpoint of which there is nothing to remember. The
// caller holds mu.
func (s *Scheduler) dropIdle(ep *endpoint) {
	for _, f := range ep.fleets {
		if f.failures > 0 {
			return
		}
	}
	if len(ep.instances) == 0 {
		delete(s.endpoints, ep.id)
	}
}
