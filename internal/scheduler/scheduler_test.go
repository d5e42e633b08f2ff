package scheduler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

func TestInServiceWhenAllAreReady(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.runtime.onAgent = func(*fakeAgent) {}
		x.create(t, "e", 2)
		agents := x.runtime.agentList()
		if len(agents) != 2 {
			t.Fatalf("%d instances were started, want 2", len(agents))
		}
		agents[0].Ready()
		synctest.Wait()
		x.wantStatus(t, "e", deferd.EndpointCreating)
		if diff := cmp.Diff(map[deferd.VariantName]InstanceCounts{"v": {Ready: 1, Starting: 1}}, x.Instances("e", 0)); diff != "" {
			t.Errorf("instances differ (-want +got):\n%s", diff)
		}
		agents[1].Ready()
		synctest.Wait()
		x.wantStatus(t, "e", deferd.EndpointInService)

		got := agents[0].Instance
		if want := (deferd.Session{Endpoint: "e", Variant: "v", Instance: got.Session.Instance, Slots: 7}); got.Session != want {
			t.Errorf("the session is %+v, want %+v", got.Session, want)
		}
		if got.Endpoint != "name" || got.Addr != "http://"+string(got.Session.Instance) || got.StartupTimeout != 5*time.Minute {
			t.Errorf("the agent got %+v", got)
		}
		spec := x.runtime.starts()[0]
		if spec.Image != "image" || spec.Account != "a" || spec.Endpoint != "name" || spec.Variant != "v" || spec.DownloadTimeout != deferd.DefaultDownloadTimeout {
			t.Errorf("the runtime got %+v", spec.InstanceSpec)
		}
	})
}

// TestFailsBeforeService has instances that never serve. The reason is
// SageMaker's, and says what is known beyond it.
func TestFailsBeforeService(t *testing.T) {
	const ping = "The primary container for production variant v did not pass the ping health check. " +
		"Please check CloudWatch logs for this endpoint."
	long := strings.Repeat("ä", 2000)
	goes := func(exit deferd.Exit) func(*fakeRuntime, deferd.InstanceSpec) error {
		return func(r *fakeRuntime, spec deferd.InstanceSpec) error { r.goes(spec.ID, exit); return nil }
	}
	tests := []struct {
		name   string
		start  func(*fakeRuntime, deferd.InstanceSpec) error
		agent  func(*fakeAgent)
		after  time.Duration // not before, and not much later
		starts int
		want   string // how the reason begins; it ends with "…" where this is longer
	}{
		{"the runtime says that no retry helps", func(*fakeRuntime, deferd.InstanceSpec) error {
			return deferd.Errorf(deferd.Invalid, "there is no image x")
		}, nil, 0, 1, "there is no image x"},
		{"it went in a way that no retry helps", goes(deferd.Exit{Message: "no such program", Permanent: true}), nil, 0, 1, "no such program"},
		{"the same, but nobody knows why", goes(deferd.Exit{Permanent: true}), nil, 0, 1, ping},
		{"it goes each time", goes(deferd.Exit{Message: "exit status 3"}), nil, 3 * time.Second, 3, ping + " exit status 3"},
		{"it goes each time with many words", goes(deferd.Exit{Message: long}), nil, 3 * time.Second, 3, ping + " " + long},
		{"it cannot be started each time", func(*fakeRuntime, deferd.InstanceSpec) error {
			return deferd.Errorf(deferd.Unavailable, "no port is free")
		}, nil, 3 * time.Second, 3, "no port is free"},
		{"it listens and never becomes healthy", nil, func(a *fakeAgent) {
			time.AfterFunc(a.StartupTimeout, func() { a.fail <- errNeverReady })
		}, 5 * time.Minute, 1, ping},
		{"it never listens", func(*fakeRuntime, deferd.InstanceSpec) error { return nil }, nil, 5 * time.Minute, 1, ping},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, x *fixture) {
				if test.start != nil {
					x.runtime.onStart = func(spec deferd.InstanceSpec) error { return test.start(x.runtime, spec) }
				}
				x.runtime.onAgent = test.agent
				x.create(t, "e", 1)
				if test.after > 0 {
					pass(test.after - time.Millisecond)
					x.wantStatus(t, "e", deferd.EndpointCreating)
					pass(2 * time.Millisecond)
				}
				e := x.wantStatus(t, "e", deferd.EndpointFailed)
				cut, shortened := strings.CutSuffix(e.FailureReason, "…")
				if n := utf8.RuneCountInString(e.FailureReason); n > 1024 || !utf8.ValidString(e.FailureReason) {
					t.Errorf("the reason has %d characters, want at most 1024, all whole", n)
				}
				if !strings.HasPrefix(test.want, cut) || !shortened && cut != test.want {
					t.Errorf("the reason is %q, want %q", e.FailureReason, test.want)
				}
				pass(time.Hour)
				if n := len(x.runtime.starts()); n != test.starts {
					t.Errorf("%d instances were started, want %d", n, test.starts)
				}
				if n := x.Instances("e", 0)["v"]; n != (InstanceCounts{}) {
					t.Errorf("afterwards there are %+v", n)
				}
			})
		})
	}
}

func TestModelDataHasItsOwnTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		must(t, x.store.CreateModel(t.Context(), deferd.Model{
			ID: "large", Account: "a", Name: "large", Image: "image", Created: time.Now(),
			Data: deferd.ModelData{Location: deferd.Location{Bucket: "b", Key: "model"}},
		}))
		must(t, x.store.CreateConfig(t.Context(), deferd.Config{ID: "large", Account: "a", Name: "large", Created: time.Now(), Variants: []deferd.Variant{
			{Name: "v", ModelID: "large", StartupTimeout: time.Minute, DownloadTimeout: 30 * time.Minute},
		}}))
		x.runtime.onStart = func(spec deferd.InstanceSpec) error {
			time.AfterFunc(29*time.Minute, func() { x.runtime.listens(spec.ID) })
			return nil
		}
		must(t, x.store.CreateEndpoint(t.Context(), deferd.Endpoint{
			ID: "e", Account: "a", Name: "name", ConfigID: "large", Status: deferd.EndpointCreating, Created: time.Now(), Modified: time.Now(),
			Variants: []deferd.EndpointVariant{{Name: "v", Desired: 1}},
		}))
		x.Changed("e")
		pass(30 * time.Minute)
		x.wantStatus(t, "e", deferd.EndpointInService)
		if got := x.runtime.agentList()[0].StartupTimeout; got != time.Minute {
			t.Errorf("after its download it has %v to become healthy, want a minute", got)
		}
		if got := x.runtime.agentList()[0].Session.Slots; got != deferd.DefaultConcurrency {
			t.Errorf("it has %d slots, want the default of %d", got, deferd.DefaultConcurrency)
		}
	})
}

// TestReplacedWithBackoff has instances that crash as soon as they are ready.
func TestReplacedWithBackoff(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		var crashing atomic.Bool
		crashing.Store(true)
		x.runtime.mu.Lock()
		x.runtime.onAgent = func(a *fakeAgent) {
			a.Ready()
			if crashing.Load() {
				a.fail <- errors.New("crashed")
			}
		}
		x.runtime.mu.Unlock()
		x.runtime.agentList()[0].fail <- errors.New("crashed")
		pass(5 * time.Minute)
		x.wantStatus(t, "e", deferd.EndpointInService)
		wantPauses(t, x, 1, 2, 4, 8, 16, 32, 60, 60, 60)

		crashing.Store(false)
		pass(3 * time.Minute) // one is ready, and for longer than a minute
		n := len(x.runtime.starts())
		agents := x.runtime.agentList()
		agents[len(agents)-1].fail <- errors.New("crashed once")
		pass(time.Second - time.Millisecond)
		if got := len(x.runtime.starts()); got != n {
			t.Error("it was replaced at once, want a second later")
		}
		pass(time.Millisecond)
		if got := len(x.runtime.starts()); got != n+1 {
			t.Errorf("%d were started in the second after it, want 1", got-n)
		}
		if got := x.Instances("e", 0)["v"].Ready; got != 1 {
			t.Errorf("%d are ready, want 1", got)
		}
		if got := len(x.runtime.stops()); got != n {
			t.Errorf("%d of %d ended instances were stopped, with what they left", got, n)
		}
	})
}

// wantPauses checks the seconds between one start and the next, at the
// beginning.
func wantPauses(t *testing.T, x *fixture, want ...int) {
	t.Helper()
	var got []int
	starts := x.runtime.starts()
	for i := range min(len(starts)-1, len(want)) {
		got = append(got, int(starts[i+1].at.Sub(starts[i].at).Round(time.Second)/time.Second))
	}
	// The last ones depend on how long the test looks.
	if len(got) < len(want)-2 || !slices.Equal(got, want[:len(got)]) {
		t.Errorf("the pauses between the starts are %v, want %v", got, want)
	}
}

func TestDelete(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		agents := x.serving(t, 2)
		agents[0].set(1)
		x.accept(t, firstID, time.Hour)
		x.change(t, "e", func(e *deferd.Endpoint) { e.Status = deferd.EndpointDeleting })

		if got := x.state(t, firstID); got != deferd.Publishing {
			t.Errorf("what was queued is %v, want Publishing", got)
		}
		if !agents[1].hasEnded() || agents[0].hasEnded() {
			t.Error("not the idle agent, and it alone, has ended")
		}
		if got, want := x.runtime.stops(), []deferd.InstanceID{agents[1].Session.Instance}; !slices.Equal(got, want) {
			t.Errorf("stopped are %v, want %v", got, want)
		}
		pass(10 * time.Minute)
		if _, err := x.store.Endpoint(t.Context(), "a", "name"); err != nil {
			t.Errorf("while an instance works the endpoint is not found: %v", err)
		}
		agents[0].set(0)
		pass(time.Second)
		if _, err := x.store.Endpoint(t.Context(), "a", "name"); deferd.CodeOf(err) != deferd.NotFound {
			t.Errorf("when all have gone the endpoint is found (%v)", err)
		}
		if got := x.Endpoints(); len(got) != 0 {
			t.Errorf("the scheduler still knows %v", got)
		}

		x.create(t, "again", 1)
		x.wantStatus(t, "again", deferd.EndpointInService)
		if got := x.state(t, firstID); got != deferd.Publishing {
			t.Errorf("under the old ID the invocation is %v, want Publishing", got)
		}
	})
}

// TestDeleteWaitsForTheQueue has more queued than one sweep ends.
func TestDeleteWaitsForTheQueue(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 1)
		for i := range 3*sweepBatch + 1 {
			id := []byte(firstID)
			copy(id[24:], []byte{'a' + byte(i%6), '0' + byte(i/6%10), '0' + byte(i/60%10), '0' + byte(i/600)})
			x.accept(t, deferd.InvocationID(id), time.Hour)
		}
		x.change(t, "e", func(e *deferd.Endpoint) { e.Status = deferd.EndpointDeleting })
		pass(time.Second)
		c, err := x.store.Counts(t.Context(), "e")
		must(t, err)
		if c.Queued != 0 || c.Publishing != 3*sweepBatch+1 {
			t.Errorf("counts are %+v, want none queued", c)
		}
		if _, err := x.store.Endpoint(t.Context(), "a", "name"); deferd.CodeOf(err) != deferd.NotFound {
			t.Errorf("the endpoint is found (%v)", err)
		}
	})
}

func TestScaleDown(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		agents := x.serving(t, 3)
		agents[0].set(2)
		agents[2].set(1)
		scale := func(n int) { x.change(t, "e", func(e *deferd.Endpoint) { e.Variants[0].Desired = n }) }
		ended := func() (got [3]bool) {
			for i, a := range agents {
				got[i] = a.hasEnded()
			}
			return got
		}
		scale(2)
		if got, want := ended(), [3]bool{false, true, false}; got != want {
			t.Errorf("ended are %v, want the idle one: %v", got, want)
		}
		scale(1)
		pass(time.Hour)
		if got, want := ended(), [3]bool{false, true, false}; got != want {
			t.Errorf("ended are %v: a busy one was not let finish", got)
		}
		if n := len(x.runtime.stops()); n != 1 {
			t.Errorf("%d were stopped, want 1", n)
		}
		if got, want := x.Instances("e", 0)["v"], (InstanceCounts{Ready: 1, Busy: 3}); got != want {
			t.Errorf("instances are %+v, want %+v", got, want)
		}
		agents[2].set(0)
		if got, want := ended(), [3]bool{false, true, true}; got != want {
			t.Errorf("ended are %v, want %v", got, want)
		}
		scale(2)
		if n := len(x.runtime.starts()); n != 4 {
			t.Errorf("%d were started, want 4", n)
		}
		agents[0].set(0)
		x.wantStatus(t, "e", deferd.EndpointInService)
	})
}

// TestShutdown relies on the bubble: it ends only with its last goroutine.
func TestShutdown(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		agents := x.serving(t, 2)
		agents[0].set(1)
		x.runtime.mu.Lock()
		x.runtime.onStart = func(deferd.InstanceSpec) error { return nil } // the third does not come up
		x.runtime.mu.Unlock()
		x.change(t, "e", func(e *deferd.Endpoint) { e.Variants[0].Desired = 3 })
		stopped := make(chan struct{})
		go func() { x.stop(); close(stopped) }()
		pass(time.Minute)
		select {
		case <-stopped:
			t.Error("Run has ended while an agent finishes its work")
		default:
		}
		agents[0].set(0)
		<-stopped
		if n := len(x.runtime.stops()); n != 3 {
			t.Errorf("%d instances were stopped, want 3", n)
		}
		x.wantStatus(t, "e", deferd.EndpointInService)
	})
}

func TestShutdownWhileStarting(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		x.runtime.onStart = func(deferd.InstanceSpec) error { <-ctx.Done(); return ctx.Err() }
		x.create(t, "e", 1)
		time.AfterFunc(time.Second, cancel)
		x.stop()
		// Nobody knows how far it came.
		if n := len(x.runtime.stops()); n != 1 {
			t.Errorf("%d instances were stopped, want 1", n)
		}
		x.wantStatus(t, "e", deferd.EndpointCreating)
	})
}

// TestEnvironment follows an instance's keys from its start to its end.
func TestEnvironment(t *testing.T) {
	var given, revoked []deferd.InstanceID
	var runtime *fakeRuntime
	env := func(_ context.Context, m deferd.Model, id deferd.InstanceID) (map[string]string, func(context.Context), error) {
		given = append(given, id)
		return map[string]string{"KEY": string(m.ID)}, func(ctx context.Context) {
			if ctx.Err() != nil {
				t.Error("the keys were taken back under a context that has ended")
			}
			if !slices.Contains(runtime.stops(), id) {
				t.Error("the keys were taken back before the instance was stopped")
			}
			revoked = append(revoked, id)
		}, nil
	}
	inBubble(t, func(c *Config) { c.Env = env }, func(t *testing.T, x *fixture) {
		runtime = x.runtime
		x.serving(t, 1)
		if got := x.runtime.starts()[0].PlatformEnv["KEY"]; got != "m" {
			t.Errorf("the instance's key is %q, want m", got)
		}
		if len(revoked) != 0 {
			t.Errorf("while it serves, the keys of %v were taken back", revoked)
		}
		x.stop()
		if len(given) != 1 || !slices.Equal(given, revoked) {
			t.Errorf("given to %v, taken back from %v", given, revoked)
		}
	})
}

func TestFailingEnvironmentIsTriedAgain(t *testing.T) {
	fails := 2
	env := func(context.Context, deferd.Model, deferd.InstanceID) (map[string]string, func(context.Context), error) {
		if fails--; fails >= 0 {
			return nil, nil, errors.New("no keys")
		}
		return nil, func(context.Context) {}, nil
	}
	inBubble(t, func(c *Config) { c.Env = env }, func(t *testing.T, x *fixture) {
		x.create(t, "e", 1)
		pass(10 * time.Second)
		x.wantStatus(t, "e", deferd.EndpointInService)
	})
}

func TestRestartLooksAfterWhatThereIs(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.serving(t, 2)
		x.stop()
		s, _, stop := x.nextLife(t)
		synctest.Wait()
		if got := s.Instances("e", 0)["v"].Ready; got != 2 {
			t.Errorf("in the next life %d instances are ready, want 2", got)
		}
		stop()
	})
}
