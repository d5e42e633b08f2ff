package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// A pace is how slow a client may be. No limit is on the whole of a request: a
// gigabyte over a slow line is welcome. But who sends or takes next to nothing
// holds a connection, and what hangs on it, for nothing.
type pace struct {
	window time.Duration
	up     int64 // bytes of a request's body that must come in a window
	down   int64 // bytes of an answer that must be taken in two
}

// The slowest line that anything gets through has about 300 bytes a second up
// and 1 KB a second down.
var slowest = pace{window: 15 * time.Second, up: 4 << 10, down: 32 << 10}

// keep gives up on the clients of h that are slower.
func (p pace) keep(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		// What an earlier request on this connection had set is over.
		_ = rc.SetWriteDeadline(time.Time{})
		if r.Body != nil && r.Body != http.NoBody {
			b := &pacedBody{ReadCloser: r.Body, pace: p, rc: rc}
			b.begin()                      // also for a body that nobody reads: net/http does, before it answers
			r = r.WithContext(r.Context()) // a copy: net/http looks at its own body's type
			r.Body = b
		}
		h.ServeHTTP(&pacedWriter{ResponseWriter: w, pace: p, rc: rc}, r)
	})
}

// A pacedBody fails when it brings too little in a window.
type pacedBody struct {
	io.ReadCloser
	pace
	rc  *http.ResponseController
	got int64 // in this window
}

// begin begins a window. A connection that takes no deadlines has none.
func (b *pacedBody) begin() {
	b.got = 0
	_ = b.rc.SetReadDeadline(time.Now().Add(b.window))
}

func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.got += int64(n)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, &slowBody{err}
	case err != nil:
		// From now on net/http waits here for the client to go away.
		_ = b.rc.SetReadDeadline(time.Time{})
	case b.got >= b.up:
		b.begin()
	}
	return n, err
}

// A slowBody says that a body came too slowly.
type slowBody struct{ err error }

func (e *slowBody) Error() string { return "the request's body came too slowly" }
func (e *slowBody) Unwrap() error { return e.err }

// S3Code is how S3 answers it.
func (e *slowBody) S3Code() (code string, status int) {
	return "RequestTimeout", http.StatusBadRequest
}

// A pacedWriter fails when too little of the answer is taken in a window.
type pacedWriter struct {
	http.ResponseWriter
	pace
	rc *http.ResponseController
}

// begin begins a window, which is a double one: before net/http sends what is
// written first, it reads the rest of the request's body, for a window.
func (w *pacedWriter) begin() { _ = w.rc.SetWriteDeadline(time.Now().Add(2 * w.window)) }

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) WriteHeader(status int) {
	w.begin()
	w.ResponseWriter.WriteHeader(status)
}

func (w *pacedWriter) Write(b []byte) (written int, err error) {
	for {
		w.begin()
		part := b[:min(int64(len(b)), w.down)]
		n, err := w.ResponseWriter.Write(part)
		written += n
		if b = b[len(part):]; err != nil || len(b) == 0 {
			return written, err
		}
	}
}

// ReadFrom keeps the ways that net/http has of sending files, a part at a time.
func (w *pacedWriter) ReadFrom(r io.Reader) (written int64, err error) {
	whole, ok := r.(*io.LimitedReader) // which may not be wrapped again, or a file goes the long way
	if !ok {
		whole = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	for whole.N > 0 {
		w.begin()
		part := &io.LimitedReader{R: whole.R, N: min(whole.N, w.down)}
		want := part.N
		n, err := io.Copy(w.ResponseWriter, part)
		whole.N -= n
		written += n
		if err != nil || n < want {
			return written, err
		}
	}
	return written, nil
}
