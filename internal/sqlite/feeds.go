package sqlite

import (
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
)

// feeds are who wants to know when there is something to do.
type feeds struct {
	work       atomic.Pointer[func(deferd.EndpointID)]
	publishing atomic.Pointer[func(deferd.Sequence)]
	due        atomic.Pointer[func()]
	nextDue    atomic.Int64 // what the last Sweep returned, in microseconds; 0: nothing
}

func (s *Store) OnWork(f func(deferd.EndpointID))     { s.feeds.work.Store(&f) }
func (s *Store) OnPublishing(f func(deferd.Sequence)) { s.feeds.publishing.Store(&f) }
func (s *Store) OnDue(f func())                       { s.feeds.due.Store(&f) }

// announceWork tells, once the group is durable, that an endpoint has work.
func (t *tx) announceWork(e deferd.EndpointID) {
	if t.store == nil {
		return
	}
	f := t.store.feeds.work.Load()
	if f != nil {
		t.after = append(t.after, func() { (*f)(e) })
	}
}

// announcePublishing does the same for a decided outcome.
func (t *tx) announcePublishing(seq deferd.Sequence) {
	if t.store == nil {
		return
	}
	if f := t.store.feeds.publishing.Load(); f != nil {
		t.after = append(t.after, func() { (*f)(seq) })
	}
}

// announceDue does the same for something that is due at a time before the one
// that the sweeper waits for.
func (t *tx) announceDue(at time.Time) {
	if t.store == nil {
		return
	}
	if next := t.store.feeds.nextDue.Load(); next != 0 && at.UnixMicro() >= next {
		return
	}
	if f := t.store.feeds.due.Load(); f != nil {
		t.after = append(t.after, *f)
	}
}
