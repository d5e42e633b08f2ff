package torture

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Case is one request with all that is known of what became of it.
type Case struct {
	Round    int
	Request  Request
	Deployed Deployment
	Sent     time.Time
	Over     time.Time  // when it was found to have ended
	Calls    int        // made, all with one retry token
	Accepted []Accepted // the different 202s; one at most, if all is well
	Refused  int        // the status, where the request was refused for good
	Attempts []Attempt  // in the order of their starts
	Objects  []Seen     // at its locations, or naming it
	Status   *Status    // nil: the server knows of none
}

// An Attempt is one coming of a request to a model, as the model saw it.
type Attempt struct {
	PID     int
	Born    time.Time // when the process came to listen
	Start   time.Time
	Running int // in the process, with this one
	Slots   int // how many may
	Overlap bool
	End     time.Time // zero: the process did not live to see it, or it still runs
	How     string
	Status  int
	Early   bool // it was answered before its input was read, so the connection's end may have overtaken the answer
}

// A Seen is an object that became visible.
type Seen struct {
	Key      string
	ETag     string
	Modified time.Time
	Size     int64
	First    time.Time // when it was there for the first time that somebody looked
	Changed  string    // how it differed later; "" where it did not
	Body     []byte
	Mark     string // the invocation that the object says it is of
	Noted    string // the custom attributes that the model answered with
}

// A Broken is a promise that did not hold.
type Broken struct {
	Promise    int    `json:"promise"` // of the nine; 0: none of them, but wrong
	Round      int    `json:"round"`
	Request    string `json:"request,omitempty"`
	Invocation string `json:"invocation,omitempty"`
	What       string `json:"what"`
}

func (b Broken) String() string {
	who := ""
	if b.Request != "" {
		who = fmt.Sprintf(" (request %s, invocation %s)", b.Request, cmp.Or(b.Invocation, "unknown"))
	}
	return fmt.Sprintf("promise %d, round %d%s: %s", b.Promise, b.Round, who, b.What)
}

// A verdict collects what is wrong with a case.
type verdict struct {
	c      *Case
	broken []Broken
}

func (v *verdict) breaks(promise int, format string, args ...any) {
	b := Broken{Promise: promise, Round: v.c.Round, Request: v.c.Request.ID, What: fmt.Sprintf(format, args...)}
	if len(v.c.Accepted) > 0 {
		b.Invocation = v.c.Accepted[0].Invocation
	}
	v.broken = append(v.broken, b)
}

// Judge says which promises were broken by what became of a request. The case
// is to be over: its outcome visible, or its status an end, or nothing of it
// known to the server after its client has given up.
func (c *Case) Judge(h History) []Broken {
	v := &verdict{c: c}
	if len(c.Accepted) > 1 {
		v.breaks(2, "one retry token made %d invocations: %+v", len(c.Accepted), c.Accepted)
		return v.broken
	}
	c.judgeTraffic(v)
	if len(c.Accepted) == 0 {
		c.judgeRefused(v)
		return v.broken
	}
	if c.Status == nil {
		v.breaks(1, "it was accepted, and the server does not know it")
		return v.broken
	}
	if id := c.Accepted[0].Invocation; id != "" && c.Status.InvocationID != id {
		v.breaks(2, "the newest invocation of its inference ID is %s", c.Status.InvocationID)
	}
	c.judgeObjects(v)
	c.judgeReason(v, h)
	c.judgeAttempts(v, h)
	return v.broken
}

// judgeRefused judges a request that was never answered with a 202, and of
// which the server knows nothing.
func (c *Case) judgeRefused(v *verdict) {
	if c.Status != nil {
		v.breaks(5, "it was refused with %d, and the server knows it as %s", c.Refused, c.Status.State)
	}
	if len(c.Attempts) > 0 {
		v.breaks(1, "it was never accepted, and came to a model %d times", len(c.Attempts))
	}
	for _, o := range c.Objects {
		v.breaks(2, "it was never accepted, and there is the object %s", o.Key)
	}
}

// judgeTraffic judges each attempt by itself.
func (c *Case) judgeTraffic(v *verdict) {
	for n, a := range c.Attempts {
		if a.Overlap {
			v.breaks(3, "attempt %d began in process %d while another one ran", n+1, a.PID)
		}
		if a.Running > a.Slots {
			v.breaks(7, "with attempt %d there were %d at a time in process %d, which has %d slots", n+1, a.Running, a.PID, a.Slots)
		}
	}
}

// judgeObjects judges how many outcomes there are, where, and what they hold.
func (c *Case) judgeObjects(v *verdict) {
	want, other := c.Accepted[0].Failure, c.Accepted[0].Output
	if c.Status.State == "Completed" {
		want, other = other, want
		if c.Request.Contested {
			want = "" // see Contest
		}
	}
	found := false
	for _, o := range c.Objects {
		switch {
		case o.Key == want:
			found = true
			c.judgeObject(v, o)
		case o.Key == other:
			v.breaks(2, "it is %s, and there is the object %s", c.Status.State, o.Key)
		default:
			v.breaks(2, "there is another object of it, %s", o.Key)
		}
		if o.Changed != "" {
			v.breaks(3, "the object %s was seen, and then %s", o.Key, o.Changed)
		}
	}
	if want != "" && !found {
		promise := 6
		if c.Status.State == "Completed" {
			promise = 1
		}
		v.breaks(promise, "it is %s (%s), and there is no object %s", c.Status.State, c.Status.Reason, want)
	}
}

func (c *Case) judgeObject(v *verdict, o Seen) {
	if id := c.Status.InvocationID; o.Mark != id {
		v.breaks(3, "the object %s says that it is of invocation %q", o.Key, o.Mark)
	}
	var want []byte
	switch {
	case c.Status.State == "Completed":
		want = answerBody(c.Request.ID, inputBody(c.Request.ID, c.Request.Size), c.Request.Order)
		if o.Noted != c.Request.ID {
			v.breaks(2, "the object %s has the custom attributes %q", o.Key, o.Noted)
		}
	case strings.HasPrefix(c.Status.Reason, "model_") && c.Status.ModelStatus != 0:
		want = refusalBody(c.Request.ID, c.Request.Order)
	default:
		want = []byte(c.Status.FailureReason)
		if len(want) == 0 {
			v.breaks(6, "it is %s, and its failure reason is empty", c.Status.State)
		}
	}
	if !bytes.Equal(o.Body, want) {
		v.breaks(2, "the object %s has %d bytes that begin with %.60q, want %d that begin with %.60q", o.Key, len(o.Body), o.Body, len(want), want)
	}
}

// judgeAttempts judges how often a request came to a model, and when.
func (c *Case) judgeAttempts(v *verdict, h History) {
	for _, o := range c.Objects {
		c.judgeLate(v, h, o)
	}
	for n, a := range c.Attempts {
		if n > 0 {
			if before := c.Attempts[n-1]; !h.again(before, a.Start) {
				v.breaks(3, "attempt %d began although nothing had broken the one before, which ended as %q", n+1, cmp.Or(before.How, "nothing"))
			}
		}
	}
	lost := 0 // attempts that count, as the model saw them
	for _, a := range c.Attempts {
		if a.How == Crashed || h.killed(a) {
			lost++
		}
	}
	// An attempt that the server's end has overtaken does not count.
	if most := maxAttempts + h.serverEnds(c.Sent, c.Over); lost > most {
		v.breaks(4, "%d attempts were lost with their instance, want at most %d", lost, most)
	}
}

// judgeLate looks for attempts that began when there was an object already.
func (c *Case) judgeLate(v *verdict, h History, o Seen) {
	for n, a := range c.Attempts {
		if begin := h.sent(a); begin.After(o.First) {
			v.breaks(2, "attempt %d began %v after the object %s was seen", n+1, begin.Sub(o.First), o.Key)
		}
	}
}

const (
	maxAttempts     = 3  // in all, where the platform breaks them
	maxServerDeaths = 10 // under one invocation

	// goneWait is how long after a broken connection the end of the instance
	// may show, and a little more.
	goneWait = 2500 * time.Millisecond
)

// states are the ends that reasons lead to.
var states = map[string]string{
	"ok": "Completed", "timeout": "Expired", "expired": "Expired", "cancelled": "Cancelled",
}

// judgeReason judges whether the recorded reason is what happened.
func (c *Case) judgeReason(v *verdict, h History) {
	s := c.Status
	if s.Reason == unknown {
		return
	}
	if want := cmp.Or(states[s.Reason], "Failed"); s.State != want {
		v.breaks(4, "it is %s because of %q, want %s", s.State, s.Reason, want)
	}
	if why := c.untrue(h); why != "" {
		v.breaks(4, "the reason is said to be %q (%s), but %s", s.Reason, s.FailureReason, why)
	}
}

// defaultTTL is how long a request may wait that does not say.
const defaultTTL = 6 * time.Hour

// outlived reports whether a case may have waited for longer than it may.
func (c *Case) outlived(h History) bool {
	passed := c.Over.Sub(c.Sent)
	for _, m := range h.Moments {
		if !m.Until.Before(c.Sent) {
			passed += m.By
		}
	}
	return passed >= cmp.Or(c.Request.TTL, defaultTTL)
}

// infer makes up a status from the objects of a case whose endpoint does not
// exist any more; nil where there is none.
func (c *Case) infer() *Status {
	if len(c.Objects) == 0 {
		return nil
	}
	o, refused := c.Objects[0], c.Request.Order.Status
	s := &Status{InvocationID: c.Accepted[0].Invocation, State: "Failed", FailureReason: string(o.Body)}
	switch {
	case o.Key == c.Accepted[0].Output:
		s.State, s.Reason, s.ModelStatus, s.FailureReason = "Completed", "ok", 200, ""
	case refused != 0 && bytes.Equal(o.Body, refusalBody(c.Request.ID, c.Request.Order)):
		s.Reason, s.ModelStatus = refusedReason(refused), refused
	case strings.Contains(s.FailureReason, "endpoint was deleted"):
		s.Reason = "endpoint_deleted"
	default:
		s.Reason = unknown
	}
	return s
}

// refusedReason is the reason for a model's answer that is an error.
func refusedReason(status int) string {
	if status/100 == 4 {
		return "model_client_error"
	}
	return "model_server_error"
}

// unknown is the reason of a case whose status nobody can ask for any more.
const unknown = "unknown"

// last returns the last attempt that ended so.
func (c *Case) last(how string) (Attempt, bool) {
	for _, a := range slices.Backward(c.Attempts) {
		if a.How == how {
			return a, true
		}
	}
	return Attempt{}, false
}

// untrue says what speaks against the recorded reason, or "".
func (c *Case) untrue(h History) string {
	s, order := c.Status, c.Request.Order
	answered, was := c.last(Answered)
	switch s.Reason {
	case "ok":
		switch {
		case !was || answered.Status != 200:
			return "the model never answered 200"
		case !order.Answers200() && order.Deed != Hang && order.Deed != HangMiddle:
			return fmt.Sprintf("the model was told to %s", order.Deed)
		}
	case "model_client_error", "model_server_error":
		switch {
		case !was || answered.Status != s.ModelStatus || order.Deed != Refuse && order.Deed != Early:
			return fmt.Sprintf("the model never answered %d", s.ModelStatus)
		case refusedReason(order.Status) != s.Reason:
			return fmt.Sprintf("the model answered %d", order.Status)
		}
	case "timeout":
		return c.untrueTimeout(h)
	case "model_no_answer":
		switch order.Deed {
		case DropBefore, DropMiddle, Garbage:
		case Early:
			return "" // the end of the connection may overtake the answer
		default:
			return fmt.Sprintf("the model was told to %s", order.Deed)
		}
		if _, dropped := c.last(Dropped); !dropped {
			return "the model did not close the connection"
		}
	case "instance_lost":
		// The model need not have seen an attempt that another one crashed.
		if n := h.deaths(c.Request.Endpoint, c.Sent, c.Over); n < maxAttempts && !c.outlived(h) {
			return fmt.Sprintf("only %d instances of its endpoint have died", n)
		}
	case "download":
		if c.Request.Input != Missing {
			return "the input is there"
		}
	case "download_lost", "upload_lost":
		if !h.stormy(c.Sent, c.Over) {
			return "the object store did not fail"
		}
	case "expired":
		switch {
		case !c.outlived(h):
			return fmt.Sprintf("it may wait for %v", cmp.Or(c.Request.TTL, defaultTTL))
		case s.Attempts > 0:
			return fmt.Sprintf("%d attempts were counted", s.Attempts)
		}
	case "endpoint_deleted":
		if !h.deleted(c) {
			return "the endpoint was not deleted"
		}
	case "server_died":
		if n := h.serverEnds(c.Sent, c.Over); n < maxServerDeaths {
			return fmt.Sprintf("the server died %d times only", n)
		}
	default:
		return "nothing of that kind happened"
	}
	return ""
}

// untrueTimeout says what speaks against a time-out: an answer that was there
// in time, whether or not the server was frozen when it came. A model that was
// frozen did not see all of the time that it took.
func (c *Case) untrueTimeout(h History) string {
	if len(c.Attempts) == 0 && h.anyFrozen(c.Request.Endpoint, c.Sent, c.Over) {
		return "" // it has not seen it yet
	}
	longest := time.Duration(0)
	for _, a := range c.Attempts {
		if a.End.IsZero() || a.How == Cut {
			return "" // it never answered
		}
		took := a.End.Sub(a.Start) + h.frozen(FreezeModel, a.PID, a.Start.Add(-thawTime-c.Request.Timeout), a.End)
		longest = max(longest, took)
	}
	if longest < c.Request.Timeout-clockSlack {
		return fmt.Sprintf("the model took %v at most", longest)
	}
	return ""
}

// clockSlack is what may lie between a model's and the platform's view of how
// long an attempt took.
const clockSlack = 50 * time.Millisecond
