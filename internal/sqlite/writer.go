package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// maxGroup bounds how many operations share a commit: more would make the
// first ones wait for the last without saving a noticeable part of an fsync.
const maxGroup = 512

// A writer is the one goroutine that changes the file.
type writer struct {
	conn  *sqlite.Conn
	store *Store
	log   *slog.Logger
	sync  string // how the connection syncs now
	pages int64  // at which the log is moved into the file

	failed error         // set once nothing more can be stored; the writer goroutine's, and after it the closer's
	why    error         // set with that: what is wrong
	broken chan struct{} // closed after both

	commits    atomic.Int64
	operations atomic.Int64
	took       atomic.Int64 // nanoseconds of committing

	mu      sync.RWMutex // guards ops against being closed under a sender
	stopped bool
	ops     chan *op
	done    chan struct{}
}

// An op is one operation that waits to be written.
type op struct {
	fn      func(*tx) error
	durable bool  // it is answered only once it is on the disk
	err     error // fn's refusal, or what kept it from being stored
	done    chan struct{}
}

var errStopped = &deferd.Error{Code: deferd.Unavailable, Msg: "the store is closed"}

func newWriter(conn *sqlite.Conn, s *Store, pages int64) *writer {
	w := &writer{conn: conn, store: s, log: s.log, pages: pages, ops: make(chan *op, maxGroup), done: make(chan struct{}), broken: make(chan struct{})}
	go w.run()
	return w
}

// do hands fn to the writer and waits until it is committed, durably where that
// is asked for, or refused.
func (w *writer) do(fn func(*tx) error, durable bool) error {
	o := &op{fn: fn, durable: durable, done: make(chan struct{})}
	w.mu.RLock()
	if w.stopped {
		w.mu.RUnlock()
		return errStopped
	}
	w.ops <- o
	w.mu.RUnlock()
	<-o.done
	return o.err
}

// stop lets the writer finish what it was given.
func (w *writer) stop() {
	w.mu.Lock()
	if !w.stopped {
		w.stopped = true
		close(w.ops)
	}
	w.mu.Unlock()
	<-w.done
}

func (w *writer) run() {
	defer close(w.done)
	group := make([]*op, 0, maxGroup)
	for first := range w.ops {
		group = append(group[:0], first)
		// Whoever was answered by the last commit may have more to write: let
		// them come to it, or on one CPU each would get a commit of its own.
		runtime.Gosched()
	fill:
		for len(group) < maxGroup {
			select {
			case o, ok := <-w.ops:
				if !ok {
					break fill
				}
				group = append(group, o)
			default:
				break fill
			}
		}
		w.commit(group)
	}
}

// commit stores a group in one transaction. If the transaction fails, each
// operation is tried in one of its own, so that one which cannot be stored
// takes no other down with it.
func (w *writer) commit(group []*op) {
	err := w.failed
	if err == nil {
		err = w.transact(group)
		w.fail(err)
		w.tidy()
	}
	if w.failed == nil && err != nil && len(group) > 1 {
		w.log.Warn("a group commit failed; storing its operations one by one", "operations", len(group), "err", err)
		for _, o := range group {
			w.commit([]*op{o})
		}
		return
	}
	for _, o := range group {
		if err != nil {
			o.err = storeError(err)
		}
		close(o.done)
	}
	if err != nil && w.failed == nil {
		w.log.Error("the store cannot be written", "err", err)
	}
}

// tidy runs a checkpoint where one is due. What is committed stays so if that
// fails.
func (w *writer) tidy() {
	if w.failed != nil {
		return
	}
	err := w.checkpoint()
	if err != nil {
		w.log.Error("the store's log cannot be moved into its file", "err", err)
	}
	w.fail(err)
}

// transact runs the group's operations between BEGIN and COMMIT. An error
// means that nothing of the group was stored.
func (w *writer) transact(group []*op) (err error) {
	if err := w.setSync(slices.ContainsFunc(group, func(o *op) bool { return o.durable })); err != nil {
		return err
	}
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t := newTx(w.conn, w.store.Now(), w.store.refs)
	t.store = w.store
	defer func() {
		if err == nil {
			return
		}
		for _, f := range slices.Backward(t.undo) {
			f()
		}
		// After some errors SQLite has rolled back by itself.
		if !w.conn.AutocommitEnabled() {
			err = errors.Join(err, w.exec("ROLLBACK"))
		}
	}()
	for _, o := range group {
		o.err = o.fn(t)
		if o.err == nil {
			continue
		}
		if _, refused := errors.AsType[*deferd.Error](o.err); !refused {
			return o.err
		}
	}
	if err := t.handOut(); err != nil {
		return fmt.Errorf("hand out work: %w", err)
	}
	if err := t.flush(); err != nil {
		return fmt.Errorf("store counts: %w", err)
	}
	began := time.Now()
	if err := w.exec("COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	w.took.Add(int64(time.Since(began)))
	w.commits.Add(1)
	w.operations.Add(int64(len(group)))
	w.store.live.apply(t.changed)
	for _, f := range t.after {
		f()
	}
	return nil
}

// setSync says whether the next commit is to be synced. One that is not may be
// taken back by a crash of the machine, but only together with all that came
// after it: the log is read up to where it is whole.
func (w *writer) setSync(durable bool) error {
	mode := "NORMAL"
	if durable {
		mode = "FULL"
	}
	if mode == w.sync {
		return nil
	}
	// This takes effect when the statement is prepared, so never a kept one.
	if err := pragmas(w.conn, "synchronous = "+mode); err != nil {
		return err
	}
	w.sync = mode
	return nil
}

func (w *writer) exec(query string) error {
	stmt, err := w.conn.Prepare(query)
	if err != nil {
		return err
	}
	_, err = stmt.Step()
	return errors.Join(err, stmt.Reset())
}

// storeError gives what SQLite says a code: a full or broken disk may be mended,
// so the caller may come again; everything else is a bug.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*deferd.Error](err); ok {
		return err
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull, sqlite.ResultIOErr, sqlite.ResultBusy, sqlite.ResultLocked,
		sqlite.ResultNoMem, sqlite.ResultReadOnly, sqlite.ResultCantOpen, sqlite.ResultInterrupt:
		return &deferd.Error{Code: deferd.Unavailable, Msg: "the store cannot be written now", Err: err}
	}
	return &deferd.Error{Code: deferd.Internal, Msg: "the store failed", Err: err}
}
