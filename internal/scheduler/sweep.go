package scheduler

import (
	"context"
	"time"
)

// sweepBatch bounds how long a sweep holds the store.
const sweepBatch = 200

// sweep moves what is due, when it is due, until ctx ends.
func (s *Scheduler) sweep(ctx context.Context) {
	early := make(chan struct{}, 1) // something is due before the time waited for
	s.c.Store.OnDue(func() {
		select {
		case early <- struct{}{}:
		default:
		}
	})
	for ctx.Err() == nil {
		next, err := s.c.Store.Sweep(ctx, sweepBatch)
		wait := next.Sub(s.c.Store.Now())
		switch {
		case err != nil:
			if ctx.Err() == nil {
				s.log.ErrorContext(ctx, "what is due could not be moved; trying again", "err", err)
			}
			wait = retryWait
		case next.IsZero():
			wait = 1<<63 - 1
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-early:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

const (
	pruneInterval = time.Hour
	pruneRetry    = time.Minute // after an error
	pruneBatch    = 500
)

// prune deletes what has been over for longer than the history, until ctx ends.
func (s *Scheduler) prune(ctx context.Context) {
	for ctx.Err() == nil {
		wait := pruneInterval
		n, err := s.c.Store.Prune(ctx, s.c.Store.Now().Add(-s.c.History), pruneBatch)
		switch {
		case err != nil:
			wait = pruneRetry
			if ctx.Err() == nil {
				s.log.WarnContext(ctx, "old invocations could not be deleted; trying again", "err", err)
			}
		case n == pruneBatch:
			continue
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
