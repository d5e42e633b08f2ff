package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	maxLine    = 64 << 10 // bytes of a line; the rest of it is dropped
	maxLogFile = 10 << 20 // bytes of a log file; there are at most two for an instance
	tailLines  = 10
	maxTail    = 800 // bytes of the tail that goes into an exit message
)

// A logFile keeps what an instance prints: a file, the file before it with
// ".1" at its name's end, when their lines came in a file beside each, and the
// last lines in memory. What cannot be written is dropped, so that a full disk
// does not stop a model.
type logFile struct {
	path string
	max  int64

	mu    sync.Mutex // guards the rest
	file  *os.File   // nil when closed
	times *timesFile // likewise
	size  int64
	tail  []string // the last lines
	err   error    // the first error
}

func createLog(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	l := &logFile{path: path, max: maxLogFile}
	if err := l.begin(); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	return l, nil
}

// begin creates the files. The caller holds l.mu, or nobody else has l yet.
func (l *logFile) begin() error {
	times, err := createTimes(l.path + timesSuffix)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return errors.Join(err, times.close())
	}
	l.file, l.times, l.size = file, times, 0
	return nil
}

// copyFrom writes the lines of r until it ends. It never stops reading before
// that, since a model would die of a closed pipe.
func (l *logFile) copyFrom(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			l.writeLine(line)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // drop the rest of the line
			_, err = lines.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// writeLine appends one line, which may lack its end.
func (l *logFile) writeLine(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimRight(string(line), "\r\n")
	l.remember(text)
	if l.file == nil {
		return
	}
	errTimes := l.times.add(l.size, time.Now())
	n, err := io.WriteString(l.file, text+"\n")
	err = errors.Join(err, errTimes)
	l.size += int64(n)
	if err == nil && l.size >= l.max {
		err = l.rotate()
	}
	if l.err == nil {
		l.err = err
	}
}

// rotate begins a new file. The caller holds l.mu.
func (l *logFile) rotate() error {
	err := errors.Join(l.file.Close(), l.times.close(), os.Rename(l.path, l.path+".1"), os.Rename(l.path+timesSuffix, l.path+".1"+timesSuffix))
	l.file = nil
	if err != nil {
		return err
	}
	return l.begin()
}

// remember keeps text, if it is not blank, among the last lines. The caller
// holds l.mu.
func (l *logFile) remember(text string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	if len(l.tail) == tailLines {
		l.tail = append(l.tail[:0], l.tail[1:]...)
	}
	l.tail = append(l.tail, text[max(0, len(text)-maxTail):])
}

// lastLines returns the end of what was printed, fit for a message.
func (l *logFile) lastLines() string {
	l.mu.Lock()
	text := strings.Join(l.tail, "\n")
	l.mu.Unlock()
	text = strings.ToValidUTF8(text[max(0, len(text)-maxTail):], "")
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// close ends the file and returns the first error there was.
func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return l.err
	}
	err := errors.Join(l.file.Close(), l.times.close())
	l.file = nil
	return errors.Join(l.err, err)
}

// open opens the last tail bytes; all there is where tail is not positive.
func (l *logFile) open(tail int64) (io.ReadCloser, error) {
	l.mu.Lock() // no rotation between the two files
	defer l.mu.Unlock()
	return openLog(l.path, tail)
}

func openLog(path string, tail int64) (io.ReadCloser, error) {
	current, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	opened := &openedLog{files: []*os.File{current}}
	if previous, err := os.Open(path + ".1"); err == nil {
		opened.files = []*os.File{previous, current}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), opened.Close())
	}
	sizes := make([]int64, len(opened.files))
	skip := -tail
	for i, file := range opened.files {
		info, err := file.Stat()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open log: %w", err), opened.Close())
		}
		sizes[i] = info.Size()
		skip += info.Size()
	}
	if tail <= 0 {
		skip = 0
	}
	var parts []io.Reader
	for i, file := range opened.files {
		from := min(max(skip, 0), sizes[i])
		parts = append(parts, io.NewSectionReader(file, from, sizes[i]-from))
		skip -= from
	}
	opened.Reader = io.MultiReader(parts...)
	return opened, nil
}

// An openedLog reads what was in a log when it was opened.
type openedLog struct {
	io.Reader
	files []*os.File
}

func (o *openedLog) Close() error {
	var errs []error
	for _, file := range o.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// logOf is the log that a file belongs to.
func logOf(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path, timesSuffix), ".1")
}

// pruneLogs removes log files below dir that were last written before the
// given time, and the directories that this leaves empty. Keep spares files.
func pruneLogs(dir string, before time.Time, keep func(path string) bool) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.ModTime().After(before) || keep(logOf(path)) {
			return err
		}
		return os.Remove(path)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prune logs: %w", err)
	}
	endpoints, _ := os.ReadDir(dir)
	for _, e := range endpoints {
		_ = os.Remove(filepath.Join(dir, e.Name())) // fails unless it is empty
	}
	return nil
}
