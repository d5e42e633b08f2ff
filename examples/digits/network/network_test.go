package network_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/deferd/deferd/examples/digits/dataset"
	"github.com/deferd/deferd/examples/digits/network"
)

// TestAccuracy is the promise of the example: the network has learnt to read,
// judged by images that it was not trained with.
func TestAccuracy(t *testing.T) {
	n := trained(t)
	images := dataset.HeldOut()
	right := 0
	for _, img := range images {
		if predict(t, n, img).Digit == img.Label {
			right++
		}
	}
	if got, want := float64(right)/float64(len(images)), 0.95; got < want {
		t.Errorf("accuracy on %d held-out images is %.4f, want at least %.2f", len(images), got, want)
	}
}

func TestProbabilities(t *testing.T) {
	n := trained(t)
	for i, img := range dataset.HeldOut() {
		p := predict(t, n, img)
		sum := 0.0
		for _, q := range p.Probabilities {
			sum += q
		}
		if len(p.Probabilities) != network.Classes || math.Abs(sum-1) > 1e-9 {
			t.Errorf("image %d: %d probabilities with the sum %v, want %d with the sum 1", i, len(p.Probabilities), sum, network.Classes)
		}
		if got, want := p.Probabilities[p.Digit], slices.Max(p.Probabilities); got != want {
			t.Errorf("image %d: digit %d has the probability %v, the largest is %v", i, p.Digit, got, want)
		}
	}
}

func TestPredictRefuses(t *testing.T) {
	n := trained(t)
	with := func(p float64) []float64 {
		pixels := make([]float64, network.Inputs)
		pixels[63] = p
		return pixels
	}
	for name, pixels := range map[string][]float64{
		"none":         nil,
		"too few":      make([]float64, network.Inputs-1),
		"too many":     make([]float64, network.Inputs+1),
		"negative":     with(-1),
		"too black":    with(network.MaxPixel + 1),
		"not a number": with(math.NaN()),
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := n.Predict(pixels); err == nil {
				t.Errorf("got digit %d, want an error", p.Digit)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	row := "[" + strings.Repeat("0,", network.Inputs-1) + "0]"
	file := func(scale, layers string) string {
		return fmt.Sprintf(`{"scale":%s,"layers":[%s]}`, scale, layers)
	}
	for name, text := range map[string]string{
		"empty":             "",
		"cut short":         `{"scale":16,"layers":[`,
		"no scale":          `{"layers":[]}`,
		"no layers":         file("16", ""),
		"short row":         file("16", `{"weights":[[1,2]],"bias":[0]}`),
		"bias missing":      file("16", `{"weights":[`+row+`],"bias":[]}`),
		"too few neurons":   file("16", `{"weights":[`+row+`],"bias":[0]}`),
		"layers do not fit": file("16", `{"weights":[`+row+`],"bias":[0]},{"weights":[[1,2]],"bias":[0]}`),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := network.Read(strings.NewReader(text)); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func trained(t *testing.T) *network.Network {
	t.Helper()
	n, err := network.Trained()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func predict(t *testing.T, n *network.Network, img dataset.Image) network.Prediction {
	t.Helper()
	pixels := make([]float64, len(img.Pixels))
	for i, p := range img.Pixels {
		pixels[i] = float64(p)
	}
	p, err := n.Predict(pixels)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
