package main

import "fmt"

// A goal is what a figure is to reach on any machine: a ratio to what is
// measured beside it, or a value that does not hang on the machine's speed.
type goal struct {
	section, at, name string
	absolute          bool    // it is of the value, not of the ratio
	least, most       float64 // one of them; the other is 0
	must              bool    // a run that misses it fails
}

// goals are what the program is built to reach. Where one is missed, the table
// says so.
func goals() []goal {
	return []goal{
		{section: "Accept", at: inlineForm + ", 64 connections", name: "accepts/s", least: .70},
		{section: "Accept", at: s3Form + ", 64 connections", name: "accepts/s", least: .70},

		{section: "Drain", at: "64 at a time", name: "completed/s", least: .60},

		{section: "Overhead", at: inlineForm, name: "p50 less the model, ms", most: 3},
		{section: "Overhead", at: inlineForm, name: "p99 less the model, ms", most: 10},
		{section: "Overhead", at: s3Form, name: "p50 less the model, ms", most: 3},
		{section: "Overhead", at: s3Form, name: "p99 less the model, ms", most: 10},

		{section: "Backlog", at: "1,000,000 queued", name: "ready after, s", absolute: true, most: 3},
		{section: "Backlog", at: "1,000,000 queued", name: "peak memory, MB", most: 1.5},
		{section: "Backlog", at: "1,000,000 queued", name: "accepts/s", least: .90},
		{section: "Backlog", at: "1,000,000 queued", name: "completed/s", least: .90},

		{section: "Payload", at: "100 MB", name: "MB/s", least: .80},
		{section: "Payload", at: "1 GiB", name: "MB/s", least: .80},
		{section: "Payload", at: "1 GiB", name: "peak memory, MB", absolute: true, most: maxMemory / 1e6, must: true},

		{section: "Endpoints", at: "10,000 endpoints", name: "accepts/s", least: .90},
		{section: "Endpoints", at: "10,000 endpoints", name: "CPU at rest, % of a core", absolute: true, most: 1},
		{section: "Endpoints", at: "10,000 endpoints", name: "memory at rest, MB", absolute: true, most: maxMemory / 1e6},

		{section: "Peers: accept", at: inlineForm + ", 64 connections", name: "accepts/s", least: 2},
		{section: "Peers: accept", at: s3Form + ", 64 connections", name: "accepts/s", least: 2},
		{section: "Peers: drain", at: "64 at a time", name: "completed/s", least: 2},
	}
}

// maxMemory is what the server may have at its peak, whatever is queued and
// however large a payload goes through it, in bytes.
const maxMemory = 150_000_000

// goalOf returns the goal of a figure; nil where it has none.
func goalOf(s *section, f *figure) *goal {
	for _, g := range goals() {
		if g.section == s.title && g.at == f.at && g.name == f.name {
			return &g
		}
	}
	return nil
}

// measured is what a goal is about: the value, or the ratio. Of several
// subjects that have to be matched it is the worst ratio. ok is false where
// nothing was measured.
func (g *goal) measured(s *section, f *figure) (v float64, ok bool) {
	if g.absolute {
		values := f.values(s.subjects[0])
		return values.median(), len(values) > 0
	}
	for _, other := range s.compared() {
		r, measured := f.ratio(s.subjects[0], other)
		switch {
		case !measured:
		case !ok:
			v, ok = r, true
		case g.least > 0:
			v = min(v, r)
		default:
			v = max(v, r)
		}
	}
	return v, ok
}

// meets reports whether v is what the goal asks for.
func (g *goal) meets(v float64) bool {
	return (g.least == 0 || v >= g.least) && (g.most == 0 || v <= g.most)
}

// got spells what was measured.
func (g *goal) got(s *section, f *figure) string {
	v, ok := g.measured(s, f)
	switch {
	case !ok:
		return "–"
	case g.absolute:
		return fmt.Sprintf(f.format, v)
	}
	return fmt.Sprintf("%.2f", v)
}

// compared are the subjects that a ratio in a goal is to: for peers all of
// them, elsewhere the first, which is the limit.
func (s *section) compared() []string {
	if s.rivals {
		return s.subjects[1:]
	}
	return s.subjects[1:min(2, len(s.subjects))]
}

// wish spells a goal.
func (g *goal) wish() string {
	what := "ratio "
	if g.absolute {
		what = ""
	}
	if g.least > 0 {
		return fmt.Sprintf("%s≥ %.4g", what, g.least)
	}
	return fmt.Sprintf("%s≤ %.4g", what, g.most)
}
