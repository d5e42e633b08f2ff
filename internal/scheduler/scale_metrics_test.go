package scheduler

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

func TestAlarmsOfUnknownPolicies(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		x.register(t, 0, 3, track(5), step(1))
		for arn, want := range map[string]deferd.Code{
			"arn:aws:sns:us-east-1:a:topic":                               deferd.Invalid,
			deferd.PolicyARN("us-east-1", "a", "guid", ref, "other"):      deferd.NotFound,
			deferd.PolicyARN("us-east-1", "a", "other guid", ref, "step"): deferd.NotFound,
			deferd.PolicyARN("us-east-1", "another", "guid", ref, "step"): deferd.NotFound,
		} {
			if _, err := x.ActOnAlarm(t.Context(), arn, deferd.AlarmReading{}); err == nil || deferd.CodeOf(err) != want {
				t.Errorf("%s: got %v, want %v", arn, err, want)
			}
		}
		again, err := x.ActOnAlarm(t.Context(), deferd.PolicyARN("us-east-1", "a", "guid", ref, "track"), deferd.AlarmReading{})
		if must(t, err); again {
			t.Error("a policy that looks itself wants to hear its alarm again")
		}
		synctest.Wait()
		if got := x.desired(t); got != 1 {
			t.Errorf("%d instances, want 1", got)
		}
	})
}

// metrics are the same for everybody.
type metrics struct{ now atomic.Pointer[reading] }

type reading struct {
	values []float64
	err    error
}

func (m *metrics) set(err error, values ...float64) { m.now.Store(&reading{values, err}) }

func (m *metrics) Values(context.Context, deferd.AccountID, deferd.ScalingMetric, time.Time, int) ([]float64, error) {
	r := m.now.Load()
	return r.values, r.err
}

// TestForeignMetric tracks a metric that says nothing of the backlog, also while
// the endpoint has no instance.
func TestForeignMetric(t *testing.T) {
	m := &metrics{}
	m.set(nil, 0, 0, 0)
	inBubble(t, func(c *Config) { c.Metrics = m }, func(t *testing.T, x *fixture) {
		x.serving(t, 0)
		p := track(10)
		p.Tracking.OutCooldown = deferd.DefaultCooldown
		p.Tracking.Metric = deferd.ScalingMetric{Namespace: "Mine", Name: "load"}
		x.register(t, 0, 4, p)
		pass(10 * time.Minute)
		m.set(errors.New("broken"))
		pass(10 * time.Minute)
		if got := x.desired(t); got != 0 {
			t.Errorf("%d instances, want 0", got)
		}
		m.set(nil, 25, 25, 25)
		pass(time.Minute)
		if got := x.desired(t); got != 3 {
			t.Errorf("%d instances, want 3", got)
		}
	})
}

// TestOthersAreNotLookedAt has many endpoints at rest: hours pass, and nothing
// is read for any of them.
func TestOthersAreNotLookedAt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 0)
		x.register(t, 0, 4, track(5), step(1))
		pass(time.Minute)
		commits, sweeps := x.store.reads.Load(), x.store.sweeps.Load()
		pass(24 * time.Hour)
		if got := x.store.reads.Load() - commits; got != 0 {
			t.Errorf("%d reads of an endpoint at rest in a day, want none", got)
		}
		if got := x.store.sweeps.Load() - sweeps; got != 0 {
			t.Errorf("%d sweeps in a day, want none", got)
		}
	})
}
