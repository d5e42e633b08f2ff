package sqlite

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/uuid"
)

// A bench is a store with one endpoint in service, in a file of its own.
type bench struct {
	*Store
	path string
	now  atomic.Int64 // the store's clock, in microseconds
}

var (
	testModel  = deferd.Model{ID: "m", Account: "a", Name: "model", Image: "image", Created: time.Unix(1, 0)}
	testConfig = deferd.Config{
		ID: "c", Account: "a", Name: "config", Created: time.Unix(1, 0),
		Variants: []deferd.Variant{{Name: "v", ModelID: "m", ModelName: "model"}},
		Async:    &deferd.AsyncConfig{OutputPath: deferd.Location{Bucket: "b", Key: "out"}},
	}
	testEndpoint = deferd.Endpoint{
		ID: "e", Account: "a", Name: "endpoint", ConfigID: "c", Status: deferd.EndpointInService,
		Created: time.Unix(1, 0), Modified: time.Unix(1, 0),
	}
)

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{path: filepath.Join(t.TempDir(), "deferd.db")}
	b.now.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMicro())
	b.open(t)
	must(t, b.CreateModel(t.Context(), testModel))
	must(t, b.CreateConfig(t.Context(), testConfig))
	must(t, b.CreateEndpoint(t.Context(), testEndpoint))
	return b
}

func (b *bench) open(t testing.TB) {
	t.Helper()
	s, err := Open(b.path, Options{Now: func() time.Time { return time.UnixMicro(b.now.Load()) }})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	b.Store = s
}

func (b *bench) advance(d time.Duration) { b.now.Add(d.Microseconds()) }

func newInvocation() deferd.NewInvocation {
	id := deferd.InvocationID(uuid.Must(uuid.NewV7()).String())
	return deferd.NewInvocation{
		ID: id, InferenceID: string(id), Account: "a", Endpoint: "e", Config: "c", AccessKey: "AKIA",
		Input:  deferd.Location{Bucket: "b", Key: "in"},
		Output: deferd.OutputLocation(testConfig.Async.OutputPath, "", "", id),
		TTL:    time.Hour, Timeout: time.Minute,
	}
}

// inline is a new invocation with a body of n bytes.
func inline(n int) deferd.NewInvocation {
	inv := newInvocation()
	inv.Input, inv.Inline = deferd.Location{}, make([]byte, n)
	return inv
}

func (b *bench) session(t testing.TB, slots int) deferd.SessionID {
	t.Helper()
	id, err := b.OpenSession(t.Context(), deferd.Session{Endpoint: "e", Variant: "v", Instance: "i", Slots: slots})
	must(t, err)
	return id
}

func completed(body string) deferd.Outcome {
	return deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, ModelStatus: 200, Body: []byte(body), Size: int64(len(body))}
}

// run takes one queued invocation to its end.
func (b *bench) run(t testing.TB, s deferd.SessionID, confirmed int64) int64 {
	c, err := b.Claim(t.Context(), s, confirmed, 1)
	must(t, err)
	if len(c.Leases) != 1 {
		t.Fatalf("claimed %d invocations, want 1", len(c.Leases))
	}
	must(t, b.Settle(t.Context(), deferd.Settlement{Lease: c.Leases[0].ID, Outcome: completed("out")}))
	must(t, b.Finish(t.Context(), c.Leases[0].Invocation, 1, nil))
	return c.Number
}

// wantCounts checks the counts, and that a recount finds the same.
func (b *bench) wantCounts(t testing.TB, want deferd.Counts) {
	t.Helper()
	got, err := b.Counts(t.Context(), "e")
	must(t, err)
	if got != want {
		t.Errorf("counts are %+v, want %+v", got, want)
	}
	again, err := b.Recount(t.Context(), "e")
	must(t, err)
	if again != got {
		t.Errorf("a recount finds %+v, want %+v", again, got)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, want deferd.Code) {
	t.Helper()
	if err == nil || deferd.CodeOf(err) != want {
		t.Errorf("error is %v, want one with code %q", err, want)
	}
}
