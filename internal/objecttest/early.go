package objecttest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

// testEarly puts objects that may be visible before they are durable, one over
// another and some at once. What a crash leaves of them is for each store's own
// tests.
func testEarly(t *testing.T, f fixture) {
	store, ok := f.store.(deferd.EarlyObjectStore)
	if !ok {
		t.Skip("this store shows nothing before it is durable")
	}
	a := deferd.ObjectAttributes{ContentType: "text/plain", Metadata: map[string]string{"name": "value"}}
	for _, size := range []int{0, 1, 4096, 256 << 10, 256<<10 + 1, 10} {
		key, body := "early", pattern(size)
		if err := store.PutEarly(t.Context(), f.at(key), a, []byte(body)); err != nil {
			t.Fatalf("PutEarly of %d bytes: %v", size, err)
		}
		got, info := f.get(t, key, deferd.GetObject{})
		if got != body || info.Size != int64(size) {
			t.Errorf("%d bytes, said to be %d, want %d", len(got), info.Size, size)
		}
		if diff := cmp.Diff(a, info.ObjectAttributes); diff != "" {
			t.Errorf("attributes (-want +got):\n%s", diff)
		}
		head, err := store.Head(t.Context(), f.at(key))
		if diff := cmp.Diff(info, head); diff != "" || err != nil {
			t.Errorf("Head: %v (-Get +Head):\n%s", err, diff)
		}
		if diff := cmp.Diff([]string{key}, f.keys(t, "")); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
	}
	f.put(t, "early", "replaced")
	if got, _ := f.get(t, "early", deferd.GetObject{}); got != "replaced" {
		t.Errorf("after a put: %q", got)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			err := store.PutEarly(t.Context(), f.at(fmt.Sprint("many/", i)), a, []byte(pattern(i)))
			if err := errors.Join(err, store.AwaitDurable(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(f.keys(t, "many/")); got != 50 {
		t.Errorf("%d objects, want 50", got)
	}
	none := deferd.Location{Bucket: f.bucket + "-none", Key: "k"}
	wantError(t, "PutEarly into no bucket", store.PutEarly(t.Context(), none, a, nil), deferd.NotFound, "NoSuchBucket")
	if err := store.AwaitDurable(t.Context()); err != nil {
		t.Errorf("AwaitDurable with nothing to wait for: %v", err)
	}
}
