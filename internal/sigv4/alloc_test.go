//go:build !race

package sigv4

import "testing"

// The cost of an accept in memory is a promise: the request's own strings are
// used in place, and buffers are shared.
func TestVerifyAllocations(t *testing.T) {
	v := at(noon, Options{}, exampleKey)
	r := signed(t, exampleKey, "sagemaker", "us-east-1")
	got := testing.AllocsPerRun(100, func() {
		if _, err := v.Verify(r, "sagemaker", nil); err != nil {
			t.Fatal(err)
		}
	})
	if want := 4.0; got > want {
		t.Errorf("%v allocations, want at most %v", got, want)
	}
}
