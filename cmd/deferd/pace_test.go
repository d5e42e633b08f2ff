package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that a bubble sees
// them wait.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p <- there
	return here, nil
}

// paced runs a test in a bubble. What it calls serve with is served at the pace
// of a real server.
func paced(t *testing.T, test func(t *testing.T, serve func(http.HandlerFunc) pipes)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, func(h http.HandlerFunc) pipes {
			p := make(pipes)
			s := &http.Server{Handler: slowest.keep(h)}
			ended := make(chan error)
			go func() { ended <- s.Serve(p) }()
			t.Cleanup(func() {
				close(p)
				<-ended
				s.Close()
			})
			return p
		})
	})
}

// begin sends the beginning of a request.
func begin(t *testing.T, p pipes, text string) net.Conn {
	t.Helper()
	c, _ := p.dial(t.Context(), "", "")
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// A body that stops coming fails for whoever reads it.
func TestSlowBody(t *testing.T) {
	for name, rest := range map[string]string{
		"with its length": "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 5000),
		"without":         "Transfer-Encoding: chunked\r\n\r\n1388\r\n" + strings.Repeat("x", 5000),
		"never begun":     "Content-Length: 1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			paced(t, func(t *testing.T, serve func(http.HandlerFunc) pipes) {
				failed := make(chan error, 1)
				p := serve(func(_ http.ResponseWriter, r *http.Request) {
					_, err := io.Copy(io.Discard, r.Body)
					failed <- err
				})
				start := time.Now()
				c := begin(t, p, "PUT / HTTP/1.1\r\nHost: x\r\n"+rest)
				defer c.Close()
				err := <-failed
				var s3 interface{ S3Code() (string, int) }
				if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &s3) {
					t.Errorf("reading gave %v, want a deadline that S3 has a name for", err)
				}
				if got, want := time.Since(start), slowest.window; got != want {
					t.Errorf("it failed after %v, want %v", got, want)
				}
			})
		})
	}
}

// A handler that does not want the body answers although it does not come, and
// at once where that is the client's fault or wish.
func TestUnreadBody(t *testing.T) {
	for _, tt := range []struct {
		name, rest string
		after      time.Duration
	}{
		{"short", "Content-Length: 100000\r\n\r\nsome", slowest.window},
		{"long", "Content-Length: 1000000\r\n\r\nsome", 0},
		{"not asked for", "Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			paced(t, func(t *testing.T, serve func(http.HandlerFunc) pipes) {
				p := serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
				start := time.Now()
				c := begin(t, p, "PUT / HTTP/1.1\r\nHost: x\r\n"+tt.rest)
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil || resp.StatusCode != http.StatusForbidden {
					t.Errorf("answered %v, %v", resp, err)
				}
				if got := time.Since(start); got != tt.after {
					t.Errorf("answered after %v, want %v", got, tt.after)
				}
				if n, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("then come %d bytes, %v, want the end", n, err)
				}
			})
		})
	}
}

// A body that takes an hour arrives whole, if it comes all the while; so does
// the next one on the same connection. How long the handler takes is its own
// matter.
func TestSteadyBody(t *testing.T) {
	paced(t, func(t *testing.T, serve func(http.HandlerFunc) pipes) {
		p := serve(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			time.Sleep(time.Hour)
			fmt.Fprint(w, n, err, r.Context().Err())
		})
		transport := &http.Transport{DialContext: p.dial}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		for range 2 {
			body, w := io.Pipe()
			go func() {
				for range 300 {
					io.Copy(w, bytes.NewReader(make([]byte, slowest.up)))
					time.Sleep(slowest.window - time.Second)
				}
				w.Close()
			}()
			resp, err := client.Post("http://x", "", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprint(300*slowest.up, error(nil), error(nil)); err != nil || string(got) != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
			time.Sleep(time.Minute) // nothing of it is left on the connection
		}
	})
}

// An answer that nobody takes ends; one that is taken slowly goes on.
func TestSlowReader(t *testing.T) {
	answer := func(done chan<- error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body := io.LimitReader(zeros{}, 10*slowest.down)
			var err error
			if r.URL.Path == "/write" {
				b, _ := io.ReadAll(body)
				_, err = w.Write(b)
			} else {
				_, err = io.Copy(w, body)
			}
			done <- err
		}
	}
	for _, path := range []string{"/write", "/copy"} {
		t.Run("untaken"+path, func(t *testing.T) {
			paced(t, func(t *testing.T, serve func(http.HandlerFunc) pipes) {
				done := make(chan error, 1)
				p := serve(answer(done))
				start := time.Now()
				c := begin(t, p, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
				defer c.Close()
				if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %v, want a deadline", err)
				}
				if got, want := time.Since(start), 2*slowest.window; got != want {
					t.Errorf("it ended after %v, want %v", got, want)
				}
			})
		})
		t.Run("slowly"+path, func(t *testing.T) {
			paced(t, func(t *testing.T, serve func(http.HandlerFunc) pipes) {
				done := make(chan error, 1)
				p := serve(answer(done))
				c := begin(t, p, "GET "+path+" HTTP/1.0\r\n\r\n")
				for {
					_, err := io.CopyN(io.Discard, c, slowest.down)
					if err != nil {
						break
					}
					time.Sleep(slowest.window)
				}
				if err := <-done; err != nil {
					t.Errorf("got %v, want all of it sent", err)
				}
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// What is sent is what was there, from memory as from a file over a real
// connection, where a file takes another way; over HTTP/2, which has deadlines
// for each stream, too.
func TestPacedAnswer(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	data = append(data, "the end"...)
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h := slowest.keep(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		switch r.URL.Path {
		case "/write":
			_, err = w.Write(data)
		case "/copy":
			_, err = io.Copy(w, f)
		case "/part":
			w.Header().Set("Content-Length", "100000")
			_, err = io.CopyN(w, f, 100_000)
		case "/more than there is":
			if _, err = io.CopyN(w, f, 1<<30); err == io.EOF {
				err = nil
			}
		case "/echo":
			var body []byte
			if body, err = io.ReadAll(r.Body); err == nil {
				_, err = w.Write(body)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
	}))
	first, second := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	defer first.Close()
	second.EnableHTTP2 = true
	second.StartTLS()
	defer second.Close()
	for _, s := range []*httptest.Server{first, second} {
		for path, want := range map[string][]byte{
			"/write": data, "/copy": data, "/part": data[:100_000], "/more%20than%20there%20is": data, "/echo": data,
		} {
			resp, err := s.Client().Post(s.URL+path, "", bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s %s: %d bytes, %v, want %d", resp.Proto, path, len(got), err, len(want))
			}
		}
	}
}
