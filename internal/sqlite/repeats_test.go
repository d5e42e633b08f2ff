package sqlite

import (
	"testing"
	"time"

	"github.com/deferd/deferd"
)

func token(n byte) [16]byte { return [16]byte{15: n} }

func TestRepeats(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	tests := []struct {
		name  string
		most  int
		adds  []time.Duration // the nth gets token and sequence number n, from 1
		undo  int
		look  time.Duration
		token byte
		want  int64
	}{
		{"what was never seen", 10, []time.Duration{0}, 0, 0, 2, 0},
		{"at once", 10, []time.Duration{0, 0}, 0, 0, 2, 2},
		{"at the end of the window", 10, []time.Duration{0}, 0, deferd.RepeatWindow, 1, 1},
		{"after the window", 10, []time.Duration{0}, 0, deferd.RepeatWindow + 1, 1, 0},
		{"the younger one stays", 10, []time.Duration{0, time.Minute}, 0, deferd.RepeatWindow + 1, 2, 2},
		{"the oldest makes room", 2, []time.Duration{0, 0, 0}, 0, 0, 1, 0},
		{"the others stay", 2, []time.Duration{0, 0, 0}, 0, 0, 2, 2},
		{"what was undone", 10, []time.Duration{0, 0, 0}, 2, 0, 2, 0},
		{"what was before it", 10, []time.Duration{0, 0, 0}, 2, 0, 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRepeats(test.most)
			for i, d := range test.adds {
				r.add(token(byte(i+1)), int64(i+1), at(d))
			}
			for range test.undo {
				r.undo()
			}
			if got := r.find(token(test.token), at(test.look)); got != test.want {
				t.Errorf("token %d is found as %d, want %d", test.token, got, test.want)
			}
		})
	}
}

// TestRepeatsUndone has a token added again after its first add was taken back:
// what is left of the first must not end the second early.
func TestRepeatsUndone(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := newRepeats(10)
	r.add(token(1), 1, start)
	r.undo()
	r.add(token(1), 1, start.Add(10*time.Minute))
	if got := r.find(token(1), start.Add(20*time.Minute)); got != 1 {
		t.Errorf("10 minutes after its accept the token is found as %d, want 1", got)
	}
}

// TestRepeatsMemory keeps a steady stream within its bound.
func TestRepeatsMemory(t *testing.T) {
	r := newRepeats(100)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 50_000 {
		r.find([16]byte{}, now)
		r.add([16]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}, int64(i), now)
	}
	if len(r.seqs) > 101 || len(r.order)-r.head > 101 || cap(r.order) > 8192 {
		t.Errorf("it keeps %d tokens, %d in order, room for %d", len(r.seqs), len(r.order)-r.head, cap(r.order))
	}
}

func TestRepeatsAfterReopening(t *testing.T) {
	b := newBench(t)
	early, late := newInvocation(), newInvocation()
	early.RetryToken, late.RetryToken = token(1), token(2)
	accept := func(n deferd.NewInvocation) (deferd.InvocationID, bool) {
		n.ID = newInvocation().ID
		inv, repeated, err := b.Accept(t.Context(), n)
		must(t, err)
		return inv.ID, repeated
	}
	accept(early)
	b.advance(deferd.RepeatWindow - time.Minute)
	accept(newInvocation())
	first, _ := accept(late)
	b.advance(2 * time.Minute)
	must(t, b.Close())
	b.open(t)
	if again, repeated := accept(late); !repeated || again != first {
		t.Errorf("2 minutes later it is %s (repeated: %v), want %s", again, repeated, first)
	}
	if _, repeated := accept(early); repeated {
		t.Error("after the window it is still taken for a repeat")
	}
}
