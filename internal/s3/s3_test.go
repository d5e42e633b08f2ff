package s3_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/objectserver"
	"github.com/deferd/deferd/internal/objecttest"
	"github.com/deferd/deferd/internal/s3"
	"github.com/deferd/deferd/internal/sigv4"
)

const (
	accessKey = "AKIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// newS3 serves the embedded S3, with signatures checked for real.
func newS3(t *testing.T) (*objectserver.Store, string) {
	t.Helper()
	store, err := objectserver.Open(t.TempDir(), objectserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	handler := objectserver.NewHandler(store, objectserver.HandlerOptions{})
	verifier := sigv4.New(func(_ context.Context, id string) (sigv4.Key, error) {
		return sigv4.Key{ID: accessKey, Secret: secretKey}, nil
	}, sigv4.Options{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, body, err := verifier.VerifyStream(r)
		if err != nil {
			objectserver.WriteError(w, r, http.StatusForbidden, "SignatureDoesNotMatch", err.Error(), r.URL.Path)
			return
		}
		handler.Serve(w, r, p, body)
	}))
	t.Cleanup(server.Close)
	return store, server.URL
}

func open(t *testing.T, url, secret string) *s3.Store {
	t.Helper()
	// A shell that is set up as a client of deferd itself has no say.
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	c, err := s3.New(t.Context(), s3.Config{Endpoint: url, Region: "us-east-1", PathStyle: true, AccessKey: accessKey, SecretKey: secret})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStore(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) (deferd.ObjectStore, string) {
		store, url := newS3(t)
		if err := store.CreateBucket(t.Context(), "bucket"); err != nil {
			t.Fatal(err)
		}
		return open(t, url, secretKey), "bucket"
	})
}

func TestErrors(t *testing.T) {
	answer := func(status int, code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			if code != "" {
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message></Error>", code)
			}
		}
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		code    deferd.Code
		msg     string
	}{
		{"no key", answer(404, "NoSuchKey"), deferd.NotFound, "NoSuchKey"},
		{"no bucket", answer(404, "NoSuchBucket"), deferd.NotFound, "NoSuchBucket"},
		{"denied", answer(403, "AccessDenied"), deferd.Denied, "AccessDenied"},
		{"wrong keys", answer(403, "SignatureDoesNotMatch"), deferd.Denied, "SignatureDoesNotMatch"},
		{"slow down", answer(503, "SlowDown"), deferd.Unavailable, "SlowDown"},
		{"broken", answer(500, "InternalError"), deferd.Unavailable, "InternalError"},
		{"a proxy without XML", answer(502, ""), deferd.Unavailable, ""},
		{"something new", answer(400, "Surprise"), deferd.Invalid, "Surprise"},
		{"replaced", answer(412, "PreconditionFailed"), deferd.Changed, "PreconditionFailed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			t.Cleanup(server.Close)
			_, err := open(t, server.URL, secretKey).Get(t.Context(), deferd.Location{Bucket: "b", Key: "k"}, deferd.GetObject{})
			if deferd.CodeOf(err) != c.code {
				t.Errorf("error is %v (%v), want code %v", err, deferd.CodeOf(err), c.code)
			}
			e, _ := err.(*deferd.Error)
			if c.msg != "" && (e == nil || e.Msg != c.msg) {
				t.Errorf("message of %#v is not %q", err, c.msg)
			}
		})
	}
}

// TestWrongSecret shows that requests are signed with the keys that were given.
func TestWrongSecret(t *testing.T) {
	_, url := newS3(t)
	err := open(t, url, "wrong").Put(t.Context(), deferd.Location{Bucket: "bucket", Key: "k"}, deferd.ObjectAttributes{}, nil)
	if deferd.CodeOf(err) != deferd.Denied {
		t.Errorf("error is %v, want a refusal", err)
	}
}

// TestRequests counts what storing and reading a small object costs.
func TestRequests(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	store := open(t, server.URL, secretKey)
	l := deferd.Location{Bucket: "b", Key: "k"}
	if err := store.Put(t.Context(), l, deferd.ObjectAttributes{}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	o, err := store.Get(t.Context(), l, deferd.GetObject{})
	if err != nil {
		t.Fatal(err)
	}
	o.Body.Close()
	if got := requests.Load(); got != 2 {
		t.Errorf("%d requests, want 2", got)
	}
}

// TestAsksOnce loses the answers to what makes an object visible: whether it is
// to be asked for again, the caller knows.
func TestAsksOnce(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	c := open(t, server.URL, secretKey)
	l := deferd.Location{Bucket: "bucket", Key: "k"}
	tests := []struct {
		name string
		call func() error
	}{
		{"put", func() error { return c.Put(t.Context(), l, deferd.ObjectAttributes{}, []byte("x")) }},
		{"complete", func() error {
			return c.CompleteUpload(t.Context(), deferd.Upload{Location: l, ID: "u", Parts: []deferd.Part{{Number: 1, ETag: "e", Size: 1}}})
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requests.Store(0)
			if err := test.call(); deferd.CodeOf(err) != deferd.Unavailable {
				t.Errorf("got %v, want an error that is %q", err, deferd.Unavailable)
			}
			if got := requests.Load(); got != 1 {
				t.Errorf("%d requests, want 1", got)
			}
		})
	}
}
