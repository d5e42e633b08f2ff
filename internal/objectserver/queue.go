package objectserver

import "sync"

// A queue hands what many put in to one who takes everything there is.
type queue[T any] struct {
	mu     sync.Mutex
	filled sync.Cond // L is &mu
	items  []T       // guarded by mu
	closed bool      // guarded by mu
}

func newQueue[T any]() *queue[T] {
	q := new(queue[T])
	q.filled.L = &q.mu
	return q
}

// put adds an item, or reports that the queue is closed.
func (q *queue[T]) put(item T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, item)
	q.filled.Signal()
	return true
}

// take waits for items and returns all of them; none say that the queue was
// closed and is empty.
func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.filled.Wait()
	}
	items := q.items
	q.items = nil
	return items
}

func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
