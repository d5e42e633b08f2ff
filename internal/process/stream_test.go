package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

// logsOf are the lines of an endpoint, with their streams.
func logsOf(t *testing.T, r *Runtime, e deferd.EndpointName, since time.Time) (lines []string, times []time.Time) {
	t.Helper()
	for event, err := range r.ReadLogs(t.Context(), e, since, func(stream string) bool { return stream != "v/i-unwanted" }) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, event.Stream+": "+event.Message)
		times = append(times, event.Time)
	}
	return lines, times
}

func TestReadLogs(t *testing.T) {
	r := &Runtime{options: Options{Dir: t.TempDir()}}
	began := time.Now().Truncate(time.Millisecond)
	open := func(name string, limit int64) *logFile {
		l, err := createLog(filepath.Join(r.logsDir(), "ep", name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.close() })
		l.max = limit
		return l
	}
	first := open("v-i-i-0a.log", 6) // its variant is called v-i
	first.copyFrom(strings.NewReader("a\nb\nc\nd\n"))
	for !time.Now().Truncate(time.Millisecond).After(began.Add(2 * time.Millisecond)) {
	}
	later := time.Now()
	first.copyFrom(strings.NewReader("e\n"))
	open("v-i-unwanted.log", 100).copyFrom(strings.NewReader("x\n"))
	old := open("v-i-0b.log", 100)
	old.copyFrom(strings.NewReader("y\n"))
	if err := os.Remove(old.path + timesSuffix); err != nil { // as before there were any
		t.Fatal(err)
	}
	lines, times := logsOf(t, r, "ep", time.Time{})
	want := []string{"v/i-0b: y", "v-i/i-0a: a", "v-i/i-0a: b", "v-i/i-0a: c", "v-i/i-0a: d", "v-i/i-0a: e"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	for i, at := range times {
		if at.Before(began) || at.After(time.Now()) || i > 1 && at.Before(times[i-1]) {
			t.Errorf("line %d is of %s", i, at)
		}
	}
	lines, _ = logsOf(t, r, "ep", later.Truncate(time.Millisecond))
	if diff := cmp.Diff([]string{"v/i-0b: y", "v-i/i-0a: e"}, lines); diff != "" {
		t.Errorf("later lines (-want +got):\n%s", diff)
	}
	streams, err := r.LogStreams(t.Context(), "ep")
	if err != nil || len(streams) != 3 || streams[1].Name != "v-i/i-0a" || streams[1].Size != 10 || streams[1].First.Before(began) || streams[1].Last.Before(streams[1].First) {
		t.Errorf("streams are %+v, %v", streams, err)
	}
	groups, err := r.LogGroups(t.Context())
	if err != nil || len(groups) != 1 || groups[0].Endpoint != "ep" || groups[0].Size != 14 {
		t.Errorf("groups are %+v, %v", groups, err)
	}
	for _, name := range []deferd.EndpointName{"none", "..", "a/b", ""} {
		if _, err := r.LogStreams(t.Context(), name); err == nil || deferd.CodeOf(err) != deferd.NotFound {
			t.Errorf("streams of %q: %v, want not found", name, err)
		}
	}
}
