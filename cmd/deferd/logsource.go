package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/process"
)

// dataLogSuffix is at the end of the names of the streams that say what became
// of requests.
const dataLogSuffix = "/data-log"

// An endpointLogs reads what instances printed, and what became of requests, as
// one set of logs. They are all of the server's own account.
type endpointLogs struct {
	account deferd.AccountID
	runtime *process.Runtime
	data    *dataLogs
}

var _ deferd.Logs = (*endpointLogs)(nil)

func (l *endpointLogs) LogGroups(ctx context.Context, a deferd.AccountID) ([]deferd.LogGroup, error) {
	if a != l.account {
		return nil, nil
	}
	return l.runtime.LogGroups(ctx)
}

func (l *endpointLogs) LogStreams(ctx context.Context, a deferd.AccountID, e deferd.EndpointName) ([]deferd.LogStream, error) {
	if a != l.account {
		return nil, deferd.Errorf(deferd.NotFound, "there are no logs of endpoint %q", e)
	}
	streams, err := l.runtime.LogStreams(ctx, e)
	if err != nil {
		return nil, err
	}
	data := map[string]*deferd.LogStream{}
	for event, err := range l.data.read(ctx, e, time.Time{}) {
		if err != nil {
			return nil, err
		}
		s := data[event.Stream]
		if s == nil {
			s = &deferd.LogStream{Name: event.Stream, First: event.Time}
			data[event.Stream] = s
		}
		s.Last = event.Time
		s.Size += int64(len(event.Message)) + 1
	}
	for _, s := range data {
		streams = append(streams, *s)
	}
	slices.SortFunc(streams, func(a, b deferd.LogStream) int { return strings.Compare(a.Name, b.Name) })
	return streams, nil
}

func (l *endpointLogs) ReadLogs(ctx context.Context, a deferd.AccountID, e deferd.EndpointName, since time.Time, wanted func(string) bool) iter.Seq2[deferd.LogEvent, error] {
	return func(yield func(deferd.LogEvent, error) bool) {
		if a != l.account {
			yield(deferd.LogEvent{}, deferd.Errorf(deferd.NotFound, "there are no logs of endpoint %q", e))
			return
		}
		for event, err := range l.runtime.ReadLogs(ctx, e, since, wanted) {
			if !yield(event, err) || err != nil {
				return
			}
		}
		known := map[string]bool{} // so that wanted is asked once for each stream
		for event, err := range l.data.read(ctx, e, since) {
			want, asked := known[event.Stream]
			if !asked {
				want = err != nil || wanted(event.Stream)
				known[event.Stream] = want
			}
			if want && !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// dataLine is a line of a data log: when it was written, the instance that it is
// about, and what it says, the inference ID first.
var dataLine = regexp.MustCompile(`^(\S{23}):\[sagemaker logs\] \[([^/\]]+/i-[0-9a-f]+)\] (.*)$`)

// read yields the lines of an endpoint's data log that were written since a
// time. Their streams are those of the instances.
func (d *dataLogs) read(ctx context.Context, e deferd.EndpointName, since time.Time) iter.Seq2[deferd.LogEvent, error] {
	return func(yield func(deferd.LogEvent, error) bool) {
		path := filepath.Join(d.dir, string(e), "data.log")
		for _, p := range []string{path + ".1", path} {
			if !readDataLog(ctx, p, since, yield) {
				return
			}
		}
	}
}

// readDataLog reads one file, and reports false where nobody wants more. A file
// that is not there has no lines.
func readDataLog(ctx context.Context, path string, since time.Time, yield func(deferd.LogEvent, error) bool) bool {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return yield(deferd.LogEvent{}, fmt.Errorf("read data log: %w", err))
	}
	defer file.Close()
	from := since.UTC().Format(dataLogTime)
	lines := bufio.NewReaderSize(file, 64<<10)
	for ctx.Err() == nil {
		line, err := lines.ReadString('\n')
		if err != nil {
			return true // its end, or a line that is being written
		}
		if line < from {
			continue
		}
		m := dataLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		at, err := time.Parse(dataLogTime, m[1])
		if err != nil {
			continue
		}
		event := deferd.LogEvent{Stream: m[2] + dataLogSuffix, Time: at, Message: m[1] + ":[sagemaker logs] " + m[3]}
		if !yield(event, nil) {
			return false
		}
	}
	return yield(deferd.LogEvent{}, ctx.Err())
}
