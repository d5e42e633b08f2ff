package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A report is everything that was measured. Sections that were left out are
// nil.
type report struct {
	machine               machine
	syncBefore, syncAfter float64 // disk syncs/s
	fileSystem            string
	took                  time.Duration
	pinned                bool
	rounds                int

	accept  []acceptPair
	drain   *drainResult
	payload *payloadResult
	objects *objectsResult
}

// check reports what was measured and must not be.
func (r *report) check() error {
	if p := r.payload; p != nil && p.afterAll > maxMemory {
		return fmt.Errorf("the server took %d MB of memory, more than %d", p.afterAll/1_000_000, maxMemory/1_000_000)
	}
	return nil
}

// markdown is the report as one prints and keeps it.
func (r *report) markdown() string {
	var b strings.Builder
	m := r.machine
	fmt.Fprintf(&b, "# Figures of %s\n\n", m.date.Format("2006-01-02"))
	table(&b, "what", "value")
	row(&b, "commit", m.commit)
	row(&b, "program", m.version)
	row(&b, "Go", m.goVersion+" "+m.platform)
	row(&b, "cores", fmt.Sprint(m.cores))
	row(&b, "file system", r.fileSystem)
	row(&b, "append 4 KiB and sync", fmt.Sprintf("%.0f/s before, %.0f/s after", r.syncBefore, r.syncAfter))
	row(&b, "rounds", fmt.Sprint(r.rounds))
	row(&b, "took", r.took.Round(time.Second).String())
	b.WriteString("\nA figure is the median of the rounds, with the smallest and the largest in parentheses.\n")
	if r.accept != nil {
		r.writeAccept(&b)
	}
	if r.drain != nil {
		r.drain.write(&b)
	}
	if r.payload != nil {
		r.payload.write(&b)
	}
	if r.objects != nil {
		r.objects.write(&b)
	}
	return b.String()
}

func table(b *strings.Builder, columns ...string) {
	row(b, columns...)
	b.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
}

func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
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

// ratio is how many times b fits into a.
func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}

func (r *report) writeAccept(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Accept\n\nDurable accepts at %d connections; limit: the same handler over a store that keeps nothing.", connections)
	if r.pinned {
		b.WriteString("\nServer and clients are kept on different cores, half of them each.")
	} else {
		b.WriteString("\nServer and clients share all cores.")
	}
	b.WriteString("\n\n")
	table(b, "form", "figure", "deferd", "limit", "deferd / limit")
	for _, p := range r.accept {
		d, l := p.deferd, p.limit
		for _, line := range []struct {
			name, format  string
			deferd, limit series
		}{
			{"accepts/s", "%.0f", d.rate, l.rate},
			{"p50, ms", "%.2f", d.p50, l.p50},
			{"p99, ms", "%.2f", d.p99, l.p99},
			{"server CPU, µs each", "%.0f", d.server, l.server},
			{"client CPU, µs each", "%.0f", d.client, l.client},
			{"accepts in a commit", "%.1f", d.grouped, nil},
		} {
			row(b, p.form, line.name, line.deferd.spread(line.format), line.limit.spread(line.format), ratio(line.deferd.median(), line.limit.median()))
		}
	}
}

func (d *drainResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Drain\n\n%d queued invocations, 4 KiB in by S3 and out, a model that echoes, %d at a time; limit: a loop of as many\n"+
		"workers that reads, calls the model and writes, with a connection for each call as deferd has it, or with kept ones.\n\n", d.queued, workers)
	table(b, "figure", "deferd", "limit", "deferd / limit", "limit, kept connections", "deferd / that")
	for _, line := range []struct {
		name              string
		deferd, one, kept series
	}{
		{"completed/s", d.deferd.rate, d.fresh.rate, d.kept.rate},
		{"CPU of the server or loop, µs each", d.deferd.server, d.fresh.server, d.kept.server},
		{"CPU of the model, µs each", d.deferd.model, d.fresh.model, d.kept.model},
	} {
		of := line.deferd.median()
		row(b, line.name, line.deferd.spread("%.0f"), line.one.spread("%.0f"), ratio(of, line.one.median()), line.kept.spread("%.0f"), ratio(of, line.kept.median()))
	}
	row(b, "store commits each", d.commits.spread("%.2f"), "–", "–", "–", "–")
	row(b, "operations in a commit", d.perCommit.spread("%.1f"), "–", "–", "–", "–")
}

func (p *payloadResult) write(b *strings.Builder) {
	const mib = 1 << 20
	fmt.Fprintf(b, "\n## Payload\n\nOne input of %d MiB by S3, echoed; length and SHA-256 of the output are right. Limit: a copy within the same object\n"+
		"store in the same parts, in one process.\n\n", p.size/mib)
	table(b, "step", "seconds", "MB/s", "CPU, s")
	for _, step := range []struct {
		name string
		took series
		cpu  string
	}{
		{"invoke, request to visible output", p.invoke, p.cpu.spread("%.1f") + " server, " + p.model.spread("%.1f") + " model"},
		{"limit: copy", p.copied, p.copyCPU.spread("%.1f")},
		{"upload by a client", p.upload, ""},
		{"read by a client", p.read, ""},
	} {
		row(b, step.name, step.took.spread("%.2f"), fmt.Sprintf("%.0f", float64(p.size)/1e6/step.took.median()), step.cpu)
	}
	row(b, "invoke / copy", ratio(p.invoke.median(), p.copied.median()), "", ratio(p.cpu.median(), p.copyCPU.median()))
	fmt.Fprintf(b, "\nPeak memory of the server, its agent included: %.0f MB after the upload, %.0f MB at the end; it has to stay below %d MB.\n",
		float64(p.afterPut)/1e6, float64(p.afterAll)/1e6, maxMemory/1_000_000)
}
