// Package storetest is the suite that every form of [deferd.Store] must pass.
package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// A Form is one form of the store.
type Form struct {
	// Open opens a fresh store that reads its time from now.
	Open func(t *testing.T, now func() time.Time) deferd.Store

	// Crash returns the store as it is found after a crash at this moment:
	// everything that was not durable is lost, and the process that had it
	// open is gone.
	Crash func(t *testing.T, s deferd.Store) deferd.Store
}

// Run runs the suite.
func Run(t *testing.T, f Form) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, *fixture)
	}{
		{"registry", registryTests},
		{"accept", acceptTests},
		{"lease", leaseTests},
		{"settle", settleTests},
		{"sweep", sweepTests},
		{"query", queryTests},
		{"documents", documentTests},
		{"history", historyTests},
		{"outbox", outboxTests},
		{"crash", crashTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) { test(t, newFixture(t, f)) })
			}
		})
	}
	t.Run("retry", func(t *testing.T) { runRetries(t, f) })
}

// A fixture is a store with one endpoint in service and a clock to turn.
type fixture struct {
	deferd.Store
	form     Form
	clock    *fakeClock
	endpoint deferd.Endpoint
	config   deferd.Config
	drawn    int // IDs drawn
}

type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const account = "000000000000"

func newFixture(t *testing.T, f Form) *fixture {
	clock := &fakeClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	x := &fixture{Store: f.Open(t, clock.Now), form: f, clock: clock}
	x.endpoint, x.config = x.addEndpoint(t, "ep")
	return x
}

// addEndpoint makes a model, a configuration and an endpoint in service.
func (x *fixture) addEndpoint(t *testing.T, name string) (deferd.Endpoint, deferd.Config) {
	t.Helper()
	m := deferd.Model{ID: deferd.ModelID("m-" + name), Account: account, Name: deferd.ModelName("m-" + name), Created: x.Now(), Image: "img"}
	must(t, x.CreateModel(t.Context(), m))
	c := deferd.Config{
		ID: deferd.ConfigID("c-" + name), Account: account, Name: deferd.ConfigName("c-" + name), Created: x.Now(),
		Variants: []deferd.Variant{{Name: "v", ModelID: m.ID, ModelName: m.Name, InitialCount: 1}},
		Async:    &deferd.AsyncConfig{OutputPath: deferd.Location{Bucket: "b", Key: "out"}, FailurePath: deferd.Location{Bucket: "b", Key: "fail"}},
	}
	must(t, x.CreateConfig(t.Context(), c))
	e := deferd.Endpoint{
		ID: deferd.EndpointID("e-" + name), Account: account, Name: deferd.EndpointName(name), ConfigID: c.ID,
		Created: x.Now(), Modified: x.Now(), Status: deferd.EndpointInService,
		Variants: []deferd.EndpointVariant{{Name: "v", Desired: 1, Weight: 1}},
	}
	must(t, x.CreateEndpoint(t.Context(), e))
	return e, c
}

// invocation is a new invocation of the fixture's endpoint, with an S3 input.
func (x *fixture) invocation() deferd.NewInvocation {
	x.drawn++
	id := deferd.InvocationID(fmt.Sprintf("01900000-0000-7000-8000-%012d", x.drawn))
	return deferd.NewInvocation{
		ID: id, InferenceID: string(id), Account: account, Endpoint: x.endpoint.ID, Config: x.config.ID, AccessKey: "AKIATEST",
		Input:   deferd.Location{Bucket: "b", Key: "in/" + string(id)},
		Output:  deferd.OutputLocation(x.config.Async.OutputPath, "", "", id),
		Failure: deferd.FailureLocation(x.config.Async.FailurePath, id),
		TTL:     deferd.DefaultTTL, Timeout: deferd.DefaultTimeout,
	}
}

// accept accepts n new invocations.
func (x *fixture) accept(t *testing.T, n int) []deferd.Invocation {
	t.Helper()
	out := make([]deferd.Invocation, n)
	for i := range out {
		inv, repeated, err := x.Accept(t.Context(), x.invocation())
		must(t, err)
		if repeated {
			t.Fatalf("accept %d was taken for a repeat", i)
		}
		out[i] = inv
	}
	return out
}

// session opens a session of a new instance.
func (x *fixture) session(t *testing.T, instance string, slots int) deferd.SessionID {
	t.Helper()
	id, err := x.OpenSession(t.Context(), deferd.Session{Endpoint: x.endpoint.ID, Variant: "v", Instance: deferd.InstanceID(instance), Slots: slots})
	must(t, err)
	return id
}

// claim claims and fails the test on an error.
func (x *fixture) claim(t *testing.T, s deferd.SessionID, confirmed int64, n int) deferd.Claim {
	t.Helper()
	c, err := x.Claim(t.Context(), s, confirmed, n)
	must(t, err)
	return c
}

// get reads an invocation of the fixture's endpoint.
func (x *fixture) get(t *testing.T, id deferd.InvocationID) deferd.Invocation {
	t.Helper()
	inv, err := x.Invocation(t.Context(), x.endpoint.ID, string(id))
	must(t, err)
	return inv
}

// wantState checks an invocation's state and reason.
func (x *fixture) wantState(t *testing.T, id deferd.InvocationID, state deferd.State, reason deferd.Reason) deferd.Invocation {
	t.Helper()
	inv := x.get(t, id)
	if inv.State != state || inv.Reason != reason {
		t.Errorf("invocation is %v (%q), want %v (%q)", inv.State, inv.Reason, state, reason)
	}
	return inv
}

// wantConserved checks that the counts lose nothing and agree with a recount.
func (x *fixture) wantConserved(t *testing.T) deferd.Counts {
	t.Helper()
	c, err := x.Counts(t.Context(), x.endpoint.ID)
	must(t, err)
	if d := c.Drift(); d != 0 {
		t.Errorf("drift is %d, want 0: %+v", d, c)
	}
	again, err := x.Recount(t.Context(), x.endpoint.ID)
	must(t, err)
	if c != again {
		t.Errorf("counts are %+v, a recount finds %+v", c, again)
	}
	return c
}

// crash replaces the fixture's store by what is left of it after a crash.
func (x *fixture) crash(t *testing.T) {
	t.Helper()
	x.Store = x.form.Crash(t, x.Store)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, want deferd.Code) {
	t.Helper()
	if err == nil || deferd.CodeOf(err) != want {
		t.Errorf("error is %v, want one with code %q", err, want)
	}
}

func ids(leases []deferd.Lease) string {
	var s strings.Builder
	for _, l := range leases {
		s.WriteString(fmt.Sprintln(l.Invocation))
	}
	return s.String()
}

func accepted(invs []deferd.Invocation) string {
	var s strings.Builder
	for _, inv := range invs {
		s.WriteString(fmt.Sprintln(inv.ID))
	}
	return s.String()
}

func success(body string) deferd.Outcome {
	return deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, ModelStatus: 200, ContentType: "text/plain", Body: []byte(body), Size: int64(len(body))}
}
