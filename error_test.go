package deferd

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestCodeOf(t *testing.T) {
	busy := &Error{Code: Busy, Msg: "wait", Err: io.EOF}
	for _, c := range []struct {
		name string
		err  error
		want Code
	}{
		{"plain", io.EOF, Internal},
		{"ours", busy, Busy},
		{"wrapped", fmt.Errorf("do this: %w", busy), Busy},
		{"joined", errors.Join(io.EOF, busy), Busy},
		{"formatted", Errorf(TooLarge, "%d bytes", 5), TooLarge},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%s: code %v, want %v", c.name, got, c.want)
		}
	}
	if !errors.Is(busy, io.EOF) || busy.Error() != "wait: EOF" {
		t.Errorf("the cause is not told: %v", busy)
	}
	for c := Internal; c <= TooLarge; c++ {
		if c.String() == "" || c.String() == fmt.Sprintf("code %d", int(c)) {
			t.Errorf("code %d has no name", int(c))
		}
	}
}
