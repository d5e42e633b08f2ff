package topics

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

func status(code int) func(post) (int, error) {
	return func(post) (int, error) { return code, nil }
}

func TestDeliver(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		x.subscribe(t, "http://a", "http://b")
		id := x.publish(t, "text")
		for _, endpoint := range []string{"http://a", "http://b"} {
			wantIDs(t, x.at(endpoint), id)
		}
		x.wantLeft(t, 0)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.Topics.mu.Lock()
		defer x.Topics.mu.Unlock()
		if n := len(x.lanes); n != 0 {
			t.Errorf("%d lanes have nothing to do and are there, want none", n)
		}
	})
}

// TestFinal holds which answers end a delivery.
func TestFinal(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(post) (int, error)
		final  bool
	}{
		{"200", status(200), true},
		{"204", status(204), true},
		{"redirect", status(302), true},
		{"not found", status(404), true},
		{"forbidden", status(403), true},
		{"time-out", status(408), false},
		{"too many requests", status(429), false},
		{"server error", status(500), false},
		{"unavailable", status(503), false},
		{"no answer", func(post) (int, error) { return 0, deferd.Errorf(deferd.Unavailable, "no") }, false},
		{"address not allowed", func(post) (int, error) { return 0, deferd.Errorf(deferd.Denied, "no") }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, x *fixture) {
				x.subscribe(t, "http://a")
				x.answering(c.answer)
				x.publish(t, "text")
				want := 0
				if !c.final {
					want = 1
				}
				x.wantLeft(t, want)
			})
		})
	}
}

// TestTriedAgain has one message fail a few times: it comes again under one ID,
// each time after about twice as long.
func TestTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		x.subscribe(t, "http://a")
		fails := 5
		x.answering(func(post) (int, error) {
			if fails--; fails >= 0 {
				return http.StatusInternalServerError, nil
			}
			return http.StatusOK, nil
		})
		id := x.publish(t, "text")
		time.Sleep(time.Minute)
		posts := x.at("http://a")
		wantIDs(t, posts, id, id, id, id, id, id)
		for i := 1; i < len(posts); i++ {
			most := time.Second << (i - 1)
			if got := posts[i].at.Sub(posts[i-1].at); got < most/2 || got > most {
				t.Errorf("try %d came after %v, want between %v and %v", i+1, got, most/2, most)
			}
			if posts[i].body != posts[0].body {
				t.Errorf("try %d posted\n%s\nwant\n%s", i+1, posts[i].body, posts[0].body)
			}
		}
		x.wantLeft(t, 0)
	})
}

// TestDeadReceiver has one receiver down: the other does not notice, the dead
// one is spared, and gets everything when it is back.
func TestDeadReceiver(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		x.subscribe(t, "http://dead", "http://alive")
		x.answering(func(p post) (int, error) {
			if p.url == "http://dead" {
				return 0, deferd.Errorf(deferd.Unavailable, "no")
			}
			return http.StatusOK, nil
		})
		var ids []string
		for i := range 60 {
			published := time.Now()
			ids = append(ids, x.publish(t, fmt.Sprint("message ", i)))
			posts := x.at("http://alive")
			if last := posts[len(posts)-1]; last.id() != ids[i] || !last.at.Equal(published) {
				t.Errorf("who is alive got %s after %v, want %s at once", last.id(), last.at.Sub(published), ids[i])
			}
			time.Sleep(time.Minute)
		}
		wantIDs(t, x.at("http://alive"), ids...)
		if tries := len(x.at("http://dead")); tries < 30 || tries > 150 {
			t.Errorf("who is dead was tried %d times in an hour, want about once or twice a minute", tries)
		}
		x.answering(nil)
		time.Sleep(longestDown)
		got := map[string]int{}
		for _, p := range x.at("http://dead") {
			got[p.id()]++
		}
		for _, id := range ids {
			if got[id] != 1 {
				t.Errorf("message %s came %d times to who is back, want once", id, got[id])
			}
		}
		x.wantLeft(t, 0)
	})
}

// TestPoison has one message that its receiver never takes: the others pass it.
func TestPoison(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		x.subscribe(t, "http://a")
		x.answering(func(p post) (int, error) {
			if strings.Contains(p.body, "poison") {
				return http.StatusInternalServerError, nil
			}
			return http.StatusOK, nil
		})
		x.publish(t, "poison")
		for i := range 5 {
			time.Sleep(10 * time.Minute)
			published := time.Now()
			id := x.publish(t, fmt.Sprint("message ", i))
			posts := x.at("http://a")
			if last := posts[len(posts)-1]; last.id() != id || !last.at.Equal(published) {
				t.Errorf("message %d: the last post is %s after %v, want %s at once", i, last.id(), last.at.Sub(published), id)
			}
		}
		x.wantLeft(t, 1)
	})
}

func TestGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		x.subscribe(t, "http://a")
		x.answering(status(http.StatusServiceUnavailable))
		x.publish(t, "text")
		time.Sleep(deliverFor - time.Minute)
		x.wantLeft(t, 1)
		time.Sleep(longestWait + 2*time.Minute)
		x.wantLeft(t, 0)
		if tries := len(x.at("http://a")); tries < 24*6 || tries > 24*14 {
			t.Errorf("tried %d times in a day, want about every ten minutes", tries)
		}
	})
}

// TestNextLife has a server end while receivers are down.
func TestNextLife(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		endpoints := []string{"http://a", "http://b", "http://c"}
		x.subscribe(t, endpoints...)
		x.answering(status(http.StatusServiceUnavailable))
		first, second := x.publish(t, "first"), x.publish(t, "second")
		x.wantLeft(t, 2*len(endpoints))
		x.stop()
		x.answering(nil)
		x.live(t, x.store)
		for _, e := range endpoints {
			wantIDs(t, x.at(e), first, second)
		}
		x.wantLeft(t, 0)
	})
}

// TestUnsubscribed drops what waits for who is gone.
func TestUnsubscribed(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(ctx context.Context, x *fixture, s deferd.Subscription) error
	}{
		{"the subscription ends", func(ctx context.Context, x *fixture, s deferd.Subscription) error {
			return x.Unsubscribe(ctx, "t", s.ID, false)
		}},
		{"the topic ends", func(ctx context.Context, x *fixture, _ deferd.Subscription) error { return x.DeleteTopic(ctx, "t") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, x *fixture) {
				s := x.subscribe(t, "http://a")[0]
				x.answering(status(http.StatusServiceUnavailable))
				for i := range 10 {
					x.publish(t, fmt.Sprint(i))
				}
				x.wantLeft(t, 10)
				must(t, c.end(t.Context(), x, s))
				x.answering(nil)
				time.Sleep(longestDown)
				x.wantLeft(t, 0)
				if posts := x.at("http://a"); len(posts) != 0 {
					t.Errorf("%d messages came after the end", len(posts))
				}
			})
		})
	}
}
