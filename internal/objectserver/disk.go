package objectserver

import (
	"errors"
	"os"
	"path/filepath"
)

// A disk is what can fail below the store. Tests put faults in.
type disk struct {
	sync    func(*os.File) error
	syncDir func(path string) error
	write   func(f *os.File, b []byte, off int64) (int, error)
}

func realDisk() disk {
	return disk{
		sync: fdatasync,
		syncDir: func(path string) error {
			d, err := os.Open(path)
			if err != nil {
				return err
			}
			defer d.Close()
			return d.Sync()
		},
		write: func(f *os.File, b []byte, off int64) (int, error) { return f.WriteAt(b, off) },
	}
}

// makeDir makes a directory and those above it that are not there. Each that it
// makes is durable under its name.
func (d disk) makeDir(path string) error {
	path = filepath.Clean(path)
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, os.ErrNotExist) {
		if err := d.makeDir(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o700)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}
