package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	pingLimit     = 2 * time.Second // SageMaker's
	firstPing     = 250 * time.Millisecond
	startupPing   = 2 * time.Second  // the longest pause between pings while the instance starts
	pingInterval  = 10 * time.Second // while it is idle
	pingFailures  = 3                // in a row that make an idle instance unhealthy
	maxPingAnswer = 64 << 10
)

// awaitReady pings until the instance is healthy, and reports false if it does
// not become so, or serving ends before.
func (a *Agent) awaitReady() bool {
	limit := time.AfterFunc(a.config.StartupTimeout, func() { a.end(ErrNeverReady) })
	defer limit.Stop()
	for pause := firstPing; ; pause = min(2*pause, startupPing) {
		err := a.ping(a.serving)
		if a.serving.Err() != nil {
			return false
		}
		if err == nil {
			break
		}
		a.log.DebugContext(a.serving, "not ready", "err", err)
		if !sleep(a.serving, pause) {
			return false
		}
	}
	if a.config.Ready != nil {
		a.config.Ready()
	}
	return true
}

// keepHealthy pings the instance while it is idle, and while it is suspect,
// until serving ends. Only pings that failed while nothing ran are held against
// it: a model that computes need not answer.
func (a *Agent) keepHealthy() {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	var again <-chan time.Time // the next ping of a suspect between the ticks
	for failures := 0; failures < pingFailures; {
		counts := false
		select {
		case <-tick.C:
			counts = true
		case <-a.doubted:
		case <-again:
		case <-a.serving.Done():
			return
		}
		idle, suspect, before := a.activity()
		if !idle && !suspect {
			failures = 0
			continue
		}
		err := a.ping(a.serving)
		stayed, _, after := a.activity()
		again = nil
		switch {
		case a.serving.Err() != nil:
			return
		case err == nil:
			failures = 0
			a.trust()
			continue
		case !idle || !stayed || before != after:
			failures = 0 // something ran meanwhile
		case counts:
			failures++
			a.log.WarnContext(a.serving, "ping failed", "failures", failures, "err", err)
		}
		if suspect {
			again = time.After(startupPing)
		}
	}
	a.end(ErrUnhealthy)
}

// activity tells whether the instance is idle and suspect, and how many
// attempts it has begun so far.
func (a *Agent) activity() (idle, suspect bool, started int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken == 0, a.suspect, a.started
}

// ping asks the container for its health.
func (a *Agent) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.config.Addr+"/ping", nil)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	defer resp.Body.Close()
	// Read so that the container sees its answer taken; what it holds is nothing to us.
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxPingAnswer))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping: status %d", resp.StatusCode)
	}
	return nil
}
