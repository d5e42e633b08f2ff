package bothways

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// A way is how a call fails.
type way int

const (
	answered   way = iota // it does not fail
	lost                  // it is not done, and the caller hears of an error
	unanswered            // it is done, and the caller hears of an error
	hung                  // it is not done, and the caller waits for as long as it can
	late                  // the caller hears of an error, and then it is done
)

var wayNames = map[way]string{lost: "lost", unanswered: "done but unanswered", hung: "not answered for long", late: "done later"}

// lateBy is how much later a late call is done: after some tries of the caller.
// hangLimit ends a call that would be waited for without end.
const (
	lateBy    = 7 * time.Second
	hangLimit = 2 * time.Minute
)

// faults make the calls of one step fail in one way.
type faults struct {
	step string
	way  way
	err  error
	// lasting is for how long after the first one calls fail; zero: once for
	// each thing that the call is about.
	lasting time.Duration

	mu    sync.Mutex // guards all below
	since time.Time
	seen  map[string]bool
	hits  int

	later sync.WaitGroup
}

// largest is the largest answer that the step can tell from smaller ones: two
// parts, where it has to do with parts and is not done hundreds of times.
func (f *faults) largest() int {
	if f.lasting > 0 {
		return 300 << 10
	}
	for _, name := range []string{"Upload", "Settle", "Publishing"} {
		if strings.Contains(f.step, name) {
			return 8<<20 + 1<<10
		}
	}
	return 300 << 10
}

// next says how a call of step about a thing goes.
func (f *faults) next(step, about string) way {
	if step != f.step {
		return answered
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() {
		f.since = time.Now()
	}
	if f.lasting > 0 && time.Since(f.since) >= f.lasting || f.lasting == 0 && f.seen[about] {
		return answered
	}
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	f.seen[about] = true
	f.hits++
	return f.way
}

// left is for how long calls may still fail.
func (f *faults) left() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() {
		return 0
	}
	return f.lasting - time.Since(f.since)
}

func (f *faults) reached() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// do makes a call that may fail.
func do[T any](ctx context.Context, f *faults, step, about string, call func(context.Context) (T, error)) (T, error) {
	var none T
	switch f.next(step, about) {
	case lost:
		return none, f.err
	case unanswered:
		drop(call(ctx))
		return none, f.err
	case hung:
		select {
		case <-ctx.Done():
			return none, &deferd.Error{Code: deferd.Unavailable, Msg: "RequestTimeout", Err: ctx.Err()}
		case <-time.After(hangLimit):
			return none, f.err
		}
	case late:
		ctx := context.WithoutCancel(ctx)
		f.later.Go(func() {
			time.Sleep(lateBy)
			drop(call(ctx))
		})
		return none, f.err
	}
	return call(ctx)
}

// drop closes what nobody takes.
func drop[T any](v T, err error) {
	if o, ok := any(v).(*deferd.Object); ok && err == nil {
		o.Body.Close()
	}
}

// try is do for calls that return nothing but an error.
func try(ctx context.Context, f *faults, step, about string, call func(context.Context) error) error {
	_, err := do(ctx, f, step, about, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}
