package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// LogGroups lists the endpoints that have logs, by name.
func (r *Runtime) LogGroups(context.Context) ([]deferd.LogGroup, error) {
	dirs, err := os.ReadDir(r.logsDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var groups []deferd.LogGroup
	for _, d := range dirs {
		info, err := d.Info()
		if err != nil || !d.IsDir() {
			continue // it has just gone
		}
		groups = append(groups, deferd.LogGroup{Endpoint: deferd.EndpointName(d.Name()), Changed: info.ModTime(), Size: dirSize(filepath.Join(r.logsDir(), d.Name()))})
	}
	return groups, nil
}

// dirSize is the size of the logs in a directory.
func dirSize(dir string) (size int64) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if info, err := f.Info(); err == nil && !strings.HasSuffix(f.Name(), timesSuffix) {
			size += info.Size()
		}
	}
	return size
}

// LogStreams lists what the instances of an endpoint printed, by stream.
func (r *Runtime) LogStreams(_ context.Context, e deferd.EndpointName) ([]deferd.LogStream, error) {
	paths, err := r.endpointLogs(e)
	if err != nil {
		return nil, err
	}
	var streams []deferd.LogStream
	for _, path := range paths {
		s := deferd.LogStream{Name: streamName(path)}
		for _, p := range []string{path + ".1", path} {
			info, err := os.Stat(p)
			if err != nil {
				continue
			}
			s.Size += info.Size()
			first, last := info.ModTime().UTC(), info.ModTime().UTC() // the best there is
			if known, err := readTimes(p); err == nil && known.len() > 0 {
				first, last = known.time(0), known.time(known.len()-1)
			}
			if s.First.IsZero() {
				s.First = first
			}
			s.Last = last
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// endpointLogs are the paths of the logs of an endpoint's instances, in the
// order of their streams.
func (r *Runtime) endpointLogs(e deferd.EndpointName) ([]string, error) {
	none := deferd.Errorf(deferd.NotFound, "there are no logs of endpoint %q", e)
	if !isFileName(string(e)) {
		return nil, none
	}
	files, err := os.ReadDir(filepath.Join(r.logsDir(), string(e)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, none
	}
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var paths []string
	for _, f := range files {
		if streamName(f.Name()) != "" {
			paths = append(paths, filepath.Join(r.logsDir(), string(e), f.Name()))
		}
	}
	return paths, nil
}

// streamName is the stream of a log file; "" for other files.
func streamName(path string) string {
	name, ok := strings.CutSuffix(filepath.Base(path), ".log")
	i := strings.LastIndex(name, "-i-")
	if !ok || i < 0 {
		return ""
	}
	return name[:i] + "/" + name[i+1:]
}

// ReadLogs yields what the instances of an endpoint printed.
func (r *Runtime) ReadLogs(ctx context.Context, e deferd.EndpointName, since time.Time, wanted func(string) bool) iter.Seq2[deferd.LogEvent, error] {
	return func(yield func(deferd.LogEvent, error) bool) {
		paths, err := r.endpointLogs(e)
		if err != nil {
			yield(deferd.LogEvent{}, err)
			return
		}
		for _, path := range paths {
			stream := streamName(path)
			if !wanted(stream) {
				continue
			}
			for _, p := range []string{path + ".1", path} {
				if !readLines(ctx, p, stream, since, yield) {
					return
				}
			}
		}
	}
}

// readLines yields the lines of a file that came since a time. It reports false
// where nobody wants more. A file that is not there has none.
func readLines(ctx context.Context, path, stream string, since time.Time, yield func(deferd.LogEvent, error) bool) bool {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return yield(deferd.LogEvent{}, fmt.Errorf("read log: %w", err))
	}
	defer file.Close()
	known, err := readTimes(path)
	if err != nil {
		return yield(deferd.LogEvent{}, fmt.Errorf("read log: %w", err))
	}
	info, err := file.Stat()
	if err != nil {
		return yield(deferd.LogEvent{}, fmt.Errorf("read log: %w", err))
	}
	if now, err := os.Stat(path); err == nil && !os.SameFile(now, info) {
		return readLines(ctx, path, stream, since, yield) // a new one was begun meanwhile
	}
	offset := known.since(since, info.Size())
	lines := bufio.NewReaderSize(io.NewSectionReader(file, offset, info.Size()-offset), maxLine+1)
	for ctx.Err() == nil {
		line, err := lines.ReadString('\n')
		if err != nil {
			return true // its end, or a line that is being written
		}
		at, ok := known.at(offset)
		if !ok {
			at = info.ModTime().UTC() // the best there is
		}
		offset += int64(len(line))
		if at.Before(since) {
			continue
		}
		if !yield(deferd.LogEvent{Stream: stream, Time: at, Message: strings.TrimSuffix(line, "\n")}, nil) {
			return false
		}
	}
	return yield(deferd.LogEvent{}, ctx.Err())
}
