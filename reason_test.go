package deferd

import (
	"net/http"
	"testing"
	"time"
)

// TestJudge holds what is tried again, row by row.
func TestJudge(t *testing.T) {
	again := func(counts bool, wait time.Duration) Verdict { return Verdict{Again: true, Counts: counts, Wait: wait} }
	final := Verdict{Counts: true}
	for _, c := range []struct {
		name             string
		reason           Reason
		attempts, deaths int
		want             Verdict
	}{
		{"connection refused, any number of times", NotReady, 99, 0, again(false, 0)},
		{"the model asks for patience", ModelBusy, 99, 0, again(false, 0)},
		{"orderly stop", ServerStopped, 99, 0, again(false, 0)},
		{"instance drained", InstanceEnded, 99, 0, again(false, 0)},
		{"claim lost on its way", NeverArrived, 99, 0, again(false, 0)},
		{"instance gone, first", InstanceLost, 0, 0, again(true, time.Second)},
		{"instance gone, second", InstanceLost, 1, 0, again(true, 4*time.Second)},
		{"instance gone, third", InstanceLost, 2, 0, final},
		{"out of memory, third", OutOfMemory, 2, 0, final},
		{"download broke, second", DownloadLost, 1, 0, again(true, 4*time.Second)},
		{"download broke, third", DownloadLost, 2, 0, final},
		{"upload broke, third", UploadLost, 2, 0, final},
		{"agent fell silent, first", AgentLost, 0, 0, again(true, time.Second)},
		{"server died, first", ServerDied, 0, 0, again(false, 0)},
		{"server died, ninth", ServerDied, 0, 8, again(false, 0)},
		{"server died, tenth", ServerDied, 0, 9, Verdict{}},
		{"model 4xx", ModelClientError, 0, 0, final},
		{"model 5xx", ModelServerError, 0, 0, final},
		{"broken answer", ModelNoAnswer, 0, 0, final},
		{"time-out", ModelTimeout, 0, 0, final},
		{"input missing", Download, 0, 0, final},
		{"cancelled", CancelRequested, 0, 0, final},
		{"endpoint deleted", EndpointDeleted, 0, 0, final},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Judge(c.reason, c.attempts, c.deaths); got != c.want {
				t.Errorf("Judge(%s, %d, %d) = %+v, want %+v", c.reason, c.attempts, c.deaths, got, c.want)
			}
		})
	}
}

func TestReturn(t *testing.T) {
	accepted := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name     string
		inv      Invocation
		reason   Reason
		after    time.Duration
		gone     bool
		state    State // Queued: back to the queue
		recorded Reason
	}{
		{"back to the queue", Invocation{}, InstanceLost, 0, false, Queued, ""},
		{"attempts used up", Invocation{Attempts: 2}, InstanceLost, 0, false, Failed, InstanceLost},
		{"endpoint deleted", Invocation{}, ServerStopped, 0, true, Failed, EndpointDeleted},
		{"attempts used up and endpoint deleted", Invocation{Attempts: 2}, InstanceLost, 0, true, Failed, InstanceLost},
		{"TTL over, nothing counted", Invocation{}, NotReady, time.Minute, false, Expired, TTLExpired},
		{"TTL over with this attempt", Invocation{}, InstanceLost, time.Minute, false, Failed, InstanceLost},
		{"TTL over after an earlier attempt", Invocation{Attempts: 1, Reason: DownloadLost, Message: "m"}, ServerStopped, time.Minute, false, Failed, DownloadLost},
		{"a moment before the TTL", Invocation{}, NotReady, time.Minute - 1, false, Queued, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.inv.Accepted, c.inv.TTL = accepted, time.Minute
			o, _ := c.inv.Return(c.reason, "", accepted.Add(c.after), c.gone)
			if o == nil {
				if c.state != Queued {
					t.Errorf("went back to the queue, want %v", c.state)
				}
				return
			}
			if o.State != c.state || o.Reason != c.recorded || o.Message == "" || string(o.Body) != o.Message {
				t.Errorf("outcome %+v, want %v (%s) with its message as body", o, c.state, c.recorded)
			}
		})
	}
}

func TestStatusReason(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter bool
		want       Reason
	}{
		{200, false, ModelOK}, {204, true, ModelOK}, {299, false, ModelOK},
		{302, false, ModelServerError}, {304, true, ModelServerError},
		{400, false, ModelClientError}, {418, true, ModelClientError}, {499, false, ModelClientError},
		{500, false, ModelServerError}, {599, true, ModelServerError},
		{http.StatusTooManyRequests, false, ModelClientError}, {http.StatusTooManyRequests, true, ModelBusy},
		{http.StatusServiceUnavailable, false, ModelServerError}, {http.StatusServiceUnavailable, true, ModelBusy},
	} {
		if got := StatusReason(c.status, c.retryAfter); got != c.want {
			t.Errorf("StatusReason(%d, %v) = %s, want %s", c.status, c.retryAfter, got, c.want)
		}
	}
}

// TestMessages holds the texts that clients search for.
func TestMessages(t *testing.T) {
	const logs = " See the SageMaker Endpoint logs in your account for more information."
	for got, want := range map[string]string{
		StatusMessage(400):               "ClientError: Received client error (400) from model." + logs,
		StatusMessage(503):               "ClientError: Received server error (503) from model." + logs,
		FailureMessage(ModelTimeout):     "ClientError: Received server error (0) from model." + logs,
		ExpiredMessage(90 * 1e9):         "ClientError: Request expired: maximum age of 90 seconds in the queue was exceeded.",
		FailureMessage("never heard of"): "InternalError: The request failed.",
	} {
		if got != want {
			t.Errorf("message is %q, want %q", got, want)
		}
	}
}

func TestStates(t *testing.T) {
	for s := Queued; s <= Cancelled; s++ {
		back, err := ParseState(s.String())
		if err != nil || back != s {
			t.Errorf("ParseState(%q) = %v, %v", s, back, err)
		}
		if got, want := s.Terminal(), s >= Completed; got != want {
			t.Errorf("%v is terminal: %v", s, got)
		}
	}
	if _, err := ParseState("queued"); CodeOf(err) != Invalid {
		t.Errorf("ParseState takes another spelling: %v", err)
	}
}

func TestDrift(t *testing.T) {
	c := Counts{Accepted: 36}
	for s := Queued; s <= Cancelled; s++ {
		*c.Of(s) = int64(s) + 1
	}
	c.Pruned = 8
	if d := c.Drift(); d != 0 {
		t.Errorf("drift is %d, want 0", d)
	}
	c.Failed--
	if d := c.Drift(); d != 1 {
		t.Errorf("with one lost, drift is %d, want 1", d)
	}
}
