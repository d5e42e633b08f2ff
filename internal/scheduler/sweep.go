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
		if err != nil {
			if ctx.Err() == nil {
				s.log.ErrorContext(ctx, "what is due could not be moved; trying again", "err", err)
			}
			next = s.c.Store.Now().Add(retryWait)
		}
		s.awaitDue(ctx, next, early)
	}
}

// clockLook is how often the clock is looked at while something is waited for.
// Timers stand still while the machine sleeps, and the store's clock does not:
// a longer time leaves what has become due meanwhile lying for longer.
const clockLook = time.Minute

// awaitDue waits until the store's clock has come to next, which never comes
// where it is zero, or until something is due early, or ctx ends.
func (s *Scheduler) awaitDue(ctx context.Context, next time.Time, early <-chan struct{}) {
	for {
		var due <-chan time.Time
		if !next.IsZero() {
			wait := next.Sub(s.c.Store.Now())
			if wait <= 0 {
				return
			}
			due = time.After(min(wait, clockLook))
		}
		select {
		case <-due:
		case <-early:
			return
		case <-ctx.Done():
			return
		}
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
