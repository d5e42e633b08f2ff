package torture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// An Event is what a model writes down.
type Event string

const (
	Listening Event = "listening" // the process has a port
	Start     Event = "start"     // an invocation has come
	End       Event = "end"       // it is dealt with, as How says
)

// Hows of an End.
const (
	Answered = "answered" // with Status
	Asked    = "asked"    // for patience
	Dropped  = "dropped"  // the connection was closed instead, or within the answer
	Crashed  = "crashed"  // the process ends itself
	Cut      = "cut"      // the platform closed the connection before there was an answer
)

// An Entry is a line of the journal.
type Entry struct {
	Event   Event     `json:"event"`
	PID     int       `json:"pid"`
	Time    time.Time `json:"time"`
	Address string    `json:"address,omitempty"` // of Listening
	Slots   int       `json:"slots,omitempty"`   // how many at a time the platform may send
	Of      string    `json:"of,omitempty"`      // the endpoint
	ID      string    `json:"id,omitempty"`
	Running int       `json:"running,omitempty"` // of Start: how many run in this process, with this one
	Overlap bool      `json:"overlap,omitempty"` // of Start: another attempt of the same invocation runs
	How     string    `json:"how,omitempty"`
	Status  int       `json:"status,omitempty"`
}

// A journal is what models append to. A line is one write, so lines of several
// processes stay whole, also when one is killed.
type journal struct{ file *os.File }

func openJournal(name string) (journal, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return journal{}, fmt.Errorf("open journal: %w", err)
	}
	return journal{f}, nil
}

func (j journal) add(e Entry) error {
	e.PID, e.Time = os.Getpid(), time.Now()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	return err
}

// A tail reads a journal as it grows.
type tail struct {
	name   string
	offset int64
}

// read returns the entries that have come since the last call.
func (t *tail) read() ([]Entry, error) {
	f, err := os.Open(t.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(t.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	t.offset += int64(len(data))
	var entries []Entry
	for line := range bytes.Lines(data) {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read journal line %q: %w", line, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
