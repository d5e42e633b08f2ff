package objectserver

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

const (
	minPart  = 5 << 20 // of all parts but the last
	maxParts = 10_000
)

// CreateUpload begins a multipart upload.
func (s *Store) CreateUpload(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes) (string, error) {
	id, _, err := s.createUpload(ctx, l, attributes{Type: a.ContentType, Metadata: a.Metadata, Full: true})
	return id, err
}

// createUpload returns also when it began the upload.
func (s *Store) createUpload(ctx context.Context, l deferd.Location, a attributes) (id string, created int64, err error) {
	if err := ended(ctx); err != nil {
		return "", 0, err
	}
	if err := checkNew(l.Key, a); err != nil {
		return "", 0, err
	}
	r := &record{Op: opUpload, Bucket: l.Bucket, Key: l.Key, Upload: newFileID(), Time: time.Now().UnixNano(), Attr: &a}
	buf, err := encodeRecord(r, nil)
	if err != nil {
		return "", 0, err
	}
	err = s.commit(false, func() ([]change, error) {
		if s.buckets[l.Bucket] == nil {
			return nil, errNoSuchBucket
		}
		return []change{{buf, func(at pos) { s.state.apply(r, at) }}}, nil
	})
	return r.Upload, r.Time, err
}

// UploadPart stores part n of exactly size bytes.
func (s *Store) UploadPart(ctx context.Context, u deferd.Upload, n int, size int64, body io.Reader) (deferd.Part, error) {
	if size < 0 {
		return deferd.Part{}, deferd.Errorf(deferd.Invalid, codeInvalidArgument)
	}
	p, err := s.uploadPart(ctx, u, n, size, body, digests{})
	if err != nil {
		return deferd.Part{}, err
	}
	return deferd.Part{Number: n, ETag: quoteETag(p.etag), Size: p.size}, nil
}

func (s *Store) uploadPart(ctx context.Context, u deferd.Upload, n int, size int64, body io.Reader, want digests) (stored, error) {
	if n < 1 || n > maxParts {
		return stored{}, deferd.Errorf(deferd.Invalid, codeInvalidArgument)
	}
	up, err := s.openUpload(u)
	if err != nil {
		return stored{}, err
	}
	d := newDigester(want)
	d.add(cmp.Or(up.attr.Algorithm, algCRC64NVME))
	file, err := s.receivePart(ctx, body, size, d)
	if err != nil {
		return stored{}, err
	}
	r := &record{
		Op: opPart, Upload: u.ID, Part: n, Time: time.Now().UnixNano(),
		ETag: d.etag(), Attr: &attributes{Sums: d.sums()},
	}
	ref, err := file.finish(&dataTrailer{Bucket: u.Location.Bucket, Key: u.Location.Key, Upload: u.ID, Part: n, Time: r.Time})
	if err != nil {
		file.discard()
		return stored{}, err
	}
	r.Size, r.Files = ref.Size, []fileRef{ref}
	if err := s.commitPart(u, r); err != nil {
		if !errors.Is(err, errInDoubt) {
			file.discard()
		}
		return stored{}, err
	}
	return stored{etag: r.ETag, sums: r.Attr.Sums, size: r.Size, modified: r.Time}, nil
}

func (s *Store) commitPart(u deferd.Upload, r *record) error {
	buf, err := encodeRecord(r, nil)
	if err != nil {
		return err
	}
	return s.commit(false, func() ([]change, error) {
		if up := s.uploads[u.ID]; up == nil || up.location != u.Location {
			return nil, errNoSuchUpload
		}
		return []change{{buf, func(at pos) { s.state.apply(r, at) }}}, nil
	})
}

// receivePart writes a body into a file. All parts are files, so that
// completing an upload copies nothing.
func (s *Store) receivePart(ctx context.Context, body io.Reader, size int64, d *digester) (*dataFile, error) {
	small := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(small)
	data, file, err := s.receive(ctx, body, size, d, *small)
	if err != nil || file != nil {
		return file, err
	}
	if file, err = s.createData(); err != nil {
		return nil, err
	}
	if _, err := file.Write(data); err != nil {
		file.discard()
		return nil, err
	}
	return file, nil
}

// openUpload returns a copy of an incomplete upload.
func (s *Store) openUpload(u deferd.Upload) (upload, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	up := s.uploads[u.ID]
	if up == nil || up.location != u.Location {
		if s.buckets[u.Location.Bucket] == nil {
			return upload{}, errNoSuchBucket
		}
		return upload{}, errNoSuchUpload
	}
	c := *up
	c.parts = maps.Clone(up.parts)
	return c, nil
}

// CompleteUpload makes the parts the object. Repeated within a week it
// succeeds again.
func (s *Store) CompleteUpload(ctx context.Context, u deferd.Upload) error {
	_, err := s.completeUpload(ctx, completeRequest{upload: u, size: -1})
	return err
}

// A completeRequest completes an upload.
type completeRequest struct {
	upload   deferd.Upload
	cond     conditions
	partSums []map[string]string // what the caller says of each part; may be nil
	sums     map[string]string   // what the caller says of the object
	size     int64               // what the caller says of the object; -1 for nothing
}

func (s *Store) completeUpload(ctx context.Context, q completeRequest) (stored, error) {
	if err := ended(ctx); err != nil {
		return stored{}, err
	}
	if err := checkPartOrder(q.upload.Parts); err != nil {
		return stored{}, err
	}
	var done stored
	again := false
	err := s.commit(true, func() ([]change, error) {
		u := s.uploads[q.upload.ID]
		if u == nil || u.location != q.upload.Location {
			c := s.done[q.upload.ID]
			if c == nil || c.location != q.upload.Location {
				return nil, errNoSuchUpload
			}
			done, again = stored{etag: c.etag, size: c.size, modified: c.time}, true
			return nil, nil
		}
		if err := q.cond.check(s.lookup(u.location)); err != nil {
			return nil, err
		}
		r, err := q.record(u)
		if err != nil {
			return nil, err
		}
		done = stored{etag: r.ETag, sums: r.Attr.Sums, full: r.Attr.Full, size: r.Size, modified: r.Time, tags: r.Attr.Tags}
		return s.changes([]*record{r})
	})
	if err == nil && again {
		s.recall(q.upload, &done)
	}
	return done, err
}

// recall adds what is known of an upload's object while it is still there.
func (s *Store) recall(u deferd.Upload, done *stored) {
	f, err := s.find(u.Location, false)
	if err != nil {
		return
	}
	defer f.release()
	if f.upload() == u.ID {
		done.sums, done.full, done.tags = f.attr.Sums, f.attr.Full, f.attr.Tags
	}
}

func checkPartOrder(parts []deferd.Part) error {
	if len(parts) == 0 {
		return deferd.Errorf(deferd.Invalid, "MalformedXML")
	}
	if len(parts) > maxParts {
		return deferd.Errorf(deferd.Invalid, codeInvalidArgument)
	}
	ordered := slices.IsSortedFunc(parts, func(a, b deferd.Part) int { return cmp.Compare(a.Number, b.Number) })
	for i := 1; i < len(parts) && ordered; i++ {
		ordered = parts[i].Number != parts[i-1].Number
	}
	if !ordered {
		return deferd.Errorf(deferd.Invalid, codePartOrder)
	}
	return nil
}

// record makes the object out of an upload's parts.
func (q *completeRequest) record(u *upload) (*record, error) {
	attr := u.attr
	r := &record{Op: opPut, Bucket: u.location.Bucket, Key: u.location.Key, Upload: u.id, Time: time.Now().UnixNano(), Attr: &attr}
	algorithm := cmp.Or(attr.Algorithm, algCRC64NVME)
	digest := md5.New()
	var sums []string
	var sizes []int64
	for i, want := range q.upload.Parts {
		p := u.parts[want.Number]
		if p == nil || !sameETag(want.ETag, p.etag) || !sumsAgree(q.partSums, i, p.attr.Sums) {
			return nil, deferd.Errorf(deferd.Invalid, codeInvalidPart)
		}
		if p.file.Size < minPart && i < len(q.upload.Parts)-1 {
			return nil, deferd.Errorf(deferd.Invalid, codeTooSmall)
		}
		b, err := hex.DecodeString(p.etag)
		if err != nil {
			return nil, fmt.Errorf("part %d of upload %s: %w", want.Number, u.id, err)
		}
		digest.Write(b)
		r.Files = append(r.Files, p.file)
		r.Size += p.file.Size
		sums = append(sums, p.attr.Sums[algorithm])
		sizes = append(sizes, p.file.Size)
	}
	r.ETag = fmt.Sprintf("%x-%d", digest.Sum(nil), len(r.Files))
	sum := ""
	if attr.Full {
		sum = combineChecksums(algorithm, sums, sizes)
	} else if sum = compositeChecksum(algorithm, sums); sum != "" {
		sum = fmt.Sprintf("%s-%d", sum, len(sums))
	}
	if attr.Algorithm != "" && sum != "" {
		attr.PartSums = sums
	}
	attr.Algorithm = ""
	if sum != "" {
		attr.Sums = map[string]string{algorithm: sum}
	}
	return r, q.checkWhole(r)
}

// checkWhole compares what the caller says of the object with what it is.
func (q *completeRequest) checkWhole(r *record) error {
	if q.size >= 0 && q.size != r.Size {
		return deferd.Errorf(deferd.Invalid, "InvalidRequest")
	}
	for a, said := range q.sums {
		have := r.Attr.Sums[a]
		bare, _, composite := strings.Cut(have, "-")
		if have != "" && said != have && (!composite || said != bare) {
			return deferd.Errorf(deferd.Invalid, codeBadDigest)
		}
	}
	return nil
}

func sumsAgree(said []map[string]string, i int, have map[string]string) bool {
	if i >= len(said) {
		return true
	}
	for a, sum := range said[i] {
		if have[a] != "" && have[a] != sum {
			return false
		}
	}
	return true
}

// AbortUpload drops an upload and its parts.
func (s *Store) AbortUpload(ctx context.Context, u deferd.Upload) error {
	err := s.abortUpload(ctx, u)
	if deferd.CodeOf(err) == deferd.NotFound {
		return nil
	}
	return err
}

func (s *Store) abortUpload(ctx context.Context, u deferd.Upload) error {
	if err := ended(ctx); err != nil {
		return err
	}
	return s.commit(true, func() ([]change, error) {
		if up := s.uploads[u.ID]; up == nil || up.location != u.Location {
			return nil, errNoSuchUpload
		}
		return s.changes([]*record{{Op: opAbort, Upload: u.ID}})
	})
}

// uploadsAfter returns the incomplete uploads of a bucket whose keys begin with
// prefix, by key and ID, after those up to key and ID. Without an ID the whole
// key is left out.
func (s *Store) uploadsAfter(bucket, prefix, key, id string) []upload {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []upload
	for _, u := range s.uploads {
		k := u.location.Key
		past := k > key || k == key && id != "" && u.id > id
		if u.location.Bucket == bucket && strings.HasPrefix(k, prefix) && past {
			all = append(all, upload{id: u.id, location: u.location, created: u.created})
		}
	}
	slices.SortFunc(all, func(a, b upload) int {
		return cmp.Or(cmp.Compare(a.location.Key, b.location.Key), cmp.Compare(a.id, b.id))
	})
	return all
}
