package dispatch

import (
	"slices"
	"sync"

	"github.com/deferd/deferd"
)

// waiting are the claims that wait for work, by endpoint, the longest first.
type waiting struct {
	mu     sync.Mutex
	claims map[deferd.EndpointID][]chan struct{} // each has room for its one wake-up
}

// add queues a claim up; the channel tells it to look again.
func (w *waiting) add(e deferd.EndpointID) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	woken := make(chan struct{}, 1)
	w.claims[e] = append(w.claims[e], woken)
	return woken
}

// wake tells the endpoint's longest waiting claim to look again. One is enough:
// a claim that gets something, or leaves after it was woken, wakes the next.
func (w *waiting) wake(e deferd.EndpointID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.claims[e]
	if len(queue) == 0 {
		return
	}
	queue[0] <- struct{}{}
	w.set(e, queue[1:])
}

// leave takes a claim out and reports whether it had been woken.
func (w *waiting) leave(e deferd.EndpointID, woken chan struct{}) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.claims[e]
	if i := slices.Index(queue, woken); i >= 0 {
		w.set(e, slices.Delete(queue, i, i+1))
		return false
	}
	return true
}

func (w *waiting) set(e deferd.EndpointID, queue []chan struct{}) {
	if len(queue) == 0 {
		delete(w.claims, e)
		return
	}
	w.claims[e] = queue
}

func (w *waiting) count() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, queue := range w.claims {
		n += len(queue)
	}
	return n
}
