package dataset

import (
	"strconv"
	"strings"
	"testing"
)

func TestHeldOut(t *testing.T) {
	images := HeldOut()
	if got, want := len(images), 360; got < want {
		t.Errorf("got %d images, want at least %d", got, want)
	}
	seen := map[int]int{}
	for _, m := range images {
		seen[m.Label]++
	}
	for digit := range 10 {
		if seen[digit] < len(images)/20 {
			t.Errorf("digit %d is shown by %d of %d images", digit, seen[digit], len(images))
		}
	}
}

func TestCSV(t *testing.T) {
	for i, m := range HeldOut() {
		back, err := parseLine(strconv.Itoa(m.Label) + "," + m.CSV())
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		if back != m {
			t.Errorf("image %d changed on its way through CSV", i)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	white := strings.Repeat(",0", 63)
	for name, line := range map[string]string{
		"empty line": "\n",
		"short":      "1,0,0",
		"bad label":  "10,0" + white,
		"bad pixel":  "1,17" + white,
		"no number":  "1,x" + white,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(line); err == nil {
				t.Error("got no error")
			}
		})
	}
}
