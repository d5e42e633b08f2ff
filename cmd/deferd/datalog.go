package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// maxDataLog is where a data log starts anew; one old file is kept.
const maxDataLog = 10 << 20

// dataLogTime is how their lines begin, in UTC.
const dataLogTime = "2006-01-02T15:04:05.000"

// dataLogs are the endpoints' own logs of what became of their requests, a
// file each, beside the logs of their instances. They are their users' to read.
type dataLogs struct {
	dir string
	now func() time.Time

	mu    sync.Mutex
	files map[deferd.EndpointName]*os.File
}

// of returns the log of an instance's endpoint.
func (d *dataLogs) of(e deferd.EndpointName, v deferd.VariantName, i deferd.InstanceID) func(inferenceID, line string) {
	return func(inferenceID, line string) {
		at := d.now().Format(dataLogTime)
		// A log that cannot be written keeps no invocation from ending.
		_ = d.write(e, fmt.Sprintf("%s:[sagemaker logs] [%s/%s] [%s] %s\n", at, v, i, inferenceID, line))
	}
}

func (d *dataLogs) write(e deferd.EndpointName, line string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.open(e)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return err
}

// open returns the endpoint's file, a new one where the old is full, or was
// removed because nothing had come for long. The caller holds mu.
func (d *dataLogs) open(e deferd.EndpointName) (*os.File, error) {
	path := filepath.Join(d.dir, string(e), "data.log")
	if f := d.files[e]; f != nil {
		info, err := f.Stat()
		there, gone := os.Stat(path)
		removed := err == nil && (gone != nil || !os.SameFile(info, there))
		if err == nil && !removed && info.Size() < maxDataLog {
			return f, nil
		}
		f.Close()
		delete(d.files, e)
		if !removed {
			if err := os.Rename(path, path+".1"); err != nil {
				return nil, err
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if d.files == nil {
		d.files = map[deferd.EndpointName]*os.File{}
	}
	d.files[e] = f
	return f, nil
}

func (d *dataLogs) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Close())
	}
	d.files = nil
	return errors.Join(errs...)
}
