package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"

	"github.com/deferd/deferd/conformance/model/journal"
)

// TestServerKilled kills the server while 500 invocations are queued and
// running, starts it again, and counts.
func TestServerKilled(t *testing.T) {
	s := startServer(t, "MODEL_WORKER=1")
	c := s.client()
	c.deploy()
	// Two stay where they are, so that something runs whenever it is killed.
	accepted := c.invokeMany(500, func(i int) string {
		if i < 2 {
			return "hang=first"
		}
		return "delay=40ms"
	})
	await(t, "some invocations to end", func() bool {
		starts := s.starts()
		return len(s.journal(journal.End)) >= 50 && starts[inferenceID(0)] > 0 && starts[inferenceID(1)] > 0
	})

	before := c.list("out/")
	s.kill()
	running := s.runningIDs()
	t.Logf("killed with %d results published and %d invocations running", len(before), len(running))
	if len(running) < 2 || len(before) == 0 || len(before) >= len(accepted) {
		t.Fatal("the server was not killed in the middle of its work")
	}
	s.awaitNoModels()

	restarted := time.Now()
	s.start()
	c = s.client()
	await(t, "all results", func() bool { return len(c.list("out/")) >= len(accepted) })
	after := c.list("out/")
	for id, out := range accepted {
		if _, ok := after[key(*out.OutputLocation)]; !ok {
			t.Errorf("%s was accepted, and has no result", id)
		}
	}
	if got, want := len(after), len(accepted); got != want {
		t.Errorf("there are %d results, want %d", got, want)
	}
	if failed := c.list("failed/"); len(failed) > 0 {
		t.Errorf("there are %d failure objects, want none", len(failed))
	}
	for k, written := range before {
		if !after[k].Equal(written) {
			t.Errorf("%s was written again after the restart", k)
		}
	}
	s.checkResumed(running, restarted, 20*time.Second)
	want := map[string]int{"Completed": len(accepted)}
	await(t, "every invocation to end as Completed", func() bool { return maps.Equal(s.states(), want) })
}

// states counts the invocations by state, as "deferd invocations" has them.
func (s *server) states() map[string]int {
	s.t.Helper()
	var list []struct {
		State string `json:"state"`
	}
	out := s.command("invocations", endpoint, "--limit", "1000", "--output", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		s.t.Fatal(err)
	}
	n := map[string]int{}
	for _, inv := range list {
		n[inv.State]++
	}
	return n
}

// inferenceID is that of the i-th of many invocations.
func inferenceID(i int) string { return fmt.Sprintf("invocation-%d", i) }

// invokeMany invokes the endpoint n times from several clients at once, each
// time with the custom attributes for it, and returns the answers by inference
// ID.
func (c *client) invokeMany(n int, attributes func(i int) string) map[string]*sagemakerruntime.InvokeEndpointAsyncOutput {
	c.t.Helper()
	var mu sync.Mutex // guards accepted
	accepted := map[string]*sagemakerruntime.InvokeEndpointAsyncOutput{}
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; i < n; i += 16 {
				id := inferenceID(i)
				out, err := c.runtime.InvokeEndpointAsync(c.t.Context(), &sagemakerruntime.InvokeEndpointAsyncInput{
					EndpointName: aws.String(endpoint), InferenceId: &id, Body: []byte(id), CustomAttributes: aws.String(attributes(i)),
				})
				if err != nil {
					c.t.Errorf("invoke %s: %v", id, err)
					return
				}
				mu.Lock()
				accepted[id] = out
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got, want := len(accepted), n; got != want {
		c.t.Fatalf("%d invocations were accepted, want %d", got, want)
	}
	return accepted
}

// runningIDs returns the inference IDs that have come to a model that did not
// answer them.
func (s *server) runningIDs() map[string]bool {
	s.t.Helper()
	running := map[string]bool{}
	for _, e := range s.journal(journal.Start) {
		running[e.ID] = true
	}
	for _, e := range s.journal(journal.End) {
		delete(running, e.ID)
	}
	return running
}

// checkResumed checks that each invocation that ran when the server was killed
// came to a model again, once, soon after the restart; and that none of the
// others came more than twice: one that had ended but was not settled yet may
// have to run again.
func (s *server) checkResumed(running map[string]bool, restarted time.Time, limit time.Duration) {
	s.t.Helper()
	slowest := time.Duration(0)
	for _, e := range s.journal(journal.Start) {
		if running[e.ID] && e.Time.After(restarted) {
			slowest = max(slowest, e.Time.Sub(restarted))
		}
	}
	s.t.Logf("what ran was resumed within %v of the restart", slowest)
	if slowest > limit {
		s.t.Errorf("what ran was resumed within %v of the restart, want at most %v", slowest, limit)
	}
	for id, n := range s.starts() {
		if running[id] && n != 2 || n > 2 {
			s.t.Errorf("%s came to the model %d times (running when the server was killed: %t)", id, n, running[id])
		}
	}
}

// TestModelKilled kills the model's process while it has an invocation.
func TestModelKilled(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), CustomAttributes: aws.String("hang=first")})
	var first journal.Entry
	await(t, "the first attempt", func() bool {
		starts := s.journal(journal.Start)
		if len(starts) > 0 {
			first = starts[0]
		}
		return len(starts) > 0
	})
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got, want := string(c.awaitObject(*out.OutputLocation).data), "x"; got != want {
		t.Errorf("result %q, want %q", got, want)
	}
	if got, want := s.starts()[*out.InferenceId], 2; got != want {
		t.Errorf("the invocation came to the model %d times, want %d", got, want)
	}
	if got := len(c.list("out/")) + len(c.list("failed/")); got != 1 {
		t.Errorf("there are %d outcome objects, want 1", got)
	}
	for _, e := range s.journal(journal.Start)[1:] {
		if e.PID == first.PID {
			t.Error("the second attempt ran in the process that was killed")
		}
	}
}

// TestNoOrphans kills the server and looks for what it has started: the model,
// and the worker that the model put into a session of its own.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	s := startServer(t, "MODEL_WORKER=1")
	s.client().deploy()
	await(t, "the model and its worker", func() bool { return len(s.journal(journal.Listening)) >= 2 })
	s.kill()
	s.awaitNoModels()
}

// TestStop stops the server in order: what runs may finish, what waits is kept.
func TestStop(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	accepted := c.invokeMany(12, func(int) string { return "delay=500ms" })
	await(t, "an invocation to run", func() bool { return len(s.journal(journal.Start)) > 0 })
	s.stop()
	s.awaitNoModels()
	s.start()
	c = s.client()
	for _, out := range accepted {
		c.awaitObject(*out.OutputLocation)
	}
	want := map[string]int{}
	for id := range accepted {
		want[id] = 1
	}
	if got := s.starts(); !maps.Equal(got, want) {
		t.Errorf("invocations came to the model %v times, want once each", got)
	}
}
