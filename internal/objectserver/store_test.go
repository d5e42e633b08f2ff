package objectserver

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/objecttest"
)

// openTest opens a store in dir with a bucket, and closes it with the test.
func openTest(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.CreateBucket(t.Context(), "bucket"); err != nil && deferd.CodeOf(err) != deferd.Exists {
		t.Fatalf("CreateBucket: %v", err)
	}
	return s
}

func TestStore(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) (deferd.ObjectStore, string) {
		return openTest(t, t.TempDir(), Options{}), "bucket"
	})
}

// TestStoreSmallSegments makes every test begin segments and clean them.
func TestStoreSmallSegments(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) (deferd.ObjectStore, string) {
		return openTest(t, t.TempDir(), Options{SegmentSize: 1000}), "bucket"
	})
}

func TestBuckets(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	if err := s.CreateBucket(t.Context(), "bucket"); deferd.CodeOf(err) != deferd.Exists {
		t.Errorf("CreateBucket again: %v, want exists", err)
	}
	names := map[string]bool{
		"abc": true, "a-b.c-1": true, strings.Repeat("a", 63): true,
		"ab": false, strings.Repeat("a", 64): false, "Abc": false, "-ab": false, "ab.": false, "a..b": false,
		"192.168.1.1": false, "xn--abc": false, "abc-s3alias": false, "a_b": false, "": false, "sagemaker-us-east-1-000000000000": true,
	}
	for name, valid := range names {
		err := s.CreateBucket(t.Context(), name)
		if valid != (err == nil) {
			t.Errorf("CreateBucket(%q): %v, want valid %v", name, err, valid)
		}
	}
	mustPut(t, s, "k", "x")
	if err := s.DeleteBucket(t.Context(), "bucket"); deferd.CodeOf(err) != deferd.Busy {
		t.Errorf("DeleteBucket: %v, want busy", err)
	}
	if err := s.Delete(t.Context(), at("k")); err != nil {
		t.Errorf("Delete: %v", err)
	}
	id, err := s.CreateUpload(t.Context(), at("k"), deferd.ObjectAttributes{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBucket(t.Context(), "bucket"); err != nil {
		t.Errorf("DeleteBucket: %v", err)
	}
	if err := s.HeadBucket(t.Context(), "bucket"); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("HeadBucket: %v, want not found", err)
	}
	if err := s.CreateBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	u := deferd.Upload{Location: at("k"), ID: id}
	if _, err := s.UploadPart(t.Context(), u, 1, 1, strings.NewReader("x")); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("UploadPart of the deleted bucket's upload: %v, want not found", err)
	}
}

// TestOneWinner lets many writers race for a key that none may replace.
func TestOneWinner(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	for round := range 20 {
		var wg sync.WaitGroup
		var won atomic.Int64
		for range 16 {
			wg.Go(func() {
				_, err := s.putObject(t.Context(), putRequest{
					location: at(fmt.Sprint(round)), body: strings.NewReader("x"), size: 1, cond: conditions{ifNoneMatch: true},
				})
				switch deferd.CodeOf(err) {
				case deferd.Changed:
				default:
					if err != nil {
						t.Errorf("put: %v", err)
					}
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Errorf("round %d: %d writers won, want 1", round, n)
		}
	}
}
