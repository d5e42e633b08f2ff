package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/process"
)

// writeImages writes a file whose images are text, from line 2 on.
func writeImages(t *testing.T, path, text string) {
	t.Helper()
	text = "images:\n  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Make each version distinct, however coarse the file system's clock.
	stamp := time.Unix(1_700_000_000+int64(len(text)), 0)
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
}

func TestImageLookup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.yaml")
	writeImages(t, path, `
local/digits:1:
  command: [python3, digits.py]
  dir: models/digits
  env: {LEVEL: debug}
local/digits:*: {command: [any]}
local/digits:2.*-gpu: {command: [two-gpu], port: 8080}
registry:5000/a/b:v*: {command: [ported], dir: /abs}
plain: {command: [plain]}
many:*a*b*c: {command: [many]}
`)
	f, err := process.LoadImages(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for _, test := range []struct {
		name string
		want string // the program; "" for none
	}{
		{"local/digits:1", "python3"},
		{"local/digits:3", "any"},
		{"local/digits:", "any"},
		{"local/digits:2.1-gpu", "two-gpu"},
		{"local/digits:2-gpu", "any"},
		{"local/digits", "any"},
		{"local/digit:1", ""},
		{"registry:5000/a/b:v7", "ported"},
		{"registry:5000/a/b:7", ""},
		{"plain", "plain"},
		{"plain:latest", ""},
		{"many:xa-b.b-c", "many"},
		{"many:abc", "many"},
		{"many:bac", ""},
		{"", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			image, err := f.Image(test.name)
			if test.want == "" {
				if got, want := deferd.CodeOf(err), deferd.Invalid; got != want {
					t.Errorf("got %+v, %v, want code %v", image, err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := image.Command[0]; got != test.want {
				t.Errorf("stands for %q, want %q", got, test.want)
			}
		})
	}
	got, err := f.Image("local/digits:1")
	if err != nil {
		t.Fatal(err)
	}
	want := process.Image{
		Command: []string{"python3", "digits.py"},
		Dir:     filepath.Join(dir, "models/digits"),
		Env:     map[string]string{"LEVEL": "debug"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
	if image, err := f.Image("registry:5000/a/b:v1"); err != nil || image.Dir != "/abs" {
		t.Errorf("got %+v, %v, want dir /abs", image, err)
	}
}

func TestImageFileErrors(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       string // part of the error
	}{
		{"unknown key", "a:1:\n  command: [x]\n  prot: 80\n", ":4:"},
		{"command is text", "a:1:\n  command: x serve\n", ":3:"},
		{"not yaml", "a:1: [\n", ":2:"},
		{"list", "- a\n", ":2:"},
		{"no command", "a:1: {dir: x}\n", `"a:1"`},
		{"empty program", "a:1: {command: ['']}\n", `"a:1"`},
		{"star outside of the tag", "a*/b:1: {command: [x]}\n", `"a*/b:1"`},
		{"port", "a:1: {command: [x], port: 70000}\n", "70000"},
		{"twice", "a:1: {command: [x]}\na:1: {command: [y]}\n", ":3:"},
		{"env name", "a:1: {command: [x], env: {A=B: c}}\n", "A=B"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "images.yaml")
			writeImages(t, path, test.text)
			_, err := process.LoadImages(path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error with the path and %q", err, test.want)
			}
		})
	}
}

func TestImageFileReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.yaml")
	f, err := process.LoadImages(path)
	if err != nil {
		t.Fatalf("a missing file: %v", err)
	}
	if _, err := f.Image("a:1"); deferd.CodeOf(err) != deferd.Invalid {
		t.Fatalf("before the file is there: %v, want Invalid", err)
	}
	writeImages(t, path, "a:1: {command: [first]}\n")
	if image, err := f.Image("a:1"); err != nil || image.Command[0] != "first" {
		t.Fatalf("after it appeared: %+v, %v", image, err)
	}
	writeImages(t, path, "a:1: {command: [first]}\nb:1: {broken\n")
	if image, err := f.Image("a:1"); err != nil || image.Command[0] != "first" {
		t.Errorf("while it is broken: %+v, %v, want the last good version", image, err)
	}
	if _, err := f.Image("b:1"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("an unknown image while it is broken: %v, want the file's error", err)
	}
	writeImages(t, path, "b:1: {command: [second]}\n")
	if image, err := f.Image("b:1"); err != nil || image.Command[0] != "second" {
		t.Errorf("after it was repaired: %+v, %v", image, err)
	}
	if _, err := f.Image("a:1"); err == nil || !strings.Contains(err.Error(), "b:1") {
		t.Errorf("a removed image: %v, want an error that names the known one", err)
	}
}
