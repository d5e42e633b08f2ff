package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An oddRequest is what some client or other puts on the wire, or nobody does.
type oddRequest struct {
	name   string
	wire   string
	half   bool     // the client says that nothing more will come
	status int      // of the first answer
	says   string   // that the first answer contains
	ends   bool     // the server ends the connection by itself
	then   []string // what further answers contain
}

// TestOddRequests writes requests by hand. Each has the answer that it should
// have, in its service's form, and the server goes on as if nothing were.
func TestOddRequests(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	n := s.neighbour(c)
	before := s.peak()
	for _, odd := range oddRequests(s.signer(t)) {
		t.Run(odd.name, func(t *testing.T) {
			conn := s.dial(t)
			conn.SetDeadline(time.Now().Add(patience))
			go func() {
				io.WriteString(conn, odd.wire) // an error shows in the answer
				if odd.half {
					conn.(*net.TCPConn).CloseWrite()
				}
			}()
			answers := bufio.NewReader(conn)
			check(t, answers, odd.status, odd.says)
			for _, says := range odd.then {
				check(t, answers, 0, says)
			}
			if odd.ends {
				if b, err := answers.ReadByte(); err == nil {
					t.Errorf("after the answer comes %q, want the end", b)
				} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
					t.Error("the connection was not ended")
				}
			}
		})
	}
	if got := c.awaitObject("s3://" + bucket + "/chunked"); string(got.data) != "hello, world" {
		t.Errorf("an object without length is %q", got.data)
	}
	for _, key := range []string{"early", "short"} {
		if c.exists("s3://" + bucket + "/" + key) {
			t.Errorf("the object %s is there, which did not arrive whole", key)
		}
	}
	s.checkPeak(t, before, 64<<20)
	n.check(t)
	s.checkLog(t)
}

// check reads an answer. A status of 0 is any.
func check(t *testing.T, answers *bufio.Reader, status int, says string) {
	t.Helper()
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("read the answer: %v", err)
	}
	var head strings.Builder
	resp.Header.Write(&head)
	if status != 0 && resp.StatusCode != status || !strings.Contains(head.String()+"\n"+string(body), says) {
		t.Errorf("answered %d\n%s\n%s\nwant %d and %q", resp.StatusCode, head.String(), body, status, says)
	}
}

func oddRequests(sign *signer) []oddRequest {
	invoke := func(body string, header http.Header) string {
		return sign.head("sagemaker", "POST", "/endpoints/"+endpoint+"/async-invocations", body, header)
	}
	list := func(body string) string {
		return sign.head("sagemaker", "POST", "/", body, http.Header{
			"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {"SageMaker.ListEndpoints"},
		})
	}
	put := func(key string) string { return sign.head("s3", "PUT", "/"+bucket+"/"+key, unsigned, http.Header{}) }
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n", n) }
	const chunked = "Transfer-Encoding: chunked\r\n\r\n"
	const accepted, health = `{"InferenceId":"`, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	oldHTTP := func(request string) string { return strings.Replace(request, "HTTP/1.1", "HTTP/1.0", 1) }
	absolute := func(request string) string { return strings.Replace(request, " /", " "+sign.url+"/", 1) }

	return []oddRequest{
		// Bodies without length.
		{name: "invocation without length", wire: invoke("hello", nil) + chunked + "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", status: 202, says: accepted},
		{name: "invocation of endless length", wire: invoke("hello", nil) + chunked + strings.Repeat("10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n", 8), status: 400, says: "less than or equal to 128000", ends: true},
		{name: "control plane without length", wire: list(`{"MaxResults":1}`) + chunked + "10\r\n" + `{"MaxResults":1}` + "\r\n0\r\n\r\n", status: 200, says: `{"Endpoints":[{`},
		{name: "object without length", wire: put("chunked") + chunked + "7\r\nhello, \r\n5\r\nworld\r\n0\r\n\r\n", status: 200, says: "Etag"},
		{name: "chunk of no size", wire: invoke("hello", nil) + chunked + "zz\r\nhello", status: 400, says: "RequestAbortedException", ends: true},
		{name: "no body at all", wire: list("") + "\r\n", status: 200, says: `{"Endpoints":[{`},

		// Lengths that are not so.
		{name: "invocation ends early", wire: invoke("hello", nil) + length(10) + "hello", half: true, status: 400, says: "RequestAbortedException", ends: true},
		{name: "object ends early", wire: put("early") + length(10) + "hello", half: true, status: 400, says: "<Code>IncompleteBody</Code>", ends: true},
		{name: "chunked object ends early", wire: put("short") + chunked + "a\r\nhello", half: true, status: 400, says: "<Code>IncompleteBody</Code>", ends: true},
		{name: "length too small", wire: invoke("hello", nil) + length(4) + "hello\r\n\r\n", status: 403, says: "InvalidSignatureException", then: []string{"400 Bad Request"}, ends: true},
		{name: "negative length", wire: invoke("hello", nil) + "Content-Length: -5\r\n\r\nhello", status: 400, ends: true},
		{name: "length that is no number", wire: invoke("hello", nil) + "Content-Length: five\r\n\r\nhello", status: 400, ends: true},
		{name: "two lengths", wire: invoke("hello", nil) + "Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello", status: 400, ends: true},
		{name: "length beyond all measure", wire: invoke("hello", nil) + "Content-Length: 99999999999999999999\r\n\r\nhello", status: 400, ends: true},
		{name: "gigabytes announced", wire: list("") + length(1<<33), status: 413, says: "RequestEntityTooLargeException", ends: true},
		{name: "unknown encoding", wire: put("gzip") + "Transfer-Encoding: gzip\r\n\r\nhello", status: 501, ends: true},

		// Other ways of asking.
		{name: "HTTP/1.0", wire: oldHTTP(invoke("hello", nil)) + length(5) + "hello", status: 202, says: accepted, ends: true},
		{name: "HTTP/1.0 without Host", wire: "GET /healthz HTTP/1.0\r\n\r\n", status: 200, says: "ok", ends: true},
		{name: "HTTP/1.1 without Host", wire: "GET /healthz HTTP/1.1\r\n\r\n", status: 400, ends: true},
		{name: "two Hosts", wire: "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", status: 400, ends: true},
		{name: "HTTP/3.0", wire: "GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n", status: 505, ends: true},
		{name: "absolute form", wire: absolute(invoke("hello", nil)) + length(5) + "hello", status: 202, says: accepted},
		{name: "absolute form, S3", wire: absolute(put("absolute")) + length(5) + "hello", status: 200, says: "Etag"},
		{name: "absolute form with another Host", wire: "GET http://a/healthz HTTP/1.1\r\nHost: b\r\n\r\n", status: 200, says: "ok"},
		{name: "asterisk", wire: "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", status: 200},
		{name: "CONNECT", wire: "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n", status: 403, says: "<Code>AccessDenied</Code>"},
		{name: "pipelined", wire: invoke("hello", nil) + length(5) + "hello" + health + list("{}") + length(2) + "{}", status: 202, says: accepted, then: []string{"ok", `{"Endpoints":[{`}},
		{name: "pipelined after a refusal", wire: "POST /endpoints/x/async-invocations HTTP/1.1\r\nHost: x\r\n" + length(5) + "hello" + health, status: 403, says: "MissingAuthenticationTokenException", then: []string{"ok"}},
		{name: "expects to go on", wire: invoke("hello", nil) + "Expect: 100-continue\r\n" + length(5) + "hello", status: 100, then: []string{accepted}},
		{name: "expects something else", wire: invoke("hello", nil) + "Expect: a miracle\r\n" + length(5) + "hello", status: 417, ends: true},
		{name: "wants another protocol", wire: "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", status: 200, says: "ok"},
		{name: "HTTP/2 at once", wire: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 403, says: "<Code>AccessDenied</Code>", ends: true},
		{name: "TLS", wire: "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n", status: 400, ends: true},
		{name: "nonsense", wire: "what\r\n\r\n", status: 400, ends: true},

		// Bytes that are no text.
		{name: "path that is no text", wire: "POST /endpoints/\xff\xfe/async-invocations HTTP/1.1\r\nHost: x\r\n" + length(0), status: 403, says: "MissingAuthenticationTokenException"},
		{name: "name that is no text", wire: sign.head("sagemaker", "POST", "/endpoints/%FF/async-invocations", "", http.Header{}) + length(0), status: 400, says: "at 'endpointName' failed to satisfy constraint"},
		{name: "bad escape", wire: "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, ends: true},
		{name: "header that is no text", wire: invoke("hello", http.Header{"X-Amzn-Sagemaker-Accept": {"\xff"}}) + length(5) + "hello", status: 400, says: "at 'accept' failed to satisfy constraint"},
		{name: "zero byte in a header", wire: "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Zero: a\x00b\r\n\r\n", status: 400, ends: true},
		{name: "document that is no text", wire: list("{\"NameContains\":\"\xff\"}") + length(20) + "{\"NameContains\":\"\xff\"}", status: 400, says: "SerializationException"},
		{name: "key that is no text", wire: sign.head("s3", "PUT", "/"+bucket+"/%FF", unsigned, http.Header{}) + length(1) + "x", status: 400, says: "<Error>"},
	}
}
