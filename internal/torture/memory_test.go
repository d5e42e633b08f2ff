package torture

import (
	"log/slog"
	"os"
	"testing"
)

// TestWeighed shows that the most that the server has had is judged, and said
// once.
func TestWeighed(t *testing.T) {
	const most = 100 << 20
	tests := []struct {
		name  string
		peaks []int64
		want  int
	}{
		{"cannot be read", []int64{0}, 0},
		{"as much as it may", []int64{most - 1, most}, 0},
		{"too much", []int64{most + 1}, 1},
		{"too much, and less again", []int64{most, most + 1, most, most + 2}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &run{config: Config{MaxMemory: most}, log: slog.New(slog.DiscardHandler), counts: newCounts()}
			for _, p := range test.peaks {
				r.weighed(p)
			}
			if len(r.broken) != test.want {
				t.Errorf("got %v, want %d complaints", r.broken, test.want)
			}
			for _, b := range r.broken {
				if b.Promise != 8 {
					t.Errorf("%v, want promise 8", b)
				}
			}
		})
	}
}

func TestPeakMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip(err)
	}
	before := peakMemory(os.Getpid())
	const size = 64 << 20
	b := make([]byte, size)
	for i := range b {
		b[i] = 1
	}
	if got := peakMemory(os.Getpid()); got < before || got < size {
		t.Errorf("the peak is %d after %d bytes more, %d before", got, len(b), before)
	}
}
