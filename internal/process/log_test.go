package process

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newLog(t *testing.T) *logFile {
	t.Helper()
	l, err := createLog(filepath.Join(t.TempDir(), "endpoint", "a.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func readLog(t *testing.T, l *logFile, tail int64) string {
	t.Helper()
	r, err := l.open(tail)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, test := range []struct{ name, printed, want string }{
		{"nothing", "", ""},
		{"lines", "a\nb\n", "a\nb\n"},
		{"no end", "a\nb", "a\nb\n"},
		{"carriage return", "a\r\n\nb\n", "a\n\nb\n"},
		{"long line", "a\n" + long + "yy\nb\n", "a\n" + long + "\nb\n"},
		{"very long line", long + long + long + "\nb\n", long + "\nb\n"},
		{"long line without end", long + "yy", long + "\n"},
		{"longest whole line", long[1:] + "\nb\n", long[1:] + "\nb\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLog(t)
			l.copyFrom(strings.NewReader(test.printed))
			if got := readLog(t, l, 0); got != test.want {
				t.Errorf("got %d bytes %.80q, want %d bytes %.80q", len(got), got, len(test.want), test.want)
			}
		})
	}
}

func TestLogRotation(t *testing.T) {
	l := newLog(t)
	l.max = 6
	l.copyFrom(strings.NewReader("1\n2\n3\n4\n5\n6\n7\n"))
	for _, test := range []struct {
		tail int64
		want string
	}{
		{0, "4\n5\n6\n7\n"},
		{100, "4\n5\n6\n7\n"},
		{6, "5\n6\n7\n"},
		{2, "7\n"},
		{1, "\n"},
	} {
		if got := readLog(t, l, test.tail); got != test.want {
			t.Errorf("tail %d: got %q, want %q", test.tail, got, test.want)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(l.path)); err != nil || len(files) != 4 {
		t.Errorf("files %v, %v, want two, and two that say when their lines came", files, err)
	}
}

// What cannot be written is dropped; reading goes on, and the end says so.
func TestLogGoesOnWithoutDisk(t *testing.T) {
	l := newLog(t)
	l.max = 1
	if err := os.RemoveAll(filepath.Dir(l.path)); err != nil {
		t.Fatal(err)
	}
	l.copyFrom(strings.NewReader("1\n2\n3\n"))
	if got, want := l.lastLines(), "1\n2\n3"; got != want {
		t.Errorf("last lines %q, want %q", got, want)
	}
	if l.close() == nil {
		t.Error("no error of a log that could not be written")
	}
	l.err = nil
}

func TestLastLines(t *testing.T) {
	for _, test := range []struct{ name, printed, want string }{
		{"nothing", "", ""},
		{"blank lines", "a\n\n  \nb\n\n", "a\nb"},
		{"ten of twelve", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "3\n4\n5\n6\n7\n8\n9\n10\n11\n12"},
		{"control characters", "\x1b[31mred\x00\n", " [31mred "},
		{"not UTF-8", "a\xffb\n", "ab"},
		{"long", strings.Repeat("é", 500) + "!\n", strings.Repeat("é", 399) + "!"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLog(t)
			l.copyFrom(strings.NewReader(test.printed))
			if got := l.lastLines(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := len(l.lastLines()); got > maxTail {
				t.Errorf("%d bytes, want at most %d", got, maxTail)
			}
		})
	}
}
