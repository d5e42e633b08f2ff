package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/s3"
)

// inputs is how many objects the invocations share.
const inputs = 256

// slotCounts are the numbers of invocations at a time that a drain is measured
// with.
func slotCounts() []int { return []int{1, 16, 64} }

// Subjects beside deferd where its limit is a loop: with a connection to the
// model for each request, and with kept ones.
const (
	freshLoop = "loop"
	keptLoop  = "loop, kept connections"
)

// measureDrain lets deferd complete what was queued before, and a loop do the
// same work.
func (p *plan) measureDrain(ctx context.Context, r *report) error {
	s := r.section("Drain", "deferd", freshLoop, keptLoop)
	s.about = fmt.Sprintf("%d queued invocations, 4 KiB in by S3 and out, a model that echoes, one instance. They were queued in the store by\n"+
		"this program; the rate is that until all are completed and visible, or of the first %v. Limit: a loop of as many\n"+
		"workers that reads, calls the model and writes in the same object store, with a connection for each call, or with kept ones.", p.queued, p.window)
	for range p.rounds {
		for _, slots := range slotCounts() {
			if err := p.drainOnce(ctx, s, slots); err != nil {
				return err
			}
			for _, subject := range []string{freshLoop, keptLoop} {
				if err := p.drainLoop(ctx, s, slots, subject); err != nil {
					return fmt.Errorf("limit: %w", err)
				}
			}
		}
	}
	return nil
}

// drainOnce starts a server on a queue that is full and a model that waits,
// lets the model go, and counts.
func (p *plan) drainOnce(ctx context.Context, s *section, slots int) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	if err := p.prepareQueue(ctx, dir, slots, p.queued); err != nil {
		return err
	}
	g, err := newGate()
	if err != nil {
		return err
	}
	defer g.close()
	d, err := p.serve(ctx, dir, g)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.awaitBusy(ctx, min(slots, p.queued)); err != nil {
		return err
	}
	profile := p.startProfile(d, fmt.Sprintf("drain-%d", slots), p.window)
	got, err := d.drain(ctx, g, p.window)
	if err != nil {
		return err
	}
	at := fmt.Sprintf("%d at a time", slots)
	addDrained(s, at, "deferd", got.drained)
	s.figure(at, "store commits each", "%.2f").add("deferd", got.commits/got.n)
	if got.commits > 0 {
		s.figure(at, "operations in a commit", "%.1f").add("deferd", got.operations/got.commits)
	}
	return profile()
}

// A drained is what was completed in a while, and what that took.
type drained struct {
	n             float64
	took          time.Duration
	server, model time.Duration // CPU of what calls the model, and of the model
}

func addDrained(s *section, at, subject string, d drained) {
	s.figure(at, "completed/s", "%.0f").chart().add(subject, d.n/d.took.Seconds())
	s.figure(at, "CPU of the server or loop, µs each", "%.0f").add(subject, microseconds(d.server)/d.n)
	s.figure(at, "CPU of the model, µs each", "%.0f").add(subject, microseconds(d.model)/d.n)
}

// prepareQueue leaves in dir what a server keeps that has an endpoint with so
// many slots, and n invocations queued for it.
func (p *plan) prepareQueue(ctx context.Context, dir string, slots, n int) error {
	g, err := newGate()
	if err != nil {
		return err
	}
	defer g.close()
	d, err := p.deploy(ctx, dir, slots, g)
	if err != nil {
		return err
	}
	if err := errors.Join(d.putInputs(ctx), d.stop()); err != nil {
		return err
	}
	if err := p.unpinned(func() error { return queue(ctx, dir, n) }); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// putInputs stores what the invocations by S3 read.
func (d *deployment) putInputs(ctx context.Context) error {
	objects, err := d.objects(ctx)
	if err != nil {
		return err
	}
	for _, l := range inputLocations() {
		if err := objects.Put(ctx, l, deferd.ObjectAttributes{}, randomInput()); err != nil {
			return fmt.Errorf("store an input: %w", err)
		}
	}
	return nil
}

// A serverDrained is a drained with what deferd's store counted meanwhile.
type serverDrained struct {
	drained
	commits, operations float64
}

// drain lets the model go, and waits until everything is completed or the time
// is over.
func (d *deployment) drain(ctx context.Context, g *gate, window time.Duration) (got serverDrained, err error) {
	before, err := d.metrics(ctx)
	if err != nil {
		return got, err
	}
	completed := before[inState("Completed")]
	n := before[inState("Queued")] + before[inState("Running")]
	server, model := cpuOf(d.cmd.Process.Pid)
	begun := time.Now()
	g.open()
	after, err := d.awaitCompleted(ctx, completed+n, begun.Add(window))
	if err != nil {
		return got, err
	}
	got.took = time.Since(begun)
	serverAfter, modelAfter := cpuOf(d.cmd.Process.Pid)
	got.n = after[inState("Completed")] - completed
	if got.n == 0 {
		return got, errors.New("nothing was completed")
	}
	got.server, got.model = serverAfter-server, modelAfter-model
	got.commits = after[commits] - before[commits]
	got.operations = after[operations] - before[operations]
	return got, nil
}

// awaitCompleted waits until n invocations are completed or the time has come,
// and returns the metrics of then.
func (d *deployment) awaitCompleted(ctx context.Context, n float64, end time.Time) (m map[string]float64, err error) {
	err = awaitCount(ctx, n, end, func() (float64, error) {
		var err error
		if m, err = d.metrics(ctx); err != nil {
			return 0, err
		}
		if bad := m[inState("Failed")] + m[inState("Expired")]; bad > 0 {
			return 0, fmt.Errorf("%v invocations failed", bad)
		}
		return m[inState("Completed")], nil
	})
	return m, err
}

// awaitCount looks until it counts n or the time has come. Each look costs the
// server a millisecond or two, so it looks seldom, and more often towards the
// end.
func awaitCount(ctx context.Context, n float64, end time.Time, look func() (float64, error)) error {
	begun, first := time.Now(), -1.0
	for {
		done, err := look()
		if err != nil {
			return err
		}
		if done >= n || !time.Now().Before(end) {
			return nil
		}
		if first < 0 {
			first = done
		}
		left := 200 * time.Millisecond
		if done > first {
			left = time.Duration(float64(time.Since(begun)) * (n - done) / (done - first))
		}
		if err := sleep(ctx, min(max(left/2, tick/2), time.Second, max(time.Until(end), 0))); err != nil {
			return fmt.Errorf("wait for the queue to drain: %w", err)
		}
	}
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
