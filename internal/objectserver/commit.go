package objectserver

import (
	"errors"
	"fmt"
	"time"

	"github.com/deferd/deferd"
)

// groupBytes is how much one sync covers at most, give or take a record. More
// makes the first of a group wait for the last.
const groupBytes = 8 << 20

// A commit is a change on its way through the appender.
type commit struct {
	// prepare judges the change against the state that is there when its turn
	// comes, and returns what to append; nothing means that nothing changes.
	prepare func() ([]change, error)

	// exclusive keeps the commit in a group of its own, so that prepare sees
	// all that came before it, and all that comes after sees its change. The
	// others must not depend on changes of the same kind in their group.
	exclusive bool

	// early is an object that is visible when done is closed, and durable later.
	// It has no prepare.
	early *early

	err  error         // set before done is closed
	done chan struct{} // closed when the change is durable and visible, or refused
}

// A change is an encoded record, or none if it need not outlive the process,
// and what it does to the state. apply runs under Store.mu once the record is
// durable.
type change struct {
	buf   []byte
	apply func(pos)
}

// commit runs one change through the appender and waits for it.
func (s *Store) commit(exclusive bool, prepare func() ([]change, error)) error {
	return s.await(&commit{prepare: prepare, exclusive: exclusive})
}

// await hands a commit to the appender and waits for its end.
func (s *Store) await(c *commit) error {
	c.done = make(chan struct{})
	if !s.commits.put(c) {
		return errClosed
	}
	<-c.done
	return c.err
}

// appendCommits is the appender. It alone changes the state and writes the
// log, until the queue is closed and empty.
func (s *Store) appendCommits() {
	for {
		batch := s.commits.take()
		if len(batch) == 0 {
			s.flushLast()
			return
		}
		batch = s.show(batch)
		for len(batch) > 0 {
			n := 1
			for !batch[0].exclusive && n < len(batch) && !batch[n].exclusive {
				n++
			}
			n = s.commitGroup(batch[:n])
			batch = batch[n:]
		}
	}
}

// commitGroup appends what was shown early and a group of commits, or as many
// of them as one sync shall cover, and answers them. It returns how many. What
// was shown comes first, so nothing that is durable was built on what is not.
func (s *Store) commitGroup(group []*commit) int {
	seg, err := s.writable()
	if err != nil {
		for _, c := range group {
			c.finish(err)
		}
		if len(s.waiting) > 0 {
			s.earlyTried(err)
		}
		return len(group)
	}
	base := seg.size
	buf := appendEarly(s.groupBuf[:0], s.waiting, seg)
	var changes []change
	for i, c := range group {
		if i > 0 && len(buf) >= groupBytes {
			group = group[:i]
			break
		}
		prepared, err := c.prepare()
		if err != nil {
			c.err = err
			continue
		}
		for _, ch := range prepared {
			if len(ch.buf) > 0 {
				sealRecord(ch.buf, base, seg.nonce)
				buf = append(buf, ch.buf...)
			}
		}
		changes = append(changes, prepared...)
	}
	if cap(buf) <= groupBytes {
		s.groupBuf = buf
	}
	early := len(s.waiting) > 0
	err = s.appendDurably(seg, buf)
	if err != nil {
		for _, c := range group {
			if c.err == nil {
				c.err = err
			}
		}
	} else {
		s.publish(seg, base, changes)
	}
	if early {
		s.earlyTried(err)
	}
	for _, c := range group {
		close(c.done)
	}
	return len(group)
}

func (c *commit) finish(err error) {
	c.err = err
	close(c.done)
}

// publish makes durable changes visible, which follow what was shown early.
func (s *Store) publish(seg *segment, off int64, changes []change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	off = s.landed(seg, off)
	for _, ch := range changes {
		p := pos{seg: seg, off: off, n: int64(len(ch.buf))}
		off += p.n
		ch.apply(p)
	}
}

// appendDurably writes b to the end of seg and syncs it. If that fails, none
// of b will be read again, or the error wraps errInDoubt.
func (s *Store) appendDurably(seg *segment, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := s.disk.write(seg.f, b, seg.size)
	if err != nil {
		// What was written is cut off; often that is all a full disk needs.
		if seg.f.Truncate(seg.size) != nil || s.disk.sync(seg.f) != nil {
			s.broken = true
		}
	} else if err = s.disk.sync(seg.f); err != nil {
		s.broken = true
	}
	if err == nil {
		seg.size += int64(len(b))
		s.synced = time.Now()
		return nil
	}
	s.log.Error("write object log", "path", seg.path, "err", err)
	err = unavailable(fmt.Errorf("append to %s: %w", seg.path, err))
	if s.broken {
		if _, again := s.writable(); again != nil {
			return &deferd.Error{Code: deferd.Unavailable, Msg: codeUnavailable, Err: errors.Join(errInDoubt, err, again)}
		}
	}
	return err
}

// writable returns the segment to append to. It begins a new one when the last
// is full, or when a failed sync has left its end in doubt.
func (s *Store) writable() (*segment, error) {
	last := s.last
	if !s.broken && last.size < s.segmentSize {
		return last, nil
	}
	seg, err := s.createSegment(last.number+1, last.size)
	if err != nil {
		// The new header may have become durable all the same, so nothing may
		// be appended to the old segment any more.
		s.broken = true
		s.log.Error("begin object log segment", "err", err)
		return nil, unavailable(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, seg)
	s.last = seg
	s.broken = false
	s.wakeKeeper()
	return seg, nil
}
