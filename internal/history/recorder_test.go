package history

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sqlite"
	"github.com/deferd/deferd/internal/storetest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

const account = "000000000000"

// A bench is a Recorder over the real store, inside a bubble, with an endpoint.
type bench struct {
	*Recorder
	t         *testing.T
	db        *countingStore
	queue     deferd.Store // as those see it who put work into it
	instances atomic.Int64

	mu      sync.Mutex
	actions []string // of alarms, with the state
	again   bool     // what actions answer
}

// A countingStore counts its calls by name.
type countingStore struct {
	deferd.Store
	reads, writes atomic.Int64
	refuse        atomic.Int64 // how many of the next writes of history are refused
}

func (s *countingStore) Points(ctx context.Context, of deferd.Series, from, to time.Time) ([]deferd.Point, error) {
	s.reads.Add(1)
	return s.Store.Points(ctx, of, from, to)
}

func (s *countingStore) Counts(ctx context.Context, e deferd.EndpointID) (deferd.Counts, error) {
	s.reads.Add(1)
	return s.Store.Counts(ctx, e)
}

func (s *countingStore) Document(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, n string) (deferd.Document, error) {
	s.reads.Add(1)
	return s.Store.Document(ctx, k, a, n)
}

func (s *countingStore) AddHistory(ctx context.Context, points []deferd.Point) error {
	s.writes.Add(1)
	if s.refuse.Add(-1) >= 0 {
		return deferd.Errorf(deferd.Unavailable, "not now")
	}
	return s.Store.AddHistory(ctx, points)
}

// inBubble runs a test with a bench whose Recorder runs.
func inBubble(t *testing.T, test func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(filepath.Join(t.TempDir(), "deferd.db"), sqlite.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		b := &bench{t: t, db: &countingStore{Store: storetest.Serial(db)}}
		b.instances.Store(1)
		b.Recorder = New(Config{
			Store: b.db, Account: account, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
			Instances: func(deferd.EndpointID) int { return int(b.instances.Load()) },
			Act: func(_ context.Context, arn string, c deferd.AlarmChange) (bool, error) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.actions = append(b.actions, arn+" "+string(c.Alarm.State))
				return b.again, nil
			},
		})
		b.queue = b.Recorder.Store(b.db)
		b.queue.OnWork(func(deferd.EndpointID) {})
		b.addEndpoint("ep")
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { b.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		synctest.Wait()
		test(t, b)
	})
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) addEndpoint(name string) {
	b.t.Helper()
	ctx, now := b.t.Context(), b.db.Now()
	if name == "ep" {
		b.must(b.db.CreateModel(ctx, deferd.Model{ID: "m", Account: account, Name: "m", Created: now}))
		b.must(b.db.CreateConfig(ctx, deferd.Config{ID: "c", Account: account, Name: "c", Created: now, Variants: []deferd.Variant{{Name: "v", ModelID: "m"}}}))
	}
	b.must(b.queue.CreateEndpoint(ctx, deferd.Endpoint{
		ID: deferd.EndpointID("id-" + name), Account: account, Name: deferd.EndpointName(name), ConfigID: "c", Created: now, Modified: now,
		Status: deferd.EndpointInService, Variants: []deferd.EndpointVariant{{Name: "v", Desired: 1}},
	}))
}

// accept queues an invocation.
func (b *bench) accept() deferd.Invocation {
	b.t.Helper()
	id := deferd.InvocationID(uuid.Must(uuid.NewV7()).String())
	inv, _, err := b.queue.Accept(b.t.Context(), deferd.NewInvocation{
		ID: id, InferenceID: string(id), Account: account, Endpoint: "id-ep", Config: "c",
		Input: deferd.Location{Bucket: "b", Key: "in"}, Output: deferd.Location{Bucket: "b", Key: "out"},
		TTL: time.Hour, Timeout: time.Minute,
	})
	b.must(err)
	return inv
}

// A storeWork is as much of a server as agents need here.
type storeWork struct {
	deferd.Work
	deferd.Store
}

func (w storeWork) Open(ctx context.Context, s deferd.Session) (deferd.SessionID, error) {
	return w.OpenSession(ctx, s)
}
func (w storeWork) Claim(ctx context.Context, c deferd.ClaimRequest) (deferd.Claim, error) {
	return w.Store.Claim(ctx, c.Session, c.Confirmed, c.Free)
}
func (w storeWork) Settle(ctx context.Context, s deferd.Settlement) error {
	return w.Store.Settle(ctx, s)
}
func (w storeWork) Release(ctx context.Context, r deferd.Release) error {
	return w.Store.Release(ctx, r)
}
func (w storeWork) Extend(ctx context.Context, e deferd.ExtendRequest) (x deferd.Extension, err error) {
	x.Lost, err = w.Store.Extend(ctx, e.Session, e.Confirmed, e.Held)
	return x, err
}
func (w storeWork) Close(ctx context.Context, id deferd.SessionID) error {
	return w.CloseSession(ctx, id, deferd.InstanceEnded)
}

// run takes the next invocation to its end.
func (b *bench) run(w deferd.Work, id deferd.SessionID, o deferd.Outcome, times deferd.AttemptTimes) {
	b.t.Helper()
	ctx := b.t.Context()
	c, err := w.Claim(ctx, deferd.ClaimRequest{Session: id, Confirmed: 1 << 40, Free: 1})
	b.must(err)
	if len(c.Leases) != 1 {
		b.t.Fatalf("claimed %d invocations, want 1", len(c.Leases))
	}
	time.Sleep(times.Download + times.Model + times.Upload)
	b.must(w.Settle(ctx, deferd.Settlement{Lease: c.Leases[0].ID, Outcome: o, Times: times}))
	ps, err := b.db.Publishing(ctx, 0, 1)
	b.must(err)
	time.Sleep(time.Millisecond)
	b.must(b.db.Finish(ctx, ps[0].Invocation.ID, ps[0].Decision, nil))
	b.Finished(ps[0])
}

// sample is what is there of a metric of a minute.
func (b *bench) sample(metric string, minute time.Time) (deferd.Sample, bool) {
	b.t.Helper()
	m, _ := deferd.FindMetric(metric)
	s := deferd.EndpointSeries(account, m, "ep", "v")
	s.Metric = metric
	points, err := b.Points(b.t.Context(), s, minute, minute.Add(time.Minute))
	b.must(err)
	if len(points) == 0 {
		return deferd.Sample{}, false
	}
	return points[0].Sample, true
}

func (b *bench) wantSamples(minute time.Time, want map[string]deferd.Sample) {
	b.t.Helper()
	for metric, w := range want {
		got, ok := b.sample(metric, minute)
		if diff := cmp.Diff(w, got); !ok || diff != "" {
			b.t.Errorf("%s at %s: there is a point: %t; (-want +got):\n%s", metric, minute.Format("15:04"), ok, diff)
		}
	}
}

func TestWhatIsMeasured(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		w := b.Work(storeWork{Store: b.queue})
		session, err := w.Open(t.Context(), deferd.Session{Endpoint: "id-ep", Variant: "v", Instance: "i", Slots: 4})
		b.must(err)
		time.Sleep(2 * time.Second)
		minute := b.db.Now().Truncate(time.Minute)
		b.accept()
		b.accept()
		b.accept()
		time.Sleep(20 * time.Second) // one look sees three that wait
		ok := deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, ModelStatus: 200}
		b.run(w, session, ok, deferd.AttemptTimes{Download: 2 * time.Millisecond, Model: 30 * time.Millisecond, Upload: 4 * time.Millisecond})
		bad := deferd.Outcome{State: deferd.Failed, Reason: deferd.ModelClientError, ModelStatus: 400}
		b.run(w, session, bad, deferd.AttemptTimes{Download: 4 * time.Millisecond, Model: 10 * time.Millisecond})
		b.run(w, session, deferd.End(deferd.Download, ""), deferd.AttemptTimes{})
		time.Sleep(10 * time.Second) // another sees none
		check := func() {
			t.Helper()
			b.wantSamples(minute, map[string]deferd.Sample{
				deferd.InvocationsProcessed: {Sum: 3, Min: 1, Max: 1, Count: 3},
				"InvocationsProcessed":      {Sum: 3, Min: 1, Max: 1, Count: 3},
				deferd.InvocationFailures:   {Sum: 2, Min: 1, Max: 1, Count: 2},
				deferd.DownloadFailures:     {Sum: 1, Min: 1, Max: 1, Count: 1},
				deferd.UploadFailures:       {},
				deferd.ExpiredRequests:      {},
				deferd.Invocation4XXErrors:  {Sum: 1, Min: 0, Max: 1, Count: 3},
				deferd.Invocation5XXErrors:  {Sum: 0, Min: 0, Max: 0, Count: 3},
				deferd.ModelLatency:         {Sum: 40_000, Min: 10_000, Max: 30_000, Count: 2},
				deferd.DownloadLatency:      {Sum: 6_000, Min: 2_000, Max: 4_000, Count: 2},
				deferd.UploadLatency:        {Sum: 5_000, Min: 5_000, Max: 5_000, Count: 1},
			})
			for metric, least := range map[string]float64{deferd.TimeInBacklog: 60_000, deferd.ProcessingTime: 60_050} {
				s, _ := b.sample(metric, minute)
				if s.Count != 3 || s.Sum < least || s.Sum > least+200 {
					t.Errorf("%s is %+v, want 3 values of %v in all", metric, s, least)
				}
			}
		}
		check() // from memory
		for b.db.Now().Truncate(time.Minute).Equal(minute) {
			time.Sleep(time.Second)
		}
		synctest.Wait()
		check() // from the store
		b.wantSamples(minute, map[string]deferd.Sample{
			// Looked at three times; before the first accept there was nothing to see.
			deferd.BacklogSize: {Sum: 3, Min: 0, Max: 3, Count: 4},
		})
	})
}

// An endpoint at rest costs nothing, and is at zero all the same.
func TestRest(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		start := b.db.Now().Truncate(time.Minute)
		first := b.db.reads.Load() // the one look at the start
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if reads, writes := b.db.reads.Load()-first, b.db.writes.Load(); reads+writes > 0 {
			t.Errorf("in half an hour of rest: %d reads and %d writes, want none", reads, writes)
		}
		b.wantSamples(start.Add(20*time.Minute), map[string]deferd.Sample{
			deferd.BacklogSize: deferd.SampleOf(0), deferd.BacklogSizePerInstance: deferd.SampleOf(0), deferd.AgeOfOldestRequest: deferd.SampleOf(0),
			deferd.BacklogWithoutCapacity: deferd.SampleOf(0), deferd.InvocationsProcessed: {}, deferd.InvocationFailures: {},
		})
		if s, ok := b.sample(deferd.ModelLatency, start.Add(20*time.Minute)); ok {
			t.Errorf("the latency of no request is %+v, want none", s)
		}
		if _, ok := b.sample(deferd.BacklogSize, start.Add(-time.Minute)); ok {
			t.Error("there is a zero of the time before the endpoint was created")
		}
		if _, ok := b.sample(deferd.BacklogSize, b.db.Now().Add(time.Minute)); ok {
			t.Error("there is a zero of the future")
		}
	})
}

// What cannot be written now is written later, and seen meanwhile.
func TestStoreThatRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.db.refuse.Store(2)
		minute := b.db.Now().Truncate(time.Minute)
		for range 3 {
			b.NotificationFailed("id-ep", "v")
			time.Sleep(time.Minute)
			synctest.Wait()
			b.wantSamples(minute, map[string]deferd.Sample{deferd.NotificationFailures: {Sum: 1, Min: 1, Max: 1, Count: 1}})
		}
		m, _ := deferd.FindMetric(deferd.NotificationFailures)
		points, err := b.db.Store.Points(t.Context(), deferd.EndpointSeries(account, m, "ep", "v"), minute, minute.Add(time.Hour))
		b.must(err)
		if len(points) != 3 {
			t.Errorf("the store has %d points, want 3", len(points))
		}
	})
}

func TestBacklogWithoutInstances(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.instances.Store(0)
		time.Sleep(20 * time.Second)
		b.accept()
		b.accept()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		minute := b.db.Now().Truncate(time.Minute).Add(-time.Minute)
		if s, _ := b.sample(deferd.BacklogWithoutCapacity, minute.Add(-time.Minute)); s.Average() != 1 {
			t.Errorf("in the minute of the first request, %s is %+v, want an average of 1", deferd.BacklogWithoutCapacity, s)
		}
		b.wantSamples(minute, map[string]deferd.Sample{
			deferd.BacklogSize:            {Sum: 8, Min: 2, Max: 2, Count: 4},
			deferd.BacklogSizePerInstance: {Sum: 8, Min: 2, Max: 2, Count: 4},
			deferd.BacklogWithoutCapacity: {Sum: 4, Min: 1, Max: 1, Count: 4},
		})
		if s, _ := b.sample(deferd.AgeOfOldestRequest, minute); s.Min < 39 || s.Max > 100 || s.Count != 4 {
			t.Errorf("the age of the oldest is %+v, want between 39 and 100 seconds", s)
		}
	})
}

func TestSlotsAndLostLeases(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		w := b.Work(storeWork{Store: b.queue})
		session, err := w.Open(t.Context(), deferd.Session{Endpoint: "id-ep", Variant: "v", Instance: "i", Slots: 4})
		b.must(err)
		first := b.accept()
		b.accept()
		c, err := w.Claim(t.Context(), deferd.ClaimRequest{Session: session, Free: 4})
		b.must(err)
		if s := b.Slots(); len(s) != 1 || s[0].Busy != 2 || s[0].Slots != 4 {
			t.Errorf("slots are %+v, want 2 of 4 busy", s)
		}
		_, err = b.db.End(t.Context(), first.ID, deferd.End(deferd.CancelRequested, "")) // by somebody else
		b.must(err)
		_, err = w.Extend(t.Context(), deferd.ExtendRequest{Session: session, Confirmed: c.Number, Held: []deferd.LeaseID{c.Leases[0].ID, c.Leases[1].ID}})
		b.must(err)
		b.must(w.Release(t.Context(), deferd.Release{Lease: c.Leases[1].ID, Reason: deferd.ModelBusy}))
		want := Attempts{map[deferd.Reason]int64{deferd.ModelBusy: 1}, 1}
		if diff := cmp.Diff(want, b.Attempts()); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		b.must(w.Close(t.Context(), session))
		if s := b.Slots(); len(s) != 0 {
			t.Errorf("after the session's end slots are %+v, want none", s)
		}
	})
}

func TestSeriesList(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		for _, name := range []string{"a", "z"} {
			b.addEndpoint(name)
		}
		own := deferd.Series{Account: account, Namespace: "Own", Metric: "M", Dimensions: "", Unit: "None"}
		b.must(b.AddHistory(t.Context(), []deferd.Point{{Series: own, Minute: b.db.Now(), Sample: deferd.SampleOf(1)}}))
		m, _ := deferd.FindMetric(deferd.BacklogSize)
		gone := deferd.EndpointSeries(account, m, "gone", "")
		b.must(b.AddHistory(t.Context(), []deferd.Point{
			{Series: gone, Minute: b.db.Now(), Sample: deferd.SampleOf(1)},
			{Series: deferd.EndpointSeries(account, m, "z", ""), Minute: b.db.Now(), Sample: deferd.SampleOf(1)},
		}))
		list := func(q deferd.SeriesQuery) map[deferd.Series]int {
			found := map[deferd.Series]int{}
			q.Account, q.Max = account, 5
			for {
				page, err := b.SeriesList(t.Context(), q)
				b.must(err)
				for _, s := range page.Items {
					found[s]++
				}
				if q.Token = page.Token; q.Token == "" {
					return found
				}
			}
		}
		all := list(deferd.SeriesQuery{})
		if got, want := len(all), 3*18+2; got != want {
			t.Errorf("there are %d series, want %d", got, want)
		}
		for s, n := range all {
			if n > 1 {
				t.Errorf("%+v is listed %d times", s, n)
			}
		}
		if all[own] != 1 || all[gone] != 1 {
			t.Error("what is stored of anything but living endpoints is not listed")
		}
		one := list(deferd.SeriesQuery{Namespace: deferd.SageMakerNamespace, Dimensions: []deferd.Dimension{{Name: "EndpointName", Value: "a"}}})
		if got, want := len(one), 18; got != want {
			t.Errorf("an endpoint has %d series, want %d", got, want)
		}
	})
}
