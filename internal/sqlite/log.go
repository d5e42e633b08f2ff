package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// SQLite's log (the file with -wal at its end) is what makes commits durable.
// What a sync of it should have covered when it failed is lost: the kernel
// gives it up, and the next sync succeeds without it. SQLite goes on as if the
// next one would do. Here a store whose sync has failed stores nothing more and
// leaves the file as it is; the next life writes the log again before it relies
// on it.

// checkpointPages is how long the log grows before it is moved into the file.
const checkpointPages = 1000

// errSyncFailed is what everybody gets from a store that has failed.
var errSyncFailed = errors.New("a sync of the store failed, so nothing more is stored before the server is started again")

// syncFailed reports whether err leaves open what is on the disk.
func syncFailed(err error) bool {
	switch sqlite.ErrCode(err) {
	case sqlite.ResultIOErrFsync, sqlite.ResultIOErrDirFsync:
		return true
	}
	return errors.Is(err, errSyncFailed)
}

// errUnreadable is the same for a file that the writer could not read.
var errUnreadable = errors.New("the store's file cannot be read as it was written, so nothing more is stored before the server is started again")

// unreadable reports whether the writer's connection can be of use no more: after
// a read that failed SQLite may take the file for a broken one until it is opened
// again.
func unreadable(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return true
	}
	return false
}

// checkpoint moves the log into the file once it is long enough. SQLite would
// do so by itself, but keep it to itself when a sync fails.
func (w *writer) checkpoint() error {
	long, moved, err := w.moveLog("NOOP")
	if err != nil || long < w.pages || moved == long {
		return err
	}
	_, _, err = w.moveLog("PASSIVE")
	return err
}

// moveLog runs a checkpoint, and returns how many pages the log has and how
// many of them are in the file.
func (w *writer) moveLog(mode string) (long, moved int64, err error) {
	stmt, err := w.conn.Prepare("PRAGMA wal_checkpoint(" + mode + ")")
	if err != nil {
		return 0, 0, fmt.Errorf("checkpoint: %w", err)
	}
	if _, err = stmt.Step(); err == nil {
		long, moved = stmt.ColumnInt64(1), stmt.ColumnInt64(2)
	}
	if err = errors.Join(err, stmt.Reset()); err != nil {
		return 0, 0, fmt.Errorf("checkpoint: %w", err)
	}
	return long, moved, nil
}

// fail lets the store end if err leaves open what is on the disk, or the file
// cannot be read.
func (w *writer) fail(err error) {
	switch {
	case w.failed != nil:
		return
	case syncFailed(err):
		w.why = errSyncFailed
	case unreadable(err):
		w.why = errUnreadable
	default:
		return
	}
	w.failed = &deferd.Error{Code: deferd.Unavailable, Msg: "the store cannot be written before the server is started again", Err: errors.Join(w.why, err)}
	w.log.Error("the store has failed", "err", err)
	close(w.broken)
}

// Watch returns when ctx ends, or with an error when the store has failed: then
// it can be read, but stores nothing more, and has to be opened again by
// another process.
func (s *Store) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.writer.broken:
		return s.writer.why
	}
}

// renewLog writes the log of an earlier life again and syncs it. That life may
// have been killed before its sync, or after that had failed; what is read of
// the log need not be on the disk then.
func renewLog(path string) (err error) {
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("renew the log: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("renew the log: %w", err)
		}
	}()
	b := make([]byte, 1<<20)
	for off := int64(0); ; {
		n, err := f.ReadAt(b, off)
		if err != nil && err != io.EOF {
			return err
		}
		if n == 0 {
			if err := f.Sync(); err != nil {
				return errors.Join(errSyncFailed, err)
			}
			return nil
		}
		if _, err := f.WriteAt(b[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
}

// syncDir makes the names of the store's files durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return errors.Join(errSyncFailed, err)
	}
	return nil
}
