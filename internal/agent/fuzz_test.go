package agent

import (
	"net/http"
	"testing"
	"time"
)

// FuzzHeaders reads whatever a model says in the headers of its answer. What
// comes of it stays within its bounds and can be sent on.
func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{"", "1", "-1", "99999999999999999999", "Wed, 21 Oct 2026 07:28:00 GMT", " 7 ", "a=b,c=d", "\x7f", "\r\nX: y"} {
		f.Add(seed)
	}
	now := time.Unix(1_790_000_000, 0)
	f.Fuzz(func(t *testing.T, v string) {
		if d := parseRetryAfter(v, now); d < minRetryAfter || d > maxRetryAfter {
			t.Errorf("Retry-After %q asks for %s", v, d)
		}
		h := http.Header{}
		h.Set(headerCustomAttributes, v)
		m, left := customAttributes(h)
		if left && m != nil {
			t.Errorf("custom attributes %q were left out, and kept as %q", v, m)
		}
		for name, kept := range m {
			if kept != v || len(kept) > maxCustomAttributes {
				t.Errorf("custom attributes %q became %s=%q", v, name, kept)
			}
			for _, r := range kept {
				if r < ' ' || r > '~' {
					t.Errorf("custom attributes %q can be in no header", kept)
				}
			}
		}
	})
}
