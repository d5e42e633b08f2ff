package awsapi

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/deferd/deferd"
)

// docs/metrics.md names every metric and every operation that there is.
func TestMetricsDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Store: &store{}})
	names := slices.Concat(slices.Collect(maps.Keys(s.watch)), slices.Collect(maps.Keys(s.reading)))
	for _, m := range deferd.MetricSpecs {
		names = append(names, m.Name)
	}
	for _, name := range names {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not name %s", name)
		}
	}
	for _, m := range deferd.MetricSpecs {
		if row := "`" + m.Name + "`"; !rowHas(string(page), row, "| "+m.Unit+" |") {
			t.Errorf("docs/metrics.md does not say that the unit of %s is %s", m.Name, m.Unit)
		}
	}
}

// rowHas reports whether a row of a table has both texts.
func rowHas(page string, texts ...string) bool {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "|") && !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(line, s) }) {
			return true
		}
	}
	return false
}
