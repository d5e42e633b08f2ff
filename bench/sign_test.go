package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sigv4"
)

// TestRequest has the server's own verifier look at what the clients send.
func TestRequest(t *testing.T) {
	key := sigv4.Key{ID: limitKey.keyID, Secret: limitKey.secret, Principal: deferd.Principal{AccessKey: limitKey.keyID}}
	verifier := sigv4.New(func(context.Context, string) (sigv4.Key, error) { return key, nil }, sigv4.Options{})
	to := limitKey
	to.url = "http://127.0.0.1:8780"
	for _, test := range []struct {
		name   string
		form   form
		tamper func(*http.Request, []byte) []byte
		valid  bool
	}{
		{name: "inline", form: form{path: "/endpoints/bench/async-invocations", body: []byte("a body")}, valid: true},
		{name: "by S3", form: form{path: "/endpoints/bench/async-invocations", inputs: []string{"s3://bucket/a", "s3://bucket/b"}}, valid: true},
		{
			name: "another body", form: form{path: "/endpoints/bench/async-invocations", body: []byte("a body")},
			tamper: func(_ *http.Request, b []byte) []byte { return append(b, '!') },
		},
		{
			name: "another SDK invocation ID", form: form{path: "/endpoints/bench/async-invocations", body: []byte("a body")},
			tamper: func(r *http.Request, b []byte) []byte { r.Header.Set("Amz-Sdk-Invocation-Id", "x"); return b },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &signer{credentials: to}
			var raw []byte
			for n := range 2 { // the second one uses what the first one left
				raw = test.form.request(raw[:0], s, n)
			}
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if test.tamper != nil {
				body = test.tamper(r, body)
			}
			_, err = verifier.Verify(r, "sagemaker", body)
			if valid := err == nil; valid != test.valid {
				t.Errorf("valid is %v (%v), want %v", valid, err, test.valid)
			}
		})
	}
}

// TestSignerAcrossMidnight has one signer sign on two days.
func TestSignerAcrossMidnight(t *testing.T) {
	s := &signer{credentials: limitKey}
	midnight := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	before := s.request(nil, "/", nil, nil, midnight.Add(-time.Second))
	after := s.request(nil, "/", nil, nil, midnight)
	again := (&signer{credentials: limitKey}).request(nil, "/", nil, nil, midnight)
	if bytes.Equal(before, after) || !bytes.Equal(after, again) {
		t.Errorf("after midnight the signer made %q, want %q", after, again)
	}
}

// TestSignerForS3 has the server's own verifier look at how clients ask for an
// output.
func TestSignerForS3(t *testing.T) {
	key := sigv4.Key{ID: limitKey.keyID, Secret: limitKey.secret, Principal: deferd.Principal{AccessKey: limitKey.keyID}}
	verifier := sigv4.New(func(context.Context, string) (sigv4.Key, error) { return key, nil }, sigv4.Options{})
	to := limitKey
	to.url = "http://127.0.0.1:8780"
	s := &signer{credentials: to, method: http.MethodHead, service: "s3"}
	raw := s.request(nil, "/bucket/out/a-1", lookHeaders(), nil, time.Now())
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != http.MethodHead {
		t.Errorf("the method is %s", r.Method)
	}
	if _, err := verifier.Verify(r, "s3", nil); err != nil {
		t.Error(err)
	}
}

// TestSignerWithoutKey makes the requests to servers that look at no signature.
func TestSignerWithoutKey(t *testing.T) {
	s := &signer{credentials: credentials{url: "http://127.0.0.1:1"}}
	raw := s.request(nil, "/", nil, []byte("a body"), time.Now())
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || string(body) != "a body" || r.Header.Get("Authorization") != "" {
		t.Errorf("got %q, %v, Authorization %q", body, err, r.Header.Get("Authorization"))
	}
}
