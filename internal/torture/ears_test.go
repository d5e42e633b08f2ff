package torture

import (
	"net/http"
	"strings"
	"testing"
)

// TestEars shows that every wrong that notifications can do is seen.
func TestEars(t *testing.T) {
	for _, test := range []struct {
		name  string
		ends  map[string]string
		heard map[string][]string
		all   bool
		wrong int
	}{
		{"all is well", map[string]string{"a": "Completed", "b": "Expired"}, map[string][]string{"a": {"Completed"}, "b": {"Failed"}}, true, 0},
		{"one is missing", map[string]string{"a": "Completed", "b": "Failed"}, map[string][]string{"a": {"Completed"}}, true, 1},
		{"one says something else", map[string]string{"a": "Failed"}, map[string][]string{"a": {"Completed"}}, true, 1},
		{"two of one", map[string]string{"a": "Failed"}, map[string][]string{"a": {"Failed", "Completed"}}, true, 1},
		{"one of nobody", nil, map[string][]string{"a": {"Failed"}}, true, 1},
		{"one of nobody, which may be", nil, map[string][]string{"a": {"Failed"}}, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := &ears{heard: test.heard}
			if got := e.judge(test.ends, test.all); len(got) != test.wrong {
				t.Errorf("%v, want %d", got, test.wrong)
			}
		})
	}
}

// TestEarsHear has them take, refuse and keep silent.
func TestEarsHear(t *testing.T) {
	e, err := newEars()
	if err != nil {
		t.Fatal(err)
	}
	defer e.server.Close()
	taken, refused, silent := 0, 0, 0
	for n := range refusesEach * silentEach {
		text := `{"eventName":"InferenceResult","invocationStatus":"Completed"}`
		if n == 0 {
			text = `{"eventName":"TestNotification"}`
		}
		r, err := http.NewRequestWithContext(t.Context(), "POST", e.url+"/ended", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("webhook-id", string(rune('A'+n)))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			silent++
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			taken++
		} else {
			refused++
		}
	}
	if taken == 0 || refused != silentEach || silent == 0 || len(e.heard) != taken+silent-1 {
		t.Errorf("%d taken, %d refused, %d silent, %d heard", taken, refused, silent, len(e.heard))
	}
}
