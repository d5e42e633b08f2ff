package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A Contest is a name for an output that several requests of a round were
// given.
type Contest struct {
	Key   string
	Cases []*Case // that were sent; all of them are over
	Seen  []Seen  // what was there, one after another, each with its content
}

// Judge says what is wrong with what the requests made of their name. Whatever
// was there at any time is the whole output of one that succeeded. In the end it
// is of one that still ran when the others were asked for, or that was the last.
func (n Contest) Judge(h History) (broken []Broken) {
	if len(n.Cases) == 0 {
		return nil
	}
	about := &verdict{c: n.Cases[0]}
	for _, o := range n.Seen {
		c := n.holder(o)
		if c == nil {
			about.breaks(2, "the object %s says that it is of invocation %q, which was not given that name", o.Key, o.Mark)
			continue
		}
		v := &verdict{c: c}
		if c.Status.State != "Completed" {
			v.breaks(2, "it is %s, and it was seen as the object %s", c.Status.State, o.Key)
		} else {
			c.judgeObject(v, o)
		}
		c.judgeLate(v, h, o)
		broken = append(broken, v.broken...)
	}
	n.judgeEnd(about)
	return append(broken, about.broken...)
}

// judgeEnd judges what is there in the end.
func (n Contest) judgeEnd(v *verdict) {
	last := n.last()
	if last == nil {
		return
	}
	if len(n.Seen) == 0 {
		v.breaks(1, "requests with one name have succeeded, and there is no object %s", n.Key)
		return
	}
	end := n.Seen[len(n.Seen)-1]
	if end.Changed != "" {
		v.breaks(3, "the object %s was seen, and then %s", n.Key, end.Changed)
	}
	if c := n.holder(end); c != nil && last.Sent.After(c.Over) {
		v.breaks(3, "the object %s is of request %s in the end, which was over %v before request %s was sent, which succeeded, too",
			n.Key, c.Request.ID, last.Sent.Sub(c.Over), last.Request.ID)
	}
}

// holder is whose output an object is; nil where it is nobody's.
func (n Contest) holder(o Seen) *Case {
	for _, c := range n.Cases {
		if c.Status != nil && c.Status.InvocationID == o.Mark {
			return c
		}
	}
	return nil
}

// last is the request that was sent last among those that succeeded; nil where
// none did.
func (n Contest) last() (last *Case) {
	for _, c := range n.Cases {
		if c.Status != nil && c.Status.State == "Completed" && (last == nil || c.Sent.After(last.Sent)) {
			last = c
		}
	}
	return last
}

// drawContest draws requests that are all given one name for their output.
func drawContest(r *rand.Rand, id func(i int) string, name string) []Request {
	var out []Request
	for i := range between(r, 2, 4) {
		q := Request{
			ID: id(i), At: time.Duration(r.Int64N(int64(loadWindow))), Timeout: time.Minute, Input: Inline, Size: 20,
			Endpoint: choose(r, []weighted[string]{{2, "wide"}, {2, "narrow"}, {1, "quiet"}}),
			Name:     name, Contested: true,
		}
		q.Order.Deed = choose(r, []weighted[Deed]{{8, Echo}, {2, Refuse}, {1, DropMiddle}, {1, DropAfter}})
		q.Order.Delay = choose(r, []weighted[time.Duration]{{3, 0}, {2, millis(r, 1, 400)}})
		switch q.Order.Deed {
		case Echo:
			q.Order.Size = choose(r, []weighted[int]{{3, 0}, {2, between(r, 1_000, 100_000)}, {2, between(r, 1<<18, 1<<20)}, {1, 6 << 20}})
		case Refuse:
			q.Order.Status = 500
		}
		if r.IntN(12) == 0 {
			q.Cut = time.Duration(between(r, 200, 8000)) * time.Microsecond
		}
		out = append(out, q)
	}
	return out
}

// A contest is a Contest with what the run does with it.
type contest struct {
	Contest
	judged bool
}

// join gives a case its part in a contest, if its name is contested. The caller
// holds mu.
func (r *run) join(c *Case) {
	if !c.Request.Contested {
		return
	}
	key := outputKey(c.Request.Name)
	if r.contests[key] == nil {
		r.contests[key] = &contest{Contest: Contest{Key: key}}
	}
	n := r.contests[key]
	n.Cases = append(n.Cases, c)
}

func outputKey(name string) string { return "out/" + name }

// follow reads the contested objects that are others than when they were read
// last. It reports whether the server let it.
func (r *run) follow(ctx context.Context, found map[string]Seen) bool {
	for key, s := range found {
		fresh := false
		r.edit(func() {
			if n := r.contests[key]; n != nil {
				last := len(n.Seen) - 1
				fresh = last < 0 || n.Seen[last].ETag != s.ETag
			}
		})
		if !fresh {
			continue
		}
		s.First = time.Now()
		if err := r.read(ctx, &s); err != nil {
			return false
		}
		r.edit(func() {
			n := r.contests[key]
			if n == nil {
				return // it was let go meanwhile
			}
			if n.judged {
				r.record(Broken{Promise: 3, What: fmt.Sprintf("the object %s has changed after all that named it were over: it is of invocation %q", key, s.Mark)})
			}
			n.Seen = append(n.Seen, s)
		})
	}
	return true
}

// judgeContests judges the contests whose requests are all judged, and returns
// how many of these could not be.
func (r *run) judgeContests(ctx context.Context) int {
	var over []*contest
	r.edit(func() {
		for _, n := range r.contests {
			if !n.judged && !slices.ContainsFunc(n.Cases, func(c *Case) bool { return r.judged[c.Request.ID].IsZero() }) {
				over = append(over, n)
			}
		}
	})
	if len(over) == 0 {
		return 0
	}
	if !r.look(ctx) {
		return len(over)
	}
	r.edit(func() {
		for _, n := range over {
			if o := r.objects[n.Key]; o != nil && len(n.Seen) > 0 {
				n.Seen[len(n.Seen)-1].Changed = o.Changed
			}
			for _, b := range n.Judge(r.history) {
				r.record(b)
			}
			n.judged = true
			r.counts.contests++
			for i := range n.Seen {
				n.Seen[i].Body = nil
			}
			for _, c := range n.Cases {
				r.judged[c.Request.ID] = time.Now() // all stay under observation together
			}
		}
	})
	return 0
}

// mayLeave reports whether a case is needed no more to judge others. The caller
// holds mu.
func (r *run) mayLeave(c *Case) bool {
	n := r.contests[outputKey(c.Request.Name)]
	return n == nil || n.judged
}

// leave takes a case that is let go out of its contest, and returns the key of
// the object when it was the last one. The caller holds mu.
func (r *run) leave(c *Case) []string {
	key := outputKey(c.Request.Name)
	n := r.contests[key]
	if n == nil {
		return nil
	}
	n.Cases = slices.DeleteFunc(n.Cases, func(d *Case) bool { return d == c })
	if len(n.Cases) > 0 {
		return nil
	}
	delete(r.contests, key)
	if o := r.objects[key]; o != nil && o.Changed != "" {
		r.record(Broken{Promise: 3, Round: c.Round, What: fmt.Sprintf("the object %s was seen, and then %s", key, o.Changed)})
	}
	return []string{key}
}
