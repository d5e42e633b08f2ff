package bothways

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/deferd/deferd"
)

// mark is the user metadata that says whose outcome an object is.
const mark = "deferd-invocation"

// A record is what was really done, whatever the callers were told.
type record struct {
	mu       sync.Mutex // guards all below
	sessions []deferd.SessionID
	uploads  map[string]string        // open ones, and whose they are
	written  map[deferd.Location]what // what was written there first
	outcomes map[decision]string      // what was decided first
	wrongs   []string                 // what was changed afterwards
}

type decision struct {
	id deferd.InvocationID
	n  int
}

// what identifies what an object was made of.
type what string

func newRecord() *record {
	return &record{
		uploads:  map[string]string{},
		written:  map[deferd.Location]what{},
		outcomes: map[decision]string{},
	}
}

func (r *record) session(id deferd.SessionID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.sessions = append(r.sessions, id)
	}
}

func (r *record) upload(id, of string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uploads[id] = of
}

func (r *record) aborted(u deferd.Upload) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.uploads, u.ID)
}

func (r *record) completed(u deferd.Upload) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.uploads, u.ID)
	r.write(u.Location, what("upload "+u.ID))
}

func (r *record) put(l deferd.Location, a deferd.ObjectAttributes, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(l, what(fmt.Sprintf("%d bytes %x of %s", len(body), sha256.Sum256(body), a.Metadata[mark])))
}

// write notes that something became visible. The caller holds mu.
func (r *record) write(l deferd.Location, w what) {
	if before, ok := r.written[l]; ok && before != w {
		r.wrongs = append(r.wrongs, fmt.Sprintf("the object %s changed from %s to %s", l, before, w))
		return
	}
	r.written[l] = w
}

// decided notes what is to be published.
func (r *record) decided(ps []deferd.Publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range ps {
		d := decision{p.Invocation.ID, p.Decision}
		o := p.Outcome
		upload := ""
		if o.Upload != nil {
			upload = o.Upload.ID
		}
		s := fmt.Sprintf("%v (%s) with %d bytes %x, upload %q", o.State, o.Reason, o.Size, sha256.Sum256(o.Body), upload)
		if before, ok := r.outcomes[d]; ok && before != s {
			r.wrongs = append(r.wrongs, fmt.Sprintf("decision %d of %s changed from %s to %s", d.n, d.id, before, s))
			continue
		}
		r.outcomes[d] = s
	}
}

// complaints are what was changed although it stood.
func (r *record) complaints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.wrongs)
}

// openUploads are those that nobody has completed or aborted, each by whose it is.
func (r *record) openUploads() (of []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.uploads {
		of = append(of, id)
	}
	return of
}

func (r *record) allSessions() []deferd.SessionID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sessions)
}
