package torture

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// counts are what a run adds up.
type counts struct {
	accepted int
	refused  int
	lost     int
	doubled  int
	attempts int
	contests int
	outcomes map[string]int // by reason
	faults   map[Kind]int
	zombies  float64 // settles refused
	resume   time.Duration
	peak     int64 // bytes, the most memory that any life of the server had
}

func newCounts() counts { return counts{outcomes: map[string]int{}, faults: map[Kind]int{}} }

// A Report is what came of a run.
type Report struct {
	Seed     uint64         `json:"seed"`
	Options  Options        `json:"options"`
	Rounds   int            `json:"rounds"` // played
	Accepted int            `json:"accepted"`
	Refused  int            `json:"refused"` // requests that the server knows nothing of, and need not
	Attempts int            `json:"attempts"`
	Contests int            `json:"contestedNames"` // names of outputs that several requests were given
	Lost     int            `json:"lost"`
	Doubled  int            `json:"doubledOutcomes"`
	Outcomes map[string]int `json:"outcomes"` // by reason
	Faults   map[Kind]int   `json:"faults"`
	Zombies  int            `json:"lateSettles"`     // that were refused
	Resume   time.Duration  `json:"longestResumeNS"` // from the server's end until a model had work again
	Peak     int64          `json:"serverMemory"`    // the most that any life of the server had, in bytes
	Backlog  int            `json:"backlog"`         // requests that waited in the end for an endpoint without instances
	Broken   []Broken       `json:"broken"`
	Dir      string         `json:"dir"`
}

func (r *run) report() (rep Report) {
	r.edit(func() {
		c := r.counts
		rep = Report{
			Seed: r.config.Seed, Options: r.config.Options, Rounds: r.round, Accepted: c.accepted, Refused: c.refused, Attempts: c.attempts, Contests: c.contests,
			Lost: c.lost, Doubled: c.doubled, Outcomes: c.outcomes, Faults: c.faults, Zombies: int(c.zombies),
			Resume: c.resume, Peak: c.peak, Backlog: r.piled.least, Broken: append([]Broken{}, r.broken...), Dir: r.config.Dir,
		}
	})
	return rep
}

// Print writes the report for people.
func (rep Report) Print(w io.Writer) {
	fmt.Fprintf(w, "rounds            %d (seed %d)\n", rep.Rounds, rep.Seed)
	fmt.Fprintf(w, "accepted          %d, and %d requests that were never accepted\n", rep.Accepted, rep.Refused)
	fmt.Fprintf(w, "outcomes          %s\n", tally(rep.Outcomes))
	fmt.Fprintf(w, "attempts          %d\n", rep.Attempts)
	fmt.Fprintf(w, "contested names   %d\n", rep.Contests)
	fmt.Fprintf(w, "lost              %d\n", rep.Lost)
	fmt.Fprintf(w, "doubled outcomes  %d\n", rep.Doubled)
	fmt.Fprintf(w, "late settles      %d, all refused\n", rep.Zombies)
	fmt.Fprintf(w, "faults            %s\n", tally(rep.Faults))
	fmt.Fprintf(w, "longest resume    %v from the server's end to the next work of a model\n", rep.Resume.Round(time.Millisecond))
	fmt.Fprintf(w, "server's memory   %d MiB at most, with a backlog of %d requests of %d KB\n", rep.Peak>>20, rep.Backlog, pileSize/1000)
	for _, b := range rep.Broken {
		fmt.Fprintf(w, "BROKEN: %v\n", b)
	}
	if len(rep.Broken) > 0 {
		fmt.Fprintf(w, "Everything is kept in %s. To play it again: deferd torture --seed %d --rounds %d%s\n", rep.Dir, rep.Seed, rep.Rounds, rep.Options.flags())
	}
}

// flags are what a repetition needs beyond seed and rounds. Its disk it has to
// be given.
func (o Options) flags() (flags string) {
	if o.Large {
		flags += " --large"
	}
	if o.ExternalS3 {
		flags += " --external-s3"
	}
	return flags
}

func tally[K ~string](m map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// roundLine is what is printed of a round.
func (r *run) roundLine(round Round, took time.Duration) (line string) {
	var faults []string
	for _, f := range round.Faults {
		faults = append(faults, string(f.Kind))
	}
	if len(round.Weather) > 0 {
		faults = append(faults, "failing stores")
	}
	if len(faults) == 0 {
		faults = []string{"no fault"}
	}
	waiting := len(r.waiting())
	r.edit(func() {
		line = fmt.Sprintf("round %d: %d requests, %s; %d ended in all, %d wait; %v", round.Number, len(round.Requests),
			strings.Join(faults, ", "), r.counts.accepted, waiting, took.Round(10*time.Millisecond))
	})
	return line
}

// checkMetrics judges what the metrics say: conservation, and memory where
// there is no /proc.
func (r *run) checkMetrics(ctx context.Context) {
	m, err := r.out.metrics(ctx)
	if err != nil {
		return // the next round asks again
	}
	r.edit(func() {
		now := m["deferd_settles_refused_total"]
		if now < r.refused0 {
			r.refused0 = 0 // the server began a new life
		}
		r.counts.zombies += now - r.refused0
		r.refused0 = now
		r.weighed(int64(m["process_resident_memory_bytes"]))
		for _, b := range m.conservation(r.known()) {
			r.record(b)
		}
	})
}

// A bound is how many invocations an endpoint must have accepted.
type bound struct{ least, most int }

// known are the bounds by endpoint. The caller holds mu.
func (r *run) known() map[string]bound {
	out := map[string]bound{}
	for name, n := range r.accepted {
		out[name] = bound{n, n}
	}
	for _, d := range Deployments {
		if d.Doomed {
			delete(out, d.Name) // it begins anew with each life
		}
	}
	out[pile.Name] = r.piled
	for id, c := range r.cases {
		if _, done := r.judged[id]; done || c.Calls == 0 || c.Deployed.Doomed {
			continue
		}
		b := out[c.Request.Endpoint]
		b.most++
		if len(c.Accepted) > 0 {
			b.least++
		}
		out[c.Request.Endpoint] = b
	}
	return out
}

var stateNames = []string{"Queued", "Running", "Publishing", "Completed", "Failed", "Expired", "Cancelled"}

// conservation judges promise 5: the sum of the states is what was accepted,
// and that is what clients know of.
func (m Metrics) conservation(known map[string]bound) (broken []Broken) {
	for name, b := range known {
		of := func(series string) float64 { return m[fmt.Sprintf("%s{endpoint=%q}", series, name)] }
		accepted, there := m[fmt.Sprintf("deferd_invocations_accepted_total{endpoint=%q}", name)]
		if !there {
			continue // an endpoint without instances and backlog has no series
		}
		sum := of("deferd_invocations_pruned_total")
		for _, s := range stateNames {
			sum += m[fmt.Sprintf("deferd_invocations{endpoint=%q,state=%q}", name, s)]
		}
		if sum != accepted || of("deferd_conservation_drift") != 0 {
			broken = append(broken, Broken{Promise: 5, What: fmt.Sprintf("endpoint %s has accepted %v, and has %v (drift %v)", name, accepted, sum, of("deferd_conservation_drift"))})
		}
		if accepted < float64(b.least) || accepted > float64(b.most) {
			broken = append(broken, Broken{Promise: 5, What: fmt.Sprintf("endpoint %s says that it accepted %v; by its clients' answers it was %d to %d", name, accepted, b.least, b.most)})
		}
	}
	return broken
}

// finish waits for everything that is still open, starts the server once more
// and looks at what it leaves.
func (r *run) finish(ctx context.Context) error {
	everything := func(*Case) bool { return true }
	if len(r.brokenSoFar()) > 0 {
		return nil
	}
	if err := r.revive(ctx); err != nil {
		return err
	}
	// An endpoint whose instances end again and again is left alone for longer
	// and longer, but not by a server that has just started.
	for r.settle(ctx, poisonedLimit, everything); r.waitsForPoisoned(); r.settle(ctx, poisonedLimit, everything) {
		if err := r.restart(ctx, StopServer, 0); err != nil {
			return err
		}
	}
	r.settle(ctx, caseLimit+10*time.Second, everything)
	if len(r.brokenSoFar()) > 0 || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := r.restart(ctx, StopServer, 0); err != nil {
		return err
	}
	r.checkMetrics(ctx)
	ends, cancel := context.WithTimeout(ctx, leftoverLimit)
	defer cancel()
	r.checkEnds(ends)
	r.checkHeard(ctx)
	return r.checkLeftovers(ctx)
}

// poisonedLimit is how long what kills its instances may take in the end until
// the server is started again.
const poisonedLimit = 20 * time.Second

// waitsForPoisoned reports whether something waits, and all of it for the
// endpoint that takes its instances down.
func (r *run) waitsForPoisoned() bool {
	left := r.waiting()
	return len(left) > 0 && len(r.brokenSoFar()) == 0 && !slices.ContainsFunc(left, func(c *Case) bool { return c.Request.Endpoint != "poisoned" })
}

// checkEnds compares the counts of ends with those that were judged.
func (r *run) checkEnds(ctx context.Context) {
	var m Metrics
	err := r.insist(ctx, func() (err error) {
		m, err = r.out.metrics(ctx)
		for _, d := range Deployments {
			if _, there := m[fmt.Sprintf("deferd_conservation_drift{endpoint=%q}", d.Name)]; !there && err == nil {
				err = fmt.Errorf("endpoint %s has no series", d.Name) // it is not looked after yet
			}
		}
		return err
	})
	if err != nil {
		r.breaks(Broken{What: fmt.Sprintf("reading the metrics at the end: %v", err)})
		return
	}
	r.edit(func() {
		for _, d := range Deployments {
			if d.Doomed || m[fmt.Sprintf("deferd_invocations_pruned_total{endpoint=%q}", d.Name)] > 0 {
				continue // not all of its ends are in its counts any more
			}
			for _, s := range stateNames {
				got := int(m[fmt.Sprintf("deferd_invocations{endpoint=%q,state=%q}", d.Name, s)])
				if want := r.ended[d.Name+" "+s]; got != want {
					r.record(Broken{Promise: 5, What: fmt.Sprintf("endpoint %s counts %d as %s at the end; by outcomes it is %d", d.Name, got, s, want)})
				}
			}
		}
	})
}

// leftoverLimit is how long after a start uploads that nobody needs may stay.
const leftoverLimit = 20 * time.Second

// checkLeftovers looks for objects that nobody asked for, and for uploads that
// nobody will complete.
func (r *run) checkLeftovers(ctx context.Context) error {
	var uploads []upload
	for giveUp := time.Now().Add(leftoverLimit); ; {
		var err error
		if uploads, err = r.openUploads(ctx); err == nil && len(uploads) == 0 || time.Now().After(giveUp) {
			break
		}
		if !sleepUntil(ctx, time.Now().Add(200*time.Millisecond)) {
			return context.Cause(ctx)
		}
	}
	if len(uploads) > 0 {
		r.breaks(Broken{What: fmt.Sprintf("%d uploads are left that nobody will complete, such as of %s since %v", len(uploads), uploads[0].key, uploads[0].begun)})
	}
	r.look(ctx)
	r.readJournal()
	r.edit(func() {
		owned := map[string]bool{}
		for key := range r.contests {
			owned[key] = true
		}
		for _, c := range r.cases {
			for _, o := range c.Objects {
				owned[o.Key] = true
			}
		}
		for key, o := range r.objects {
			if o.taken.IsZero() && !owned[key] && r.strays == 0 {
				r.record(Broken{Promise: 2, What: fmt.Sprintf("there is the object %s, and nobody was promised it", key)})
			}
		}
	})
	return nil
}
