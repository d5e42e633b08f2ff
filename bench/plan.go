package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A plan says what to measure, how much of it, and where.
type plan struct {
	program string // the deferd under test
	self    string // this program
	dir     string // for everything that is kept meanwhile
	only    []string
	rounds  int
	pin     bool
	cores   cores
	quick   bool
	write   bool
	profile string // directory for CPU profiles; "" for none

	accept    time.Duration // one round of accepts
	queued    int           // invocations of one drain
	window    time.Duration // of a drain that is measured
	samples   int           // invocations one after the other
	backlogs  []int
	endpoints []int
	rest      time.Duration // that a server is watched at rest
	payloads  []int64       // bytes
	small     time.Duration // one round of one form of small objects
	large     int64         // bytes of a large object
	started   int           // objects in a store that is started
}

// limit is when a run is given up, should something hang.
const limit = 30 * time.Minute

// A measurement is a section that can be chosen.
type measurement struct {
	name    string
	measure func(context.Context, *report) error
}

// sections are all that there is to measure, in the order in which it is done.
func sections(p *plan) []measurement {
	return []measurement{
		{"accept", p.measureAccept},
		{"drain", p.measureDrain},
		{"overhead", p.measureOverhead},
		{"backlog", p.measureBacklog},
		{"payload", p.measurePayload},
		{"endpoints", p.measureEndpoints},
		{"peers", p.measurePeers},
		{"objects", func(ctx context.Context, r *report) error {
			return p.unpinned(func() error { return p.measureObjects(ctx, r) })
		}},
	}
}

func readPlan(args []string) (*plan, error) {
	p := &plan{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&p.program, "deferd", "bin/deferd", "the `program` to measure")
	flags.StringVar(&p.dir, "dir", "", "`directory` on the disk to measure (a new one in the system's place for such)")
	only := flags.String("only", "", "`sections` to measure, with commas: "+strings.Join(sectionNames(), ", "))
	flags.IntVar(&p.rounds, "rounds", 3, "how often to measure each thing, in turns with what it is compared with")
	flags.BoolVar(&p.pin, "pin", true, "keep the server on one half of the cores, and load and models on the other")
	flags.BoolVar(&p.write, "write", false, "keep table and drawing in bench/results")
	flags.StringVar(&p.profile, "profile", "", "keep CPU profiles of the server in this `directory`; builds a deferd that can be profiled")
	queued := flags.Int("queued", 100_000, "drain: invocations that are queued")
	million := flags.Bool("million", false, "objects: start on 1,000,000 objects instead of 200,000, which takes a minute longer")
	flags.BoolVar(&p.quick, "quick", false, "less than two minutes in all; the figures mean little")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	if err := p.choose(*only); err != nil {
		return nil, err
	}
	p.full(*queued, *million)
	if p.quick {
		p.shorten()
	}
	p.rounds = max(p.rounds, 1)
	return p, nil
}

func sectionNames() []string {
	var names []string
	for _, s := range sections(nil) {
		names = append(names, s.name)
	}
	return names
}

// choose reads which sections are wanted; "": all that can be measured here.
func (p *plan) choose(only string) error {
	if only == "" {
		p.only = sectionNames()
		if !hasPeers() {
			fmt.Fprintln(os.Stderr, "bench: peers are left out: there is no", peersModule, "below the directory that this was started in")
			p.only = slices.DeleteFunc(p.only, func(name string) bool { return name == "peers" })
		}
		return nil
	}
	for name := range strings.SplitSeq(only, ",") {
		if !slices.Contains(sectionNames(), name) {
			return fmt.Errorf("there is no section %q", name)
		}
		p.only = append(p.only, name)
	}
	return nil
}

// full makes a run that takes a quarter of an hour.
func (p *plan) full(queued int, million bool) {
	p.accept, p.queued, p.window, p.samples = 1500*time.Millisecond, queued, 4*time.Second, 200
	p.backlogs, p.endpoints, p.rest = []int{10_000, 100_000, 1_000_000}, []int{100, 10_000}, 2*time.Second
	p.payloads = []int64{1_000_000, 100_000_000, 1 << 30}
	p.small, p.large, p.started = time.Second, largeSize, 200_000
	if million {
		p.started = 1_000_000
	}
}

// shorten makes a run of less than two minutes.
func (p *plan) shorten() {
	p.rounds, p.accept, p.queued, p.window, p.samples = 1, 500*time.Millisecond, min(p.queued, 2000), time.Second, 30
	p.backlogs, p.endpoints, p.rest = []int{10_000}, []int{100}, 500*time.Millisecond
	p.payloads = []int64{1_000_000, 64_000_000}
	p.small, p.large, p.started = 200*time.Millisecond, 32<<20, listed
}
