package dispatch

import (
	"maps"
	"slices"
	"sync"

	"github.com/deferd/deferd"
)

// waiting are the claims that wait for work, by endpoint, the longest first.
// One claim is woken at a time. Whoever is woken owes the others something: it
// takes work and wakes the next, since there may be more; it finds work that it
// may not take itself and passes the wake-up on; or it leaves and passes it on.
type waiting struct {
	mu     sync.Mutex
	last   int64 // place of the newest waiter
	claims map[deferd.EndpointID][]*waiter
}

// A waiter is one claim that waits.
type waiter struct {
	place   int64 // in the order in which all claims queued up
	request deferd.ClaimRequest
	woken   chan wakeUp // has room for one
}

// A wakeUp tells a claim to look again, or what it was served with meanwhile.
type wakeUp struct {
	upTo  int64 // up to which place it may be passed on
	claim deferd.Claim
}

// add queues a claim up; its channel tells it to look again.
func (w *waiting) add(e deferd.EndpointID, c deferd.ClaimRequest) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	a := &waiter{place: w.last, request: c, woken: make(chan wakeUp, 1)}
	w.claims[e] = append(w.claims[e], a)
	return a
}

// wake tells the endpoint's longest waiting claim to look again.
func (w *waiting) wake(e deferd.EndpointID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass(e, w.last)
}

// passOn hands a wake-up to the next claim that has waited since before it
// began; so it meets each claim once, and ends.
func (w *waiting) passOn(e deferd.EndpointID, upTo int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass(e, upTo)
}

// wakeAll tells all of an endpoint's claims to look again.
func (w *waiting) wakeAll(e deferd.EndpointID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.claims[e]) > 0 {
		w.pass(e, w.last)
	}
}

// wakeEverybody does so for every endpoint.
func (w *waiting) wakeEverybody() {
	w.mu.Lock()
	endpoints := slices.Collect(maps.Keys(w.claims))
	w.mu.Unlock()
	for _, e := range endpoints {
		w.wakeAll(e)
	}
}

// pass wakes the longest waiting claim whose place is at most upTo. The caller
// holds mu.
func (w *waiting) pass(e deferd.EndpointID, upTo int64) {
	queue := w.claims[e]
	if len(queue) == 0 || queue[0].place > upTo {
		return
	}
	queue[0].woken <- wakeUp{upTo: upTo}
	w.set(e, queue[1:])
}

// take hands the endpoint's longest waiting claim to the store, to be served.
// The wake-up comes with the answer.
func (w *waiting) take(e deferd.EndpointID) (c deferd.WaitingClaim, waits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.claims[e]
	if len(queue) == 0 {
		return c, false
	}
	first, upTo := queue[0], w.last
	w.set(e, queue[1:])
	return deferd.WaitingClaim{
		ClaimRequest: first.request,
		Answer:       func(c deferd.Claim) { first.woken <- wakeUp{upTo, c} },
	}, true
}

// leave takes a claim out. If it had been woken, it passes that on, and returns
// what it was served with.
func (w *waiting) leave(e deferd.EndpointID, a *waiter) deferd.Claim {
	if w.remove(e, a) {
		return deferd.Claim{}
	}
	woken := <-a.woken // perhaps only when the store has committed
	w.passOn(e, woken.upTo)
	return woken.claim
}

// remove takes out a claim that has not been woken.
func (w *waiting) remove(e deferd.EndpointID, a *waiter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.claims[e]
	i := slices.Index(queue, a)
	if i >= 0 {
		w.set(e, slices.Delete(queue, i, i+1))
	}
	return i >= 0
}

func (w *waiting) set(e deferd.EndpointID, queue []*waiter) {
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
