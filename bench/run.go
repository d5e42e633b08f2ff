package main

import (
	"cmp"
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

// A plan says what to measure, how much of it, and where.
type plan struct {
	program string // the deferd under test
	self    string // this program
	dir     string // for everything that is kept meanwhile
	only    string
	rounds  int
	pin     bool
	write   bool
	profile string // directory for CPU profiles; "" for none

	accept  time.Duration // one round of one form
	queued  int           // invocations of one drain
	payload int64         // bytes
	small   time.Duration // one round of one form of small objects
	large   int64         // bytes of a large object
	started int           // objects in a store that is started
}

// limit is when a run is given up, should something hang.
const limit = 10 * time.Minute

func readPlan(args []string) (*plan, error) {
	p := &plan{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&p.program, "deferd", "bin/deferd", "the `program` to measure")
	flags.StringVar(&p.dir, "dir", "", "`directory` on the disk to measure (a new one in the system's place for such)")
	flags.StringVar(&p.only, "only", "", "one `section`: accept, drain, payload or objects")
	flags.IntVar(&p.rounds, "rounds", 3, "how often to measure each thing, in turns with its limit")
	flags.BoolVar(&p.pin, "pin", false, "accept: keep server and clients on different cores, half of them each")
	flags.BoolVar(&p.write, "write", false, "keep the table in bench/results")
	flags.StringVar(&p.profile, "profile", "", "keep CPU profiles of the server in this `directory`; builds a deferd that can be profiled")
	million := flags.Bool("million", false, "objects: start on 1,000,000 objects instead of 200,000, which takes a minute longer")
	quick := flags.Bool("quick", false, "a few seconds in all; the figures mean little")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	if p.only != "" && !slices.Contains([]string{"accept", "drain", "payload", "objects"}, p.only) {
		return nil, fmt.Errorf("there is no section %q", p.only)
	}
	p.accept, p.queued, p.payload = 3*time.Second, 4000, 1<<30
	p.small, p.large, p.started = time.Second, largeSize, 200_000
	if *million {
		p.started = 1_000_000
	}
	if *quick {
		p.rounds, p.accept, p.queued, p.payload = 1, time.Second, 500, 64<<20
		p.small, p.large, p.started = 200*time.Millisecond, 32<<20, listed
	}
	p.rounds = max(p.rounds, 1)
	return p, nil
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
	begun := time.Now()
	r := &report{machine: describeMachine(ctx, p.program), fileSystem: fileSystem(p.dir), rounds: p.rounds}
	if r.syncBefore, err = syncRate(p.dir); err != nil {
		return err
	}
	for _, section := range []struct {
		name    string
		measure func(context.Context, *report) error
	}{{"accept", p.measureAccept}, {"drain", p.measureDrain}, {"payload", p.measurePayload}, {"objects", p.measureObjects}} {
		if cmp.Or(p.only, section.name) != section.name {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", section.name)
		if err := section.measure(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
	}
	if r.syncAfter, err = syncRate(p.dir); err != nil {
		return err
	}
	r.took = time.Since(begun)
	text := r.markdown()
	fmt.Print(text)
	if !p.write {
		return r.check()
	}
	name := r.machine.date.Format("2006-01-02") + "-" + strings.TrimSuffix(r.machine.commit, "-dirty") + ".md"
	return errors.Join(r.check(), os.WriteFile(filepath.Join("bench", "results", name), []byte(text), 0o644))
}

// scratch makes a directory of one round, and returns what removes it.
func (p *plan) scratch() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(p.dir, "round-")
	return dir, func() { os.RemoveAll(dir) }, err
}
