package objectserver

import (
	"cmp"
	"time"

	"github.com/tidwall/btree"

	"github.com/deferd/deferd"
)

// A state is what the log's records add up to. Methods of it change it by one
// record each, in the same way when the record has just become durable, when it
// is shown early, and when the log is read at start.
type state struct {
	objects  *btree.BTreeG[*entry] // by bucket and key
	buckets  map[string]*bucket
	uploads  map[string]*upload
	done     map[string]*completion // completed uploads that are remembered
	segments []*segment             // by number

	// remove is told of files that nothing refers to any more.
	remove func(files []fileRef)
}

// An entry is an object in the index. It is never changed.
type entry struct {
	bucket, key string
	pos         pos
	etag        string // without quotes
	size        int64
	modified    int64 // Unix nanoseconds
	blob        *blob // nil if the data lies in the record
	tagged      bool  // it has tags
}

// upload returns the ID of the upload that made the object, or "".
func (e *entry) upload() string {
	if e.blob == nil {
		return ""
	}
	return e.blob.upload
}

// files returns the object's files; none if its data lies in the record.
func (e *entry) files() []fileRef {
	if e.blob == nil {
		return nil
	}
	return e.blob.files
}

// A blob is the data of an object that is in files.
type blob struct {
	pin
	files  []fileRef
	upload string // that made the object, or ""
}

// A fileRef names a data file.
type fileRef struct {
	ID   string `json:"i"`
	Size int64  `json:"n"`
}

type bucket struct {
	name      string
	created   int64
	region    string
	tags      []tag
	lifecycle *lifecycle
	pos       pos
}

// record is what is logged of a bucket.
func (b *bucket) record() *record {
	return &record{Op: opBucket, Bucket: b.name, Time: b.created, Region: b.region, Tags: b.tags, Cycle: b.lifecycle}
}

type upload struct {
	id       string
	location deferd.Location
	created  int64
	attr     attributes
	pos      pos
	parts    map[int]*part
}

type part struct {
	pos      pos
	file     fileRef
	etag     string
	modified int64
	attr     attributes // checksums
}

// A completion remembers a completed upload, so that completing it again can
// be answered.
type completion struct {
	location deferd.Location
	etag     string
	size     int64
	time     int64
	pos      pos
	own      bool // pos is a record of its own, not its object's
}

func newState() state {
	return state{
		objects: btree.NewBTreeGOptions(func(a, b *entry) bool {
			if c := cmp.Compare(a.bucket, b.bucket); c != 0 {
				return c < 0
			}
			return a.key < b.key
		}, btree.Options{NoLocks: true}),
		buckets: map[string]*bucket{},
		uploads: map[string]*upload{},
		done:    map[string]*completion{},
	}
}

func (p pos) keep() {
	if p.seg != nil {
		p.seg.live += p.n
	}
}

func (p pos) drop() {
	if p.seg != nil {
		p.seg.live -= p.n
	}
}

// apply changes the state by one record.
func (st *state) apply(r *record, p pos) {
	l := deferd.Location{Bucket: r.Bucket, Key: r.Key}
	switch r.Op {
	case opBucket:
		st.setBucket(&bucket{r.Bucket, r.Time, r.Region, r.Tags, r.Cycle, p})
	case opDeleteBucket:
		st.dropBucket(r.Bucket)
	case opPut:
		st.putObject(r, p)
	case opDelete:
		st.deleteObject(l)
	case opUpload:
		st.setUpload(r, p)
	case opPart:
		st.setPart(r, p)
	case opAbort:
		st.dropUpload(r.Upload, nil)
	case opDone:
		st.setDone(r.Upload, &completion{l, r.ETag, r.Size, r.Time, p, true})
	}
}

func (st *state) setBucket(b *bucket) {
	st.dropBucket(b.name)
	st.buckets[b.name] = b
	b.pos.keep()
}

func (st *state) dropBucket(name string) {
	if b := st.buckets[name]; b != nil {
		b.pos.drop()
		delete(st.buckets, name)
	}
}

func (st *state) lookup(l deferd.Location) *entry {
	e, _ := st.objects.Get(&entry{bucket: l.Bucket, key: l.Key})
	return e
}

// bucketName makes a string of a bucket's name, or takes the one that is there.
func (st *state) bucketName(name []byte) string {
	if b := st.buckets[string(name)]; b != nil {
		return b.name
	}
	return string(name)
}

func (st *state) putObject(r *record, p pos) {
	e := &entry{
		bucket: r.Bucket, key: r.Key, pos: p,
		etag: r.ETag, size: r.Size, modified: r.Time, tagged: r.Attr != nil && len(r.Attr.Tags) > 0,
	}
	if b := st.buckets[r.Bucket]; b != nil {
		e.bucket = b.name // once in memory for all
	}
	if r.Upload != "" {
		st.setDone(r.Upload, &completion{
			location: deferd.Location{Bucket: r.Bucket, Key: r.Key},
			etag:     r.ETag, size: r.Size, time: r.Time, pos: p,
		})
		st.dropUpload(r.Upload, r.Files)
	}
	old := st.lookup(deferd.Location{Bucket: r.Bucket, Key: r.Key})
	moved := old != nil && old.blob != nil && sameFiles(old.blob.files, r.Files)
	switch {
	case moved:
		e.blob = old.blob
	case r.Files != nil:
		e.blob = st.newBlob(r.Files, r.Upload)
	}
	st.objects.Set(e)
	p.keep()
	if old != nil {
		old.pos.drop()
		switch {
		case old.blob == nil || moved:
		case p.early != nil:
			p.early.replaced = old.blob
		default:
			old.blob.release()
		}
	}
}

// land says where the record of an early object lies now, if the object is
// still there, and lets what it replaced go.
func (st *state) land(x *early, p pos) {
	if e := st.lookup(x.location()); e != nil && e.pos.early == x {
		moved := *e
		moved.pos = p
		st.objects.Set(&moved)
		p.keep()
	}
	if x.replaced != nil {
		x.replaced.release()
	}
}

// sameFiles reports whether a and b are the same list: file names are unique,
// and a file belongs to one object.
func sameFiles(a, b []fileRef) bool {
	return len(a) > 0 && len(b) > 0 && a[0].ID == b[0].ID
}

func (st *state) newBlob(files []fileRef, upload string) *blob {
	b := &blob{files: files, upload: upload}
	b.init(func() { st.remove(files) })
	return b
}

func (st *state) deleteObject(l deferd.Location) {
	old, ok := st.objects.Delete(&entry{bucket: l.Bucket, key: l.Key})
	if !ok {
		return
	}
	old.pos.drop()
	if old.blob != nil {
		old.blob.release()
	}
}

// upload returns the upload with this ID, which may not be known yet when the
// log is read: cleaning moves records behind those that came after them.
func (st *state) upload(id string) *upload {
	u := st.uploads[id]
	if u == nil {
		u = &upload{id: id, parts: map[int]*part{}}
		st.uploads[id] = u
	}
	return u
}

func (st *state) setUpload(r *record, p pos) {
	u := st.upload(r.Upload)
	u.pos.drop()
	u.location = deferd.Location{Bucket: r.Bucket, Key: r.Key}
	u.created, u.pos = r.Time, p
	if r.Attr != nil {
		u.attr = *r.Attr
	}
	p.keep()
}

func (st *state) setPart(r *record, p pos) {
	n := &part{pos: p, file: r.Files[0], etag: r.ETag, modified: r.Time}
	if r.Attr != nil {
		n.attr = *r.Attr
	}
	u := st.upload(r.Upload)
	if old := u.parts[r.Part]; old != nil {
		old.pos.drop()
		if old.file.ID != n.file.ID {
			st.remove([]fileRef{old.file})
		}
	}
	u.parts[r.Part] = n
	p.keep()
}

// dropUpload forgets an upload and those of its files that are not kept.
func (st *state) dropUpload(id string, kept []fileRef) {
	u := st.uploads[id]
	if u == nil {
		return
	}
	delete(st.uploads, id)
	u.pos.drop()
	keep := make(map[string]bool, len(kept))
	for _, f := range kept {
		keep[f.ID] = true
	}
	var gone []fileRef
	for _, p := range u.parts {
		p.pos.drop()
		if !keep[p.file.ID] {
			gone = append(gone, p.file)
		}
	}
	st.remove(gone)
}

// setDone remembers a completion. One that lies in its object's record does
// not count as live a second time.
func (st *state) setDone(id string, c *completion) {
	st.dropDone(id)
	st.done[id] = c
	if c.own {
		c.pos.keep()
	}
}

func (st *state) dropDone(id string) {
	if c := st.done[id]; c != nil {
		delete(st.done, id)
		if c.own {
			c.pos.drop()
		}
	}
}

// forgetDone drops completions from before t.
func (st *state) forgetDone(t time.Time) {
	for id, c := range st.done {
		if c.time < t.UnixNano() {
			st.dropDone(id)
		}
	}
}
