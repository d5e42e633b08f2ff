package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestCountAwake(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		name   string
		frozen map[int]time.Duration // how much longer a step took
		last   int                   // the step after which there is no more; 0: none
		steps  int
		want   bool
	}{
		{"nothing happens", nil, 0, 20, true},
		{"frozen at the first step", map[int]time.Duration{1: 3 * second}, 0, 21, true},
		{"frozen at the last step", map[int]time.Duration{20: 3 * second}, 0, 21, true},
		{"frozen twice", map[int]time.Duration{5: second, 9: time.Hour}, 0, 22, true},
		{"a busy machine", map[int]time.Duration{3: 200 * time.Millisecond, 4: 300 * time.Millisecond}, 0, 20, true},
		{"it shows", nil, 7, 7, false},
		{"it shows after a freeze", map[int]time.Duration{20: 3 * second}, 21, 21, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			steps := 0
			got := countAwake(2*second, func(d time.Duration) (time.Duration, bool) {
				steps++
				return d + test.frozen[steps], steps != test.last
			})
			if got != test.want || steps != test.steps {
				t.Errorf("%v after %d steps, want %v after %d", got, steps, test.want, test.steps)
			}
		})
	}
}

func TestAwake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !awake(t.Context(), goneWait, nil) || time.Since(began) != goneWait {
			t.Errorf("it waited for %v, want %v", time.Since(began), goneWait)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		began = time.Now()
		if awake(ctx, goneWait, nil) || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("it waited for %v after its context's end", time.Since(began))
		}
		done := make(chan struct{})
		close(done)
		if awake(t.Context(), goneWait, done) {
			t.Error("it waited for what had happened")
		}
	})
}
