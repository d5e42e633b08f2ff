package riverqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/deferd/deferd/bench/peers/internal/peer"
)

// TestGroup has accepts wait while the first is inserted: they share the next
// transaction, and each hears of its failure.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		release := make(chan struct{})
		var groups [][]peer.Invocation // by the one committer
		g := startGrouper(1, func(_ context.Context, invs []peer.Invocation) error {
			groups = append(groups, invs)
			if len(groups) == 1 {
				<-release
				return nil
			}
			return refused
		})
		errs := make([]error, 9)
		var wg sync.WaitGroup
		add := func(i int) {
			wg.Go(func() { errs[i] = g.add(t.Context(), peer.Invocation{ID: fmt.Sprint(i)}) })
		}
		add(0)
		synctest.Wait() // the first is being inserted
		for i := 1; i < len(errs); i++ {
			add(i)
		}
		synctest.Wait() // the others wait
		close(release)
		wg.Wait()
		g.stop()

		if len(groups) != 2 || len(groups[0]) != 1 || len(groups[1]) != len(errs)-1 {
			t.Errorf("groups are %v, want one of 1 and one of %d", groups, len(errs)-1)
		}
		for i, err := range errs {
			if got, want := errors.Is(err, refused), i > 0; got != want {
				t.Errorf("accept %d ended with %v, want refused %t", i, err, want)
			}
		}
	})
}
