package objectserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// openQuiet opens a store in a bubble, and waits until its keeper has looked for
// what to do, which would make durable what is early.
func openQuiet(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s := openTest(t, dir, o)
	synctest.Wait()
	return s
}

func putEarly(t testing.TB, s *Store, key, body string) {
	t.Helper()
	if err := s.PutEarly(t.Context(), at(key), deferd.ObjectAttributes{}, []byte(body)); err != nil {
		t.Fatalf("PutEarly(%q): %v", key, err)
	}
}

func mustAwait(t testing.TB, s *Store) {
	t.Helper()
	if err := s.AwaitDurable(t.Context()); err != nil {
		t.Fatalf("AwaitDurable: %v", err)
	}
}

// isDurable reports whether all that is visible is durable, without waiting.
func isDurable(t testing.TB, s *Store) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.AwaitDurable(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("AwaitDurable: %v", err)
	}
	return err == nil
}

// holdSyncs makes syncs of the log wait until the returned function is called.
func (d *faultyDisk) holdSyncs() (letGo func()) {
	held := make(chan struct{})
	hold := func(f *os.File) error {
		if isSegment(f) {
			<-held
		}
		return nil
	}
	d.onSync.Store(&hold)
	return func() {
		d.onSync.Store(nil)
		close(held)
	}
}

// countSyncs counts the syncs of the log.
func (d *faultyDisk) countSyncs() *atomic.Int64 {
	n := new(atomic.Int64)
	d.synced = func(f *os.File) {
		if isSegment(f) {
			n.Add(1)
		}
	}
	return n
}

// TestEarlyWhen looks at when early objects are synced, and how often.
func TestEarlyWhen(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, s *Store)
		want int64         // syncs
		took time.Duration // until all is durable
	}{
		{"nothing", func(t *testing.T, s *Store) { time.Sleep(time.Hour / 2) }, 0, 0},
		{"one after a while", func(t *testing.T, s *Store) {
			time.Sleep(time.Minute)
			putEarly(t, s, "a", "1")
		}, 1, 0},
		{"one soon after a sync", func(t *testing.T, s *Store) {
			mustPut(t, s, "a", "1")
			putEarly(t, s, "b", "2")
		}, 2, earlyWait},
		{"many soon after a sync", func(t *testing.T, s *Store) {
			mustPut(t, s, "a", "1")
			for i := range 10 {
				putEarly(t, s, fmt.Sprint(i), "2")
				time.Sleep(earlyWait / 20)
			}
		}, 2, earlyWait / 2},
		{"one that another change covers", func(t *testing.T, s *Store) {
			mustPut(t, s, "a", "1")
			putEarly(t, s, "b", "2")
			mustPut(t, s, "c", "3")
		}, 2, 0},
		{"one that a change without a record covers", func(t *testing.T, s *Store) {
			mustPut(t, s, "a", "1")
			putEarly(t, s, "b", "2")
			if err := s.Delete(t.Context(), at("none")); err != nil {
				t.Error(err)
			}
		}, 2, 0},
		{"more than is kept in memory", func(t *testing.T, s *Store) {
			mustPut(t, s, "a", "1")
			for i := range earlyBytes / smallObject {
				putEarly(t, s, fmt.Sprint(i), strings.Repeat("x", smallObject))
			}
		}, 2, 0},
		{"a large one", func(t *testing.T, s *Store) { putEarly(t, s, "a", strings.Repeat("x", smallObject+1)) }, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newFaultyDisk()
				s := openQuiet(t, t.TempDir(), Options{disk: &d.disk})
				defer s.Close()
				time.Sleep(time.Second)
				n := d.countSyncs()
				test.do(t, s)
				began := time.Now()
				mustAwait(t, s)
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := n.Load(); got != test.want {
					t.Errorf("%d syncs, want %d", got, test.want)
				}
			})
		})
	}
}

// TestEarlyVisible looks at an object whose sync does not end: it is there for
// every way to read, and after a crash it is not, nor is anything else missing.
func TestEarlyVisible(t *testing.T) {
	large := strings.Repeat("L", smallObject+1)
	for _, old := range []string{"", "old", large} {
		t.Run(fmt.Sprintf("over %d bytes", len(old)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, dir := newFaultyDisk(), t.TempDir()
				s := openQuiet(t, dir, Options{disk: &d.disk})
				defer s.Close()
				mustPut(t, s, "other", "other")
				if old != "" {
					mustPut(t, s, "k", old)
				}
				before := contents(t, s)
				letGo := d.holdSyncs()
				putEarly(t, s, "k", "early")
				synctest.Wait()
				after := map[string]string{"other": "other", "k": "early"}
				if diff := cmp.Diff(after, contents(t, s)); diff != "" {
					t.Errorf("before the sync (-want +got):\n%s", diff)
				}
				info, err := s.Head(t.Context(), at("k"))
				if err != nil || info.Size != int64(len("early")) {
					t.Errorf("Head: %+v, %v", info, err)
				}
				if isDurable(t, s) {
					t.Error("it is said to be durable")
				}
				if diff := cmp.Diff(after, reopened(t, dir)); diff != "" {
					t.Errorf("after the process was killed before the sync (-want +got):\n%.300s", diff)
				}
				cut := snapshot(t, dir)
				if err := os.Truncate(lastSegment(t, cut), s.last.size); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, reopened(t, cut)); diff != "" {
					t.Errorf("after a power cut before the sync (-want +got):\n%.300s", diff)
				}
				letGo()
				mustAwait(t, s)
				for what, got := range map[string]map[string]string{"after the sync": contents(t, s), "after a crash": reopened(t, dir)} {
					if diff := cmp.Diff(after, got); diff != "" {
						t.Errorf("%s (-want +got):\n%.300s", what, diff)
					}
				}
				s.Close()
				if files := dataFiles(t, dir); len(files) != 0 {
					t.Errorf("files %q are left, want none", files)
				}
			})
		})
	}
}

// reopened returns what a crash would leave.
func reopened(t *testing.T, dir string) map[string]string {
	t.Helper()
	r := openTest(t, snapshot(t, dir), Options{})
	defer r.Close()
	return contents(t, r)
}

// TestEarlyThen changes an early object that was not synced yet: the change is
// the last one, also after a crash.
func TestEarlyThen(t *testing.T) {
	put := func(key, body string, cond conditions) func(*testing.T, *Store) error {
		return func(t *testing.T, s *Store) error {
			_, err := s.putObject(t.Context(), putRequest{location: at(key), body: strings.NewReader(body), size: int64(len(body)), cond: cond})
			return err
		}
	}
	tests := []struct {
		name string
		do   func(*testing.T, *Store) error
		want string // of the key; "" for nothing
		code deferd.Code
	}{
		{"replaced", put("k", "later", conditions{}), "later", 0},
		{"replaced by a large one", put("k", strings.Repeat("l", smallObject+1), conditions{}), short(strings.Repeat("l", smallObject+1)), 0},
		{"replaced if it is there", put("k", "later", conditions{ifMatch: "*"}), "later", 0},
		{"not replaced as it is there", put("k", "later", conditions{ifNoneMatch: true}), "early", deferd.Changed},
		{"deleted", func(t *testing.T, s *Store) error { return s.Delete(t.Context(), at("k")) }, "", 0},
		{"deleted and shown again", func(t *testing.T, s *Store) error {
			err := s.Delete(t.Context(), at("k"))
			putEarly(t, s, "k", "again")
			return err
		}, "again", 0},
		{"shown again", func(t *testing.T, s *Store) error { putEarly(t, s, "k", "again"); return nil }, "again", 0},
		{"tagged", func(t *testing.T, s *Store) error { return s.setObjectTags(t.Context(), at("k"), []tag{{"a", "b"}}) }, "early", 0},
		{"its bucket is not deleted", func(t *testing.T, s *Store) error { return s.DeleteBucket(t.Context(), "bucket") }, "early", deferd.Busy},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := openQuiet(t, dir, Options{})
				mustPut(t, s, "k", "old") // so that the next sync is not at once
				putEarly(t, s, "k", "early")
				if isDurable(t, s) {
					t.Fatal("the early object is durable already")
				}
				if err := test.do(t, s); (err == nil) != (test.code == 0) || err != nil && deferd.CodeOf(err) != test.code {
					t.Errorf("%v, want %v", err, test.code)
				}
				mustAwait(t, s)
				want := map[string]string{}
				if test.want != "" {
					want["k"] = test.want
				}
				for what, got := range map[string]map[string]string{"now": contents(t, s), "after a crash": reopened(t, dir)} {
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s (-want +got):\n%.300s", what, diff)
					}
				}
				s.Close()
			})
		})
	}
}

// TestEarlyOnBadDisk fails what would make an early object durable: it stays
// visible, those who wait hear of it, and it is durable once the disk works.
func TestEarlyOnBadDisk(t *testing.T) {
	noSync := func(*os.File) error { return syscall.EIO }
	full := func(f *os.File, b []byte, off int64) (int, error) {
		n, _ := f.WriteAt(b[:len(b)/2], off)
		return n, syscall.ENOSPC
	}
	tests := []struct {
		name    string
		fail    func(*faultyDisk)
		want    error
		refuses bool // whatever comes next
	}{
		{"one sync", func(d *faultyDisk) {
			var n atomic.Int64
			once := func(*os.File) error {
				if n.Add(1) == 1 {
					return syscall.EIO
				}
				return nil
			}
			d.onSync.Store(&once)
		}, syscall.EIO, false},
		{"every sync", func(d *faultyDisk) { d.onSync.Store(&noSync) }, syscall.EIO, true},
		{"every write", func(d *faultyDisk) { d.onWrite.Store(&full) }, syscall.ENOSPC, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, dir := newFaultyDisk(), t.TempDir()
				s := openQuiet(t, dir, Options{disk: &d.disk})
				defer s.Close()
				mustPut(t, s, "k", strings.Repeat("o", smallObject+1))
				test.fail(d)
				putEarly(t, s, "k", "early")
				if err := s.AwaitDurable(t.Context()); !errors.Is(err, test.want) || deferd.CodeOf(err) != deferd.Unavailable {
					t.Errorf("AwaitDurable: %v, want %v", err, test.want)
				}
				want := map[string]string{"k": "early"}
				if diff := cmp.Diff(want, contents(t, s)); diff != "" {
					t.Errorf("after the failure (-want +got):\n%.300s", diff)
				}
				if test.refuses {
					err := s.PutEarly(t.Context(), at("next"), deferd.ObjectAttributes{}, nil)
					if !errors.Is(err, test.want) || deferd.CodeOf(err) != deferd.Unavailable {
						t.Errorf("PutEarly: %v, want %v", err, test.want)
					}
				}
				if err := s.Put(t.Context(), at("durable"), deferd.ObjectAttributes{}, nil); (err != nil) != test.refuses {
					t.Errorf("Put: %v, want refused %v", err, test.refuses)
				} else if err == nil {
					want["durable"] = ""
				}
				synctest.Wait() // the try that has just failed is over
				d.onSync.Store(nil)
				d.onWrite.Store(nil)
				mustAwait(t, s) // tried again by itself
				for what, got := range map[string]map[string]string{"now": contents(t, s), "after a crash": reopened(t, dir)} {
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s (-want +got):\n%.300s", what, diff)
					}
				}
				putEarly(t, s, "next", "x")
			})
		})
	}
}

// TestEarlyAndClose closes a store while something is to be synced, on a disk
// that works and on one that does not.
func TestEarlyAndClose(t *testing.T) {
	for _, works := range []bool{true, false} {
		t.Run(fmt.Sprint("works ", works), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, dir := newFaultyDisk(), t.TempDir()
				s := openQuiet(t, dir, Options{disk: &d.disk})
				mustPut(t, s, "k", "old")
				putEarly(t, s, "k", "early")
				want := map[string]string{"k": "early"}
				if !works {
					fail := func(*os.File) error { return syscall.EIO }
					d.onSync.Store(&fail)
				}
				heard := make(chan error, 1)
				go func() { heard <- s.AwaitDurable(context.Background()) }()
				synctest.Wait()
				s.Close()
				if err := <-heard; (err == nil) != works {
					t.Errorf("AwaitDurable: %v", err)
				}
				if err := s.AwaitDurable(t.Context()); (err == nil) != works {
					t.Errorf("AwaitDurable of a closed store: %v", err)
				}
				if err := s.PutEarly(t.Context(), at("k"), deferd.ObjectAttributes{}, nil); !errors.Is(err, errClosed) {
					t.Errorf("PutEarly into a closed store: %v", err)
				}
				if works {
					if diff := cmp.Diff(want, reopened(t, dir)); diff != "" {
						t.Errorf("reopened (-want +got):\n%s", diff)
					}
				}
			})
		})
	}
}

// TestEarlyNoBucket refuses an object of a bucket that is not there, or not any
// more when its turn comes.
func TestEarlyNoBucket(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	err := s.PutEarly(t.Context(), deferd.Location{Bucket: "none", Key: "k"}, deferd.ObjectAttributes{}, nil)
	if !errors.Is(err, errNoSuchBucket) {
		t.Errorf("PutEarly: %v, want no such bucket", err)
	}
	buf, err := encodeRecord(&record{Op: opPut, Bucket: "none", Key: "k", Attr: &attributes{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.await(&commit{early: &early{record: &record{Op: opPut, Bucket: "none", Key: "k"}, buf: buf}}); !errors.Is(err, errNoSuchBucket) {
		t.Errorf("in its turn: %v, want no such bucket", err)
	}
	mustAwait(t, s)
}

// TestEarlyAndCleaning has early objects replace what lies in old segments
// while those are cleaned: none goes before what replaces it is durable.
func TestEarlyAndCleaning(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 1000})
	for i := range 300 {
		key := fmt.Sprint("k", i%7)
		if i < 7 {
			mustPut(t, s, key, "first")
			continue
		}
		putEarly(t, s, key, strings.Repeat("x", i))
		if i%10 == 0 {
			for key := range contents(t, s) {
				if reopened(t, dir)[key] == "" {
					t.Fatalf("after %d puts a crash takes %s away", i, key)
				}
			}
		}
	}
	mustAwait(t, s)
	if diff := cmp.Diff(contents(t, s), reopened(t, dir)); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
}
