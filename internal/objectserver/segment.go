package objectserver

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// A segment begins with
//
//	magic   8  "deferdsg"
//	version 4
//	number  8
//	prevEnd 8  where the segment before this one ends, whatever follows there
//	nonce   4  random; begins the header checks of its records
//	check   4  CRC-32C of the above
const (
	segmentMagic   = "deferdsg"
	segmentVersion = 1
	segmentHeader  = 36
	segmentSuffix  = ".log"
	tempSuffix     = ".tmp"
)

// A segment is one file of the log.
type segment struct {
	pin
	number  int64
	path    string
	f       *os.File
	nonce   uint32
	prevEnd int64
	size    int64 // valid and synced; the appender's
	live    int64 // bytes of records that are still needed; guarded by Store.mu
}

// A pos is where a record lies: in a segment, or in memory as long as it is
// only early.
type pos struct {
	seg   *segment
	off   int64
	n     int64  // of the whole record
	early *early // where seg is nil
}

// acquire keeps what the record lies in from going away until release.
func (p pos) acquire() {
	if p.seg != nil {
		p.seg.acquire()
	}
}

func (p pos) release() {
	if p.seg != nil {
		p.seg.release()
	}
}

// readPayload reads the beginning of the record's payload.
func (p pos) readPayload(b []byte) error {
	if p.early != nil {
		copy(b, p.early.buf[recordHeader:])
		return nil
	}
	if _, err := p.seg.f.ReadAt(b, p.off+recordHeader); err != nil {
		return fmt.Errorf("%s, offset %d: %w", p.seg.path, p.off, err)
	}
	return nil
}

// A pin counts the users of something that is to be freed after the last one.
// It starts at one, the index's own.
type pin struct {
	n    atomic.Int64
	free func()
}

func (p *pin) acquire() { p.n.Add(1) }

func (p *pin) release() {
	if p.n.Add(-1) == 0 {
		p.free()
	}
}

func (p *pin) init(free func()) {
	p.free = free
	p.n.Store(1)
}

func segmentName(n int64) string { return fmt.Sprintf("%010d%s", n, segmentSuffix) }

func parseSegmentName(name string) (int64, bool) {
	s, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0 && segmentName(n) == name
}

// createSegment makes an empty segment, durable under its name when it returns.
func (s *Store) createSegment(number, prevEnd int64) (seg *segment, err error) {
	dir := filepath.Join(s.dir, segmentsDir)
	path := filepath.Join(dir, segmentName(number))
	f, err := os.OpenFile(path+tempSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(path + tempSuffix)
		}
	}()
	var nonce [4]byte
	rand.Read(nonce[:])
	seg = newSegment(f, path, number, prevEnd, binary.LittleEndian.Uint32(nonce[:]))
	if _, err := s.disk.write(f, seg.header(), 0); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := s.disk.sync(f); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := os.Rename(path+tempSuffix, path); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := s.disk.syncDir(dir); err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("create segment: %w", err)
	}
	return seg, nil
}

func newSegment(f *os.File, path string, number, prevEnd int64, nonce uint32) *segment {
	seg := &segment{number: number, path: path, f: f, nonce: nonce, prevEnd: prevEnd, size: segmentHeader}
	seg.init(func() { f.Close() })
	return seg
}

func (g *segment) header() []byte {
	b := []byte(segmentMagic)
	b = binary.LittleEndian.AppendUint32(b, segmentVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(g.number))
	b = binary.LittleEndian.AppendUint64(b, uint64(g.prevEnd))
	b = binary.LittleEndian.AppendUint32(b, g.nonce)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openSegment opens an existing segment and reads its header.
func openSegment(dir string, number int64) (seg *segment, err error) {
	path := filepath.Join(dir, segmentName(number))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	var h [segmentHeader]byte
	if _, err := f.ReadAt(h[:], 0); err != nil {
		return nil, fmt.Errorf("%s: header: %w", path, err)
	}
	if string(h[:8]) != segmentMagic {
		return nil, fmt.Errorf("%s: not a segment of an object store", path)
	}
	if v := binary.LittleEndian.Uint32(h[8:]); v != segmentVersion {
		return nil, fmt.Errorf("%s: version %d; this program reads version %d", path, v, segmentVersion)
	}
	if crc32.Checksum(h[:32], castagnoli) != binary.LittleEndian.Uint32(h[32:]) {
		return nil, fmt.Errorf("%s: damaged at offset 0: header", path)
	}
	if n := int64(binary.LittleEndian.Uint64(h[12:])); n != number {
		return nil, fmt.Errorf("%s: is segment %d", path, n)
	}
	prevEnd := int64(binary.LittleEndian.Uint64(h[20:]))
	if prevEnd < 0 {
		return nil, errors.New(path + ": damaged at offset 0: header")
	}
	return newSegment(f, path, number, prevEnd, binary.LittleEndian.Uint32(h[28:])), nil
}
