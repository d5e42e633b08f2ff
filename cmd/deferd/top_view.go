package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A topView is what "deferd top" shows at a moment.
type topView struct {
	where     string
	at        time.Time // of the last look that found something
	endpoints []endpointReport
	problem   string // why there was none since
}

// sorted are the endpoints with the largest backlog first, then those with the
// most to do, then by name.
func (v topView) sorted() []endpointReport {
	order := func(a, b endpointReport) int {
		return cmp.Or(
			cmp.Compare(valueOf(b.Backlog), valueOf(a.Backlog)),
			cmp.Compare(valueOf(b.Completed)+valueOf(b.Failed), valueOf(a.Completed)+valueOf(a.Failed)),
			cmp.Compare(a.Name, b.Name),
		)
	}
	return slices.SortedFunc(slices.Values(v.endpoints), order)
}

// A topColumn is one of the table's.
type topColumn struct {
	head  string
	right bool // numbers stand at the right
	wide  bool // left out on narrow terminals
	cell  func(endpointReport) string
}

// narrowTop is below how many columns the wide ones are left out.
const narrowTop = 100

var topColumns = []topColumn{
	{head: "ENDPOINT", cell: func(r endpointReport) string { return r.Name }},
	{head: "STATUS", wide: true, cell: func(r endpointReport) string { return r.Status }},
	{head: "INST", right: true, cell: func(r endpointReport) string { return fmt.Sprintf("%d/%d", r.Instances, r.Desired) }},
	{head: "BACKLOG", right: true, cell: func(r endpointReport) string { return r.backlog() }},
	{head: "RUN", right: true, cell: func(r endpointReport) string { return r.inFlight() }},
	{head: "OLDEST", right: true, cell: func(r endpointReport) string { return r.oldest() }},
	{head: "IN", right: true, cell: func(r endpointReport) string { return showRate(r.Accepted) }},
	{head: "OUT", right: true, cell: func(r endpointReport) string { return showRate(r.Completed) }},
	{head: "P50", right: true, cell: func(r endpointReport) string { return showSeconds(r.P50) }},
	{head: "P99", right: true, cell: func(r endpointReport) string { return showSeconds(r.P99) }},
	{head: "FAILED", cell: func(r endpointReport) string { return r.failed() }},
}

// draw writes the view as lines of at most width columns, and at most height of
// them; 0 is as many as there are.
func (v topView) draw(width, height int) []string {
	list := v.sorted()
	lines := []string{v.summary(), ""}
	shown := len(list)
	if fits := height - len(lines) - 1; height > 0 && shown > fits {
		shown = max(fits-1, 0) // the last line says how many there are more
	}
	lines = append(lines, topTable(list[:shown], width)...)
	if more := len(list) - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", more))
	}
	for i := range lines {
		lines[i] = cut(lines[i], width)
	}
	if height > 0 && len(lines) > height {
		lines = lines[:height]
	}
	return lines
}

func (v topView) summary() string {
	at := v.at.Local().Format(time.TimeOnly)
	if v.problem != "" {
		return at + "  " + v.problem
	}
	backlog, running, busy := 0, 0, 0
	for _, r := range v.endpoints {
		backlog += valueOf(r.Backlog)
		running += valueOf(r.InFlight)
		if r.busy() {
			busy++
		}
	}
	return fmt.Sprintf("%s  endpoints %d, busy %d  backlog %d  running %d  %s", at, len(v.endpoints), busy, backlog, running, v.where)
}

// topTable writes the table with its head. Names give way where it is too wide.
func topTable(list []endpointReport, width int) []string {
	var columns []topColumn
	for _, c := range topColumns {
		if !c.wide || width == 0 || width >= narrowTop {
			columns = append(columns, c)
		}
	}
	rows := make([][]string, len(list)+1)
	widths := make([]int, len(columns))
	for i := range rows {
		for n, c := range columns {
			text := c.head
			if i > 0 {
				text = cmp.Or(c.cell(list[i-1]), "-")
			}
			rows[i] = append(rows[i], text)
			widths[n] = max(widths[n], utf8.RuneCountInString(text))
		}
	}
	widths[0] = nameWidth(widths, width)
	lines := make([]string, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for n, text := range row {
			text = cut(text, widths[n])
			space := strings.Repeat(" ", widths[n]-utf8.RuneCountInString(text))
			if n > 0 {
				b.WriteString("  ")
			}
			if columns[n].right {
				b.WriteString(space + text)
			} else {
				b.WriteString(text + space)
			}
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// nameWidth is how wide the first column may be, so that the others fit if it
// can be helped.
func nameWidth(widths []int, width int) int {
	const least = 12
	total := 0
	for _, w := range widths {
		total += w + 2
	}
	if total -= 2; width == 0 || total <= width {
		return widths[0]
	}
	return max(min(least, widths[0]), widths[0]-(total-width))
}

// cut leaves of a line what fits into a width, if that is not 0, and nothing
// that a terminal would take for a command.
func cut(text string, width int) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
	if width > 0 && len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return string(runes)
}
