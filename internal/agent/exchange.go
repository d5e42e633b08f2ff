package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
)

// Names of headers, spelled as SageMaker spells them.
const (
	headerCustomAttributes = "X-Amzn-SageMaker-Custom-Attributes"
	headerInferenceID      = "X-Amzn-SageMaker-Inference-Id"
)

const (
	maxCustomAttributes = 1024 // bytes; S3 allows 2 KB of metadata in all

	// Bounds of what a model may ask for with Retry-After.
	minRetryAfter = time.Second
	maxRetryAfter = 5 * time.Minute
)

// exchange sends the request to the container, takes its answer and decides. It
// returns when the container has ended the request.
func (t *attempt) exchange() {
	defer t.cutRequest()
	// Until the container has a connection, a verdict breaks off everything.
	unsent := context.AfterFunc(t.work, t.cutRequest)
	in, err := t.openInput()
	if err != nil {
		if t.request.Err() != nil { // the instance went first
			t.decide(verdict{reason: deferd.NotReady})
			return
		}
		t.decide(inputVerdict(err))
		return
	}
	defer in.Close()
	var reached atomic.Bool
	resp, err := t.send(in, func() {
		reached.Store(true)
		unsent()
		t.clock.start()
	})
	if err != nil {
		t.decide(t.broken(in, reached.Load(), err))
		return
	}
	defer resp.Body.Close()
	t.decide(t.answer(in, resp))
	// Where the verdict did not take the whole answer, or came from elsewhere,
	// the container is at work until the rest is here.
	io.Copy(io.Discard, resp.Body)
}

// send sends the request and returns the head of the answer. It calls connected
// when there is a connection, before the first byte.
func (t *attempt) send(in *input, connected func()) (*http.Response, error) {
	ctx := httptrace.WithClientTrace(t.request, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected() },
	})
	var body io.Reader = in
	if in.info.Size == 0 {
		body = http.NoBody // otherwise the length counts as unknown
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.agent.config.Addr+"/invocations", body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.ContentLength = in.info.Size
	// The caller's type, else the object's own; where neither is given, none.
	setHeader(req.Header, "Content-Type", t.ContentType, in.info.ContentType)
	setHeader(req.Header, "Accept", t.Accept)
	setHeader(req.Header, headerCustomAttributes, t.CustomAttributes)
	setHeader(req.Header, headerInferenceID, t.InferenceID, string(t.Invocation))
	req.Header.Set("User-Agent", "") // sends none
	resp, err := t.agent.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call model: %w", err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// The body of such an answer is the bare connection, which no context
		// ends any more.
		resp.Body.Close()
		return nil, errSwitched
	}
	return resp, nil
}

var errSwitched = errors.New("the model switched to another protocol")

// harmless is what the server's log may say of err: the text of a malformed
// answer quotes the model.
func harmless(err error) error {
	_, network := errors.AsType[*net.OpError](err)
	for _, known := range []error{io.EOF, io.ErrUnexpectedEOF, context.Canceled, context.DeadlineExceeded, errSwitched} {
		if network || errors.Is(err, known) {
			return err
		}
	}
	return errors.New("the answer is malformed")
}

// setHeader sets a header to the first value that is not empty, with the name
// spelled as given. What no header can carry is left out.
func setHeader(h http.Header, name string, values ...string) {
	for _, v := range values {
		if v == "" {
			continue
		}
		if !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			h[name] = []string{v}
		}
		return
	}
}

// answer takes the model's answer and returns the verdict that it gives.
func (t *attempt) answer(in *input, resp *http.Response) verdict {
	retryAfter := resp.Header.Values("Retry-After")
	reason := deferd.StatusReason(resp.StatusCode, len(retryAfter) > 0)
	if reason == deferd.ModelBusy {
		d := parseRetryAfter(retryAfter[0], time.Now())
		if !t.decided() {
			t.agent.penalize(d)
		}
		return verdict{reason: reason, after: d, note: fmt.Sprintf("The model answered %d and asks for %s.", resp.StatusCode, d)}
	}
	o := deferd.Outcome{
		State:       deferd.Completed,
		Reason:      reason,
		ModelStatus: resp.StatusCode,
		ContentType: resp.Header.Get("Content-Type"),
	}
	if reason != deferd.ModelOK {
		o.State = deferd.Failed
		o.Message = deferd.StatusMessage(resp.StatusCode)
	}
	attributes, left := customAttributes(resp.Header)
	o.Metadata = attributes
	staged, quote, err := t.stage(o, resp)
	switch {
	case errors.Is(err, errTooLarge):
		message := fmt.Sprintf("ClientError: The model's response is larger than %d bytes.", int64(deferd.MaxInput))
		return settle(deferd.End(deferd.ModelNoAnswer, message), "the response is too large")
	case err != nil && deferd.CodeOf(err) == deferd.Lost:
		return verdict{}
	case isStoreError(err):
		return verdict{reason: deferd.UploadLost}
	case err != nil:
		return t.broken(in, true, err)
	}
	note := quote
	if left {
		note = strings.TrimSpace(note + " (The custom attributes of the response are too long or not visible ASCII and were left out.)")
	}
	return settle(staged, note)
}

// inputVerdict is what an input that cannot be read leads to.
func inputVerdict(err error) verdict {
	message := ""
	if e, ok := errors.AsType[*deferd.Error](err); ok {
		message = "ClientError: " + strings.TrimPrefix(e.Msg, "ClientError: ")
	}
	switch deferd.CodeOf(err) {
	case deferd.Lost:
		return verdict{}
	case deferd.NotFound, deferd.Denied, deferd.Invalid, deferd.TooLarge:
		return settle(deferd.End(deferd.Download, message), "")
	case deferd.Changed:
		return verdict{reason: deferd.DownloadLost, message: "ClientError: The input object was replaced while it was read."}
	}
	return verdict{reason: deferd.DownloadLost, message: message}
}

// broken is the verdict on a request that ended with an error instead of an
// answer. Whether the instance is to blame shows within a moment.
func (t *attempt) broken(in *input, reached bool, err error) verdict {
	if err := in.failure(); err != nil {
		return inputVerdict(err)
	}
	if t.decided() {
		return verdict{} // which does not count any more
	}
	t.clock.end()
	if !reached {
		t.agent.doubt()
		return verdict{reason: deferd.NotReady, note: "The instance did not accept a connection."}
	}
	awake(t.work, goneWait, t.agent.config.Gone)
	select {
	case <-t.agent.config.Gone:
		if t.agent.config.Exit != nil && t.agent.config.Exit().OutOfMemory {
			return verdict{reason: deferd.OutOfMemory}
		}
		return verdict{reason: deferd.InstanceLost}
	default:
	}
	t.log.InfoContext(t.work, "no answer from the model", "err", harmless(err))
	return settle(deferd.End(deferd.ModelNoAnswer, deferd.StatusMessage(0)), "the connection broke before the answer had ended")
}

// customAttributes is what an answer's custom attributes add to its object's
// metadata; left reports attributes that no metadata can hold.
func customAttributes(h http.Header) (m map[string]string, left bool) {
	v := h.Get(headerCustomAttributes)
	if v == "" {
		return nil, false
	}
	if len(v) > maxCustomAttributes || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, true
	}
	return map[string]string{"custom-attributes": v}, false
}

// parseRetryAfter reads a Retry-After, which is a number of seconds or a date,
// within its bounds. What cannot be read asks for the shortest time.
func parseRetryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	d := minRetryAfter
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		d = time.Duration(min(n, int64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, minRetryAfter), maxRetryAfter)
}
