package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

func TestHealth(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(*bench, *Config)
		during  func(*bench)
		want    error
		ends    time.Duration
		ready   int64
	}{
		{
			name:    "never ready",
			prepare: func(b *bench, c *Config) { b.container.sick.Store(true); c.StartupTimeout = time.Minute },
			during:  func(*bench) {},
			want:    ErrNeverReady, ends: time.Minute,
		},
		{
			name:    "ready late",
			prepare: func(b *bench, c *Config) { b.container.refuse.Store(true) },
			during: func(b *bench) {
				after(5 * time.Minute)
				b.container.refuse.Store(false)
				after(3 * time.Second)
				b.cancel()
			},
			ends: 5*time.Minute + 3*time.Second, ready: 1,
		},
		{
			name:    "gone before it is ready",
			prepare: func(b *bench, c *Config) { b.container.refuse.Store(true) },
			during:  func(b *bench) { after(10 * time.Second); close(b.gone) },
			want:    ErrGone, ends: 10 * time.Second,
		},
		{
			name:   "gone",
			during: func(b *bench) { after(10 * time.Second); close(b.gone) },
			want:   ErrGone, ends: 10 * time.Second, ready: 1,
		},
		{
			name:   "unhealthy",
			during: func(b *bench) { after(15 * time.Second); b.container.sick.Store(true) },
			want:   ErrUnhealthy, ends: 40 * time.Second, ready: 1,
		},
		{
			name: "two failures are forgiven",
			during: func(b *bench) {
				for range 5 {
					after(5 * time.Second)
					b.container.sick.Store(true)
					after(20 * time.Second)
					b.container.sick.Store(false)
					after(5 * time.Second)
				}
				b.cancel()
			},
			ends: 150 * time.Second, ready: 1,
		},
		{
			name: "no verdict while busy",
			during: func(b *bench) {
				b.work.add(deferd.Lease{Timeout: time.Hour})
				b.container.sick.Store(true)
				after(10*time.Minute + time.Second) // the model takes ten
				b.container.sick.Store(false)
				b.cancel()
			},
			ends: 10*time.Minute + time.Second, ready: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				began := time.Now()
				b := start(t, takes(10*time.Minute), tt.prepare)
				after(0)
				tt.during(b)
				if err := b.wait(); !errors.Is(err, tt.want) {
					t.Errorf("Run returned %v, want %v", err, tt.want)
				}
				if got := time.Since(began); got != tt.ends {
					t.Errorf("ended after %s, want %s", got, tt.ends)
				}
				if got := b.ready.Load(); got != tt.ready {
					t.Errorf("ready %d times, want %d", got, tt.ready)
				}
			})
		})
	}
}

func TestRefusedConnectionIsFollowedByAPing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, echo, func(b *bench, _ *Config) { b.work.requeue = true })
		after(time.Second)
		pings := b.container.pings.Load()
		b.container.refuse.Store(true)
		b.work.add(deferd.Lease{})
		after(3 * time.Second)
		if got := b.work.releasesMade(); len(got) != 1 || got[0].Reason != deferd.NotReady {
			t.Errorf("released %v, want once as not ready: a suspect claims nothing", got)
		}
		b.container.refuse.Store(false)
		after(3 * time.Second)
		if got := b.container.pings.Load(); got == pings {
			t.Error("no ping before the next claim")
		}
		if got := len(b.work.outcomes()); got != 1 {
			t.Errorf("settled %d, want 1", got)
		}
	})
}

func TestNoPingWhileBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, takes(10*time.Minute), nil)
		after(5 * time.Second)
		b.work.add(deferd.Lease{Timeout: time.Hour})
		before := b.container.pings.Load()
		after(9 * time.Minute)
		if got := b.container.pings.Load(); got != before {
			t.Errorf("%d pings while the model ran, want none", got-before)
		}
		after(2 * time.Minute)
		if got := b.container.pings.Load(); got == before {
			t.Error("no ping after the model had ended")
		}
	})
}
