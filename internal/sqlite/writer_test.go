package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// together holds the writer up until all operations wait for it, so that they
// share a transaction, in this order, and returns their errors.
func (b *bench) together(t *testing.T, operations ...func(context.Context) error) []error {
	t.Helper()
	errs := make([]error, len(operations))
	synctest.Test(t, func(t *testing.T) {
		w := b.writer
		inner := newWriter(w.conn, b.Store, w.pages) // in the bubble; the other one rests
		b.writer = inner
		defer func() {
			inner.stop()
			w.commits.Add(inner.commits.Load())
			w.operations.Add(inner.operations.Load())
			b.writer = w
		}()
		hold := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = inner.do(func(*tx) error { <-hold; return nil }, true)
		})
		synctest.Wait()
		for i, f := range operations {
			wg.Go(func() { errs[i] = f(context.Background()) })
			synctest.Wait() // until it waits, so that they come in this order
		}
		close(hold)
		wg.Wait()
	})
	return errs
}

func (b *bench) accepting(n deferd.NewInvocation) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := b.Accept(ctx, n)
		return err
	}
}

func TestGroupSharesACommit(t *testing.T) {
	b := newBench(t)
	const n = 300
	operations := make([]func(context.Context) error, n)
	for i := range operations {
		operations[i] = b.accepting(newInvocation())
	}
	commits, ops := b.CommitStats()
	must(t, errors.Join(b.together(t, operations...)...))
	nowCommits, nowOps := b.CommitStats()
	// One is the operation that held the writer up.
	if got := nowCommits - commits; got != 2 {
		t.Errorf("%d accepts at once took %d commits, want 1", n, got-1)
	}
	if got := nowOps - ops; got != n+1 {
		t.Errorf("%d operations were counted, want %d", got-1, n)
	}
	b.wantCounts(t, deferd.Counts{Accepted: n, Queued: n})
}

// TestAConcurrentLoadIsGrouped leaves the grouping to chance, as in service.
func TestAConcurrentLoadIsGrouped(t *testing.T) {
	b := newBench(t)
	before, _ := b.CommitStats()
	const clients, each = 64, 20
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				if _, _, err := b.Accept(t.Context(), newInvocation()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	after, _ := b.CommitStats()
	if got := after - before; got > clients*each/4 {
		t.Errorf("%d accepts of %d clients took %d commits", clients*each, clients, got)
	}
	b.wantCounts(t, deferd.Counts{Accepted: clients * each, Queued: clients * each})
}

func TestOneFailureTakesNoOtherDown(t *testing.T) {
	b := newBench(t)
	twice := newInvocation()
	_, _, err := b.Accept(t.Context(), twice)
	must(t, err)
	broken := func(ctx context.Context) error {
		return b.write(ctx, func(t *tx) error {
			if err := t.exec("INSERT INTO meta VALUES ('half', 'done')"); err != nil {
				return err
			}
			t.delta(1).Queued += 1000
			return errors.New("it breaks in the middle")
		})
	}
	unknown := newInvocation()
	unknown.Endpoint = "another"
	retried := newInvocation()
	retried.RetryToken = token(7)
	errs := b.together(t,
		b.accepting(newInvocation()), b.accepting(retried), broken, b.accepting(unknown), b.accepting(twice), b.accepting(newInvocation()))
	want := []struct {
		ok   bool
		code deferd.Code
	}{{ok: true}, {ok: true}, {code: deferd.Internal}, {code: deferd.NotFound}, {code: deferd.Internal}, {ok: true}}
	for i, err := range errs {
		if (err == nil) != want[i].ok || err != nil && deferd.CodeOf(err) != want[i].code {
			t.Errorf("operation %d gives %v, want %+v", i, err, want[i])
		}
	}
	b.wantCounts(t, deferd.Counts{Accepted: 4, Queued: 4})
	must(t, b.read(t.Context(), func(tx *tx) error {
		return tx.query("SELECT 1 FROM meta WHERE key = 'half'", func(*sqlite.Stmt) error {
			t.Error("half of the broken operation was stored")
			return nil
		})
	}))
	// What was tried twice is known as a repeat, and once.
	retried.ID = newInvocation().ID
	if _, repeated, err := b.Accept(t.Context(), retried); err != nil || !repeated {
		t.Errorf("the repeated accept gives repeated = %v, %v", repeated, err)
	}
	if n := len(b.repeats.order); n != 1 {
		t.Errorf("%d tokens are kept, want 1", n)
	}
}

func TestAnnouncedOnlyWhenDurable(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	announced := 0
	b.OnWork(func(deferd.EndpointID) { mu.Lock(); announced++; mu.Unlock() })
	errs := b.together(t, b.accepting(newInvocation()), func(ctx context.Context) error {
		return b.write(ctx, func(t *tx) error { t.announceWork("e"); return errors.New("broken") })
	})
	if errs[0] != nil || errs[1] == nil {
		t.Fatalf("errors are %v, want the second one only", errs)
	}
	if announced != 1 {
		t.Errorf("%d pieces of work were announced, want 1", announced)
	}
}

// TestServedOnlyWhenCommitted has a claim wait for work whose group fails at its
// end: it is answered without, and holds nothing.
func TestServedOnlyWhenCommitted(t *testing.T) {
	b := newBench(t)
	s := b.session(t, 1)
	_, _, err := b.Accept(t.Context(), newInvocation())
	must(t, err)
	answers := make(chan deferd.Claim, 1)
	b.OnReady(func(deferd.EndpointID) (deferd.WaitingClaim, bool) {
		return deferd.WaitingClaim{
			ClaimRequest: deferd.ClaimRequest{Session: s, Free: 1},
			Answer:       func(c deferd.Claim) { answers <- c },
		}, true
	})
	err = b.write(t.Context(), func(t *tx) error {
		t.announceWork("e")
		return t.exec("DROP TABLE counts") // which are written last
	})
	if err == nil {
		t.Fatal("the group did not fail")
	}
	if c := <-answers; len(c.Leases) != 0 {
		t.Errorf("served with %+v, though nothing was stored", c)
	}
	c, err := b.Claim(t.Context(), s, 0, 1)
	if err != nil || c.Number != 1 || len(c.Leases) != 1 {
		t.Errorf("claimed %+v (%v), want the one that was not handed out", c, err)
	}
	b.wantCounts(t, deferd.Counts{Accepted: 1, Running: 1})
}

// limit sets how many pages the file may have, 0 for as many as it likes.
func (b *bench) limit(t *testing.T, more int) {
	t.Helper()
	must(t, b.writer.do(func(t *tx) error {
		pages, err := queryInt(t.conn, "PRAGMA page_count")
		if err != nil {
			return err
		}
		if more < 0 {
			pages = 1 << 30
		}
		_, err = queryInt(t.conn, fmt.Sprintf("PRAGMA max_page_count = %d", pages+int64(max(more, 0))))
		return err
	}, true))
}

func TestFullDisk(t *testing.T) {
	b := newBench(t)
	s := b.session(t, 4)
	_, _, err := b.Accept(t.Context(), newInvocation())
	must(t, err)
	lost := newInvocation()
	_, _, err = b.Accept(t.Context(), lost)
	must(t, err)
	c, err := b.Claim(t.Context(), s, 0, 2)
	must(t, err)
	small := deferd.Settlement{Lease: c.Leases[0].ID, Outcome: completed("")}
	large := deferd.Settlement{Lease: c.Leases[1].ID, Outcome: completed(string(make([]byte, deferd.MaxStaged)))}

	b.limit(t, 2)
	big := inline(deferd.MaxInline)
	big.RetryToken = token(1)
	errs := b.together(t,
		b.accepting(big),
		func(ctx context.Context) error { return b.Settle(ctx, small) },
		func(ctx context.Context) error { return b.Settle(ctx, large) },
		b.accepting(newInvocation()))
	for i, wantOK := range []bool{false, true, false, true} {
		switch {
		case wantOK && errs[i] != nil:
			t.Errorf("operation %d, which needs no space, fails: %v", i, errs[i])
		case !wantOK:
			wantCode(t, errs[i], deferd.Unavailable)
		}
	}
	b.wantCounts(t, deferd.Counts{Accepted: 3, Queued: 1, Running: 1, Publishing: 1})
	if _, err := b.Invocation(t.Context(), "e", string(big.ID)); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("of the refused accept something is found (%v)", err)
	}

	b.limit(t, -1)
	if _, repeated, err := b.Accept(t.Context(), big); err != nil || repeated {
		t.Errorf("with space again the accept gives repeated = %v, %v", repeated, err)
	}
	must(t, b.Settle(t.Context(), large))
	body, err := b.Body(t.Context(), big.ID)
	if err != nil || len(body) != deferd.MaxInline {
		t.Errorf("its body has %d bytes, %v", len(body), err)
	}
	b.wantCounts(t, deferd.Counts{Accepted: 4, Queued: 2, Publishing: 2})
}

func TestEndedRequestIsNotStored(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	_, _, err := b.Accept(ctx, newInvocation())
	wantCode(t, err, deferd.Unavailable)
	b.wantCounts(t, deferd.Counts{})
}

// TestWhatIsSynced shows which commits wait for the disk: those that somebody
// was promised, and no others.
func TestWhatIsSynced(t *testing.T) {
	b := newBench(t)
	s := b.session(t, 1)
	step := func(name, want string, err error) {
		t.Helper()
		must(t, err)
		if got := b.writer.sync; got != want {
			t.Errorf("%s was committed with synchronous=%s, want %s", name, got, want)
		}
	}
	inv, _, err := b.Accept(t.Context(), newInvocation())
	step("an accept", "FULL", err)
	c, err := b.Claim(t.Context(), s, 0, 1)
	step("a claim", "NORMAL", err)
	step("a settle", "FULL", b.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: completed("x")}))
	step("a finish", "NORMAL", b.Finish(t.Context(), inv.ID, 1, nil))
	errs := b.together(t, b.accepting(newInvocation()), func(ctx context.Context) error {
		_, err := b.Claim(ctx, s, c.Number, 1)
		return err
	})
	if mode, err := pragmaInt(b.writer.conn, "synchronous"); err != nil || mode != 2 {
		t.Errorf("an accept and a claim together were committed with synchronous=%d, %v, want 2 (FULL)", mode, err)
	}
	must(t, errs[0])
	must(t, errs[1])
}

// TestLogIsMoved writes more than the log is to hold.
func TestLogIsMoved(t *testing.T) {
	b := newBench(t)
	for range 60 {
		_, _, err := b.Accept(t.Context(), inline(deferd.MaxInline))
		must(t, err)
	}
	b.writer.stop()
	long, moved, err := b.writer.moveLog("NOOP")
	must(t, err)
	if long-moved > checkpointPages {
		t.Errorf("%d of the log's %d pages are not in the file, want at most %d", long-moved, long, checkpointPages)
	}
	info, err := os.Stat(b.path + "-wal")
	must(t, err)
	if most := int64(2 * checkpointPages * 4096); info.Size() > most {
		t.Errorf("the log has %d bytes, want at most %d", info.Size(), most)
	}
}

// TestStoreFails lets a sync or a read fail in thought.
func TestStoreFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		result sqlite.ResultCode
		want   error
	}{
		{"a sync", sqlite.ResultIOErrFsync, errSyncFailed},
		{"a page", sqlite.ResultCorrupt, errUnreadable},
		{"an index", sqlite.ResultCorrupt | 3<<8, errUnreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			kept := newInvocation()
			_, _, err := b.Accept(t.Context(), kept)
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			must(t, b.Watch(ctx))

			failure := fmt.Errorf("commit: %w", test.result.ToError())
			_ = b.writer.do(func(*tx) error { return failure }, true)
			if err := b.Watch(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("the store that has failed says %v", err)
			}
			_, _, err = b.Accept(t.Context(), newInvocation())
			wantCode(t, err, deferd.Unavailable)
			if !errors.Is(err, test.want) {
				t.Errorf("an accept is refused with %v", err)
			}
			if _, err := b.Invocation(t.Context(), "e", string(kept.ID)); err != nil {
				t.Errorf("what was accepted before cannot be read: %v", err)
			}
		})
	}
}
