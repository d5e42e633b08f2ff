package objectserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/deferd/deferd"
)

const (
	maxKey      = 1024
	maxMetadata = 2 << 10 // names and values together
	maxObject   = 5 << 30 // of one PUT or part
)

// A putRequest is an object to be stored, with what it depends on.
type putRequest struct {
	location deferd.Location
	attr     attributes
	body     io.Reader
	size     int64 // -1 if unknown
	digests  digests
	cond     conditions
	early    bool // it may be visible before it is durable; without conditions
}

// conditions are what must hold of the key when a change of it is applied. The
// zero value always holds.
type conditions struct {
	ifMatch     string // an ETag, or "*"
	ifNoneMatch bool   // no object may be there
}

func (c conditions) none() bool { return c == conditions{} }

// check judges the conditions against what is there, nil for nothing.
func (c conditions) check(e *entry) error {
	if c.ifNoneMatch && e != nil {
		return errPrecondition
	}
	if c.ifMatch == "" {
		return nil
	}
	if e == nil {
		return errNoSuchKey
	}
	if c.ifMatch != "*" && !sameETag(c.ifMatch, e.etag) {
		return errPrecondition
	}
	return nil
}

// A stored object is what became of a putRequest.
type stored struct {
	etag string // without quotes
	sums map[string]string
	full bool // sums are of the bytes
	size int64

	modified int64 // Unix nanoseconds
	tags     []tag
}

// Put stores a whole object.
func (s *Store) Put(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	_, err := s.putObject(ctx, wholeObject(l, a, body))
	return err
}

func wholeObject(l deferd.Location, a deferd.ObjectAttributes, body []byte) putRequest {
	return putRequest{
		location: l,
		attr:     attributes{Type: a.ContentType, Metadata: a.Metadata},
		body:     bytes.NewReader(body),
		size:     int64(len(body)),
	}
}

// checkNew says what is wrong with an object that is to be stored.
func checkNew(key string, a attributes) error {
	switch {
	case len(key) > maxKey:
		return deferd.Errorf(deferd.Invalid, codeKeyTooLong)
	case key == "" || !utf8.ValidString(key):
		return deferd.Errorf(deferd.Invalid, codeInvalidKey)
	case !utf8.ValidString(a.Type):
		return deferd.Errorf(deferd.Invalid, codeInvalidArgument)
	}
	size := 0
	for _, m := range []map[string]string{a.Metadata, a.Headers} {
		for k, v := range m {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return deferd.Errorf(deferd.Invalid, codeInvalidArgument)
			}
		}
	}
	for k, v := range a.Metadata {
		size += len(k) + len(v)
	}
	if size > maxMetadata {
		return deferd.Errorf(deferd.Invalid, codeMetadataTooLarge)
	}
	return nil
}

// putObject stores an object: in the log if it is small, else in a file.
func (s *Store) putObject(ctx context.Context, p putRequest) (stored, error) {
	if err := checkNew(p.location.Key, p.attr); err != nil {
		return stored{}, err
	}
	if _, err := s.bucket(p.location.Bucket); err != nil {
		return stored{}, err
	}
	d := newDigester(p.digests)
	small := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(small)
	data, file, err := s.receive(ctx, p.body, p.size, d, *small)
	if err != nil {
		return stored{}, err
	}
	now := time.Now().UnixNano()
	p.attr.Sums, p.attr.Full = d.sums(), true
	r := &record{
		Op: opPut, Bucket: p.location.Bucket, Key: p.location.Key, Time: now,
		ETag: d.etag(), Size: int64(len(data)), Attr: &p.attr,
	}
	if file != nil {
		ref, err := file.finish(&dataTrailer{Bucket: r.Bucket, Key: r.Key, Time: now, Attr: r.Attr})
		if err != nil {
			file.discard()
			return stored{}, err
		}
		r.Files, r.Size = []fileRef{ref}, ref.Size
	}
	if err := s.commitObject(p, r, data); err != nil {
		if file != nil && !errors.Is(err, errInDoubt) {
			file.discard()
		}
		return stored{}, err
	}
	return stored{etag: r.ETag, sums: p.attr.Sums, full: true, size: r.Size, modified: now}, nil
}

// commitObject logs an object's record.
func (s *Store) commitObject(p putRequest, r *record, data []byte) error {
	buf, err := encodeRecord(r, data)
	if err != nil {
		return err
	}
	if p.early && r.Files == nil {
		return s.await(&commit{early: &early{record: r, buf: buf}})
	}
	return s.commit(!p.cond.none(), func() ([]change, error) {
		if s.buckets[r.Bucket] == nil {
			return nil, errNoSuchBucket
		}
		if err := p.cond.check(s.lookup(p.location)); err != nil {
			return nil, err
		}
		return []change{{buf, func(at pos) { s.state.apply(r, at) }}}, nil
	})
}

// receive reads a body to its end and checks its digests. What fits into small
// is returned as data, more as a file, whose trailer is still to be written.
func (s *Store) receive(ctx context.Context, body io.Reader, size int64, d *digester, small []byte) (data []byte, file *dataFile, err error) {
	if size > maxObject {
		return nil, nil, deferd.Errorf(deferd.TooLarge, codeTooLarge)
	}
	defer func() {
		if err != nil && file != nil {
			file.discard()
			file = nil
		}
	}()
	var total int64
	for {
		if err := ended(ctx); err != nil {
			return nil, file, err
		}
		n, rerr := fill(body, small)
		total += int64(n)
		if total > maxObject || size >= 0 && total > size {
			return nil, file, tooMuch(total)
		}
		d.Write(small[:n])
		atEnd := rerr == io.EOF
		if rerr != nil && !atEnd {
			return nil, file, readError(rerr)
		}
		if file == nil && total > smallObject {
			if file, err = s.createData(); err != nil {
				return nil, nil, err
			}
		}
		if file != nil {
			if _, err := file.Write(small[:n]); err != nil {
				return nil, file, err
			}
		}
		if !atEnd {
			continue
		}
		if size >= 0 && total != size {
			return nil, file, errIncomplete
		}
		if err := d.check(); err != nil {
			return nil, file, err
		}
		if file == nil {
			data = small[:n]
		}
		return data, file, nil
	}
}

func tooMuch(total int64) error {
	if total > maxObject {
		return deferd.Errorf(deferd.TooLarge, codeTooLarge)
	}
	return errIncomplete
}

// fill reads until b is full or r ends. Unlike io.ReadFull it passes r's own
// errors on as they are, and io.EOF also after the last bytes.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

// Delete removes an object. One that is not there is no error.
func (s *Store) Delete(ctx context.Context, l deferd.Location) error {
	return s.deleteObject(ctx, l, conditions{})
}

func (s *Store) deleteObject(ctx context.Context, l deferd.Location, cond conditions) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if len(l.Key) > maxKey {
		return deferd.Errorf(deferd.Invalid, codeKeyTooLong)
	}
	r := &record{Op: opDelete, Bucket: l.Bucket, Key: l.Key, Time: time.Now().UnixNano()}
	buf, err := encodeRecord(r, nil)
	if err != nil {
		return err
	}
	return s.commit(!cond.none(), func() ([]change, error) {
		if s.buckets[l.Bucket] == nil {
			return nil, errNoSuchBucket
		}
		e := s.lookup(l)
		if err := cond.check(e); err != nil {
			return nil, err
		}
		if e == nil {
			return nil, nil // puts in the same group come after this
		}
		return []change{{buf, func(at pos) { s.state.apply(r, at) }}}, nil
	})
}
