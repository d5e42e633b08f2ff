package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// said is what the server heard about an attempt.
type said struct {
	Reason  deferd.Reason
	State   deferd.State // zero for a release
	Status  int
	Message string
	Type    string
	Body    string
	After   time.Duration
}

// heard waits until the server has heard of one attempt.
func heard(b *bench) said {
	for range 10_000 {
		if s := b.work.outcomes(); len(s) > 0 {
			o := s[0].Outcome
			return said{o.Reason, o.State, o.ModelStatus, o.Message, o.ContentType, string(o.Body), 0}
		}
		if r := b.work.releasesMade(); len(r) > 0 {
			return said{Reason: r[0].Reason, Message: r[0].Message, After: r[0].After}
		}
		after(100 * time.Millisecond)
	}
	return said{Message: "nothing was heard"}
}

// raw answers with bytes of its own making, and closes the connection.
func raw(answer string) http.HandlerFunc { return rawThen(answer, net.Conn.Close) }

// rawThen answers with the bytes given, and then does something with the
// connection.
func rawThen(answer string, then func(net.Conn) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(c, answer)
		_ = then(c)
	}
}

func status(code int, header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if name, value, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

const noAnswer = "ClientError: Received server error (0) from model. See the SageMaker Endpoint logs in your account for more information."

func TestOutcomes(t *testing.T) {
	ok := func(typ, body string) said {
		return said{Reason: deferd.ModelOK, State: deferd.Completed, Status: 200, Type: typ, Body: body}
	}
	platform := func(reason deferd.Reason, state deferd.State, message string) said {
		return said{Reason: reason, State: state, Message: message, Type: "text/plain; charset=utf-8", Body: message}
	}
	unavailable := deferd.Errorf(deferd.Unavailable, "SlowDown")
	tests := []struct {
		name    string
		invoke  http.HandlerFunc
		lease   deferd.Lease
		prepare func(*bench)
		want    said
	}{
		{name: "answer", invoke: echo, want: ok("text/plain", "the input")},
		{name: "no body", invoke: status(204, "", ""), want: said{Reason: deferd.ModelOK, State: deferd.Completed, Status: 204}},
		{name: "empty input", invoke: func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%d %v", r.ContentLength, r.TransferEncoding)
		}, prepare: func(b *bench) { b.work.input = "" }, want: ok("text/plain; charset=utf-8", "0 []")},
		{
			name:   "chunked",
			invoke: raw("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
			want:   ok("a/b", "abcde"),
		},
		{name: "no length and a close", invoke: raw("HTTP/1.0 200 OK\r\n\r\nall of it"), want: ok("", "all of it")},
		{
			name:   "large headers",
			invoke: raw("HTTP/1.1 200 OK\r\nX-Large: " + strings.Repeat("x", 1<<20) + "\r\nContent-Length: 2\r\n\r\nhi"),
			want:   ok("", "hi"),
		},
		{
			name: "client error", invoke: status(400, "Content-Type: application/json", `{"message":"no"}`),
			want: said{deferd.ModelClientError, deferd.Failed, 400, deferd.StatusMessage(400), "application/json", `{"message":"no"}`, 0},
		},
		{
			name: "server error", invoke: status(500, "Content-Type: text/html", "oops"),
			want: said{deferd.ModelServerError, deferd.Failed, 500, deferd.StatusMessage(500), "text/html", "oops", 0},
		},
		{
			name: "redirect is not followed", invoke: status(302, "Location: http://container/ping", ""),
			want: said{deferd.ModelServerError, deferd.Failed, 302, deferd.StatusMessage(302), "", "", 0},
		},
		{
			name: "busy without Retry-After is final", invoke: status(503, "Content-Type: a/b", "later"),
			want: said{deferd.ModelServerError, deferd.Failed, 503, deferd.StatusMessage(503), "a/b", "later", 0},
		},
		{
			name: "busy", invoke: status(429, "Retry-After: 20", "later"),
			want: said{Reason: deferd.ModelBusy, After: 20 * time.Second},
		},
		{
			name: "busy until a date", prepare: func(b *bench) {
				at := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
				b.container.invoke = status(503, "Retry-After: "+at, "")
			},
			want: said{Reason: deferd.ModelBusy, After: 90 * time.Second},
		},
		{name: "connection closed", invoke: raw(""), want: platform(deferd.ModelNoAnswer, deferd.Failed, noAnswer)},
		{
			name: "answer broken off", invoke: raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
			want: platform(deferd.ModelNoAnswer, deferd.Failed, noAnswer),
		},
		{
			name: "chunks broken off", invoke: raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
			want: platform(deferd.ModelNoAnswer, deferd.Failed, noAnswer),
		},
		{
			name: "another protocol, on a connection that stays open",
			invoke: rawThen("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", func(c net.Conn) error {
				_, err := io.Copy(io.Discard, c) // until the other side closes it
				return errors.Join(err, c.Close())
			}),
			want: platform(deferd.ModelNoAnswer, deferd.Failed, noAnswer),
		},
		{name: "not HTTP", invoke: raw("hello\r\n\r\n"), want: platform(deferd.ModelNoAnswer, deferd.Failed, noAnswer)},
		{
			name: "declared too large", invoke: raw("HTTP/1.1 200 OK\r\nContent-Length: 1073741825\r\n\r\nxxx"),
			want: platform(deferd.ModelNoAnswer, deferd.Failed, "ClientError: The model's response is larger than 1073741824 bytes."),
		},
		{
			name: "time-out", invoke: func(http.ResponseWriter, *http.Request) { time.Sleep(11 * time.Second) },
			lease: deferd.Lease{Timeout: 10 * time.Second},
			want:  platform(deferd.ModelTimeout, deferd.Expired, noAnswer),
		},
		{
			name: "instance lost", prepare: func(b *bench) {
				b.container.invoke = func(http.ResponseWriter, *http.Request) {
					time.AfterFunc(time.Second, func() { close(b.gone) })
					panic(http.ErrAbortHandler)
				}
			},
			want: said{Reason: deferd.InstanceLost},
		},
		{
			name: "out of memory", prepare: func(b *bench) {
				b.container.invoke = func(http.ResponseWriter, *http.Request) {
					b.exit = deferd.Exit{OutOfMemory: true}
					close(b.gone)
					panic(http.ErrAbortHandler)
				}
			},
			want: said{Reason: deferd.OutOfMemory},
		},
		{
			name: "instance gone and the connection hangs", prepare: func(b *bench) {
				b.container.invoke = func(_ http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					close(b.gone)
					<-r.Context().Done()
				}
			},
			want: said{Reason: deferd.InstanceLost},
		},
		{
			name: "connection refused", invoke: echo,
			prepare: func(b *bench) {
				b.work.onInput = func(int, deferd.GetObject) (*deferd.Object, error) {
					b.container.refuse.Store(true)
					return nil, nil
				}
			},
			want: said{Reason: deferd.NotReady},
		},
		{
			name: "input unavailable", invoke: echo,
			prepare: func(b *bench) {
				b.work.onInput = func(int, deferd.GetObject) (*deferd.Object, error) { return nil, unavailable }
			},
			want: said{Reason: deferd.DownloadLost, Message: "ClientError: SlowDown"},
		},
		{
			name: "input missing", invoke: echo,
			prepare: func(b *bench) {
				b.work.onInput = func(int, deferd.GetObject) (*deferd.Object, error) {
					return nil, deferd.Errorf(deferd.NotFound, "Unable to download the input object s3://b/k: NoSuchKey.")
				}
			},
			want: platform(deferd.Download, deferd.Failed, "ClientError: Unable to download the input object s3://b/k: NoSuchKey."),
		},
		{
			name: "input denied", invoke: echo,
			prepare: func(b *bench) {
				b.work.onInput = func(int, deferd.GetObject) (*deferd.Object, error) {
					return nil, deferd.Errorf(deferd.Denied, "AccessDenied")
				}
			},
			want: platform(deferd.Download, deferd.Failed, "ClientError: AccessDenied"),
		},
		{
			name: "input too large", invoke: echo,
			prepare: func(b *bench) {
				b.work.onInput = func(int, deferd.GetObject) (*deferd.Object, error) {
					return nil, deferd.Errorf(deferd.TooLarge, "above 1 GB")
				}
			},
			want: platform(deferd.Download, deferd.Failed, "ClientError: above 1 GB"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := start(t, tt.invoke, func(b *bench, _ *Config) {
					if tt.prepare != nil {
						tt.prepare(b)
					}
				})
				b.work.add(tt.lease)
				if diff := cmp.Diff(tt.want, heard(b)); diff != "" {
					t.Errorf("the server heard (-want +got):\n%s", diff)
				}
				if got := len(b.work.outcomes()) + len(b.work.releasesMade()); got != 1 {
					t.Errorf("the server heard %d verdicts, want 1", got)
				}
			})
		})
	}
}

func TestRequestHeaders(t *testing.T) {
	tests := []struct {
		name      string
		lease     deferd.Lease
		inputType string
		want      map[string]string
	}{
		{
			name:      "everything given",
			lease:     deferd.Lease{InferenceID: "label", ContentType: "application/json", Accept: "text/csv", CustomAttributes: "a=b; c"},
			inputType: "binary/octet-stream",
			want: map[string]string{
				"Content-Type": "application/json", "Accept": "text/csv", "Content-Length": "9",
				"X-Amzn-SageMaker-Custom-Attributes": "a=b; c", "X-Amzn-SageMaker-Inference-Id": "label",
			},
		},
		{
			name:      "type of the object",
			lease:     deferd.Lease{InferenceID: "label"},
			inputType: "binary/octet-stream",
			want:      map[string]string{"Content-Type": "binary/octet-stream", "Content-Length": "9", "X-Amzn-SageMaker-Inference-Id": "label"},
		},
		{
			name:  "inline without a type",
			lease: deferd.Lease{InferenceID: "label", Inline: true},
			want:  map[string]string{"Content-Length": "9", "X-Amzn-SageMaker-Inference-Id": "label"},
		},
		{
			name:  "what is no header is left out",
			lease: deferd.Lease{InferenceID: "label", Accept: "a\r\nb: c"},
			want:  map[string]string{"Content-Length": "9", "X-Amzn-SageMaker-Inference-Id": "label"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				got := make(chan map[string]string, 1)
				b := start(t, nil, func(b *bench, c *Config) {
					b.work.inputType = tt.inputType
					c.Client.Transport.(*http.Transport).DialContext = recordRequest(t, got)
				})
				b.work.add(tt.lease)
				if diff := cmp.Diff(tt.want, <-got); diff != "" {
					t.Errorf("headers (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// headersOf reads the header lines of a request as they were spelled, without
// those of the connection.
func headersOf(r *bufio.Reader) (map[string]string, error) {
	h := make(map[string]string)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			return h, nil
		}
		if name != "Host" && name != "Connection" {
			h[name] = value
		}
	}
}

func TestCustomAttributesOfAnswer(t *testing.T) {
	tests := []struct {
		name, value string
		want        map[string]string
		left        bool
	}{
		{name: "kept", value: "trace=1; x", want: map[string]string{"custom-attributes": "trace=1; x"}},
		{name: "longest", value: strings.Repeat("x", 1024), want: map[string]string{"custom-attributes": strings.Repeat("x", 1024)}},
		{name: "too long", value: strings.Repeat("x", 1025), left: true},
		{name: "not ASCII", value: "naïve", left: true},
		{name: "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := start(t, status(200, headerCustomAttributes+": "+tt.value, "done"), nil)
				b.work.add(deferd.Lease{})
				heard(b)
				b.cancel()
				b.wait()
				o := b.work.outcomes()[0].Outcome
				if diff := cmp.Diff(tt.want, o.Metadata); diff != "" {
					t.Errorf("metadata (-want +got):\n%s", diff)
				}
				if got := strings.Contains(b.log(), "left out"); got != tt.left {
					t.Errorf("log says that it was left out: %t, want %t: %s", got, tt.left, b.log())
				}
				if o.State != deferd.Completed {
					t.Errorf("state %s, want Completed", o.State)
				}
			})
		})
	}
}

func TestEndpointLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, status(500, "", "line 1\nline 2 "+strings.Repeat("x", 5000)), nil)
		b.work.add(deferd.Lease{InferenceID: "label"})
		heard(b)
		b.cancel()
		b.wait()
		got := b.log()
		want := `label Received server error (500) from primary with message "line 1\nline 2 xxx`
		if !strings.HasPrefix(got, want) {
			t.Errorf("log %q, want it to begin with %q", got, want)
		}
		if strings.Contains(got, "\n") || len(got) > 1200 {
			t.Errorf("log is not one line with at most 1 KB of the answer: %q", got)
		}
	})
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		value string
		want  time.Duration
	}{
		{"7", 7 * time.Second},
		{" 7 ", 7 * time.Second},
		{"0", time.Second},
		{"-5", time.Second},
		{"301", 5 * time.Minute},
		{"9223372036854775807", 5 * time.Minute},
		{"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute},
		{"Fri, 02 Jan 2026 03:00:00 GMT", time.Second},
		{"soon", time.Second},
		{"", time.Second},
	}
	for _, tt := range tests {
		if got := parseRetryAfter(tt.value, now); got != tt.want {
			t.Errorf("parseRetryAfter(%q) = %s, want %s", tt.value, got, tt.want)
		}
	}
}

// TestHarmless keeps what a model said out of the server's log.
func TestHarmless(t *testing.T) {
	_, malformed := http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 secret words\r\n\r\n")), nil)
	if malformed == nil || !strings.Contains(malformed.Error(), "secret") {
		t.Fatalf("the error is %v, want one that quotes the answer", malformed)
	}
	if got := harmless(fmt.Errorf("call model: %w", malformed)).Error(); strings.Contains(got, "secret") {
		t.Errorf("the log says %q", got)
	}
	for _, err := range []error{io.ErrUnexpectedEOF, &net.OpError{Op: "dial", Err: errors.New("refused")}} {
		if got := harmless(fmt.Errorf("call model: %w", err)).Error(); !strings.Contains(got, err.Error()) {
			t.Errorf("of %v the log says only %q", err, got)
		}
	}
}
