package objectserver

import (
	"os"
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
