package bothways

import (
	"net/http"
	"strconv"
	"time"

	"github.com/deferd/deferd"
)

// A request is one invocation of the load, and what has to become of it where
// nothing fails.
type request struct {
	name   string
	input  []byte
	s3     bool   // the input is an object
	absent bool   // which is not there
	key    string // that the caller names for the output
	idle   bool   // for the endpoint that has no instance
	ttl    time.Duration
	limit  time.Duration // of an attempt
	cancel time.Duration // after which the caller cancels it; 0: never

	answer func(w http.ResponseWriter, r *http.Request, before int)

	state   deferd.State
	reason  deferd.Reason
	content []byte // of the object; nil: the message
	runs    int    // of the model, where no attempt is lost
}

// load is a request of each kind, with answers of at most largest bytes.
func load(largest int) []*request {
	big := pattern(largest)
	over := pattern(deferd.MaxStaged + 1)
	small := []byte("a small answer")
	refusal := []byte("refused, says the model")
	requests := []*request{
		{name: "inline, small", answer: answer(200, small), content: small},
		{name: "S3, small", s3: true, answer: answer(200, small), content: small},
		{name: "S3, at once one byte too large for a settle", s3: true, answer: answer(200, over), content: over},
		{name: "inline, large", answer: answer(200, big), content: big},
		{name: "S3, large input, named output", s3: true, input: pattern(300 << 10), key: "out/named.json", answer: answer(200, small), content: small},
		{name: "failure, small", answer: answer(400, refusal), state: deferd.Failed, reason: deferd.ModelClientError, content: refusal},
		{name: "failure, large", s3: true, answer: answer(500, over), state: deferd.Failed, reason: deferd.ModelServerError, content: over},
		{name: "busy at first", runs: 2, content: small, answer: func(w http.ResponseWriter, r *http.Request, before int) {
			if before == 0 {
				w.Header().Set("Retry-After", "2")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			answer(200, small)(w, r, before)
		}},
		{name: "answer breaks off", state: deferd.Failed, reason: deferd.ModelNoAnswer, answer: breakOff(big)},
		{name: "no answer", s3: true, state: deferd.Failed, reason: deferd.ModelNoAnswer, answer: breakOff(nil)},
		{name: "too slow", limit: 20 * time.Second, state: deferd.Expired, reason: deferd.ModelTimeout, answer: after(25*time.Second, answer(200, small))},
		{name: "slow", s3: true, content: small, answer: after(15*time.Second, answer(200, small))},
		{name: "no input", s3: true, absent: true, state: deferd.Failed, reason: deferd.Download, runs: -1},
		{name: "expires", idle: true, ttl: 30 * time.Second, state: deferd.Expired, reason: deferd.TTLExpired, runs: -1},
		{name: "cancelled", cancel: 5 * time.Second, state: deferd.Cancelled, reason: deferd.CancelRequested, answer: after(20*time.Second, answer(200, small))},
	}
	for _, r := range requests {
		if r.state == deferd.Queued {
			r.state, r.reason = deferd.Completed, deferd.ModelOK
		}
		if r.input == nil {
			r.input = []byte("the input of " + r.name)
		}
		r.runs = max(0, map[bool]int{true: 1, false: r.runs}[r.runs == 0])
	}
	return requests
}

// answer answers.
func answer(status int, body []byte) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Type", "application/x-test")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		w.Write(body)
	}
}

// after answers later. It takes its time also when nobody waits any more, unless
// the container is killed.
func after(d time.Duration, then func(http.ResponseWriter, *http.Request, int)) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, before int) {
		select {
		case <-time.After(d):
			then(w, r, before)
		case <-r.Context().Value(killed{}).(chan struct{}):
			panic(http.ErrAbortHandler)
		}
	}
}

// breakOff begins an answer and closes the connection.
func breakOff(beginning []byte) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		if len(beginning) > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(2*len(beginning)))
			w.Write(beginning)
		}
		panic(http.ErrAbortHandler)
	}
}

// pattern returns n bytes in which a shift by a part would show.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17
	}
	return b
}
