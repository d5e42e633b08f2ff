package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// maxInline is the largest inline body.
const maxInline = 128_000

// stopLimit bounds how long requests that are under way may take at the end.
const stopLimit = 5 * time.Second

// A front answers InvokeEndpointAsync without looking at signatures, and says
// and sets what a benchmark needs.
type front struct {
	queue    Queue
	output   location
	logger   *slog.Logger
	accepted atomic.Int64

	mu      sync.Mutex // guards workers
	workers int
}

func (f *front) serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /endpoints/{name}/async-invocations", f.invoke)
	mux.HandleFunc("GET /stats", f.stats)
	mux.HandleFunc("POST /workers", f.postWorkers)
	// The settings of deferd's own listener.
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	stopped := make(chan error, 1)
	defer context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		if err := s.Shutdown(late); err != nil {
			stopped <- s.Close()
			return
		}
		stopped <- nil
	})()
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func (f *front) invoke(w http.ResponseWriter, r *http.Request) {
	inv := Invocation{
		ID:          uuid.NewString(),
		Endpoint:    r.PathValue("name"),
		ContentType: r.Header.Get("X-Amzn-Sagemaker-Content-Type"),
		Input:       r.Header.Get("X-Amzn-Sagemaker-Inputlocation"),
	}
	var err error
	if inv.Input == "" {
		inv.Body, err = readBody(w, r)
	} else {
		_, err = parseLocation(inv.Input)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := f.queue.Add(r.Context(), inv); err != nil {
		f.fail(w, "accept", err)
		return
	}
	f.accepted.Add(1)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Amzn-Sagemaker-Outputlocation", f.output.below(inv.ID+".out").String())
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"InferenceId":%q}`, inv.ID)
}

// readBody reads an inline body into memory of its size.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength <= 0 || r.ContentLength > maxInline {
		return nil, fmt.Errorf("an inline body has a length, from 1 to %d", maxInline)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(http.MaxBytesReader(w, r.Body, maxInline), body)
	return body, err
}

// A Stats is the answer to GET /stats.
type Stats struct {
	Accepted  int64 `json:"accepted"`  // by this process
	Completed int64 `json:"completed"` // as the store knows them
	Failed    int64 `json:"failed"`    // attempts
	Workers   int   `json:"workers"`
	Processes []int `json:"processes"` // started for the queue; they may have children
}

func (f *front) stats(w http.ResponseWriter, r *http.Request) {
	s := Stats{Accepted: f.accepted.Load(), Processes: f.queue.Processes()}
	var err error
	if s.Completed, s.Failed, err = f.queue.Counts(r.Context()); err != nil {
		f.fail(w, "count", err)
		return
	}
	f.mu.Lock()
	s.Workers = f.workers
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s) // an error is the client's
}

func (f *front) postWorkers(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || n < 0 {
		http.Error(w, "n is how many invocations are worked on at a time", http.StatusBadRequest)
		return
	}
	if err := f.setWorkers(context.WithoutCancel(r.Context()), n); err != nil {
		f.fail(w, "set workers", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (f *front) setWorkers(ctx context.Context, n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.queue.SetWorkers(ctx, n); err != nil {
		return fmt.Errorf("set workers: %w", err)
	}
	f.workers = n
	return nil
}

func (f *front) fail(w http.ResponseWriter, doing string, err error) {
	f.logger.Error("request failed", "doing", doing, "err", err)
	http.Error(w, doing+" failed", http.StatusInternalServerError)
}
