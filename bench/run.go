package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Verbs that the program runs itself under.
const (
	modelVerb = "model"
	limitVerb = "accept-limit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case modelVerb:
			return runModel(ctx)
		case limitVerb:
			return runAcceptLimit(ctx, os.Stdout)
		case objectsVerb:
			return runObjectsStart(args[len(args)-1], os.Stdout)
		}
	}
	p, err := readPlan(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.run(ctx)
}

// run measures what the plan asks for and prints the table.
func (p *plan) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if p.self, err = os.Executable(); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp(p.dir, "deferd-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
	if p.profile != "" {
		if err := p.buildProfiled(ctx); err != nil {
			return err
		}
	}
	if p.pin {
		p.cores = splitCores()
	}
	r := &report{
		machine: describeMachine(ctx, p.program), fileSystem: fileSystem(p.dir), cores: p.cores,
		rounds: p.rounds, quick: p.quick, loadBefore: loadAverage(),
	}
	if r.syncBefore, err = syncRate(p.dir); err != nil {
		return err
	}
	begun := time.Now()
	if err := moveTo(p.cores.load); err != nil {
		return fmt.Errorf("choose the load's cores: %w", err)
	}
	if err := p.measure(ctx, r); err != nil {
		return err
	}
	r.took = time.Since(begun)
	if r.syncAfter, err = syncRate(p.dir); err != nil {
		return err
	}
	r.loadAfter = loadAverage()
	fmt.Print(r.markdown(""))
	if !p.write {
		return r.check()
	}
	return errors.Join(r.check(), r.keep())
}

// measure measures one section after the other.
func (p *plan) measure(ctx context.Context, r *report) error {
	for _, s := range sections(p) {
		if !slices.Contains(p.only, s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", s.name)
		if err := s.measure(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// keep writes table and drawing among the results.
func (r *report) keep() error {
	name := r.machine.date.Format("2006-01-02") + "-" + strings.TrimSuffix(r.machine.commit, "-dirty")
	if r.quick {
		name += "-quick"
	}
	path := filepath.Join("bench", "results", name)
	return errors.Join(
		os.WriteFile(path+".md", []byte(r.markdown(name+".svg")), 0o644),
		os.WriteFile(path+".svg", []byte(r.svg()), 0o644))
}

// scratch makes a directory of one round, and returns what removes it.
func (p *plan) scratch() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(p.dir, "round-")
	return dir, func() { os.RemoveAll(dir) }, err
}
