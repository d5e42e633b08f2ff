package objectserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// A found object is one whose data cannot go away until it is released.
type found struct {
	*entry
	data []byte // of a small object, if it was asked for
	attr attributes
}

func (f *found) release() {
	if f.blob != nil {
		f.blob.release()
	}
}

func (f *found) info() deferd.ObjectInfo {
	return deferd.ObjectInfo{
		ObjectAttributes: f.attr.public(),
		Key:              f.key,
		Size:             f.size,
		ETag:             quoteETag(f.etag),
		Modified:         time.Unix(0, f.modified).UTC(),
	}
}

// find looks an object up and reads its attributes, and its data if that is
// wanted and in the log. The caller releases it.
func (s *Store) find(l deferd.Location, withData bool) (*found, error) {
	s.mu.RLock()
	e := s.lookup(l)
	if e == nil {
		known := s.buckets[l.Bucket] != nil
		s.mu.RUnlock()
		if !known {
			return nil, errNoSuchBucket
		}
		return nil, errNoSuchKey
	}
	if s.closed() {
		s.mu.RUnlock()
		return nil, errClosed
	}
	e.pos.acquire()
	if e.blob != nil {
		e.blob.acquire()
	}
	s.mu.RUnlock()

	f := &found{entry: e}
	err := f.read(withData)
	e.pos.release()
	if err != nil {
		f.release()
		return nil, unavailable(fmt.Errorf("read record of %q: %w", e.key, err))
	}
	return f, nil
}

// closed reports whether the files have been closed; mu is held.
func (s *Store) closed() bool { return len(s.segments) == 0 }

// read reads the record: all of it, or only up to the data.
func (f *found) read(withData bool) error {
	n := f.pos.n - recordHeader
	if f.blob == nil && !withData {
		n -= f.size
	}
	b := make([]byte, n)
	if err := f.pos.readPayload(b); err != nil {
		return err
	}
	var r struct {
		Attr *attributes `json:"a"`
	}
	end := n
	if f.blob == nil && withData {
		end -= f.size
	}
	if end < 4 {
		return errors.New("record is too short")
	}
	if err := json.Unmarshal(b[4:end], &r); err != nil {
		return err
	}
	if r.Attr != nil {
		f.attr = *r.Attr
	}
	f.data = b[end:]
	return nil
}

// open returns n bytes of the object from an offset on. Closing the reader
// releases the object; the caller does not.
func (s *Store) open(f *found, off, n int64) io.ReadCloser {
	if f.blob == nil {
		return memoryBody{bytes.NewReader(f.data[off : off+n])}
	}
	return &blobReader{s: s, blob: f.blob, skip: off, rest: n}
}

// memoryBody is a body in memory.
type memoryBody struct{ *bytes.Reader }

func (memoryBody) Close() error { return nil }

// Get opens an object from an offset on.
func (s *Store) Get(ctx context.Context, l deferd.Location, o deferd.GetObject) (*deferd.Object, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	f, err := s.find(l, true)
	if err != nil {
		return nil, err
	}
	if o.IfMatch != "" && !sameETag(o.IfMatch, f.etag) {
		f.release()
		return nil, errPrecondition
	}
	if o.Offset < 0 || o.Offset > f.size {
		f.release()
		return nil, deferd.Errorf(deferd.Invalid, codeInvalidRange)
	}
	return &deferd.Object{ObjectInfo: f.info(), Body: s.open(f, o.Offset, f.size-o.Offset)}, nil
}

// Head describes an object.
func (s *Store) Head(ctx context.Context, l deferd.Location) (deferd.ObjectInfo, error) {
	if err := ended(ctx); err != nil {
		return deferd.ObjectInfo{}, err
	}
	f, err := s.find(l, false)
	if err != nil {
		return deferd.ObjectInfo{}, err
	}
	defer f.release()
	return f.info(), nil
}

// List yields the objects whose keys begin with l.Key, in key order, without
// their attributes. It sees each object as it is when its page of 1,000 is
// taken.
func (s *Store) List(ctx context.Context, l deferd.Location) iter.Seq2[deferd.ObjectInfo, error] {
	return func(yield func(deferd.ObjectInfo, error) bool) {
		if _, err := s.bucket(l.Bucket); err != nil {
			yield(deferd.ObjectInfo{}, err)
			return
		}
		q := listQuery{bucket: l.Bucket, prefix: l.Key, max: 1000}
		for {
			if err := ended(ctx); err != nil {
				yield(deferd.ObjectInfo{}, err)
				return
			}
			page := s.list(q)
			for _, e := range page.entries {
				if !yield(listed(e), nil) {
					return
				}
			}
			if !page.more {
				return
			}
			q.after = page.last
		}
	}
}

func listed(e *entry) deferd.ObjectInfo {
	return deferd.ObjectInfo{
		Key:      e.key,
		Size:     e.size,
		ETag:     quoteETag(e.etag),
		Modified: time.Unix(0, e.modified).UTC(),
	}
}

// A listQuery asks for a page of a bucket's keys.
type listQuery struct {
	bucket    string
	prefix    string
	delimiter string
	after     string // keys and common prefixes up to this one are left out
	max       int
}

// A listPage is a page of objects and common prefixes, in order each.
type listPage struct {
	entries  []*entry
	prefixes []string
	last     string // the last key or prefix of the page
	more     bool
}

// list returns a page. Common prefixes are skipped over, so a page costs what
// it holds.
func (s *Store) list(q listQuery) listPage {
	var page listPage
	if q.max == 0 {
		return page
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	it := s.objects.Iter()
	defer it.Release()
	from := q.prefix
	if q.after >= from {
		from = q.after + "\x00"
		// A common prefix is listed where it comes after q.after itself, not
		// where one of its keys does.
		if p := commonPrefix(q.after, q.prefix, q.delimiter); p != "" {
			if from = successor(p); from == "" {
				return page
			}
		}
	}
	for ok := it.Seek(&entry{bucket: q.bucket, key: from}); ok; {
		e := it.Item()
		if e.bucket != q.bucket || !strings.HasPrefix(e.key, q.prefix) {
			return page
		}
		if len(page.entries)+len(page.prefixes) == q.max {
			page.more = true
			return page
		}
		if p := commonPrefix(e.key, q.prefix, q.delimiter); p != "" {
			page.prefixes = append(page.prefixes, p)
			page.last = p
			next := successor(p)
			ok = next != "" && it.Seek(&entry{bucket: q.bucket, key: next})
			continue
		}
		page.entries = append(page.entries, e)
		page.last = e.key
		ok = it.Next()
	}
	return page
}

// commonPrefix is the part of key up to the first delimiter behind prefix, or
// "" if there is none.
func commonPrefix(key, prefix, delimiter string) string {
	if delimiter == "" || !strings.HasPrefix(key, prefix) {
		return ""
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(prefix)+i+len(delimiter)]
}

// successor is the least string above all that begin with p; "" if there is none.
func successor(p string) string {
	b := []byte(p)
	for len(b) > 0 && b[len(b)-1] == 0xff {
		b = b[:len(b)-1]
	}
	if len(b) == 0 {
		return ""
	}
	b[len(b)-1]++
	return string(b)
}
