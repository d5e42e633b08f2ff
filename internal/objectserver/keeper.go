package objectserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	sweepEvery = time.Hour
	moveBytes  = 1 << 20 // of records that are moved in one commit; other callers wait for it
)

// keep does what the store needs now and then: it cleans the log, ends uploads
// that nobody completes, and deletes what lifecycle rules say.
func (s *Store) keep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	s.sweep(time.Now())
	for {
		if err := s.clean(); err != nil && !errors.Is(err, errClosed) {
			s.log.Error("clean object log", "err", err)
		}
		select {
		case <-s.quit:
			return
		case <-s.wake:
		case <-s.due:
			s.sweep(time.Now())
		case now := <-ticker.C:
			s.sweep(now)
		}
	}
}

// sweepSoon tells the keeper that something may have become due.
func (s *Store) sweepSoon() {
	select {
	case s.due <- struct{}{}:
	default:
	}
}

func (s *Store) wakeKeeper() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sweep ends what has expired, objects and uploads, and forgets old
// completions.
func (s *Store) sweep(now time.Time) {
	if err := s.expireObjects(now); err != nil && !errors.Is(err, errClosed) {
		s.log.Warn("delete expired objects", "err", err)
	}
	old := now.Add(-uploadExpiry)
	err := s.commit(true, func() ([]change, error) {
		var records []*record
		for id, u := range s.uploads {
			if !s.uploadEnds(u).After(now) {
				records = append(records, &record{Op: opAbort, Upload: id})
			}
		}
		changes, err := s.changes(records)
		return append(changes, change{apply: func(pos) { s.forgetDone(old) }}), err
	})
	if err != nil && !errors.Is(err, errClosed) {
		s.log.Warn("end expired uploads", "err", err)
	}
}

// clean frees the oldest segments while more than half of what they and the
// others hold is dead.
func (s *Store) clean() error {
	for {
		g := s.oldestToClean()
		if g == nil {
			return nil
		}
		if err := s.moveLive(g); err != nil {
			return fmt.Errorf("move records out of %s: %w", g.path, err)
		}
		if err := s.dropSegment(g); err != nil {
			return fmt.Errorf("remove %s: %w", g.path, err)
		}
	}
}

// oldestToClean returns the oldest segment if cleaning it pays: if half of it
// is dead, or half of all sealed segments; then cleaning goes round until the
// dead ones' turn has come, and writes no more than it frees.
func (s *Store) oldestToClean() *segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	select {
	case <-s.quit:
		return nil
	default:
	}
	if len(s.segments) < 2 {
		return nil
	}
	sealed := s.segments[:len(s.segments)-1]
	var size, live int64
	for _, g := range sealed {
		size += g.size - segmentHeader
		live += g.live
	}
	oldest := sealed[0]
	if oldest.live*2 <= oldest.size-segmentHeader || live*2 < size {
		return oldest
	}
	return nil
}

// moveLive appends what is still needed of the oldest segment to the log.
func (s *Store) moveLive(g *segment) error {
	r := bufio.NewReaderSize(io.NewSectionReader(g.f, segmentHeader, g.size-segmentHeader), 1<<20)
	off := int64(segmentHeader)
	for off < g.size {
		var batch []moving
		var bytes int64
		for off < g.size && bytes < moveBytes {
			p, _, err := nextRecord(r, g.nonce, nil)
			if err != nil {
				return fmt.Errorf("offset %d: %w", off, err)
			}
			rec, metaLen, err := parsePayload(p)
			if err != nil {
				return fmt.Errorf("offset %d: %w", off, err)
			}
			n := int64(recordHeader + len(p))
			batch = append(batch, moving{rec, p[4+metaLen:], pos{seg: g, off: off, n: n}})
			off += n
			bytes += n
		}
		err := s.commit(true, func() ([]change, error) { return s.move(batch) })
		if err != nil {
			return err
		}
	}
	return nil
}

// A moving record is one that the log may still need when its segment goes.
type moving struct {
	record *record
	data   []byte
	at     pos
}

// move prepares a commit of those records that are still needed.
func (s *Store) move(batch []moving) ([]change, error) {
	var changes []change
	for _, m := range batch {
		r := s.needed(m)
		if r == nil {
			continue
		}
		data := m.data
		if r != m.record {
			data = nil
		}
		buf, err := encodeRecord(r, data)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change{buf, func(at pos) { s.state.apply(r, at) }})
	}
	return changes, nil
}

// needed returns what must be kept of a record: itself, a record of the upload
// that it completed, or nothing. What deletes something is never needed: what
// it deleted lay before it.
func (s *Store) needed(m moving) *record {
	r := m.record
	switch r.Op {
	case opBucket:
		if b := s.buckets[r.Bucket]; b != nil && b.pos == m.at {
			return b.record()
		}
	case opPut:
		e, _ := s.objects.Get(&entry{bucket: r.Bucket, key: r.Key})
		if e != nil && e.pos == m.at {
			return r
		}
		if c := s.done[r.Upload]; c != nil && c.pos == m.at {
			return &record{Op: opDone, Bucket: r.Bucket, Key: r.Key, Upload: r.Upload, ETag: r.ETag, Size: r.Size, Time: r.Time}
		}
	case opUpload:
		if u := s.uploads[r.Upload]; u != nil && u.pos == m.at {
			return r
		}
	case opPart:
		if u := s.uploads[r.Upload]; u != nil && u.parts[r.Part] != nil && u.parts[r.Part].pos == m.at {
			return r
		}
	case opDone:
		if c := s.done[r.Upload]; c != nil && c.pos == m.at {
			return r
		}
	}
	return nil
}

// dropSegment removes the oldest segment, of which nothing is needed any more.
// It must be gone durably before the next one goes: the log has no gaps.
func (s *Store) dropSegment(g *segment) error {
	if err := os.Remove(g.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := s.disk.syncDir(filepath.Join(s.dir, segmentsDir)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = s.segments[1:]
	g.release()
	return nil
}
