package process

import (
	"context"
	"sync"

	"github.com/deferd/deferd"
)

// A watcher holds the events that a reader of Watch has not taken yet.
type watcher struct {
	wake chan struct{} // has one element when there may be something pending

	mu      sync.Mutex // guards pending
	pending []deferd.InstanceEvent
}

func newWatcher() *watcher { return &watcher{wake: make(chan struct{}, 1)} }

func (w *watcher) add(events ...deferd.InstanceEvent) {
	w.mu.Lock()
	w.pending = append(w.pending, events...)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) take() []deferd.InstanceEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.pending
	w.pending = nil
	return events
}

// deliver sends what is added until ctx ends.
func (w *watcher) deliver(ctx context.Context, to chan<- deferd.InstanceEvent) {
	for {
		for _, e := range w.take() {
			select {
			case to <- e:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		}
	}
}
