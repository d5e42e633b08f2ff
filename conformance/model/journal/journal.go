// Package journal is what the test model and the tests share: the record of
// what the model was asked to do, one line of JSON for each event.
//
// Any number of processes may add to a journal at a time, and one that is
// killed leaves whole lines behind.
package journal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// An Event is what happened.
type Event string

const (
	Listening Event = "listening" // the process has a port
	Start     Event = "start"     // an invocation has come
	End       Event = "end"       // it was answered
	Cut       Event = "cut"       // its connection was closed, by whichever side, before it was answered
)

// An Entry is a line of the journal. Add fills in PID and Time.
type Entry struct {
	Event   Event     `json:"event"`
	PID     int       `json:"pid"`
	Time    time.Time `json:"time"`
	Address string    `json:"address,omitempty"` // of Listening
	ID      string    `json:"id,omitempty"`      // the inference ID
	Running int       `json:"running,omitempty"` // of Start: how many run in this process, with this one
}

// A Report is what the model knows about its surroundings.
type Report struct {
	Header http.Header       `json:"header"` // of the request
	Files  map[string]string `json:"files"`  // below SM_MODEL_DIR, with their content
	Error  string            `json:"error,omitempty"`
}

// A Journal is a file of entries.
type Journal struct {
	name string
	file *os.File
}

// Open opens the journal in the named file, and creates it where it is not.
func Open(name string) (*Journal, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &Journal{name: name, file: f}, nil
}

// Add appends an entry. An entry is one write, so that lines stay whole.
func (j *Journal) Add(e Entry) error {
	e.PID, e.Time = os.Getpid(), time.Now()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	return err
}

// Started reports whether the journal has a Start of the inference ID.
func (j *Journal) Started(id string) (bool, error) {
	entries, err := Read(j.name)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Event == Start && e.ID == id {
			return true, nil
		}
	}
	return false, nil
}

// Read returns all entries of the journal in the named file, oldest first.
func Read(name string) ([]Entry, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer f.Close()
	var entries []Entry
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("read journal: line %d: %w", len(entries)+1, err)
		}
		entries = append(entries, e)
	}
	return entries, lines.Err()
}
