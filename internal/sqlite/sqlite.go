// Package sqlite is the store of one machine: a [deferd.Store] in one SQLite
// file (WAL, synchronous=FULL).
//
// A store whose sync has failed, or whose file its writer cannot read, stores
// nothing more, see [Store.Watch].
//
// One goroutine writes. Whatever is asked of it while it commits is done in
// the next transaction together, so that one fsync makes many accepts and
// settles durable; nothing is answered before the commit that holds it. What
// need not be durable (a claim, an extend, a finish) costs no fsync of its own.
// Readers use connections of their own and see what was committed last.
//
// There is one server on a file, and its leases end with the process: opening
// the file returns what an earlier life had leased. So sessions, and the rows of
// what runs, are kept in memory, too, as the writer has committed them; what a
// transaction changes of them is taken back with it.
package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

var _ deferd.Store = (*Store)(nil)

// A Store is an open store file.
type Store struct {
	log     *slog.Logger
	clock   *clock
	now     func() time.Time
	writer  *writer
	readers *sqlitex.Pool
	refs    *refs
	memory  *memory
	repeats *repeats // the writer goroutine's

	live *live

	// The writer goroutine's: as the transaction in progress has them.
	endpoints map[deferd.EndpointID]standing
	sessions  sessions

	feeds   feeds
	notices noticeCounts

	closing sync.Once
	closed  error // set by closing

	held        map[int64]bool  // endpoints that may claim nothing until more is published; the writer goroutine's
	unpublished map[int64]int64 // bytes of outcomes, by endpoint, as of the last commit; likewise

	observe func(query string) // sees each statement before it runs; nil but in tests
}

// Options are what a Store needs beside its file.
type Options struct {
	Logger *slog.Logger // nil: discards

	// Now replaces the store's clock. Nil: wall time at start plus what has
	// passed since, kept over restarts.
	Now func() time.Time

	// Machine is what that clock reads. Nil: ThisMachine.
	Machine *Machine

	checkpointPages int64 // tests checkpoint more often
}

// readers is how many queries may run at a time beside the writer. Each
// connection has a page cache of its own, and two cores gain nothing from more.
const readers = 4

// cacheKiB bounds the page cache of a connection, and so what the backlog
// costs in memory.
const cacheKiB = 8 << 10

// Open opens the store file at path, which is made where it is not there. It
// refuses files of a newer version and files that are not deferd's.
func Open(path string, o Options) (*Store, error) {
	conn, err := openConn(path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	s := &Store{log: o.Logger, now: o.Now, repeats: newRepeats(maxRepeats), refs: newRefs(), memory: newMemory(), live: newLive(),
		endpoints: map[deferd.EndpointID]standing{}, sessions: newSessions(), held: map[int64]bool{}, unpublished: map[int64]int64{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	machine := ThisMachine()
	if o.Machine != nil {
		machine = *o.Machine
	}
	if err := s.prepare(conn, machine); err != nil {
		abandon(conn, err)
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := syncDir(path); err != nil {
		abandon(conn, err)
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	s.readers, err = sqlitex.NewPool(path, sqlitex.PoolOptions{
		Flags:       sqlite.OpenReadOnly | sqlite.OpenWAL,
		PoolSize:    readers,
		PrepareConn: func(c *sqlite.Conn) error { return pragmas(c, "cache_size = -2048", "query_only = 1") },
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open store %s for reading: %w", path, err)
	}
	s.writer = newWriter(conn, s, cmp.Or(o.checkpointPages, checkpointPages))
	return s, nil
}

func openConn(path string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	// First of all: a file that is refused stays as it is.
	if err := check(conn); err != nil {
		conn.Close()
		return nil, err
	}
	if err := renewLog(path); err != nil {
		abandon(conn, err)
		return nil, err
	}
	err = pragmas(conn,
		"synchronous = FULL",
		"journal_mode = WAL",
		"wal_autocheckpoint = 0", // see writer.checkpoint
		// On macOS a sync leaves the data in the disk's cache without these.
		"fullfsync = 1",
		"checkpoint_fullfsync = 1",
		fmt.Sprintf("cache_size = -%d", cacheKiB),
		"journal_size_limit = 67108864",
		"temp_store = MEMORY",
	)
	if err != nil {
		abandon(conn, err)
		return nil, err
	}
	return conn, nil
}

// abandon closes a connection that failed with err. After a sync has failed it
// leaves it to the end of the process: closing would move the log into the file
// and remove it.
func abandon(conn *sqlite.Conn, err error) {
	if !syncFailed(err) {
		conn.Close()
	}
}

func pragmas(conn *sqlite.Conn, settings ...string) error {
	for _, p := range settings {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+p, nil); err != nil {
			return fmt.Errorf("set %s: %w", p, err)
		}
	}
	return nil
}

// clockTolerance is how far the store's clock may be off wall time before
// somebody is told.
const clockTolerance = time.Minute

// prepare migrates the file, starts the clock, returns what an earlier life
// had leased, and fills the memory of repeats.
func (s *Store) prepare(conn *sqlite.Conn, m Machine) error {
	if err := migrate(conn); err != nil {
		return err
	}
	if s.now == nil {
		c, err := startClock(conn, m)
		if err != nil {
			return fmt.Errorf("start the clock: %w", err)
		}
		s.clock, s.now = c, c.Now
		if off := c.Now().Sub(m.Wall()); off.Abs() > clockTolerance {
			s.log.Warn("the store's clock is off wall time; it goes on from where it was", "offset", off)
		}
	}
	if err := s.recover(conn); err != nil {
		return fmt.Errorf("return the leases of an earlier life: %w", err)
	}
	if err := s.repeats.fill(conn, s.Now()); err != nil {
		return fmt.Errorf("read the newest retry tokens: %w", err)
	}
	if err := s.notices.count(conn); err != nil {
		return fmt.Errorf("count the notices: %w", err)
	}
	return nil
}

// running selects what was claimed and is not decided.
const running = "i.state = 1 ORDER BY i.seq"

// recover returns everything that was running when the file was last in use.
func (s *Store) recover(conn *sqlite.Conn) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	t := newTx(conn, s.Now(), s.refs)
	held, err := t.invocations(math.MaxInt, running)
	if err != nil {
		return err
	}
	for _, inv := range held {
		if err := t.giveBack(inv, deferd.ServerDied, "", 0); err != nil {
			return err
		}
	}
	// Uploads of leases that no longer exist, also those whose lease ended in
	// the crash itself.
	if err := t.exec("UPDATE upload SET abandoned = 1"); err != nil {
		return err
	}
	return t.flush()
}

// Now is the store's clock, at the resolution of the file's times.
func (s *Store) Now() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// Close waits for what is being written and closes the file. Closing it again
// does nothing more.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.writer.stop()
		err := s.readers.Close()
		if s.writer.failed == nil { // see abandon
			err = errors.Join(err, s.writer.conn.Close())
		}
		if err != nil {
			s.closed = fmt.Errorf("close store: %w", err)
		}
	})
	return s.closed
}

// CommitStats reports how many transactions were committed and how many
// operations they held.
func (s *Store) CommitStats() (commits, operations int64) {
	return s.writer.commits.Load(), s.writer.operations.Load()
}

// CommitTime reports how long these transactions took to commit, with their
// syncs.
func (s *Store) CommitTime() time.Duration { return time.Duration(s.writer.took.Load()) }

// write runs fn in the next transaction and returns once that is durable. An
// error of fn that is a *deferd.Error is a refusal: fn has written nothing. fn
// may run more than once and must not keep what an earlier run found.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return &deferd.Error{Code: deferd.Unavailable, Msg: "the request ended before it was stored", Err: err}
	}
	return s.writer.do(fn, true)
}

// writeUnsynced is write for what a crash of the machine may take back: alone
// it is committed without an fsync, and becomes durable with the next write.
func (s *Store) writeUnsynced(ctx context.Context, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return &deferd.Error{Code: deferd.Unavailable, Msg: "the request ended before it was stored", Err: err}
	}
	return s.writer.do(fn, false)
}

// read runs fn on a reading connection.
func (s *Store) read(ctx context.Context, fn func(*tx) error) error {
	conn, err := s.readers.Take(ctx)
	if err != nil {
		return &deferd.Error{Code: deferd.Unavailable, Msg: "the store cannot be read now", Err: err}
	}
	defer s.readers.Put(conn)
	t := newTx(conn, s.Now(), s.refs)
	t.store = s
	return storeError(fn(t))
}
