package topics

import (
	"net/http"
	"strings"
	"testing"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/faulty"
)

func TestNotify(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		x.subscribe(t, "http://a")
		x.answering(status(http.StatusServiceUnavailable))
		n := deferd.Notification{ID: "id", Target: x.ARN("t", ""), Message: "{}"}
		for range 3 {
			must(t, x.Notify(t.Context(), n))
		}
		x.wantLeft(t, 1) // a repeat is the same delivery
		for _, c := range []struct {
			name   string
			target string
			want   deferd.Code
		}{
			{"no topic", x.ARN("none", ""), deferd.NotFound},
			{"another region's", "arn:aws:sns:eu-west-1:" + account + ":t", deferd.NotFound},
			{"another account's", "arn:aws:sns:" + region + ":111111111111:t", deferd.NotFound},
			{"no ARN", "t", deferd.Invalid},
		} {
			n.Target = c.target
			if err := x.Notify(t.Context(), n); err == nil || deferd.CodeOf(err) != c.want {
				t.Errorf("%s: %v, want code %q", c.name, err, c.want)
			}
		}
		x.AnyRegion = true
		n.Target = "arn:aws:sns:eu-west-1:" + account + ":t"
		must(t, x.Notify(t.Context(), n))
	})
}

// TestPublishFails has the store lose a delivery in between: the publisher is
// not told that all is well, and a repeat under the same ID brings the message
// to those who have not got it.
func TestPublishFails(t *testing.T) {
	for _, how := range []faulty.How{faulty.Lost, faulty.Unanswered} {
		t.Run(string(how), func(t *testing.T) {
			inBubble(t, func(t *testing.T, x *fixture) {
				x.subscribe(t, "http://a", "http://b", "http://c", "http://d")
				x.answering(status(http.StatusServiceUnavailable))
				n := deferd.Notification{ID: "id", Target: x.ARN("t", ""), Message: "{}"}
				cue := faulty.NewCue()
				cue.Set(faulty.Rules{Seed: 1, Rules: []faulty.Rule{{What: "store.change", How: how, Rate: 1}}})
				whole := x.Documents
				x.Documents = cue.Store(x.store)
				wantCode(t, x.Notify(t.Context(), n), deferd.Unavailable)
				x.Documents = whole
				must(t, x.Notify(t.Context(), n))
				x.wantLeft(t, 4)
			})
		})
	}
}

func TestMessagesRefused(t *testing.T) {
	attribute := map[string]deferd.MessageAttribute{"a": {Type: "String", Value: "x"}} // 8 bytes
	for _, c := range []struct {
		name string
		m    deferd.Message
		fine bool
	}{
		{"text", deferd.Message{Text: "x"}, true},
		{"empty", deferd.Message{}, false},
		{"longest", deferd.Message{Text: strings.Repeat("x", maxMessage)}, true},
		{"too long", deferd.Message{Text: strings.Repeat("x", maxMessage+1)}, false},
		{"longest with an attribute", deferd.Message{Text: strings.Repeat("x", maxMessage-8), Attributes: attribute}, true},
		{"too long with an attribute", deferd.Message{Text: strings.Repeat("x", maxMessage-7), Attributes: attribute}, false},
		{"not UTF-8", deferd.Message{Text: "\xff"}, false},
		{"empty for a protocol", deferd.Message{Text: "x", ByProtocol: map[string]string{"http": ""}}, false},
		{"subject", deferd.Message{Text: "x", Subject: "Hello, world!"}, true},
		{"long subject", deferd.Message{Text: "x", Subject: strings.Repeat("x", 101)}, false},
		{"subject of two lines", deferd.Message{Text: "x", Subject: "a\nb"}, false},
		{"subject not in ASCII", deferd.Message{Text: "x", Subject: "ä"}, false},
	} {
		if err := check(c.m); (err == nil) != c.fine || err != nil && deferd.CodeOf(err) != deferd.Invalid {
			t.Errorf("%s: %v, want it taken %v", c.name, err, c.fine)
		}
	}
}
