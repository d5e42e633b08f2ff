package objectserver

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/deferd/deferd"
)

// BenchmarkPut puts 4 KB, durably, from eight callers.
func BenchmarkPut(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	body := make([]byte, 4096)
	b.SetBytes(int64(len(body)))
	b.SetParallelism(max(1, 8/runtime.GOMAXPROCS(0)))
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mustPutBytes(b, s, fmt.Sprint("k", n.Add(1)%10_000), body)
		}
	})
}

func mustPutBytes(b *testing.B, s *Store, key string, body []byte) {
	if err := s.Put(b.Context(), at(key), deferd.ObjectAttributes{ContentType: "application/json"}, body); err != nil {
		b.Error(err)
	}
}

// BenchmarkPutEarly puts 4 KB, one after another, until they are visible.
func BenchmarkPutEarly(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	body := make([]byte, 4096)
	b.SetBytes(int64(len(body)))
	n := 0
	for b.Loop() {
		n++
		if err := s.PutEarly(b.Context(), at(fmt.Sprint("k", n%10_000)), deferd.ObjectAttributes{ContentType: "application/json"}, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	mustPutBytes(b, s, "k", make([]byte, 4096))
	b.ReportAllocs()
	for b.Loop() {
		obj, err := s.Get(b.Context(), at("k"), deferd.GetObject{})
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, obj.Body)
		obj.Body.Close()
	}
}

// BenchmarkAbsent is what polling for a result costs.
func BenchmarkAbsent(b *testing.B) {
	h := NewHandler(openTest(b, b.TempDir(), Options{}), HandlerOptions{})
	r := httptest.NewRequest("HEAD", "/bucket/absent", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := &discardWriter{header: http.Header{}}
		h.Serve(w, r, deferd.Principal{}, nil)
		if w.status != http.StatusNotFound {
			b.Fatal(w.status)
		}
	}
}

type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) WriteHeader(status int)      { w.status = status }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
