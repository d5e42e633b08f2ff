package scheduler

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sqlite"
	"github.com/deferd/deferd/internal/storetest"
)

// A fixture is a Scheduler over a real store, a runtime without instances and
// agents without models, all in a bubble of fake time.
type fixture struct {
	*Scheduler
	store   *countingStore
	runtime *fakeRuntime
	slept   *atomic.Int64 // how long the machine has slept: the store's clock counts it, timers do not
	stop    func()        // ends Run and waits for it
}

// inBubble runs a test with a Scheduler that is running. Change adjusts its
// configuration before.
func inBubble(t *testing.T, change func(*Config), test func(t *testing.T, x *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		s, err := sqlite.Open(filepath.Join(t.TempDir(), "deferd.db"), sqlite.Options{Now: func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }})
		must(t, err)
		defer func() { must(t, s.Close()) }()
		x := &fixture{store: &countingStore{Store: storetest.Serial(s)}, runtime: newFakeRuntime(), slept: &slept}
		c := Config{Store: x.store, Runtime: x.runtime, Logger: slog.New(slog.DiscardHandler), NewAgent: x.runtime.newAgent}
		if change != nil {
			change(&c)
		}
		x.Scheduler = New(c)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- x.Run(ctx) }()
		x.stop = sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run returned %v", err)
			}
		})
		defer x.stop()
		must(t, x.store.CreateModel(t.Context(), deferd.Model{ID: "m", Account: "a", Name: "m", Image: "image", Created: time.Now()}))
		must(t, x.store.CreateConfig(t.Context(), deferd.Config{
			ID: "c", Account: "a", Name: "c", Created: time.Now(), Async: &deferd.AsyncConfig{Concurrency: 7},
			Variants: []deferd.Variant{{Name: "v", ModelID: "m", StartupTimeout: 5 * time.Minute}},
		}))
		must(t, x.store.CreateConfig(t.Context(), deferd.Config{
			ID: "next", Account: "a", Name: "next", Created: time.Now(), Async: &deferd.AsyncConfig{Concurrency: 9},
			Variants: []deferd.Variant{{Name: "w", ModelID: "m", StartupTimeout: 5 * time.Minute}},
		}))
		test(t, x)
	})
}

// nextLife runs another scheduler on the same store, after x was stopped.
func (x *fixture) nextLife(t *testing.T) (s *Scheduler, runtime *fakeRuntime, stop func()) {
	t.Helper()
	runtime = newFakeRuntime()
	s = New(Config{Store: x.store, Runtime: runtime, Logger: x.log, NewAgent: runtime.newAgent})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, runtime, func() {
		cancel()
		must(t, <-done)
	}
}

// create makes an endpoint that wishes for n instances.
func (x *fixture) create(t *testing.T, id deferd.EndpointID, n int) {
	t.Helper()
	must(t, x.store.CreateEndpoint(t.Context(), deferd.Endpoint{
		ID: id, Account: "a", Name: "name", ConfigID: "c", Status: deferd.EndpointCreating, Created: time.Now(), Modified: time.Now(),
		Variants: []deferd.EndpointVariant{{Name: "v", Desired: n, Weight: 1}},
	}))
	x.Changed(id)
	synctest.Wait()
}

// serving makes an endpoint whose n instances are ready.
func (x *fixture) serving(t *testing.T, n int) []*fakeAgent {
	t.Helper()
	x.create(t, "e", n)
	x.wantStatus(t, "e", deferd.EndpointInService)
	return x.runtime.agentList()
}

func (x *fixture) change(t *testing.T, id deferd.EndpointID, f func(*deferd.Endpoint)) {
	t.Helper()
	_, err := x.store.ChangeEndpoint(t.Context(), id, func(e *deferd.Endpoint) error { f(e); return nil })
	must(t, err)
	x.Changed(id)
	synctest.Wait()
}

func (x *fixture) wantStatus(t *testing.T, id deferd.EndpointID, want deferd.EndpointStatus) deferd.Endpoint {
	t.Helper()
	e, err := x.store.EndpointByID(t.Context(), id)
	must(t, err)
	if e.Status != want {
		t.Errorf("the endpoint is %s (%s), want %s", e.Status, e.FailureReason, want)
	}
	return e
}

func (x *fixture) accept(t *testing.T, id deferd.InvocationID, ttl time.Duration) {
	t.Helper()
	_, _, err := x.store.Accept(t.Context(), deferd.NewInvocation{
		ID: id, Endpoint: "e", Config: "c", Input: deferd.Location{Bucket: "b", Key: "k"}, TTL: ttl,
	})
	must(t, err)
}

func (x *fixture) state(t *testing.T, id deferd.InvocationID) deferd.State {
	t.Helper()
	inv, err := x.store.Invocation(t.Context(), "e", string(id))
	must(t, err)
	return inv.State
}

const (
	firstID  = deferd.InvocationID("01900000-0000-7000-8000-000000000001")
	secondID = deferd.InvocationID("01900000-0000-7000-8000-000000000002")
)

// pass lets time pass, and everything that comes with it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// countingStore counts sweeps, and reads of endpoints. One of the calls that
// scaling makes can fail.
type countingStore struct {
	deferd.Store
	sweeps atomic.Int64
	reads  atomic.Int64

	left atomic.Int64 // calls until one fails; negative: none does
	done atomic.Bool  // the call that fails was made, and only its answer is lost
}

var errStoreFails = &deferd.Error{Code: deferd.Unavailable, Msg: "the store does not answer"}

// call makes a call, unless it is the one that fails.
func call[T any](s *countingStore, make func() (T, error)) (v T, err error) {
	if s.left.Add(-1) != 0 {
		return make()
	}
	if s.done.Load() {
		make()
	}
	return v, errStoreFails
}

func (s *countingStore) EndpointByID(ctx context.Context, id deferd.EndpointID) (deferd.Endpoint, error) {
	s.reads.Add(1)
	return call(s, func() (deferd.Endpoint, error) { return s.Store.EndpointByID(ctx, id) })
}

func (s *countingStore) ChangeEndpoint(ctx context.Context, id deferd.EndpointID, f func(*deferd.Endpoint) error) (deferd.Endpoint, error) {
	return call(s, func() (deferd.Endpoint, error) { return s.Store.ChangeEndpoint(ctx, id, f) })
}

func (s *countingStore) Counts(ctx context.Context, id deferd.EndpointID) (deferd.Counts, error) {
	return call(s, func() (deferd.Counts, error) { return s.Store.Counts(ctx, id) })
}

func (s *countingStore) OldestQueued(ctx context.Context, id deferd.EndpointID) (time.Time, error) {
	return call(s, func() (time.Time, error) { return s.Store.OldestQueued(ctx, id) })
}

func (s *countingStore) Documents(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, prefix, after string, n int) ([]deferd.Document, error) {
	return call(s, func() ([]deferd.Document, error) { return s.Store.Documents(ctx, k, a, prefix, after, n) })
}

func (s *countingStore) PutDocument(ctx context.Context, d deferd.Document) (deferd.Document, error) {
	return call(s, func() (deferd.Document, error) { return s.Store.PutDocument(ctx, d) })
}

func (s *countingStore) Sweep(ctx context.Context, n int) (time.Time, error) {
	s.sweeps.Add(1)
	return s.Store.Sweep(ctx, n)
}

// fakeRuntime starts instances that are nothing but a note. What becomes of
// them is up to the test.
type fakeRuntime struct {
	mu      sync.Mutex
	started []start
	stopped []deferd.InstanceID
	agents  []*fakeAgent
	events  chan deferd.InstanceEvent
	closed  bool

	onStart func(deferd.InstanceSpec) error // nil: the instance listens at once
	onAgent func(*fakeAgent)                // nil: the instance is ready at once
	onStop  func() error                    // an error: the instance stays
}

// A start is an instance that was started.
type start struct {
	deferd.InstanceSpec
	at time.Time
}

func newFakeRuntime() *fakeRuntime {
	return &fakeRuntime{events: make(chan deferd.InstanceEvent, 10_000)}
}

func (r *fakeRuntime) Start(_ context.Context, spec deferd.InstanceSpec) error {
	r.mu.Lock()
	r.started = append(r.started, start{spec, time.Now()})
	onStart := r.onStart
	r.mu.Unlock()
	if onStart != nil {
		return onStart(spec)
	}
	r.listens(spec.ID)
	return nil
}

func (r *fakeRuntime) Stop(_ context.Context, id deferd.InstanceID, _ time.Duration) error {
	r.mu.Lock()
	onStop := r.onStop
	r.mu.Unlock()
	if onStop != nil {
		if err := onStop(); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.stopped = append(r.stopped, id)
	r.mu.Unlock()
	r.goes(id, deferd.Exit{})
	return nil
}

func (r *fakeRuntime) Watch(ctx context.Context) <-chan deferd.InstanceEvent {
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closed = true
		close(r.events)
	})
	return r.events
}

func (r *fakeRuntime) send(e deferd.InstanceEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.events <- e
	}
}

func (r *fakeRuntime) listens(id deferd.InstanceID) {
	r.send(deferd.InstanceEvent{ID: id, Phase: deferd.PhaseRunning, Addr: "http://" + string(id)})
}

func (r *fakeRuntime) goes(id deferd.InstanceID, exit deferd.Exit) {
	r.send(deferd.InstanceEvent{ID: id, Phase: deferd.PhaseGone, Exit: exit})
}

func (r *fakeRuntime) Logs(context.Context, deferd.InstanceID, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("")), nil
}

func (r *fakeRuntime) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (r *fakeRuntime) starts() []start {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.started)
}

func (r *fakeRuntime) stops() []deferd.InstanceID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stopped)
}

func (r *fakeRuntime) agentList() []*fakeAgent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.agents)
}

func (r *fakeRuntime) newAgent(i Instance) Agent {
	a := &fakeAgent{
		Instance: i, drained: make(chan struct{}), fail: make(chan error, 1),
		work: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.agents = append(r.agents, a)
	a.onRun = r.onAgent
	return a
}

// fakeAgent is an agent whose work the test sets.
type fakeAgent struct {
	Instance
	onRun   func(*fakeAgent)
	running atomic.Int64
	drain   sync.Once
	drained chan struct{}
	fail    chan error    // ends it
	work    chan struct{} // told when running has changed
	ended   chan struct{} // closed when Run has returned
}

var errNeverReady = errors.New("it never became ready")

func (a *fakeAgent) Run(ctx context.Context) error {
	defer close(a.ended)
	if a.onRun != nil {
		a.onRun(a)
	} else {
		a.Ready()
	}
	ending := false
	for {
		if ending && a.running.Load() == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			ctx, ending = context.Background(), true
		case <-a.drained:
			a.drained, ending = nil, true
		case <-a.Gone:
			return errors.New("the instance has gone")
		case err := <-a.fail:
			return err
		case <-a.work:
		}
	}
}

func (a *fakeAgent) Drain() { a.drain.Do(func() { close(a.drained) }) }

func (a *fakeAgent) Busy() int { return int(a.running.Load()) }

// set has n invocations run.
func (a *fakeAgent) set(n int64) {
	a.running.Store(n)
	a.work <- struct{}{}
	synctest.Wait()
}

func (a *fakeAgent) hasEnded() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}
