package main

import (
	"context"
	"crypto/rand"
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
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/objectserver"
	"github.com/deferd/deferd/internal/s3"
)

const (
	workers = 64  // that call the model at a time
	inputs  = 256 // objects that the invocations share
)

// A drainFigure is what was measured of one way to work, a value for each
// round.
type drainFigure struct {
	rate   series // invocations/s
	server series // CPU of the process that calls the model, µs for an invocation
	model  series // CPU of the model, µs for an invocation
}

// A drainResult is deferd beside its limits: the loop with a connection to the
// model for each request, as deferd's agent has it, and with kept ones.
type drainResult struct {
	queued              int
	deferd, fresh, kept drainFigure
	commits, perCommit  series // transactions for an invocation, operations in each
}

// measureDrain lets deferd complete what was queued before, and a loop do the
// same work.
func (p *plan) measureDrain(ctx context.Context, r *report) error {
	r.drain = &drainResult{queued: p.queued}
	for range p.rounds {
		if err := p.drainOnce(ctx, r.drain); err != nil {
			return err
		}
		for _, loop := range []struct {
			keep bool
			to   *drainFigure
		}{{false, &r.drain.fresh}, {true, &r.drain.kept}} {
			if err := p.loopOnce(ctx, loop.keep, loop.to); err != nil {
				return fmt.Errorf("limit: %w", err)
			}
		}
	}
	return nil
}

// drainOnce queues invocations on a new server, whose model waits, lets the
// model go, and takes the time until all are completed and visible.
func (p *plan) drainOnce(ctx context.Context, r *drainResult) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	g, err := newGate()
	if err != nil {
		return err
	}
	defer g.close()
	d, err := p.deploy(ctx, dir, nil, workers, g)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	objects, err := d.objects(ctx)
	if err != nil {
		return err
	}
	f := form{path: d.path}
	for _, l := range inputLocations() {
		if err := objects.Put(ctx, l, deferd.ObjectAttributes{}, randomInput()); err != nil {
			return fmt.Errorf("store an input: %w", err)
		}
		f.inputs = append(f.inputs, l.String())
	}
	if _, err := (load{to: d.credentials, form: f, more: times(p.queued)}).run(ctx); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	before, err := d.metrics(ctx)
	if err != nil {
		return err
	}
	profile := p.startProfile(d, "drain", time.Duration(p.queued)*time.Millisecond)
	serverBefore, modelBefore := cpuOf(d.cmd.Process.Pid)
	begun := time.Now()
	g.open()
	after, err := d.awaitDrained(ctx, p.queued)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	serverAfter, modelAfter := cpuOf(d.cmd.Process.Pid)
	n := float64(p.queued)
	r.deferd.add(n, took, serverAfter-serverBefore, modelAfter-modelBefore)
	r.commits.add((after[commits] - before[commits]) / n)
	r.perCommit.add((after[operations] - before[operations]) / (after[commits] - before[commits]))
	return profile()
}

// awaitDrained waits until n invocations are completed, and returns the metrics
// that say so. Each look costs the server a millisecond or two, so it looks
// seldom, and more often towards the end.
func (d *deployment) awaitDrained(ctx context.Context, n int) (map[string]float64, error) {
	begun := time.Now()
	for {
		m, err := d.metrics(ctx)
		if err != nil {
			return nil, err
		}
		if bad := m[inState("Failed")] + m[inState("Expired")]; bad > 0 {
			return nil, fmt.Errorf("%v invocations failed", bad)
		}
		done := m[inState("Completed")]
		if done >= float64(n) {
			return m, nil
		}
		left := 200 * time.Millisecond
		if done > 0 {
			left = time.Duration(float64(time.Since(begun)) * (float64(n) - done) / done)
		}
		select {
		case <-time.After(min(max(left/2, tick/2), time.Second)):
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the queue to drain: %w", context.Cause(ctx))
		}
	}
}

func (f *drainFigure) add(n float64, took, server, model time.Duration) {
	f.rate.add(n / took.Seconds())
	f.server.add(microseconds(server) / n)
	f.model.add(microseconds(model) / n)
}

// objects is the server's own S3, as a client sees it.
func (d *deployment) objects(ctx context.Context) (*s3.Store, error) {
	return s3.New(ctx, s3.Config{Endpoint: d.url, Region: d.region, PathStyle: true, AccessKey: d.keyID, SecretKey: d.secret})
}

func inputLocations() []deferd.Location {
	locations := make([]deferd.Location, inputs)
	for i := range locations {
		locations[i] = deferd.Location{Bucket: bucket, Key: fmt.Sprintf("in/%d", i)}
	}
	return locations
}

func randomInput() []byte {
	b := make([]byte, payloadSize)
	rand.Read(b)
	return b
}

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

// loopOnce does the work of a drain in a loop: read, call the model, write.
func (p *plan) loopOnce(ctx context.Context, keep bool, to *drainFigure) (err error) {
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
	locations := inputLocations()
	for _, l := range locations {
		if err := objects.Put(ctx, l, deferd.ObjectAttributes{}, randomInput()); err != nil {
			return err
		}
	}
	model, addr, err := p.startModel(ctx)
	if err != nil {
		return err
	}
	defer func() { model.Process.Kill(); model.Wait() }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &loopWorker{objects: objects, url: "http://" + addr + "/invocations", client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: !keep, DisableCompression: true, MaxIdleConnsPerHost: workers,
	}}}
	defer w.client.CloseIdleConnections()
	serverBefore, _ := cpuOf(os.Getpid())
	modelBefore, _ := cpuOf(model.Process.Pid)
	begun := time.Now()
	var wg sync.WaitGroup
	more := times(p.queued)
	for i := range workers {
		wg.Go(func() {
			for n := i; more() && ctx.Err() == nil; n += workers {
				if err := w.invoke(ctx, locations[n%inputs], n); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	serverAfter, _ := cpuOf(os.Getpid())
	modelAfter, _ := cpuOf(model.Process.Pid)
	to.add(float64(p.queued), took, serverAfter-serverBefore, modelAfter-modelBefore)
	return context.Cause(ctx)
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

// A loopWorker does without a queue what deferd does for one invocation.
type loopWorker struct {
	objects *objectserver.Store
	client  *http.Client
	url     string
}

func (w *loopWorker) invoke(ctx context.Context, in deferd.Location, n int) error {
	o, err := w.objects.Get(ctx, in, deferd.GetObject{})
	if err != nil {
		return err
	}
	defer o.Body.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, o.Body)
	if err != nil {
		return err
	}
	req.ContentLength = o.Size
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || len(answer) != payloadSize {
		return fmt.Errorf("the model answered %s with %d bytes", resp.Status, len(answer))
	}
	out := deferd.Location{Bucket: bucket, Key: fmt.Sprintf("out/%d.out", n)}
	return w.objects.Put(ctx, out, deferd.ObjectAttributes{ContentType: resp.Header.Get("Content-Type")}, answer)
}
