package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// emptyQueue is what a backlog is compared with.
const emptyQueue = "empty queue"

// measureBacklog compares servers that have much queued with one that has
// nothing queued.
func (p *plan) measureBacklog(ctx context.Context, r *report) (err error) {
	s := r.section("Backlog", "deferd", emptyQueue)
	s.about = fmt.Sprintf("A server that starts on so many queued invocations (stored by this program while it was down), beside one that starts on\n"+
		"none: until it serves, its memory then, accepts by S3 over %d connections while nothing drains, then completed invocations of\n"+
		"%v at 64 at a time. The peak is that of all this. What was accepted is the empty queue's work in the last step.", usual, p.window)
	kept := map[int]string{} // directories of queues that take long to fill
	defer func() {
		for _, dir := range kept {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	for range p.rounds {
		none, err := p.backlogOf(ctx, 0, kept)
		if err != nil {
			return err
		}
		for _, n := range p.backlogs {
			some, err := p.backlogOf(ctx, n, kept)
			if err != nil {
				return fmt.Errorf("%d queued: %w", n, err)
			}
			at := thousands(n) + " queued"
			for i, f := range backlogFigures() {
				row := s.figure(at, f.name, f.format)
				row.charts = f.charts
				row.add("deferd", some[i])
				row.add(emptyQueue, none[i])
			}
		}
	}
	return nil
}

// A named is a figure's name and how it is printed.
type named struct {
	name, format string
	charts       bool
}

// backlogFigures name what backlogOf measures, in its order.
func backlogFigures() []named {
	return []named{
		{name: "ready after, s", format: "%.2f"},
		{name: "memory at rest, MB", format: "%.0f", charts: true},
		{name: "accepts/s", format: "%.0f", charts: true},
		{name: "server CPU for an accept, µs", format: "%.0f"},
		{name: "completed/s", format: "%.0f", charts: true},
		{name: "server CPU for a completed one, µs", format: "%.0f"},
		{name: "peak memory, MB", format: "%.0f"},
	}
}

// quickToFill is up to how many invocations a queue is filled anew for each
// round. A longer one is used again, a little longer or shorter by then.
const quickToFill = 100_000

// backlogOf measures a server with n invocations queued.
func (p *plan) backlogOf(ctx context.Context, n int, kept map[int]string) (got []float64, err error) {
	dir := kept[n]
	if dir == "" {
		var remove func()
		if dir, remove, err = p.scratch(); err != nil {
			return nil, err
		}
		if n <= quickToFill {
			defer remove()
		} else {
			kept[n] = dir
		}
		if err := p.prepareQueue(ctx, dir, 64, n); err != nil {
			return nil, err
		}
	}
	g, err := newGate()
	if err != nil {
		return nil, err
	}
	defer g.close()
	d, err := p.serve(ctx, dir, g)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.awaitBusy(ctx, min(64, n)); err != nil {
		return nil, err
	}
	rest, _ := memoryNow(d.cmd.Process.Pid)
	profile := p.startProfile(d, fmt.Sprintf("backlog-%d", n), p.accept+p.window)
	accepts, cpu, err := d.acceptFor(ctx, forms(d.path)[1], p.accept)
	if err != nil {
		return nil, err
	}
	completed, err := d.drain(ctx, g, p.window)
	if err != nil {
		return nil, err
	}
	peak, _ := peakMemory(d.cmd.Process.Pid)
	return []float64{
		d.ready.Seconds(), float64(rest) / 1e6, accepts, microseconds(cpu),
		completed.n / completed.took.Seconds(), microseconds(completed.server) / completed.n, float64(peak) / 1e6,
	}, profile()
}

// acceptFor has the usual number of clients invoke for a while, and returns how
// many accepts a second there were and the server's CPU time for each.
func (d *deployment) acceptFor(ctx context.Context, f form, t time.Duration) (rate float64, cpu time.Duration, err error) {
	l := load{to: d.credentials, form: f, connections: usual, more: until(time.Now().Add(warmUp))}
	if _, err := l.run(ctx); err != nil {
		return 0, 0, err
	}
	before, _ := cpuOf(d.cmd.Process.Pid)
	l.more = until(time.Now().Add(t))
	got, err := l.run(ctx)
	if err != nil {
		return 0, 0, err
	}
	after, _ := cpuOf(d.cmd.Process.Pid)
	return got.rate(), (after - before) / time.Duration(len(got.latencies)), nil
}

// thousands spells a number for people.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
