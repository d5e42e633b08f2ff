package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/objectserver"
	"github.com/deferd/deferd/internal/sqlite"
	"github.com/deferd/deferd/internal/storetest"
	"github.com/google/uuid"
)

// A bench is a Dispatch over the real store and the real embedded S3, with one
// endpoint in service. Its clock stands still until it is turned.
type bench struct {
	*Dispatch
	t       *testing.T
	store   *countingStore
	objects *faultyObjects
	ahead   *atomic.Int64 // how far the clock was turned
	lines   lines         // of the log
	ended   atomic.Int64  // invocations that the Dispatch has told of
}

// lines are what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const account = "000000000000"

var patienceOfTests = 30 * time.Second

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, ahead: new(atomic.Int64)}
	start := time.Now()
	store, err := sqlite.Open(filepath.Join(dir, "deferd.db"), sqlite.Options{
		Now: func() time.Time { return start.Add(time.Duration(b.ahead.Load())) },
	})
	b.must(err)
	t.Cleanup(func() { store.Close() })
	objects, err := objectserver.Open(filepath.Join(dir, "objects"), objectserver.Options{})
	b.must(err)
	t.Cleanup(func() { objects.Close() })
	b.must(objects.CreateBucket(t.Context(), "bkt"))
	b.store, b.objects = &countingStore{Store: storetest.Serial(store), CommitStats: store.CommitStats}, &faultyObjects{Store: objects}
	b.Dispatch = New(Config{Store: b.store, Objects: b.objects, Logger: slog.New(slog.NewTextHandler(&b.lines, nil)),
		Finished: func(deferd.Publication) { b.ended.Add(1) }})
	b.addEndpoint()
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) addEndpoint() {
	b.t.Helper()
	ctx, now := b.t.Context(), b.store.Now()
	b.must(b.store.CreateModel(ctx, deferd.Model{ID: "m", Account: account, Name: "m", Created: now}))
	b.must(b.store.CreateConfig(ctx, deferd.Config{ID: "c", Account: account, Name: "c", Created: now, Variants: []deferd.Variant{{Name: "v", ModelID: "m"}}}))
	b.must(b.store.CreateEndpoint(ctx, deferd.Endpoint{ID: "e", Account: account, Name: "e", ConfigID: "c", Created: now, Modified: now, Status: deferd.EndpointInService}))
}

// run runs the Dispatch until the test ends, or the returned stop.
func (b *bench) run() (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	stop = func() { cancel(); wg.Wait() }
	b.t.Cleanup(stop)
	return stop
}

// accept accepts an invocation, inline unless adjusted.
func (b *bench) accept(adjust ...func(*deferd.NewInvocation)) deferd.Invocation {
	b.t.Helper()
	id := deferd.InvocationID(uuid.Must(uuid.NewV7()).String())
	n := deferd.NewInvocation{
		ID: id, InferenceID: string(id), Account: account, Endpoint: "e", Config: "c", Inline: []byte("0123456789"),
		Output: deferd.Location{Bucket: "bkt", Key: "out/" + string(id) + ".out"}, Failure: deferd.Location{Bucket: "bkt", Key: "fail/" + string(id)},
		TTL: deferd.DefaultTTL, Timeout: deferd.DefaultTimeout,
	}
	for _, f := range adjust {
		f(&n)
	}
	inv, _, err := b.store.Accept(b.t.Context(), n)
	b.must(err)
	return inv
}

func (b *bench) open(instance string, slots int) deferd.SessionID {
	b.t.Helper()
	id, err := b.Open(b.t.Context(), deferd.Session{Endpoint: "e", Variant: "v", Instance: deferd.InstanceID(instance), Slots: slots})
	b.must(err)
	return id
}

// lease accepts an invocation and leases it.
func (b *bench) lease(adjust ...func(*deferd.NewInvocation)) deferd.Lease {
	b.t.Helper()
	b.accept(adjust...)
	c, err := b.Claim(b.t.Context(), deferd.ClaimRequest{Session: b.open("i-"+uuid.NewString(), 1), Free: 1, Wait: patienceOfTests})
	b.must(err)
	if len(c.Leases) != 1 {
		b.t.Fatalf("claimed %d, want 1", len(c.Leases))
	}
	return c.Leases[0]
}

func success(body string) deferd.Outcome {
	return deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, ModelStatus: 200, ContentType: "text/csv", Body: []byte(body), Size: int64(len(body))}
}

// awaitEnd waits until an invocation has ended.
func (b *bench) awaitEnd(id deferd.InvocationID) deferd.Invocation {
	b.t.Helper()
	deadline := time.Now().Add(patienceOfTests)
	for {
		ended := b.store.finished()
		inv, err := b.store.Invocation(b.t.Context(), "e", string(id))
		b.must(err)
		if inv.State.Terminal() {
			return inv
		}
		select {
		case <-ended:
		case <-time.After(time.Until(deadline)):
			b.t.Fatalf("invocation is still %v", inv.State)
		}
	}
}

// object reads what lies at a location; ok is false for nothing.
func (b *bench) object(l deferd.Location) (text string, info deferd.ObjectInfo, ok bool) {
	b.t.Helper()
	o, err := b.objects.Store.Get(b.t.Context(), l, deferd.GetObject{})
	if err != nil {
		if deferd.CodeOf(err) != deferd.NotFound {
			b.t.Fatal(err)
		}
		return "", info, false
	}
	defer o.Body.Close()
	data, err := io.ReadAll(o.Body)
	b.must(err)
	return string(data), o.ObjectInfo, true
}

// A countingStore counts claims, and tells of every finish.
type countingStore struct {
	deferd.Store
	CommitStats func() (commits, operations int64)

	claims atomic.Int64

	mu   sync.Mutex
	done chan struct{}
}

func (s *countingStore) Claim(ctx context.Context, id deferd.SessionID, confirmed int64, n int) (deferd.Claim, error) {
	s.claims.Add(1)
	return s.Store.Claim(ctx, id, confirmed, n)
}

// finished is closed at the next finish.
func (s *countingStore) finished() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
	}
	return s.done
}

func (s *countingStore) Finish(ctx context.Context, id deferd.InvocationID, decision int, n *deferd.Notification) error {
	err := s.Store.Finish(ctx, id, decision, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		close(s.done)
		s.done = nil
	}
	return err
}

// faultyObjects fails what its functions say: before the call (lost), or after
// it (done, but the answer never came).
type faultyObjects struct {
	*objectserver.Store
	puts       atomic.Int64
	onPut      func(n int64, l deferd.Location) (before, after error)
	onComplete func(n int64) (before, after error)
	completes  atomic.Int64
	onHead     func(n int64) error
	heads      atomic.Int64
	onPutBody  func(body string)
	onAwait    func(n int64) error
	awaits     atomic.Int64
}

func (o *faultyObjects) Head(ctx context.Context, l deferd.Location) (deferd.ObjectInfo, error) {
	n := o.heads.Add(1)
	if o.onHead != nil {
		if err := o.onHead(n); err != nil {
			return deferd.ObjectInfo{}, err
		}
	}
	return o.Store.Head(ctx, l)
}

func (o *faultyObjects) AwaitDurable(ctx context.Context) error {
	n := o.awaits.Add(1)
	if o.onAwait != nil {
		if err := o.onAwait(n); err != nil {
			return err
		}
	}
	return o.Store.AwaitDurable(ctx)
}

func (o *faultyObjects) Put(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	return o.put(ctx, l, a, body, o.Store.Put)
}

func (o *faultyObjects) PutEarly(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	return o.put(ctx, l, a, body, o.Store.PutEarly)
}

type putFunc func(context.Context, deferd.Location, deferd.ObjectAttributes, []byte) error

func (o *faultyObjects) put(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte, put putFunc) error {
	n := o.puts.Add(1)
	var before, after error
	if o.onPut != nil {
		before, after = o.onPut(n, l)
	}
	if before != nil {
		return before
	}
	if o.onPutBody != nil {
		o.onPutBody(string(body))
	}
	return errors.Join(put(ctx, l, a, body), after)
}

func (o *faultyObjects) CompleteUpload(ctx context.Context, u deferd.Upload) error {
	n := o.completes.Add(1)
	var before, after error
	if o.onComplete != nil {
		before, after = o.onComplete(n)
	}
	if before != nil {
		return before
	}
	return errors.Join(o.Store.CompleteUpload(ctx, u), after)
}

var (
	errUnavailable = &deferd.Error{Code: deferd.Unavailable, Msg: "SlowDown"}
	errDenied      = &deferd.Error{Code: deferd.Denied, Msg: "AccessDenied"}
)

func TestClaimIsWoken(t *testing.T) { synctest.Test(t, testClaimIsWoken) }

func testClaimIsWoken(t *testing.T) {
	b := newBench(t)
	const agents = 5
	leases := make(chan deferd.Lease, agents)
	for i := range agents {
		id := b.open(string(rune('a'+i)), 1)
		go func() {
			c, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: id, Free: 1, Wait: patienceOfTests})
			if err != nil || len(c.Leases) != 1 {
				t.Errorf("claimed %v, %v, want one lease", c, err)
				close(leases)
				return
			}
			leases <- c.Leases[0]
		}()
	}
	synctest.Wait() // until all wait
	before := b.store.claims.Load()
	seen := map[deferd.InvocationID]bool{}
	for range agents {
		b.accept()
	}
	for range agents {
		seen[(<-leases).Invocation] = true
	}
	if len(seen) != agents {
		t.Errorf("%d invocations were handed out, want %d", len(seen), agents)
	}
	// Each accept wakes one claim, and each claim that got something at most
	// one more, which may have looked for nothing.
	if looks := b.store.claims.Load() - before; looks > 2*agents {
		t.Errorf("the claims looked %d times, want at most %d: they poll", looks, 2*agents)
	}
}

func TestClaimAnswersEmptyWhenTheWaitIsOver(t *testing.T) {
	b := newBench(t)
	c, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: b.open("i", 1), Free: 1, Wait: time.Millisecond})
	if err != nil || len(c.Leases) != 0 {
		t.Errorf("got %v, %v, want nothing", c, err)
	}
	if n := b.Stats().ClaimsWaiting; n != 0 {
		t.Errorf("%d claims are still waiting", n)
	}
}

// TestWakeUpIsPassedOn lets a claim leave in the very moment in which it is
// woken: the next one gets the work.
func TestWakeUpIsPassedOn(t *testing.T) {
	w := waiting{claims: map[deferd.EndpointID][]*waiter{}}
	woken := func(a *waiter) bool { return len(a.woken) > 0 }
	first, second := w.add("e", deferd.ClaimRequest{}), w.add("e", deferd.ClaimRequest{})
	w.wake("e")
	if !woken(first) || woken(second) {
		t.Fatal("not the first, and it alone, was woken")
	}
	w.leave("e", first)
	if !woken(second) {
		t.Error("the second was not woken")
	}
	w.leave("e", second)
	w.wake("e") // nobody waits
	third := w.add("e", deferd.ClaimRequest{})
	if woken(third) {
		t.Error("a claim was woken by what came before it")
	}
	w.passOn("e", third.place-1) // began before the third came: not for it
	if woken(third) {
		t.Error("a wake-up reached a claim that came after it")
	}
	w.leave("e", third)
	if n := w.count(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func TestClaimOfAClosedSession(t *testing.T) {
	b := newBench(t)
	id := b.open("i", 1)
	b.must(b.Close(t.Context(), id))
	b.must(b.Close(t.Context(), id))
	if _, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: id, Free: 1, Wait: time.Minute}); deferd.CodeOf(err) != deferd.Lost {
		t.Errorf("error is %v, want Lost", err)
	}
	e, err := b.Extend(t.Context(), deferd.ExtendRequest{Session: id, Held: []deferd.LeaseID{"l"}})
	if err != nil || e.Order != deferd.OrderOpen || len(e.Lost) != 1 {
		t.Errorf("extend answers %+v, %v, want that everything is lost and to open again", e, err)
	}
}

func TestSupersededSession(t *testing.T) {
	b := newBench(t)
	old := b.open("i", 1)
	b.open("i", 1)
	e, err := b.Extend(t.Context(), deferd.ExtendRequest{Session: old})
	if err != nil || e.Order != deferd.OrderSuperseded {
		t.Errorf("extend answers %+v, %v, want superseded", e, err)
	}
}

func TestOrders(t *testing.T) {
	b := newBench(t)
	id := b.open("i", 2)
	b.accept()
	b.Order("i", deferd.OrderDrain)
	c, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: id, Free: 2, Wait: time.Minute})
	if err != nil || len(c.Leases) != 0 {
		t.Errorf("a draining instance was handed %v, %v", c, err)
	}
	if e, err := b.Extend(t.Context(), deferd.ExtendRequest{Session: id}); err != nil || e.Order != deferd.OrderDrain {
		t.Errorf("extend answers %+v, %v, want drain", e, err)
	}
	b.Order("i", deferd.OrderServe)
	if c, err = b.Claim(t.Context(), deferd.ClaimRequest{Session: id, Free: 2, Wait: time.Minute}); err != nil || len(c.Leases) != 1 {
		t.Errorf("afterwards it was handed %v, %v", c, err)
	}
}

func TestInput(t *testing.T) {
	b := newBench(t)
	read := func(l deferd.Lease, r deferd.GetObject) string {
		t.Helper()
		o, err := b.Input(t.Context(), l.ID, r)
		b.must(err)
		defer o.Body.Close()
		data, err := io.ReadAll(o.Body)
		b.must(err)
		if o.Size != 10 {
			t.Errorf("size is %d, want 10", o.Size)
		}
		return string(data)
	}
	inline := b.lease()
	at := deferd.Location{Bucket: "bkt", Key: "in"}
	b.must(b.objects.Store.Put(t.Context(), at, deferd.ObjectAttributes{ContentType: "text/csv"}, []byte("0123456789")))
	fromS3 := b.lease(func(n *deferd.NewInvocation) { n.Inline, n.Input = nil, at })
	for name, l := range map[string]deferd.Lease{"inline": inline, "S3": fromS3} {
		if got := read(l, deferd.GetObject{}); got != "0123456789" {
			t.Errorf("%s input is %q", name, got)
		}
		if got := read(l, deferd.GetObject{Offset: 7}); got != "789" {
			t.Errorf("%s input from 7 is %q", name, got)
		}
	}
	_, err := b.Input(t.Context(), fromS3.ID, deferd.GetObject{IfMatch: `"other"`})
	if deferd.CodeOf(err) != deferd.Changed {
		t.Errorf("an input that was replaced: %v", err)
	}
	missing := b.lease(func(n *deferd.NewInvocation) { n.Inline, n.Input = nil, deferd.Location{Bucket: "bkt", Key: "none"} })
	_, err = b.Input(t.Context(), missing.ID, deferd.GetObject{})
	e, ok := errors.AsType[*deferd.Error](err)
	if !ok || e.Code != deferd.NotFound || e.Msg != "Unable to download the input object s3://bkt/none: NoSuchKey." {
		t.Errorf("a missing input: %#v", err)
	}
	if _, err := b.Input(t.Context(), "nonsense", deferd.GetObject{}); deferd.CodeOf(err) != deferd.Lost {
		t.Errorf("without a lease: %v", err)
	}
}

// TestInputTooLarge asks for an object of more than a gigabyte, which is only
// said to be that large.
func TestInputTooLarge(t *testing.T) {
	b := newBench(t)
	at := deferd.Location{Bucket: "bkt", Key: "huge"}
	l := b.lease(func(n *deferd.NewInvocation) { n.Inline, n.Input = nil, at })
	closed := false
	b.Dispatch.objects = hugeObject{closed: &closed}
	_, err := b.Input(t.Context(), l.ID, deferd.GetObject{})
	if deferd.CodeOf(err) != deferd.TooLarge || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("error is %v, want one that names the object and that it is too large", err)
	}
	if !closed {
		t.Error("the object was left open")
	}
}

type hugeObject struct {
	deferd.ObjectStore
	closed *bool
}

func (h hugeObject) Get(context.Context, deferd.Location, deferd.GetObject) (*deferd.Object, error) {
	return &deferd.Object{ObjectInfo: deferd.ObjectInfo{Size: deferd.MaxInput + 1}, Body: h}, nil
}
func (h hugeObject) Read([]byte) (int, error) { return 0, io.EOF }
func (h hugeObject) Close() error             { *h.closed = true; return nil }

func TestUpload(t *testing.T) {
	b := newBench(t)
	l := b.lease()
	first, err := b.Upload(t.Context(), l.ID, true, deferd.ObjectAttributes{})
	b.must(err)
	again, err := b.Upload(t.Context(), l.ID, true, deferd.ObjectAttributes{})
	b.must(err)
	if first.ID != again.ID {
		t.Errorf("a repeat got upload %s, want %s", again.ID, first.ID)
	}
	nowhere := b.lease(func(n *deferd.NewInvocation) { n.Failure = deferd.Location{} })
	if u, err := b.Upload(t.Context(), nowhere.ID, false, deferd.ObjectAttributes{}); err != nil || u != nil {
		t.Errorf("an upload to nowhere is %v, %v", u, err)
	}
	b.must(b.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.InstanceLost}))
	b.must(b.abortAbandoned(t.Context()))
	if _, err := b.UploadPart(t.Context(), l.ID, *first, 1, 1, strings.NewReader("x")); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("a part of an abandoned upload: %v, want NotFound", err)
	}
	if _, err := b.Upload(t.Context(), l.ID, true, deferd.ObjectAttributes{}); deferd.CodeOf(err) != deferd.Lost {
		t.Errorf("an upload without a lease: %v, want Lost", err)
	}
}

// abortingObjects fails aborts as onAbort says.
type abortingObjects struct {
	deferd.ObjectStore
	onAbort func(deferd.Upload) error
}

func (o abortingObjects) AbortUpload(ctx context.Context, u deferd.Upload) error {
	if err := o.onAbort(u); err != nil {
		return err
	}
	return o.ObjectStore.AbortUpload(ctx, u)
}

// TestAbortAbandoned has more uploads that cannot be aborted than a batch holds:
// those behind them are aborted all the same.
func TestAbortAbandoned(t *testing.T) {
	b := newBench(t)
	l := b.lease()
	const refused, good = 110, 30
	for i := range refused + good {
		at := deferd.Location{Bucket: "bkt", Key: fmt.Sprint(i)}
		_, err := b.store.RecordUpload(t.Context(), l.ID, deferd.Upload{ID: fmt.Sprintf("u-%04d", i), Location: at})
		b.must(err)
	}
	b.must(b.Release(t.Context(), deferd.Release{Lease: l.ID, Reason: deferd.InstanceLost}))
	b.Dispatch.objects = abortingObjects{b.objects, func(u deferd.Upload) error {
		if u.ID < fmt.Sprintf("u-%04d", refused) {
			return errDenied
		}
		return nil
	}}
	if err := b.abortAbandoned(t.Context()); deferd.CodeOf(err) != deferd.Denied {
		t.Errorf("error is %v, want that some were denied", err)
	}
	left, err := b.store.Abandoned(t.Context(), 1000)
	b.must(err)
	if len(left) != refused {
		t.Errorf("%d uploads are left, want %d", len(left), refused)
	}
}

func TestSettleRefusesWhatIsNoOutcome(t *testing.T) {
	b := newBench(t)
	l := b.lease()
	big := success(strings.Repeat("x", deferd.MaxStaged+1))
	if err := b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: big}); deferd.CodeOf(err) != deferd.TooLarge {
		t.Errorf("a large body: %v", err)
	}
	if err := b.Settle(t.Context(), deferd.Settlement{Lease: l.ID}); deferd.CodeOf(err) != deferd.Invalid {
		t.Errorf("no state: %v", err)
	}
	if err := b.Settle(t.Context(), deferd.Settlement{Lease: "late", Outcome: success("x")}); deferd.CodeOf(err) != deferd.Lost {
		t.Errorf("a late settle: %v", err)
	}
	if n := b.Stats().SettlesRefused; n != 1 {
		t.Errorf("%d refused settles were counted, want 1", n)
	}
}

// unansweredStore records an upload, and fails to say so the first time.
type unansweredStore struct {
	deferd.Store
	asked atomic.Int64
}

func (s *unansweredStore) RecordUpload(ctx context.Context, id deferd.LeaseID, u deferd.Upload) (deferd.Upload, error) {
	noted, err := s.Store.RecordUpload(ctx, id, u)
	if s.asked.Add(1) == 1 {
		return deferd.Upload{}, errUnavailable
	}
	return noted, err
}

// TestUploadRecordedButUnanswered repeats an upload whose recording was not
// answered: the recorded one must still take parts.
func TestUploadRecordedButUnanswered(t *testing.T) {
	b := newBench(t)
	l := b.lease()
	b.Dispatch.store = &unansweredStore{Store: b.store}
	if _, err := b.Upload(t.Context(), l.ID, true, deferd.ObjectAttributes{}); deferd.CodeOf(err) != deferd.Unavailable {
		t.Fatalf("error is %v, want Unavailable", err)
	}
	u, err := b.Upload(t.Context(), l.ID, true, deferd.ObjectAttributes{})
	b.must(err)
	if _, err := b.UploadPart(t.Context(), l.ID, *u, 1, 1, strings.NewReader("x")); err != nil {
		t.Errorf("the recorded upload takes no part: %v", err)
	}
}
