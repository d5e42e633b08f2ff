package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/objectserver"
)

// openObjects opens an embedded object store of its own, with the bucket.
func openObjects(ctx context.Context, dir string) (*objectserver.Store, error) {
	objects, err := objectserver.Open(filepath.Join(dir, "objects"), objectserver.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return nil, err
	}
	if err := objects.CreateBucket(ctx, bucket); err != nil {
		return nil, errors.Join(err, objects.Close())
	}
	return objects, nil
}

// drainLoop does the work of a drain in a loop.
func (p *plan) drainLoop(ctx context.Context, s *section, slots int, subject string) error {
	return p.withLoop(ctx, slots, subject == keptLoop, func(w *looper) error {
		got, err := w.drain(ctx, slots, p.queued, p.window)
		if err == nil {
			addDrained(s, fmt.Sprintf("%d at a time", slots), subject, got)
		}
		return err
	})
}

// A looper does without a queue what deferd does for an invocation.
type looper struct {
	objects *objectserver.Store
	client  *http.Client
	url     string
	model   int // its process
}

// withLoop calls do, on the server's cores, with a loop that has an object
// store and a model of its own.
func (p *plan) withLoop(ctx context.Context, slots int, keep bool, do func(*looper) error) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	objects, err := openObjects(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objects.Close()) }()
	for _, l := range inputLocations() {
		if err := objects.Put(ctx, l, deferd.ObjectAttributes{}, randomInput()); err != nil {
			return err
		}
	}
	model, addr, err := p.startModel(ctx)
	if err != nil {
		return err
	}
	defer func() { model.Process.Kill(); model.Wait() }()
	w := &looper{objects: objects, url: "http://" + addr + "/invocations", model: model.Process.Pid, client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: !keep, DisableCompression: true, MaxIdleConnsPerHost: slots,
	}}}
	defer w.client.CloseIdleConnections()
	return p.asServer(func() error { return do(w) })
}

// drain handles n invocations, so many at a time, or as many as there is time
// for.
func (w *looper) drain(ctx context.Context, slots, n int, window time.Duration) (drained, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	server, _ := cpuOf(os.Getpid())
	model, _ := cpuOf(w.model)
	begun := time.Now()
	end := begun.Add(window)
	more := times(n)
	locations := inputLocations()
	var done atomic.Int64
	var wg sync.WaitGroup
	for i := range slots {
		wg.Go(func() {
			for n := i; more() && ctx.Err() == nil && time.Now().Before(end); n += slots {
				if err := w.invoke(ctx, locations[n%inputs], n); err != nil {
					cancel(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	got := drained{n: float64(done.Load()), took: time.Since(begun)}
	serverAfter, _ := cpuOf(os.Getpid())
	modelAfter, _ := cpuOf(w.model)
	got.server, got.model = serverAfter-server, modelAfter-model
	return got, context.Cause(ctx)
}

// invoke handles one invocation by S3: read, call, write.
func (w *looper) invoke(ctx context.Context, in deferd.Location, n int) error {
	o, err := w.objects.Get(ctx, in, deferd.GetObject{})
	if err != nil {
		return err
	}
	defer o.Body.Close()
	return w.work(ctx, o.Body, o.Size, n)
}

// work handles an input that is there: call, write.
func (w *looper) work(ctx context.Context, in io.Reader, size int64, n int) error {
	contentType, answer, err := w.call(ctx, in, size)
	if err != nil {
		return err
	}
	out := deferd.Location{Bucket: bucket, Key: fmt.Sprintf("out/%d.out", n)}
	return w.objects.Put(ctx, out, deferd.ObjectAttributes{ContentType: contentType}, answer)
}

// call calls the model.
func (w *looper) call(ctx context.Context, in io.Reader, size int64) (contentType string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, in)
	if err != nil {
		return "", nil, err
	}
	req.ContentLength = size
	resp, err := w.client.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return "", nil, err
	}
	if resp.StatusCode != http.StatusOK || len(answer) != payloadSize {
		return "", nil, fmt.Errorf("the model answered %s with %d bytes", resp.Status, len(answer))
	}
	return resp.Header.Get("Content-Type"), answer, nil
}

// startModel starts the model as deferd would, and waits for its first ping.
func (p *plan) startModel(ctx context.Context) (*exec.Cmd, string, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(p.self, modelVerb, "serve")
	cmd.Stderr = os.Stderr
	_, port, _ := strings.Cut(addr, ":")
	cmd.Env = append(os.Environ(), "SAGEMAKER_BIND_TO_PORT="+port)
	for name, value := range p.modelEnv(nil) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	err = await(ctx, "the model", func() (bool, error) {
		resp, err := http.Get("http://" + addr + "/ping")
		if err != nil {
			return false, nil
		}
		resp.Body.Close()
		return true, nil
	})
	if err != nil {
		cmd.Process.Kill()
		return nil, "", errors.Join(err, cmd.Wait())
	}
	return cmd, addr, nil
}
