package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
)

// An attempt is one lease being run. Two goroutines work on it: exchange talks
// to the container until it has ended the request, run tells the server what
// came of it. Between them stands the verdict, which may come from elsewhere,
// too: from the clock, a lost lease, a stop.
type attempt struct {
	deferd.Lease
	agent *Agent
	log   *slog.Logger
	clock *countdown

	request    context.Context // of the request to the container
	cutRequest context.CancelFunc

	fetching atomic.Int64 // nanoseconds of waiting for the input
	storing  atomic.Int64 // nanoseconds of waiting for the outcome to be stored

	once    sync.Once
	work    context.Context // ends when the verdict stands
	endWork context.CancelFunc
	verdict verdict             // set before work ends
	times   deferd.AttemptTimes // likewise
}

// A verdict is what an attempt came to. The zero verdict says that the lease is
// lost and nothing is to be said about it.
type verdict struct {
	outcome *deferd.Outcome // to be settled
	reason  deferd.Reason   // to be released with, where there is no outcome
	message string          // of the release
	after   time.Duration   // of the release
	note    string          // for the endpoint's log: what else there is to say
}

// settle returns the verdict that o is the outcome.
func settle(o deferd.Outcome, note string) verdict { return verdict{outcome: &o, note: note} }

// lost reports whether v is the zero verdict.
func (v verdict) lost() bool { return v.outcome == nil && v.reason == deferd.NoReason }

func (a *Agent) newAttempt(l deferd.Lease) *attempt {
	t := &attempt{Lease: l, agent: a}
	t.log = a.log.With("invocation", l.Invocation, "inference_id", l.InferenceID, "attempt", l.Attempt)
	t.request, t.cutRequest = context.WithCancel(a.requests)
	// Only a verdict ends the work, also when all requests are cut.
	t.work, t.endWork = context.WithCancel(context.WithoutCancel(a.requests))
	if t.Timeout <= 0 {
		t.Timeout = deferd.DefaultTimeout
	}
	t.clock = newCountdown(t.Timeout, func() {
		note := fmt.Sprintf("the answer had not ended after %s", t.Timeout)
		t.decide(settle(deferd.End(deferd.ModelTimeout, deferd.StatusMessage(0)), note))
	})
	return t
}

// decide fixes the verdict. The first one stands.
func (t *attempt) decide(v verdict) {
	t.once.Do(func() {
		t.clock.end()
		t.verdict = v
		t.times = deferd.AttemptTimes{
			Download: time.Duration(t.fetching.Load()),
			Model:    t.clock.elapsed(),
			Upload:   time.Duration(t.storing.Load()),
		}
		t.endWork()
	})
}

// decided reports whether there is a verdict.
func (t *attempt) decided() bool { return t.work.Err() != nil }

// run runs the attempt in a slot, which it frees when the container has ended
// the request and the verdict is delivered.
func (t *attempt) run() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.exchange()
	}()
	<-t.work.Done()
	var hung atomic.Bool
	wait := time.AfterFunc(t.agent.config.SlotWait, func() {
		select {
		case <-ended:
		default:
			hung.Store(true)
			t.log.Warn("the instance does not end a request that nobody waits for; it claims no more, and is replaced once what else runs has ended")
			t.agent.end(ErrStuck)
			t.cutRequest()
		}
	})
	defer wait.Stop()
	t.deliver()
	<-ended
	if hung.Load() {
		return // what we do not see may still run: the slot is lost with the instance
	}
	t.agent.mu.Lock()
	defer t.agent.mu.Unlock()
	t.agent.taken--
	signal(t.agent.changed)
}

// deliver tells the server the verdict, until the server has taken or refused it.
func (t *attempt) deliver() {
	v := t.verdict
	var err error
	switch {
	case v.outcome != nil:
		s := deferd.Settlement{Lease: t.ID, Outcome: *v.outcome, Times: t.times}
		err = t.agent.insist(t.agent.calls, "settle", callLimit, func(ctx context.Context) error {
			return t.agent.config.Work.Settle(ctx, s)
		})
	case !v.lost():
		r := deferd.Release{Lease: t.ID, Reason: v.reason, Message: v.message, After: v.after}
		err = t.agent.insist(t.agent.calls, "release", callLimit, func(ctx context.Context) error {
			return t.agent.config.Work.Release(ctx, r)
		})
	}
	t.agent.mu.Lock()
	delete(t.agent.held, t.ID)
	t.agent.mu.Unlock()
	signal(t.agent.changed)
	t.report(v, err)
}

// report writes what came of the attempt to both logs.
func (t *attempt) report(v verdict, err error) {
	ctx := t.agent.calls
	line := t.line(v)
	switch {
	case v.lost() || err != nil && deferd.CodeOf(err) == deferd.Lost:
		t.log.InfoContext(ctx, "lease lost")
		line = "The request was decided elsewhere while it ran."
	case err != nil:
		t.log.WarnContext(ctx, "verdict not delivered", "err", err)
		return // it is not one
	case v.outcome != nil:
		t.log.DebugContext(ctx, "settled", "reason", v.outcome.Reason, "status", v.outcome.ModelStatus)
	default:
		t.log.InfoContext(ctx, "released", "reason", v.reason)
	}
	if t.agent.config.Log != nil {
		t.agent.config.Log(t.InferenceID, line)
	}
}
