package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ears are the receiver of all notifications. Now and then they refuse one, or
// take it and do not say so.
type ears struct {
	server http.Server
	url    string

	mu       sync.Mutex // guards the rest
	requests int
	heard    map[string][]string // the different ends that were told, by invocation
}

// How often the ears do not do what they should.
const (
	refusesEach = 5
	silentEach  = 7
)

func newEars() (*ears, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &ears{url: "http://" + l.Addr().String(), heard: map[string][]string{}}
	e.server.Handler = http.HandlerFunc(e.hear)
	go e.server.Serve(l)
	return e, nil
}

func (e *ears) hear(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it broke off
	}
	var n struct{ EventName, InvocationStatus string }
	if err := json.Unmarshal(body, &n); err != nil {
		n.InvocationStatus = fmt.Sprintf("no end, but %.60q", body)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests++
	if e.requests%refusesEach == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	id := r.Header.Get("webhook-id")
	if n.EventName != "TestNotification" && !slices.Contains(e.heard[id], n.InvocationStatus) {
		e.heard[id] = append(e.heard[id], n.InvocationStatus)
	}
	if e.requests%silentEach == 0 {
		panic(http.ErrAbortHandler)
	}
}

// told is how an end in a state is told.
func told(state string) string {
	if state == "Completed" {
		return state
	}
	return "Failed"
}

// heardLimit is how long notifications may take in the end.
const heardLimit = 60 * time.Second

// checkHeard waits until every end was told, and judges promise 9.
func (r *run) checkHeard(ctx context.Context) {
	for giveUp := time.Now().Add(heardLimit); ; {
		var wrong []Broken
		r.edit(func() { wrong = r.ears.judge(r.ends, r.strays == 0) })
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(giveUp) || !sleepUntil(ctx, time.Now().Add(200*time.Millisecond)) {
			for _, b := range wrong[:min(len(wrong), 3)] {
				r.breaks(b)
			}
			return
		}
	}
}

// judge compares what was told with how invocations ended; all is true where no
// others may have ended.
func (e *ears) judge(ends map[string]string, all bool) (wrong []Broken) {
	e.mu.Lock()
	defer e.mu.Unlock()
	says := func(id, format string, args ...any) {
		wrong = append(wrong, Broken{Promise: 9, Invocation: id, What: fmt.Sprintf(format, args...)})
	}
	for _, id := range slices.Sorted(maps.Keys(ends)) {
		if want := []string{told(ends[id])}; !slices.Equal(e.heard[id], want) {
			says(id, "it is %s, and was told as %q", ends[id], e.heard[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.heard)) {
		if _, known := ends[id]; !known && all {
			says(id, "it was told as %q, and nobody knows of it", e.heard[id])
		}
	}
	return wrong
}
