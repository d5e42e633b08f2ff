// Package runtimetest is the suite that every [deferd.Runtime] must pass.
package runtimetest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// A Subject is a Runtime under test and the images that it knows.
type Subject struct {
	Runtime deferd.Runtime
	Image   func(Behaviour) string
}

// limit is how long the suite waits for anything that must come.
const limit = time.Minute

// Run runs the suite. Open returns a Runtime without instances whose Run has
// not been called; the suite calls it, and ends it with the test.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"life", testLife},
		{"start twice", testStartTwice},
		{"two instances", testTwoInstances},
		{"unknown image", testUnknownImage},
		{"crash", testCrash},
		{"stubborn", testStubborn},
		{"stop before it listens", testStopBeforeItListens},
		{"a sooner stop", testSoonerStop},
		{"stop of the unknown", testStopUnknown},
		{"environment", testEnvironment},
		{"logs", testLogs},
		{"late watch", testLateWatch},
		{"slow watch", testSlowWatch},
		{"end of run", testEndOfRun},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newBench(t, open(t)))
		})
	}
}

// A bench is a running subject with its events.
type bench struct {
	Subject
	events <-chan deferd.InstanceEvent
	end    func() // ends Run and returns when it has
}

func newBench(t *testing.T, s Subject) *bench {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Runtime.Run(ctx) }()
	watching, stopWatching := context.WithCancel(context.Background())
	b := &bench{Subject: s, events: s.Runtime.Watch(watching)}
	over := false
	b.end = func() {
		if over {
			return
		}
		over = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(limit):
			t.Error("Run does not end")
		}
	}
	t.Cleanup(func() { b.end(); stopWatching() })
	return b
}

func (b *bench) spec(id string, behaviour Behaviour) deferd.InstanceSpec {
	return deferd.InstanceSpec{
		ID:       deferd.InstanceID(id),
		Account:  "000000000000",
		Endpoint: "an-endpoint",
		Variant:  "AllTraffic",
		Image:    b.Image(behaviour),
	}
}

func (b *bench) start(t *testing.T, spec deferd.InstanceSpec) {
	t.Helper()
	if err := b.Runtime.Start(t.Context(), spec); err != nil {
		t.Fatalf("start %s: %v", spec.ID, err)
	}
}

// await returns the next event, which must be of an instance and a phase.
func await(t *testing.T, events <-chan deferd.InstanceEvent, id string, phase deferd.Phase) deferd.InstanceEvent {
	t.Helper()
	select {
	case e := <-events:
		if e.ID != deferd.InstanceID(id) || e.Phase != phase {
			t.Fatalf("got event %+v, want instance %s in phase %d", e, id, phase)
		}
		return e
	case <-time.After(limit):
		t.Fatalf("no event, want instance %s in phase %d", id, phase)
	}
	panic("unreachable")
}

// serve starts an instance that listens, and returns its address.
func (b *bench) serve(t *testing.T, spec deferd.InstanceSpec) (addr string) {
	t.Helper()
	b.start(t, spec)
	await(t, b.events, string(spec.ID), deferd.PhaseStarting)
	return await(t, b.events, string(spec.ID), deferd.PhaseRunning).Addr
}

func get(t *testing.T, url string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	return string(body), err
}

func (b *bench) stop(t *testing.T, id string, grace time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := b.Runtime.Stop(ctx, deferd.InstanceID(id), grace); err != nil {
		t.Fatalf("stop %s: %v", id, err)
	}
}

func wantOrderly(t *testing.T, e deferd.InstanceEvent) {
	t.Helper()
	if e.Exit != (deferd.Exit{}) {
		t.Errorf("stopped in order, but exit is %+v", e.Exit)
	}
}

func testLife(t *testing.T, b *bench) {
	addr := b.serve(t, b.spec("a", Serves))
	if _, err := get(t, addr+"/ping"); err != nil {
		t.Errorf("ping: %v", err)
	}
	b.stop(t, "a", limit)
	wantOrderly(t, await(t, b.events, "a", deferd.PhaseGone))
	if _, err := get(t, addr+"/ping"); err == nil {
		t.Error("something answers pings after the instance has gone")
	}
	b.stop(t, "a", limit)
}

func testStartTwice(t *testing.T, b *bench) {
	b.serve(t, b.spec("a", Serves))
	b.start(t, b.spec("a", Serves))
	b.stop(t, "a", limit)
	await(t, b.events, "a", deferd.PhaseGone) // and no other event before
}

func testTwoInstances(t *testing.T, b *bench) {
	first := b.serve(t, b.spec("a", Serves))
	second := b.serve(t, b.spec("b", Serves))
	if first == second {
		t.Fatalf("both instances are at %s", first)
	}
	b.stop(t, "a", limit)
	await(t, b.events, "a", deferd.PhaseGone)
	if _, err := get(t, second+"/ping"); err != nil {
		t.Errorf("the other instance: %v", err)
	}
}

func testUnknownImage(t *testing.T, b *bench) {
	spec := b.spec("a", Serves)
	spec.Image = "no.such.host/nothing:0"
	err := b.Runtime.Start(t.Context(), spec)
	if err == nil { // known later only
		await(t, b.events, "a", deferd.PhaseStarting)
		if e := await(t, b.events, "a", deferd.PhaseGone); e.Exit.Message == "" {
			t.Error("gone without a message")
		}
		return
	}
	if got, want := deferd.CodeOf(err), deferd.Invalid; got != want {
		t.Errorf("code %v, want %v", got, want)
	}
}

func testCrash(t *testing.T, b *bench) {
	b.start(t, b.spec("a", Crashes))
	await(t, b.events, "a", deferd.PhaseStarting)
	e := await(t, b.events, "a", deferd.PhaseGone)
	if !strings.Contains(e.Exit.Message, CrashLine) || !strings.Contains(e.Exit.Message, "3") {
		t.Errorf("message %q lacks the exit code or the last line", e.Exit.Message)
	}
	if e.Exit.OutOfMemory || e.Exit.Permanent {
		t.Errorf("exit %+v, want neither out of memory nor permanent", e.Exit)
	}
}

func testStubborn(t *testing.T, b *bench) {
	addr := b.serve(t, b.spec("a", Stubborn))
	b.stop(t, "a", 50*time.Millisecond)
	wantOrderly(t, await(t, b.events, "a", deferd.PhaseGone))
	if _, err := get(t, addr+"/ping"); err == nil {
		t.Error("it is still there")
	}
}

func testStopBeforeItListens(t *testing.T, b *bench) {
	b.start(t, b.spec("a", Silent))
	await(t, b.events, "a", deferd.PhaseStarting)
	b.stop(t, "a", limit)
	wantOrderly(t, await(t, b.events, "a", deferd.PhaseGone))
}

// A second Stop with less grace counts; the first one returns too.
func testSoonerStop(t *testing.T, b *bench) {
	b.serve(t, b.spec("a", Stubborn))
	first := make(chan error, 1)
	go func() { first <- b.Runtime.Stop(context.WithoutCancel(t.Context()), "a", 100*limit) }()
	b.stop(t, "a", 50*time.Millisecond)
	if err := <-first; err != nil {
		t.Errorf("the patient stop: %v", err)
	}
	await(t, b.events, "a", deferd.PhaseGone)
}

func testStopUnknown(t *testing.T, b *bench) { b.stop(t, "nobody", limit) }

func testEnvironment(t *testing.T, b *bench) {
	spec := b.spec("a", Serves)
	spec.PlatformEnv = map[string]string{"AWS_REGION": "platform", "AWS_SESSION_TOKEN": "a=b c\n"}
	spec.Env = map[string]string{"AWS_REGION": "model", "EMPTY": ""}
	addr := b.serve(t, spec)
	for name, want := range map[string]string{
		"AWS_REGION":        "model",
		"AWS_SESSION_TOKEN": "a=b c\n",
		"EMPTY":             "",
	} {
		if got, err := get(t, addr+"/env?name="+name); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
}

func testLogs(t *testing.T, b *bench) {
	b.start(t, b.spec("a", Crashes))
	await(t, b.events, "a", deferd.PhaseStarting)
	await(t, b.events, "a", deferd.PhaseGone)
	for _, test := range []struct {
		tail int64
		want string
	}{
		{1 << 20, Started + "\n" + CrashLine + "\n"},
		{int64(len("wrong\n")), "wrong\n"},
	} {
		logs, err := b.Runtime.Logs(t.Context(), "a", test.tail)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(logs)
		if err := logs.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || string(got) != test.want {
			t.Errorf("tail %d: got %q, %v, want %q", test.tail, got, err, test.want)
		}
	}
	if _, err := b.Runtime.Logs(t.Context(), "nobody", 100); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("logs of nobody: %v, want NotFound", err)
	}
}

func testLateWatch(t *testing.T, b *bench) {
	addr := b.serve(t, b.spec("a", Serves))
	late := b.Runtime.Watch(t.Context())
	if e := await(t, late, "a", deferd.PhaseRunning); e.Addr != addr {
		t.Errorf("address %q, want %q", e.Addr, addr)
	}
	b.stop(t, "a", limit)
	await(t, late, "a", deferd.PhaseGone)
}

// A reader that takes nothing until the end gets every event, and the end of
// its context closes the channel.
func testSlowWatch(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow := b.Runtime.Watch(ctx)
	for n := range 3 {
		id := fmt.Sprint("a", n)
		b.serve(t, b.spec(id, Serves))
		b.stop(t, id, limit)
		await(t, b.events, id, deferd.PhaseGone)
	}
	for n := range 3 {
		id := fmt.Sprint("a", n)
		await(t, slow, id, deferd.PhaseStarting)
		await(t, slow, id, deferd.PhaseRunning)
		await(t, slow, id, deferd.PhaseGone)
	}
	cancel()
	if e, ok := <-slow; ok {
		t.Errorf("event %+v after the end", e)
	}
}

func testEndOfRun(t *testing.T, b *bench) {
	b.serve(t, b.spec("a", Serves))
	b.end()
	wantOrderly(t, await(t, b.events, "a", deferd.PhaseGone))
	if err := b.Runtime.Start(t.Context(), b.spec("b", Serves)); deferd.CodeOf(err) != deferd.Unavailable {
		t.Errorf("start after the end: %v, want Unavailable", err)
	}
}
