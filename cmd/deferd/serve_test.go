package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/deferd/deferd"
	"github.com/google/uuid"
)

// startLimit bounds how long a server may take until it answers.
const startLimit = 30 * time.Second

// runServer serves a data directory until the test ends or stop is called. Its
// client asks once.
func runServer(t *testing.T, s Settings) (o *objects, stop func()) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.Data, addressFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, s, slog.New(slog.DiscardHandler), io.Discard) }()
	stopped := false
	stop = func() {
		if cancel(); stopped {
			return
		}
		stopped = true
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	t.Cleanup(stop)
	for deadline := time.Now().Add(startLimit); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(s.Data, addressFile)); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not say where it listens")
		}
	}
	env := map[string]string{}
	vars, err := environment(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vars {
		env[v.name] = v.value
	}
	return &objects{s3.New(s3.Options{
		BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]), Region: env["AWS_REGION"], UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ""),
		Retryer:     aws.NopRetryer{},
	})}, stop
}

// decide leaves a data directory as a crash does that came after an outcome was
// decided and before its object was durable. It returns where that shall be.
func decide(t *testing.T, s Settings) deferd.Location {
	t.Helper()
	srv, err := build(t.Context(), s, "http://127.0.0.1:1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	account, now := deferd.AccountID(s.Account), srv.store.Now()
	id := deferd.InvocationID(uuid.Must(uuid.NewV7()).String())
	at := deferd.Location{Bucket: "outcomes", Key: "failed/" + string(id)}
	err = errors.Join(
		srv.embedded.CreateBucket(t.Context(), at.Bucket),
		srv.store.CreateModel(t.Context(), deferd.Model{ID: "m", Account: account, Name: "m", Created: now}),
		srv.store.CreateConfig(t.Context(), deferd.Config{ID: "c", Account: account, Name: "c", Created: now, Variants: []deferd.Variant{{Name: "v", ModelID: "m"}}}),
		srv.store.CreateEndpoint(t.Context(), deferd.Endpoint{ID: "e", Account: account, Name: "e", ConfigID: "c", Created: now, Modified: now, Status: deferd.EndpointInService}),
	)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = srv.store.Accept(t.Context(), deferd.NewInvocation{
		ID: id, InferenceID: string(id), Account: account, Endpoint: "e", Config: "c", Inline: []byte("x"),
		Failure: at, TTL: deferd.DefaultTTL, Timeout: deferd.DefaultTimeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.store.End(t.Context(), id, deferd.End(deferd.CancelRequested, "cancelled")); err != nil {
		t.Fatal(err)
	}
	if err := srv.close(); err != nil {
		t.Fatal(err)
	}
	return at
}

// TestObjectsAreWhole starts a server on what a crash has left of an object that
// a client may have seen: nobody ever hears that it is not there.
func TestObjectsAreWhole(t *testing.T) {
	clearAWS(t)
	s := defaultSettings()
	s.Data, s.Listen, s.Console = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	if err := s.validate(); err != nil {
		t.Fatal(err)
	}
	at := decide(t, s)
	looks := map[string]func(o *objects) error{
		"get": func(o *objects) error {
			body, err := o.open(t.Context(), at.Bucket, at.Key)
			if err == nil {
				err = body.Close()
			}
			return err
		},
		"head": func(o *objects) error {
			_, _, err := o.head(t.Context(), at.Bucket, at.Key)
			return err
		},
		"list": func(o *objects) error {
			for info, err := range o.list(t.Context(), at.Bucket, "", false) {
				if err == nil && info.Key != at.Key {
					err = errors.New("another key: " + info.Key)
				}
				return err
			}
			return errors.New("the list is empty")
		},
	}

	// As long as the object is not put again S3 says that it is not ready.
	faults := filepath.Join(t.TempDir(), "faults")
	if err := os.WriteFile(faults, []byte("object.put slow 1 1h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(faultsVariable, faults)
	o, stop := runServer(t, s)
	for name, look := range looks {
		if got := statusOf(look(o)); got != http.StatusServiceUnavailable {
			t.Errorf("%s before the object is put again: status %d, want 503", name, got)
		}
	}
	stop()

	t.Setenv(faultsVariable, "")
	o, _ = runServer(t, s)
	for name, look := range looks {
		deadline := time.Now().Add(startLimit)
		err := look(o)
		for statusOf(err) == http.StatusServiceUnavailable && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
			err = look(o)
		}
		if err != nil {
			t.Errorf("%s once S3 is ready: %v", name, err)
		}
	}
}

// statusOf is what a client was answered; 0 where it was not, or all was well.
func statusOf(err error) int {
	if e, ok := asAPIError(err); ok {
		return e.status
	}
	return 0
}
