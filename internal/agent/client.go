package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	// connectLimit is how long a container may take to accept a connection.
	// SageMaker asks for 250 ms; a loaded machine needs more.
	connectLimit = 10 * time.Second

	// freshConnections says that each request to the container has a connection
	// of its own. It costs some 0.1 ms on loopback. Otherwise a container that
	// closes a connection that it thinks idle, just as a request is sent on it,
	// looks the same as a model that died over the request, and as a POST may
	// have begun to work it could not be sent again.
	freshConnections = true

	// maxAnswerHeader bounds the headers of an answer, in bytes.
	maxAnswerHeader = 10 << 20
)

// newClient returns a client for one container: it goes straight to it, takes
// its answers as they are, and follows no redirect.
func newClient() *http.Client {
	d := &net.Dialer{Timeout: connectLimit}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := d.DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return &listeningConn{Conn: c, closed: make(chan struct{})}, nil
			},
			DisableKeepAlives:      freshConnections,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxAnswerHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A listeningConn lets an answer arrive that came before the whole request was
// sent: when the other side has closed its end, writing waits until reading has
// found out why, instead of tearing the connection down with an answer in it.
type listeningConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *listeningConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		<-c.closed
	}
	return n, err
}

func (c *listeningConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
