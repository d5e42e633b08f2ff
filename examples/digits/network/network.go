// Package network is a small feed-forward neural network that says which digit
// an image of 8x8 pixels shows.
//
// The weights are made by train.py. A Network never changes after it was read,
// so any number of goroutines may share one.
package network

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	// Inputs is how many numbers an image has: 8 rows of 8 pixels, each from 0
	// (white) to MaxPixel (black).
	Inputs   = 64
	MaxPixel = 16

	// Classes is how many answers there are: the digits from 0 to 9.
	Classes = 10
)

//go:embed weights.json
var trained []byte

// A Network is a chain of layers. Each but the last is followed by a
// rectifier, the last by a softmax.
type Network struct {
	scale  float64
	layers []layer
}

// A layer has a row of weights and a bias for each of its neurons.
type layer struct {
	Weights [][]float64 `json:"weights"`
	Bias    []float64   `json:"bias"`
}

// A Prediction is what the network makes of an image.
type Prediction struct {
	Digit         int       `json:"digit"`         // the most probable one
	Probabilities []float64 `json:"probabilities"` // of each digit; their sum is 1
}

// Trained returns the network that comes with this package.
func Trained() (*Network, error) {
	return Read(bytes.NewReader(trained))
}

// Read reads a network as train.py writes it, and checks that its layers fit
// together.
func Read(r io.Reader) (*Network, error) {
	var file struct {
		Scale  float64 `json:"scale"`
		Layers []layer `json:"layers"`
	}
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return nil, fmt.Errorf("read weights: %w", err)
	}
	if file.Scale <= 0 {
		return nil, fmt.Errorf("read weights: scale is %v, want more than 0", file.Scale)
	}
	if err := check(file.Layers); err != nil {
		return nil, fmt.Errorf("read weights: %w", err)
	}
	return &Network{scale: file.Scale, layers: file.Layers}, nil
}

func check(layers []layer) error {
	if len(layers) == 0 {
		return errors.New("there are no layers")
	}
	width := Inputs
	for i, l := range layers {
		if len(l.Weights) != len(l.Bias) {
			return fmt.Errorf("layer %d has %d rows of weights and %d biases", i, len(l.Weights), len(l.Bias))
		}
		for _, row := range l.Weights {
			if len(row) != width {
				return fmt.Errorf("layer %d has a row of %d weights, want %d", i, len(row), width)
			}
		}
		width = len(l.Bias)
	}
	if width != Classes {
		return fmt.Errorf("the last layer has %d neurons, want %d", width, Classes)
	}
	return nil
}

// Predict says which digit the pixels show. It refuses anything but Inputs
// numbers from 0 to MaxPixel.
func (n *Network) Predict(pixels []float64) (Prediction, error) {
	if len(pixels) != Inputs {
		return Prediction{}, fmt.Errorf("got %d pixels, want %d", len(pixels), Inputs)
	}
	values := make([]float64, Inputs)
	for i, p := range pixels {
		if !(p >= 0 && p <= MaxPixel) { // so that NaN is refused too
			return Prediction{}, fmt.Errorf("pixel %d is %v, want a number from 0 to %d", i, p, MaxPixel)
		}
		values[i] = p / n.scale
	}
	for i, l := range n.layers {
		values = l.apply(values)
		if i < len(n.layers)-1 {
			rectify(values)
		}
	}
	softmax(values)
	return Prediction{Digit: largest(values), Probabilities: values}, nil
}

func (l layer) apply(in []float64) []float64 {
	out := make([]float64, len(l.Bias))
	for i, row := range l.Weights {
		sum := l.Bias[i]
		for j, w := range row {
			sum += w * in[j]
		}
		out[i] = sum
	}
	return out
}

func rectify(values []float64) {
	for i, v := range values {
		values[i] = max(v, 0)
	}
}

// softmax turns values into probabilities. The largest is taken off first, so
// that no exponential overflows.
func softmax(values []float64) {
	top := values[largest(values)]
	var sum float64
	for i, v := range values {
		values[i] = math.Exp(v - top)
		sum += values[i]
	}
	for i := range values {
		values[i] /= sum
	}
}

func largest(values []float64) int {
	best := 0
	for i, v := range values {
		if v > values[best] {
			best = i
		}
	}
	return best
}
