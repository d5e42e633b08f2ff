package awsapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// An endless body is never read when its signature cannot be right.
func TestBodyOfNobody(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	stranger := aws.Credentials{AccessKeyID: "AKIASTRANGER", SecretAccessKey: "x"}
	tests := []struct {
		name string
		sign func(r *http.Request)
		code string
	}{
		{"nobody", func(*http.Request) {}, "MissingAuthenticationTokenException"},
		{"a stranger", s.signAs(stranger, "sagemaker", time.Now()), "UnrecognizedClientException"},
		{"yesterday", s.signAs(s.keys, "sagemaker", time.Now().Add(-24*time.Hour)), "InvalidSignatureException"},
		{"a key of ours", s.signAs(s.keys, "sagemaker", time.Now()), "ValidationError"}, // of the body, once it is too long
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := s.request("POST", "/endpoints/e/async-invocations", "")
			r.Body, r.ContentLength = io.NopCloser(io.LimitReader(zeros{}, 64<<20)), -1
			tt.sign(r)
			w := httptest.NewRecorder()
			s.server.Handler().ServeHTTP(w, r) // which a client might not hear over its own sending
			a := answer{w.Code, w.Header(), w.Body.String()}
			if got, _, _ := strings.Cut(a.header.Get("x-amzn-ErrorType"), ":"); got != tt.code {
				t.Errorf("answered %s: %d %s, want %s", got, a.status, a.body, tt.code)
			}
		})
	}
}

// signAs signs a request whose body is not known: its signature is plausible
// at best.
func (s *site) signAs(keys aws.Credentials, service string, at time.Time) func(*http.Request) {
	return func(r *http.Request) {
		sum := sha256.Sum256(nil)
		if err := v4.NewSigner().SignHTTP(s.t.Context(), keys, r, hex.EncodeToString(sum[:]), service, region, at); err != nil {
			s.t.Fatal(err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Where large bodies have taken all the room there is, another waits for it and
// is refused for now; small ones go on. What a call took it gives back.
func TestRoom(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	room := s.server.room
	if !room.TryAcquire(bodyRoom) {
		t.Fatal("there is no room to begin with")
	}
	s.invoke("e", "small").check(t, http.StatusAccepted, `{"InferenceId":"<uuid>"}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // its client goes away before there is room
	c := &call{server: s.server, r: s.request("POST", "/", "").WithContext(ctx)}
	if err := c.takeRoom(smallBody + 1); failureOf(err, restJSON).status != http.StatusServiceUnavailable {
		t.Errorf("without room: %v, want 503", err)
	}
	c.giveRoom() // of nothing
	room.Release(bodyRoom)
	s.invoke("e", strings.Repeat("x", smallBody+1)).check(t, http.StatusAccepted, `{"InferenceId":"<uuid>"}`)
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := room.Acquire(soon, bodyRoom); err != nil { // it is given back after the answer
		t.Errorf("wait for the room to be given back: %v", err)
	}
}
