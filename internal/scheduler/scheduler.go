// Package scheduler makes what is so match what is wished: it starts, replaces
// and stops model instances until every endpoint has as many as it should,
// tells the registry how an endpoint fares, and moves what time makes due.
//
// Nothing here walks all endpoints while they rest. An endpoint is looked at
// when somebody says that it changed, when one of its instances changed, and
// when a wait of its own is over.
package scheduler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// Config is what a Scheduler works with.
type Config struct {
	Store   deferd.Store
	Runtime deferd.Runtime
	Logger  *slog.Logger

	// NewAgent makes the agent of an instance that has just come up.
	NewAgent func(Instance) Agent

	// Env returns what the platform adds to an instance's environment, and a
	// function that takes it back when the instance has gone. Nil: nothing.
	Env func(ctx context.Context, m deferd.Model, id deferd.InstanceID) (env map[string]string, revoke func(context.Context), err error)

	// History is how long ended invocations are kept. Default 7 days.
	History time.Duration

	// ScalingPeriod is how long a data point of scaling is. Default a minute.
	ScalingPeriod time.Duration

	// Metrics are what policies may look at beyond the endpoints' own. Nil:
	// nothing.
	Metrics Metrics

	// MaxInstances is how many instances scaling may give a variant; 0: any
	// number.
	MaxInstances int
}

// An Instance is what an agent is given of the instance that it speaks for.
type Instance struct {
	Session        deferd.Session
	Endpoint       deferd.EndpointName
	Addr           string // base URL of the container contract
	Gone           <-chan struct{}
	Exit           func() deferd.Exit // valid once Gone is closed
	StartupTimeout time.Duration
	Ready          func()          // to be called at the first healthy ping
	Serve          <-chan struct{} // closed once it may claim work; until then it is kept healthy
}

// An Agent speaks for one instance.
type Agent interface {
	// Run returns when the agent has ended: nil in order, or why the instance
	// must be replaced. When ctx ends it finishes or gives back what it holds.
	Run(ctx context.Context) error
	// Drain makes Run end, in order, once nothing runs any more.
	Drain()
	// Busy is how many invocations run.
	Busy() int
}

// A Scheduler looks after the endpoints of an installation.
type Scheduler struct {
	c     Config
	log   *slog.Logger
	queue *queue
	wg    sync.WaitGroup // instances

	scaler *scaler

	stopping chan struct{} // closed when Run is told to end

	mu        sync.Mutex
	endpoints map[deferd.EndpointID]*endpoint
	instances map[deferd.InstanceID]*instance
}

// New makes a Scheduler.
func New(c Config) *Scheduler {
	if c.History == 0 {
		c.History = 7 * 24 * time.Hour
	}
	if c.ScalingPeriod == 0 {
		c.ScalingPeriod = DefaultScalingPeriod
	}
	s := &Scheduler{
		c: c, log: c.Logger, queue: newQueue(), stopping: make(chan struct{}),
		endpoints: map[deferd.EndpointID]*endpoint{},
		instances: map[deferd.InstanceID]*instance{},
	}
	s.scaler = newScaler(s)
	return s
}

// Changed says that an endpoint, or what scales it, is to be looked at. It
// never blocks.
func (s *Scheduler) Changed(id deferd.EndpointID) {
	s.queue.add(id)
	s.scaler.looks.add(id)
}

// Run looks after all endpoints until ctx ends. Then it stops every instance,
// in order: agents first, so that what runs may finish.
func (s *Scheduler) Run(ctx context.Context) error {
	// Instances' ends must still be seen while they are being stopped.
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()

	var loops sync.WaitGroup
	events := s.c.Runtime.Watch(watching)
	loops.Go(func() { s.watch(events) })
	loops.Go(func() { s.sweep(ctx) })
	loops.Go(func() { s.prune(ctx) })
	loops.Go(func() { s.scaler.run(ctx) })

	s.wakeAll(ctx)
	for {
		id, ok := s.queue.next(ctx)
		if !ok {
			break
		}
		if err := s.reconcile(ctx, id); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "an endpoint could not be looked after; trying again", "endpoint", id, "err", err)
			s.queue.addAfter(id, retryWait)
		}
	}
	close(s.stopping)
	s.wg.Wait()
	s.queue.stop()
	stopWatching()
	loops.Wait()
	return nil
}

// retryWait is how long a reconciliation that failed waits for its next try.
const retryWait = time.Second

// wakeAll queues every endpoint that there is, once, at the start.
func (s *Scheduler) wakeAll(ctx context.Context) {
	for {
		ids, err := s.c.Store.LiveEndpoints(ctx)
		if err == nil {
			for _, id := range ids {
				s.Changed(id)
			}
			return
		}
		s.log.ErrorContext(ctx, "the endpoints could not be read; trying again", "err", err)
		select {
		case <-time.After(retryWait):
		case <-ctx.Done():
			return
		}
	}
}

// watch hands the runtime's events to the instances.
func (s *Scheduler) watch(events <-chan deferd.InstanceEvent) {
	for e := range events {
		s.mu.Lock()
		i := s.instances[e.ID]
		s.mu.Unlock()
		if i != nil {
			i.happened(e)
		}
	}
}

// InstanceCounts are a number of instances.
type InstanceCounts struct {
	Ready    int // have answered a ping and serve
	Starting int
	Busy     int // invocations that run on them
}

// Instances counts the instances of an endpoint's fleet by variant.
func (s *Scheduler) Instances(id deferd.EndpointID, fleet int) map[deferd.VariantName]InstanceCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[deferd.VariantName]InstanceCounts{}
	ep := s.endpoints[id]
	if ep == nil {
		return counts
	}
	for _, i := range ep.instances {
		if i.fleet == fleet {
			c := counts[i.variant.Name]
			c.add(i)
			counts[i.variant.Name] = c
		}
	}
	return counts
}

// AllInstances counts the instances of all fleets of an endpoint together.
func (s *Scheduler) AllInstances(id deferd.EndpointID) (c InstanceCounts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ep := s.endpoints[id]; ep != nil {
		for _, i := range ep.instances {
			c.add(i)
		}
	}
	return c
}

// add counts an instance. The caller holds Scheduler.mu.
func (c *InstanceCounts) add(i *instance) {
	switch {
	case i.ready && !i.ending:
		c.Ready++
	case !i.ending:
		c.Starting++
	}
	if i.agent != nil {
		c.Busy += i.agent.Busy()
	}
}

// Endpoints are the IDs of the endpoints that have instances.
func (s *Scheduler) Endpoints() []deferd.EndpointID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]deferd.EndpointID, 0, len(s.endpoints))
	for id := range s.endpoints {
		ids = append(ids, id)
	}
	return ids
}
