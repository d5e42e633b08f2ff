package main

import (
	"fmt"
	"strings"
	"time"
)

// A report is everything that was measured.
type report struct {
	machine               machine
	syncBefore, syncAfter float64 // disk syncs/s
	fileSystem            string
	loadBefore, loadAfter string // of the machine, by its own count
	took                  time.Duration
	cores                 cores
	rounds                int
	quick                 bool

	sections []*section
	objects  *objectsResult // nil where it was left out
}

// section begins a table, the first subject of which is deferd.
func (r *report) section(title string, subjects ...string) *section {
	s := &section{title: title, subjects: subjects}
	r.sections = append(r.sections, s)
	return s
}

// check reports what was measured and must not be.
func (r *report) check() error {
	for _, s := range r.sections {
		for _, f := range s.figures {
			g := goalOf(s, f)
			if g == nil || !g.must {
				continue
			}
			if v, ok := g.measured(s, f); ok && !g.meets(v) {
				return fmt.Errorf("%s, %s: %s is %s, must be %s", s.title, f.at, f.name, f.values(s.subjects[0]).spread(f.format), g.wish())
			}
		}
	}
	return nil
}

// markdown is the report as one prints and keeps it; picture is the name of its
// drawing, "" where there is none.
func (r *report) markdown(picture string) string {
	var b strings.Builder
	m := r.machine
	fmt.Fprintf(&b, "# Figures of %s\n\n", m.date.Format("2006-01-02"))
	if picture != "" {
		fmt.Fprintf(&b, "![the same figures as bars](%s)\n\n", picture)
	}
	table(&b, "what", "value")
	row(&b, "commit", m.commit)
	row(&b, "program", m.version)
	row(&b, "Go", m.goVersion+" "+m.platform)
	row(&b, "cores", fmt.Sprintf("%d; %s", m.cores, r.cores))
	row(&b, "file system", r.fileSystem)
	row(&b, "append 4 KiB and sync", fmt.Sprintf("%.0f/s before, %.0f/s after", r.syncBefore, r.syncAfter))
	row(&b, "load average (1, 5, 15 minutes)", fmt.Sprintf("%s before, %s after", r.loadBefore, r.loadAfter))
	row(&b, "rounds", fmt.Sprint(r.rounds))
	row(&b, "took", r.took.Round(time.Second).String())
	b.WriteString("\nA figure is the median of the rounds, with the smallest and the largest in parentheses. A ratio is the median of the rounds'\n" +
		"ratios; deferd and what stands beside it take turns within a round.\n")
	if r.quick {
		b.WriteString("\n**This was a quick run: too short and too few rounds for figures that one could quote.**\n")
	}
	r.writeGoals(&b)
	for _, s := range r.sections {
		s.write(&b)
	}
	if r.objects != nil {
		r.objects.write(&b)
	}
	return b.String()
}

// writeGoals lists what the measured sections are to reach, and what they do.
func (r *report) writeGoals(b *strings.Builder) {
	var rows [][]string
	for _, g := range goals() {
		for _, s := range r.sections {
			if s.title != g.section {
				continue
			}
			got, verdict := "–", "not measured"
			if f := s.find(g.at, g.name); f != nil {
				got, verdict = g.got(s, f), s.verdict(&g, f)
			}
			rows = append(rows, []string{s.title + ", " + g.at, g.name, g.wish(), got, verdict})
		}
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n## To reach\n\nRatios are to what the section measures beside deferd; of several limits, to the first; of peers, to the best.\n\n")
	table(b, "at", "figure", "to reach", "measured", "")
	for _, cells := range rows {
		row(b, cells...)
	}
}

func table(b *strings.Builder, columns ...string) {
	row(b, columns...)
	b.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
}

func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// write appends the section's table.
func (s *section) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", s.title, s.about)
	columns := append([]string{"at", "figure"}, s.subjects...)
	if !s.rivals {
		for _, other := range s.subjects[1:] {
			columns = append(columns, s.subjects[0]+" / "+other)
		}
	}
	table(b, append(columns, "to reach")...)
	for _, f := range s.figures {
		row(b, s.cells(f)...)
	}
	for _, n := range s.notes {
		fmt.Fprintf(b, "\n%s\n", n)
	}
}

// cells are a figure's row. Of rivals there are too many for columns of ratios:
// theirs follow the values.
func (s *section) cells(f *figure) []string {
	cells := []string{f.at, f.name}
	var ratios []string
	for i, subject := range s.subjects {
		cell, ratio := f.values(subject).spread(f.format), "–"
		if r, ok := f.ratio(s.subjects[0], subject); ok && i > 0 {
			ratio = fmt.Sprintf("%.2f", r)
			if s.rivals {
				cell += "; " + ratio
			}
		}
		cells = append(cells, cell)
		if i > 0 && !s.rivals {
			ratios = append(ratios, ratio)
		}
	}
	return append(append(cells, ratios...), s.judge(f))
}

// judge says what a figure is to reach and whether it does.
func (s *section) judge(f *figure) string {
	g := goalOf(s, f)
	if g == nil {
		return ""
	}
	return g.wish() + ": " + s.verdict(g, f)
}

func (s *section) verdict(g *goal, f *figure) string {
	switch v, ok := g.measured(s, f); {
	case !ok:
		return "not measured"
	case !g.meets(v):
		return "**not reached**"
	}
	return "reached"
}
