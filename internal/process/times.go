package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"sort"
	"time"
)

// timesSuffix is at the end of the name of the file that says when the lines of
// a log came.
const timesSuffix = ".times"

// Such a file begins with a magic number and a version, and has a record
// wherever the time has changed: at which offset the next line begins, and when
// it came, in milliseconds since 1970. Both only grow.
const (
	timesMagic  = "dfrdlog\x01"
	timesRecord = 16
)

// A timesFile is one that is being written.
type timesFile struct {
	file *os.File
	last int64
}

func createTimes(path string) (*timesFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := file.WriteString(timesMagic); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &timesFile{file: file}, nil
}

// add says that a line which begins at offset came at a time.
func (t *timesFile) add(offset int64, at time.Time) error {
	ms := max(at.UnixMilli(), t.last)
	if ms == t.last {
		return nil
	}
	t.last = ms
	record := binary.BigEndian.AppendUint64(make([]byte, 0, timesRecord), uint64(offset))
	_, err := t.file.Write(binary.BigEndian.AppendUint64(record, uint64(ms)))
	return err
}

func (t *timesFile) close() error { return t.file.Close() }

// times are when the lines of a log came. The zero value knows nothing.
type times struct{ records []byte }

// readTimes reads what is known of a log's lines; a log of before there were
// such files has none.
func readTimes(path string) (times, error) {
	b, err := os.ReadFile(path + timesSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return times{}, nil
	}
	if err != nil {
		return times{}, err
	}
	records, ok := bytes.CutPrefix(b, []byte(timesMagic))
	if !ok {
		return times{}, nil
	}
	return times{records[:len(records)/timesRecord*timesRecord]}, nil
}

func (t times) len() int { return len(t.records) / timesRecord }

func (t times) offset(i int) int64 {
	return int64(binary.BigEndian.Uint64(t.records[i*timesRecord:]))
}

func (t times) time(i int) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(t.records[i*timesRecord+8:]))).UTC()
}

// at is when the line at an offset came; ok is false where that is not known.
func (t times) at(offset int64) (at time.Time, ok bool) {
	i := sort.Search(t.len(), func(i int) bool { return t.offset(i) > offset })
	if i == 0 {
		return time.Time{}, false
	}
	return t.time(i - 1), true
}

// since is the offset of the first line that came at a time or later; the end
// where there is none.
func (t times) since(at time.Time, end int64) int64 {
	if t.len() == 0 {
		return 0
	}
	i := sort.Search(t.len(), func(i int) bool { return !t.time(i).Before(at) })
	if i == t.len() {
		return end
	}
	return t.offset(i)
}
