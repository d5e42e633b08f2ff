package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// measureEndpoints compares servers that have many endpoints with one that has
// a single one.
func (p *plan) measureEndpoints(ctx context.Context, r *report) error {
	const single = "1 endpoint"
	s := r.section("Endpoints", "deferd", single)
	s.about = fmt.Sprintf("A server with so many endpoints whose queues are empty at first; all but one have no instances. They were stored by this\n"+
		"program while the server was down. Accepts are by S3, over %d connections, to each endpoint in turn.", usual)
	names := []named{
		{name: "ready after, s", format: "%.2f"},
		{name: "memory at rest, MB", format: "%.0f", charts: true},
		{name: "CPU at rest, % of a core", format: "%.1f"},
		{name: "accepts/s", format: "%.0f", charts: true},
		{name: "server CPU for an accept, µs", format: "%.0f"},
	}
	for range p.rounds {
		one, err := p.endpointsOf(ctx, 1)
		if err != nil {
			return err
		}
		for _, n := range p.endpoints {
			many, err := p.endpointsOf(ctx, n)
			if err != nil {
				return fmt.Errorf("%d endpoints: %w", n, err)
			}
			for i, f := range names {
				row := s.figure(thousands(n)+" endpoints", f.name, f.format)
				row.charts = f.charts
				row.add("deferd", many[i])
				row.add(single, one[i])
			}
		}
	}
	return nil
}

// endpointsOf measures a server with n endpoints.
func (p *plan) endpointsOf(ctx context.Context, n int) (got []float64, err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	g, err := newGate()
	if err != nil {
		return nil, err
	}
	defer g.close()
	d, err := p.deploy(ctx, dir, 1, g)
	if err != nil {
		return nil, err
	}
	if err := d.stop(); err != nil {
		return nil, err
	}
	if err := addEndpoints(ctx, dir, n-1); err != nil {
		return nil, fmt.Errorf("make endpoints: %w", err)
	}
	if d, err = p.serve(ctx, dir, g); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := sleep(ctx, p.rest); err != nil { // what a start leaves behind is over by then
		return nil, err
	}
	cpu, _ := cpuOf(d.cmd.Process.Pid)
	if err := sleep(ctx, p.rest); err != nil {
		return nil, err
	}
	cpuAfter, _ := cpuOf(d.cmd.Process.Pid)
	rest, _ := memoryNow(d.cmd.Process.Pid)
	f := forms(d.path)[1]
	f.paths = []string{d.path}
	for i := range n - 1 {
		f.paths = append(f.paths, invocationsPath(idleEndpoint(i)))
	}
	profile := p.startProfile(d, fmt.Sprintf("endpoints-%d", n), p.accept)
	accepts, used, err := d.acceptFor(ctx, f, p.accept)
	if err != nil {
		return nil, err
	}
	return []float64{d.ready.Seconds(), float64(rest) / 1e6, 100 * (cpuAfter - cpu).Seconds() / p.rest.Seconds(), accepts, microseconds(used)}, profile()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
