package objectserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	formatFile  = "FORMAT"
	segmentsDir = "segments"
	filesDir    = "files"

	formatMagic   = "deferd object store\n"
	formatVersion = "version 2\n"

	// Version 1 knows no tags, lifecycles and parts' checksums. It is read, and
	// becomes a version 2 when it is opened: a program that knows only version
	// 1 would lose them when it cleans the log, so it must not open the store.
	formatVersion1 = "version 1\n"
)

// openDir makes or checks the directory and locks it.
func (s *Store) openDir() error {
	if err := s.disk.makeDir(s.dir); err != nil {
		return err
	}
	format := filepath.Join(s.dir, formatFile)
	b, err := os.ReadFile(format)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := s.createDir(format); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if err := checkFormat(format, string(b)); err != nil {
			return err
		}
	}
	s.lock, err = os.Open(format)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		s.lock.Close()
		return fmt.Errorf("%s is in use by another process: %w", s.dir, err)
	}
	if err := s.renewNames(); err != nil {
		s.lock.Close()
		return err
	}
	if string(b) == formatMagic+formatVersion1 {
		if err := s.upgrade(format); err != nil {
			s.lock.Close()
			return fmt.Errorf("%s: upgrade from version 1: %w", s.dir, err)
		}
	}
	return nil
}

// renewNames makes durable the names that a process which was killed may have
// left without a sync.
func (s *Store) renewNames() error {
	for _, d := range []string{s.dir, filepath.Join(s.dir, segmentsDir)} {
		if err := s.disk.syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// upgrade makes FORMAT say the version of today. One byte changes in place, so
// a crash leaves the one or the other, and the lock stays.
func (s *Store) upgrade(format string) error {
	f, err := os.OpenFile(format, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(formatMagic+formatVersion), 0)
	if err == nil {
		err = s.disk.sync(f)
	}
	return errors.Join(err, f.Close())
}

func checkFormat(path, text string) error {
	rest, ok := strings.CutPrefix(text, formatMagic)
	if !ok {
		return fmt.Errorf("%s does not describe an object store: move %s away", path, filepath.Dir(path))
	}
	if rest != formatVersion && rest != formatVersion1 {
		return fmt.Errorf("%s says %q; this program reads %q, and the one that wrote it is needed", path, strings.TrimSpace(rest), strings.TrimSpace(formatVersion))
	}
	return nil
}

// createDir makes a store in an empty directory. FORMAT comes last, when the
// rest is durable, so that there is a store or none.
func (s *Store) createDir(format string) error {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		switch n.Name() {
		case segmentsDir, filesDir, formatFile + tempSuffix, "lost+found":
		default:
			return fmt.Errorf("%s holds %q and no %s: it is not an object store, and not empty; move it away", s.dir, n.Name(), formatFile)
		}
	}
	for _, d := range []string{segmentsDir, filesDir} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return err
		}
	}
	for _, d := range []string{filepath.Dir(filepath.Clean(s.dir)), s.dir} {
		if err := s.disk.syncDir(d); err != nil {
			return err
		}
	}
	return s.writeFormat(format)
}

func (s *Store) writeFormat(path string) (err error) {
	f, err := os.OpenFile(path+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(formatMagic + formatVersion)
	if err == nil {
		err = s.disk.sync(f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+tempSuffix, path)
}

// load reads the log and removes what it does not name.
func (s *Store) load() error {
	s.remove = func([]fileRef) {} // what is not referred to in the end goes with the orphans
	numbers, err := s.segmentNumbers()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		g, err := openSegment(filepath.Join(s.dir, segmentsDir), n)
		if err != nil {
			return err
		}
		s.segments = append(s.segments, g)
	}
	for i, g := range s.segments {
		end := int64(-1)
		if i+1 < len(s.segments) {
			end = s.segments[i+1].prevEnd
		}
		if err := s.replay(g, end); err != nil {
			return err
		}
	}
	if len(s.segments) == 0 {
		g, err := s.createSegment(1, 0)
		if err != nil {
			return err
		}
		s.segments = append(s.segments, g)
	}
	s.last = s.segments[len(s.segments)-1]
	return s.removeOrphans()
}

// segmentNumbers lists the segments, which follow one another without a gap.
func (s *Store) segmentNumbers() ([]int64, error) {
	dir := filepath.Join(s.dir, segmentsDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int64
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), tempSuffix); ok {
			if _, ok := parseSegmentName(name); ok {
				os.Remove(filepath.Join(dir, e.Name()))
				continue
			}
		}
		n, ok := parseSegmentName(e.Name())
		if !ok {
			return nil, fmt.Errorf("%s is not a segment of the store's log; move it away", filepath.Join(dir, e.Name()))
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for i := 1; i < len(numbers); i++ {
		if numbers[i] != numbers[i-1]+1 {
			return nil, fmt.Errorf("%s is missing", filepath.Join(dir, segmentName(numbers[i-1]+1)))
		}
	}
	return numbers, nil
}

// replay applies a segment's records. A segment that another follows ends
// where that one says; the last one ends where its records do.
func (s *Store) replay(g *segment, end int64) error {
	last := end < 0
	limit := end
	if last {
		info, err := g.f.Stat()
		if err != nil {
			return err
		}
		limit = info.Size()
	}
	r := bufio.NewReaderSize(io.NewSectionReader(g.f, segmentHeader, max(0, limit-segmentHeader)), 1<<20)
	var buf []byte
	var quick record
	synced := int64(segmentHeader) // when the last record was written
	for {
		p, base, err := nextRecord(r, g.nonce, buf)
		if err == io.EOF && (last || g.size == end) {
			break
		}
		if err == errTorn && last {
			if err := s.cutTail(g, limit); err != nil {
				return err
			}
			break
		}
		if err == io.EOF || err == errTorn {
			return fmt.Errorf("%s: damaged at offset %d", g.path, g.size)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", g.path, err)
		}
		buf = p
		rec, err := s.parseForIndex(p, &quick)
		if err != nil {
			return fmt.Errorf("%s: offset %d: %w", g.path, g.size, err)
		}
		n := int64(recordHeader + len(p))
		s.state.apply(rec, pos{seg: g, off: g.size, n: n})
		g.size += n
		synced = base
	}
	if !last {
		return nil
	}
	return s.renew(g, synced)
}

// renew makes durable what follows off. A process that was killed may have left
// records that it never synced, or whose sync has failed: then what is read of
// them here is not on the disk, and no sync will bring it there unless it is
// written again.
func (s *Store) renew(g *segment, off int64) error {
	b := make([]byte, min(1<<20, max(0, g.size-off)))
	for off < g.size {
		n := min(int64(len(b)), g.size-off)
		if _, err := g.f.ReadAt(b[:n], off); err != nil {
			return fmt.Errorf("%s: %w", g.path, err)
		}
		if _, err := s.disk.write(g.f, b[:n], off); err != nil {
			return fmt.Errorf("%s: %w", g.path, err)
		}
		off += n
	}
	return s.disk.sync(g.f)
}

// parseForIndex takes a payload apart as the index needs it: of a small
// object's attributes it may tell no more than that there are some. The record
// may be in quick.
func (s *Store) parseForIndex(p []byte, quick *record) (*record, error) {
	meta, err := description(p)
	if err != nil {
		return nil, err
	}
	if quickPut(meta, quick, s.bucketName) {
		return quick, quick.checkData(p, meta)
	}
	r, _, err := parsePayload(p)
	if err != nil {
		return nil, err
	}
	return r, r.check()
}

// check says what makes a record unusable.
func (r *record) check() error {
	switch r.Op {
	case opBucket:
		return checkLifecycle(r.Cycle)
	case opDeleteBucket, opDelete, opUpload, opAbort, opDone:
	case opPut:
		if r.Attr == nil {
			return errors.New("object has no attributes")
		}
	case opPart:
		if len(r.Files) != 1 {
			return fmt.Errorf("part has %d files", len(r.Files))
		}
	default:
		return fmt.Errorf("record of unknown kind %q; a newer version may have written it", r.Op)
	}
	for _, f := range r.Files {
		if !validFileID(f.ID) {
			return fmt.Errorf("file name %q", f.ID)
		}
	}
	return nil
}

// cutTail cuts an incomplete tail off the last segment, if that is what it is.
func (s *Store) cutTail(g *segment, size int64) error {
	tail := make([]byte, size-g.size)
	if _, err := g.f.ReadAt(tail, g.size); err != nil {
		return fmt.Errorf("%s: %w", g.path, err)
	}
	if laterRecord(tail, g.size, g.nonce) {
		return fmt.Errorf("%s: damaged at offset %d, before the end of what was synced", g.path, g.size)
	}
	s.log.Warn("incomplete end of object log cut off", "path", g.path, "offset", g.size, "bytes", len(tail))
	return g.f.Truncate(g.size)
}

// removeOrphans removes data files that no record names, and refuses the store
// if a file that one names is missing.
func (s *Store) removeOrphans() error {
	for id, u := range s.uploads {
		if u.location.Bucket == "" {
			return fmt.Errorf("%s: upload %s has parts and no beginning", s.dir, id)
		}
	}
	wanted := s.referenced()
	dir := filepath.Join(s.dir, filesDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), dataSuffix)
		if !ok || !validFileID(id) {
			return fmt.Errorf("%s is not a file of the store; move it away", filepath.Join(dir, e.Name()))
		}
		if _, ok := wanted[id]; ok {
			delete(wanted, id)
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	for id, what := range wanted {
		return fmt.Errorf("%s, which holds data of %s, is missing", s.dataPath(id), what)
	}
	return nil
}

// referenced returns the IDs of the files that objects and parts refer to,
// with what does.
func (s *Store) referenced() map[string]string {
	wanted := map[string]string{}
	s.objects.Scan(func(e *entry) bool {
		if e.blob != nil {
			for _, f := range e.blob.files {
				wanted[f.ID] = fmt.Sprintf("object %q of bucket %q", e.key, e.bucket)
			}
		}
		return true
	})
	for _, u := range s.uploads {
		for n, p := range u.parts {
			wanted[p.file.ID] = fmt.Sprintf("part %d of upload %s", n, u.id)
		}
	}
	return wanted
}
