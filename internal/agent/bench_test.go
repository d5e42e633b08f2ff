package agent

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// A container is a model server behind pipes, so that a bubble's clock covers
// it too.
type container struct {
	invoke  http.HandlerFunc
	refuse  atomic.Bool  // refuse connections
	sick    atomic.Bool  // fail pings
	pings   atomic.Int64 // answered
	calls   atomic.Int64
	running atomic.Int64
	most    atomic.Int64 // invocations at a time, ever

	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *container) Accept() (net.Conn, error) {
	select {
	case conn := <-c.conns:
		return conn, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

func (c *container) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *container) Addr() net.Addr { return &net.UnixAddr{Name: "container"} }

func (c *container) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if c.refuse.Load() {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	here, there := net.Pipe()
	select {
	case c.conns <- there:
		return here, nil
	case <-c.closed:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *container) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		if c.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		c.pings.Add(1)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/invocations" {
		http.NotFound(w, r)
		return
	}
	c.calls.Add(1)
	n := c.running.Add(1)
	defer c.running.Add(-1)
	for {
		most := c.most.Load()
		if n <= most || c.most.CompareAndSwap(most, n) {
			break
		}
	}
	c.invoke(w, r)
}

// A bench is an agent between a fake server and a fake container.
type bench struct {
	work      *fakeWork
	container *container
	agent     *Agent
	exit      deferd.Exit
	gone      chan struct{}
	cancel    context.CancelFunc
	done      chan struct{} // closed when Run has returned
	err       error         // what it returned
	ready     atomic.Int64

	mu    sync.Mutex
	lines []string
}

// start runs an agent inside the bubble of t. Prepare may be nil.
func start(t *testing.T, invoke http.HandlerFunc, prepare func(*bench, *Config)) *bench {
	t.Helper()
	b := &bench{
		work:      newFakeWork(),
		container: &container{invoke: invoke, conns: make(chan net.Conn), closed: make(chan struct{})},
		gone:      make(chan struct{}),
		done:      make(chan struct{}),
	}
	tr := newClient().Transport.(*http.Transport)
	tr.DialContext = b.container.dial
	client := newClient()
	client.Transport = tr
	cfg := Config{
		Work:    b.work,
		Session: deferd.Session{Endpoint: "ep", Variant: "v", Instance: "i", Slots: 1},
		Addr:    "http://container",
		Gone:    b.gone,
		Exit:    func() deferd.Exit { return b.exit },
		Ready:   func() { b.ready.Add(1) },
		Log: func(id, line string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.lines = append(b.lines, id+" "+line)
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Client: client,
	}
	if prepare != nil {
		prepare(b, &cfg)
	}
	srv := &http.Server{Handler: b.container, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(b.container)
	}()
	b.agent = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	go func() {
		defer close(b.done)
		b.err = b.agent.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-b.done
		srv.Close()
		<-served
		for b.container.running.Load() > 0 { // handlers that outlast their request
			time.Sleep(time.Minute)
		}
	})
	return b
}

// wait waits until Run has returned, and returns what it did.
func (b *bench) wait() error {
	<-b.done
	return b.err
}

func (b *bench) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

// bubble runs a test in which time is fake.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// echo answers with the request's body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	io.Copy(w, bytes.NewReader(body))
}

// after gives the bubble d, and then lets everything come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
