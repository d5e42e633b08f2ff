package torture

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDrawIsItsSeeds(t *testing.T) {
	a, b := Draw(7, 3, Options{}), Draw(7, 3, Options{})
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("one seed, two rounds:\n%s", diff)
	}
	if cmp.Equal(a, Draw(8, 3, Options{})) || cmp.Equal(a, Draw(7, 4, Options{})) {
		t.Error("another seed or number draws the same round")
	}
}

// TestDrawHasEverything draws many rounds and looks whether every kind of thing
// is among them.
func TestDrawHasEverything(t *testing.T) {
	deeds, kinds, inputs, endpoints := map[Deed]int{}, map[Kind]int{}, map[Input]int{}, map[string]int{}
	weather, cut, named, contested, at := 0, 0, 0, 0, time.Duration(-1)
	for n := range 400 {
		r := Draw(1, n, Options{FillDisk: true, ExternalS3: true})
		for _, q := range r.Requests {
			deeds[q.Order.Deed]++
			inputs[q.Input]++
			endpoints[q.Endpoint]++
			if q.Cut > 0 {
				cut++
			}
			if q.Name != "" {
				named++
			}
			if q.Contested {
				contested++
			}
		}
		for i, f := range r.Faults {
			kinds[f.Kind]++
			if i > 0 && f.At < at {
				t.Fatalf("round %d: faults are not in the order of their times", n)
			}
			at = f.At
		}
		if len(r.Weather) > 0 {
			weather++
		}
	}
	for _, d := range []Deed{Echo, Refuse, Busy, Hang, HangMiddle, Garbage, Early, Stuck, DropBefore, DropMiddle, DropAfter, CrashOnce, Poison} {
		if deeds[d] == 0 {
			t.Errorf("nobody orders %s", d)
		}
	}
	for _, k := range Kinds {
		if kinds[k] == 0 {
			t.Errorf("there is never a %s", k)
		}
	}
	for _, i := range []Input{Inline, Object, Missing} {
		if inputs[i] == 0 {
			t.Errorf("no input is %s", i)
		}
	}
	for _, d := range Deployments {
		if endpoints[d.Name] == 0 {
			t.Errorf("nobody asks endpoint %s", d.Name)
		}
	}
	if weather == 0 || cut == 0 || named == 0 || contested == 0 {
		t.Errorf("%d rounds with weather, %d cut calls, %d named outputs, %d contested ones, want some of each", weather, cut, named, contested)
	}
}

func TestOrderTravels(t *testing.T) {
	for n := range 50 {
		for _, q := range Draw(2, n, Options{}).Requests {
			got, err := ParseOrder(q.Order.String())
			if err != nil || got != q.Order {
				t.Fatalf("%+v was read as %+v, %v", q.Order, got, err)
			}
			if len(q.Order.String()) > 1024 {
				t.Errorf("order %q is too long for custom attributes", q.Order)
			}
		}
	}
}
