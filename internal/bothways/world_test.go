package bothways

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/agent"
	"github.com/deferd/deferd/internal/dispatch"
	"github.com/deferd/deferd/internal/objectserver"
	"github.com/deferd/deferd/internal/sqlite"
	"github.com/deferd/deferd/internal/storetest"
)

const (
	account   = "000000000000"
	instances = 2
	slots     = 3

	// patience is how long after the last failure everything must have ended.
	patience = 30 * time.Minute
)

// A world is a server without its APIs, its agents, and the load.
type world struct {
	t      *testing.T
	log    *slog.Logger
	faults *faults
	record *record
	model  *model
	load   []*request

	inner   deferd.Store // behind the border
	store   *store
	bucket  *objectserver.Store
	objects *objects
	early   bool // objects can be seen before they are durable
	work    *work

	ahead    atomic.Int64 // by how much the store's clock is
	dispatch atomic.Pointer[dispatch.Dispatch]
	ids      []deferd.InvocationID // of the load, once it is accepted
	accepts  sync.WaitGroup
	running  sync.WaitGroup
	end      context.CancelFunc // of everything but the agents
	retire   context.CancelFunc // of the dispatch
	ctx      context.Context
}

// newWorld makes a world inside the bubble of t.
func newWorld(t *testing.T, f *faults) *world {
	t.Helper()
	w := &world{t: t, faults: f, record: newRecord(), load: load(f.largest()), log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if testing.Verbose() {
		w.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	w.model = newModel(w.load)
	dir := directory(t)
	db, err := sqlite.Open(filepath.Join(dir, "deferd.db"), sqlite.Options{Now: w.now, Logger: w.log})
	w.must(err)
	t.Cleanup(func() { db.Close() })
	w.inner = storetest.Serial(db)
	w.store = &store{Store: w.inner, faults: f, record: w.record}
	w.bucket, err = objectserver.Open(filepath.Join(dir, "objects"), objectserver.Options{})
	w.must(err)
	t.Cleanup(func() { w.bucket.Close() })
	w.must(w.bucket.CreateBucket(t.Context(), "bkt"))
	w.objects = &objects{ObjectStore: w.bucket, faults: f, record: w.record}
	w.work = &work{faults: f, server: func() deferd.Work { return w.dispatch.Load() }}
	w.addEndpoint("e")
	w.addEndpoint("idle")
	w.ids = make([]deferd.InvocationID, len(w.load))
	w.ctx, w.end = context.WithCancel(context.WithoutCancel(t.Context()))
	w.serve()
	w.running.Go(func() { w.sweep(w.ctx) })
	return w
}

// directory is where a world's files lie: in memory where that can be, as the
// disk is not what is tested, and its syncs are most of what a test waits for.
func directory(t *testing.T) string {
	const memory = "/dev/shm"
	if dir, err := os.MkdirTemp(memory, "bothways-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// now is the store's clock.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) addEndpoint(name string) {
	w.t.Helper()
	ctx, now := w.t.Context(), w.inner.Now()
	w.must(w.inner.CreateModel(ctx, deferd.Model{ID: deferd.ModelID(name), Account: account, Name: deferd.ModelName(name), Created: now}))
	w.must(w.inner.CreateConfig(ctx, deferd.Config{
		ID: deferd.ConfigID(name), Account: account, Name: deferd.ConfigName(name), Created: now,
		Variants: []deferd.Variant{{Name: "v", ModelID: deferd.ModelID(name)}},
	}))
	w.must(w.inner.CreateEndpoint(ctx, deferd.Endpoint{
		ID: deferd.EndpointID(name), Account: account, Name: deferd.EndpointName(name), ConfigID: deferd.ConfigID(name),
		Created: now, Modified: now, Status: deferd.EndpointInService,
	}))
}

// serve runs a new Dispatch, which answers from now on, and ends the one before.
func (w *world) serve() {
	ctx, retire := context.WithCancel(w.ctx)
	if w.retire != nil {
		w.retire()
	}
	w.retire = retire
	c := dispatch.Config{Store: w.store, Objects: w.objects, Logger: w.log, Notice: notice}
	if w.early {
		c.Objects = &earlyObjects{w.objects, w.bucket}
	}
	d := dispatch.New(c)
	w.dispatch.Store(d)
	w.running.Go(func() { d.Run(ctx) })
}

// notice says how an invocation ended, and with what.
func notice(ctx context.Context, p deferd.Publication, body func(context.Context) ([]byte, error)) (*deferd.Notification, error) {
	text, err := body(ctx)
	if err != nil {
		return nil, err
	}
	return &deferd.Notification{ID: string(p.Invocation.ID), Target: "t", Subject: p.Outcome.State.String(), Message: string(text)}, nil
}

// sweep moves what is due, when it is due, as a scheduler does.
func (w *world) sweep(ctx context.Context) {
	early := make(chan struct{}, 1)
	w.store.OnDue(func() {
		select {
		case early <- struct{}{}:
		default:
		}
	})
	for ctx.Err() == nil {
		next, err := w.store.Sweep(ctx, 200)
		wait := next.Sub(w.store.Now())
		switch {
		case err != nil:
			wait = time.Second
		case next.IsZero():
			wait = 1<<63 - 1
		}
		select {
		case <-time.After(wait):
		case <-early:
		case <-ctx.Done():
		}
	}
}

// An instance is a container with its agent.
type instance struct {
	id   deferd.InstanceID
	stop context.CancelFunc // ends the agent in order
	kill func()             // ends the container at once
	gone chan struct{}      // closed when that has happened
	done chan struct{}      // closed when the agent has ended
}

// die ends the container under its agent.
func (i *instance) die() {
	close(i.gone)
	i.kill()
}

// start starts an instance.
func (w *world) start(id deferd.InstanceID) *instance {
	c, kill := w.model.serve(slots)
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	i := &instance{id: id, stop: stop, kill: kill, gone: make(chan struct{}), done: make(chan struct{})}
	a := agent.New(agent.Config{
		Work:      w.work,
		Session:   deferd.Session{Endpoint: "e", Variant: "v", Instance: id, Slots: slots},
		Addr:      "http://container",
		Gone:      i.gone,
		Exit:      func() deferd.Exit { return deferd.Exit{} },
		StopLimit: 2 * time.Second,
		Logger:    w.log,
		Client:    c.client(),
	})
	go func() {
		defer close(i.done)
		a.Run(ctx)
		kill()
	}()
	return i
}

// A keeper keeps an instance running, as a scheduler does: where its agent ends,
// the next one is started.
type keeper struct {
	w    *world
	quit chan struct{}
	done chan struct{}

	mu  sync.Mutex // guards all below
	now *instance
	all []*instance
}

func (w *world) keep(name string) *keeper {
	k := &keeper{w: w, quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(k.done)
		for n := 1; ; n++ {
			i := k.start(deferd.InstanceID(fmt.Sprint(name, "-", n)))
			select {
			case <-i.done:
			case <-k.quit:
				return
			}
		}
	}()
	return k
}

func (k *keeper) start(id deferd.InstanceID) *instance {
	i := k.w.start(id)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = i
	k.all = append(k.all, i)
	return i
}

func (k *keeper) current() *instance {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

// double starts a second agent for the instance.
func (k *keeper) double() { k.start(k.current().id) }

// stop ends the instance.
func (k *keeper) stop() {
	close(k.quit)
	<-k.done
	for _, i := range k.all {
		i.stop()
		<-i.done
	}
}

// accept makes the load, each request by a client that tries until it is
// answered.
func (w *world) accept() {
	w.t.Helper()
	for n, r := range w.load {
		if r.s3 && !r.absent {
			w.must(w.bucket.Put(w.t.Context(), deferd.Location{Bucket: "bkt", Key: "in/" + r.name}, deferd.ObjectAttributes{}, r.input))
		}
		w.accepts.Go(func() { w.request(n, r) })
	}
}

// request makes one request. Each try is a new invocation under the same token,
// as a server mints an ID whenever it is asked.
func (w *world) request(n int, r *request) {
	for {
		inv, _, err := w.store.Accept(w.ctx, w.invocation(n, r))
		if err == nil {
			w.ids[n] = inv.ID
			break
		}
		time.Sleep(time.Second)
	}
	if r.cancel == 0 {
		return
	}
	time.Sleep(r.cancel)
	for {
		_, err := w.store.End(w.ctx, w.ids[n], deferd.End(deferd.CancelRequested, deferd.FailureMessage(deferd.CancelRequested)))
		if err == nil || deferd.CodeOf(err) == deferd.Exists {
			return
		}
		time.Sleep(time.Second)
	}
}

func (w *world) invocation(n int, r *request) deferd.NewInvocation {
	id := deferd.InvocationID(uuid.Must(uuid.NewV7()).String())
	inv := deferd.NewInvocation{
		ID: id, InferenceID: r.name, Account: account, Endpoint: "e", Config: "e",
		Output:     deferd.Location{Bucket: "bkt", Key: "out/" + string(id) + ".out"},
		Failure:    deferd.Location{Bucket: "bkt", Key: "fail/" + string(id) + "-error.out"},
		TTL:        deferd.DefaultTTL,
		Timeout:    deferd.DefaultTimeout,
		RetryToken: [16]byte{byte(n + 1)},
	}
	if r.idle {
		inv.Endpoint, inv.Config = "idle", "idle"
	}
	if r.s3 {
		inv.Input = deferd.Location{Bucket: "bkt", Key: "in/" + r.name}
	} else {
		inv.Inline = r.input
	}
	if r.key != "" {
		inv.Output.Key = r.key
	}
	if r.ttl > 0 {
		inv.TTL = r.ttl
	}
	if r.limit > 0 {
		inv.Timeout = r.limit
	}
	return inv
}

// get reads how a request stands.
func (w *world) get(n int) deferd.Invocation {
	w.t.Helper()
	endpoint := deferd.EndpointID("e")
	if w.load[n].idle {
		endpoint = "idle"
	}
	inv, err := w.inner.Invocation(w.t.Context(), endpoint, string(w.ids[n]))
	w.must(err)
	return inv
}

// await waits until all of the load has ended, and a while longer, and reports
// which has not.
func (w *world) await() (ended []deferd.Invocation) {
	w.t.Helper()
	w.accepts.Wait()
	deadline := time.Now().Add(w.faults.lasting + patience)
	for {
		ended = ended[:0]
		for n := range w.load {
			if inv := w.get(n); inv.State.Terminal() {
				ended = append(ended, inv)
			}
		}
		if len(ended) == len(w.load) || time.Now().After(deadline) {
			return ended
		}
		time.Sleep(5 * time.Second)
	}
}

// settle gives everything the time to come to rest: the failures, a late call,
// an interval of those who tidy up.
func (w *world) settle() {
	time.Sleep(w.faults.left())
	w.faults.later.Wait()
	time.Sleep(3 * time.Minute)
	synctest.Wait()
}

// stop ends the world, but for the stores.
func (w *world) stop() {
	w.end()
	w.running.Wait()
}
