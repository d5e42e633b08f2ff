// Command riversqlite is the peer that queues with River, in SQLite.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/riverqueue/river/riverdriver/riversqlite"
	_ "modernc.org/sqlite"

	"github.com/deferd/deferd/bench/peers/internal/peer"
	"github.com/deferd/deferd/bench/peers/internal/riverqueue"
)

func main() { peer.Main("riversqlite", open) }

// A jobs is the queue.
type jobs struct {
	*riverqueue.Queue[*sql.Tx]
	db *sql.DB
}

// open opens the database with one connection, as River's driver advises:
// SQLite has one writer at a time, and more would meet SQLITE_BUSY.
func open(ctx context.Context, s peer.Settings) (peer.Queue, error) {
	file := filepath.Join(s.Dir, "river.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)"+
		"&_pragma=cache_size(-262144)&_pragma=mmap_size(1073741824)&_pragma=temp_store(MEMORY)&_pragma=wal_autocheckpoint(10000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	q, err := riverqueue.Open(ctx, riversqlite.New(db), s, 1)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &jobs{Queue: q, db: db}, nil
}

// Durability implements peer.Queue. There is but one connection to ask.
func (j *jobs) Durability(ctx context.Context) (string, error) {
	var journal string
	if err := j.db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return "", err
	}
	var synchronous int
	if err := j.db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return "", err
	}
	const full = 2
	if journal != "wal" || synchronous < full {
		return "", fmt.Errorf("the database has journal_mode %q, synchronous %d, want %q and %d", journal, synchronous, "wal", full)
	}
	return fmt.Sprintf("journal_mode=%s synchronous=%d (FULL)", journal, synchronous), nil
}

// Processes implements peer.Queue.
func (j *jobs) Processes() []int { return []int{} }

// Close implements peer.Queue.
func (j *jobs) Close() error { return errors.Join(j.Queue.Close(), j.db.Close()) }
