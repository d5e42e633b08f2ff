package deferd_test

import (
	"testing"

	"github.com/deferd/deferd"
)

func TestStates(t *testing.T) {
	for s := deferd.Queued; s <= deferd.Cancelled; s++ {
		if got, err := deferd.ParseState(s.String()); err != nil || got != s {
			t.Errorf("ParseState(%q) = %v, %v, want %v", s.String(), got, err, s)
		}
		if want := s == deferd.Completed || s == deferd.Failed || s == deferd.Expired || s == deferd.Cancelled; s.Terminal() != want {
			t.Errorf("%v is terminal: %v, want %v", s, s.Terminal(), want)
		}
	}
	for _, name := range []string{"", "queued", "Done"} {
		if _, err := deferd.ParseState(name); err == nil || deferd.CodeOf(err) != deferd.Invalid {
			t.Errorf("ParseState(%q) gives error %v, want an invalid one", name, err)
		}
	}
	if got, want := deferd.State(7).String(), "State(7)"; got != want {
		t.Errorf("a state that is none is written %q, want %q", got, want)
	}
}

func TestDrift(t *testing.T) {
	balanced := deferd.Counts{Accepted: 36, Queued: 1, Running: 2, Publishing: 3, Completed: 4, Failed: 5, Expired: 6, Cancelled: 7, Pruned: 8}
	if d := balanced.Drift(); d != 0 {
		t.Errorf("balanced counts drift by %d", d)
	}
	for name, change := range map[string]func(*deferd.Counts){
		"queued":     func(c *deferd.Counts) { c.Queued++ },
		"running":    func(c *deferd.Counts) { c.Running++ },
		"publishing": func(c *deferd.Counts) { c.Publishing++ },
		"completed":  func(c *deferd.Counts) { c.Completed++ },
		"failed":     func(c *deferd.Counts) { c.Failed++ },
		"expired":    func(c *deferd.Counts) { c.Expired++ },
		"cancelled":  func(c *deferd.Counts) { c.Cancelled++ },
		"pruned":     func(c *deferd.Counts) { c.Pruned++ },
	} {
		c := balanced
		change(&c)
		if d := c.Drift(); d != -1 {
			t.Errorf("one %s too many is a drift of %d, want -1", name, d)
		}
	}
	c := balanced
	c.Accepted++
	if d := c.Drift(); d != 1 {
		t.Errorf("one that is lost is a drift of %d, want 1", d)
	}
}

func TestCountOf(t *testing.T) {
	var c deferd.Counts
	for s := deferd.Queued; s <= deferd.Cancelled; s++ {
		*c.Of(s) = int64(s) + 1
	}
	want := deferd.Counts{Queued: 1, Running: 2, Publishing: 3, Completed: 4, Failed: 5, Expired: 6, Cancelled: 7}
	if c != want {
		t.Errorf("counts are %+v, want %+v", c, want)
	}
}

func TestObject(t *testing.T) {
	inv := deferd.Invocation{NewInvocation: deferd.NewInvocation{
		Output: deferd.Location{Bucket: "o"}, Failure: deferd.Location{Bucket: "f"},
	}}
	for end, want := range map[deferd.State]string{
		deferd.Completed: "o", deferd.Failed: "f", deferd.Expired: "f", deferd.Cancelled: "f",
	} {
		if got := inv.Object(end).Bucket; got != want {
			t.Errorf("%v is to be seen in %q, want %q", end, got, want)
		}
	}
}
