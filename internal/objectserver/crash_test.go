package objectserver

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

func dataFiles(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, filesDir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// snapshot copies a store's directory as a crash would leave it. Files that
// nothing refers to are removed behind the answer, also while this copies; then
// it begins anew.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	for range 20 {
		to := t.TempDir()
		err := os.CopyFS(to, os.DirFS(dir))
		if err == nil {
			return to
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatalf("files of %s keep going", dir)
	return ""
}

// copyFixture copies a store from testdata.
func copyFixture(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// dirSize is how much the files below a directory hold.
func dirSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// contents returns every object's body by key; long ones as their digest.
func contents(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	for info, err := range s.List(t.Context(), deferd.Location{Bucket: "bucket"}) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		all[info.Key] = short(getString(t, s, info.Key))
	}
	return all
}

func short(body string) string {
	if len(body) < 1000 {
		return body
	}
	return fmt.Sprintf("%d bytes, %x", len(body), sha256.Sum256([]byte(body)))
}

func getString(t *testing.T, s *Store, key string) string {
	t.Helper()
	obj, err := s.Get(t.Context(), at(key), deferd.GetObject{})
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	defer obj.Body.Close()
	b, err := io.ReadAll(obj.Body)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(b)
}

func at(key string) deferd.Location { return deferd.Location{Bucket: "bucket", Key: key} }

func mustPut(t testing.TB, s *Store, key, body string) {
	t.Helper()
	if err := s.Put(t.Context(), at(key), deferd.ObjectAttributes{}, []byte(body)); err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
}

// TestReopenAfterEveryStep crashes after each kind of change and looks at what
// is there.
func TestReopenAfterEveryStep(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 2000})
	large, part := strings.Repeat("L", 300<<10), strings.Repeat("P", minPart)
	want := map[string]string{}
	u := deferd.Upload{Location: at("up")}
	addPart := func(n int, body string) error {
		p, err := s.UploadPart(t.Context(), u, n, int64(len(body)), strings.NewReader(body))
		u.Parts = append(u.Parts, p)
		return err
	}
	steps := []struct {
		name string
		do   func() error
		want func()
	}{
		{"put small", func() error { mustPut(t, s, "a", "1"); return nil }, func() { want["a"] = "1" }},
		{"put large", func() error { mustPut(t, s, "b", large); return nil }, func() { want["b"] = short(large) }},
		{"replace large by small", func() error { mustPut(t, s, "b", "2"); return nil }, func() { want["b"] = "2" }},
		{"replace small by large", func() error { mustPut(t, s, "a", large); return nil }, func() { want["a"] = short(large) }},
		{"create upload", func() (err error) {
			u.ID, err = s.CreateUpload(t.Context(), u.Location, deferd.ObjectAttributes{})
			return err
		}, func() {}},
		{"part 1", func() error { return addPart(1, part) }, func() {}},
		{"part 2", func() error { return addPart(2, "end") }, func() {}},
		{"part 3, not used", func() error { defer func() { u.Parts = u.Parts[:2] }(); return addPart(3, "more") }, func() {}},
		{"complete", func() error { return s.CompleteUpload(t.Context(), u) }, func() { want["up"] = short(part + "end") }},
		{"delete", func() error { return s.Delete(t.Context(), at("a")) }, func() { delete(want, "a") }},
		{"fill segments", func() error {
			for i := range 40 {
				mustPut(t, s, fmt.Sprint("fill", i%4), strings.Repeat("f", 200+i))
			}
			return nil
		}, func() {
			for i := 36; i < 40; i++ {
				want[fmt.Sprint("fill", i%4)] = strings.Repeat("f", 200+i)
			}
		}},
		{"delete completed", func() error { return s.Delete(t.Context(), at("up")) }, func() { delete(want, "up") }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		step.want()
		if diff := cmp.Diff(want, contents(t, s)); diff != "" {
			t.Errorf("%s (-want +got):\n%.500s", step.name, diff)
		}
		r := openTest(t, snapshot(t, dir), Options{})
		if diff := cmp.Diff(want, contents(t, r)); diff != "" {
			t.Errorf("%s, reopened (-want +got):\n%.500s", step.name, diff)
		}
		if len(u.Parts) == 2 && u.ID != "" && want["up"] == "" && step.name != "delete completed" {
			if err := r.CompleteUpload(t.Context(), u); err != nil {
				t.Errorf("%s, reopened: CompleteUpload: %v", step.name, err)
			}
		}
		r.Close()
	}
	if err := s.CompleteUpload(t.Context(), u); err != nil {
		t.Errorf("CompleteUpload again: %v", err)
	}
	s.Close()
	if names := dataFiles(t, dir); len(names) != 0 {
		t.Errorf("files %q are left, want none", names)
	}
}

// lastSegment returns the path of the newest segment.
func lastSegment(t testing.TB, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, segmentsDir, "*"+segmentSuffix))
	if err != nil || len(names) == 0 {
		t.Fatalf("segments %q, %v", names, err)
	}
	return slices.Max(names)
}

// TestTornTail cuts the log after every byte of its last two records.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	mustPut(t, s, "a", "old a")
	sizes := []int64{s.last.size}
	mustPut(t, s, "a", "new a")
	sizes = append(sizes, s.last.size)
	mustPut(t, s, "b", "b")
	sizes = append(sizes, s.last.size)
	s.Close()
	log, err := os.ReadFile(lastSegment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for n := sizes[0]; n <= sizes[2]; n++ {
		want := map[string]string{"a": "old a"}
		if n >= sizes[1] {
			want["a"] = "new a"
		}
		if n >= sizes[2] {
			want["b"] = "b"
		}
		for _, junk := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00", recordMagic + "junk that is longer than a header is"} {
			if err := os.WriteFile(lastSegment(t, dir), append(slices.Clone(log[:n]), junk...), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Open(dir, Options{})
			if err != nil {
				t.Fatalf("cut at %d of %d, then %q: %v", n, sizes[2], junk, err)
			}
			if diff := cmp.Diff(want, contents(t, r)); diff != "" {
				t.Errorf("cut at %d (-want +got):\n%s", n, diff)
			}
			mustPut(t, r, "c", "after")
			r.Close()
		}
	}
}

// TestTornTags cuts the log after every byte of records that change tags and a
// lifecycle: what they change is as it was, or as it shall be.
func TestTornTags(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	ctx := t.Context()
	mustPut(t, s, "k", "body")
	begin := s.last.size
	steps := []struct {
		do   func() error
		size int64
	}{
		{do: func() error { return s.setObjectTags(ctx, at("k"), []tag{{"a", "1"}}) }},
		{do: func() error { return s.setBucketTags(ctx, "bucket", []tag{{"b", "2"}}) }},
		{do: func() error { return s.setLifecycle(ctx, "bucket", &lifecycle{Minimum: "set"}) }},
		{do: func() error { return s.setObjectTags(ctx, at("k"), nil) }},
	}
	for i := range steps {
		if err := steps[i].do(); err != nil {
			t.Fatal(err)
		}
		steps[i].size = s.last.size
	}
	s.Close()
	log, err := os.ReadFile(lastSegment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for n := begin; n <= int64(len(log)); n++ {
		if err := os.WriteFile(lastSegment(t, dir), log[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		r := openTest(t, dir, Options{})
		f, err := r.find(at("k"), true)
		if err != nil || string(f.data) != "body" {
			t.Fatalf("cut at %d: %v", n, err)
		}
		b, err := r.bucket("bucket")
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		got := []bool{f.attr.Tags != nil || n >= steps[3].size, b.tags != nil, b.lifecycle != nil, f.attr.Tags == nil && n >= steps[0].size}
		for i, step := range steps {
			if done := n >= step.size; got[i] != done {
				t.Errorf("cut at %d: step %d is done %v, want %v", n, i, got[i], done)
			}
		}
		r.Close()
	}
}

// TestDamage changes each byte of records that were synced before others were
// written: nothing may be lost silently.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	mustPut(t, s, "a", "a")
	mustPut(t, s, "b", "b")
	end := s.last.size
	mustPut(t, s, "c", "c")
	s.Close()
	path := lastSegment(t, dir)
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range end {
		damaged := slices.Clone(log)
		damaged[i] ^= 0x40
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(dir, Options{})
		if err == nil {
			r.Close()
			t.Fatalf("opened in spite of damage at %d", i)
		}
		if !strings.Contains(err.Error(), path) {
			t.Errorf("error %q does not name the file", err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		do   func(dir string) error
		want string
	}{
		{"foreign directory", func(dir string) error {
			os.RemoveAll(dir)
			os.MkdirAll(dir, 0o700)
			return os.WriteFile(filepath.Join(dir, "diary.txt"), nil, 0o600)
		}, "diary.txt"},
		{"newer version", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, formatFile), []byte(formatMagic+"version 3\n"), 0o600)
		}, "version 3"},
		{"other format", func(dir string) error { return os.WriteFile(filepath.Join(dir, formatFile), []byte("x"), 0o600) }, formatFile},
		{"foreign segment", func(dir string) error { return os.WriteFile(filepath.Join(dir, segmentsDir, "x"), nil, 0o600) }, segmentsDir},
		{"foreign data file", func(dir string) error { return os.WriteFile(filepath.Join(dir, filesDir, "x"), nil, 0o600) }, filesDir},
		{"missing data file", func(dir string) error {
			names, err := filepath.Glob(filepath.Join(dir, filesDir, "*"))
			return errors.Join(err, os.Remove(names[0]))
		}, "missing"},
		{"missing segment", func(dir string) error { return os.Remove(filepath.Join(dir, segmentsDir, segmentName(2))) }, segmentName(2)},
		{"newer segment", func(dir string) error { return patch(lastOf(dir), 8, 2) }, "version 2"},
		{"damaged header", func(dir string) error { return patch(lastOf(dir), 30, 0xff) }, "damaged"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openTest(t, dir, Options{SegmentSize: 100})
			mustPut(t, s, "large", strings.Repeat("x", 300<<10))
			for i := range 4 {
				mustPut(t, s, fmt.Sprint(i), "x")
			}
			s.Close()
			if err := test.do(dir); err != nil {
				t.Fatal(err)
			}
			r, err := Open(dir, Options{})
			if err == nil {
				r.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		dir := t.TempDir()
		openTest(t, dir, Options{})
		if s, err := Open(dir, Options{}); err == nil {
			s.Close()
			t.Error("opened twice")
		}
	})
}

func lastOf(dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, segmentsDir, "*"))
	return slices.Max(names)
}

func patch(path string, off int64, b byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{b}, off)
	return errors.Join(err, f.Close())
}

// TestOrphans puts a file that no record names beside those that one does.
func TestOrphans(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	mustPut(t, s, "k", strings.Repeat("x", 300<<10))
	s.Close()
	orphan := filepath.Join(dir, filesDir, newFileID()+dataSuffix)
	if err := os.WriteFile(orphan, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{})
	if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("orphan: %v, want it removed", err)
	}
	if got := len(getString(t, s, "k")); got != 300<<10 {
		t.Errorf("object has %d bytes", got)
	}
}
