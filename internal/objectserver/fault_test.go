package objectserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// A faultyDisk is a disk whose operations can be watched and made to fail.
type faultyDisk struct {
	disk
	onSync  atomic.Pointer[func(*os.File) error] // instead of syncing, if it fails
	onWrite atomic.Pointer[func(*os.File, []byte, int64) (int, error)]
	synced  func(*os.File) // after a sync
}

func newFaultyDisk() *faultyDisk {
	d := &faultyDisk{disk: realDisk()}
	realSync, realWrite := d.disk.sync, d.disk.write
	d.disk.sync = func(f *os.File) error {
		if fail := d.onSync.Load(); fail != nil {
			if err := (*fail)(f); err != nil {
				return err
			}
		}
		err := realSync(f)
		if err == nil && d.synced != nil {
			d.synced(f)
		}
		return err
	}
	d.disk.write = func(f *os.File, b []byte, off int64) (int, error) {
		if fail := d.onWrite.Load(); fail != nil {
			return (*fail)(f, b, off)
		}
		return realWrite(f, b, off)
	}
	return d
}

func isSegment(f *os.File) bool { return filepath.Base(filepath.Dir(f.Name())) == segmentsDir }

// TestAcknowledgedIsSynced checks that whatever was answered was covered by a
// sync that ended before, with many callers at once.
func TestAcknowledgedIsSynced(t *testing.T) {
	d := newFaultyDisk()
	var mu sync.Mutex
	durable := map[string]int64{} // synced size of each segment
	var syncs atomic.Int64
	d.synced = func(f *os.File) {
		if !isSegment(f) {
			return
		}
		info, err := f.Stat()
		if err != nil {
			t.Error(err)
			return
		}
		syncs.Add(1)
		mu.Lock()
		defer mu.Unlock()
		durable[f.Name()] = info.Size()
	}
	s := openTest(t, t.TempDir(), Options{disk: &d.disk})
	var wg sync.WaitGroup
	const writers, each = 16, 50
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprint(w, "/", i)
				mustPutFrom(t, s, key)
				s.mu.RLock()
				p := s.lookup(at(key)).pos
				s.mu.RUnlock()
				mu.Lock()
				if end := durable[p.seg.f.Name()]; end < p.off+p.n {
					t.Errorf("%s was answered; synced up to %d, record ends at %d", key, end, p.off+p.n)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if n := syncs.Load(); n >= writers*each {
		t.Errorf("%d syncs for %d puts: nothing was shared", n, writers*each)
	}
}

func mustPutFrom(t *testing.T, s *Store, key string) {
	if err := s.Put(t.Context(), at(key), deferd.ObjectAttributes{}, []byte(key)); err != nil {
		t.Errorf("Put: %v", err)
	}
}

// TestFailedSync makes syncs of the log fail: the puts fail, the old objects
// stay, and what was written does not come back.
func TestFailedSync(t *testing.T) {
	d := newFaultyDisk()
	dir := t.TempDir()
	s := openTest(t, dir, Options{disk: &d.disk})
	mustPut(t, s, "small", "old")
	mustPut(t, s, "large", strings.Repeat("o", 300<<10))
	want := contents(t, s)
	for key, size := range map[string]int{"small": 3, "large": 300 << 10} {
		var failures atomic.Int64
		fail := func(f *os.File) error {
			if isSegment(f) && failures.Add(1) == 1 {
				return syscall.EIO
			}
			return nil
		}
		d.onSync.Store(&fail)
		err := s.Put(t.Context(), at(key), deferd.ObjectAttributes{}, make([]byte, size))
		if deferd.CodeOf(err) != deferd.Unavailable || !errors.Is(err, syscall.EIO) {
			t.Errorf("Put(%q): %v, want unavailable", key, err)
		}
		if diff := cmp.Diff(want, contents(t, s)); diff != "" {
			t.Errorf("after the failure (-want +got):\n%.300s", diff)
		}
		if diff := cmp.Diff(want, contents(t, openTest(t, snapshot(t, dir), Options{}))); diff != "" {
			t.Errorf("reopened after the failure (-want +got):\n%.300s", diff)
		}
	}
	d.onSync.Store(nil)
	mustPut(t, s, "later", "x")
	want["later"] = "x"
	r := openTest(t, snapshot(t, dir), Options{})
	if diff := cmp.Diff(want, contents(t, r)); diff != "" {
		t.Errorf("reopened (-want +got):\n%.300s", diff)
	}
}

// TestDeadDisk lets every sync fail, and then none.
func TestDeadDisk(t *testing.T) {
	d := newFaultyDisk()
	dir := t.TempDir()
	s := openTest(t, dir, Options{disk: &d.disk})
	mustPut(t, s, "k", "old")
	fail := func(*os.File) error { return syscall.EIO }
	d.onSync.Store(&fail)
	for range 3 {
		for _, size := range []int{1, 300 << 10} {
			err := s.Put(t.Context(), at("k"), deferd.ObjectAttributes{}, make([]byte, size))
			if deferd.CodeOf(err) != deferd.Unavailable {
				t.Errorf("Put: %v, want unavailable", err)
			}
		}
		if got := getString(t, s, "k"); got != "old" {
			t.Errorf("read %q, want the old object", got)
		}
	}
	d.onSync.Store(nil)
	mustPut(t, s, "j", "new")
	want := map[string]string{"k": "old", "j": "new"}
	if diff := cmp.Diff(want, contents(t, openTest(t, snapshot(t, dir), Options{}))); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
}

// TestFullDisk lets writes stop half way.
func TestFullDisk(t *testing.T) {
	d := newFaultyDisk()
	dir := t.TempDir()
	s := openTest(t, dir, Options{disk: &d.disk})
	mustPut(t, s, "k", "old")
	full := func(f *os.File, b []byte, off int64) (int, error) {
		n, _ := f.WriteAt(b[:len(b)/2], off)
		return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	d.onWrite.Store(&full)
	for _, size := range []int{10, 300 << 10} {
		err := s.Put(t.Context(), at("k"), deferd.ObjectAttributes{}, make([]byte, size))
		if deferd.CodeOf(err) != deferd.Unavailable || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Put of %d bytes: %v, want unavailable for want of space", size, err)
		}
	}
	if e, _ := toAPIError(unavailable(syscall.ENOSPC)); e.status != 503 || !strings.Contains(e.message, "full") {
		t.Errorf("answer %v, want 503 that says why", e)
	}
	if got := getString(t, s, "k"); got != "old" {
		t.Errorf("read %q, want the old object", got)
	}
	if files := dataFiles(t, dir); len(files) != 0 {
		t.Errorf("files %q are left", files)
	}
	d.onWrite.Store(nil)
	mustPut(t, s, "j", "new")
	want := map[string]string{"k": "old", "j": "new"}
	if diff := cmp.Diff(want, contents(t, openTest(t, snapshot(t, dir), Options{}))); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
}

// TestOrderOfSyncs checks that a large object's data is durable before the
// record that names it is written.
func TestOrderOfSyncs(t *testing.T) {
	d := newFaultyDisk()
	var mu sync.Mutex
	var events []string
	note := func(e string) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	d.synced = func(f *os.File) {
		if isSegment(f) {
			note("log synced")
		} else {
			note("data synced")
		}
	}
	realDir, realWrite := d.syncDir, d.disk.write
	d.disk.syncDir = func(path string) error {
		note("directory synced")
		return realDir(path)
	}
	d.disk.write = func(f *os.File, b []byte, off int64) (int, error) {
		if isSegment(f) {
			note("log written")
		}
		return realWrite(f, b, off)
	}
	s := openTest(t, t.TempDir(), Options{disk: &d.disk})
	mu.Lock()
	events = nil
	mu.Unlock()
	mustPut(t, s, "k", strings.Repeat("x", 300<<10))
	mu.Lock()
	defer mu.Unlock()
	want := []string{"data synced", "directory synced", "log written", "log synced"}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOpenMakesSure checks that what a killed process may have left without a
// sync is written and synced again before it counts: names, and the end of the
// log.
func TestOpenMakesSure(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	mustPut(t, s, "a", "a")
	synced := s.last.size
	mustPut(t, s, "b", "b")
	end := s.last.size
	s.Close()

	d := newFaultyDisk()
	var events []string
	note := func(format string, args ...any) { events = append(events, fmt.Sprintf(format, args...)) }
	d.synced = func(f *os.File) { note("%s synced", filepath.Base(f.Name())) }
	realDir, realWrite := d.syncDir, d.disk.write
	d.syncDir = func(path string) error {
		note("%s synced", filepath.Base(path))
		return realDir(path)
	}
	d.disk.write = func(f *os.File, b []byte, off int64) (int, error) {
		note("%s written from %d to %d", filepath.Base(f.Name()), off, off+int64(len(b)))
		return realWrite(f, b, off)
	}
	r, err := Open(dir, Options{disk: &d.disk})
	if err != nil {
		t.Fatal(err)
	}
	got := events[:min(4, len(events))]
	r.Close()
	want := []string{
		filepath.Base(dir) + " synced", segmentsDir + " synced",
		fmt.Sprintf("%s written from %d to %d", segmentName(1), synced, end), segmentName(1) + " synced",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMakeDir checks that each directory that is made is durable in the one
// above it.
func TestMakeDir(t *testing.T) {
	d := realDisk()
	var synced []string
	d.syncDir = func(path string) error {
		synced = append(synced, path)
		return nil
	}
	top := t.TempDir()
	path := filepath.Join(top, "a", "b")
	for range 2 { // the second time there is nothing to make
		if err := d.makeDir(path); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{top, filepath.Join(top, "a")}, synced); diff != "" {
		t.Errorf("synced (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("%s: %v", path, err)
	}
}
