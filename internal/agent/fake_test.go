package agent

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
)

// fakeWork is a server in memory that keeps the rules of Work. What a test
// wants to go wrong it says with the function fields.
type fakeWork struct {
	onOpen       func() error
	onClaim      func(n int, c deferd.Claim) error // after the claim: an error loses its answer
	onExtend     func(deferd.ExtendRequest) (deferd.Extension, error)
	onInput      func(n int, g deferd.GetObject) (*deferd.Object, error)
	onUpload     func() (*deferd.Upload, error)
	onPart       func(n int) error
	onSettle     func(n int) error // before the settle
	afterSettle  func(n int) error // after it: done, but reported as failed
	onRelease    func(n int) error
	input        string
	inputType    string
	empty        bool // claims are answered at once, with nothing
	requeue      bool // released leases come back under a new ID
	claimWaiting atomic.Int64

	mu sync.Mutex // guards all below, and the function fields while the agent runs
	record
	session  deferd.SessionID
	number   int64
	unseen   map[int64][]deferd.Lease
	queue    []deferd.Lease
	live     map[deferd.LeaseID]deferd.Lease
	arrived  chan struct{} // closed and replaced when work arrives
	leaseSeq int
}

// A record is what a fakeWork was asked.
type record struct {
	opened   int
	closed   int
	claims   []deferd.ClaimRequest
	extends  []deferd.ExtendRequest
	inputs   []deferd.GetObject
	parts    [][]byte
	uploads  []deferd.ObjectAttributes
	settles  int // calls
	settled  []deferd.Settlement
	releases int // calls
	released []deferd.Release
}

// seen is what w was asked so far.
func (w *fakeWork) seen() record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.record // its slices only grow
}

// answerExtend makes extends from now on be answered by f.
func (w *fakeWork) answerExtend(f func(deferd.ExtendRequest) (deferd.Extension, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onExtend = f
}

func newFakeWork() *fakeWork {
	return &fakeWork{
		input:     "the input",
		inputType: "text/plain",
		unseen:    make(map[int64][]deferd.Lease),
		live:      make(map[deferd.LeaseID]deferd.Lease),
		arrived:   make(chan struct{}),
	}
}

// add queues leases.
func (w *fakeWork) add(leases ...deferd.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range leases {
		w.leaseSeq++
		l.ID = deferd.LeaseID(fmt.Sprintf("lease-%d", w.leaseSeq))
		if l.Invocation == "" {
			l.Invocation = deferd.InvocationID(fmt.Sprintf("inv-%d", w.leaseSeq))
		}
		if l.InferenceID == "" {
			l.InferenceID = string(l.Invocation)
		}
		l.Attempt = max(l.Attempt, 1)
		if l.Timeout == 0 {
			l.Timeout = time.Minute
		}
		w.queue = append(w.queue, l)
	}
	close(w.arrived)
	w.arrived = make(chan struct{})
}

func (w *fakeWork) Open(context.Context, deferd.Session) (deferd.SessionID, error) {
	if w.onOpen != nil {
		if err := w.onOpen(); err != nil {
			return "", err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened++
	w.session = deferd.SessionID(fmt.Sprintf("session-%d", w.opened))
	clear(w.live)
	clear(w.unseen)
	return w.session, nil
}

func (w *fakeWork) Claim(ctx context.Context, r deferd.ClaimRequest) (deferd.Claim, error) {
	if w.claimWaiting.Add(1) > 1 {
		panic("two claims of a session at a time")
	}
	defer w.claimWaiting.Add(-1)
	w.mu.Lock()
	w.claims = append(w.claims, r)
	w.mu.Unlock()
	if w.empty {
		return deferd.Claim{Number: r.Confirmed}, nil
	}
	deadline := time.NewTimer(r.Wait)
	defer deadline.Stop()
	for {
		c, arrived, err := w.tryClaim(r)
		if err != nil {
			return c, err
		}
		if len(c.Leases) > 0 || r.Wait == 0 {
			if w.onClaim != nil {
				if err := w.onClaim(int(c.Number), c); err != nil {
					return deferd.Claim{}, err
				}
			}
			return c, nil
		}
		select {
		case <-arrived:
		case <-deadline.C:
			return c, nil
		case <-ctx.Done():
			return deferd.Claim{}, ctx.Err()
		}
	}
}

func (w *fakeWork) tryClaim(r deferd.ClaimRequest) (deferd.Claim, chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Session != w.session {
		return deferd.Claim{}, nil, deferd.Errorf(deferd.Lost, "session is not current")
	}
	for n := range w.unseen {
		if n <= r.Confirmed {
			delete(w.unseen, n)
		}
	}
	var c deferd.Claim
	for _, ls := range w.unseen {
		for _, l := range ls {
			if _, ok := w.live[l.ID]; ok {
				c.Leases = append(c.Leases, l)
			}
		}
	}
	n := min(len(w.queue), r.Free-len(c.Leases))
	if n > 0 {
		fresh := w.queue[:n:n]
		w.queue = w.queue[n:]
		for _, l := range fresh {
			w.live[l.ID] = l
		}
		w.unseen[w.number+1] = fresh
		c.Leases = append(c.Leases, fresh...)
	}
	if len(c.Leases) > 0 {
		w.number++
	}
	c.Number = w.number
	return c, w.arrived, nil
}

func (w *fakeWork) Extend(_ context.Context, e deferd.ExtendRequest) (deferd.Extension, error) {
	w.mu.Lock()
	w.extends = append(w.extends, e)
	answer := w.onExtend
	w.mu.Unlock()
	if answer != nil {
		return answer(e)
	}
	return deferd.Extension{}, nil
}

func (w *fakeWork) Input(ctx context.Context, id deferd.LeaseID, g deferd.GetObject) (*deferd.Object, error) {
	w.mu.Lock()
	w.inputs = append(w.inputs, g)
	n := len(w.inputs)
	w.mu.Unlock()
	if w.onInput != nil {
		if o, err := w.onInput(n, g); o != nil || err != nil {
			if f, ok := faultyBody(o); ok {
				f.ctx = ctx
			}
			return o, err
		}
	}
	return w.object(strings.NewReader(w.input[g.Offset:])), nil
}

// object is the input, read from r.
func (w *fakeWork) object(r io.Reader) *deferd.Object {
	return &deferd.Object{
		ObjectInfo: deferd.ObjectInfo{
			ObjectAttributes: deferd.ObjectAttributes{ContentType: w.inputType},
			Size:             int64(len(w.input)),
			ETag:             "etag",
		},
		Body: body{r},
	}
}

func (w *fakeWork) Upload(_ context.Context, _ deferd.LeaseID, output bool, a deferd.ObjectAttributes) (*deferd.Upload, error) {
	w.mu.Lock()
	w.uploads = append(w.uploads, a)
	w.mu.Unlock()
	if w.onUpload != nil {
		return w.onUpload()
	}
	return &deferd.Upload{Location: deferd.Location{Bucket: "b", Key: fmt.Sprintf("output=%t", output)}, ID: "upload"}, nil
}

func (w *fakeWork) UploadPart(ctx context.Context, _ deferd.LeaseID, u deferd.Upload, n int, size int64, body io.Reader) (deferd.Part, error) {
	if w.onPart != nil {
		if err := w.onPart(n); err != nil {
			return deferd.Part{}, err
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return deferd.Part{}, err
	}
	if int64(len(data)) != size {
		return deferd.Part{}, deferd.Errorf(deferd.Invalid, "part %d has %d bytes, not %d", n, len(data), size)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = append(w.parts, data)
	return deferd.Part{Number: n, ETag: fmt.Sprint("part-", n), Size: size}, nil
}

func (w *fakeWork) Settle(_ context.Context, s deferd.Settlement) error {
	w.mu.Lock()
	w.settles++
	n := w.settles
	w.mu.Unlock()
	if w.onSettle != nil {
		if err := w.onSettle(n); err != nil {
			return err
		}
	}
	if err := w.settle(s); err != nil {
		return err
	}
	if w.afterSettle != nil {
		return w.afterSettle(n)
	}
	return nil
}

func (w *fakeWork) settle(s deferd.Settlement) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, old := range w.settled {
		if old.Lease == s.Lease {
			return nil // decided earlier under this lease
		}
	}
	if _, ok := w.live[s.Lease]; !ok {
		return deferd.Errorf(deferd.Lost, "the lease is not current")
	}
	delete(w.live, s.Lease)
	w.settled = append(w.settled, s)
	return nil
}

func (w *fakeWork) Release(_ context.Context, r deferd.Release) error {
	w.mu.Lock()
	w.releases++
	n := w.releases
	w.mu.Unlock()
	if w.onRelease != nil {
		if err := w.onRelease(n); err != nil {
			return err
		}
	}
	w.mu.Lock()
	l, ok := w.live[r.Lease]
	if ok {
		delete(w.live, r.Lease)
		w.released = append(w.released, r)
	}
	w.mu.Unlock()
	if !ok {
		return deferd.Errorf(deferd.Lost, "the lease is not current")
	}
	if w.requeue {
		w.add(l)
	}
	return nil
}

func (w *fakeWork) Close(context.Context, deferd.SessionID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed++
	return nil
}

// lose takes a lease away.
func (w *fakeWork) lose(id deferd.LeaseID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.live, id)
}

func (w *fakeWork) outcomes() []deferd.Settlement { return w.seen().settled }

func (w *fakeWork) releasesMade() []deferd.Release { return w.seen().released }
