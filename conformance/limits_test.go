package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// A neighbour is a normal client that invokes all the while, one invocation
// after the other. Nothing that others do may disturb it.
type neighbour struct {
	c       *client
	stop    chan struct{}
	done    chan struct{}
	outputs []string
	slowest time.Duration
	err     error
}

func (s *server) neighbour(c *client) *neighbour {
	n := &neighbour{c: c, stop: make(chan struct{}), done: make(chan struct{})}
	runtime := sagemakerruntime.New(c.runtime.Options(), func(o *sagemakerruntime.Options) {
		o.Retryer = aws.NopRetryer{} // or it would not notice
		o.HTTPClient = &http.Client{Transport: &http.Transport{}}
	})
	go func() {
		defer close(n.done)
		for {
			select {
			case <-n.stop:
				return
			case <-time.After(tick):
			}
			start := time.Now()
			out, err := runtime.InvokeEndpointAsync(c.t.Context(), &sagemakerruntime.InvokeEndpointAsyncInput{
				EndpointName: aws.String(endpoint), Body: []byte("{}"),
			})
			if err != nil {
				n.err = errors.Join(n.err, err)
				continue
			}
			n.slowest = max(n.slowest, time.Since(start))
			n.outputs = append(n.outputs, *out.OutputLocation)
		}
	}()
	return n
}

// check ends the neighbour's invoking and checks that each was answered, and
// has its result.
func (n *neighbour) check(t *testing.T) {
	t.Helper()
	close(n.stop)
	<-n.done
	if n.err != nil {
		t.Errorf("the neighbour was disturbed: %v", n.err)
	}
	if len(n.outputs) == 0 {
		t.Error("the neighbour was not answered at all")
	}
	c := n.c.with(t)
	for _, output := range n.outputs {
		c.awaitObject(output)
	}
	t.Logf("meanwhile a neighbour made %d invocations, the slowest in %v", len(n.outputs), n.slowest)
}

// peak is the most memory that the server has ever had, in bytes.
func (s *server) peak() int64 {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Skipf("how much memory the server has cannot be read here: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return kb << 10
		}
	}
	s.t.Fatal("no VmHWM")
	return 0
}

// checkPeak checks that the server's memory has grown by no more than most.
func (s *server) checkPeak(t *testing.T, before, most int64) {
	t.Helper()
	after := s.peak()
	t.Logf("the server had %d MB at most, %d MB before", after>>20, before>>20)
	if after-before > most {
		t.Errorf("the server's memory grew from %d MB to %d MB, want %d MB more at most", before>>20, after>>20, most>>20)
	}
}

// checkLog checks that nothing went wrong that somebody would have to look at.
func (s *server) checkLog(t *testing.T) {
	t.Helper()
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "panic") {
			t.Errorf("the server logged %s", line)
		}
	}
}

// dial opens a connection to the server.
func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// head is a signed request as it is written, without its body. Headers that
// the signature does not cover may follow it.
func (s *signer) head(service, method, target, payload string, header http.Header) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	if payload == unsigned {
		s.signPayload(r, service, unsigned)
	} else {
		s.sign(r, service, []byte(payload))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, r.URL.Host)
	if err := r.Header.Write(&b); err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

// TestSlowClients has hundreds of clients that send next to nothing or take
// nothing. All but those that take nothing are gone within seconds, with an
// answer where they had asked for something.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	location := c.upload("in/large", "application/octet-stream", make([]byte, 64<<20))
	n := s.neighbour(c)
	sign := s.signer(t)
	before := s.peak()

	invoke := sign.head("sagemaker", "POST", "/endpoints/"+endpoint+"/async-invocations", strings.Repeat("x", 100_000), http.Header{})
	put := sign.head("s3", "PUT", "/"+bucket+"/slow", unsigned, http.Header{})
	kinds := []struct {
		name, beginning string
		more            string // what comes every second
		want            string // that the answer contains
	}{
		{"headers", "GET / HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n", ""},
		{"no headers", "", "", ""},
		{"invocation", invoke + "Content-Length: 100000\r\n\r\n", "x", "RequestTimeoutException"},
		{"invocation without length", invoke + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "RequestTimeoutException"},
		{"object", put + "Content-Length: 10000000\r\n\r\n", "x", "<Code>RequestTimeout</Code>"},
		{"unsigned object", "PUT /" + bucket + "/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", "x", "<Code>AccessDenied</Code>"},
	}
	var wg sync.WaitGroup
	for _, kind := range kinds {
		for range 40 {
			conn := s.dial(t)
			wg.Go(func() {
				if got := trickle(conn, kind.beginning, kind.more); !strings.Contains(got, kind.want) {
					t.Errorf("%s: answered %q, want %q in it", kind.name, got, kind.want)
				}
			})
		}
	}
	get := sign.head("s3", "GET", strings.TrimPrefix(location, "s3:/"), "", http.Header{})
	for range 40 {
		io.WriteString(s.dial(t), get+"\r\n") // and is never read
	}
	wg.Wait()
	s.checkPeak(t, before, 96<<20)
	n.check(t)
	if c.exists("s3://" + bucket + "/slow") {
		t.Error("an object is there that never arrived whole")
	}
	s.checkLog(t)
}

// trickle sends the beginning at once and more every second, until the server
// ends the connection, and returns what it answered.
func trickle(conn net.Conn, beginning, more string) string {
	answered := make(chan string, 1)
	conn.SetReadDeadline(time.Now().Add(patience))
	go func() {
		b, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			b = append(b, "… and was not ended"...)
		}
		answered <- string(b)
	}()
	io.WriteString(conn, beginning)
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case got := <-answered:
			return got
		case <-every.C:
			io.WriteString(conn, more) // fails once the server has ended it
		}
	}
}

// TestManyConnections opens ten thousand connections that want nothing.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	const many = 10_000
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur < many+1000 {
		t.Skipf("this process may open %d files, which is too few (%v)", l.Cur, err)
	}
	if runtime.GOOS != "linux" {
		t.Skip("the loopback address of this system has too few ports")
	}
	s := startServer(t)
	c := s.client()
	c.deploy()
	n := s.neighbour(c)
	before := s.peak()
	for i := range many {
		conn := s.dial(t)
		if i%2 == 0 { // the others say nothing at all
			io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		}
	}
	conn := s.dial(t)
	io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
		t.Errorf("one more was answered %q, %v", got, err)
	}
	s.checkPeak(t, before, 256<<20)
	n.check(t)
	s.checkLog(t)
}

// TestHugeHeaders sends headers that no client has.
func TestHugeHeaders(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	n := s.neighbour(c)
	before := s.peak()
	const line = "GET /healthz HTTP/1.1\r\nHost: x\r\n"
	for name, request := range map[string]string{
		"one of 2 MB":    line + "X-Large: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
		"100,000":        line + strings.Repeat("X-Many: x\r\n", 100_000) + "\r\n",
		"a name of 2 MB": line + strings.Repeat("x", 2<<20) + ": x\r\n\r\n",
		"a URL of 2 MB":  "GET /" + strings.Repeat("x", 2<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"a line of 2 MB": strings.Repeat("x", 2<<20) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 20 {
				conn := s.dial(t)
				wg.Go(func() {
					conn.SetDeadline(time.Now().Add(patience))
					go io.WriteString(conn, request) // which the server does not read to its end
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil {
						if !errors.Is(err, syscall.ECONNRESET) {
							t.Error(err)
						}
						return
					}
					if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge && resp.StatusCode != http.StatusBadRequest {
						t.Errorf("status %d, want 431 or 400", resp.StatusCode)
					}
				})
			}
			wg.Wait()
		})
	}
	s.checkPeak(t, before, 64<<20)
	n.check(t)
	s.checkLog(t)
}

// TestLargeBodies has hundreds of clients that know an access key's ID and not
// its secret, and send as much as they can.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	n := s.neighbour(c)
	before := s.peak()
	thief, stranger := s.signer(t), s.signer(t)
	thief.creds.SecretAccessKey = "guessed"
	stranger.creds.AccessKeyID = "AKIASTRANGER"
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	large := strings.Repeat("x", 6<<20)
	for _, who := range []*signer{thief, stranger} {
		head := who.head("sagemaker", "POST", "/endpoints/"+endpoint+"/invocations", "", http.Header{})
		for range 100 {
			conn := s.dial(t)
			wg.Go(func() {
				conn.SetDeadline(time.Now().Add(patience))
				go io.WriteString(conn, head+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(large))+large)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					answers["reset"]++ // it is refused before it is read
					return
				}
				code, _, _ := strings.Cut(resp.Header.Get("X-Amzn-Errortype"), ":")
				answers[code]++
			})
		}
	}
	wg.Wait()
	t.Logf("200 clients with 6 MB each: %v", answers)
	for code := range answers {
		if code != "reset" && code != "InvalidSignatureException" && code != "UnrecognizedClientException" && code != "ServiceUnavailable" {
			t.Errorf("a client was answered %s", code)
		}
	}
	s.checkPeak(t, before, 160<<20)
	n.check(t)
	s.checkLog(t)
}
