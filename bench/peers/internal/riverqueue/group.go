package riverqueue

import (
	"context"
	"runtime"
	"sync"

	"github.com/deferd/deferd/bench/peers/internal/peer"
)

// maxGroup is how many invocations share a transaction at most.
const maxGroup = 256

// A grouper lets concurrent accepts share a transaction. It is not River's.
type grouper struct {
	waiting chan waiting
	insert  func(context.Context, []peer.Invocation) error
	wg      sync.WaitGroup
}

// A waiting accept.
type waiting struct {
	inv  peer.Invocation
	done chan<- error // with room for one
}

func startGrouper(committers int, insert func(context.Context, []peer.Invocation) error) *grouper {
	g := &grouper{waiting: make(chan waiting), insert: insert}
	for range committers {
		g.wg.Go(g.commit)
	}
	return g
}

// add returns when the invocation is durable.
func (g *grouper) add(ctx context.Context, inv peer.Invocation) error {
	done := make(chan error, 1)
	select {
	case g.waiting <- waiting{inv, done}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return <-done
}

// commit inserts groups until the grouper stops: whatever waits, at once.
func (g *grouper) commit() {
	for first := range g.waiting {
		group := []waiting{first}
		runtime.Gosched() // whoever was answered just now may have more
	fill:
		for len(group) < maxGroup {
			select {
			case w, open := <-g.waiting:
				if !open {
					break fill
				}
				group = append(group, w)
			default:
				break fill
			}
		}
		invs := make([]peer.Invocation, len(group))
		for i, w := range group {
			invs[i] = w.inv
		}
		err := g.insert(context.Background(), invs)
		for _, w := range group {
			w.done <- err
		}
	}
}

// stop waits until what waits is inserted. Nobody may add any more.
func (g *grouper) stop() {
	close(g.waiting)
	g.wg.Wait()
}
