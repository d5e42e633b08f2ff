package sqlite

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// life takes invocations through everything that happens to them often.
func (b *bench) life(t *testing.T) {
	ctx := t.Context()
	s := b.session(t, 4)
	labelled := newInvocation()
	labelled.InferenceID, labelled.RetryToken = "label", token(1)
	for _, n := range []deferd.NewInvocation{newInvocation(), inline(100), labelled, newInvocation(), newInvocation(), newInvocation()} {
		_, _, err := b.Accept(ctx, n)
		must(t, err)
	}
	labelled.ID = newInvocation().ID
	_, _, err := b.Accept(ctx, labelled)
	must(t, err)
	c, err := b.Claim(ctx, s, 0, 4)
	must(t, err)
	held := []deferd.LeaseID{c.Leases[0].ID, c.Leases[1].ID, c.Leases[2].ID}
	_, err = b.Extend(ctx, s, c.Number, held)
	must(t, err)
	_, err = b.Leased(ctx, held[0])
	must(t, err)
	_, err = b.RecordUpload(ctx, held[0], deferd.Upload{Location: deferd.Location{Bucket: "b", Key: "k"}, ID: "u"})
	must(t, err)
	_, err = b.Body(ctx, c.Leases[1].Invocation)
	must(t, err)
	must(t, b.Settle(ctx, deferd.Settlement{Lease: held[0], Outcome: completed("out")}))
	must(t, b.Settle(ctx, deferd.Settlement{Lease: held[1], Outcome: completed("out")}))
	must(t, b.Release(ctx, deferd.Release{Lease: held[2], Reason: deferd.InstanceLost}))
	ps, err := b.Publishing(ctx, 0, 10)
	must(t, err)
	must(t, b.GiveUp(ctx, ps[0].Invocation.ID))
	must(t, b.Redecide(ctx, ps[0].Invocation.ID, deferd.End(deferd.UploadFailed, "m")))
	must(t, b.Finish(ctx, ps[0].Invocation.ID, 2, nil))
	must(t, b.Finish(ctx, ps[1].Invocation.ID, 1, &deferd.Notification{ID: "n", Target: "t", Message: "m"}))
	b.deliver(t)
	uploads, err := b.Abandoned(ctx, 10)
	must(t, err)
	must(t, b.Aborted(ctx, uploads[0].ID))
	_, err = b.End(ctx, c.Leases[3].Invocation, deferd.End(deferd.CancelRequested, "m"))
	must(t, err)
	_, err = b.Invocation(ctx, "e", "label")
	must(t, err)
	_, err = b.Invocation(ctx, "e", string(c.Leases[0].Invocation))
	must(t, err)
	_, err = b.Invocations(ctx, deferd.InvocationQuery{Endpoint: "e", Max: 2})
	must(t, err)
	_, err = b.Counts(ctx, "e")
	must(t, err)
	_, err = b.OldestQueued(ctx, "e")
	must(t, err)
	_, err = b.Sweep(ctx, 10)
	must(t, err)
	b.advance(10 * time.Second)
	_, err = b.Sweep(ctx, 10)
	must(t, err)
	b.advance(2 * time.Hour)
	_, err = b.Sweep(ctx, 10)
	must(t, err)
	must(t, b.CloseSession(ctx, s, deferd.InstanceEnded))
	_, err = b.ChangeEndpoint(ctx, "e", func(e *deferd.Endpoint) error { e.Status = deferd.EndpointDeleting; return nil })
	must(t, err)
	_, err = b.Sweep(ctx, 10)
	must(t, err)
}

// deliver takes notices through everything that happens to them often.
func (b *bench) deliver(t *testing.T) {
	ctx := t.Context()
	must(t, b.AddNotice(ctx, "a", deferd.Notification{ID: "a", Target: "t", Message: "m"}))
	targets, err := b.NoticeTargets(ctx, "", 10)
	must(t, err)
	notices, err := b.DueNotices(ctx, targets[0], 10)
	must(t, err)
	if len(notices) != 2 {
		t.Fatalf("%d notices are due, want 2", len(notices))
	}
	must(t, b.NoticeDelivered(ctx, notices[0].Seq))
	must(t, b.NoticeDelivered(ctx, notices[0].Seq))
	must(t, b.NoticeFailed(ctx, deferd.NoticeTry{Seq: notices[1].Seq, Tries: 1, Error: "e", Next: b.Now()}))
	must(t, b.NoticeFailed(ctx, deferd.NoticeTry{Seq: notices[1].Seq, Tries: 2, Error: "e"}))
	for _, dead := range []bool{false, true} {
		_, err = b.Notices(ctx, deferd.NoticeQuery{Account: "a", Dead: dead, Max: 10})
		must(t, err)
	}
	_, err = b.ReplayNotice(ctx, "a", "a")
	must(t, err)
	_, err = b.OutboxCounts(ctx)
	must(t, err)
	must(t, b.writer.do(func(tx *tx) error { return tx.pruneNotices(b.Now(), 10) }, true))
}

// TestQueriesUseIndexes asks SQLite how it does each statement of the queue's
// life: it must walk no table and sort nothing.
func TestQueriesUseIndexes(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	seen := map[string]bool{}
	b.observe = func(query string) {
		mu.Lock()
		defer mu.Unlock()
		seen[query] = true
	}
	b.life(t)
	b.observe = nil
	seen["SELECT "+invocationColumns+" FROM invocation i WHERE "+running] = true
	if len(seen) < 25 {
		t.Errorf("%d statements were seen, fewer than there must be", len(seen))
	}
	// Indexes that hold nothing but what is wanted.
	walked := []string{"SCAN i USING INDEX invocation_running", "SCAN upload USING INDEX upload_abandoned", "SCAN endpoint USING COVERING INDEX endpoint_deleting"}
	for query := range seen {
		for _, step := range b.plan(t, query) {
			if slices.Contains(walked, step) {
				continue
			}
			if strings.Contains(step, "SCAN") || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s\nin\n%s", step, query)
			}
		}
	}
}

// TestNamesAreFoundByIndex has SQLite say how it finds a thing by its name:
// among all of an account, that would take as long as there are many.
func TestNamesAreFoundByIndex(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		table table
		where string
	}{{models, living}, {configs, living}, {endpoints, livingEndpoint}} {
		got := b.plan(t, "SELECT doc FROM "+test.table.name+" WHERE "+test.where)
		want := []string{"SEARCH " + test.table.name + " USING INDEX " + test.table.name + "_name (account=? AND name=?)"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", test.table.noun, got, want)
		}
	}
}

func (b *bench) plan(t *testing.T, query string) (steps []string) {
	t.Helper()
	must(t, b.writer.do(func(tx *tx) error {
		return tx.query("EXPLAIN QUERY PLAN "+query, func(s *sqlite.Stmt) error {
			steps = append(steps, s.ColumnText(3))
			return nil
		})
	}, true))
	return steps
}

// TestCostOfAnInvocation counts what one invocation costs the store from its
// accept to its end.
func TestCostOfAnInvocation(t *testing.T) {
	b := newBench(t)
	s := b.session(t, 1)
	_, _, err := b.Accept(t.Context(), newInvocation())
	must(t, err)
	number := b.run(t, s, 0) // the first makes the row of counts, and prepares statements

	statements := 0
	var mu sync.Mutex
	b.observe = func(string) { mu.Lock(); statements++; mu.Unlock() }
	commits, _ := b.CommitStats()
	_, _, err = b.Accept(t.Context(), newInvocation())
	must(t, err)
	accept := statements
	b.run(t, s, number)
	b.observe = nil
	after, _ := b.CommitStats()

	if got := after - commits; got != 4 {
		t.Errorf("it takes %d transactions, want 4: accept, claim, settle, finish", got)
	}
	// Row and counts; the endpoint is remembered.
	if accept != 2 {
		t.Errorf("an accept runs %d statements, want 2", accept)
	}
	if got := statements - accept; got != 10 {
		t.Errorf("claim, settle and finish run %d statements, want 10", got)
	}
}

func TestAllocationsOfAnAccept(t *testing.T) {
	b := newBench(t)
	invocations := make([]deferd.NewInvocation, 201)
	for i := range invocations {
		invocations[i] = newInvocation()
	}
	i := 0
	got := testing.AllocsPerRun(len(invocations)-1, func() {
		if _, _, err := b.Accept(t.Context(), invocations[i]); err != nil {
			t.Error(err)
		}
		i++
	})
	if got > 40 {
		t.Errorf("an accept allocates %v times, want at most 40", got)
	}
}

func BenchmarkAccept(b *testing.B) {
	s := newBench(b)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, _, err := s.Accept(b.Context(), newInvocation()); err != nil {
				b.Error(err)
			}
		}
	})
	commits, operations := s.CommitStats()
	b.ReportMetric(float64(operations)/float64(commits), "ops/commit")
}

func BenchmarkClaimSettleFinish(b *testing.B) {
	s := newBench(b)
	var wg sync.WaitGroup
	next := make(chan struct{}, 64)
	for range 64 {
		wg.Go(func() {
			for range next {
				if _, _, err := s.Accept(b.Context(), newInvocation()); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		next <- struct{}{}
	}
	close(next)
	wg.Wait()
	session := s.session(b, 64)
	b.ReportAllocs()
	b.ResetTimer()
	var confirmed int64
	for done := 0; done < b.N; {
		c, err := s.Claim(b.Context(), session, confirmed, 64)
		must(b, err)
		confirmed = c.Number
		for _, l := range c.Leases {
			wg.Go(func() {
				if err := s.Settle(b.Context(), deferd.Settlement{Lease: l.ID, Outcome: completed("out")}); err != nil {
					b.Error(err)
				}
				if err := s.Finish(b.Context(), l.Invocation, 1, nil); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		done += len(c.Leases)
	}
}
