package agent

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// recordRequest dials a container that reads what comes on the wire itself: it
// answers every request with 200 and hands over the headers of invocations.
func recordRequest(t *testing.T, got chan<- map[string]string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			r := bufio.NewReader(there)
			first, err := r.ReadString('\n')
			if err != nil {
				return
			}
			h, err := headersOf(r)
			if err != nil {
				t.Errorf("read headers: %v", err)
				return
			}
			if strings.HasPrefix(first, "POST /invocations ") {
				io.CopyN(io.Discard, r, 9)
				got <- h
			}
			io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}()
		return here, nil
	}
}

// logTo returns a logger that writes everything to w.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
