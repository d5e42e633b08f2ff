package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/outbox"
	"github.com/deferd/deferd/internal/telemetry"
)

// A noticeMaker says how invocations ended, to whom their configurations want
// it said.
type noticeMaker struct {
	store  deferd.Store
	region string

	mu      sync.RWMutex
	configs map[deferd.ConfigID]*deferd.AsyncConfig // guarded by mu; they never change
}

// maxNoticeConfigs bounds how many configurations are remembered. Beyond it, all
// are forgotten and read again.
const maxNoticeConfigs = 4096

// notice is what there is to say of an ending; nil for nothing, which costs
// nothing either.
func (m *noticeMaker) notice(ctx context.Context, p deferd.Publication, body func(context.Context) ([]byte, error)) (*deferd.Notification, error) {
	c, err := m.config(ctx, p.Invocation.Config)
	if err != nil {
		return nil, fmt.Errorf("find its configuration: %w", err)
	}
	if c == nil {
		return nil, nil
	}
	target, include := c.Notifies(p.Outcome.State)
	if target == "" {
		return nil, nil
	}
	e, err := m.store.EndpointByID(ctx, p.Invocation.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("find its endpoint: %w", err)
	}
	if include {
		if p.Outcome.Body, err = body(ctx); err != nil {
			return nil, fmt.Errorf("read its outcome: %w", err)
		}
	}
	n, _ := deferd.Ending{Region: m.region, Endpoint: e.Name, Invocation: p.Invocation, Outcome: p.Outcome, Time: m.store.Now()}.Notification(c)
	return &n, nil
}

func (m *noticeMaker) config(ctx context.Context, id deferd.ConfigID) (*deferd.AsyncConfig, error) {
	m.mu.RLock()
	c, known := m.configs[id]
	m.mu.RUnlock()
	if known {
		return c, nil
	}
	found, err := m.store.ConfigByID(ctx, id)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.configs == nil || len(m.configs) >= maxNoticeConfigs {
		m.configs = map[deferd.ConfigID]*deferd.AsyncConfig{}
	}
	m.configs[id] = found.Async
	return found.Async, nil
}

// buildOutbox has what is put into the outbox delivered.
func (srv *server) buildOutbox() {
	srv.outbox = outbox.New(outbox.Config{
		Outbox: srv.queue, Notifier: srv.notifier, Now: srv.store.Now, Logger: srv.log,
		GivenUp: func(n deferd.Notice) {
			if n.Endpoint != "" {
				srv.history.NotificationFailed(n.Endpoint, n.Variant)
			}
		},
	})
}

// addOutboxMetrics are those of notifications.
func (srv *server) addOutboxMetrics(s *telemetry.Source) {
	counts := func() deferd.OutboxCounts {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c, err := srv.store.OutboxCounts(ctx)
		if err != nil {
			srv.log.Warn("the outbox could not be read for the metrics", "err", err)
		}
		return c
	}
	s.Gauges["deferd_outbox_waiting"] = func() float64 { return float64(counts().Waiting) }
	s.Gauges["deferd_outbox_dead"] = func() float64 { return float64(counts().Dead) }
	s.Gauges["deferd_outbox_lag_seconds"] = func() float64 {
		oldest := counts().Oldest
		if oldest.IsZero() {
			return 0
		}
		return srv.store.Now().Sub(oldest).Seconds()
	}
	s.Counters["deferd_outbox_delivered_total"] = func() float64 { return float64(srv.outbox.Stats().Delivered) }
	s.Counters["deferd_outbox_given_up_total"] = func() float64 { return float64(srv.outbox.Stats().GivenUp) }
}
