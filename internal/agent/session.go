package agent

import (
	"context"
	"slices"
	"time"

	"github.com/deferd/deferd"
)

// open begins a session and reports whether there is one: not when serving has
// ended before.
func (a *Agent) open() bool {
	var id deferd.SessionID
	err := a.insist(a.serving, "open session", callLimit, func(ctx context.Context) (err error) {
		id, err = a.config.Work.Open(ctx, a.config.Session)
		return err
	})
	if err != nil {
		if deferd.CodeOf(err) == deferd.Lost {
			a.end(errSuperseded)
		}
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.confirmed = id, 0
	return true
}

// close ends the session, unless it is another agent's affair by now.
func (a *Agent) close(ctx context.Context) {
	if a.superseded() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	id := a.snapshot().Session
	err := a.insist(ctx, "close session", callLimit, func(ctx context.Context) error { return a.config.Work.Close(ctx, id) })
	if err != nil && deferd.CodeOf(err) != deferd.Lost {
		a.log.WarnContext(ctx, "session not closed", "err", err)
	}
}

func (a *Agent) superseded() bool {
	return context.Cause(a.serving) == errSuperseded || context.Cause(a.abort) == errSuperseded
}

// keepSession extends the session until quit ends.
func (a *Agent) keepSession(quit context.Context) {
	tick := time.NewTicker(deferd.ExtendInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.extend(quit)
		case <-quit.Done():
			return
		}
	}
}

// extend tells the server what is held and does what the server answers.
// Without an answer everything goes on as it is.
func (a *Agent) extend(ctx context.Context) {
	select {
	case a.extending <- struct{}{}:
		defer func() { <-a.extending }()
	case <-ctx.Done():
		return
	}
	var x deferd.Extension
	err := once(ctx, callLimit, func(ctx context.Context) (err error) {
		x, err = a.config.Work.Extend(ctx, a.snapshot())
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			a.log.InfoContext(ctx, "session not extended", "err", err)
		}
		return
	}
	a.lose(x.Lost)
	a.obey(x.Order)
}

// snapshot is what the agent holds. The number of the last claim and the leases
// are of one moment: a lease that is confirmed and not named is released.
func (a *Agent) snapshot() deferd.ExtendRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := deferd.ExtendRequest{Session: a.session, Confirmed: a.confirmed}
	for id := range a.held {
		r.Held = append(r.Held, id)
	}
	slices.Sort(r.Held)
	return r
}

// lose ends the work on leases that are somebody else's now. Their slots stay
// taken until the container has ended the requests.
func (a *Agent) lose(ids []deferd.LeaseID) {
	for _, t := range a.running() {
		if slices.Contains(ids, t.ID) {
			t.decide(verdict{})
		}
	}
}

func (a *Agent) obey(o deferd.Order) {
	switch o {
	case deferd.OrderDrain:
		a.end(errDrained)
	case deferd.OrderStop:
		a.end(errStopped)
		a.stop(errStopped)
	case deferd.OrderSuperseded:
		a.end(errSuperseded)
		a.stop(errSuperseded)
	case deferd.OrderOpen:
		// The leases of a session that is not known are void.
		for _, t := range a.running() {
			t.decide(verdict{})
		}
		if a.serving.Err() == nil {
			a.open()
		}
	}
}
