package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name string
		s    series
		want float64
	}{
		{"none", nil, 0},
		{"one", series{7}, 7},
		{"lower of two", series{9, 3}, 3},
		{"middle", series{9, 1, 3}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.s.median(); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestRatio has a machine that gets twice as slow: the ratio stays.
func TestRatio(t *testing.T) {
	f := (&section{subjects: []string{"deferd", "limit"}}).figure("at", "name", "%.0f")
	if _, ok := f.ratio("deferd", "limit"); ok {
		t.Error("there is a ratio of nothing")
	}
	for _, speed := range []float64{1, .5, .25} {
		f.add("deferd", 60*speed)
		f.add("limit", 100*speed)
	}
	if got, ok := f.ratio("deferd", "limit"); !ok || got != .6 {
		t.Errorf("got %v, %v, want 0.6", got, ok)
	}
}

func TestGoal(t *testing.T) {
	for _, test := range []struct {
		name   string
		goal   goal
		rivals bool
		deferd float64
		others []float64
		want   string
	}{
		{"ratio is high enough", goal{least: .7}, false, 70, []float64{100}, "reached"},
		{"ratio is too low", goal{least: .7}, false, 69, []float64{100}, "**not reached**"},
		{"ratio is too high", goal{most: 1.2}, false, 125, []float64{100}, "**not reached**"},
		{"value", goal{absolute: true, most: 5}, false, 4, nil, "reached"},
		{"value is too high", goal{absolute: true, most: 5}, false, 6, nil, "**not reached**"},
		{"the second limit is for information", goal{least: .7}, false, 70, []float64{100, 200}, "reached"},
		{"a rival is better", goal{least: 1}, true, 70, []float64{60, 80}, "**not reached**"},
		{"no rival is better", goal{least: 1}, true, 90, []float64{60, 80}, "reached"},
		{"nothing beside it", goal{least: 1}, false, 90, nil, "not measured"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &section{subjects: []string{"deferd"}, rivals: test.rivals}
			f := s.figure("at", "name", "%.0f")
			f.add("deferd", test.deferd)
			for i, v := range test.others {
				name := string(rune('a' + i))
				s.subjects = append(s.subjects, name)
				f.add(name, v)
			}
			if got := s.verdict(&test.goal, f); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// sample is a report with one figure that misses its goal and has to meet it.
func sample() *report {
	r := &report{rounds: 2}
	s := r.section("Payload", "deferd", copied)
	for _, v := range []float64{200, 300} {
		s.figure("1 GiB", "peak memory, MB", "%.0f").add("deferd", v)
		s.figure("1 GiB", "MB/s", "%.0f").chart().add("deferd", v)
		s.figure("1 GiB", "MB/s", "%.0f").add(copied, 2*v)
	}
	return r
}

func TestReport(t *testing.T) {
	r := sample()
	if err := r.check(); err == nil {
		t.Error("a server that takes too much memory passes")
	}
	text := r.markdown("drawing.svg")
	for _, want := range []string{
		"![the same figures as bars](drawing.svg)",
		"| 1 GiB | MB/s | 200 (200–300) | 400 (400–600) | 0.50 | ratio ≥ 0.8: **not reached** |",
		"| Payload, 1 GiB | peak memory, MB | ≤ 150 | 200 | **not reached** |",
		"| Payload, 100 MB | MB/s | ratio ≥ 0.8 | – | not measured |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestDrawing(t *testing.T) {
	text := sample().svg()
	if bars := strings.Count(text, `class="bar`); bars != 2 {
		t.Errorf("got %d bars, want 2: the figures that are not to be drawn are not", bars)
	}
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the drawing is no XML: %v", err)
		}
	}
}
