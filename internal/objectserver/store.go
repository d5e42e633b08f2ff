package objectserver

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// Options are the settings of a store. The zero value is usable.
type Options struct {
	Region      string       // of its buckets; default us-east-1
	Account     string       // that owns its buckets; default 000000000000
	Logger      *slog.Logger // default: none
	SegmentSize int64        // bytes after which a new segment is begun; smaller ones are cleaned sooner, very large ones keep dead data longer. Default 64 MiB

	disk *disk // tests make it fail
}

const (
	// smallObject is the largest object that is stored in the log itself.
	smallObject = 256 << 10

	// uploadExpiry is how long an upload may stay incomplete, and how long a
	// completed one is remembered. It is longer than any publishing may take.
	uploadExpiry = 7 * 24 * time.Hour

	defaultSegmentSize = 64 << 20
)

// A Store is a durable object store in a local directory. All its methods may
// be called concurrently.
type Store struct {
	dir         string
	region      string
	account     string
	log         *slog.Logger
	segmentSize int64
	disk        disk
	lock        *os.File // FORMAT, locked

	commits *queue[*commit]
	trash   *queue[fileRef] // files to be removed
	wake    chan struct{}   // tells the keeper to look for work
	due     chan struct{}   // tells the keeper that something may have expired
	quit    chan struct{}   // ends the keeper
	running sync.WaitGroup  // the appender and the remover
	keeping sync.WaitGroup  // the keeper
	closing sync.Once

	mu    sync.RWMutex // guards state; the appender alone writes
	state              // the appender reads it without mu

	// The appender's own.
	last     *segment // which records are appended to
	broken   bool     // what follows last.size in last is in doubt
	groupBuf []byte

	// Also the appender's own: what is visible and not durable.
	waiting      []*early // in the order in which they were shown
	waitingBytes int
	earlyErr     error       // why they could not be written; nil: they could, or were not tried
	flush        *time.Timer // has them written; nil where that is not put off
	synced       time.Time   // when the log was synced last
	shore        shore       // has a lock of its own
}

var _ deferd.EarlyObjectStore = (*Store)(nil)

// Open opens the store in dir, making it if dir is absent or empty. It refuses
// a directory that holds anything else, a newer version of the store, a store
// that another process has open, and damage.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{
		dir:         dir,
		region:      cmp.Or(o.Region, "us-east-1"),
		account:     cmp.Or(o.Account, "000000000000"),
		log:         cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		segmentSize: cmp.Or(o.SegmentSize, defaultSegmentSize),
		disk:        realDisk(),
		commits:     newQueue[*commit](),
		trash:       newQueue[fileRef](),
		wake:        make(chan struct{}, 1),
		due:         make(chan struct{}, 1),
		quit:        make(chan struct{}),
		state:       newState(),
		shore:       shore{next: newLanding()},
	}
	if o.disk != nil {
		s.disk = *o.disk
	}
	if err := s.openDir(); err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	if err := s.load(); err != nil {
		s.release()
		return nil, fmt.Errorf("open object store: %w", err)
	}
	s.remove = func(files []fileRef) {
		for _, f := range files {
			s.trash.put(f)
		}
	}
	s.running.Go(s.appendCommits)
	s.running.Go(s.removeFiles)
	s.keeping.Go(s.keep)
	return s, nil
}

// Close answers what has been asked and closes the store. Objects that are
// still being read can be read to their end.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.quit)
		s.commits.close()
		s.keeping.Wait()
		s.trash.close()
		s.running.Wait()
		s.release()
	})
	return nil
}

// release closes the files.
func (s *Store) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		g.release()
	}
	s.segments = nil
	s.lock.Close()
}

// removeFiles removes data files that nothing refers to. What it misses is
// removed at the next start.
func (s *Store) removeFiles() {
	for {
		files := s.trash.take()
		if len(files) == 0 {
			return
		}
		for _, f := range files {
			if err := os.Remove(s.dataPath(f.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
				s.log.Warn("remove object data", "file", f.ID, "err", err)
			}
		}
	}
}

// bucket returns the bucket of this name.
func (s *Store) bucket(name string) (bucket, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := s.buckets[name]
	if b == nil {
		return bucket{}, errNoSuchBucket
	}
	return *b, nil
}

func (s *Store) dataPath(id string) string {
	return filepath.Join(s.dir, filesDir, id+dataSuffix)
}
