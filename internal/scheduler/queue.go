package scheduler

import (
	"context"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// A queue holds the endpoints that are to be looked at, each once.
type queue struct {
	mu     sync.Mutex
	queued map[deferd.EndpointID]bool
	order  []deferd.EndpointID
	more   chan struct{} // has room for one: something was queued
	timers map[deferd.EndpointID]timer
}

// A timer queues an endpoint later.
type timer struct {
	at   time.Time
	stop func() bool
}

func newQueue() *queue {
	return &queue{queued: map[deferd.EndpointID]bool{}, more: make(chan struct{}, 1), timers: map[deferd.EndpointID]timer{}}
}

func (q *queue) add(id deferd.EndpointID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queued[id] {
		return
	}
	q.queued[id] = true
	q.order = append(q.order, id)
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// addAfter queues an endpoint after d, unless something else will do so earlier.
func (q *queue) addAfter(id deferd.EndpointID, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := time.Now().Add(d)
	if t, ok := q.timers[id]; ok {
		if !t.at.After(at) {
			return
		}
		t.stop()
	}
	due := time.AfterFunc(d, func() {
		q.mu.Lock()
		if q.timers[id].at.Equal(at) {
			delete(q.timers, id)
		}
		q.mu.Unlock()
		q.add(id)
	})
	q.timers[id] = timer{at, due.Stop}
}

// stop ends what waits to be queued.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.timers {
		t.stop()
	}
	clear(q.timers)
}

// next takes the endpoint that has waited longest; ok is false when ctx has
// ended.
func (q *queue) next(ctx context.Context) (id deferd.EndpointID, ok bool) {
	for ctx.Err() == nil {
		q.mu.Lock()
		if len(q.order) > 0 {
			id, q.order = q.order[0], q.order[1:]
			delete(q.queued, id)
			q.mu.Unlock()
			return id, true
		}
		q.mu.Unlock()
		select {
		case <-q.more:
		case <-ctx.Done():
		}
	}
	return "", false
}
