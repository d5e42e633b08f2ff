package topics

import (
	"encoding/json"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

func endpoint(url string) deferd.Subscription {
	return deferd.Subscription{Topic: "t", Protocol: "http", Endpoint: url}
}

func TestConfirm(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		s, err := x.Subscribe(t.Context(), endpoint("http://a"))
		must(t, err)
		x.publish(t, "nobody gets this")
		posts := x.at("http://a")
		if len(posts) != 1 {
			t.Fatalf("%d posts, want the question alone", len(posts))
		}
		var asked envelope
		must(t, json.Unmarshal([]byte(posts[0].body), &asked))
		link, err := url.Parse(asked.SubscribeURL)
		must(t, err)
		if got := link.Query(); got.Get("Token") != asked.Token || got.Get("TopicArn") != x.ARN("t", "") || got.Get("Action") != "ConfirmSubscription" {
			t.Errorf("the link is %s, of the token %s", link, asked.Token)
		}
		for _, token := range []string{"", "x", asked.Token + "x"} {
			_, err = x.Confirm(t.Context(), "t", token, true, true)
			wantCode(t, err, deferd.Invalid)
		}
		must(t, x.CreateTopic(t.Context(), deferd.Topic{Name: "other"}))
		_, err = x.Confirm(t.Context(), "other", asked.Token, true, true)
		wantCode(t, err, deferd.Invalid)
		for _, signed := range []bool{false, true} { // only the first time counts
			got, err := x.Confirm(t.Context(), "t", asked.Token, signed, true)
			must(t, err)
			if got.ID != s.ID || !got.Confirmed || got.Authenticated || got.SignedToCancel {
				t.Errorf("confirmed %+v, want %s, by nobody in particular", got, s.ID)
			}
		}
		id := x.publish(t, "text")
		if posts = x.at("http://a"); len(posts) != 2 || posts[1].id() != id {
			t.Errorf("%d posts after the second message", len(posts))
		}
	})
}

func TestTokenExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		s, err := x.Subscribe(t.Context(), endpoint("http://a"))
		must(t, err)
		time.Sleep(confirmTime + time.Second)
		_, err = x.Confirm(t.Context(), "t", s.Token, false, false)
		wantCode(t, err, deferd.Invalid)
		again, err := x.Subscribe(t.Context(), endpoint("http://a"))
		must(t, err)
		if again.ID != s.ID {
			t.Errorf("asked again it is subscription %s, want %s", again.ID, s.ID)
		}
		if posts := x.at("http://a"); len(posts) != 2 {
			t.Errorf("it was asked %d times, want twice", len(posts))
		}
		_, err = x.Confirm(t.Context(), "t", again.Token, false, false)
		must(t, err)
	})
}

// TestSubscribeAtOnce has many ask for one subscription.
func TestSubscribeAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := x.Subscribe(t.Context(), endpoint("http://a"))
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		confirmed, pending, err := x.Subscribers(t.Context(), "t")
		must(t, err)
		if confirmed != 0 || pending != 1 {
			t.Errorf("%d confirmed, %d pending; want one pending", confirmed, pending)
		}
	})
}

func TestSignedToCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		s, err := x.Subscribe(t.Context(), endpoint("http://a"))
		must(t, err)
		_, err = x.Confirm(t.Context(), "t", s.Token, true, true)
		must(t, err)
		wantCode(t, x.Unsubscribe(t.Context(), "t", s.ID, false), deferd.Denied)
		for range 2 {
			must(t, x.Unsubscribe(t.Context(), "t", s.ID, true))
		}
		_, err = x.Subscription(t.Context(), "t", s.ID)
		wantCode(t, err, deferd.NotFound)
	})
}

// TestNoHeirs makes a topic again: it has none of the earlier one's
// subscriptions, and neither has one whose name merely begins alike.
func TestNoHeirs(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		must(t, x.CreateTopic(t.Context(), deferd.Topic{Name: "t2"}))
		x.subscribe(t, "http://a", "http://b")
		if confirmed, _, err := x.Subscribers(t.Context(), "t2"); confirmed != 0 || err != nil {
			t.Errorf("t2 has %d subscriptions (%v), want none", confirmed, err)
		}
		must(t, x.DeleteTopic(t.Context(), "t"))
		must(t, x.CreateTopic(t.Context(), deferd.Topic{Name: "t"}))
		x.publish(t, "text")
		if posts := len(x.at("http://a")) + len(x.at("http://b")); posts != 0 {
			t.Errorf("%d messages came to the earlier topic's subscriptions", posts)
		}
	})
}

func TestAttributes(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		s := x.subscribe(t, "http://a")[0]
		for _, c := range []struct {
			name, value string
			topic, fine bool
		}{
			{"DisplayName", "ä", true, true},
			{"Policy", "{}", true, true},
			{"Policy", "{", true, false},
			{"SignatureVersion", "3", true, false},
			{"FifoTopic", "false", true, true},
			{"FifoTopic", "true", true, false},
			{"KmsMasterKeyId", "", true, true},
			{"KmsMasterKeyId", "alias/aws/sns", true, false},
			{"RawMessageDelivery", "true", true, false},
			{"RawMessageDelivery", "true", false, true},
			{"RawMessageDelivery", "yes", false, false},
			{"FilterPolicy", "{}", false, false},
			{"DisplayName", "x", false, false},
		} {
			err := x.SetSubscriptionAttribute(t.Context(), "t", s.ID, c.name, c.value)
			if c.topic {
				err = x.SetTopicAttribute(t.Context(), "t", c.name, c.value)
			}
			if (err == nil) != c.fine || err != nil && deferd.CodeOf(err) != deferd.Invalid {
				t.Errorf("%s %q of a topic %v: %v, want it taken %v", c.name, c.value, c.topic, err, c.fine)
			}
		}
		wantCode(t, x.SetTopicAttribute(t.Context(), "none", "DisplayName", ""), deferd.NotFound)
		wantCode(t, x.SetSubscriptionAttribute(t.Context(), "t", "none", "RawMessageDelivery", "true"), deferd.NotFound)
	})
}
