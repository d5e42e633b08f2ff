package awsapi

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// docs/scaling.md names every operation that there is, and every one that there
// is not; every metric that may be tracked, as it is named; and the numbers that
// tracking decides by.
func TestScalingDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Store: &store{}})
	served := slices.Collect(maps.Keys(s.scaling))
	for _, name := range clientOperations[*applicationautoscaling.Client]() {
		says := "| refused |"
		if slices.Contains(served, name) {
			says = "| served |"
		}
		if !rowHas(string(page), "`"+name+"`", says) {
			t.Errorf("docs/scaling.md has no row that says of %s: %s", name, says)
		}
	}
	for _, name := range []string{
		deferd.BacklogSize, deferd.BacklogSizePerInstance, deferd.AgeOfOldestRequest, deferd.BacklogWithoutCapacity, awsmodel.OldestRequestMetric,
	} {
		if !rowHas(string(page), "`"+name+"`") {
			t.Errorf("docs/scaling.md has no row of the metric %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(predefinedMetrics)) {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/scaling.md does not name the predefined metric %s", name)
		}
	}
}
