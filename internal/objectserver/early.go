package objectserver

import (
	"context"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

const (
	// earlyWait is how long an early object waits for a sync, if nothing that is
	// synced for another reason covers it before. The first after such a while is
	// synced at once; syncs that are only for early objects are at least this far
	// apart.
	earlyWait = 20 * time.Millisecond

	// earlyBytes is how much of early objects is kept in memory before it is
	// written and synced without waiting.
	earlyBytes = groupBytes / 2

	// earlyRetry is when early objects that could not be written are tried again.
	earlyRetry = time.Second
)

// An early is an object that is visible before it is durable: its record waits,
// in memory, for the next group that the appender writes and syncs.
type early struct {
	record   *record
	buf      []byte // the record, not yet sealed
	replaced *blob  // the files of what it replaced, for as long as a crash brings that back
}

func (x *early) location() deferd.Location {
	return deferd.Location{Bucket: x.record.Bucket, Key: x.record.Key}
}

// PutEarly stores a whole object and returns when it is visible. A large one is
// durable, too: it is written through the disk anyhow.
func (s *Store) PutEarly(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	p := wholeObject(l, a, body)
	p.early = true
	_, err := s.putObject(ctx, p)
	return err
}

// AwaitDurable waits until all that is visible is durable.
func (s *Store) AwaitDurable(ctx context.Context) error { return s.shore.await(ctx) }

// show makes the early objects of a batch visible, and returns the other
// commits. None of the batch was answered, so their order is free.
func (s *Store) show(batch []*commit) []*commit {
	rest := batch[:0]
	var shown []*commit
	for _, c := range batch {
		if c.early == nil {
			rest = append(rest, c)
			continue
		}
		shown = append(shown, c)
	}
	if len(shown) == 0 {
		return rest
	}
	err := s.acceptsEarly()
	if err == nil {
		s.applyEarly(shown)
	}
	for _, c := range shown {
		if err != nil {
			c.err = err
		}
		close(c.done)
	}
	return rest
}

// acceptsEarly says why nothing can be shown early now: what was shown before,
// or any change, could not be written, and so perhaps nothing can.
func (s *Store) acceptsEarly() error {
	if s.earlyErr != nil {
		return s.earlyErr
	}
	if s.broken {
		_, err := s.writable()
		return err
	}
	return nil
}

// applyEarly applies early objects to the index and sees to it that they are
// written.
func (s *Store) applyEarly(shown []*commit) {
	first, before := len(s.waiting), s.waitingBytes
	for _, c := range shown {
		if s.buckets[c.early.record.Bucket] == nil {
			c.err = errNoSuchBucket
			continue
		}
		s.waiting = append(s.waiting, c.early)
		s.waitingBytes += len(c.early.buf)
	}
	fresh := s.waiting[first:]
	s.writeAhead(fresh, int64(before))
	s.mu.Lock()
	for _, x := range fresh {
		s.state.apply(x.record, pos{n: int64(len(x.buf)), early: x})
	}
	s.shore.shown(len(fresh))
	s.mu.Unlock()
	switch {
	case len(fresh) == 0:
	case before < earlyBytes && s.waitingBytes >= earlyBytes:
		s.flushIn(0)
	case before == 0:
		s.flushIn(earlyWait - time.Since(s.synced))
	}
}

// writeAhead writes early records where the next group will write them again, so
// that they outlive a process that is killed. Nothing else relies on it.
func (s *Store) writeAhead(fresh []*early, after int64) {
	if buf := appendEarly(nil, fresh, s.last); len(buf) > 0 {
		_, _ = s.disk.write(s.last.f, buf, s.last.size+after) // what is wrong meets the group's write, too
	}
}

// flushIn has what waits written after a while, unless something else does so
// before.
func (s *Store) flushIn(d time.Duration) {
	s.stopFlush()
	nothing := &commit{prepare: func() ([]change, error) { return nil, nil }, done: make(chan struct{})}
	if d <= 0 {
		s.commits.put(nothing) // behind what has come in meanwhile, which it covers
		return
	}
	s.flush = time.AfterFunc(d, func() { s.commits.put(nothing) })
}

func (s *Store) stopFlush() {
	if s.flush != nil {
		s.flush.Stop()
		s.flush = nil
	}
}

// appendEarly appends the records of early objects to buf, sealed for seg.
func appendEarly(buf []byte, waiting []*early, seg *segment) []byte {
	for _, x := range waiting {
		begin := len(buf)
		buf = append(buf, x.buf...)
		sealRecord(buf[begin:], seg.size, seg.nonce)
	}
	return buf
}

// landed says where early objects lie now that they are durable, and returns
// where the next record lies. mu is held.
func (s *Store) landed(seg *segment, off int64) int64 {
	for _, x := range s.waiting {
		p := pos{seg: seg, off: off, n: int64(len(x.buf))}
		off += p.n
		s.land(x, p)
	}
	clear(s.waiting)
	s.waiting, s.waitingBytes = s.waiting[:0], 0
	return off
}

// earlyTried tells those who wait for early objects how writing them went.
func (s *Store) earlyTried(err error) {
	s.earlyErr = err
	if err != nil {
		s.flushIn(earlyRetry)
	} else {
		s.stopFlush()
	}
	s.shore.tried(err)
}

// flushLast writes what waits when the store closes.
func (s *Store) flushLast() {
	if len(s.waiting) > 0 {
		s.commitGroup(nil)
	}
	s.stopFlush()
	s.shore.close()
}

// A shore is where those wait who want to know that what is visible is durable.
type shore struct {
	mu     sync.Mutex
	seen   int64 // objects that were shown early
	safe   int64 // those of them that are durable
	closed bool
	next   *landing
}

// A landing is one try to make durable what was shown.
type landing struct {
	err  error         // set before done is closed
	done chan struct{} // closed when it was tried
}

func newLanding() *landing { return &landing{done: make(chan struct{})} }

// shown counts objects that are visible now.
func (s *shore) shown(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen += int64(n)
}

// tried says that all that were shown are durable now, or why not.
func (s *shore) tried(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.safe = s.seen
	}
	s.next.err = err
	close(s.next.done)
	s.next = newLanding()
}

// close says that there is no next try.
func (s *shore) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *shore) await(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for want := s.seen; s.safe < want; {
		if s.closed {
			return errClosed
		}
		next := s.next
		s.mu.Unlock()
		select {
		case <-next.done:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if err := ended(ctx); err != nil {
			return err
		}
		if next.err != nil {
			return next.err
		}
	}
	return nil
}
