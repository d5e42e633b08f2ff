package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBeside(t *testing.T) {
	for location, want := range map[string]string{
		"s3://b/x/output": "s3://b/x/failure", "s3://b/x/output/": "s3://b/x/failure", "s3://b/output": "s3://b/failure", "s3://b": "s3://b/failure", "s3://b/": "s3://b/failure",
	} {
		if got := beside(location, "failure"); got != want {
			t.Errorf("beside(%q) = %q, want %q", location, got, want)
		}
	}
}

func TestPartNames(t *testing.T) {
	long := strings.Repeat("a", 44) + "-" + strings.Repeat("b", 18)
	for _, name := range []string{"digits", "digits-20260102-030405006", long} {
		d := &deployment{name: name}
		if dated := d.dated(); !namePattern.MatchString(dated) || !d.ours(dated) || !d.ours(name) {
			t.Errorf("%s: %s is no name of a part of it", name, dated)
		}
	}
	d := &deployment{name: "digits"}
	for _, other := range []string{"digits-2", "digits-x-20260102-030405006", "digit", "digits-20260102-0304050067"} {
		if d.ours(other) {
			t.Errorf("%s is taken for a part of digits", other)
		}
	}
}

func TestPack(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "blob")
	for path, content := range map[string]string{filepath.Join(dir, "code", "run.py"): "pass", outside: "weights"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "weights.bin")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"code/": "", "code/run.py": "pass", "weights.bin": "weights"}, packed(t, dir)); diff != "" {
		t.Errorf("a directory (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"blob": "weights"}, packed(t, outside)); diff != "" {
		t.Errorf("a file (-want +got):\n%s", diff)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if err := pack(io.Discard, dir); err == nil {
		t.Error("a link to a directory is followed")
	}
}

// packed packs a path, and returns the files that come out again.
func packed(t *testing.T, path string) map[string]string {
	t.Helper()
	var b bytes.Buffer
	if err := pack(&b, path); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content)
	}
}

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name   string
		update bool
		status string
		config string
		done   bool
		fails  string
	}{
		{"creating", false, "Creating", "new", false, ""},
		{"in service", false, "InService", "new", true, ""},
		{"failed", false, "Failed", "new", true, "failed: why"},
		{"updating", true, "Updating", "old", false, ""},
		{"rolling back", true, "RollingBack", "old", false, ""},
		{"updated", true, "InService", "new", true, ""},
		{"rolled back", true, "InService", "old", true, "serves old as before: why"},
		{"rollback failed", true, "UpdateRollbackFailed", "old", true, "failed: why"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &deployment{name: "e", part: "new", update: test.update}
			done, err := d.judge(endpointDescription{EndpointStatus: test.status, EndpointConfigName: test.config, FailureReason: "why"})
			if done != test.done || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("done %v, %v; want %v, %q", done, err, test.done, test.fails)
			}
		})
	}
}
