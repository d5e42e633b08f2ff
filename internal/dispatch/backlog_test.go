package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// again makes another Dispatch over the same stores, as the next life of the
// server does.
func (b *bench) again(store deferd.Store, objects deferd.ObjectStore) *Dispatch {
	b.Dispatch = New(Config{Store: store, Objects: objects, Logger: slog.New(slog.DiscardHandler)})
	return b.Dispatch
}

func (b *bench) awaitPublished() {
	b.t.Helper()
	select {
	case <-b.Published():
	case <-time.After(patienceOfTests):
		b.t.Fatal("what an earlier life left was not published")
	}
}

// TestPublishedWithEarlyDecisions has decisions announced before the backlog is
// read: they are in both, and the server must become ready all the same.
func TestPublishedWithEarlyDecisions(t *testing.T) {
	b := newBench(t)
	var last deferd.InvocationID
	for range 3 {
		inv := b.accept()
		_, err := b.store.End(t.Context(), inv.ID, deferd.End(deferd.CancelRequested, "c"))
		b.must(err)
		last = inv.ID
	}
	b.run()
	b.awaitPublished()
	b.awaitEnd(last)
}

// lateObjects are objects that are shown when they are durable.
type lateObjects struct{ deferd.ObjectStore }

// TestPublishedWaitsForTheFirstTry holds one of the backlog up. What may have
// been seen before it was durable is waited for longer.
func TestPublishedWaitsForTheFirstTry(t *testing.T) {
	for _, early := range []bool{true, false} {
		testPublishedWaits(t, early)
	}
}

func testPublishedWaits(t *testing.T, early bool) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease()
		b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
		hold := make(chan struct{})
		b.objects.onPut = func(int64, deferd.Location) (before, after error) { <-hold; return errUnavailable, nil }
		if b.again(b.store, b.objects); !early {
			b.again(b.store, lateObjects{b.objects})
		}
		b.run()
		synctest.Wait()
		select {
		case <-b.Published():
			t.Error("it is ready while an outcome of the earlier life was never tried")
		default:
		}
		began := time.Now()
		close(hold)
		<-b.Published()
		switch took := time.Since(began); {
		case !early && took != 0:
			t.Errorf("it is ready after %v, want as soon as everything was tried once", took)
		case early && (took < startPatience-time.Second || took > startPatience+2*loadWait):
			t.Errorf("it is ready after %v, want about %v", took, startPatience)
		}
	})
}

// unreadableStore cannot read what is to be published for the first few times.
type unreadableStore struct {
	deferd.Store
	fails atomic.Int64
}

func (s *unreadableStore) Publishing(ctx context.Context, after deferd.Sequence, n int) ([]deferd.Publication, error) {
	if s.fails.Add(-1) >= 0 {
		return nil, errUnavailable
	}
	return s.Store.Publishing(ctx, after, n)
}

func TestTheBacklogIsReadUntilItCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease()
		b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
		store := &unreadableStore{Store: b.store}
		store.fails.Store(5)
		b.again(store, b.objects)
		b.run()
		<-b.Published()
		synctest.Wait()
		inv, err := b.store.Invocation(t.Context(), "e", string(l.Invocation))
		if err != nil || inv.State != deferd.Completed {
			t.Errorf("what the earlier life left is %v, %v", inv.State, err)
		}
	})
}

// TestALargeBacklogIsNotHeldInMemory publishes 128 MB of outcomes.
func TestALargeBacklogIsNotHeldInMemory(t *testing.T) {
	b := newBench(t)
	const n = 1000
	body := make([]byte, deferd.MaxStaged)
	session := b.open("i", n)
	for range n {
		b.accept(func(i *deferd.NewInvocation) {
			i.Inline, i.Input = nil, deferd.Location{Bucket: "bkt", Key: "in"}
			i.Output.Key = "out" // one object is enough for the disk
		})
	}
	c, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: session, Free: n})
	b.must(err)
	outcome := success(string(body))
	for _, l := range c.Leases {
		b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: outcome}))
	}
	objects := &discarding{ObjectStore: b.objects}
	b.again(b.store, objects)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	objects.floor = before.HeapAlloc
	b.run()
	b.awaitPublished()
	if puts := objects.puts.Load(); puts != n {
		t.Errorf("%d objects were put, want %d", puts, n)
	}
	// The publishers' bodies, and a batch of the backlog.
	if grown := objects.most.Load() >> 20; grown > 40 {
		t.Errorf("while %d MB were published %d MB were alive, want at most 40", n*len(body)>>20, grown)
	}
}

// discarding keeps nothing, and looks now and then how much memory is in use.
type discarding struct {
	deferd.ObjectStore
	puts, most atomic.Int64
	floor      uint64
}

func (d *discarding) Head(context.Context, deferd.Location) (deferd.ObjectInfo, error) {
	return deferd.ObjectInfo{}, &deferd.Error{Code: deferd.NotFound, Msg: "NoSuchKey"}
}

func (d *discarding) Put(context.Context, deferd.Location, deferd.ObjectAttributes, []byte) error {
	if d.puts.Add(1)%100 == 0 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		d.most.Store(max(d.most.Load(), int64(m.HeapAlloc)-int64(d.floor)))
	}
	return nil
}

// TestUnavailableForADay gives up what may pass only after a day.
func TestUnavailableForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease()
		inv, err := b.store.Leased(t.Context(), l.ID)
		b.must(err)
		b.objects.onPut = func(_ int64, at deferd.Location) (before, after error) {
			if at == inv.Output {
				return errUnavailable, nil
			}
			return nil, nil
		}
		b.run()
		b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
		for _, step := range []struct {
			ahead time.Duration
			want  deferd.State
		}{{patience - time.Minute, deferd.Publishing}, {patience, deferd.Failed}} {
			b.ahead.Store(int64(step.ahead))
			time.Sleep(time.Minute) // at least one more try
			synctest.Wait()
			inv, err := b.store.Invocation(t.Context(), "e", string(inv.ID))
			if err != nil || inv.State != step.want {
				t.Errorf("after %v it is %v, %v, want %v", step.ahead, inv.State, err, step.want)
			}
		}
		if text, _, _ := b.object(inv.Failure); text != deferd.FailureMessage(deferd.UploadFailed) {
			t.Errorf("the failure object says %q", text)
		}
	})
}

// stubborn fails aborts of one upload, and counts all.
type stubborn struct {
	deferd.ObjectStore
	failing string
	aborts  atomic.Int64
}

func (s *stubborn) AbortUpload(ctx context.Context, u deferd.Upload) error {
	s.aborts.Add(1)
	if u.ID == s.failing {
		return errUnavailable
	}
	return s.ObjectStore.AbortUpload(ctx, u)
}

func TestAbandonedUploadsAreAborted(t *testing.T) {
	b := newBench(t)
	objects := &stubborn{ObjectStore: b.objects}
	b.Dispatch.objects = objects
	for range 3 {
		l := b.lease()
		u, err := b.Upload(t.Context(), l.ID, true, deferd.ObjectAttributes{})
		b.must(err)
		objects.failing = u.ID
		b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("small after all")}))
	}
	if err := b.abortAbandoned(t.Context()); !errors.Is(err, errUnavailable) {
		t.Errorf("error is %v, want the one that failed", err)
	}
	left, err := b.store.Abandoned(t.Context(), 10)
	b.must(err)
	if len(left) != 1 || left[0].ID != objects.failing {
		t.Errorf("left are %v, want the one that failed", left)
	}
	objects.failing = ""
	b.must(b.abortAbandoned(t.Context()))
	if left, err = b.store.Abandoned(t.Context(), 10); err != nil || len(left) != 0 {
		t.Errorf("in the end there are left %v, %v", left, err)
	}
}

// TestARepeatedUploadLeavesNothing aborts what a repeat created beside the one
// that is recorded, and does not let that abort's failure spoil the answer.
func TestARepeatedUploadLeavesNothing(t *testing.T) {
	b := newBench(t)
	objects := &stubborn{ObjectStore: b.objects}
	b.Dispatch.objects = objects
	l := b.lease()
	first, err := b.Upload(t.Context(), l.ID, true, deferd.ObjectAttributes{})
	b.must(err)
	again, err := b.Upload(t.Context(), l.ID, true, deferd.ObjectAttributes{})
	if err != nil || again.ID != first.ID {
		t.Errorf("a repeat gets %v, %v, want %v", again, err, first)
	}
	if n := objects.aborts.Load(); n != 1 {
		t.Errorf("%d uploads were aborted, want the one that is not recorded", n)
	}
}

// overlapping is a store whose backlog was read before a decision is replaced,
// and is heard of just then.
type overlapping struct {
	deferd.Store
	replacing chan struct{}
	begun     atomic.Bool
}

func (s *overlapping) Publishing(ctx context.Context, after deferd.Sequence, n int) ([]deferd.Publication, error) {
	ps, err := s.Store.Publishing(ctx, after, n)
	if n > 1 {
		<-s.replacing
	}
	return ps, err
}

func (s *overlapping) Redecide(ctx context.Context, id deferd.InvocationID, o deferd.Outcome) error {
	if s.begun.CompareAndSwap(false, true) {
		close(s.replacing)
		time.Sleep(time.Second) // of the bubble: the backlog is queued, and what is queued is tried
	}
	return s.Store.Redecide(ctx, id, o)
}

func TestOneOutcomeIsOneJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.again(&overlapping{Store: b.store, replacing: make(chan struct{})}, b.objects)
		b.objects.onPut = func(_ int64, l deferd.Location) (before, after error) {
			if strings.HasPrefix(l.Key, "out/") {
				return errDenied, nil
			}
			return nil, nil
		}
		l := b.lease()
		b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
		b.ahead.Store(int64(refusalPatience))
		b.run()
		b.awaitPublished()
		time.Sleep(time.Minute)
		synctest.Wait()
		inv, err := b.store.Invocation(t.Context(), "e", string(l.Invocation))
		if err != nil || inv.State != deferd.Failed || inv.Decision != 2 {
			t.Errorf("it is %v by decision %d, %v, want Failed by decision 2", inv.State, inv.Decision, err)
		}
		if n := b.objects.puts.Load(); n != 2 {
			t.Errorf("%d puts, want one for each decision", n)
		}
		if n := b.Stats().ToPublish; n != 0 {
			t.Errorf("%d are still to be published", n)
		}
	})
}
