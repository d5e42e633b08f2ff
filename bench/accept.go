package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// warmUp is how long a server is asked before it is measured.
const warmUp = 500 * time.Millisecond

// connectionCounts are the numbers of clients that accepts are measured with.
func connectionCounts() []int { return []int{1, 16, 64, 256} }

func connected(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
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
	closed, err := newGate()
	if err != nil {
		return err
	}
	defer closed.close()
	d, err := p.deploy(ctx, dir, 1, closed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	l, err := start(ctx, exec.Command(p.self, limitVerb), p.cores.server, filepath.Join(dir, "limit-log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	url := l.url
	l.credentials = limitKey
	l.url = url

	s := r.section("Accept", "deferd", "limit")
	s.about = "Signed invocations that were answered with a 202, which at deferd are durable by then, from a closed loop of so many\n" +
		"connections. Limit: the same HTTP handler, signature check and validation over a store that keeps nothing."
	kinds := forms(d.path)
	profile := p.startProfile(d, "accept", time.Duration(p.rounds*len(kinds)*2*len(connectionCounts()))*p.accept)
	for round := range p.rounds {
		for _, f := range kinds {
			for _, n := range connectionCounts() {
				a := acceptRun{form: f, connections: n, to: s, at: fmt.Sprintf("%s, %s", f.name, connected(n)), cold: round == 0 && n == 1}
				if err := p.acceptRound(ctx, a, "deferd", d.child, d); err != nil {
					return err
				}
				if err := p.acceptRound(ctx, a, "limit", l, nil); err != nil {
					return fmt.Errorf("limit: %w", err)
				}
			}
		}
	}
	return profile()
}

// An acceptRun is one form and number of connections, and where its figures go.
type acceptRun struct {
	form        form
	connections int
	cold        bool // the server has to be warmed up first
	to          *section
	at          string
}

// acceptRound measures one server once. Of a deferd it also says how many
// accepts shared a commit.
func (p *plan) acceptRound(ctx context.Context, a acceptRun, subject string, c *child, d *deployment) error {
	l := load{to: c.credentials, form: a.form, connections: a.connections}
	if a.cold {
		l.more = until(time.Now().Add(warmUp))
		if _, err := l.run(ctx); err != nil {
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
	server, helpers := cpuOf(c.cmd.Process.Pid)
	client, _ := cpuOf(os.Getpid())
	l.more = until(time.Now().Add(p.accept))
	got, err := l.run(ctx)
	if err != nil {
		return err
	}
	serverAfter, helpersAfter := cpuOf(c.cmd.Process.Pid)
	clientAfter, _ := cpuOf(os.Getpid())
	n := float64(len(got.latencies))
	rate := a.to.figure(a.at, "accepts/s", "%.0f")
	rate.charts = a.connections == 1 || a.connections == usual
	rate.add(subject, got.rate())
	a.to.figure(a.at, "p50, ms", "%.2f").add(subject, milliseconds(got.quantile(.50)))
	a.to.figure(a.at, "p99, ms", "%.2f").add(subject, milliseconds(got.quantile(.99)))
	a.to.figure(a.at, "server CPU, µs each", "%.0f").add(subject, microseconds(serverAfter-server+helpersAfter-helpers)/n)
	a.to.figure(a.at, "client CPU, µs each", "%.0f").add(subject, microseconds(clientAfter-client)/n)
	if d == nil {
		return nil
	}
	after, err := d.metrics(ctx)
	if err != nil {
		return err
	}
	if made := after[commits] - before[commits]; made > 0 {
		a.to.figure(a.at, "accepts in a commit", "%.1f").add(subject, (after[operations]-before[operations])/made)
	}
	return nil
}
