// Command model is the model of the conformance tests. It echoes what it gets,
// or does what the request's custom attributes tell it to, and keeps a journal
// from which a test learns what it was really asked to do.
//
// The custom attributes are read as a query, such as "status=500&delay=2s":
//
//	status=N       answer with status N
//	delay=D        wait for D before answering
//	hang=first     do not answer the first request of an inference ID at all
//	chunked=1      answer in pieces, without a Content-Length
//	abort=1        close the connection instead of answering
//	type=T         answer with the content type T
//	attributes=A   answer with the custom attributes A
//	report=1       answer with a Report instead of an echo
//
// In its environment, MODEL_JOURNAL names the journal (required), MODEL_WORKER
// makes it start a worker process in a session of its own, MODEL_SLOW makes it
// wait for its value before it listens, and MODEL_EXIT makes it print its value
// and exit with status 1 instead.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/deferd/deferd/conformance/model/journal"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: model serve|worker")
	}
	if last := os.Getenv("MODEL_EXIT"); last != "" {
		return errors.New(last)
	}
	j, err := journal.Open(os.Getenv("MODEL_JOURNAL"))
	if err != nil {
		return err
	}
	switch args[0] {
	case "serve":
		return serve(j)
	case "worker":
		return work(j)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// work stands for the worker processes that model servers start: it lives, and
// has a port by which a test can tell.
func work(j *journal.Journal) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := j.Add(journal.Entry{Event: journal.Listening, Address: listener.Addr().String()}); err != nil {
		return err
	}
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		c.Close()
	}
}

func serve(j *journal.Journal) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if os.Getenv("MODEL_WORKER") != "" {
		worker := exec.Command(os.Args[0], "worker")
		worker.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := worker.Start(); err != nil {
			return err
		}
		go worker.Wait()
	}
	if !wait(ctx, os.Getenv("MODEL_SLOW")) {
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("SAGEMAKER_BIND_TO_PORT"))
	if err != nil {
		return err
	}
	if err := j.Add(journal.Entry{Event: journal.Listening, Address: listener.Addr().String()}); err != nil {
		return err
	}
	s := &http.Server{Handler: (&model{journal: j}).handler()}
	go func() {
		<-ctx.Done()
		s.Shutdown(context.WithoutCancel(ctx))
	}()
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// A model answers invocations.
type model struct {
	journal *journal.Journal
	running atomic.Int64
}

func (m *model) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /invocations", m.invoke)
	return mux
}

const (
	attributesHeader = "X-Amzn-SageMaker-Custom-Attributes"
	inferenceHeader  = "X-Amzn-SageMaker-Inference-Id"
)

func (m *model) invoke(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(inferenceHeader)
	orders, err := url.ParseQuery(r.Header.Get(attributesHeader))
	if err != nil {
		orders = nil // attributes that are no orders are only attributes
	}
	hang, err := m.begin(id, orders.Get("hang") == "first")
	if err == nil {
		err = readAhead(r)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	event := journal.Cut
	defer func() {
		m.running.Add(-1)
		m.journal.Add(journal.Entry{Event: event, ID: id})
	}()
	if hang {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	if !wait(r.Context(), orders.Get("delay")) || orders.Get("abort") != "" {
		panic(http.ErrAbortHandler)
	}
	if answer(w, r, orders) {
		event = journal.End
	}
}

// begin writes down that an invocation has come. Where that is asked for, it
// reports whether it is the first one of its inference ID.
func (m *model) begin(id string, askFirst bool) (first bool, err error) {
	if askFirst {
		again, err := m.journal.Started(id)
		if err != nil {
			return false, err
		}
		first = !again
	}
	return first, m.journal.Add(journal.Entry{Event: journal.Start, ID: id, Running: int(m.running.Add(1))})
}

// readAhead reads a small body, since only then does the end of the connection
// end the request's context.
func readAhead(r *http.Request) error {
	if r.ContentLength < 0 || r.ContentLength > 1<<20 {
		return nil
	}
	data, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(data))
	return err
}

// wait waits for the duration, or until ctx ends: then it returns false.
func wait(ctx context.Context, duration string) bool {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// answer reports whether the answer could be written whole.
func answer(w http.ResponseWriter, r *http.Request, orders url.Values) bool {
	h := w.Header()
	h.Set("Content-Type", r.Header.Get("Content-Type"))
	if t := orders.Get("type"); t != "" {
		h.Set("Content-Type", t)
	}
	if a := orders.Get("attributes"); a != "" {
		h.Set(attributesHeader, a)
	}
	if orders.Get("chunked") == "" && r.ContentLength >= 0 && orders.Get("report") == "" {
		h.Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	if status, err := strconv.Atoi(orders.Get("status")); err == nil {
		w.WriteHeader(status)
	}
	if orders.Get("report") != "" {
		return json.NewEncoder(w).Encode(report(r)) == nil
	}
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil { // or the rest of the input is lost once the answer begins
		panic(http.ErrAbortHandler)
	}
	if orders.Get("chunked") != "" {
		rc.Flush()
	}
	_, err := io.Copy(w, r.Body)
	return err == nil
}

func report(r *http.Request) journal.Report {
	rep := journal.Report{Header: r.Header, Files: map[string]string{}}
	dir := os.Getenv("SM_MODEL_DIR")
	if dir == "" {
		return rep
	}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		rep.Files[name] = string(data)
		return err
	})
	if err != nil {
		rep.Error = err.Error()
	}
	return rep
}
