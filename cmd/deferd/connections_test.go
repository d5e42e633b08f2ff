package main

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Clients that only hold connections lose them to those that want something,
// the longest idle first; one that is being answered is never cut off.
func TestConnections(t *testing.T) {
	working, work := make(chan bool), make(chan bool)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/work" {
			working <- true
			<-work
		}
		io.WriteString(w, "ok")
	}))
	conns := newConnections(4, slog.New(slog.DiscardHandler))
	s.Config.ConnState = conns.changed
	s.Start()
	defer s.Close()
	open := func(request string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, request)
		return c
	}
	ask := func(c net.Conn) bool {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		return answered(c) == nil
	}
	busy := open("GET /work HTTP/1.1\r\nHost: x\r\n\r\n")
	<-working
	var idle []net.Conn
	for range 20 {
		c := open("")
		if !ask(c) {
			t.Fatal("a new connection was refused while others were idle")
		}
		idle = append(idle, c)
		conns.await(t, min(len(idle), conns.max-1)) // the answer comes before the server is idle
	}
	if ask(idle[0]) {
		t.Error("the connection that was idle for longest is still open")
	}
	if !ask(idle[len(idle)-1]) {
		t.Error("the newest connection was closed")
	}
	close(work)
	if err := answered(busy); err != nil {
		t.Errorf("the answer that was being made was cut off: %v", err)
	}
}

// await waits until so many connections are idle.
func (c *connections) await(t *testing.T, want int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		c.mu.Lock()
		got := c.idle.Len()
		c.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d connections are idle, want %d", got, want)
		case <-time.After(time.Millisecond):
		}
	}
}

// answered reads an answer off a connection.
func answered(c net.Conn) error {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
