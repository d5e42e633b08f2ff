package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// payloadSize is how much goes into an invocation and comes out of it.
const payloadSize = 4 << 10

// warmUp is how long a server is asked before it is measured.
const warmUp = 500 * time.Millisecond

// An acceptFigure is what was measured of one server and one form, a value for
// each round.
type acceptFigure struct {
	rate     series // accepts/s
	p50, p99 series // ms
	server   series // CPU of the server, µs for an accept
	client   series // CPU of the clients, µs for an accept
	grouped  series // accepts that share a commit
}

// An acceptPair is a form beside its limit.
type acceptPair struct {
	form          string
	deferd, limit acceptFigure
}

// measureAccept has clients invoke an endpoint whose model answers nothing: the
// one invocation that it takes holds its one slot, so that nothing is claimed
// and the queue only grows.
func (p *plan) measureAccept(ctx context.Context, r *report) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	serverCores, clientCores := p.splitCores()
	r.pinned = len(serverCores) > 0
	closed, err := newGate()
	if err != nil {
		return err
	}
	defer closed.close()
	d, err := p.deploy(ctx, dir, serverCores, 1, closed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	l, err := start(ctx, exec.Command(p.self, limitVerb), serverCores, filepath.Join(dir, "limit-log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	url := l.url
	l.credentials = limitKey
	l.url = url

	if len(clientCores) > 0 {
		defer useCores(allCores())
		if err := useCores(clientCores); err != nil {
			return fmt.Errorf("choose the clients' cores: %w", err)
		}
	}
	body := make([]byte, payloadSize)
	rand.Read(body)
	forms := []form{
		{name: "inline, 4 KiB", path: d.path, body: body},
		{name: "by S3", path: d.path, inputs: []string{"s3://" + bucket + "/in/payload"}},
	}
	profile := p.startProfile(d, "accept", time.Duration(p.rounds*len(forms)*2)*p.accept)
	r.accept = make([]acceptPair, len(forms))
	for round := range p.rounds {
		for i, f := range forms {
			pair := &r.accept[i]
			pair.form = f.name
			if err := p.measureForm(ctx, f, d.child, d, round == 0, &pair.deferd); err != nil {
				return err
			}
			if err := p.measureForm(ctx, f, l, nil, round == 0, &pair.limit); err != nil {
				return fmt.Errorf("limit: %w", err)
			}
		}
	}
	return profile()
}

// splitCores shares the cores between server and clients; none where there is
// but one, or where that is not wanted.
func (p *plan) splitCores() (server, clients []int) {
	cores := allCores()
	if !p.pin || len(cores) < 2 {
		return nil, nil
	}
	return slices.Clone(cores[:len(cores)/2]), slices.Clone(cores[len(cores)/2:])
}

// measureForm adds a round of one form at one server. Of a deferd it also says
// how many accepts shared a commit.
func (p *plan) measureForm(ctx context.Context, f form, c *child, d *deployment, cold bool, to *acceptFigure) error {
	if cold {
		if _, err := (load{to: c.credentials, form: f, more: until(time.Now().Add(warmUp))}).run(ctx); err != nil {
			return err
		}
	}
	var before map[string]float64
	var err error
	if d != nil {
		if before, err = d.metrics(ctx); err != nil {
			return err
		}
	}
	serverBefore, _ := cpuOf(c.cmd.Process.Pid)
	clientBefore, _ := cpuOf(os.Getpid())
	got, err := load{to: c.credentials, form: f, more: until(time.Now().Add(p.accept))}.run(ctx)
	if err != nil {
		return err
	}
	serverAfter, _ := cpuOf(c.cmd.Process.Pid)
	clientAfter, _ := cpuOf(os.Getpid())
	n := float64(len(got.latencies))
	to.rate.add(got.rate())
	to.p50.add(milliseconds(got.quantile(.50)))
	to.p99.add(milliseconds(got.quantile(.99)))
	to.server.add(microseconds(serverAfter-serverBefore) / n)
	to.client.add(microseconds(clientAfter-clientBefore) / n)
	if d == nil {
		return nil
	}
	after, err := d.metrics(ctx)
	if err != nil {
		return err
	}
	to.grouped.add((after[operations] - before[operations]) / (after[commits] - before[commits]))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
