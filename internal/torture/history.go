package torture

import (
	"slices"
	"time"
)

// crash is the Kind of a Moment that a model brought about itself, and with it
// the end of its other attempts.
const crash Kind = "crash"

// A Moment is a fault that has been brought about.
type Moment struct {
	Kind  Kind
	PID   int           // of the model, where it hit one
	Of    string        // the model's endpoint
	By    time.Duration // how far the store's clock went on with it
	From  time.Time     // just before
	Until time.Time     // of a freeze: its end; of a server's end: the restart
}

// Weather is a time in which the stores failed now and then.
type Weather struct{ From, Until time.Time }

// A History is everything that was done to the world.
type History struct {
	Moments []Moment
	Weather []Weather
}

// again reports whether an attempt had to be made again by the time of the next
// one: it had asked for that, its process has ended, or its server. A model may
// see what was sent to it when its server has ended already, just before it ends
// itself; so the server's end counts from the birth of the process on.
func (h History) again(a Attempt, next time.Time) bool {
	return a.How == Asked || a.How == Crashed || h.killed(a) || h.serverEnds(a.Born, next) > 0 || h.stormy(a.Start, next) && a.How != Answered
}

// thawTime is how long after its thaw a model may take to see what was sent to
// it while it was frozen.
const thawTime = time.Second

// sent is when the request of an attempt may have been sent: a model that was
// frozen saw it later.
func (h History) sent(a Attempt) time.Time {
	for _, m := range h.Moments {
		if m.Kind == FreezeModel && m.PID == a.PID && m.From.Before(a.Start) && a.Start.Before(m.Until.Add(thawTime)) {
			return m.From
		}
	}
	return a.Start
}

// killed reports whether the process of an attempt was killed under it.
func (h History) killed(a Attempt) bool {
	return slices.ContainsFunc(h.Moments, func(m Moment) bool {
		if m.PID != a.PID || m.Kind != KillModel && m.Kind != crash || m.Until.Before(a.Start) {
			return false
		}
		end := a.End
		if a.How == Dropped || a.Early {
			// For so long the process's end may still be to blame, while the
			// server is awake.
			end = end.Add(goneWait + h.frozen(FreezeServer, 0, a.End, m.From))
		}
		return a.End.IsZero() || !end.Before(m.From)
	})
}

// deaths counts the instances of an endpoint that were killed, or killed
// themselves, in a time.
func (h History) deaths(of string, from, until time.Time) int {
	n := 0
	for _, m := range h.Moments {
		if (m.Kind == KillModel || m.Kind == crash) && m.Of == of && !m.Until.Before(from) && !m.From.After(until) {
			n++
		}
	}
	return n
}

// serverEnds counts the ends of the server in a time.
func (h History) serverEnds(from, until time.Time) int {
	n := 0
	for _, m := range h.Moments {
		if m.Kind.endsServer() && m.PID == 0 && !m.Until.Before(from) && !m.From.After(until) {
			n++
		}
	}
	return n
}

// endsServer reports whether a fault ends the server's process.
func (k Kind) endsServer() bool {
	switch k {
	case KillServer, StopServer, KillBoth, KillStarting, KillStopping, endedItself:
		return true
	}
	return false
}

// frozen is for how long a model, or the server, was frozen in a time.
func (h History) frozen(kind Kind, pid int, from, until time.Time) time.Duration {
	sum := time.Duration(0)
	for _, m := range h.Moments {
		if m.Kind != kind || m.PID != pid {
			continue
		}
		begin, end := m.From, m.Until
		if begin.Before(from) {
			begin = from
		}
		if end.After(until) {
			end = until
		}
		sum += max(0, end.Sub(begin))
	}
	return sum
}

// anyFrozen reports whether a model of an endpoint was frozen at some time in
// between.
func (h History) anyFrozen(of string, from, until time.Time) bool {
	return slices.ContainsFunc(h.Moments, func(m Moment) bool {
		return m.Kind == FreezeModel && m.Of == of && !m.Until.Before(from) && !m.From.After(until)
	})
}

// stormy reports whether the stores failed at some time in between.
func (h History) stormy(from, until time.Time) bool {
	return slices.ContainsFunc(h.Weather, func(w Weather) bool { return !w.Until.Before(from) && !w.From.After(until) })
}

// deleted reports whether the endpoint of a case was deleted in its time.
func (h History) deleted(c *Case) bool {
	return c.Deployed.Doomed && slices.ContainsFunc(h.Moments, func(m Moment) bool {
		return m.Kind == Recreate && !m.Until.Before(c.Sent)
	})
}
