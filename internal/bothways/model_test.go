package bothways

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A model is all the containers of an endpoint. It knows what each request is
// to bring and how it is to be answered, and counts.
type model struct {
	requests map[string]*request // by inference ID

	mu     sync.Mutex // guards all below
	runs   map[string][]run
	at     map[string]int // how many attempts of a request run now
	wrongs []string
	twice  []string // what ran more than once at a time
}

// A run is one time that the model got a whole request.
type run struct{ began time.Time }

func newModel(requests []*request) *model {
	m := &model{requests: map[string]*request{}, runs: map[string][]run{}, at: map[string]int{}}
	for _, r := range requests {
		m.requests[r.name] = r
	}
	return m
}

func (m *model) complain(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrongs = append(m.wrongs, fmt.Sprintf(format, args...))
}

// complaints are what the model has seen that it should not have.
func (m *model) complaints(zombie bool) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if zombie {
		return slices.Clone(m.wrongs)
	}
	return slices.Concat(m.wrongs, m.twice)
}

// begin notes that a request has arrived whole, and how often before.
func (m *model) begin(name string) (before int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs[name] = append(m.runs[name], run{time.Now()})
	if m.at[name]++; m.at[name] > 1 {
		m.twice = append(m.twice, fmt.Sprintf("%s runs %d times at once", name, m.at[name]))
	}
	return len(m.runs[name]) - 1
}

func (m *model) end(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at[name]--
}

func (m *model) runsOf(name string) []run {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]run(nil), m.runs[name]...)
}

// A container is one instance of a model, behind pipes, so that a bubble's clock
// covers it too.
type container struct {
	model  *model
	slots  int
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex // guards running
	running int
}

// serve starts a container, which runs until stop.
func (m *model) serve(slots int) (c *container, stop func()) {
	c = &container{model: m, slots: slots, conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{
		Handler:     c,
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, 0),
		BaseContext: func(net.Listener) context.Context { return context.WithValue(context.Background(), killed{}, c.closed) },
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(c)
	}()
	return c, sync.OnceFunc(func() {
		srv.Close()
		<-served
	})
}

// killed is the key of what a request's context knows of its container's end.
type killed struct{}

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

// client returns a client that reaches the container.
func (c *container) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			here, there := net.Pipe()
			select {
			case c.conns <- there:
				return here, nil
			case <-c.closed:
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}}
}

func (c *container) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		return
	}
	defer c.enter()()
	name := r.Header.Get("X-Amzn-SageMaker-Inference-Id")
	req := c.model.requests[name]
	if req == nil {
		c.model.complain("the model got a request that nobody made: %q", name)
		return
	}
	got, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // a part of a request is no run
	}
	if !bytes.Equal(got, req.input) {
		c.model.complain("the model got %d other bytes than the %d of %s", len(got), len(req.input), name)
	}
	before := c.model.begin(name)
	defer c.model.end(name)
	req.answer(w, r, before)
}

// enter counts a request in; what it returns counts it out.
func (c *container) enter() (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running++; c.running > c.slots {
		c.model.complain("an instance with %d slots runs %d requests", c.slots, c.running)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running--
	}
}
