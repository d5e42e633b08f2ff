package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// peersModule is where the peers are, below the repository. Their README says
// what they have to do.
const peersModule = "bench/peers"

// A rival is a peer in one of its forms.
type rival struct {
	name    string
	program string // of the peers' module
	args    []string
}

// rivals are the peers. River inserts one job at a time, or many where a front
// groups them, which is glue of ours: both are measured.
func rivals() []rival {
	grouped := []string{"--group=true"}
	return []rival{
		{"asynq", "asynq", nil},
		{"riverpg", "riverpg", nil},
		{"riverpg, grouped", "riverpg", grouped},
		{"riversqlite", "riversqlite", nil},
		{"riversqlite, grouped", "riversqlite", grouped},
	}
}

// measurePeers has deferd and queues made with libraries do the same work.
func (p *plan) measurePeers(ctx context.Context, r *report) error {
	programs, err := p.buildPeers(ctx)
	if err != nil {
		return err
	}
	subjects := []string{"deferd"}
	for _, v := range rivals() {
		subjects = append(subjects, v.name)
	}
	accepts := r.section("Peers: accept", subjects...)
	accepts.rivals = true
	accepts.about = fmt.Sprintf("The same requests to the same path over %d connections, answered with a 202 once they are durable; deferd's are signed and\n"+
		"checked, the peers' are not. [The peers](../peers/README.md) are a front and a worker of ours around each library, with a durability that they\n"+
		"are asked for at their start. After a peer's value stands deferd's ratio to it.", usual)
	drains := r.section("Peers: drain", subjects...)
	drains.rivals = true
	drains.about = fmt.Sprintf("What was accepted before, half of it inline and half by S3, drained by 64 workers until all is completed, or for %v: the same model,\n"+
		"outputs in the same S3 server, which deferd has within itself and the peers reach by HTTP. CPU is that of all processes but model and\n"+
		"clients: front, worker, store and S3.", p.window)
	left := map[string]bool{}
	for round := range p.rounds {
		for i, subject := range subjects {
			if left[subject] {
				continue
			}
			l := lap{accepts: accepts, drains: drains, subject: subject, first: round == 0}
			if i > 0 {
				l.rival = rivals()[i-1]
			}
			err := p.lapOf(ctx, l, programs)
			if errors.Is(err, errNoPeer) {
				fmt.Fprintf(os.Stderr, "bench: %s is left out: %v\n", subject, err)
				accepts.notes = append(accepts.notes, fmt.Sprintf("%s could not be measured here; the run's output says why.", subject))
				left[subject] = true
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", subject, err)
			}
		}
	}
	return nil
}

// errNoPeer is that a peer cannot run here: Redis or PostgreSQL is not
// installed.
var errNoPeer = errors.New("the peer did not start")

// buildPeers builds the peers and returns the directory that they are in.
func (p *plan) buildPeers(ctx context.Context) (string, error) {
	dir := filepath.Join(p.dir, "peers")
	args := []string{"build", "-C", peersModule, "-o", dir + "/"}
	for _, v := range rivals() {
		if v.args == nil {
			args = append(args, "./"+v.program)
		}
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the peers: %w\n%s", err, out)
	}
	return dir, nil
}

// A lap is one round of one subject.
type lap struct {
	accepts, drains *section
	subject         string
	rival           rival // zero for deferd
	first           bool
}

func (p *plan) lapOf(ctx context.Context, l lap, programs string) (err error) {
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
	if l.rival.program == "" {
		d, err := p.deploy(ctx, dir, 64, g)
		if err != nil {
			return err
		}
		return errors.Join(p.deferdLap(ctx, l, d, g), d.stop())
	}
	peer, err := p.startPeer(ctx, dir, filepath.Join(programs, l.rival.program), l.rival.args)
	if err != nil {
		return err
	}
	if l.first && l.rival.args == nil {
		l.accepts.notes = append(l.accepts.notes, l.rival.program+" says of its durability: "+peer.durability)
	}
	return errors.Join(p.peerLap(ctx, l, peer), peer.stop())
}

func (p *plan) deferdLap(ctx context.Context, l lap, d *deployment, g *gate) error {
	if err := d.putInputs(ctx); err != nil {
		return err
	}
	if err := p.acceptLap(ctx, l, d.child, d); err != nil {
		return err
	}
	got, err := d.drain(ctx, g, p.window)
	if err != nil {
		return err
	}
	addLap(l, got.drained)
	return nil
}

// acceptLap measures accepts of both forms.
func (p *plan) acceptLap(ctx context.Context, l lap, c *child, d *deployment) error {
	for i, f := range forms(invocationsPath(endpoint)) {
		a := acceptRun{form: f, connections: usual, to: l.accepts, at: f.name + ", " + connected(usual), cold: i == 0}
		if err := p.acceptRound(ctx, a, l.subject, c, d); err != nil {
			return err
		}
	}
	return nil
}

func addLap(l lap, got drained) {
	const at = "64 at a time"
	l.drains.figure(at, "completed/s", "%.0f").chart().add(l.subject, got.n/got.took.Seconds())
	l.drains.figure(at, "CPU, µs each", "%.0f").add(l.subject, microseconds(got.server)/got.n)
}

// A peer is a running one, with the S3 server and the model that it works with.
type peer struct {
	*child
	objects    *deployment
	model      *exec.Cmd
	durability string // what it says of its settings
}

func (p *plan) startPeer(ctx context.Context, dir, program string, args []string) (_ *peer, err error) {
	q := &peer{}
	defer func() {
		if err != nil {
			err = errors.Join(err, q.stop())
		}
	}()
	if q.objects, err = p.serve(ctx, dir, nil); err != nil {
		return nil, err
	}
	if err := q.objects.putInputs(ctx); err != nil {
		return nil, err
	}
	model, addr, err := p.startModel(ctx)
	if err != nil {
		return nil, err
	}
	q.model = model
	cmd := exec.Command(program, append([]string{"serve", "--listen", "127.0.0.1:0", "--dir", filepath.Join(dir, "peer"),
		"--model", "http://" + addr, "--s3", q.objects.url, "--concurrency", "64", "--workers=false"}, args...)...)
	cmd.Env = append(withoutSettings(os.Environ()), "AWS_ACCESS_KEY_ID="+q.objects.keyID,
		"AWS_SECRET_ACCESS_KEY="+q.objects.secret, "AWS_REGION="+q.objects.region)
	if q.child, err = start(ctx, cmd, p.cores.server, filepath.Join(dir, "peer-log")); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPeer, err)
	}
	for _, line := range q.said {
		if _, settings, ok := strings.Cut(line, "durability: "); ok {
			q.durability = settings
		}
	}
	return q, nil
}

// stop ends what of the peer has been started.
func (q *peer) stop() error {
	var errs []error
	if q.child != nil {
		errs = append(errs, q.child.stop())
	}
	if q.model != nil {
		q.model.Process.Kill()
		q.model.Wait()
	}
	if q.objects != nil {
		errs = append(errs, q.objects.stop())
	}
	return errors.Join(errs...)
}

// peerStats is what a peer counts.
type peerStats struct{ Accepted, Completed, Failed float64 }

func (q *peer) stats(ctx context.Context) (s peerStats, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url+"/stats", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("read %s/stats: %w", q.url, err)
	}
	if s.Failed > 0 {
		return s, fmt.Errorf("%v invocations failed", s.Failed)
	}
	return s, nil
}

// work lets so many workers go.
func (q *peer) work(ctx context.Context, n int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/workers?n=%d", q.url, n), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("start workers: %s", resp.Status)
	}
	return nil
}

// cpu is what the peer, what it has started, and its S3 server have used.
func (q *peer) cpu() time.Duration {
	own, below := cpuOf(q.cmd.Process.Pid)
	objects, _ := cpuOf(q.objects.cmd.Process.Pid)
	return own + below + objects
}

// peerLap measures a peer once.
func (p *plan) peerLap(ctx context.Context, l lap, q *peer) error {
	if err := p.acceptLap(ctx, l, q.child, nil); err != nil {
		return err
	}
	before, err := q.stats(ctx)
	if err != nil {
		return err
	}
	cpu, begun := q.cpu(), time.Now()
	if err := q.work(ctx, 64); err != nil {
		return err
	}
	var done float64
	err = awaitCount(ctx, before.Accepted, begun.Add(p.window), func() (float64, error) {
		s, err := q.stats(ctx)
		done = s.Completed
		return done, err
	})
	if err != nil {
		return err
	}
	got := drained{n: done - before.Completed, took: time.Since(begun), server: q.cpu() - cpu}
	if got.n == 0 {
		return errors.New("nothing was completed")
	}
	addLap(l, got)
	return nil
}

// hasPeers reports whether the peers' module is there.
func hasPeers() bool {
	_, err := os.Stat(filepath.Join(peersModule, "go.mod"))
	return err == nil
}
