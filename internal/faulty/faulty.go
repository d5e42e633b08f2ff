// Package faulty wraps the contracts of stores so that their calls fail on cue,
// in the two ways in which a call over a network fails: it is lost before it
// did anything, or it is done and its answer is lost. Calls may be slow, too.
//
// What fails, how and how often is said by [Rules]; a [Cue] holds them while the
// wrapped stores work and may change them at any time.
package faulty

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// A How is a way to fail.
type How string

const (
	Lost       How = "lost"       // nothing was done
	Unanswered How = "unanswered" // it was done, and looks as if not
	Slow       How = "slow"       // it is done after a while
)

// A Rule says that some calls fail. What is the name of a call, such as
// "store.settle", or the beginning of names up to a dot.
type Rule struct {
	What  string
	How   How
	Rate  float64       // of 1
	Delay time.Duration // of Slow
}

// Rules are what happens. The zero value breaks nothing.
type Rules struct {
	Seed  uint64
	Rules []Rule

	// What the machine's clocks seem to say: for how long it has slept, how far
	// its wall clock is off, and how often it was booted. The last two are for
	// who starts; a change while one runs is no change.
	Slept time.Duration
	Off   time.Duration
	Boots int

	// SlotWait is how long agents wait for the end of a request that nobody
	// waits for; 0: as long as ever. Also for who starts.
	SlotWait time.Duration
}

// Parse reads rules, one on a line: what, how, the rate, and for "slow" the
// delay. Other lines are "seed N", from which chance is drawn, of clocks
// "slept D", "off D" and "boots N", and "slotwait D". Empty lines and those that begin with "#"
// say nothing.
//
//	seed 7
//	slept 1h
//	store.settle unanswered 0.1
//	object.put slow 0.5 200ms
func Parse(text string) (r Rules, err error) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case len(words) == 2:
			if err := r.set(words[0], words[1]); err != nil {
				return r, fmt.Errorf("read rule %q: %w", line, err)
			}
		default:
			rule, err := parseRule(words)
			if err != nil {
				return r, fmt.Errorf("read rule %q: %w", line, err)
			}
			r.Rules = append(r.Rules, rule)
		}
	}
	return r, nil
}

func (r *Rules) set(name, value string) (err error) {
	switch name {
	case "seed":
		r.Seed, err = strconv.ParseUint(value, 10, 64)
	case "slept":
		r.Slept, err = time.ParseDuration(value)
	case "off":
		r.Off, err = time.ParseDuration(value)
	case "slotwait":
		r.SlotWait, err = time.ParseDuration(value)
	case "boots":
		r.Boots, err = strconv.Atoi(value)
	default:
		err = errors.New("there is no such setting")
	}
	return err
}

func parseRule(words []string) (r Rule, err error) {
	if len(words) < 3 {
		return r, errors.New("there are words missing")
	}
	r.What, r.How = words[0], How(words[1])
	if r.Rate, err = strconv.ParseFloat(words[2], 64); err != nil || r.Rate < 0 || r.Rate > 1 {
		return r, errors.New("the rate is not from 0 to 1")
	}
	if !known(r.What) {
		return r, errors.New("there is no such call")
	}
	switch {
	case r.How == Slow && len(words) == 4:
		r.Delay, err = time.ParseDuration(words[3])
		return r, err
	case (r.How == Lost || r.How == Unanswered) && len(words) == 3:
		return r, nil
	}
	return r, errors.New(`it is neither "lost" nor "unanswered" nor "slow" with a delay`)
}

// Calls are the names of all calls that can fail.
var Calls = []string{
	"store.accept", "store.claim", "store.settle", "store.finish", "store.read", "store.change",
	"registry.read", "registry.change", "keys.read", "keys.change", "history.read", "history.prune",
	"metrics.read", "metrics.change", "outbox.read", "outbox.change",
	"object.put", "object.durable", "object.get", "object.head", "object.list", "object.upload", "object.complete",
}

func known(what string) bool {
	for _, c := range Calls {
		if matches(what, c) {
			return true
		}
	}
	return false
}

func matches(what, call string) bool { return call == what || strings.HasPrefix(call, what+".") }

// A Cue holds the rules that are in force. Nil breaks nothing.
type Cue struct {
	mu    sync.Mutex
	rules Rules
	rand  *rand.Rand
}

// NewCue returns a cue that breaks nothing yet.
func NewCue() *Cue {
	c := &Cue{}
	c.Set(Rules{})
	return c
}

// Set puts other rules into force.
func (c *Cue) Set(r Rules) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rules, c.rand = r, rand.New(rand.NewPCG(r.Seed, 0))
}

// Rules are those in force.
func (c *Cue) Rules() Rules {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules
}

// Read puts the rules of a file into force.
func (c *Cue) Read(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read faults: %w", err)
	}
	rules, err := Parse(string(text))
	if err != nil {
		return fmt.Errorf("read faults: %w", err)
	}
	c.Set(rules)
	return nil
}

// followInterval is how often a file of rules is looked at.
const followInterval = 50 * time.Millisecond

// Follow keeps the rules of a file in force until ctx ends. While the file
// cannot be read nothing breaks.
func (c *Cue) Follow(ctx context.Context, path string, log *slog.Logger) {
	last := ""
	for {
		text, err := os.ReadFile(path)
		if err != nil {
			text = nil
		}
		if string(text) != last {
			last = string(text)
			rules, err := Parse(last)
			if err != nil {
				log.WarnContext(ctx, "the faults to be made cannot be read", "err", err)
			}
			c.Set(rules)
			log.InfoContext(ctx, "faults are made on purpose", "rules", len(rules.Rules))
		}
		select {
		case <-time.After(followInterval):
		case <-ctx.Done():
			return
		}
	}
}

// A fate is what a call meets with.
type fate struct {
	how   How // Lost, Unanswered or ""
	delay time.Duration
}

func (c *Cue) draw(call string) (f fate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rules.Rules {
		if !matches(r.What, call) || c.rand.Float64() >= r.Rate {
			continue
		}
		if r.How == Slow {
			f.delay += r.Delay
		} else if f.how == "" {
			f.how = r.How
		}
	}
	return f
}

// errFault is what a broken call answers.
var errFault = &deferd.Error{Code: deferd.Unavailable, Msg: "InjectedFault"}

// run makes a call as its fate wills.
func (c *Cue) run(ctx context.Context, name string, call func() error) error {
	f := c.draw(name)
	if f.delay > 0 {
		select {
		case <-time.After(f.delay):
		case <-ctx.Done():
			return &deferd.Error{Code: deferd.Unavailable, Err: ctx.Err()}
		}
	}
	if f.how == Lost {
		return errFault
	}
	err := call()
	if err == nil && f.how == Unanswered {
		return errFault
	}
	return err
}

// get makes a call that returns something. An answer that is lost is not there.
func get[T any](ctx context.Context, c *Cue, name string, call func() (T, error)) (T, error) {
	var out T
	err := c.run(ctx, name, func() (err error) {
		out, err = call()
		return err
	})
	if err == errFault {
		var none T
		return none, err
	}
	return out, err
}
