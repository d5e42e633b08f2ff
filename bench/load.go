package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// usual is how many connections a load has where nothing else is said.
const usual = 64

// A form makes invocations of one kind.
type form struct {
	name string
	path string
	body []byte // of an inline invocation
	// inputs are the s3:// URIs of the other kind, taken in turn.
	inputs []string
	// paths, where there are any, are taken in turn in place of path.
	paths []string
}

// forms are the two kinds of invocation, posted to path.
func forms(path string) []form {
	body := make([]byte, payloadSize)
	rand.Read(body)
	f := form{name: s3Form, path: path}
	for _, l := range inputLocations() {
		f.inputs = append(f.inputs, l.String())
	}
	return []form{{name: inlineForm, path: path, body: body}, f}
}

// Names of the forms.
const (
	inlineForm = "inline, 4 KiB"
	s3Form     = "by S3"
)

// payloadSize is how much goes into an invocation and comes out of it.
const payloadSize = 4 << 10

// A load is a closed loop: each client has one connection, and sends its next
// request when it has the answer to the last one.
type load struct {
	to          credentials
	form        form
	connections int
	more        func() bool // asked before each request
}

// until is a load's more for a while.
func until(end time.Time) func() bool { return func() bool { return time.Now().Before(end) } }

// times is a load's more for n requests in all.
func times(n int) func() bool {
	var left atomic.Int64
	left.Store(int64(n))
	return func() bool { return left.Add(-1) >= 0 }
}

// A loadResult is what the clients saw.
type loadResult struct {
	took      time.Duration
	latencies []time.Duration // sorted
}

func (r loadResult) rate() float64 { return float64(len(r.latencies)) / r.took.Seconds() }

// quantile is how long the share q of the requests took at most.
func (r loadResult) quantile(q float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[int(q*float64(len(r.latencies)-1))]
}

// run sends until there is no more. Any answer but a 202 is an error.
func (l load) run(ctx context.Context) (loadResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards r
	var r loadResult
	begun := time.Now()
	for i := range l.connections {
		wg.Go(func() {
			latencies, err := l.client(ctx, i)
			if err != nil {
				cancel(err)
			}
			mu.Lock()
			defer mu.Unlock()
			r.latencies = append(r.latencies, latencies...)
		})
	}
	wg.Wait()
	r.took = time.Since(begun)
	slices.Sort(r.latencies)
	return r, context.Cause(ctx)
}

// client is one of the connections.
func (l load) client(ctx context.Context, i int) ([]time.Duration, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.to.host())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	s := &signer{credentials: l.to}
	answers := bufio.NewReader(conn)
	var request []byte
	var latencies []time.Duration
	for n := i; ctx.Err() == nil && l.more(); n += l.connections {
		request = l.form.request(request[:0], s, n)
		sent := time.Now()
		if _, err := conn.Write(request); err != nil {
			return latencies, err
		}
		if err := readAccepted(answers); err != nil {
			return latencies, err
		}
		latencies = append(latencies, time.Since(sent))
	}
	return latencies, nil
}

// request appends the n-th request of the form. It has what AWS's SDKs send:
// an ID of its own for telling repeats.
func (f form) request(b []byte, s *signer, n int) []byte { return f.append(b, s, n, "") }

// named returns the n-th request with a name for its output.
func (f form) named(name string, s *signer, n int) []byte { return f.append(nil, s, n, name) }

func (f form) append(b []byte, s *signer, n int, filename string) []byte {
	path := f.path
	if len(f.paths) > 0 {
		path = f.paths[n%len(f.paths)]
	}
	headers := []header{
		{"amz-sdk-invocation-id", uuid.NewString()},
		{"content-type", "application/octet-stream"},
		{"x-amzn-sagemaker-content-type", "application/octet-stream"},
	}
	if len(f.inputs) > 0 {
		headers = append(headers, header{"x-amzn-sagemaker-inputlocation", f.inputs[n%len(f.inputs)]})
	}
	if filename != "" {
		headers = append(headers, header{"x-amzn-sagemaker-filename", filename})
	}
	return s.request(b, path, headers, f.body, time.Now())
}

// readAccepted reads an answer that has to be a 202, and throws it away.
func readAccepted(r *bufio.Reader) error {
	status, body, err := readAnswer(r, false)
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("want 202, got %d: %s", status, body)
	}
	return err
}

// readAnswer reads an answer, to a HEAD if there can be no body. It knows as
// much of HTTP as the answers here need. Of those that are no success it
// returns the body.
func readAnswer(r *bufio.Reader, head bool) (status int, body []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	_, code, _ := bytes.Cut(line, []byte(" "))
	if status, err = strconv.Atoi(string(code[:min(3, len(code))])); err != nil {
		return 0, nil, fmt.Errorf("read an answer's status: %w", err)
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return status, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return status, nil, fmt.Errorf("read an answer's length: %w", err)
			}
		}
	}
	switch {
	case head:
		return status, nil, nil
	case status/100 == 2:
		_, err = r.Discard(length)
		return status, nil, err
	}
	body, err = io.ReadAll(io.LimitReader(r, int64(length)))
	return status, body, err
}
