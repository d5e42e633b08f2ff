package agent

import (
	"context"
	"slices"
	"time"

	"github.com/deferd/deferd"
)

// claim asks for work whenever a slot is free, one claim at a time, until
// serving ends. Then nothing that was handed out is left with the agent.
func (a *Agent) claim() {
	var pause backoff
	for {
		free, ok := a.awaitFree()
		if !ok {
			break
		}
		early, err := a.claimOnce(free)
		switch {
		case err == nil && !early:
			pause.reset()
			continue
		case err == nil || deferd.CodeOf(err) == deferd.Lost:
			a.extend(a.serving) // which says what the server wants, or what has become of the session
		case a.serving.Err() == nil:
			a.log.InfoContext(a.serving, "claim not answered", "err", err)
		}
		pause.wait(a.serving)
	}
	a.returnUnconfirmed()
}

// claimOnce makes one claim and begins to run what it brings. A claim that was
// interrupted is no error; what it was about to bring comes with the next one.
// Early reports an empty answer before the wait was over: the server hands out
// nothing to this instance.
func (a *Agent) claimOnce(free int) (early bool, err error) {
	ctx, cancel := context.WithTimeout(a.serving, deferd.ClaimWait+callLimit)
	defer cancel()
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()

	a.mu.Lock()
	r := deferd.ClaimRequest{Session: a.session, Confirmed: a.confirmed, Free: free, Wait: deferd.ClaimWait}
	a.claiming, a.interrupt = free, interrupt
	a.mu.Unlock()

	began := time.Now()
	c, err := a.config.Work.Claim(ctx, r)

	a.mu.Lock()
	a.claiming, a.interrupt = 0, nil
	a.mu.Unlock()
	interrupted := ctx.Err() == context.Canceled
	if err != nil {
		if interrupted {
			return false, nil
		}
		return false, err
	}
	a.admit(r.Session, c, a.serving.Err() == nil)
	return len(c.Leases) == 0 && !interrupted && time.Since(began) < r.Wait/2, nil
}

// admit takes note of a claim's answer and begins to run what is new in it, or
// gives it back where it is not to run. A lease that runs already is known.
func (a *Agent) admit(s deferd.SessionID, c deferd.Claim, run bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s != a.session {
		return // opened anew meanwhile: the leases are void
	}
	a.confirmed = c.Number
	for _, l := range c.Leases {
		if _, known := a.held[l.ID]; known {
			continue
		}
		t := a.newAttempt(l)
		a.held[l.ID] = t
		if !run || a.taken >= a.config.Session.Slots {
			t.decide(verdict{reason: deferd.InstanceEnded})
			a.attempts.Go(t.deliver)
			continue
		}
		a.taken++
		a.started++
		a.attempts.Go(t.run)
	}
}

// returnUnconfirmed gives back what a claim handed out whose answer did not
// arrive because serving ended. It would wait for the end of the session
// otherwise, which in a drain may be hours away. A claim for no slots hands out
// nothing new.
func (a *Agent) returnUnconfirmed() {
	if a.superseded() {
		return
	}
	// Serving has ended, so this has a context of its own, with a limit.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.serving), closeLimit)
	defer cancel()
	s := a.snapshot()
	c, err := a.config.Work.Claim(ctx, deferd.ClaimRequest{Session: s.Session, Confirmed: s.Confirmed})
	if err != nil {
		return // the end of the session releases them
	}
	a.admit(s.Session, c, false)
}

// awaitFree waits until a slot is free, and reports false if serving ends.
func (a *Agent) awaitFree() (int, bool) {
	for {
		n, until := a.free()
		if a.serving.Err() != nil {
			return 0, false
		}
		if n > 0 {
			return n, true
		}
		var penalty <-chan time.Time
		if !until.IsZero() {
			penalty = time.After(time.Until(until))
		}
		select {
		case <-a.changed:
		case <-penalty:
		case <-a.serving.Done():
		}
	}
}

// free is how many invocations may be claimed now, and when that changes by
// itself; zero: never.
func (a *Agent) free() (int, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.freeSlots()
}

// freeSlots is free for callers that hold mu.
func (a *Agent) freeSlots() (int, time.Time) {
	now := time.Now()
	a.penalties = slices.DeleteFunc(a.penalties, func(t time.Time) bool { return !now.Before(t) })
	var until time.Time
	if len(a.penalties) > 0 {
		until = slices.MinFunc(a.penalties, time.Time.Compare)
	}
	if a.suspect {
		return 0, time.Time{} // until a ping clears it
	}
	return max(0, a.config.Session.Slots-a.taken-len(a.penalties)), until
}

// shrink applies change, which leaves fewer slots to claim for, and interrupts
// a claim in flight that asks for more.
func (a *Agent) shrink(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	if n, _ := a.freeSlots(); a.interrupt != nil && a.claiming > n {
		a.interrupt()
	}
}

// penalize uses one slot less for a while.
func (a *Agent) penalize(d time.Duration) {
	a.shrink(func() { a.penalties = append(a.penalties, time.Now().Add(d)) })
	signal(a.changed)
}

// doubt has the instance pinged before anything else is claimed for it.
func (a *Agent) doubt() {
	a.shrink(func() { a.suspect = true })
	signal(a.doubted)
}

// trust ends a doubt.
func (a *Agent) trust() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.suspect {
		a.suspect = false
		signal(a.changed)
	}
}
