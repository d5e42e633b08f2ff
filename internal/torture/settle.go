package torture

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// settle judges what has ended, until all that mine selects is judged or
// patience is over. What is left is judged in a later round.
func (r *run) settle(ctx context.Context, patience time.Duration, mine func(*Case) bool) {
	for giveUp := time.Now().Add(patience); ; {
		open := r.judgeEnded(ctx, mine)
		if open == 0 || time.Now().After(giveUp) || len(r.brokenSoFar()) > 0 {
			return
		}
		if !sleepUntil(ctx, time.Now().Add(lookInterval)) {
			return
		}
	}
}

// judgeEnded judges the cases that have ended, and returns how many of mine
// have not.
func (r *run) judgeEnded(ctx context.Context, mine func(*Case) bool) (open int) {
	r.look(ctx)
	r.readJournal()
	r.letGo(ctx)
	for _, c := range r.waiting() {
		ended, err := r.isOver(ctx, c)
		switch {
		case err != nil && ctx.Err() != nil:
			return 0
		case ended:
			r.judge(c)
			continue
		case !c.Sent.IsZero() && time.Since(c.Sent) > caseLimit:
			r.lost(c, err)
			continue
		}
		if mine(c) {
			open++
		}
	}
	return open + r.judgeContests(ctx)
}

// waiting lists the cases that are not judged, the oldest first.
func (r *run) waiting() (out []*Case) {
	r.edit(func() {
		for id, c := range r.cases {
			if _, done := r.judged[id]; !done {
				out = append(out, c)
			}
		}
	})
	slices.SortFunc(out, func(a, b *Case) int {
		if a.Round != b.Round {
			return a.Round - b.Round
		}
		return strings.Compare(a.Request.ID, b.Request.ID)
	})
	return out
}

// lost records a case that did not come to its end.
func (r *run) lost(c *Case, err error) {
	r.edit(func() {
		state := "not known to the server"
		if c.Status != nil {
			state = fmt.Sprintf("%s, %d attempts counted", c.Status.State, c.Status.Attempts)
		}
		b := Broken{Promise: 1, Round: c.Round, Request: c.Request.ID,
			What: fmt.Sprintf("there is no outcome after %v; it is %s; it came to a model %d times; last error: %v", caseLimit, state, len(c.Attempts), err)}
		if len(c.Accepted) > 0 {
			b.Invocation = c.Accepted[0].Invocation
			r.counts.lost++
		}
		r.record(b)
		r.judged[c.Request.ID] = time.Now()
	})
}

// isOver finds out whether a case has ended, and completes it with what is to
// be judged.
func (r *run) isOver(ctx context.Context, c *Case) (bool, error) {
	var sent, answered, worth bool
	r.edit(func() {
		r.attachObjects(c)
		sent = !c.Sent.IsZero()
		answered = len(c.Accepted) > 0
		// Asking for each status again and again is no use before an outcome shows.
		worth = len(c.Objects) > 0 || c.Deployed.NoFailure || c.Request.Contested || !answered || time.Since(c.Sent) > 20*time.Second
	})
	if !sent || !worth {
		return false, nil
	}
	s, err := r.out.status(ctx, c.Request.Endpoint, c.Request.ID)
	if err != nil {
		return false, err
	}
	if s == nil && r.isDeleted(c) {
		return r.isOverWithout(ctx, c)
	}
	r.edit(func() {
		c.Status = s
		if s != nil && !answered && c.Refused == 0 {
			c.Accepted = append(c.Accepted, s.accepted()) // what no answer said
		}
		c.Over = time.Now()
	})
	switch {
	case s == nil && answered:
		return true, nil // which is wrong
	case s == nil:
		// Nobody asks for it any more, so it will not come to be.
		return c.Refused != 0 || time.Since(c.Sent) > persistence+callLimit, nil
	case !terminal(s.State):
		return false, nil
	}
	// The end was there before this look, so its object must be seen by now.
	if !r.look(ctx) {
		return false, nil
	}
	r.readJournal()
	return r.readObjects(ctx, c)
}

// readObjects completes the objects of a case with their content.
func (r *run) readObjects(ctx context.Context, c *Case) (bool, error) {
	var objects []Seen
	r.edit(func() {
		r.attachObjects(c)
		objects = slices.Clone(c.Objects)
	})
	for i := range objects {
		if err := r.read(ctx, &objects[i]); err != nil {
			return false, err
		}
	}
	r.edit(func() { c.Objects = objects })
	return true, nil
}

func (r *run) isDeleted(c *Case) (deleted bool) {
	r.edit(func() { deleted = c.Refused == 0 && r.history.deleted(c) })
	return deleted
}

// isOverWithout is isOver for a case whose endpoint does not exist any more:
// then the objects alone tell, once some time has passed in which another one
// would have shown.
func (r *run) isOverWithout(ctx context.Context, c *Case) (bool, error) {
	var answered, shown bool
	r.edit(func() {
		answered = len(c.Accepted) > 0
		shown = len(c.Objects) > 0 && time.Since(c.Objects[0].First) > time.Second
	})
	if !answered { // nobody knows whether it was ever accepted
		over := time.Since(c.Sent) > persistence+callLimit
		if over {
			r.edit(func() {
				r.judged[c.Request.ID] = time.Now()
				r.strays++
			})
		}
		return false, nil
	}
	if !shown {
		return false, nil
	}
	r.readJournal()
	if ok, err := r.readObjects(ctx, c); !ok {
		return false, err
	}
	r.edit(func() { c.Status, c.Over = c.infer(), time.Now() })
	return true, nil
}

func terminal(state string) bool {
	return state == "Completed" || state == "Failed" || state == "Expired" || state == "Cancelled"
}

// attachObjects gives a case the objects at its locations. The caller holds mu.
func (r *run) attachObjects(c *Case) {
	c.Objects = nil
	for _, a := range c.Accepted {
		for _, key := range []string{a.Output, a.Failure} {
			if c.Request.Contested && key == a.Output {
				continue // whose it is the contest knows
			}
			if o := r.objects[key]; key != "" && o != nil && o.taken.IsZero() {
				c.Objects = append(c.Objects, o.Seen)
			}
		}
	}
}

// judge judges a case that has ended, and counts it.
func (r *run) judge(c *Case) {
	r.edit(func() {
		for _, b := range c.Judge(r.history) {
			r.record(b)
			if b.Promise == 2 {
				r.counts.doubled++
			}
		}
		r.judged[c.Request.ID] = time.Now()
		for i := range c.Objects {
			c.Objects[i].Body = nil // it may be large
		}
		if c.Status == nil {
			r.counts.refused++
			return
		}
		r.counts.accepted++
		r.counts.outcomes[c.Status.Reason]++
		r.accepted[c.Request.Endpoint]++
		r.ended[c.Request.Endpoint+" "+c.Status.State]++
		r.ends[c.Status.InvocationID] = c.Status.State
	})
}

// letGo takes a last look at cases that were judged some time ago, takes their
// objects away and forgets them.
func (r *run) letGo(ctx context.Context) {
	var keys []string
	r.edit(func() {
		for id, at := range maps.All(r.judged) {
			c := r.cases[id]
			if c == nil || time.Since(at) < afterLife || !r.mayLeave(c) {
				continue
			}
			v := &verdict{c: c}
			for i, o := range c.Objects {
				if now := r.objects[o.Key]; now != nil {
					c.Objects[i].Changed = now.Changed
				}
			}
			c.judgeAttempts(v, r.history)
			for _, o := range c.Objects {
				if o.Changed != "" {
					v.breaks(3, "the object %s was seen, and then %s", o.Key, o.Changed)
				}
				keys = append(keys, o.Key)
			}
			for _, b := range v.broken {
				r.record(b)
			}
			delete(r.cases, id)
			delete(r.judged, id)
			if c.Request.Input == Object {
				keys = append(keys, inputKey(id))
			}
			keys = append(keys, r.leave(c)...)
			r.removeMarks(id)
		}
		r.forgetHistory()
		for key, o := range r.objects {
			if !o.taken.IsZero() && o.gone.IsZero() {
				keys = append(keys, key) // the server did not let us
			}
		}
	})
	for _, key := range keys {
		r.take(ctx, key)
	}
}

// forgetHistory drops what happened before any case that is left. The caller
// holds mu.
func (r *run) forgetHistory() {
	oldest := time.Now().Add(-2 * caseLimit)
	for _, c := range r.cases {
		if !c.Sent.IsZero() && c.Sent.Before(oldest) {
			oldest = c.Sent
		}
	}
	oldest = oldest.Add(-time.Minute)
	r.history.Moments = slices.DeleteFunc(r.history.Moments, func(m Moment) bool { return m.Until.Before(oldest) })
	r.history.Weather = slices.DeleteFunc(r.history.Weather, func(w Weather) bool { return w.Until.Before(oldest) })
}
