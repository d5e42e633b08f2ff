// Package objecttest is the suite that every form of deferd.ObjectStore passes.
package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// minPart is the size of the smallest part that is not the last.
const minPart = 5 << 20

// Run runs the suite. open returns a store and the name of a bucket in it that
// is there and empty; it is called for each test, and for some more than once.
func Run(t *testing.T, open func(t *testing.T) (deferd.ObjectStore, string)) {
	tests := []struct {
		name string
		run  func(*testing.T, fixture)
	}{
		{"PutGet", testPutGet},
		{"Attributes", testAttributes},
		{"Replace", testReplace},
		{"Offset", testOffset},
		{"IfMatch", testIfMatch},
		{"NotFound", testNotFound},
		{"List", testList},
		{"Keys", testKeys},
		{"Upload", testUpload},
		{"UploadReplacesPart", testUploadReplacesPart},
		{"UploadAbort", testUploadAbort},
		{"UploadErrors", testUploadErrors},
		{"ShortPart", testShortPart},
		{"OneKeyManyWriters", testOneKeyManyWriters},
		{"ReadWhileReplaced", testReadWhileReplaced},
		{"Large", testLarge},
		{"Early", testEarly},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, bucket := open(t)
			test.run(t, fixture{store, bucket})
		})
	}
	t.Run("Retry", func(t *testing.T) { runRetries(t, open) })
}

// A fixture is a store with an empty bucket.
type fixture struct {
	store  deferd.ObjectStore
	bucket string
}

func (f fixture) at(key string) deferd.Location {
	return deferd.Location{Bucket: f.bucket, Key: key}
}

func (f fixture) put(t *testing.T, key, body string) {
	t.Helper()
	if err := f.store.Put(t.Context(), f.at(key), deferd.ObjectAttributes{}, []byte(body)); err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
}

func (f fixture) get(t *testing.T, key string, o deferd.GetObject) (string, deferd.ObjectInfo) {
	t.Helper()
	obj, err := f.store.Get(t.Context(), f.at(key), o)
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	defer obj.Body.Close()
	b, err := io.ReadAll(obj.Body)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(b), obj.ObjectInfo
}

func (f fixture) keys(t *testing.T, prefix string) []string {
	t.Helper()
	var keys []string
	for info, err := range f.store.List(t.Context(), f.at(prefix)) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// wantError checks an error's code and, if message is given, that S3's code is
// its message.
func wantError(t *testing.T, what string, err error, code deferd.Code, message string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %v", what, code)
		return
	}
	if got := deferd.CodeOf(err); got != code {
		t.Errorf("%s: code %v, want %v (%v)", what, got, code, err)
	}
	e, _ := errors.AsType[*deferd.Error](err)
	if message != "" && (e == nil || e.Msg != message) {
		t.Errorf("%s: error %v, want message %q", what, err, message)
	}
}

func testPutGet(t *testing.T, f fixture) {
	for _, size := range []int{0, 1, 4096, 256 << 10, 256<<10 + 1, 1 << 20} {
		key, body := fmt.Sprint("size/", size), pattern(size)
		f.put(t, key, body)
		got, info := f.get(t, key, deferd.GetObject{})
		if got != body {
			t.Errorf("%d bytes: got %d other bytes", size, len(got))
		}
		if info.Size != int64(size) || info.Key != key || info.ETag == "" || info.Modified.IsZero() {
			t.Errorf("%d bytes: info %+v", size, info)
		}
		head, err := f.store.Head(t.Context(), f.at(key))
		if err != nil {
			t.Fatalf("Head: %v", err)
		}
		if diff := cmp.Diff(info, head); diff != "" {
			t.Errorf("%d bytes: Head differs from Get (-get +head):\n%s", size, diff)
		}
	}
}

func testAttributes(t *testing.T, f fixture) {
	want := deferd.ObjectAttributes{
		ContentType: "application/json; charset=utf-8",
		Metadata:    map[string]string{"invocation-id": "0192", "x": "a b, c"},
	}
	for _, size := range []int{10, 300 << 10} {
		if err := f.store.Put(t.Context(), f.at("k"), want, []byte(pattern(size))); err != nil {
			t.Fatalf("Put: %v", err)
		}
		_, info := f.get(t, "k", deferd.GetObject{})
		if diff := cmp.Diff(want, info.ObjectAttributes); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", size, diff)
		}
	}
}

func testReplace(t *testing.T, f fixture) {
	for i, size := range []int{10, 300 << 10, 5, 400 << 10, 0} {
		body := pattern(size + i)
		f.put(t, "k", body)
		if got, _ := f.get(t, "k", deferd.GetObject{}); got != body {
			t.Errorf("put %d: got %d bytes, want the %d that were put last", i, len(got), len(body))
		}
	}
	if got := f.keys(t, ""); !slices.Equal(got, []string{"k"}) {
		t.Errorf("keys %q, want one", got)
	}
}

func testOffset(t *testing.T, f fixture) {
	for _, size := range []int{100, 600 << 10} {
		body := pattern(size)
		f.put(t, "k", body)
		for _, off := range []int{0, 1, size / 2, size - 1} {
			got, info := f.get(t, "k", deferd.GetObject{Offset: int64(off)})
			if got != body[off:] {
				t.Errorf("%d bytes from %d: got %d bytes, want %d", size, off, len(got), size-off)
			}
			if info.Size != int64(size) {
				t.Errorf("%d bytes from %d: size %d, want that of the whole", size, off, info.Size)
			}
		}
	}
}

func testIfMatch(t *testing.T, f fixture) {
	f.put(t, "k", "one")
	_, first := f.get(t, "k", deferd.GetObject{})
	if got, _ := f.get(t, "k", deferd.GetObject{IfMatch: first.ETag, Offset: 1}); got != "ne" {
		t.Errorf("matching: got %q, want %q", got, "ne")
	}
	f.put(t, "k", "two")
	obj, err := f.store.Get(t.Context(), f.at("k"), deferd.GetObject{IfMatch: first.ETag})
	if err == nil {
		obj.Body.Close()
	}
	wantError(t, "Get with the old ETag", err, deferd.Changed, "")
}

func testNotFound(t *testing.T, f fixture) {
	nowhere := deferd.Location{Bucket: f.bucket + "-absent", Key: "k"}
	_, err := f.store.Get(t.Context(), f.at("absent"), deferd.GetObject{})
	wantError(t, "Get of an absent key", err, deferd.NotFound, "NoSuchKey")
	_, err = f.store.Head(t.Context(), f.at("absent"))
	wantError(t, "Head of an absent key", err, deferd.NotFound, "")
	_, err = f.store.Get(t.Context(), nowhere, deferd.GetObject{})
	wantError(t, "Get from an absent bucket", err, deferd.NotFound, "NoSuchBucket")
	err = f.store.Put(t.Context(), nowhere, deferd.ObjectAttributes{}, []byte("x"))
	wantError(t, "Put into an absent bucket", err, deferd.NotFound, "NoSuchBucket")
	_, err = f.store.CreateUpload(t.Context(), nowhere, deferd.ObjectAttributes{})
	wantError(t, "CreateUpload in an absent bucket", err, deferd.NotFound, "NoSuchBucket")
	for _, err = range f.store.List(t.Context(), nowhere) {
		break
	}
	wantError(t, "List of an absent bucket", err, deferd.NotFound, "NoSuchBucket")
}

func testList(t *testing.T, f fixture) {
	all := []string{"a", "a/1", "a/2", "a/b/c", "a0", "b", "é", "日"}
	shuffled := []string{"b", "a/2", "日", "a", "a0", "a/b/c", "é", "a/1"}
	for _, k := range shuffled {
		f.put(t, k, k)
	}
	tests := []struct {
		prefix string
		want   []string
	}{
		{"", all},
		{"a", all[:5]},
		{"a/", all[1:4]},
		{"a/b", []string{"a/b/c"}},
		{"b", []string{"b"}},
		{"c", nil},
	}
	for _, test := range tests {
		if got := f.keys(t, test.prefix); !slices.Equal(got, test.want) {
			t.Errorf("List(%q) = %q, want %q", test.prefix, got, test.want)
		}
	}
	for info, err := range f.store.List(t.Context(), f.at("日")) {
		if err != nil || info.Size != 3 || info.ETag == "" {
			t.Errorf("listed %+v, %v; want size and ETag", info, err)
		}
	}
}

// testKeys puts keys that a file system, a URL or a cleaner of paths would change.
func testKeys(t *testing.T, f fixture) {
	keys := []string{
		"a", "a/b", "a//b", "a/", "/a", "//", "../x", "..", ".", "a/./b", "a/../b", "%2F", "a%2Fb", "a+b", "a b",
		" ", "q?x=1&y", "h#f", "ü/日本", "\u00e9", "e\u0301", "back\\slash", "semi;colon", "quote\"'", "<&>", "*~!()@:$,=",
		strings.Repeat("k", 1024), strings.Repeat("é", 512), strings.Repeat("d/", 511) + "ee",
	}
	for i, k := range keys {
		f.put(t, k, fmt.Sprint("body ", i))
	}
	for i, k := range keys {
		if got, _ := f.get(t, k, deferd.GetObject{}); got != fmt.Sprint("body ", i) {
			t.Errorf("key %q holds %q, want body %d", k, got, i)
		}
	}
	slices.Sort(keys)
	if diff := cmp.Diff(keys, f.keys(t, "")); diff != "" {
		t.Errorf("listed keys (-want +got):\n%s", diff)
	}
	err := f.store.Put(t.Context(), f.at(strings.Repeat("k", 1025)), deferd.ObjectAttributes{}, nil)
	wantError(t, "Put under 1,025 bytes", err, deferd.Invalid, "KeyTooLongError")
}

func (f fixture) upload(t *testing.T, key string) deferd.Upload {
	t.Helper()
	id, err := f.store.CreateUpload(t.Context(), f.at(key), deferd.ObjectAttributes{
		ContentType: "text/plain", Metadata: map[string]string{"a": "b"},
	})
	if err != nil {
		t.Fatalf("CreateUpload: %v", err)
	}
	return deferd.Upload{Location: f.at(key), ID: id}
}

func (f fixture) part(t *testing.T, u deferd.Upload, n int, body string) deferd.Part {
	t.Helper()
	p, err := f.store.UploadPart(t.Context(), u, n, int64(len(body)), strings.NewReader(body))
	if err != nil {
		t.Fatalf("UploadPart %d: %v", n, err)
	}
	if p.Number != n || p.Size != int64(len(body)) || p.ETag == "" {
		t.Errorf("UploadPart %d = %+v", n, p)
	}
	return p
}

func testUpload(t *testing.T, f fixture) {
	f.put(t, "k", "old")
	u := f.upload(t, "k")
	bodies := []string{pattern(minPart), pattern(minPart + 7), "end"}
	u.Parts = make([]deferd.Part, 3)
	for _, i := range []int{2, 0, 1} {
		u.Parts[i] = f.part(t, u, i+1, bodies[i])
	}
	if got, _ := f.get(t, "k", deferd.GetObject{}); got != "old" {
		t.Errorf("before completion: %d bytes, want the old object", len(got))
	}
	if err := f.store.CompleteUpload(t.Context(), u); err != nil {
		t.Fatalf("CompleteUpload: %v", err)
	}
	want := strings.Join(bodies, "")
	got, info := f.get(t, "k", deferd.GetObject{})
	if got != want {
		t.Errorf("got %d bytes, want the %d of the parts in order", len(got), len(want))
	}
	attr := deferd.ObjectAttributes{ContentType: "text/plain", Metadata: map[string]string{"a": "b"}}
	if diff := cmp.Diff(attr, info.ObjectAttributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	for _, off := range []int{minPart - 1, minPart, 2*minPart + 7, len(want) - 1} {
		if got, _ := f.get(t, "k", deferd.GetObject{Offset: int64(off), IfMatch: info.ETag}); got != want[off:] {
			t.Errorf("from %d: got %d bytes, want %d", off, len(got), len(want)-off)
		}
	}
	if err := f.store.CompleteUpload(t.Context(), u); err != nil {
		wantError(t, "CompleteUpload again", err, deferd.NotFound, "NoSuchUpload")
	}
	if again, _ := f.get(t, "k", deferd.GetObject{}); again != want {
		t.Error("completing again changed the object")
	}
}

func testUploadReplacesPart(t *testing.T, f fixture) {
	u := f.upload(t, "k")
	f.part(t, u, 1, pattern(minPart+1))
	first := f.part(t, u, 1, pattern(minPart))
	u.Parts = []deferd.Part{first, f.part(t, u, 4, "tail")}
	if err := f.store.CompleteUpload(t.Context(), u); err != nil {
		t.Fatalf("CompleteUpload: %v", err)
	}
	if got, _ := f.get(t, "k", deferd.GetObject{}); got != pattern(minPart)+"tail" {
		t.Errorf("got %d bytes, want those of the part that was stored last", len(got))
	}
}

func testUploadAbort(t *testing.T, f fixture) {
	u := f.upload(t, "k")
	u.Parts = []deferd.Part{f.part(t, u, 1, "x")}
	for range 2 {
		if err := f.store.AbortUpload(t.Context(), u); err != nil {
			t.Fatalf("AbortUpload: %v", err)
		}
	}
	wantError(t, "CompleteUpload after abort", f.store.CompleteUpload(t.Context(), u), deferd.NotFound, "NoSuchUpload")
	_, err := f.store.UploadPart(t.Context(), u, 1, 1, strings.NewReader("x"))
	wantError(t, "UploadPart after abort", err, deferd.NotFound, "NoSuchUpload")
	if got := f.keys(t, ""); len(got) != 0 {
		t.Errorf("keys %q after an abort, want none", got)
	}
}

func testUploadErrors(t *testing.T, f fixture) {
	u := f.upload(t, "k")
	small, big, end := f.part(t, u, 1, "small"), f.part(t, u, 2, pattern(minPart)), f.part(t, u, 3, "end")
	wrong := big
	wrong.ETag = small.ETag
	tests := []struct {
		name    string
		parts   []deferd.Part
		message string
	}{
		{"small part in front", []deferd.Part{small, big}, "EntityTooSmall"},
		{"order", []deferd.Part{end, big}, "InvalidPartOrder"},
		{"a part twice", []deferd.Part{big, big}, "InvalidPartOrder"},
		{"absent part", []deferd.Part{big, {Number: 9, ETag: end.ETag}}, "InvalidPart"},
		{"other ETag", []deferd.Part{wrong, end}, "InvalidPart"},
	}
	for _, test := range tests {
		u.Parts = test.parts
		wantError(t, test.name, f.store.CompleteUpload(t.Context(), u), deferd.Invalid, test.message)
	}
	u.Parts = []deferd.Part{big, end}
	if err := f.store.CompleteUpload(t.Context(), u); err != nil {
		t.Errorf("CompleteUpload after refusals: %v", err)
	}
}

func testShortPart(t *testing.T, f fixture) {
	u := f.upload(t, "k")
	if _, err := f.store.UploadPart(t.Context(), u, 1, 10, strings.NewReader("short")); err == nil {
		t.Error("UploadPart of 5 bytes as 10: no error")
	}
	broken := errors.New("model went away")
	_, err := f.store.UploadPart(t.Context(), u, 1, 10, io.MultiReader(strings.NewReader("short"), failing{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("UploadPart from a failing reader: %v, want the reader's error", err)
	}
	u.Parts = []deferd.Part{{Number: 1, ETag: `"x"`}}
	wantError(t, "CompleteUpload", f.store.CompleteUpload(t.Context(), u), deferd.Invalid, "InvalidPart")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func testOneKeyManyWriters(t *testing.T, f fixture) {
	bodies := make(map[string]bool)
	for i := range 16 {
		bodies[strings.Repeat(string(rune('a'+i)), 1000*(1+i%3)+300_000*(i%2))] = true
	}
	var wg sync.WaitGroup
	for body := range bodies {
		wg.Go(func() {
			if err := f.store.Put(t.Context(), f.at("k"), deferd.ObjectAttributes{}, []byte(body)); err != nil {
				t.Errorf("Put: %v", err)
			}
		})
		wg.Go(func() {
			got, err := read(t.Context(), f.store, f.at("k"))
			if err == nil && !bodies[got] {
				t.Errorf("read %d bytes that nobody wrote as one object", len(got))
			}
			if err != nil && deferd.CodeOf(err) != deferd.NotFound {
				t.Errorf("Get: %v", err)
			}
		})
	}
	wg.Wait()
	if got, _ := f.get(t, "k", deferd.GetObject{}); !bodies[got] {
		t.Errorf("in the end: %d bytes that nobody wrote as one object", len(got))
	}
}

func read(ctx context.Context, s deferd.ObjectStore, l deferd.Location) (string, error) {
	obj, err := s.Get(ctx, l, deferd.GetObject{})
	if err != nil {
		return "", err
	}
	defer obj.Body.Close()
	b, err := io.ReadAll(obj.Body)
	return string(b), err
}

// testReadWhileReplaced opens objects, replaces them, and reads on: what is
// read is the old object, or an error, never a mixture.
func testReadWhileReplaced(t *testing.T, f fixture) {
	for _, size := range []int{1000, 1 << 20} {
		old := pattern(size)
		f.put(t, "k", old)
		obj, err := f.store.Get(t.Context(), f.at("k"), deferd.GetObject{})
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		head := make([]byte, 100)
		if _, err := io.ReadFull(obj.Body, head); err != nil {
			t.Fatalf("read: %v", err)
		}
		f.put(t, "k", strings.Repeat("n", size))
		rest, err := io.ReadAll(obj.Body)
		obj.Body.Close()
		if got := string(head) + string(rest); err == nil && got != old {
			t.Errorf("%d bytes: read a mixture of the old and the new object", size)
		}
	}
}

func testLarge(t *testing.T, f fixture) {
	const size = 20 << 20
	u := f.upload(t, "k")
	for n := 1; n <= 2; n++ {
		p, err := f.store.UploadPart(t.Context(), u, n, size/2, &stream{at: (n - 1) * size / 2, left: size / 2})
		if err != nil {
			t.Fatalf("UploadPart: %v", err)
		}
		u.Parts = append(u.Parts, p)
	}
	if err := f.store.CompleteUpload(t.Context(), u); err != nil {
		t.Fatalf("CompleteUpload: %v", err)
	}
	obj, err := f.store.Get(t.Context(), f.at("k"), deferd.GetObject{})
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	defer obj.Body.Close()
	want := &stream{left: size}
	got, exp := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := 0; ; {
		n, err := io.ReadFull(obj.Body, got)
		m, _ := io.ReadFull(want, exp)
		if n != m || !bytes.Equal(got[:n], exp[:m]) {
			t.Fatalf("at %d: other bytes than were stored", at)
		}
		if at += n; err != nil {
			if at != size {
				t.Errorf("read %d bytes (%v), want %d", at, err, size)
			}
			return
		}
	}
}
