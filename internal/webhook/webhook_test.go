package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// verify checks a request as the standard tells receivers to.
func verify(h http.Header, body []byte, secret string, now time.Time) error {
	id, at := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return err
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > 5*time.Minute || off < -5*time.Minute {
		return errors.New("the time is too far off")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "." + string(body)))
	want := mac.Sum(nil)
	for versioned := range strings.FieldsSeq(h.Get("webhook-signature")) {
		version, text, _ := strings.Cut(versioned, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if version == "v1" && err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return errors.New("no signature matches")
}

func signer(t *testing.T, secrets ...string) *Signer {
	t.Helper()
	s, err := NewSigner(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSignVector is the standard's own example.
func TestSignVector(t *testing.T) {
	const (
		secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		body   = `{"test": 2432232314}`
		want   = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	)
	h := http.Header{}
	signer(t, secret).Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(body))
	if got := h.Get("webhook-signature"); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
}

// TestRotation has receivers that know the old secret, the new one, and neither.
func TestRotation(t *testing.T) {
	earlier, later, other := NewSecret(), NewSecret(), NewSecret()
	now, body := time.Now(), []byte("body")
	h := http.Header{}
	signer(t, later, earlier).Sign(h, "id", now, body)
	for _, c := range []struct {
		name, secret string
		now          time.Time
		body         string
		want         bool
	}{
		{"the new secret", later, now, "body", true},
		{"the old secret", earlier, now, "body", true},
		{"another secret", other, now, "body", false},
		{"another body", later, now, "Body", false},
		{"too late", later, now.Add(6 * time.Minute), "body", false},
	} {
		if err := verify(h, []byte(c.body), c.secret, c.now); (err == nil) != c.want {
			t.Errorf("%s: %v, want verified %v", c.name, err, c.want)
		}
	}
}

func TestSecretsRefused(t *testing.T) {
	short := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, minSecret-1))
	long := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, maxSecret+1))
	for _, secrets := range [][]string{nil, {""}, {NewSecret()[6:]}, {short}, {long}, {NewSecret(), "whsec_$"}} {
		_, err := NewSigner(secrets)
		if deferd.CodeOf(err) != deferd.Invalid {
			t.Errorf("%q: %v, want it invalid", secrets, err)
			continue
		}
		for _, s := range secrets {
			if s != "" && strings.Contains(err.Error(), strings.TrimPrefix(s, "whsec_")) {
				t.Errorf("the error shows the secret: %v", err)
			}
		}
	}
}

func TestNotify(t *testing.T) {
	secret := NewSecret()
	for _, c := range []struct {
		name, target string
		plain        bool
		status       int
		err          error
		want         deferd.Code
		posted, fine bool
	}{
		{name: "taken", target: "https://example.org/hook?a=b", status: 204, posted: true, fine: true},
		{name: "taken in clear", target: "http://127.0.0.1/hook", plain: true, status: 200, posted: true, fine: true},
		{name: "in clear", target: "http://127.0.0.1/hook", want: deferd.Denied},
		{name: "no URL", target: "https://", want: deferd.Invalid},
		{name: "a topic", target: "arn:aws:sns:us-east-1:000000000000:t", want: deferd.Invalid},
		{name: "redirect", target: "https://example.org", status: 302, posted: true, want: deferd.Unavailable},
		{name: "not there", target: "https://example.org", status: 404, posted: true, want: deferd.Unavailable},
		{name: "gone", target: "https://example.org", status: 410, posted: true, want: deferd.NotFound},
		{name: "too much", target: "https://example.org", status: 429, posted: true, want: deferd.Unavailable},
		{name: "broken", target: "https://example.org", status: 500, posted: true, want: deferd.Unavailable},
		{name: "not allowed", target: "https://example.org", err: deferd.Errorf(deferd.Denied, "no"), posted: true, want: deferd.Denied},
		{name: "no answer", target: "https://example.org", err: deferd.Errorf(deferd.Unavailable, "no"), posted: true, want: deferd.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				posted := false
				n := New(Config{Signer: signer(t, secret), Plain: c.plain, Post: func(_ context.Context, url string, h http.Header, body []byte) (int, error) {
					posted = true
					if err := verify(h, body, secret, time.Now()); err != nil {
						t.Error(err)
					}
					if url != c.target || string(body) != "{}" || h.Get("webhook-id") != "id" || h.Get("Content-Type") != "application/json" {
						t.Errorf("posted %q to %q with %v", body, url, h)
					}
					return c.status, c.err
				}})
				err := n.Notify(t.Context(), deferd.Notification{ID: "id", Target: c.target, Message: "{}"})
				if (err == nil) != c.fine || err != nil && deferd.CodeOf(err) != c.want || posted != c.posted {
					t.Errorf("error %v, posted %v; want code %q, posted %v", err, posted, c.want, c.posted)
				}
			})
		})
	}
}
