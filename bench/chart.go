package main

import (
	"fmt"
	"html"
	"strings"
)

// Lengths of the drawing, in its own units.
const (
	chartWidth  = 880
	barLeft     = 165
	barLongest  = 455
	barHeight   = 12
	barStep     = 16
	groupGap    = 14
	labelHeight = 18
	titleHeight = 34
	margin      = 16
)

// chartStyle colours the drawing for a light page and for a dark one.
const chartStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.page { fill: #ffffff }
.quiet { fill: #59636e }
.bar0 { fill: #0969da }
.bar1 { fill: #afb8c1 }
.bar2 { fill: #d4a72c }
.spread { stroke: #24292f; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.page { fill: #0d1117 }
.quiet { fill: #9198a1 }
.bar0 { fill: #4493f8 }
.bar1 { fill: #59636e }
.bar2 { fill: #d29922 }
.spread { stroke: #e6edf3 }
}
</style>
`

// A drawing is an SVG that grows downwards.
type drawing struct {
	b strings.Builder
	y int
}

// svg draws the figures that are to be drawn: a group of bars each, as long as
// their share of the longest in the group.
func (r *report) svg() string {
	d := &drawing{y: margin}
	d.text("quiet", margin, fmt.Sprintf("deferd %s, %s, %d cores, %s; %.0f syncs/s. Bars: medians; lines: smallest to largest round.",
		r.machine.commit, r.machine.date.Format("2006-01-02"), r.machine.cores, r.cores, r.syncBefore))
	for _, s := range r.sections {
		d.section(s)
	}
	height := d.y + margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Figures of deferd beside their limits">`+"\n",
		chartWidth, height, chartWidth, height) + chartStyle +
		fmt.Sprintf(`<rect class="page" width="%d" height="%d"/>`+"\n", chartWidth, height) + d.b.String() + "</svg>\n"
}

// text writes a line of its own.
func (d *drawing) text(class string, x int, text string) {
	d.y += labelHeight
	d.words(class, "start", x, d.y-5, text)
}

func (d *drawing) words(class, anchor string, x, y int, text string) {
	fmt.Fprintf(&d.b, `<text class="%s" text-anchor="%s" x="%d" y="%d">%s</text>`+"\n", class, anchor, x, y, html.EscapeString(text))
}

func (d *drawing) section(s *section) {
	titled := false
	for _, f := range s.figures {
		if !f.charts {
			continue
		}
		if !titled {
			d.y += titleHeight - labelHeight
			d.text("title", margin, s.title)
			titled = true
		}
		d.group(s, f)
	}
}

// group draws one figure.
func (d *drawing) group(s *section, f *figure) {
	longest := 0.0
	for _, subject := range s.subjects {
		for _, v := range f.values(subject) {
			longest = max(longest, v)
		}
	}
	if longest == 0 {
		return
	}
	label := f.at + ": " + f.name
	if f.lessIsBetter() {
		label += ", shorter is better"
	}
	if wish := s.judge(f); wish != "" {
		label += " (" + strings.ReplaceAll(wish, "*", "") + ")"
	}
	d.text("label", margin, label)
	length := func(v float64) int { return barLeft + int(v/longest*barLongest) }
	for i, subject := range s.subjects {
		v := f.values(subject)
		if len(v) == 0 {
			continue
		}
		text := fmt.Sprintf(f.format, v.median())
		if r, ok := f.ratio(s.subjects[0], subject); ok && i > 0 {
			text += fmt.Sprintf(" (%s: %.2f ×)", s.subjects[0], r)
		}
		d.words("quiet", "end", barLeft-8, d.y+barHeight-2, subject)
		colour := min(i, 2)
		if s.rivals {
			colour = min(i, 1)
		}
		fmt.Fprintf(&d.b, `<rect class="bar%d" x="%d" y="%d" width="%d" height="%d"/>`+"\n",
			colour, barLeft, d.y, max(1, length(v.median())-barLeft), barHeight)
		least, most := v[0], v[0]
		for _, x := range v {
			least, most = min(least, x), max(most, x)
		}
		fmt.Fprintf(&d.b, `<line class="spread" x1="%d" x2="%d" y1="%d" y2="%d"/>`+"\n", length(least), length(most), d.y+barHeight/2, d.y+barHeight/2)
		d.words("value", "start", length(most)+6, d.y+barHeight-2, text)
		d.y += barStep
	}
	d.y += groupGap
}
