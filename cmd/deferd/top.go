package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const (
	topInterval = time.Second

	// topIntervalAWS is for AWS, whose metrics change once a minute, and cost.
	topIntervalAWS = time.Minute

	// restingLooks is how many of the endpoints without work are looked at each
	// time; those with work are all.
	restingLooks = 20
)

var topReport = detail{latency: true}

func topCommand() *cobra.Command {
	var contains string
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what endpoints do, as it happens",
		Long: `Show what endpoints do, as it happens: those with the largest backlog first.

q or Ctrl-C ends it. Where there is no terminal it prints once. P50 and P99 are
from the accept to the result, of the newest 100 results of a quarter of an hour;
IN, OUT and FAILED are by the minute. Of endpoints without work 20 are looked at
each time.`,
		Example: `  deferd top
  deferd top --contains prod --interval 5s
  deferd top --output json`,
		Args: arguments(cobra.NoArgs),
	}
	format := addOutput(cmd)
	cmd.Flags().StringVar(&contains, "contains", "", "only endpoints with this in their name")
	cmd.Flags().DurationVar(&interval, "interval", 0, "how long between looks (1s, and 1m at AWS)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if interval < 0 {
			return usagef("--interval %v is in the past", interval)
		}
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		w := &topWatch{site: s, contains: contains, known: map[string]*watched{}}
		if s.isAWS(sageMaker) {
			interval = cmp.Or(interval, topIntervalAWS)
		}
		t := &top{out: cmd.OutOrStdout(), where: s.url(sageMaker), interval: cmp.Or(interval, topInterval), look: w.look}
		if terminalWidth(t.out) == 0 || *format == jsonFormat {
			return t.once(cmd.Context(), *format)
		}
		return t.onTerminal(cmd)
	}
	addSiteFlags(cmd)
	return cmd
}

// A top shows endpoints again and again.
type top struct {
	out      io.Writer
	where    string
	interval time.Duration
	look     func(context.Context) ([]endpointReport, error)

	size    func() (width, height int)
	keys    <-chan byte      // what is typed; nil where nobody can type
	resized <-chan os.Signal // the terminal has another size
}

// once prints what there is, for pipes and files.
func (t *top) once(ctx context.Context, f format) error {
	list, err := t.look(ctx)
	if err != nil {
		return err
	}
	v := topView{where: t.where, at: time.Now(), endpoints: list}
	if f == jsonFormat {
		return printJSON(t.out, v.sorted())
	}
	for _, line := range v.draw(0, 0) {
		if _, err := fmt.Fprintln(t.out, line); err != nil {
			return err
		}
	}
	return nil
}

const (
	// A screen of its own keeps what was printed before.
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // without a cursor, and without wrapping
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// onTerminal shows endpoints until somebody ends it, and leaves the terminal as
// it was.
func (t *top) onTerminal(cmd *cobra.Command) (err error) {
	ctx, cancel := context.WithCancel(cmd.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	t.size = func() (int, int) { return terminalSize(t.out) }
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	t.resized = resized
	if in, ok := cmd.InOrStdin().(*os.File); ok && terminalWidth(in) > 0 {
		restore, err := keysAtOnce(in)
		if err != nil {
			return fmt.Errorf("set up the terminal: %w", err)
		}
		defer restore()
		keys := make(chan byte)
		t.keys = keys
		wg.Go(func() { readKeys(ctx, in, keys) })
	}
	fmt.Fprint(t.out, enterScreen)
	defer fmt.Fprint(t.out, leaveScreen)
	return t.run(ctx)
}

// A looked is what a look has found.
type looked struct {
	list []endpointReport
	err  error
}

// run looks, draws and waits, until a key or ctx ends it. A server that does
// not answer is borne for a while once it has.
func (t *top) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	found := make(chan looked, 1)
	begin := func() {
		wg.Go(func() {
			list, err := t.look(ctx)
			found <- looked{list, err}
		})
	}
	begin()
	v := topView{where: t.where}
	var patience tolerance
	var next <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return &exitError{code: exitInterrupted} // how it is meant to end
		case key := <-t.keys:
			switch key {
			case 'q', 'Q':
				return nil
			case 3, 4: // Ctrl-C and Ctrl-D
				return &exitError{code: exitInterrupted}
			}
		case <-next:
			next = nil
			begin()
			continue
		case <-t.resized:
		case l := <-found:
			bears := patience.bears(ctx, l.err) && !v.at.IsZero()
			switch {
			case ctx.Err() != nil:
				continue
			case l.err != nil && !bears:
				return l.err
			case l.err != nil:
				v.problem = explain(l.err)
			default:
				v.problem, v.at, v.endpoints = "", time.Now(), l.list
			}
			next = time.After(t.interval)
		}
		if err := t.draw(v); err != nil {
			return err
		}
	}
}

// draw replaces what the terminal shows, line by line, so that nothing
// flickers.
func (t *top) draw(v topView) error {
	if v.at.IsZero() {
		return nil // there is nothing to show yet
	}
	width, height := t.size()
	frame := []byte("\x1b[H")
	for i, line := range v.draw(width, height) {
		if i > 0 {
			frame = append(frame, "\r\n"...)
		}
		frame = append(frame, line...)
		frame = append(frame, "\x1b[K"...)
	}
	_, err := t.out.Write(append(frame, "\x1b[J"...))
	return err
}

// A topWatch remembers how endpoints were, so that of many that rest only some
// have to be looked at each time. Its methods are called one after the other.
type topWatch struct {
	site     *site
	contains string
	known    map[string]*watched
	turn     int
}

// A watched endpoint is one that was looked at.
type watched struct {
	report   endpointReport
	turn     int     // when it was looked at last
	modified float64 // as the list said then
}

// look finds out how endpoints are.
func (w *topWatch) look(ctx context.Context) ([]endpointReport, error) {
	list, err := w.site.listEndpoints(ctx, w.contains, 0)
	if err != nil {
		return nil, err
	}
	w.turn++
	due := w.due(list)
	reports, err := w.site.endpointReports(ctx, due, topReport)
	if err != nil {
		return nil, err
	}
	for _, e := range due {
		delete(w.known, e.EndpointName) // it may have gone since
	}
	modified := map[string]float64{}
	for _, e := range list {
		modified[e.EndpointName] = e.LastModifiedTime
	}
	for _, r := range reports {
		w.known[r.Name] = &watched{r, w.turn, modified[r.Name]}
	}
	all := make([]endpointReport, 0, len(list))
	for _, e := range list {
		if k := w.known[e.EndpointName]; k != nil {
			all = append(all, k.report)
		}
	}
	for name := range w.known {
		if _, listed := modified[name]; !listed {
			delete(w.known, name)
		}
	}
	return all, nil
}

// due are those that are to be looked at: all that are new, changed or at work,
// and of the others those that were not looked at for longest.
func (w *topWatch) due(list []endpointSummary) []endpointSummary {
	var due, resting []endpointSummary
	for _, e := range list {
		k := w.known[e.EndpointName]
		if k == nil || k.modified != e.LastModifiedTime || k.report.Status != e.EndpointStatus || k.report.busy() {
			due = append(due, e)
		} else {
			resting = append(resting, e)
		}
	}
	slices.SortStableFunc(resting, func(a, b endpointSummary) int {
		return cmp.Compare(w.known[a.EndpointName].turn, w.known[b.EndpointName].turn)
	})
	return append(due, resting[:min(restingLooks, len(resting))]...)
}

// busy reports whether an endpoint has work, had some in the last minute, or is
// changing.
func (r endpointReport) busy() bool {
	for _, v := range []*float64{r.Accepted, r.Completed, r.Failed} {
		if v != nil && *v > 0 {
			return true
		}
	}
	return r.Backlog != nil && *r.Backlog > 0 || r.Instances != r.Desired
}
