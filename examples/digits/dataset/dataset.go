// Package dataset holds the images of handwritten digits that the network of
// this example was not trained with.
//
// They are part of scikit-learn's digits, which come from the "Optical
// Recognition of Handwritten Digits" data of E. Alpaydin and C. Kaynak (UCI
// Machine Learning Repository, CC BY 4.0). train.py chooses them.
package dataset

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed heldout.csv
var heldOut string

// An Image is 8 rows of 8 pixels, each from 0 (white) to 16 (black).
type Image struct {
	Label  int // the digit that it shows
	Pixels [64]uint8
}

// HeldOut returns all held-out images, in the order of the file. The slice is
// the caller's.
func HeldOut() []Image {
	images, err := parse(heldOut)
	if err != nil {
		panic("dataset: the embedded images are broken: " + err.Error())
	}
	return images
}

// CSV returns the pixels as a line of comma-separated numbers, without the
// label: what the model takes as text/csv.
func (m Image) CSV() string {
	line := make([]byte, 0, 3*len(m.Pixels))
	for i, p := range m.Pixels {
		if i > 0 {
			line = append(line, ',')
		}
		line = strconv.AppendUint(line, uint64(p), 10)
	}
	return string(line)
}

// parse reads lines of a label and 64 pixels.
func parse(text string) ([]Image, error) {
	var images []Image
	for line := range strings.Lines(text) {
		m, err := parseLine(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(images)+1, err)
		}
		images = append(images, m)
	}
	return images, nil
}

func parseLine(line string) (Image, error) {
	fields := strings.Split(line, ",")
	var m Image
	if got, want := len(fields), 1+len(m.Pixels); got != want {
		return Image{}, fmt.Errorf("got %d fields, want %d", got, want)
	}
	label, err := strconv.ParseUint(fields[0], 10, 8)
	if err != nil || label > 9 {
		return Image{}, fmt.Errorf("label %q is no digit", fields[0])
	}
	m.Label = int(label)
	for i, f := range fields[1:] {
		p, err := strconv.ParseUint(f, 10, 8)
		if err != nil || p > 16 {
			return Image{}, fmt.Errorf("pixel %d is %q, want a number from 0 to 16", i, f)
		}
		m.Pixels[i] = uint8(p)
	}
	return m, nil
}
