package riverqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/deferd/deferd/bench/peers/internal/peer"
)

const (
	// attempts and timeout are deferd's: three tries, an hour for each.
	attempts = 3
	timeout  = time.Hour

	// River's own 100 ms between fetches would bound 64 workers to 640 jobs a
	// second. From 1 to 30 ms, neither rates nor CPU times differed clearly.
	fetchCooldown = 2 * time.Millisecond
	fetchPoll     = 20 * time.Millisecond

	// events is how many completions may wait to be counted. River drops what
	// does not fit.
	events = 1 << 20

	// stopLimit bounds how long jobs that run may take at the end.
	stopLimit = 2 * time.Second
)

// args are a job's: an invocation as JSON, which is what River keeps.
type args struct{ peer.Invocation }

func (args) Kind() string { return "invocation" }

// A worker works on jobs.
type worker struct {
	river.WorkerDefaults[args]
	work peer.Work
}

func (w *worker) Work(ctx context.Context, job *river.Job[args]) error {
	return w.work(ctx, job.Args.Invocation)
}

// A Queue is a peer's, without what only the owner of the driver knows.
type Queue[Tx any] struct {
	driver  riverdriver.Driver[Tx]
	workers *river.Workers
	logger  *slog.Logger
	group   *grouper // nil where each job has a transaction of its own

	client            atomic.Pointer[river.Client[Tx]] // that works, or else one that only inserts
	working           bool
	counted           chan struct{} // closed when the client's events have ended
	completed, failed atomic.Int64
}

// Open makes River's tables, and a queue whose jobs nobody works on yet. With
// settings that group, as many groups as committers are inserted at a time.
func Open[Tx any](ctx context.Context, driver riverdriver.Driver[Tx], s peer.Settings, committers int) (*Queue[Tx], error) {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: s.Logger})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("make River's tables: %w", err)
	}
	q := &Queue[Tx]{driver: driver, workers: river.NewWorkers(), logger: s.Logger}
	river.AddWorker(q.workers, &worker{work: s.Work})
	if err := q.onlyInsert(); err != nil {
		return nil, err
	}
	if s.Group {
		q.group = startGrouper(committers, q.insertMany)
	}
	return q, nil
}

func (q *Queue[Tx]) onlyInsert() error {
	c, err := river.NewClient(q.driver, &river.Config{Logger: q.logger, MaxAttempts: attempts})
	if err != nil {
		return err
	}
	q.client.Store(c)
	return nil
}

// Add implements peer.Queue.
func (q *Queue[Tx]) Add(ctx context.Context, inv peer.Invocation) error {
	if q.group != nil {
		return q.group.add(ctx, inv)
	}
	_, err := q.client.Load().Insert(ctx, args{inv}, nil)
	return err
}

func (q *Queue[Tx]) insertMany(ctx context.Context, invs []peer.Invocation) error {
	params := make([]river.InsertManyParams, len(invs))
	for i, inv := range invs {
		params[i].Args = args{inv}
	}
	_, err := q.client.Load().InsertManyFast(ctx, params)
	return err
}

// SetWorkers implements peer.Queue. The client that works is also the one that
// inserts: with SQLite, that is how it hears of new jobs at once.
func (q *Queue[Tx]) SetWorkers(ctx context.Context, n int) error {
	if err := q.stopWorkers(); err != nil || n == 0 {
		return err
	}
	c, err := river.NewClient(q.driver, &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: n}},
		Workers:           q.workers,
		FetchCooldown:     fetchCooldown,
		FetchPollInterval: fetchPoll,
		MaxAttempts:       attempts,
		JobTimeout:        timeout,
		Logger:            q.logger,
	})
	if err != nil {
		return err
	}
	happened, _ := c.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: events,
		Kinds:    []river.EventKind{river.EventKindJobCompleted, river.EventKindJobFailed},
	})
	if err := c.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		q.count(happened)
	}()
	q.client.Store(c)
	q.working, q.counted = true, counted
	return nil
}

// count counts until the client stops. River tells of a completion after it is
// stored.
func (q *Queue[Tx]) count(happened <-chan *river.Event) {
	for e := range happened {
		if e.Kind == river.EventKindJobCompleted {
			q.completed.Add(1)
			continue
		}
		q.failed.Add(1)
		q.logger.Warn("an attempt failed", "err", e.Job.Errors[len(e.Job.Errors)-1].Error)
	}
}

// stopWorkers lets the jobs that run end for a while, and then cancels them.
func (q *Queue[Tx]) stopWorkers() error {
	if !q.working {
		return nil
	}
	c := q.client.Load()
	if err := q.onlyInsert(); err != nil {
		return err
	}
	q.working = false
	soft, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	err := c.Stop(soft)
	if errors.Is(err, context.DeadlineExceeded) {
		hard, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		err = c.StopAndCancel(hard)
	}
	if err != nil {
		return fmt.Errorf("stop River: %w", err)
	}
	<-q.counted
	return nil
}

// Counts implements peer.Queue.
func (q *Queue[Tx]) Counts(context.Context) (completed, failed int64, err error) {
	return q.completed.Load(), q.failed.Load(), nil
}

// Close ends the workers. The database is its owner's to close.
func (q *Queue[Tx]) Close() error {
	err := q.stopWorkers()
	if q.group != nil {
		q.group.stop()
	}
	return err
}
