package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShowSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 20_000_000: "20.0 MB", 999_949: "999.9 kB", 999_950: "1.0 MB", 5 << 40: "5.5 TB", 1 << 62: "4611.7 PB",
	} {
		if got := showSize(n); got != want {
			t.Errorf("showSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestFormats(t *testing.T) {
	var f format
	for _, value := range []string{"text", "json"} {
		if err := f.Set(value); err != nil || f.String() != value {
			t.Errorf("Set(%q): %v, %q", value, err, f)
		}
	}
	if f.Set("xml") == nil {
		t.Error("xml is taken")
	}
	o := deployOutput{format: textFormat}
	for _, value := range []string{"s3://bucket/out", "json"} {
		if err := o.Set(value); err != nil {
			t.Errorf("Set(%q): %v", value, err)
		}
	}
	if want := (deployOutput{jsonFormat, "s3://bucket/out"}); o != want {
		t.Errorf("--output given for both: %+v, want %+v", o, want)
	}
	if o.Set("bucket/out") == nil {
		t.Error("a path without s3:// is taken")
	}
}

// Elsewhere than on a terminal there is a line for each change, and no details.
func TestStatusLineInAFile(t *testing.T) {
	var b bytes.Buffer
	s := newStatusLine(&b)
	for _, text := range []string{"Creating", "Creating", "InService"} {
		s.show(text, " 3s")
		s.clear()
	}
	if got, want := b.String(), "Creating\nInService\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStatusLineOnATerminal(t *testing.T) {
	var b bytes.Buffer
	s := &statusLine{w: &b, width: 10}
	s.show("Creating", " 3s")
	s.clear()
	if got, want := b.String(), "\r\x1b[K| Creatin\r\x1b[K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTerminalWidth(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, w := range map[string]any{"a buffer": new(bytes.Buffer), os.DevNull: null} {
		if got := terminalWidth(w); got != 0 {
			t.Errorf("%s is a terminal of %d columns", name, got)
		}
	}
}

func TestBar(t *testing.T) {
	got := []string{bar(0, 0, 4), bar(0, 3, 4), bar(1, 2, 4), bar(3, 3, 4)}
	if diff := cmp.Diff([]string{"[####]", "[....]", "[##..]", "[####]"}, got); diff != "" {
		t.Errorf("bars (-want +got):\n%s", diff)
	}
}
