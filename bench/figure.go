package main

import (
	"fmt"
	"slices"
	"strings"
)

// A series is one figure of one subject, round by round.
type series []float64

func (s *series) add(v float64) { *s = append(*s, v) }

// median is the middle value; of two, the lower one.
func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[(len(sorted)-1)/2]
}

// spread is a figure as tables show it.
func (s series) spread(format string) string {
	if len(s) == 0 {
		return "–"
	}
	if len(s) == 1 {
		return fmt.Sprintf(format, s[0])
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.median(), slices.Min(s), slices.Max(s))
}

// A section is one table of figures: what was measured of several subjects in
// turns, deferd first. Each of the others is compared with it.
type section struct {
	title, about string
	subjects     []string
	rivals       bool // the others are no limits but do the same as deferd
	figures      []*figure
	notes        []string
}

// A figure is one row of a section.
type figure struct {
	at     string // what it was measured with: a form, a number of connections
	name   string // with its unit
	format string
	charts bool // it is drawn, too
	of     map[string]*series
}

// figure returns the figure of this name, making it at its first use.
func (s *section) figure(at, name, format string) *figure {
	if f := s.find(at, name); f != nil {
		return f
	}
	f := &figure{at: at, name: name, format: format, of: map[string]*series{}}
	s.figures = append(s.figures, f)
	return f
}

// find returns the figure of this name; nil where there is none.
func (s *section) find(at, name string) *figure {
	for _, f := range s.figures {
		if f.at == at && f.name == name {
			return f
		}
	}
	return nil
}

// chart has the figure drawn, and returns it.
func (f *figure) chart() *figure {
	f.charts = true
	return f
}

// add notes what was measured of a subject in one round.
func (f *figure) add(subject string, v float64) {
	if f.of[subject] == nil {
		f.of[subject] = &series{}
	}
	f.of[subject].add(v)
}

// lessIsBetter reports whether the figure is of what something takes.
func (f *figure) lessIsBetter() bool {
	return slices.ContainsFunc([]string{", ms", ", s", ", MB"}, func(unit string) bool { return strings.HasSuffix(f.name, unit) })
}

// values are what was measured of a subject; none where nothing was.
func (f *figure) values(subject string) series {
	if s := f.of[subject]; s != nil {
		return *s
	}
	return nil
}

// ratio is how many times b fits into a: the median of the rounds, in each of
// which both were measured within seconds of each other.
func (f *figure) ratio(a, b string) (float64, bool) {
	x, y := f.values(a), f.values(b)
	var rounds series
	for i := range min(len(x), len(y)) {
		if y[i] != 0 {
			rounds.add(x[i] / y[i])
		}
	}
	return rounds.median(), len(rounds) > 0
}

// ratio is how many times b fits into a, for a table.
func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}
