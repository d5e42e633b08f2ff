// Command asynq is the peer that queues with asynq, in a Redis of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/deferd/deferd/bench/peers/internal/peer"
)

const (
	kind  = "invocation"
	queue = "default"

	// attempts and timeout are deferd's: three tries, an hour for each.
	attempts = 3
	timeout  = time.Hour

	// connections to Redis. Each accept that waits has one, so that Redis finds
	// as many as possible for one sync.
	connections = 512

	// perServer is how many tasks one asynq server works on at a time. A
	// server takes its tasks one after the other, a sync for each, so that
	// several take them faster.
	perServer = 16
)

func main() { peer.Main("asynq", open) }

// A tasks is the queue.
type tasks struct {
	redis   *redisServer
	client  *asynq.Client
	work    peer.Work
	logger  *slog.Logger
	servers []*asynq.Server
	failed  atomic.Int64
}

func open(ctx context.Context, s peer.Settings) (peer.Queue, error) {
	r, err := startRedis(ctx, s.Dir)
	if err != nil {
		return nil, err
	}
	return &tasks{
		redis:  r,
		client: asynq.NewClientFromRedisClient(r.client),
		work:   s.Work,
		logger: s.Logger,
	}, nil
}

func (t *tasks) Durability(ctx context.Context) (string, error) { return t.redis.durability(ctx) }

// Add keeps the body as it is, and the rest in headers, which spares JSON and
// Base64.
func (t *tasks) Add(ctx context.Context, inv peer.Invocation) error {
	task := asynq.NewTaskWithHeaders(kind, inv.Body, map[string]string{
		"endpoint": inv.Endpoint, "content-type": inv.ContentType, "input": inv.Input,
	})
	_, err := t.client.EnqueueContext(ctx, task, asynq.TaskID(inv.ID), asynq.Queue(queue), asynq.MaxRetry(attempts-1), asynq.Timeout(timeout))
	return err
}

func (t *tasks) SetWorkers(_ context.Context, n int) error {
	t.stopWorkers()
	for n > 0 {
		share := min(n, perServer)
		n -= share
		server := asynq.NewServerFromRedisClient(t.redis.client, asynq.Config{
			Concurrency:       share,
			Queues:            map[string]int{queue: 1},
			TaskCheckInterval: 5 * time.Millisecond, // how long an empty queue is left alone; default 1s
			ShutdownTimeout:   time.Second,
			LogLevel:          asynq.WarnLevel,
			ErrorHandler: asynq.ErrorHandlerFunc(func(ctx context.Context, _ *asynq.Task, err error) {
				t.failed.Add(1)
				t.logger.WarnContext(ctx, "an attempt failed", "err", err)
			}),
		})
		if err := server.Start(asynq.HandlerFunc(t.process)); err != nil {
			return err
		}
		t.servers = append(t.servers, server)
	}
	return nil
}

func (t *tasks) process(ctx context.Context, task *asynq.Task) error {
	id, _ := asynq.GetTaskID(ctx)
	h := task.Headers()
	return t.work(ctx, peer.Invocation{
		ID: id, Endpoint: h["endpoint"], ContentType: h["content-type"], Input: h["input"], Body: task.Payload(),
	})
}

func (t *tasks) stopWorkers() {
	for _, s := range t.servers {
		s.Stop()
	}
	var wg sync.WaitGroup
	for _, s := range t.servers {
		wg.Go(s.Shutdown)
	}
	wg.Wait()
	t.servers = nil
}

// Counts reads asynq's own counters, which change with the tasks' states.
func (t *tasks) Counts(ctx context.Context) (completed, failed int64, err error) {
	processed, err := t.redis.client.Get(ctx, "asynq:{"+queue+"}:processed").Int64()
	if errors.Is(err, redis.Nil) {
		return 0, t.failed.Load(), nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read asynq's counters: %w", err)
	}
	failures, err := t.redis.client.Get(ctx, "asynq:{"+queue+"}:failed").Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, 0, fmt.Errorf("read asynq's counters: %w", err)
	}
	return processed - failures, t.failed.Load(), nil
}

func (t *tasks) Processes() []int { return []int{t.redis.process.ID()} }

func (t *tasks) Close() error {
	t.stopWorkers()
	return t.redis.stop()
}
