package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/objectserver"
)

const (
	objectsVerb = "objects-start"

	smallSize  = 4 << 10
	largeSize  = 256 << 20
	listed     = 100_000 // objects, at most
	manyWriter = 64      // that fill a store
)

// An objectsResult is the embedded object store beside plain files.
type objectsResult struct {
	pairs   []*objectsPair
	started int           // objects in the store that is started
	start   series        // seconds until it serves
	cpu     series        // that the start used, in seconds
	read    series        // the limit: seconds to read its log
	heap    series        // bytes in use afterwards
	peak    series        // of the process, in bytes
	log     int64         // bytes of the log
	fill    time.Duration // that storing them took
}

// An objectsPair is one figure of the store and of plain files.
type objectsPair struct {
	name, unit    string
	objects, file series
}

// measureObjects measures the store as its callers in this process reach it,
// and plain files in its place. Each small file is synced, and its directory
// after it: less would not be there after a crash.
func (p *plan) measureObjects(ctx context.Context, r *report) error {
	res := &objectsResult{started: p.started}
	r.objects = res
	for range p.rounds {
		if err := p.objectsRound(ctx, res); err != nil {
			return err
		}
	}
	return p.measureMany(ctx, res)
}

// pair returns the pair of this name, making it at its first use.
func (r *objectsResult) pair(name, unit string) *objectsPair {
	for _, p := range r.pairs {
		if p.name == name {
			return p
		}
	}
	p := &objectsPair{name: name, unit: unit}
	r.pairs = append(r.pairs, p)
	return p
}

func (p *plan) objectsRound(ctx context.Context, res *objectsResult) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	store, err := openObjects(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	files := &plainFiles{dir: filepath.Join(dir, "plain")}
	if err := os.Mkdir(files.dir, 0o700); err != nil {
		return err
	}
	for _, writers := range []int{1, 8} {
		for _, op := range []struct {
			name        string
			store, file func(ctx context.Context, key string) error
		}{
			{"put", func(ctx context.Context, key string) error { return putSmall(ctx, store, key) }, files.put},
			{"get", func(ctx context.Context, key string) error { return getSmall(ctx, store, key) }, files.get},
		} {
			pair := res.pair(fmt.Sprintf("%s 4 KiB, %d at a time", op.name, writers), "/s")
			for _, side := range []struct {
				call func(context.Context, string) error
				to   *series
			}{{op.store, &pair.objects}, {op.file, &pair.file}} {
				rate, err := repeat(ctx, p.small, writers, side.call)
				if err != nil {
					return fmt.Errorf("%s: %w", pair.name, err)
				}
				side.to.add(rate)
			}
		}
	}
	return p.largeRound(ctx, res, store, files)
}

// smallKeys is how many keys a caller goes round, so that gets find what puts
// have left.
const smallKeys = 50

// repeat calls from so many goroutines for a while, and returns how many calls
// a second ended.
func repeat(ctx context.Context, d time.Duration, workers int, call func(context.Context, string) error) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make([]int, workers)
	begun := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := 0; time.Since(begun) < d && ctx.Err() == nil; i++ {
				if err := call(ctx, fmt.Sprintf("%d-%d", w, i%smallKeys)); err != nil {
					cancel(err)
					return
				}
				done[w]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range done {
		total += n
	}
	return float64(total) / time.Since(begun).Seconds(), context.Cause(ctx)
}

var smallBody = bytes.Repeat([]byte("4 KiB..."), smallSize/8)

func putSmall(ctx context.Context, store *objectserver.Store, key string) error {
	return store.Put(ctx, deferd.Location{Bucket: bucket, Key: key}, deferd.ObjectAttributes{ContentType: "application/json"}, smallBody)
}

func getSmall(ctx context.Context, store *objectserver.Store, key string) error {
	o, err := store.Get(ctx, deferd.Location{Bucket: bucket, Key: key}, deferd.GetObject{})
	if deferd.CodeOf(err) == deferd.NotFound {
		return nil // a slow disk did not let the puts come round
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, o.Body)
	return errors.Join(err, o.Body.Close())
}

// plainFiles keeps a file for each key.
type plainFiles struct{ dir string }

func (f *plainFiles) put(_ context.Context, key string) error {
	return f.write(key, bytes.NewReader(smallBody), nil)
}

// write makes a file durable under its name, replacing what is there.
func (f *plainFiles) write(key string, body io.Reader, also io.Writer) error {
	path := filepath.Join(f.dir, key)
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	var w io.Writer = file
	if also != nil {
		w = io.MultiWriter(file, also)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, body, make([]byte, 256<<10))
	if err == nil {
		err = syncData(file)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (f *plainFiles) get(_ context.Context, key string) error {
	file, err := os.Open(filepath.Join(f.dir, key))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, file)
	return errors.Join(err, file.Close())
}

// largeRound stores and reads one large object through the S3 handler, without
// a network, and one large file. The ETag that S3 demands is the MD5 of the
// bytes, so the file's is taken too in a second measurement.
func (p *plan) largeRound(ctx context.Context, res *objectsResult, store *objectserver.Store, files *plainFiles) error {
	h := objectserver.NewHandler(store, objectserver.HandlerOptions{})
	name := fmt.Sprintf("%d MiB", p.large>>20)
	seconds := func(do func() error) (float64, error) {
		begun := time.Now()
		err := do()
		return float64(p.large) / 1e6 / time.Since(begun).Seconds(), err
	}
	put := res.pair("put "+name, " MB/s")
	hashed := res.pair("put "+name+", the file with MD5", " MB/s")
	get := res.pair("get "+name, " MB/s")
	for _, step := range []struct {
		to []*series
		do func() error
	}{
		{[]*series{&put.objects, &hashed.objects}, func() error { return serveObject(ctx, h, "PUT", "large", &pattern{left: p.large}, p.large) }},
		{[]*series{&put.file}, func() error { return files.write("large", &pattern{left: p.large}, nil) }},
		{[]*series{&hashed.file}, func() error { return files.write("large", &pattern{left: p.large}, md5.New()) }},
		{[]*series{&get.objects}, func() error { return serveObject(ctx, h, "GET", "large", nil, p.large) }},
		{[]*series{&get.file}, func() error { return files.get(ctx, "large") }},
	} {
		rate, err := seconds(step.do)
		if err != nil {
			return err
		}
		for _, s := range step.to {
			s.add(rate)
		}
	}
	return nil
}

// A pattern is a body of so many bytes.
type pattern struct{ left int64 }

func (b *pattern) Length() int64        { return b.left }
func (b *pattern) Trailer() http.Header { return nil }
func (b *pattern) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), b.left))
	for i := 0; i < n; i += copy(p[i:n], smallBody) {
	}
	b.left -= int64(n)
	return n, nil
}

// serveObject makes one request of the handler, and counts the answer's bytes.
func serveObject(ctx context.Context, h *objectserver.Handler, method, key string, body *pattern, size int64) error {
	w := &countingWriter{header: http.Header{}}
	r := httptest.NewRequestWithContext(ctx, method, "/"+bucket+"/"+key, nil)
	if body == nil {
		body = &pattern{}
	}
	h.Serve(w, r, deferd.Principal{}, body)
	if w.status != http.StatusOK || method == "GET" && w.n != size {
		return fmt.Errorf("%s of the large object: status %d, %d bytes", method, w.status, w.n)
	}
	return nil
}

// A countingWriter takes an answer and keeps only what is asked for of it.
type countingWriter struct {
	header http.Header
	status int
	n      int64
	body   *bytes.Buffer // nil to keep nothing
}

func (w *countingWriter) Header() http.Header    { return w.header }
func (w *countingWriter) WriteHeader(status int) { w.status = status }
func (w *countingWriter) Write(b []byte) (int, error) {
	w.n += int64(len(b))
	if w.body != nil {
		w.body.Write(b)
	}
	return len(b), nil
}

func (r *objectsResult) write(b *strings.Builder) {
	b.WriteString("\n## Objects\n\nThe embedded S3, called within the process, beside plain files that are as durable: each is written under another name,\n" +
		"synced, renamed, and its directory synced. Large objects go through the S3 handler, without a network.\n\n")
	table(b, "figure", "unit", "deferd", "plain files", "deferd / plain files")
	for _, p := range r.pairs {
		format := "%.0f"
		if p.unit == " s" {
			format = "%.2f"
		}
		row(b, p.name, strings.TrimSpace(p.unit), p.objects.spread(format), p.file.spread(format), ratio(p.objects.median(), p.file.median()))
	}
	row(b, fmt.Sprintf("start on %d objects of 100 bytes; limit: read the %.0f MB of log", r.started, float64(r.log)/1e6), "s",
		r.start.spread("%.2f"), r.read.spread("%.2f"), ratio(r.start.median(), r.read.median()))
	row(b, "CPU of that start", "s", r.cpu.spread("%.2f"), "–", "–")
	fmt.Fprintf(b, "\nMemory after that start: %.0f MB in use, %.0f bytes for each object; %.0f MB at the peak of the start. Filling took %.0f s at %d at a time.\n",
		r.heap.median()/1e6, r.heap.median()/float64(r.started), r.peak.median()/1e6, r.fill.Seconds(), manyWriter)
}
