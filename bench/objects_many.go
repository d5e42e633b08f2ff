package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/objectserver"
)

// measureMany fills a store, lists part of it, and starts it again in a
// process of its own.
func (p *plan) measureMany(ctx context.Context, res *objectsResult) error {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	plain := filepath.Join(dir, "plain")
	if err := makeFiles(plain, listed); err != nil {
		return err
	}
	begun := time.Now()
	if err := p.fillObjects(ctx, dir, res, plain); err != nil {
		return err
	}
	res.fill = time.Since(begun)
	for range p.rounds {
		if err := p.startObjects(ctx, dir, res); err != nil {
			return err
		}
	}
	return nil
}

// makeFiles makes empty files to be listed.
func makeFiles(dir string, n int) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%07d.json", i)), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// fillObjects stores small objects and lists 100,000 of them.
func (p *plan) fillObjects(ctx context.Context, dir string, res *objectsResult, plain string) (err error) {
	store, err := openObjects(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for w := range manyWriter {
		wg.Go(func() {
			for i := w; i < p.started && ctx.Err() == nil; i += manyWriter {
				folder := "listed"
				if i >= listed {
					folder = "more"
				}
				l := deferd.Location{Bucket: bucket, Key: fmt.Sprintf("%s/%07d.json", folder, i)}
				if err := store.Put(ctx, l, deferd.ObjectAttributes{ContentType: "application/json"}, smallBody[:100]); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	h := objectserver.NewHandler(store, objectserver.HandlerOptions{})
	want := min(listed, p.started)
	pair := res.pair(fmt.Sprintf("list %d", want), " s")
	for range p.rounds {
		for _, side := range []struct {
			list func() (int, error)
			to   *series
		}{
			{func() (int, error) { return listObjects(ctx, h) }, &pair.objects},
			{func() (int, error) { return listFiles(plain) }, &pair.file},
		} {
			begun := time.Now()
			n, err := side.list()
			if err != nil {
				return err
			}
			if n < want {
				return fmt.Errorf("listed %d, want %d", n, want)
			}
			side.to.add(time.Since(begun).Seconds())
		}
	}
	return nil
}

// listObjects lists by pages of 1,000, as a client does, and reads the answers.
func listObjects(ctx context.Context, h *objectserver.Handler) (n int, err error) {
	query := url.Values{"list-type": {"2"}, "prefix": {"listed/"}}
	for {
		w := &countingWriter{header: http.Header{}, body: new(bytes.Buffer)}
		h.Serve(w, httptest.NewRequestWithContext(ctx, "GET", "/"+bucket+"?"+query.Encode(), nil), deferd.Principal{}, &pattern{})
		var page struct {
			NextContinuationToken string
			KeyCount              int
		}
		// What a client does with the entries is not the store's time.
		text := w.body.String()
		if i, j := strings.Index(text, "<Contents>"), strings.LastIndex(text, "</Contents>"); i >= 0 && j > i {
			text = text[:i] + text[j+len("</Contents>"):]
		}
		if err := xml.Unmarshal([]byte(text), &page); err != nil || w.status != http.StatusOK {
			return n, fmt.Errorf("list: status %d, %w", w.status, err)
		}
		n += page.KeyCount
		if page.NextContinuationToken == "" {
			return n, nil
		}
		query.Set("continuation-token", page.NextContinuationToken)
	}
}

// listFiles reads names, sizes and times.
func listFiles(dir string) (n int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if _, err := e.Info(); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// A started store says what its start took.
type started struct {
	Seconds float64
	CPU     float64 // in seconds
	Heap    uint64
	Peak    int64
}

// startObjects starts the store in a process of its own, and reads its log.
func (p *plan) startObjects(ctx context.Context, dir string, res *objectsResult) error {
	begun := time.Now()
	n, err := readFiles(filepath.Join(dir, "objects", "segments"))
	if err != nil {
		return err
	}
	res.read.add(time.Since(begun).Seconds())
	res.log = n
	cmd := exec.CommandContext(ctx, p.self, objectsVerb, dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("start the object store: %w", err)
	}
	var s started
	if err := json.Unmarshal(out, &s); err != nil {
		return fmt.Errorf("start the object store: %q: %w", out, err)
	}
	res.start.add(s.Seconds)
	res.cpu.add(s.CPU)
	res.heap.add(float64(s.Heap))
	res.peak.add(float64(s.Peak))
	return nil
}

// readFiles reads the files of a directory and returns how much they hold.
func readFiles(dir string) (total int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return total, err
		}
		n, err := io.Copy(struct{ io.Writer }{io.Discard}, f)
		total += n
		if err := errors.Join(err, f.Close()); err != nil {
			return total, err
		}
	}
	return total, nil
}

// runObjectsStart opens the store below a directory and says what that took.
func runObjectsStart(dir string, w io.Writer) error {
	begun := time.Now()
	store, err := objectserver.Open(filepath.Join(dir, "objects"), objectserver.Options{})
	if err != nil {
		return err
	}
	s := started{Seconds: time.Since(begun).Seconds(), CPU: ownCPU().Seconds()}
	s.Peak, _ = peakMemory(os.Getpid())
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Heap = m.HeapAlloc
	return errors.Join(json.NewEncoder(w).Encode(s), store.Close())
}
