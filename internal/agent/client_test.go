package agent

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// serveRaw answers connections on a real socket, one after the other, and
// returns the base URL.
func serveRaw(t *testing.T, serve func(first string, r *bufio.Reader, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			first, _ := r.ReadString('\n')
			serve(first, r, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// TestEarlyAnswer has a model that refuses a large request from its headers and
// closes the connection with most of the request unread. Its answer counts, not
// the broken connection.
func TestEarlyAnswer(t *testing.T) {
	addr := serveRaw(t, func(first string, r *bufio.Reader, c net.Conn) {
		if _, err := headersOf(r); err != nil {
			return
		}
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		if strings.HasPrefix(first, "POST") {
			answer = "HTTP/1.1 413 Too Large\r\nContent-Type: a/b\r\nContent-Length: 7\r\n\r\ntoo big"
		}
		io.WriteString(c, answer)
	})
	w := newFakeWork()
	w.input = strings.Repeat("x", 64<<20)
	w.add(deferd.Lease{})
	settled := make(chan struct{})
	w.afterSettle = func(int) error { close(settled); return nil }
	w.onRelease = func(int) error { close(settled); return nil }

	a := New(Config{Work: w, Addr: addr})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-settled
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	want := said{deferd.ModelClientError, deferd.Failed, 413, deferd.StatusMessage(413), "a/b", "too big", 0}
	if diff := cmp.Diff(want, heard(&bench{work: w})); diff != "" {
		t.Errorf("the server heard (-want +got):\n%s", diff)
	}
}
