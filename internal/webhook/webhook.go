// Package webhook delivers notifications to URLs, signed by the rules of
// Standard Webhooks.
//
// Each request has three headers: webhook-id, the same whenever a notification
// is sent again; webhook-timestamp, the time of this attempt; and
// webhook-signature, an HMAC-SHA256 over both and the body for each secret, so
// that a secret can be replaced while receivers know either.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// secretPrefix begins every secret; base64 follows.
const secretPrefix = "whsec_"

// What a secret may be long, in bytes.
const (
	minSecret = 24
	maxSecret = 64
)

// NewSecret draws a secret.
func NewSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

// A Signer signs requests with each of its secrets.
type Signer struct{ keys [][]byte }

// NewSigner returns a signer with secrets as they are written: whsec_ and
// base64 of 24 to 64 bytes. There must be one. No error shows a secret.
func NewSigner(secrets []string) (*Signer, error) {
	if len(secrets) == 0 {
		return nil, deferd.Errorf(deferd.Invalid, "there is no webhook secret")
	}
	s := &Signer{}
	for i, text := range secrets {
		digits, prefixed := strings.CutPrefix(strings.TrimSpace(text), secretPrefix)
		key, err := base64.StdEncoding.DecodeString(digits)
		if err != nil || !prefixed || len(key) < minSecret || len(key) > maxSecret {
			return nil, deferd.Errorf(deferd.Invalid, "webhook secret %d is not %s and %d to %d bytes in base64", i+1, secretPrefix, minSecret, maxSecret)
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// Sign adds the headers of Standard Webhooks for a body that is sent now.
func (s *Signer) Sign(h http.Header, id string, now time.Time, body []byte) {
	at := strconv.FormatInt(now.Unix(), 10)
	signatures := make([]string, len(s.keys))
	for i, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + at + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", at)
	h.Set("webhook-signature", strings.Join(signatures, " "))
}

var _ deferd.Notifier = (*Notifier)(nil)

// Config is what a Notifier works with.
type Config struct {
	Signer *Signer

	// Post sends a body and returns the status of the answer. Denied and
	// Invalid are final, Unavailable is not.
	Post func(ctx context.Context, url string, h http.Header, body []byte) (status int, err error)

	// Plain allows http:// URLs, whose notifications anybody on the way can read.
	Plain bool
}

// A Notifier delivers notifications whose target is a URL. It tries once.
type Notifier struct{ Config }

// New returns a notifier.
func New(c Config) *Notifier { return &Notifier{c} }

// Notify posts a notification's message. An answer other than 2xx is a failure,
// a redirect too, and is to be tried again: a receiver that is being deployed
// may well answer 404. Only 410 says that it wants no more.
func (n *Notifier) Notify(ctx context.Context, m deferd.Notification) error {
	u, err := url.Parse(m.Target)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return deferd.Errorf(deferd.Invalid, "the webhook is not a URL")
	}
	if u.Scheme == "http" && !n.Plain {
		return deferd.Errorf(deferd.Denied, "the webhook's URL is not an https:// one")
	}
	body := []byte(m.Message)
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"deferd"}}
	n.Signer.Sign(h, m.ID, time.Now(), body)
	status, err := n.Post(ctx, m.Target, h, body)
	switch {
	case err != nil:
		return err
	case status == http.StatusGone:
		return deferd.Errorf(deferd.NotFound, "the webhook is gone")
	case status < 200 || status > 299:
		return deferd.Errorf(deferd.Unavailable, "the webhook answered %d", status)
	}
	return nil
}
