package sqlite

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
)

// feeds are who wants to know when there is something to do.
type feeds struct {
	work       atomic.Pointer[func(deferd.EndpointID)]
	waiting    atomic.Pointer[func(deferd.EndpointID) (deferd.WaitingClaim, bool)]
	publishing atomic.Pointer[func(deferd.Sequence)]
	due        atomic.Pointer[func()]
	notice     atomic.Pointer[func(string)]
	nextDue    atomic.Int64 // what the last Sweep returned, in microseconds; 0: nothing
}

func (s *Store) OnWork(f func(deferd.EndpointID)) { s.feeds.work.Store(&f) }
func (s *Store) OnReady(f func(deferd.EndpointID) (deferd.WaitingClaim, bool)) {
	s.feeds.waiting.Store(&f)
}
func (s *Store) OnPublishing(f func(deferd.Sequence)) { s.feeds.publishing.Store(&f) }
func (s *Store) OnDue(f func())                       { s.feeds.due.Store(&f) }
func (s *Store) OnNotice(f func(target string))       { s.feeds.notice.Store(&f) }

// announceWork says that an endpoint has work: at the end of the group a claim
// that waits for it is served, and once the group is committed others are told.
func (t *tx) announceWork(e deferd.EndpointID) {
	if t.store != nil && !slices.Contains(t.work, e) {
		t.work = append(t.work, e)
	}
}

// handOut gives the group's new work to claims that wait, one of each endpoint's.
func (t *tx) handOut() error {
	tell, waiting := t.store.feeds.work.Load(), t.store.feeds.waiting.Load()
	for _, e := range t.work {
		if tell != nil {
			t.after = append(t.after, func() { (*tell)(e) })
		}
		if waiting == nil {
			continue
		}
		w, ok := (*waiting)(e)
		if !ok {
			continue
		}
		t.undo = append(t.undo, func() { w.Answer(deferd.Claim{}) })
		c, err := t.claim(w.Session, w.Confirmed, w.Free)
		if _, refused := errors.AsType[*deferd.Error](err); refused {
			c, err = deferd.Claim{}, nil
		}
		if err != nil {
			return err
		}
		t.after = append(t.after, func() { w.Answer(c) })
	}
	return nil
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

// announceNotice tells, once the group is durable, that there is something to
// deliver to a target.
func (t *tx) announceNotice(target string) {
	if f := t.store.feeds.notice.Load(); f != nil {
		t.after = append(t.after, func() { (*f)(target) })
	}
}
