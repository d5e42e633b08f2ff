package history

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// attempts are what runs on the instances, as their agents say, and what became
// of what ran.
type attempts struct {
	mu       *sync.Mutex // guards what follows
	sessions map[deferd.SessionID]*session
	leases   map[deferd.LeaseID]held
	staging  map[deferd.InvocationID]time.Duration // of outcomes that are not published yet
	ended    map[deferd.Reason]int64
	lost     int64
}

// A session is one that was opened here.
type session struct {
	deferd.Session
	leases map[deferd.LeaseID]bool
}

// held is what is to be known of a lease at its end.
type held struct {
	session    deferd.SessionID
	endpoint   deferd.EndpointID
	variant    deferd.VariantName
	invocation deferd.InvocationID
	inline     bool
}

func newAttempts() attempts {
	return attempts{
		mu: new(sync.Mutex), sessions: map[deferd.SessionID]*session{}, leases: map[deferd.LeaseID]held{},
		staging: map[deferd.InvocationID]time.Duration{}, ended: map[deferd.Reason]int64{},
	}
}

// maxStaged bounds how many outcomes' times are remembered until they are
// published; beyond, their upload latency lacks the time of staging.
const maxStaged = 100_000

// Work returns w, with every attempt measured on its way through.
func (r *Recorder) Work(w deferd.Work) deferd.Work { return &work{w, r} }

type work struct {
	deferd.Work
	r *Recorder
}

func (w *work) Open(ctx context.Context, s deferd.Session) (deferd.SessionID, error) {
	id, err := w.Work.Open(ctx, s)
	if err == nil {
		w.r.attempts.open(id, s)
	}
	return id, err
}

func (w *work) Claim(ctx context.Context, c deferd.ClaimRequest) (deferd.Claim, error) {
	claim, err := w.Work.Claim(ctx, c)
	if err == nil {
		w.r.attempts.claimed(c.Session, claim.Leases)
	}
	return claim, err
}

func (w *work) Extend(ctx context.Context, e deferd.ExtendRequest) (deferd.Extension, error) {
	x, err := w.Work.Extend(ctx, e)
	if err == nil {
		w.r.attempts.drop(x.Lost)
	}
	return x, err
}

func (w *work) Settle(ctx context.Context, s deferd.Settlement) error {
	err := w.Work.Settle(ctx, s)
	switch {
	case err == nil:
		if h, ok := w.r.attempts.end(s.Lease, s.Outcome.Reason); ok {
			w.r.settled(h, s)
		}
	case deferd.CodeOf(err) == deferd.Lost:
		w.r.attempts.drop([]deferd.LeaseID{s.Lease})
	}
	return err
}

func (w *work) Release(ctx context.Context, rel deferd.Release) error {
	err := w.Work.Release(ctx, rel)
	switch {
	case err == nil:
		w.r.attempts.end(rel.Lease, rel.Reason)
	case deferd.CodeOf(err) == deferd.Lost:
		w.r.attempts.drop([]deferd.LeaseID{rel.Lease})
	}
	return err
}

func (w *work) Close(ctx context.Context, id deferd.SessionID) error {
	err := w.Work.Close(ctx, id)
	w.r.attempts.close(id)
	return err
}

// settled takes the times of an attempt that decided its invocation.
func (r *Recorder) settled(h held, s deferd.Settlement) {
	if s.Times.Model > 0 {
		r.took(h.endpoint, h.variant, deferd.ModelLatency, s.Times.Model)
	}
	if !h.inline && s.Outcome.Reason != deferd.Download {
		r.took(h.endpoint, h.variant, deferd.DownloadLatency, s.Times.Download)
	}
	r.attempts.stage(h.invocation, s.Times.Upload)
}

func (a *attempts) open(id deferd.SessionID, s deferd.Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, o := range a.sessions {
		if o.Instance == s.Instance { // void with this one
			a.forget(other)
		}
	}
	a.sessions[id] = &session{s, map[deferd.LeaseID]bool{}}
}

func (a *attempts) close(id deferd.SessionID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(id)
}

// forget drops a session and what it holds. The caller holds mu.
func (a *attempts) forget(id deferd.SessionID) {
	if s := a.sessions[id]; s != nil {
		for l := range s.leases {
			delete(a.leases, l)
		}
		delete(a.sessions, id)
	}
}

func (a *attempts) claimed(id deferd.SessionID, leases []deferd.Lease) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[id]
	if s == nil {
		return
	}
	for _, l := range leases {
		s.leases[l.ID] = true
		a.leases[l.ID] = held{id, s.Endpoint, s.Variant, l.Invocation, l.Inline}
	}
}

// end takes a lease that its agent has ended; ok is false where it was not known
// any more, as when a repeat is answered.
func (a *attempts) end(id deferd.LeaseID, why deferd.Reason) (h held, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h, ok = a.take(id); ok {
		a.ended[why]++
	}
	return h, ok
}

// drop takes leases that somebody else has ended.
func (a *attempts) drop(ids []deferd.LeaseID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if _, ok := a.take(id); ok {
			a.lost++
		}
	}
}

// take forgets a lease. The caller holds mu.
func (a *attempts) take(id deferd.LeaseID) (held, bool) {
	h, ok := a.leases[id]
	if !ok {
		return h, false
	}
	delete(a.leases, id)
	if s := a.sessions[h.session]; s != nil {
		delete(s.leases, id)
	}
	return h, true
}

// stage remembers how long an outcome took to be staged.
func (a *attempts) stage(id deferd.InvocationID, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d > 0 && len(a.staging) < maxStaged {
		a.staging[id] = d
	}
}

// staged forgets and returns it.
func (a *attempts) staged(id deferd.InvocationID) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.staging[id]
	delete(a.staging, id)
	return d
}

// Slots are the slots of one instance.
type Slots struct {
	deferd.Session
	Busy int // how many of them are taken
}

// Attempts are what became of attempts since the start.
type Attempts struct {
	Ended map[deferd.Reason]int64 // by their agents
	Lost  int64                   // ended by somebody else: cancelled, or given to another
}

// Attempts reads the counters.
func (r *Recorder) Attempts() Attempts {
	a := &r.attempts
	a.mu.Lock()
	defer a.mu.Unlock()
	return Attempts{maps.Clone(a.ended), a.lost}
}

// Slots reads the slots of the instances that are in session.
func (r *Recorder) Slots() []Slots {
	a := &r.attempts
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Slots, 0, len(a.sessions))
	for _, s := range a.sessions {
		all = append(all, Slots{s.Session, len(s.leases)})
	}
	return all
}
