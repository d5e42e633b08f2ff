package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// readData are the lines of an endpoint's data log, with their streams.
func readData(t *testing.T, d *dataLogs, since time.Time) (lines []string) {
	t.Helper()
	for event, err := range d.read(t.Context(), "ep", since) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, event.Stream+" "+event.Message)
	}
	return lines
}

func TestDataLog(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	d := &dataLogs{dir: t.TempDir(), now: func() time.Time { return now }}
	t.Cleanup(func() { d.close() })
	first, second := d.of("ep", "v-1", "i-0a"), d.of("ep", "w", "i-0b")
	first("id", "It went well.")
	now = now.Add(time.Millisecond)
	second("id] [x/i-9] no", "An [odd/i-1] one.")
	want := []string{
		"v-1/i-0a/data-log 2026-01-02T03:04:05.006:[sagemaker logs] [id] It went well.",
		"w/i-0b/data-log 2026-01-02T03:04:05.007:[sagemaker logs] [id] [x/i-9] no] An [odd/i-1] one.",
	}
	got := readData(t, d, time.Time{})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if got := readData(t, d, now); len(got) != 1 {
		t.Errorf("since the second line there are %q, want one", got)
	}
}

// A log that was full goes on in a new file; one that was removed begins anew.
func TestDataLogFiles(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := &dataLogs{dir: t.TempDir(), now: func() time.Time { return now }}
	t.Cleanup(func() { d.close() })
	log := d.of("ep", "v", "i-0a")
	path := filepath.Join(d.dir, "ep", "data.log")
	log("1", "old")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	log("2", strings.Repeat("x", maxDataLog))
	log("3", "new")
	if _, err := os.Stat(path + ".1"); err != nil {
		t.Error(err)
	}
	if got := readData(t, d, time.Time{}); len(got) != 2 || !strings.HasSuffix(got[1], "[3] new") {
		t.Errorf("there are %d lines, want the long and the new one", len(got))
	}
	for _, p := range []string{path, path + ".1"} { // as is done with what nobody has written to for a day
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	log("4", "after a pause")
	if got := readData(t, d, time.Time{}); len(got) != 1 || !strings.HasSuffix(got[0], "[4] after a pause") {
		t.Errorf("after a pause there are %q, want one line", got)
	}
}
