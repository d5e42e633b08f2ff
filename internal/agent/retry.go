package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/deferd/deferd"
)

const (
	// firstPause and longestPause bound the pause between two tries of a call
	// to the server. Shorter ones load a server that is in trouble; longer ones
	// leave finished work lying after it has recovered.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second

	// callLimit is how long one call to the server may go without an answer
	// before it is made again.
	callLimit = 30 * time.Second
)

// A backoff is a pause that grows from try to try. The zero value is ready.
type backoff struct{ last time.Duration }

// wait pauses, between half of the full pause and all of it, so that those who
// failed together do not come back together. It reports false if ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	b.last = min(max(2*b.last, firstPause), longestPause)
	return sleep(ctx, b.last/2+rand.N(b.last/2+1))
}

// reset makes the next pause the first one.
func (b *backoff) reset() { b.last = 0 }

// sleep waits for d and reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// insist makes a call until it is answered, by nil or by Lost. Anything else is
// asked again: the server cannot say, or something is wrong with it that
// somebody will repair, and what the call carries would be lost otherwise. Each
// try may take up to limit. It gives up only when ctx ends.
func (a *Agent) insist(ctx context.Context, what string, limit time.Duration, call func(context.Context) error) error {
	var pause backoff
	for first := true; ; first = false {
		err := once(ctx, limit, call)
		if err == nil || deferd.CodeOf(err) == deferd.Lost {
			return err
		}
		if first && ctx.Err() == nil {
			a.log.WarnContext(ctx, "a call to the server failed and is repeated", "call", what, "err", err)
		}
		if !pause.wait(ctx) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// once makes a call with a time limit.
func once(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}
