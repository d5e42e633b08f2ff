package sqlite

import (
	"maps"
	"slices"
	"sync"

	"github.com/deferd/deferd"
)

// What is kept in memory of outcomes that wait to be published. What is more is
// read from the file when its turn comes.
const (
	maxLiveBytes      = 16 << 20 // of their bodies
	maxLivePublishing = 4096

	maxLiveInline = 16 << 20 // of inline bodies, from the accept to the end
)

// live keeps the rows that run or wait to be published as they were last
// committed, so that an invocation's row is read once on its way, by the claim.
// All that run are here; of those that wait, as many as there is room for. This
// process alone writes the file, and a lease does not outlive it.
type live struct {
	mu         sync.RWMutex
	rows       map[int64]*row // by sequence number; never changed, only replaced
	seqs       map[deferd.InvocationID]int64
	publishing int   // how many of them wait to be published
	bytes      int64 // of their bodies

	inline      map[int64][]byte // bodies of what was accepted last; never changed
	inlineBytes int
}

func newLive() *live {
	return &live{rows: map[int64]*row{}, seqs: map[deferd.InvocationID]int64{}, inline: map[int64][]byte{}}
}

// row returns a row that nobody may change, or nil.
func (l *live) row(seq int64) *row {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.rows[seq]
}

// seq returns the sequence number of an invocation that is here, or 0.
func (l *live) seq(id deferd.InvocationID) int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.seqs[id]
}

// body returns the inline body of an invocation that runs, if it is here.
func (l *live) body(id deferd.InvocationID) []byte {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.inline[l.seqs[id]]
}

// remember keeps the inline body of an invocation that was accepted, where there
// is room: what is accepted first is claimed first.
func (l *live) remember(seq deferd.Sequence, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inlineBytes+len(body) <= maxLiveInline {
		l.inline[int64(seq)] = body
		l.inlineBytes += len(body)
	}
}

// forget drops the inline body of an invocation that is decided.
func (l *live) forget(seq deferd.Sequence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inlineBytes -= len(l.inline[int64(seq)])
	delete(l.inline, int64(seq))
}

// apply takes over what a transaction has committed. A nil row is one that
// neither runs nor waits any more.
func (l *live) apply(changed map[int64]*row) {
	if len(changed) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq, r := range changed {
		if old := l.rows[seq]; old != nil {
			l.account(old, -1)
			delete(l.rows, seq)
			delete(l.seqs, old.ID)
		}
		if r == nil || r.State == deferd.Publishing && l.publishing >= maxLivePublishing {
			continue
		}
		if r.outcome != nil && l.bytes+int64(len(r.outcome.Body)) > maxLiveBytes {
			r.outcome = nil
		}
		l.account(r, 1)
		l.rows[seq] = r
		l.seqs[r.ID] = seq
	}
}

// account adds or subtracts what a row takes. The caller holds mu.
func (l *live) account(r *row, sign int) {
	if r.State == deferd.Publishing {
		l.publishing += sign
	}
	if r.outcome != nil {
		l.bytes += int64(sign * len(r.outcome.Body))
	}
}

// live returns a row that runs or waits to be published as this transaction has
// it, for the caller to change and keep; nil if it is not known here.
func (t *tx) live(seq int64) *row {
	r, changed := t.changed[seq]
	if !changed && t.store != nil {
		r = t.store.live.row(seq)
	}
	if r == nil {
		return nil
	}
	own := *r
	return &own
}

// keep says what this transaction has stored of a row that runs or waits to be
// published, and drop that a row does neither any more. Both take over r.
func (t *tx) keep(r *row) { t.note(int64(r.Seq), r) }
func (t *tx) drop(r *row) { t.note(int64(r.Seq), nil) }

func (t *tx) note(seq int64, r *row) {
	if t.store == nil {
		return
	}
	if t.changed == nil {
		t.changed = map[int64]*row{}
	}
	t.changed[seq] = r
}

// A session is an agent's, as long as this process lives.
type session struct {
	id       deferd.SessionID
	endpoint int64 // its row
	variant  string
	instance deferd.InstanceID
	slots    int
	number   int64 // of the last claim
	held     map[int64]bool
}

// sessions are those that are current, as the transaction in progress has them.
// They belong to the writer goroutine.
type sessions struct {
	byID       map[deferd.SessionID]*session
	byInstance map[deferd.InstanceID]*session
}

func newSessions() sessions {
	return sessions{map[deferd.SessionID]*session{}, map[deferd.InstanceID]*session{}}
}

var errNoSession = &deferd.Error{Code: deferd.Lost, Msg: "the session is not current"}

// session returns a current session, or errNoSession.
func (t *tx) session(id deferd.SessionID) (*session, error) {
	se := t.store.sessions.byID[id]
	if se == nil {
		return nil, errNoSession
	}
	return se, nil
}

// enlist makes a session a current one, and dismiss ends that.
func (t *tx) enlist(se *session) {
	all := &t.store.sessions
	all.byID[se.id], all.byInstance[se.instance] = se, se
	t.undo = append(t.undo, func() { all.remove(se) })
}

func (t *tx) dismiss(se *session) {
	all := &t.store.sessions
	all.remove(se)
	t.undo = append(t.undo, func() { all.byID[se.id], all.byInstance[se.instance] = se, se })
}

func (s *sessions) remove(se *session) {
	delete(s.byID, se.id)
	delete(s.byInstance, se.instance)
}

// nextNumber numbers a claim of a session.
func (t *tx) nextNumber(se *session) int64 {
	se.number++
	t.undo = append(t.undo, func() { se.number-- })
	return se.number
}

// hold notes that a session holds a row, or does so no more.
func (t *tx) hold(id deferd.SessionID, seq deferd.Sequence, holds bool) {
	if t.store == nil {
		return
	}
	se := t.store.sessions.byID[id]
	if se == nil {
		return
	}
	before := se.held[int64(seq)]
	se.set(int64(seq), holds)
	t.undo = append(t.undo, func() { se.set(int64(seq), before) })
}

func (se *session) set(seq int64, holds bool) {
	if holds {
		se.held[seq] = true
		return
	}
	delete(se.held, seq)
}

// held are the rows that a session has leased, for the caller to change.
func (t *tx) held(se *session) []*row {
	rows := make([]*row, 0, len(se.held))
	for _, seq := range slices.Sorted(maps.Keys(se.held)) {
		rows = append(rows, t.live(seq))
	}
	return rows
}
