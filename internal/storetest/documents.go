package storetest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

// document is a new document of some kind.
func document(name, body string) deferd.Document {
	return deferd.Document{Kind: "thing", Account: account, Name: name, Body: []byte(body)}
}

// put stores a document and fails the test on an error.
func (x *fixture) put(t *testing.T, d deferd.Document) deferd.Document {
	t.Helper()
	d, err := x.PutDocument(t.Context(), d)
	must(t, err)
	return d
}

// wantDocuments checks the names of a page of documents.
func (x *fixture) wantDocuments(t *testing.T, prefix, after string, n int, want ...string) {
	t.Helper()
	docs, err := x.Documents(t.Context(), "thing", account, prefix, after, n)
	must(t, err)
	var got []string
	for _, d := range docs {
		got = append(got, d.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d after %q with prefix %q: %q, want %q", n, after, prefix, got, want)
	}
}

var documentTests = map[string]func(*testing.T, *fixture){
	"what is put is read back whole": func(t *testing.T, x *fixture) {
		for _, d := range []deferd.Document{document("a", `{"b":1}`), document("ä/:*%_", "\x00\xff"), document("empty", "")} {
			stored := x.put(t, d)
			d.Version = 1
			if diff := cmp.Diff(d, stored); diff != "" {
				t.Errorf("stored document differs (-want +got):\n%s", diff)
			}
			got, err := x.Document(t.Context(), "thing", account, d.Name)
			must(t, err)
			if diff := cmp.Diff(d, got); diff != "" {
				t.Errorf("document differs (-put +read):\n%s", diff)
			}
		}
	},
	"a name is taken once for each kind and account": func(t *testing.T, x *fixture) {
		x.put(t, document("a", "1"))
		_, err := x.PutDocument(t.Context(), document("a", "2"))
		wantCode(t, err, deferd.Exists)
		kind, other := document("a", "kind"), document("a", "account")
		kind.Kind, other.Account = "other", "111111111111"
		x.put(t, kind)
		x.put(t, other)
		got, err := x.Document(t.Context(), "thing", account, "a")
		must(t, err)
		if string(got.Body) != "1" {
			t.Errorf("the document holds %q, want what was put first", got.Body)
		}
		x.wantDocuments(t, "", "", 10, "a")
	},
	"exactly the version that was read is replaced": func(t *testing.T, x *fixture) {
		first := x.put(t, document("a", "1"))
		second := first
		second.Body = []byte("2")
		second = x.put(t, second)
		if second.Version != first.Version+1 {
			t.Errorf("version %d became %d, want one more", first.Version, second.Version)
		}
		first.Body = []byte("late")
		_, err := x.PutDocument(t.Context(), first)
		wantCode(t, err, deferd.Changed)
		got, err := x.Document(t.Context(), "thing", account, "a")
		must(t, err)
		if diff := cmp.Diff(second, got); diff != "" {
			t.Errorf("document differs (-want +got):\n%s", diff)
		}
		absent := document("b", "")
		absent.Version = 1
		_, err = x.PutDocument(t.Context(), absent)
		wantCode(t, err, deferd.NotFound)
	},
	"concurrent changes of one version are made once": func(t *testing.T, x *fixture) {
		d := x.put(t, document("a", "0"))
		var made atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			mine := d
			mine.Body = fmt.Append(nil, i)
			wg.Go(func() {
				switch _, err := x.PutDocument(t.Context(), mine); {
				case err == nil:
					made.Add(1)
				default:
					wantCode(t, err, deferd.Changed)
				}
			})
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Errorf("%d of 20 changes were made, want 1", made.Load())
		}
	},
	"a deleted document is gone, and its name is free": func(t *testing.T, x *fixture) {
		d := x.put(t, document("a", "1"))
		d = x.put(t, d)
		must(t, x.DeleteDocument(t.Context(), "thing", account, "a"))
		wantCode(t, x.DeleteDocument(t.Context(), "thing", account, "a"), deferd.NotFound)
		_, err := x.Document(t.Context(), "thing", account, "a")
		wantCode(t, err, deferd.NotFound)
		_, err = x.PutDocument(t.Context(), d)
		wantCode(t, err, deferd.NotFound)
		if again := x.put(t, document("a", "3")); again.Version != 1 {
			t.Errorf("made again, its version is %d, want 1", again.Version)
		}
	},
	"lists are pages in byte order": func(t *testing.T, x *fixture) {
		for _, name := range []string{"b/2", "B", "b/10", "ä", "b", "b/1", "c", "b0", "b/ÿ"} {
			x.put(t, document(name, ""))
		}
		x.wantDocuments(t, "", "", 100, "B", "b", "b/1", "b/10", "b/2", "b/ÿ", "b0", "c", "ä")
		x.wantDocuments(t, "", "", 2, "B", "b")
		x.wantDocuments(t, "", "b", 2, "b/1", "b/10")
		x.wantDocuments(t, "b/", "", 100, "b/1", "b/10", "b/2", "b/ÿ")
		x.wantDocuments(t, "b/", "b/10", 1, "b/2")
		x.wantDocuments(t, "b/", "c", 100)
		x.wantDocuments(t, "", "", 0)
		x.wantDocuments(t, "nothing", "", 100)
	},
	"what is stored survives a crash": func(t *testing.T, x *fixture) {
		d := x.put(t, document("a", "1"))
		d.Body = []byte("2")
		d = x.put(t, d)
		x.put(t, document("b", ""))
		must(t, x.DeleteDocument(t.Context(), "thing", account, "b"))
		x.crash(t)
		got, err := x.Document(t.Context(), "thing", account, "a")
		must(t, err)
		if diff := cmp.Diff(d, got); diff != "" {
			t.Errorf("document differs (-want +got):\n%s", diff)
		}
		x.wantDocuments(t, "", "", 10, "a")
	},
}
