package scheduler

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// update begins to deploy the next configuration, with n instances.
func (x *fixture) update(t *testing.T, n int, limit time.Duration) {
	t.Helper()
	x.change(t, "e", func(e *deferd.Endpoint) {
		e.Deploy(deferd.Deployment{
			ConfigID: "next", Variants: []deferd.EndpointVariant{{Name: "w", Desired: n, Weight: 1}},
			Started: x.store.Now(), Limit: limit,
		}, true)
	})
}

// rescale begins to change the number of instances.
func (x *fixture) rescale(t *testing.T, n int) {
	t.Helper()
	x.change(t, "e", func(e *deferd.Endpoint) {
		e.Deploy(deferd.Deployment{
			ConfigID: e.ConfigID, Variants: []deferd.EndpointVariant{{Name: "v", Desired: n, Weight: 1}}, Started: x.store.Now(),
		}, false)
	})
}

// starting sets what becomes of agents that are made from now on.
func (x *fixture) starting(f func(*fakeAgent)) {
	x.runtime.mu.Lock()
	defer x.runtime.mu.Unlock()
	x.runtime.onAgent = f
}

// crash ends an agent's instance.
func (x *fixture) crash(a *fakeAgent) {
	x.runtime.goes(a.Session.Instance, deferd.Exit{Message: "exit status 3"})
}

func (a *fakeAgent) mayServe() bool {
	select {
	case <-a.Serve:
		return true
	default:
		return false
	}
}

func unready(*fakeAgent) {}

func TestUpdate(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		old := x.serving(t, 2)
		old[0].set(1)
		x.starting(unready)
		x.update(t, 2, 0)
		fresh := x.runtime.agentList()[2:]
		if len(fresh) != 2 {
			t.Fatalf("%d instances of the new fleet were started, want 2", len(fresh))
		}
		if s := fresh[0].Session; s.Variant != "w" || s.Slots != 9 {
			t.Errorf("the new session is %+v, want one of the new configuration", s)
		}
		fresh[0].Ready()
		pass(time.Minute)
		if e := x.wantStatus(t, "e", deferd.EndpointUpdating); e.ConfigID != "c" {
			t.Errorf("with one of two ready the endpoint has the configuration %s", e.ConfigID)
		}
		if fresh[0].mayServe() || old[0].hasEnded() || old[1].hasEnded() {
			t.Error("the fleets were changed over before all were ready")
		}

		fresh[1].Ready()
		synctest.Wait()
		e := x.wantStatus(t, "e", deferd.EndpointInService)
		if e.ConfigID != "next" || e.Deployment != nil || e.Variants[0].Name != "w" || e.FailureReason != "" {
			t.Errorf("afterwards the endpoint is %+v", e)
		}
		if !fresh[0].mayServe() || !fresh[1].mayServe() {
			t.Error("the new fleet may not serve")
		}
		if old[0].hasEnded() || !old[1].hasEnded() {
			t.Error("of the old fleet not the idle one, and it alone, has ended")
		}
		if got, want := x.AllInstances("e"), (InstanceCounts{Ready: 2, Busy: 1}); got != want {
			t.Errorf("instances are %+v, want %+v", got, want)
		}
		pass(time.Hour)
		if old[0].hasEnded() {
			t.Error("the busy one was not let finish")
		}
		old[0].set(0)
		if !old[0].hasEnded() {
			t.Error("the busy one did not end with its work")
		}
		if n := len(x.runtime.starts()); n != 4 {
			t.Errorf("%d were started, want 4", n)
		}
	})
}

func TestUpdateOfSleepers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 0)
		x.update(t, 0, 0)
		if e := x.wantStatus(t, "e", deferd.EndpointInService); e.ConfigID != "next" {
			t.Errorf("the endpoint has the configuration %s, want next", e.ConfigID)
		}
	})
}

// TestRollBack has updates whose instances do not come up.
func TestRollBack(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, *fixture)
		agent  func(*fixture, *fakeAgent)
		after  time.Duration
		want   string
		starts int
	}{
		{"the new fleet never becomes healthy", func(t *testing.T, x *fixture) { x.update(t, 2, 0) }, func(_ *fixture, a *fakeAgent) {
			time.AfterFunc(a.StartupTimeout, func() { a.fail <- errNeverReady })
		}, 5 * time.Minute, "did not pass the ping health check", 2},
		{"one of the new fleet is healthy", func(t *testing.T, x *fixture) { x.update(t, 2, 0) }, func(x *fixture, a *fakeAgent) {
			if x.AllInstances("e").Ready == 1 { // the old one
				a.Ready()
				return
			}
			x.crash(a)
		}, 3 * time.Second, "did not pass the ping health check", 4},
		{"it takes longer than it may", func(t *testing.T, x *fixture) { x.update(t, 2, time.Minute) }, func(*fixture, *fakeAgent) {},
			time.Minute, "did not finish within 60 seconds", 2},
		{"more instances do not come up", func(t *testing.T, x *fixture) { x.rescale(t, 3) }, (*fixture).crash, 3 * time.Second, "did not pass the ping health check", 6},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, x *fixture) {
				old := x.serving(t, 1)
				x.starting(func(a *fakeAgent) { test.agent(x, a) })
				test.change(t, x)
				pass(test.after - time.Millisecond)
				x.wantStatus(t, "e", deferd.EndpointUpdating)
				pass(2 * time.Millisecond)
				e := x.wantStatus(t, "e", deferd.EndpointInService)
				if e.ConfigID != "c" || e.Deployment != nil || !slices.Equal(e.Variants, []deferd.EndpointVariant{{Name: "v", Desired: 1, Weight: 1}}) {
					t.Errorf("rolled back, the endpoint is %+v", e)
				}
				if !strings.Contains(e.FailureReason, test.want) {
					t.Errorf("the reason is %q, want it to say %q", e.FailureReason, test.want)
				}
				pass(time.Hour)
				if n := len(x.runtime.starts()) - 1; n != test.starts {
					t.Errorf("%d more were started, want %d", n, test.starts)
				}
				if old[0].hasEnded() {
					t.Error("the instance that serves was ended")
				}
				if got, want := x.AllInstances("e"), (InstanceCounts{Ready: 1}); got != want {
					t.Errorf("instances are %+v, want %+v", got, want)
				}

				// What failed does not speak against the next try.
				x.starting(func(a *fakeAgent) { time.AfterFunc(time.Second, a.Ready) })
				x.update(t, 1, 0)
				if e := x.wantStatus(t, "e", deferd.EndpointUpdating); e.FailureReason != "" {
					t.Errorf("while the next update is under way the reason is %q", e.FailureReason)
				}
				pass(time.Second)
				if e := x.wantStatus(t, "e", deferd.EndpointInService); e.ConfigID != "next" || e.FailureReason != "" {
					t.Errorf("after the next update the endpoint is %+v", e)
				}
			})
		})
	}
}

// TestRollBackOfFlapping has new instances that answer one ping each and crash
// before all of them do: they never serve, and are not tried for ever.
func TestRollBackOfFlapping(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		old := x.serving(t, 1)
		var made atomic.Int64
		x.starting(func(a *fakeAgent) {
			time.AfterFunc(time.Duration(made.Add(1)%2+1)*time.Second, func() {
				a.Ready()
				a.fail <- errors.New("it has crashed")
			})
		})
		x.update(t, 2, 0)
		pass(time.Minute)
		e := x.wantStatus(t, "e", deferd.EndpointInService)
		if e.ConfigID != "c" || e.FailureReason != "An instance of production variant w passed the ping health check and ended before it served: it has crashed" {
			t.Errorf("the endpoint has the configuration %s and the reason %q", e.ConfigID, e.FailureReason)
		}
		if old[0].hasEnded() {
			t.Error("the instance that serves was ended")
		}
	})
}

// TestUpdateMends has a fleet that crashes again and again, and is replaced by
// one that does not.
func TestUpdateMends(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		old := x.serving(t, 1)
		x.starting(func(a *fakeAgent) {
			if a.Session.Variant == "v" {
				a.fail <- errors.New("crashed")
				return
			}
			time.AfterFunc(time.Minute, a.Ready)
		})
		old[0].fail <- errors.New("crashed")
		pass(10 * time.Minute)
		x.update(t, 1, 0)
		pass(time.Minute)
		if e := x.wantStatus(t, "e", deferd.EndpointInService); e.ConfigID != "next" {
			t.Errorf("the endpoint has the configuration %s, want next", e.ConfigID)
		}
		n := len(x.runtime.starts())
		pass(time.Hour)
		if more := len(x.runtime.starts()) - n; more != 0 {
			t.Errorf("%d instances were started after the update", more)
		}
	})
}

func TestRescale(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		agents := x.serving(t, 1)
		x.starting(unready)
		x.rescale(t, 2)
		x.wantStatus(t, "e", deferd.EndpointUpdating)
		added := x.runtime.agentList()[1]
		if !added.mayServe() {
			t.Error("an instance more of the fleet that serves has to wait")
		}
		added.Ready()
		synctest.Wait()
		x.wantStatus(t, "e", deferd.EndpointInService)
		if agents[0].hasEnded() {
			t.Error("the first instance has ended")
		}
		agents[0].set(1)
		x.rescale(t, 0)
		if e := x.wantStatus(t, "e", deferd.EndpointInService); e.Variants[0].Desired != 0 {
			t.Errorf("the endpoint wishes for %d instances, want none", e.Variants[0].Desired)
		}
		if agents[0].hasEnded() || !added.hasEnded() {
			t.Error("not the idle one, and it alone, has ended")
		}
		agents[0].set(0)
		if got := x.AllInstances("e"); got != (InstanceCounts{}) {
			t.Errorf("there are %+v, want none", got)
		}
	})
}

// TestRestartWhileUpdating stops the server in the middle of an update: its
// next life goes on with it.
func TestRestartWhileUpdating(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		x.starting(unready)
		x.update(t, 1, 0)
		x.stop()
		x.wantStatus(t, "e", deferd.EndpointUpdating)

		_, runtime, stop := x.nextLife(t)
		synctest.Wait()
		if e := x.wantStatus(t, "e", deferd.EndpointInService); e.ConfigID != "next" {
			t.Errorf("the endpoint has the configuration %s, want next", e.ConfigID)
		}
		stop()
		if n := len(runtime.starts()); n != 2 {
			t.Errorf("in the next life %d were started, want one of each fleet", n)
		}
	})
}
