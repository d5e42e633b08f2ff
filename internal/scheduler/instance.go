package scheduler

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// An instance is one model instance, from its start to its end.
type instance struct {
	id       deferd.InstanceID
	endpoint deferd.EndpointID
	fleet    int
	variant  deferd.Variant

	round  int                // how many failures in a row its fleet had when it was started
	trial  time.Time          // the deployment that they were counted for
	cancel context.CancelFunc // ends its agent, which gives back what it holds
	serve  chan struct{}      // closed once it may claim work
	open   func()             // closes serve, once

	running chan struct{} // closed once addr is known
	gone    chan struct{} // closed once it has ended
	addr    string        // set before running is closed
	exit    deferd.Exit   // set before gone is closed

	// Guarded by Scheduler.mu.
	agent   Agent // nil until it runs
	ready   bool
	readyAt time.Time
	ending  bool // it is being drained or stopped
}

// An ending says how an instance ended; the message is empty where it was told
// to end.
type ending struct {
	message   string // for the endpoint's owner
	permanent bool   // another one would end the same way
}

// start adds an instance to a fleet, which has fared like f so far, and lets it
// live in a goroutine of its own.
func (s *Scheduler) start(ctx context.Context, e deferd.Endpoint, number int, f fleet, c deferd.Config, v deferd.Variant, m deferd.Model) {
	ctx, cancel := context.WithCancel(ctx)
	i := &instance{
		id: newInstanceID(), endpoint: e.ID, fleet: number, variant: v, cancel: cancel, round: f.failures, trial: f.trial,
		serve: make(chan struct{}), running: make(chan struct{}), gone: make(chan struct{}),
	}
	i.open = sync.OnceFunc(func() { close(i.serve) })
	if number == e.Fleet {
		i.open()
	}
	s.mu.Lock()
	ep := s.endpoint(e.ID)
	ep.instances = append(ep.instances, i)
	s.instances[i.id] = i
	s.mu.Unlock()
	log := s.log.With("endpoint", e.Name, "variant", v.Name, "instance", i.id)
	log.InfoContext(ctx, "starting an instance", "image", m.Image)
	s.wg.Go(func() {
		defer cancel()
		o := s.live(ctx, i, e, c, m)
		if o.message != "" {
			log.WarnContext(ctx, "an instance has ended", "reason", o.message)
		} else {
			log.InfoContext(ctx, "an instance was stopped")
		}
		s.ended(i, o)
	})
}

func newInstanceID() deferd.InstanceID {
	b := make([]byte, 8)
	rand.Read(b)
	return deferd.InstanceID("i-" + hex.EncodeToString(b))
}

// live takes an instance from start to end.
func (s *Scheduler) live(ctx context.Context, i *instance, e deferd.Endpoint, c deferd.Config, m deferd.Model) ending {
	spec := deferd.InstanceSpec{
		ID: i.id, Account: e.Account, Endpoint: e.Name, Variant: i.variant.Name,
		Image: m.Image, Env: m.Env, Data: m.Data, DownloadTimeout: i.variant.DownloadTimeout,
	}
	if spec.DownloadTimeout == 0 {
		spec.DownloadTimeout = deferd.DefaultDownloadTimeout
	}
	if s.c.Env != nil {
		env, revoke, err := s.c.Env(ctx, m, i.id)
		if ctx.Err() != nil && err != nil {
			return ending{}
		}
		if err != nil {
			s.log.ErrorContext(ctx, "an instance's environment could not be made", "instance", i.id, "err", err)
			return ending{message: "The credentials of the instance could not be made."}
		}
		// Also when the server stops: the keys end with the instance.
		defer func() { revoke(context.WithoutCancel(ctx)) }()
		spec.PlatformEnv = env
	}
	// The agent has drained or given up by then; stopping what has gone by
	// itself, or was never started, does nothing.
	defer s.stopInstance(ctx, i)
	startup := i.startupTimeout()
	listening := startup
	if !spec.Data.Location.IsZero() {
		listening += spec.DownloadTimeout // the model data comes first
	}
	deadline := time.Now().Add(listening)
	if err := s.c.Runtime.Start(ctx, spec); err != nil {
		if ctx.Err() != nil {
			return ending{}
		}
		return ending{message: err.Error(), permanent: deferd.CodeOf(err) == deferd.Invalid}
	}
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	select {
	case <-i.running:
		return s.serveWith(ctx, i, e, c, max(1, min(startup, time.Until(deadline))))
	case <-i.gone:
	case <-late.C:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return ending{}
	}
	return i.endingBeforeReady()
}

// stopInstance stops an instance, and does not give up while the server runs: a
// forgotten one would go on under a name that somebody else may get. What is
// left when the server ends, the runtime's own end takes along.
func (s *Scheduler) stopInstance(ctx context.Context, i *instance) {
	for {
		err := s.c.Runtime.Stop(context.WithoutCancel(ctx), i.id, deferd.StopGrace)
		if err == nil {
			return
		}
		s.log.ErrorContext(ctx, "an instance could not be stopped", "instance", i.id, "err", err)
		select {
		case <-time.After(retryWait):
		case <-s.stopping:
			return
		}
	}
}

// mayServe reports whether the instance was let serve.
func (i *instance) mayServe() bool {
	select {
	case <-i.serve:
		return true
	default:
		return false
	}
}

// startupTimeout is how long an instance has from its start, and its model
// data, to its first healthy ping.
func (i *instance) startupTimeout() time.Duration {
	if i.variant.StartupTimeout == 0 {
		return deferd.DefaultStartupTimeout
	}
	return i.variant.StartupTimeout
}

// serveWith runs the instance's agent, which has the startup time left to find
// it healthy.
func (s *Scheduler) serveWith(ctx context.Context, i *instance, e deferd.Endpoint, c deferd.Config, startup time.Duration) ending {
	slots := deferd.DefaultConcurrency
	if c.Async != nil && c.Async.Concurrency > 0 {
		slots = c.Async.Concurrency
	}
	agent := s.c.NewAgent(Instance{
		Session:        deferd.Session{Endpoint: e.ID, Variant: i.variant.Name, Instance: i.id, Slots: slots},
		Endpoint:       e.Name,
		Addr:           i.addr,
		Gone:           i.gone,
		Exit:           func() deferd.Exit { return i.exit },
		StartupTimeout: startup,
		Ready:          func() { s.becameReady(i) },
		Serve:          i.serve,
	})
	s.mu.Lock()
	i.agent = agent
	drained := i.ending
	s.mu.Unlock()
	if drained {
		agent.Drain()
	}
	err := agent.Run(ctx)
	s.mu.Lock()
	wanted, wasReady := i.ending || ctx.Err() != nil, i.ready
	i.ready = false // it is only being stopped from now on
	s.mu.Unlock()
	switch {
	case wanted:
		return ending{}
	case !wasReady:
		return i.endingBeforeReady()
	case err == nil:
		return ending{message: "the agent has ended"}
	}
	return ending{message: describe(err, i)}
}

func (s *Scheduler) becameReady(i *instance) {
	s.mu.Lock()
	i.ready, i.readyAt = true, time.Now()
	s.mu.Unlock()
	s.queue.add(i.endpoint)
}

// endingBeforeReady is how an instance ended that never served, in SageMaker's
// words, with what is known beyond them.
func (i *instance) endingBeforeReady() ending {
	exit, gone := i.exitIfGone()
	if gone && exit.Permanent && exit.Message != "" {
		return ending{message: exit.Message, permanent: true}
	}
	message := fmt.Sprintf("The primary container for production variant %s did not pass the ping health check. "+
		"Please check CloudWatch logs for this endpoint.", i.variant.Name)
	if gone && exit.Message != "" {
		message += " " + exit.Message
	}
	// It had its whole time to become healthy: another one would not either.
	return ending{message: message, permanent: !gone || exit.Permanent}
}

func (i *instance) exitIfGone() (deferd.Exit, bool) {
	select {
	case <-i.gone:
		return i.exit, true
	default:
		return deferd.Exit{}, false
	}
}

func describe(err error, i *instance) string {
	message := err.Error()
	if exit, gone := i.exitIfGone(); gone && exit.Message != "" {
		message = errors.Join(err, errors.New(exit.Message)).Error()
	}
	return message
}

// happened takes an event of the runtime.
func (i *instance) happened(e deferd.InstanceEvent) {
	switch e.Phase {
	case deferd.PhaseRunning:
		select {
		case <-i.running:
		default:
			i.addr = e.Addr
			close(i.running)
		}
	case deferd.PhaseGone:
		if _, gone := i.exitIfGone(); !gone {
			i.exit = e.Exit
			close(i.gone)
		}
	}
}

// stop ends the instance in order: what runs may finish within the agent's
// limit. The caller holds Scheduler.mu.
func (i *instance) stop() {
	i.ending = true
	i.cancel()
}

// drain ends the instance once nothing runs on it any more, however long that
// takes. The caller holds Scheduler.mu.
func (i *instance) drain() {
	i.ending = true
	if i.agent == nil {
		i.cancel()
		return
	}
	i.agent.Drain()
}

// cost orders instances by what their end would cost. The caller holds
// Scheduler.mu.
func (i *instance) cost() int {
	if !i.ready || i.agent == nil {
		return -1
	}
	return i.agent.Busy()
}
