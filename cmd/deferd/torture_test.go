package main

import (
	"strings"
	"testing"

	"github.com/deferd/deferd/internal/faulty"
	"github.com/deferd/deferd/internal/torture"
)

// TestWeatherIsUnderstood shows that the server knows every fault that torture
// orders.
func TestWeatherIsUnderstood(t *testing.T) {
	rules := 0
	for n := range 300 {
		weather := torture.Draw(1, n, torture.Options{}).Weather
		r, err := faulty.Parse(strings.Join(weather, "\n"))
		if err != nil {
			t.Fatalf("%q: %v", weather, err)
		}
		rules += len(r.Rules)
	}
	if rules == 0 {
		t.Error("torture orders no faults of stores")
	}
}
