package sqlite

import (
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// maxRepeats bounds the memory of retry tokens: two million are some 80 MB at
// the very most, and 2,200 accepts a second for the whole window.
const maxRepeats = 2_000_000

// repeats remembers the retry tokens of the last RepeatWindow. An index of
// random keys in the file would cost an accept more than all else together, so
// they are kept in memory, in the order of their accepts, and read back from
// the newest rows when the file is opened. It belongs to the writer goroutine.
type repeats struct {
	max   int
	seqs  map[[16]byte]int64
	order []repeat // oldest first, from head on
	head  int
}

type repeat struct {
	token [16]byte
	at    time.Time
}

func newRepeats(most int) *repeats { return &repeats{max: most, seqs: map[[16]byte]int64{}} }

// fill reads the tokens of the window ending now.
func (r *repeats) fill(conn *sqlite.Conn, now time.Time) error {
	type entry struct {
		repeat
		seq int64
	}
	var newest []entry
	oldest := now.Add(-deferd.RepeatWindow).UnixMicro()
	stmt, err := conn.Prepare("SELECT seq, token, accepted FROM invocation ORDER BY seq DESC LIMIT ?")
	if err != nil {
		return err
	}
	defer stmt.Reset()
	bind(stmt, 1, r.max)
	for {
		more, err := stmt.Step()
		if err != nil {
			return err
		}
		if !more || stmt.ColumnInt64(2) < oldest {
			break
		}
		if stmt.ColumnIsNull(1) {
			continue
		}
		e := entry{seq: stmt.ColumnInt64(0), repeat: repeat{at: columnTime(stmt, 2)}}
		stmt.ColumnBytes(1, e.token[:])
		newest = append(newest, e)
	}
	for i := len(newest) - 1; i >= 0; i-- {
		r.add(newest[i].token, newest[i].seq, newest[i].at)
	}
	return nil
}

// find returns the sequence number that a token was accepted under within the
// window, or 0.
func (r *repeats) find(token [16]byte, now time.Time) int64 {
	r.expire(now)
	return r.seqs[token]
}

func (r *repeats) add(token [16]byte, seq int64, at time.Time) {
	r.seqs[token] = seq
	r.order = append(r.order, repeat{token, at})
}

// undo takes back the newest add whose accept was not stored. Undone one by one,
// those of a group may come in any order.
func (r *repeats) undo() {
	newest := r.order[len(r.order)-1]
	r.order = r.order[:len(r.order)-1]
	delete(r.seqs, newest.token)
}

// expire forgets what has left the window, or is more than can be kept.
func (r *repeats) expire(now time.Time) {
	oldest := now.Add(-deferd.RepeatWindow)
	for r.head < len(r.order) && (r.order[r.head].at.Before(oldest) || len(r.order)-r.head > r.max) {
		delete(r.seqs, r.order[r.head].token)
		r.head++
	}
	if r.head > len(r.order)/2 && r.head > 1024 {
		r.order = append(r.order[:0:0], r.order[r.head:]...)
		r.head = 0
	}
}
