package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/deferd/deferd"
)

// running runs a server on free ports and returns its URL and keys.
func running(t *testing.T) (url, id, secret string) {
	t.Helper()
	s := defaultSettings()
	s.Data, s.Listen, s.Console = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	if err := s.validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, s, slog.New(slog.DiscardHandler), w)
		w.Close()
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if _, err := fmt.Sscanf(line, "deferd: listening on %s", &url); err != nil {
		t.Fatalf("the server says %q: %v", line, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	id, secret, err = readCredentials(filepath.Join(s.Data, credentialsFile))
	if err != nil {
		t.Fatal(err)
	}
	return url, id, secret
}

// TestNotifyThroughAnother has a server whose SNS is another one, which is here
// a second server, notify a topic of that, and a webhook.
func TestNotifyThroughAnother(t *testing.T) {
	got := make(chan *http.Request, 8)
	bodies := make(chan []byte, 8)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r
		bodies <- body
	}))
	defer receiver.Close()
	next := func() (*http.Request, []byte) {
		t.Helper()
		select {
		case r := <-got:
			return r, <-bodies
		case <-time.After(30 * time.Second):
			t.Fatal("nothing has arrived")
			return nil, nil
		}
	}

	url, id, secret := running(t)
	t.Setenv("DEFERD_SNS_ACCESS_KEY_ID", id)
	t.Setenv("DEFERD_SNS_SECRET_ACCESS_KEY", secret)
	client := awssns.New(awssns.Options{Region: defaultRegion, BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider(id, secret, "")})
	topic, err := client.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("http"), Endpoint: &receiver.URL}); err != nil {
		t.Fatal(err)
	}
	var message struct{ Token, Message string }
	_, body := next()
	if err := json.Unmarshal(body, &message); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ConfirmSubscription(t.Context(), &awssns.ConfirmSubscriptionInput{TopicArn: topic.TopicArn, Token: &message.Token}); err != nil {
		t.Fatal(err)
	}

	s := defaultSettings()
	s.Data, s.SNS = t.TempDir(), url
	srv := &server{settings: s, url: "http://127.0.0.1:1", log: slog.New(slog.DiscardHandler)}
	if err := srv.openNotifier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if srv.snsSurface() != nil {
		t.Error("a server whose SNS is another one offers its own")
	}
	n := deferd.TestNotification("id", *topic.TopicArn)
	if err := srv.notifier.Notify(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if _, body = next(); json.Unmarshal(body, &message) != nil || message.Message != n.Message {
		t.Errorf("the topic got %s, want %s", body, n.Message)
	}
	n.Target = receiver.URL + "/hook"
	if err := srv.notifier.Notify(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	r, body := next()
	if string(body) != n.Message || r.URL.Path != "/hook" || r.Header.Get("webhook-id") != "id" || !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
		t.Errorf("the webhook got %s with %v", body, r.Header)
	}
	n.Target = *topic.TopicArn + "-not"
	if err := srv.notifier.Notify(t.Context(), n); err == nil || deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("a topic that is not there: %v, want it not found", err)
	}
}
