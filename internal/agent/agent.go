package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// Why an instance must be replaced, as Run returns it.
var (
	ErrNeverReady = errors.New("no healthy ping before the start-up time-out")
	ErrUnhealthy  = errors.New("the instance does not answer pings any more")
	ErrStuck      = errors.New("the instance does not end a request that nobody waits for")
	ErrGone       = errors.New("the instance has ended")
)

// Why an agent ended in order.
var (
	errCancelled  = errors.New("the agent's context ended")
	errDrained    = errors.New("drained")
	errStopped    = errors.New("the server ordered a stop")
	errSuperseded = errors.New("another session speaks for the instance")
)

const (
	// DefaultStopLimit is how long running invocations may finish after the
	// agent was told to stop, where the configuration does not say.
	DefaultStopLimit = 30 * time.Second

	// DefaultSlotWait is how long a request that nobody waits for may go on,
	// where the configuration does not say. A shorter time replaces instances
	// for a model that is merely slow to notice; in a longer one a hung request
	// keeps a slot from others.
	DefaultSlotWait = time.Minute

	// goneWait is how long an instance's exit may take to show, both ways:
	// after a connection broke, and for answers that were sent before it.
	goneWait = 2 * time.Second

	// closeLimit bounds the last words to the server after a stop.
	closeLimit = 5 * time.Second
)

// A Config says which instance an agent works for, and how.
type Config struct {
	Work    deferd.Work
	Session deferd.Session     // endpoint, variant, instance and slots
	Addr    string             // base URL of the container
	Gone    <-chan struct{}    // closed when the instance has ended; nil: that cannot be seen
	Exit    func() deferd.Exit // why it ended; called only after Gone is closed

	StartupTimeout time.Duration // to the first healthy ping; 0: deferd.DefaultStartupTimeout
	StopLimit      time.Duration // for what runs when the context ends; 0: DefaultStopLimit
	SlotWait       time.Duration // for requests that nobody waits for; 0: DefaultSlotWait

	Ready func()          // called once, at the first healthy ping; may be nil
	Serve <-chan struct{} // until it is closed the instance is kept healthy and claims nothing; nil: no wait

	// Log takes the lines of the endpoint's own log, one for each attempt that
	// has ended. A line may quote 1 KB of what the model said. May be nil.
	Log func(inferenceID, line string)

	Logger *slog.Logger // nil: nothing is logged
	Client *http.Client // to the container; nil: one that suits
}

// An Agent works for one model instance. It is run once.
type Agent struct {
	config  Config
	log     *slog.Logger
	client  *http.Client
	buffers sync.Pool // of *[partSize]byte, at most one for each slot in use

	// serving ends, with its cause, when nothing more is to be claimed; abort
	// when what runs is to be given back at once. The first cause stands.
	serving context.Context
	end     context.CancelCauseFunc
	abort   context.Context
	stop    context.CancelCauseFunc

	// Set by Run. The requests to the container live in requests; the calls
	// that tell the server what came of them live in calls. Both outlive the
	// context of Run until the attempts have ended.
	requests context.Context
	cut      context.CancelFunc
	calls    context.Context
	hangUp   context.CancelFunc

	attempts sync.WaitGroup
	changed  chan struct{} // holds a token when slots may have become free
	doubted  chan struct{} // holds a token when suspect was raised

	extending chan struct{} // has room for one: full over an extend and what follows from it

	mu        sync.Mutex // guards all below
	session   deferd.SessionID
	confirmed int64                       // number of the last claim whose answer arrived
	held      map[deferd.LeaseID]*attempt // leases that are not decided yet, as far as we know
	taken     int                         // slots in use
	started   int64                       // attempts so far
	penalties []time.Time                 // until when a slot less is used, each
	suspect   bool                        // to be pinged before the next claim
	claiming  int                         // what the claim in flight asks for
	interrupt context.CancelFunc          // of the claim in flight
}

// New returns an agent that has not begun to work.
func New(c Config) *Agent {
	c.Addr = strings.TrimRight(c.Addr, "/")
	c.Session.Slots = max(c.Session.Slots, 1)
	c.StartupTimeout = cmp.Or(c.StartupTimeout, deferd.DefaultStartupTimeout)
	c.StopLimit = cmp.Or(c.StopLimit, DefaultStopLimit)
	c.SlotWait = cmp.Or(c.SlotWait, DefaultSlotWait)
	a := &Agent{
		config:    c,
		log:       cmp.Or(c.Logger, slog.New(slog.DiscardHandler)).With("instance", c.Session.Instance),
		client:    c.Client,
		buffers:   sync.Pool{New: func() any { return new([partSize]byte) }},
		changed:   make(chan struct{}, 1),
		extending: make(chan struct{}, 1),
		doubted:   make(chan struct{}, 1),
		held:      make(map[deferd.LeaseID]*attempt),
	}
	if a.client == nil {
		a.client = newClient()
	}
	a.serving, a.end = context.WithCancelCause(context.Background())
	a.abort, a.stop = context.WithCancelCause(context.Background())
	return a
}

// Drain makes the agent claim no more and finish what runs; then Run returns.
func (a *Agent) Drain() { a.end(errDrained) }

// Busy is how many slots are in use.
func (a *Agent) Busy() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken
}

// Run works until ctx ends, the server says so, Drain is called or the instance
// fails, and returns when all of the agent's goroutines have ended: nil after an
// orderly end, otherwise why the instance must be replaced. After ctx has ended,
// what runs may finish within StopLimit; the rest is given back.
func (a *Agent) Run(ctx context.Context) error {
	defer a.client.CloseIdleConnections()
	defer context.AfterFunc(ctx, func() { a.end(errCancelled) })()

	// What runs is not to be torn down when ctx ends: finish gives it its time
	// and then ends these.
	base := context.WithoutCancel(ctx)
	a.requests, a.cut = context.WithCancel(base)
	defer a.cut()
	a.calls, a.hangUp = context.WithCancel(base)
	defer a.hangUp()

	var helpers sync.WaitGroup
	defer helpers.Wait()
	quit, dismiss := context.WithCancel(base)
	defer dismiss()
	helpers.Go(func() { a.watchInstance(quit) })
	if !a.awaitReady() {
		return a.outcome()
	}
	helpers.Go(func() { a.keepHealthy() })
	if !a.awaitTurn() || !a.open() {
		return a.outcome()
	}
	helpers.Go(func() { a.keepSession(quit) })
	a.claim()
	a.finish(ctx)
	dismiss() // a session that is being closed is not to be extended
	a.close(base)
	return a.outcome()
}

// awaitTurn waits until the instance is to serve, and reports false where
// serving ends before.
func (a *Agent) awaitTurn() bool {
	if a.config.Serve == nil {
		return true
	}
	select {
	case <-a.config.Serve:
		return true
	case <-a.serving.Done():
		return false
	}
}

// outcome is what Run returns once serving has ended.
func (a *Agent) outcome() error {
	switch err := context.Cause(a.serving); err {
	case errCancelled, errDrained, errStopped, errSuperseded:
		return nil
	default:
		return err
	}
}

// watchInstance ends the work when the instance has gone. Answers that it sent
// before are given a moment to be read.
func (a *Agent) watchInstance(quit context.Context) {
	select {
	case <-a.config.Gone:
		a.end(ErrGone)
	case <-quit.Done():
		return
	}
	if awake(quit, goneWait, nil) {
		a.cut()
	}
}

// finish waits until what runs has ended, and gives back what may not end: at
// once when the server has ordered it, after StopLimit when ctx has ended.
func (a *Agent) finish(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		a.attempts.Wait()
		close(done)
	}()
	var limit <-chan time.Time
	ended := ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-ended:
			ended = nil
			limit = time.After(a.config.StopLimit)
			signal(a.changed)
			continue
		case <-a.changed:
			// Once the instance is to be stopped, nobody waits for requests
			// whose verdict is delivered.
			if ended == nil && len(a.running()) == 0 {
				a.cut()
			}
			continue
		case <-limit:
		case <-a.abort.Done():
		}
		break
	}
	a.giveUp()
	// What is said to the server now, releases and settles that it did not take
	// so far, is the last thing of this agent; the session's end covers the rest.
	defer time.AfterFunc(closeLimit, a.hangUp).Stop()
	<-done
}

// giveUp gives back everything that runs.
func (a *Agent) giveUp() {
	v := verdict{reason: deferd.ServerStopped}
	switch context.Cause(a.abort) {
	case errStopped:
		v.reason = deferd.InstanceEnded
	case errSuperseded:
		v = verdict{} // the leases are void
	}
	for _, t := range a.running() {
		t.decide(v)
	}
	a.cut()
}

// running lists the attempts whose lease is held.
func (a *Agent) running() []*attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*attempt, 0, len(a.held))
	for _, t := range a.held {
		list = append(list, t)
	}
	return list
}

// signal puts a token into a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
