package agent

import (
	"context"
	"time"
)

const (
	// awakeStep is the pace of a wait that counts only the time in which this
	// process ran.
	awakeStep = 100 * time.Millisecond

	// awakeLate is how late a step may be and still count. Less, and a busy
	// machine makes waits longer; more, and a short freeze is not noticed.
	awakeLate = 400 * time.Millisecond
)

// awake waits until this process has been awake for d, and reports false if
// done was closed or ctx ended before. After a freeze (SIGSTOP, a machine that
// was paused) all timers have run out, and what happened meanwhile has not been
// seen yet: a wait for something to show must not be over then.
func awake(ctx context.Context, d time.Duration, done <-chan struct{}) bool {
	return countAwake(d, func(step time.Duration) (time.Duration, bool) {
		began := time.Now()
		t := time.NewTimer(step)
		defer t.Stop()
		select {
		case <-t.C:
			return time.Since(began), true
		case <-done:
		case <-ctx.Done():
		}
		return 0, false
	})
}

// countAwake makes steps, of which those that took too long do not count, until
// they have made up for d or one of them is the last.
func countAwake(d time.Duration, step func(time.Duration) (took time.Duration, on bool)) bool {
	for d > 0 {
		n := min(d, awakeStep)
		took, on := step(n)
		if !on {
			return false
		}
		if took <= n+awakeLate {
			d -= n
		}
	}
	return true
}
