package topics

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sqlite"
	"github.com/deferd/deferd/internal/storetest"
)

const (
	account = "000000000000"
	region  = "us-east-1"
)

// A post is a request to a subscription's endpoint.
type post struct {
	url    string
	header http.Header
	body   string
	at     time.Time
}

func (p post) id() string { return p.header.Get("x-amz-sns-message-id") }

// A fixture is topics over a real store that deliver to endpoints without a
// network, in a bubble of fake time.
type fixture struct {
	*Topics
	store deferd.Store
	stop  func() // ends Run and waits for it

	mu     sync.Mutex // guards the rest
	posts  []post
	answer func(p post) (status int, err error) // nil: 200
}

// aKey is a signing key that was made before.
var aKey = sync.OnceValues(func() (storedKey, error) { return New(Config{Region: region, Seal: seal}).makeKey() })

func inBubble(t *testing.T, test func(t *testing.T, x *fixture)) {
	t.Helper()
	key, err := aKey() // making one takes time
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlite.Open(filepath.Join(t.TempDir(), "deferd.db"), sqlite.Options{Now: time.Now})
		must(t, err)
		defer func() { must(t, s.Close()) }()
		x := &fixture{store: storetest.Serial(s)}
		x.live(t, x.store)
		defer func() { x.stop() }()
		_, err = x.put(t.Context(), kindSigningKey, signingKeyName, 0, key)
		must(t, err)
		must(t, x.CreateTopic(t.Context(), deferd.Topic{Name: "t"}))
		test(t, x)
	})
}

// live begins another life over documents.
func (x *fixture) live(t *testing.T, d deferd.Documents) {
	t.Helper()
	x.Topics = New(Config{
		Documents: d, Account: account, Region: region, URL: "http://127.0.0.1:8780",
		Logger: slog.New(slog.DiscardHandler), Now: x.store.Now, Post: x.post,
		Seal: seal, Unseal: unseal,
	})
	x.run(t)
}

// run runs the topics, until stop.
func (x *fixture) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	topics := x.Topics
	go func() { done <- topics.Run(ctx) }()
	x.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	synctest.Wait()
}

// seal and unseal stand for sealing, which is not what is tested here.
func seal(secret string) []byte { return append([]byte{seals}, secret...) }

func unseal(sealed []byte) (string, error) {
	if len(sealed) == 0 || sealed[0] != seals {
		return "", errors.New("it is not sealed")
	}
	return string(sealed[1:]), nil
}

const seals = 1

func (x *fixture) post(_ context.Context, url string, h http.Header, body []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := post{url, h, string(body), time.Now()}
	x.posts = append(x.posts, p)
	if x.answer == nil {
		return http.StatusOK, nil
	}
	return x.answer(p)
}

// answering says what endpoints answer from now on, and forgets what was posted.
func (x *fixture) answering(f func(p post) (int, error)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answer, x.posts = f, nil
}

// at returns the posts to an endpoint, once all is quiet.
func (x *fixture) at(url string) (found []post) {
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.posts {
		if p.url == url {
			found = append(found, p)
		}
	}
	return found
}

// subscribe makes confirmed subscriptions and forgets how they were made.
func (x *fixture) subscribe(t *testing.T, endpoints ...string) (subscriptions []deferd.Subscription) {
	t.Helper()
	for _, e := range endpoints {
		s, err := x.Subscribe(t.Context(), deferd.Subscription{Topic: "t", Protocol: "http", Endpoint: e})
		must(t, err)
		s, err = x.Confirm(t.Context(), "t", s.Token, false, false)
		must(t, err)
		subscriptions = append(subscriptions, s)
	}
	synctest.Wait()
	x.answering(nil)
	return subscriptions
}

func (x *fixture) publish(t *testing.T, text string) (id string) {
	t.Helper()
	id, err := x.Publish(t.Context(), "t", deferd.Message{Text: text})
	must(t, err)
	return id
}

// wantLeft checks how many deliveries are stored.
func (x *fixture) wantLeft(t *testing.T, want int) {
	t.Helper()
	synctest.Wait()
	docs, err := x.store.Documents(t.Context(), kindDelivery, account, "", "", 1000)
	must(t, err)
	if len(docs) != want {
		t.Errorf("%d deliveries are left, want %d", len(docs), want)
	}
}

// wantIDs checks which messages were posted, and how often. Several are on
// their way at a time, in any order.
func wantIDs(t *testing.T, posts []post, want ...string) {
	t.Helper()
	var got []string
	for _, p := range posts {
		got = append(got, p.id())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("posted %q, want %q", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, want deferd.Code) {
	t.Helper()
	if err == nil || deferd.CodeOf(err) != want {
		t.Errorf("error is %v, want one with code %q", err, want)
	}
}
