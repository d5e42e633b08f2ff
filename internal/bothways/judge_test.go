package bothways

import (
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// TestPromisesCanBreak shows that each promise, once broken, is complained of.
func TestPromisesCanBreak(t *testing.T) {
	settled := time.Unix(100, 0)
	good := func() (*request, deferd.Invocation, []run, map[string]object) {
		r := &request{name: "r", state: deferd.Completed, reason: deferd.ModelOK, content: []byte("c"), runs: 1}
		inv := deferd.Invocation{State: deferd.Completed, Reason: deferd.ModelOK, Settled: settled}
		inv.ID, inv.Output.Key, inv.Failure.Key = "id", "out", "fail"
		return r, inv, []run{{settled.Add(-time.Second)}}, map[string]object{"out": {[]byte("c"), "id"}}
	}
	for _, test := range []struct {
		name  string
		spoil func(inv *deferd.Invocation, runs *[]run, seen map[string]object)
		want  string // of a complaint; "": none
	}{
		{"nothing", func(*deferd.Invocation, *[]run, map[string]object) {}, ""},
		{"another end", func(inv *deferd.Invocation, _ *[]run, _ map[string]object) { inv.Reason = deferd.TTLExpired }, "want Completed"},
		{"ran twice", func(_ *deferd.Invocation, runs *[]run, _ map[string]object) { *runs = append(*runs, (*runs)[0]) }, "ran r 2 times"},
		{"never ran", func(_ *deferd.Invocation, runs *[]run, _ map[string]object) { *runs = nil }, "ran r 0 times"},
		{"ran too late", func(_ *deferd.Invocation, runs *[]run, _ map[string]object) {
			(*runs)[0].began = settled.Add(time.Second)
		}, "after it was decided"},
		{"no object", func(_ *deferd.Invocation, _ *[]run, seen map[string]object) { delete(seen, "out") }, "has no object"},
		{"both objects", func(_ *deferd.Invocation, _ *[]run, seen map[string]object) { seen["fail"] = object{} }, "of the other kind"},
		{"other bytes", func(_ *deferd.Invocation, _ *[]run, seen map[string]object) { seen["out"] = object{[]byte("d"), "id"} }, "other bytes"},
		{"another's", func(_ *deferd.Invocation, _ *[]run, seen map[string]object) { seen["out"] = object{[]byte("c"), "di"} }, "has the mark"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, inv, runs, seen := good()
			test.spoil(&inv, &runs, seen)
			wrongs := append(r.brokenEnd(inv, tolerance{}), r.brokenRuns(inv, runs, tolerance{})...)
			wrongs = append(wrongs, r.brokenObject(inv, seen, tolerance{})...)
			said := strings.Join(wrongs, "\n")
			if test.want == "" && said != "" || !strings.Contains(said, test.want) {
				t.Errorf("the complaints are %q, want one with %q", said, test.want)
			}
		})
	}
}

// TestRecordSeesChanges shows that an outcome and an object that change are
// noticed, and that repeats are no change.
func TestRecordSeesChanges(t *testing.T) {
	at := deferd.Location{Bucket: "b", Key: "k"}
	p := deferd.Publication{Decision: 1, Outcome: deferd.Outcome{State: deferd.Completed, Body: []byte("x")}}
	r := newRecord()
	for range 2 {
		r.put(at, deferd.ObjectAttributes{}, []byte("x"))
		r.decided([]deferd.Publication{p})
	}
	if c := r.complaints(); len(c) != 0 {
		t.Errorf("repeats are complained of: %q", c)
	}
	r.put(at, deferd.ObjectAttributes{}, []byte("y"))
	p.Outcome.Body = []byte("y")
	r.decided([]deferd.Publication{p})
	if c := r.complaints(); len(c) != 2 {
		t.Errorf("the complaints are %q, want one of the object and one of the decision", c)
	}
}
