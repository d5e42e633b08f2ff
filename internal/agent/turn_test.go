package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// TestWaitsForItsTurn has an instance that is healthy before it is to serve.
func TestWaitsForItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		turn := make(chan struct{})
		b := start(t, echo, func(_ *bench, c *Config) { c.Serve = turn })
		b.work.add(deferd.Lease{})
		after(time.Minute)
		if b.ready.Load() != 1 {
			t.Error("it did not say that it is ready")
		}
		if seen := b.work.seen(); seen.opened != 0 || len(seen.claims) != 0 {
			t.Errorf("before its turn it opened %d sessions and made %d claims", seen.opened, len(seen.claims))
		}
		close(turn)
		after(time.Second)
		if got := len(b.work.outcomes()); got != 1 {
			t.Errorf("in its turn it settled %d, want 1", got)
		}
		b.cancel()
		if err := b.wait(); err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// TestEndsBeforeItsTurn has an instance whose turn never comes.
func TestEndsBeforeItsTurn(t *testing.T) {
	tests := []struct {
		name string
		end  func(*bench)
		want error
	}{
		{"drained", func(b *bench) { b.agent.Drain() }, nil},
		{"stopped", func(b *bench) { b.cancel() }, nil},
		{"gone", func(b *bench) { close(b.gone) }, ErrGone},
		{"unhealthy", func(b *bench) { b.container.sick.Store(true) }, ErrUnhealthy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := start(t, echo, func(_ *bench, c *Config) { c.Serve = make(chan struct{}) })
				after(time.Minute)
				tt.end(b)
				if err := b.wait(); !errors.Is(err, tt.want) {
					t.Errorf("Run returned %v, want %v", err, tt.want)
				}
				if seen := b.work.seen(); seen.opened != 0 {
					t.Errorf("it opened %d sessions", seen.opened)
				}
			})
		})
	}
}
