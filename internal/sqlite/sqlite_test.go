package sqlite

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/storetest"
)

func open(t *testing.T, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	paths := map[deferd.Store]string{}
	storetest.Run(t, storetest.Form{
		Open: func(t *testing.T, now func() time.Time) deferd.Store {
			path := filepath.Join(t.TempDir(), "deferd.db")
			s := open(t, path, Options{Now: now})
			paths[s] = path
			return s
		},
		// The files as they are at this moment are what a kill leaves.
		Crash: func(t *testing.T, s deferd.Store) deferd.Store {
			path := filepath.Join(t.TempDir(), "deferd.db")
			for _, suffix := range []string{"", "-wal"} {
				b, err := os.ReadFile(paths[s] + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			next := open(t, path, Options{Now: s.(*Store).now})
			paths[next] = path
			return next
		},
	})
}
