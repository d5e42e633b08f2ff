package objectserver

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// TestCleaning overwrites and deletes until the log has been cleaned many
// times, and compares with a map, also after crashes in between.
func TestCleaning(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 4000})
	want := map[string]string{}
	mustPut(t, s, "lasting", "stays")
	want["lasting"] = "stays"
	id, err := s.CreateUpload(t.Context(), at("up"), deferd.ObjectAttributes{ContentType: "a/b"})
	if err != nil {
		t.Fatal(err)
	}
	u := deferd.Upload{Location: at("up"), ID: id}
	p, err := s.UploadPart(t.Context(), u, 1, 4, strings.NewReader("part"))
	if err != nil {
		t.Fatal(err)
	}
	u.Parts = []deferd.Part{p}
	for i := range 600 {
		key := fmt.Sprint("k", i*7%11)
		if i%5 == 4 {
			if err := s.Delete(t.Context(), at(key)); err != nil {
				t.Fatal(err)
			}
			delete(want, key)
		} else {
			body := fmt.Sprint(i, strings.Repeat("x", i%97))
			mustPut(t, s, key, body)
			want[key] = body
		}
		if i%100 == 50 {
			r := openTest(t, snapshotStable(t, s), Options{})
			if diff := cmp.Diff(want, contents(t, r)); diff != "" {
				t.Fatalf("after %d, reopened (-want +got):\n%s", i, diff)
			}
			r.Close()
		}
	}
	if diff := cmp.Diff(want, contents(t, s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := s.CompleteUpload(t.Context(), u); err != nil {
		t.Errorf("CompleteUpload after cleaning: %v", err)
	}
	if got := getString(t, s, "up"); got != "part" {
		t.Errorf("upload's object is %q", got)
	}
	waitClean(t, s)
	if first := oldest(s); first < 10 {
		t.Errorf("the oldest segment is number %d: the log was not cleaned", first)
	}
	checkLive(t, s)
	s.Close()
	s = openTest(t, dir, Options{})
	want["up"] = "part"
	if diff := cmp.Diff(want, contents(t, s)); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
	checkLive(t, s)
	if got := slices.Sorted(maps.Keys(s.buckets)); !slices.Equal(got, []string{"bucket"}) {
		t.Errorf("buckets %q", got)
	}
}

// snapshotStable copies the directory while no segment comes or goes; a real
// crash is one moment, a copy is not.
func snapshotStable(t *testing.T, s *Store) string {
	waitClean(t, s)
	return snapshot(t, s.dir)
}

// waitClean waits until the keeper has nothing to clean.
func waitClean(t *testing.T, s *Store) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); s.oldestToClean() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the log does not become clean")
		}
		s.wakeKeeper()
		if err := s.Put(t.Context(), at("lasting"), deferd.ObjectAttributes{}, []byte("stays")); err != nil {
			t.Fatal(err)
		}
	}
}

// oldest returns the number of the oldest segment.
func oldest(s *Store) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.segments[0].number
}

// checkLive counts again what is needed of each segment.
func checkLive(t *testing.T, s *Store) {
	t.Helper()
	s.mu.RLock()
	defer s.mu.RUnlock()
	live := map[*segment]int64{}
	count := func(p pos) { live[p.seg] += p.n }
	s.objects.Scan(func(e *entry) bool { count(e.pos); return true })
	for _, b := range s.buckets {
		count(b.pos)
	}
	for _, u := range s.uploads {
		count(u.pos)
		for _, p := range u.parts {
			count(p.pos)
		}
	}
	for _, c := range s.done {
		if c.own {
			count(c.pos)
		}
	}
	for _, g := range s.segments {
		if g.live != live[g] {
			t.Errorf("segment %d: live %d, want %d", g.number, g.live, live[g])
		}
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	u := deferd.Upload{Location: at("k")}
	var err error
	if u.ID, err = s.CreateUpload(t.Context(), u.Location, deferd.ObjectAttributes{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UploadPart(t.Context(), u, 1, 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	s.sweep(time.Now().Add(uploadExpiry - time.Minute))
	if _, err := s.openUpload(u); err != nil {
		t.Errorf("shortly before: %v", err)
	}
	s.sweep(time.Now().Add(uploadExpiry + time.Minute))
	if _, err := s.openUpload(u); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("after the expiry: %v, want not found", err)
	}
	s.Close()
	if files := dataFiles(t, dir); len(files) != 0 {
		t.Errorf("files %q are left", files)
	}
}

func TestClosed(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	mustPut(t, s, "k", "x")
	s.Close()
	if _, err := s.Get(t.Context(), at("k"), deferd.GetObject{}); deferd.CodeOf(err) != deferd.Unavailable {
		t.Errorf("Get: %v, want unavailable", err)
	}
	if err := s.Put(t.Context(), at("k"), deferd.ObjectAttributes{}, nil); deferd.CodeOf(err) != deferd.Unavailable {
		t.Errorf("Put: %v, want unavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// TestReadWhileCleaning reads while the records that are read are moved.
func TestReadWhileCleaning(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{SegmentSize: 3000})
	const keys, rounds = 5, 200
	for k := range keys {
		mustPut(t, s, fmt.Sprint(k), "0")
	}
	var wg sync.WaitGroup
	var done atomic.Int64
	for k := range keys {
		wg.Go(func() {
			defer done.Add(1)
			for i := range rounds {
				body := strings.Repeat(fmt.Sprint(i%10), 1+i%300)
				if err := s.Put(t.Context(), at(fmt.Sprint(k)), deferd.ObjectAttributes{ContentType: "a/b"}, []byte(body)); err != nil {
					t.Errorf("Put: %v", err)
				}
			}
		})
	}
	for r := range 2 {
		wg.Go(func() {
			for i := r; done.Load() < keys; i++ {
				obj, err := s.Get(t.Context(), at(fmt.Sprint(i%keys)), deferd.GetObject{})
				if err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				b, err := io.ReadAll(obj.Body)
				obj.Body.Close()
				if err != nil || int64(len(b)) != obj.Size || strings.Trim(string(b), string(b[:1])) != "" {
					t.Errorf("read %q, %v; want one object", b, err)
					return
				}
			}
		})
	}
	wg.Wait()
	mustPut(t, s, "lasting", "stays")
	waitClean(t, s)
	if oldest(s) == 1 {
		t.Error("the log was not cleaned meanwhile")
	}
}
