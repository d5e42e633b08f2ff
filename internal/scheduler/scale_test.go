package scheduler

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

var ref = deferd.VariantRef{Endpoint: "name", Variant: "v"}

// register makes the endpoint's variant a target with these policies.
func (x *fixture) register(t *testing.T, lowest, highest int, policies ...deferd.ScalingPolicy) {
	t.Helper()
	x.put(t, deferd.ScalableTarget{ID: "t", Account: "a", Resource: ref, EndpointID: "e", Min: lowest, Max: highest})
	for _, p := range policies {
		p.Account, p.Resource = "a", ref
		p.ARN = deferd.PolicyARN("us-east-1", "a", "guid", ref, p.Name)
		x.put(t, p)
	}
	x.Changed("e")
	synctest.Wait()
}

func (x *fixture) put(t *testing.T, of interface {
	Document() (deferd.Document, error)
}) {
	t.Helper()
	d, err := of.Document()
	must(t, err)
	_, err = x.store.PutDocument(t.Context(), d)
	must(t, err)
}

// track keeps the backlog of an instance near n.
func track(n float64) deferd.ScalingPolicy {
	return deferd.ScalingPolicy{
		Name: "track", Alarms: []deferd.PolicyAlarm{{Name: "high"}, {Name: "low"}},
		Tracking: &deferd.TargetTracking{Target: n, Metric: deferd.ScalingMetric{Own: deferd.MetricBacklogPerInstance}},
	}
}

func step(by int) deferd.ScalingPolicy {
	return deferd.ScalingPolicy{Name: "step", Step: &deferd.StepScaling{Adjustment: deferd.ChangeInCapacity, Steps: []deferd.Step{{Adjustment: by}}}}
}

func (x *fixture) desired(t *testing.T) int {
	t.Helper()
	e, err := x.store.EndpointByID(t.Context(), "e")
	must(t, err)
	return desired(&e)[0].Desired
}

// wantActivities compares the activities of the target, the latest first.
func (x *fixture) wantActivities(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for d, err := range documents(t.Context(), x.store, deferd.KindScalingActivity, "a", deferd.ScalingName(ref, "")) {
		must(t, err)
		a, err := deferd.ReadScalingActivity(d)
		must(t, err)
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s: %s %s", a.To, a.Status, a.Cause, a.Message)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("activities differ (-want +got):\n%s", diff)
	}
}

func (x *fixture) acceptMany(t *testing.T, from, n int) {
	t.Helper()
	for i := range n {
		x.accept(t, deferd.InvocationID(fmt.Sprintf("01900000-0000-7000-8000-%012d", from+i)), 5*time.Hour)
	}
	synctest.Wait()
}

// endAll ends everything that is queued.
func (x *fixture) endAll(t *testing.T) {
	t.Helper()
	page, err := x.store.Invocations(t.Context(), deferd.InvocationQuery{Endpoint: "e", States: []deferd.State{deferd.Queued}, Max: 1000})
	must(t, err)
	for _, inv := range page.Items {
		_, err := x.store.End(t.Context(), inv.ID, deferd.End(deferd.CancelRequested, ""))
		must(t, err)
	}
	synctest.Wait()
}

func TestWakesAtOnce(t *testing.T) {
	for name, policy := range map[string]deferd.ScalingPolicy{"tracking": track(5), "step": step(1)} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, x *fixture) {
				x.store.OnWork(x.HasWork)
				x.serving(t, 0)
				x.register(t, 0, 4, policy)
				pass(100 * time.Minute)
				before := time.Now()
				x.acceptMany(t, 0, 1)
				if got := len(x.runtime.starts()); got != 1 {
					t.Fatalf("%d instances were started for the first request, want 1", got)
				}
				if waited := x.runtime.starts()[0].at.Sub(before); waited != 0 {
					t.Errorf("it waited %v for that", waited)
				}
				x.wantStatus(t, "e", deferd.EndpointInService)
				x.wantActivities(t, "1 Successful: 1 request waited and there was no instance")
			})
		})
	}
}

func TestFollowsItsBacklogAndComesBackToZero(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.store.OnWork(x.HasWork)
		x.serving(t, 0)
		x.register(t, 0, 4, track(5))
		pass(10 * time.Minute)
		x.acceptMany(t, 0, 1)
		x.acceptMany(t, 1, 11)
		if got := x.desired(t); got != 1 {
			t.Errorf("%d instances right after the burst, want 1", got)
		}
		pass(3*time.Minute - time.Second)
		if got := x.desired(t); got != 1 {
			t.Errorf("%d instances before three data points, want 1", got)
		}
		pass(time.Minute)
		if got := x.desired(t); got != 3 {
			t.Errorf("%d instances after three data points, want 3", got)
		}
		x.endAll(t)
		pass(14 * time.Minute)
		if got := x.desired(t); got != 3 {
			t.Errorf("%d instances while it was busy in the last quarter of an hour, want 3", got)
		}
		pass(3 * time.Minute)
		if got := x.desired(t); got != 0 {
			t.Errorf("%d instances after a quarter of an hour without work, want 0", got)
		}
		if got := x.Instances("e", 0)["v"]; got != (InstanceCounts{}) {
			t.Errorf("there still are %+v", got)
		}
		x.wantActivities(t,
			"0 Successful: monitor alarm low in state ALARM triggered policy track",
			"3 Successful: monitor alarm high in state ALARM triggered policy track",
			"1 Successful: 1 request waited and there was no instance")
		// And at rest nothing looks at it.
		if !x.scaler.wake("e") {
			t.Error("it is not asleep")
		}
		x.scaler.sleep("e")
		x.acceptMany(t, 100, 1)
		if got := x.desired(t); got != 1 {
			t.Errorf("%d instances after it woke again, want 1", got)
		}
	})
}

// TestScaleInDrains has the idlest instance go, and one that works go on until
// it has finished.
func TestScaleInDrains(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		agents := x.serving(t, 3)
		agents[0].set(2)
		agents[1].set(1)
		x.register(t, 1, 3, step(-2))
		again, err := x.ActOnAlarm(t.Context(), deferd.PolicyARN("us-east-1", "a", "guid", ref, "step"), deferd.AlarmReading{Alarm: "quiet"})
		if must(t, err); !again {
			t.Error("the policy does not want to hear its alarm again")
		}
		synctest.Wait()
		if got := x.desired(t); got != 1 {
			t.Fatalf("there are to be %d instances, want 1", got)
		}
		if agents[0].hasEnded() || agents[1].hasEnded() || !agents[2].hasEnded() {
			t.Error("not the idle instance, and it alone, has ended")
		}
		pass(3 * time.Hour)
		if agents[1].hasEnded() {
			t.Error("an instance was stopped with work on it")
		}
		agents[1].set(0)
		if !agents[1].hasEnded() || agents[0].hasEnded() {
			t.Error("not the less busy one, and it alone, has ended after its work")
		}
		x.wantActivities(t, "1 Successful: monitor alarm quiet in state ALARM triggered policy step")
		agents[0].set(0)
	})
}

// TestBrokenModel has a model that never comes up. The endpoint says why, and
// waits longer before each try.
func TestBrokenModel(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.store.OnWork(x.HasWork)
		x.serving(t, 0)
		x.register(t, 0, 4, track(5))
		x.runtime.mu.Lock()
		x.runtime.onStart = func(deferd.InstanceSpec) error { return deferd.Errorf(deferd.Invalid, "there is no image x") }
		x.runtime.mu.Unlock()
		x.acceptMany(t, 0, 1)
		e := x.wantStatus(t, "e", deferd.EndpointInService)
		if e.FailureReason != "there is no image x" {
			t.Errorf("the endpoint says %q", e.FailureReason)
		}
		pass(4 * time.Hour)
		wantPauses(t, x, 10, 20, 40, 60, 60, 60, 60, 60)
		x.wantStatus(t, "e", deferd.EndpointInService)

		x.runtime.mu.Lock()
		x.runtime.onStart = nil
		x.runtime.mu.Unlock()
		pass(maxScaleRetry + time.Second)
		if got := x.Instances("e", 0)["v"].Ready; got != 1 {
			t.Errorf("%d instances are ready once the model is whole, want 1", got)
		}
		last, err := x.store.Documents(t.Context(), deferd.KindScalingActivity, "a", deferd.ScalingName(ref, ""), "", 2)
		must(t, err)
		for i, want := range []deferd.ActivityStatus{deferd.ActivitySuccessful, deferd.ActivityFailed} {
			a, err := deferd.ReadScalingActivity(last[i])
			must(t, err)
			if a.Status != want || (want == deferd.ActivityFailed) != (a.Message == "there is no image x") {
				t.Errorf("activity %d is %s: %s, want %s", i, a.Status, a.Message, want)
			}
		}
	})
}

func TestBounds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		x.register(t, 2, 3)
		if got := x.desired(t); got != 2 {
			t.Errorf("%d instances of at least 2", got)
		}
		x.wantActivities(t, "2 Successful: the capacity was outside of minimum capacity 2 and maximum capacity 3")
	})
}

// TestManagedScaling has a variant that follows its work by itself, with
// nothing registered.
func TestManagedScaling(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.store.OnWork(x.HasWork)
		must(t, x.store.CreateConfig(t.Context(), deferd.Config{
			ID: "managed", Account: "a", Name: "managed", Created: time.Now(), Async: &deferd.AsyncConfig{Concurrency: 2},
			Variants: []deferd.Variant{{Name: "v", ModelID: "m", Managed: &deferd.ManagedScaling{Max: 3}}},
		}))
		must(t, x.store.CreateEndpoint(t.Context(), deferd.Endpoint{
			ID: "e", Account: "a", Name: "name", ConfigID: "managed", Status: deferd.EndpointCreating, Created: time.Now(), Modified: time.Now(),
			Variants: []deferd.EndpointVariant{{Name: "v", Desired: 0, Weight: 1}},
		}))
		x.Changed("e")
		synctest.Wait()
		x.wantStatus(t, "e", deferd.EndpointInService)
		pass(10 * time.Minute)
		x.acceptMany(t, 0, 1)
		x.acceptMany(t, 1, 5)
		pass(4 * time.Minute)
		if got := x.Instances("e", 0)["v"].Ready; got != 3 {
			t.Errorf("%d instances are ready, want 3", got)
		}
		x.endAll(t)
		pass(20 * time.Minute)
		x.wantActivities(t,
			"0 Successful: the metric was below 1.8 in 15 data points, which triggered policy ManagedInstanceScaling",
			"3 Successful: the metric was above 2 in 3 data points, which triggered policy ManagedInstanceScaling",
			"1 Successful: 1 request waited and there was no instance")
		targets, err := x.store.Documents(t.Context(), deferd.KindTarget, "a", "", "", 1)
		if must(t, err); len(targets) > 0 {
			t.Error("it was registered")
		}

		x.register(t, 1, 3) // which says more
		if got := x.desired(t); got != 1 {
			t.Errorf("registered, it has %d instances, want at least 1", got)
		}
	})
}

// TestScheduledActions has more instances by day, also after a night in which
// the machine slept, and none while scheduled scaling is suspended.
func TestScheduledActions(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 0)
		x.register(t, 0, 4)
		now := x.store.Now()
		put := func(name, schedule string, lowest int) {
			a := deferd.ScheduledAction{
				Name: name, Account: "a", Resource: ref, Created: now, Last: now, Schedule: schedule, Min: &lowest,
			}
			x.put(t, a)
		}
		at := func(d time.Duration) string { return now.Add(d).UTC().Format("2006-01-02T15:04:05") }
		put("more", "at("+at(8*time.Hour)+")", 2)
		put("still more", "at("+at(17*time.Hour)+")", 3)
		put("less", "at("+at(18*time.Hour)+")", 0) // after it, also where both come late
		x.Changed("e")
		want := func(n int) {
			t.Helper()
			if got := x.desired(t); got != n {
				t.Errorf("after %v there are to be %d instances, want %d", time.Since(now).Round(time.Second), got, n)
			}
		}
		pass(8*time.Hour - time.Second)
		want(0)
		pass(2 * time.Second)
		want(2)
		x.slept.Add(int64(24 * time.Hour))
		pass(longestWait)
		want(2) // the bound is lower, and no policy takes anything away
		d, err := x.store.Document(t.Context(), deferd.KindTarget, "a", ref.String())
		must(t, err)
		target, err := deferd.ReadScalableTarget(d)
		must(t, err)
		if target.Min != 0 || target.Max != 4 {
			t.Errorf("the bounds are %d and %d, want 0 and 4", target.Min, target.Max)
		}
		x.wantActivities(t, "2 Successful: scheduled action name more was triggered")

		target.Suspended.Scheduled = true
		x.put(t, target)
		now = x.store.Now()
		put("even more", "rate(1 hour)", 4)
		x.Changed("e")
		pass(3 * time.Hour)
		want(2)
	})
}

func TestNeverMoreThanThereMayBe(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxInstances = 2 }, func(t *testing.T, x *fixture) {
		x.store.OnWork(x.HasWork)
		x.serving(t, 0)
		x.register(t, 5, 9, track(1))
		x.acceptMany(t, 0, 20)
		pass(10 * time.Minute)
		if got := x.desired(t); got != 2 {
			t.Errorf("there are to be %d instances, want 2", got)
		}
	})
}

// HasWork is called at each accept.
func TestHasWorkCostsNothing(t *testing.T) {
	s := New(Config{Logger: slog.New(slog.DiscardHandler)})
	s.scaler.sleep("another")
	if n := testing.AllocsPerRun(100, func() { s.HasWork("e") }); n > 0 {
		t.Errorf("%v allocations at each accept, want none", n)
	}
}

func TestDeletedWithItsEndpoint(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		x.register(t, 2, 3, track(5), step(1))
		x.change(t, "e", func(e *deferd.Endpoint) { e.Status = deferd.EndpointDeleting })
		for _, k := range []deferd.DocumentKind{deferd.KindTarget, deferd.KindScalingPolicy, deferd.KindScalingActivity} {
			docs, err := x.store.Documents(t.Context(), k, "a", "", "", 10)
			must(t, err)
			if len(docs) > 0 {
				t.Errorf("%d documents %s are left", len(docs), k)
			}
		}
		if len(x.scaler.endpoints) > 0 {
			t.Error("it is remembered")
		}
	})
}

// TestAnotherLifeGoesOn stops the server while it scales out. The next one
// finishes that, and wakes what has work.
func TestAnotherLifeGoesOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.store.OnWork(x.HasWork)
		x.serving(t, 0)
		x.register(t, 0, 4, track(5))
		x.runtime.mu.Lock()
		x.runtime.onAgent = func(*fakeAgent) {} // it never becomes ready
		x.runtime.mu.Unlock()
		x.acceptMany(t, 0, 1)
		x.wantActivities(t, "1 InProgress: 1 request waited and there was no instance")
		x.stop()
		_, runtime, stop := x.nextLife(t)
		defer stop()
		synctest.Wait()
		if got := len(runtime.starts()); got != 1 {
			t.Errorf("the next life started %d instances, want 1", got)
		}
		x.wantActivities(t, "1 Successful: 1 request waited and there was no instance")
	})
}

// TestScalesThoughTheStoreFails has each call of the store fail once, lost or
// done: an endpoint that is to wake does so, and comes to zero again.
func TestScalesThoughTheStoreFails(t *testing.T) {
	for _, done := range []bool{false, true} {
		for n := int64(1); ; n++ {
			failed := false
			inBubble(t, nil, func(t *testing.T, x *fixture) {
				x.store.OnWork(x.HasWork)
				x.serving(t, 0)
				x.register(t, 0, 4, track(5))
				pass(5 * time.Minute)
				x.store.done.Store(done)
				x.store.left.Store(n)
				x.acceptMany(t, 0, 1)
				pass(5 * time.Second)
				failed = x.store.left.Swap(-1) <= 0
				if got := x.Instances("e", 0)["v"].Ready; got != 1 {
					t.Errorf("call %d fails (%t): %d instances are ready, want 1", n, done, got)
				}
				x.endAll(t)
				pass(20 * time.Minute)
				if got := x.desired(t); got != 0 {
					t.Errorf("call %d fails (%t): in the end there are %d instances", n, done, got)
				}
				for d, err := range documents(t.Context(), x.store, deferd.KindScalingActivity, "a", deferd.ScalingName(ref, "")) {
					must(t, err)
					if a, err := deferd.ReadScalingActivity(d); err != nil || a.Status == deferd.ActivityInProgress {
						t.Errorf("call %d fails (%t): in the end there is %+v (%v)", n, done, a, err)
					}
				}
			})
			if t.Failed() || !failed {
				t.Logf("%d calls failed", n-1)
				break
			}
		}
	}
}
