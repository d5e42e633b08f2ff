package topics

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// certificate is the one at a URL in a message.
func (x *fixture) certificate(t *testing.T, url string) *x509.Certificate {
	t.Helper()
	text, found, err := x.Certificate(t.Context(), strings.TrimPrefix(url, x.URL))
	must(t, err)
	block, _ := pem.Decode(text)
	if !found || block == nil {
		t.Fatalf("there is no certificate at %s", url)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return cert
}

// TestSignature verifies what was sent by the rules that SNS's documents give
// for it: names and values of the members, in the order of the names.
func TestSignature(t *testing.T) {
	for _, c := range []struct {
		name, version string
		subject       string
		signed        string
	}{
		{"SHA-1", "1", "", "Message\ntext\nMessageId\nID\nTimestamp\nTIME\nTopicArn\nARN\nType\nNotification\n"},
		{"SHA-256", "2", "", "Message\ntext\nMessageId\nID\nTimestamp\nTIME\nTopicArn\nARN\nType\nNotification\n"},
		{"with a subject", "2", "s", "Message\ntext\nMessageId\nID\nSubject\ns\nTimestamp\nTIME\nTopicArn\nARN\nType\nNotification\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, x *fixture) {
				x.subscribe(t, "http://a")
				must(t, x.SetTopicAttribute(t.Context(), "t", "SignatureVersion", c.version))
				_, err := x.Publish(t.Context(), "t", deferd.Message{Text: "text", Subject: c.subject})
				must(t, err)
				var e envelope
				must(t, json.Unmarshal([]byte(x.at("http://a")[0].body), &e))
				text := strings.NewReplacer("ID\n", e.MessageID+"\n", "TIME", e.Timestamp, "ARN", x.ARN("t", "")).Replace(c.signed)
				signature, err := base64.StdEncoding.DecodeString(e.Signature)
				must(t, err)
				key := x.certificate(t, e.SigningCertURL).PublicKey.(*rsa.PublicKey)
				one, two := sha1.Sum([]byte(text)), sha256.Sum256([]byte(text))
				if c.version == "1" {
					err = rsa.VerifyPKCS1v15(key, crypto.SHA1, one[:], signature)
				} else {
					err = rsa.VerifyPKCS1v15(key, crypto.SHA256, two[:], signature)
				}
				if err != nil || e.SignatureVersion != c.version {
					t.Errorf("version %s: %v, of %q", e.SignatureVersion, err, text)
				}
			})
		})
	}
}

// TestKeyIsKept makes a key once, whoever asks, and for all lives to come.
func TestKeyIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		must(t, x.store.DeleteDocument(t.Context(), kindSigningKey, account, signingKeyName))
		paths := make([]string, 4)
		var wg sync.WaitGroup
		for i := range paths {
			wg.Go(func() {
				s, err := x.signerNow(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				paths[i] = s.path
			})
		}
		wg.Wait()
		x.stop()
		x.live(t, x.store)
		s, err := x.signerNow(t.Context())
		must(t, err)
		for _, p := range paths {
			if p != s.path {
				t.Errorf("a certificate was at %s, and is at %s", p, s.path)
			}
		}
		if _, found, err := x.Certificate(t.Context(), s.path+"x"); found || err != nil {
			t.Errorf("there is a certificate elsewhere too (%v)", err)
		}
		d, err := x.store.Document(t.Context(), kindSigningKey, account, signingKeyName)
		must(t, err)
		if bytes.Contains(d.Body, []byte("PRIVATE KEY")) {
			t.Error("the store has the key in clear")
		}
	})
}

// TestKeyIsRenewed waits until a certificate is about to run out.
func TestKeyIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		first, err := x.signerNow(t.Context())
		must(t, err)
		time.Sleep(time.Until(first.expires.Add(-renewBefore - time.Hour)))
		if same, err := x.signerNow(t.Context()); err != nil || same.path != first.path {
			t.Errorf("an hour too early it is at %s (%v), want %s", same.path, err, first.path)
		}
		time.Sleep(2 * time.Hour)
		x.subscribe(t, "http://a")
		x.publish(t, "text")
		var e envelope
		must(t, json.Unmarshal([]byte(x.at("http://a")[0].body), &e))
		cert := x.certificate(t, e.SigningCertURL)
		if strings.HasSuffix(e.SigningCertURL, first.path) || time.Until(cert.NotAfter) < certificateFor-time.Hour {
			t.Errorf("a message has %s, which lasts until %v; want another one", e.SigningCertURL, cert.NotAfter)
		}
	})
}

// TestLostKey has the secret that seals the key replaced: nothing is lost, and
// messages wait until it is back.
func TestLostKey(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		x.subscribe(t, "http://a")
		x.stop()
		x.signer.s = nil
		var back atomic.Bool
		x.Unseal = func(sealed []byte) (string, error) {
			if !back.Load() {
				return "", errors.New("another secret")
			}
			return unseal(sealed)
		}
		x.run(t)
		id := x.publish(t, "text")
		x.wantLeft(t, 1)
		if posts := x.at("http://a"); len(posts) != 0 {
			t.Errorf("%d messages came, which nobody can have signed", len(posts))
		}
		back.Store(true)
		time.Sleep(longestWait)
		wantIDs(t, x.at("http://a"), id)
	})
}

// TestHeaders holds what is posted beside the message.
func TestHeaders(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		s := x.subscribe(t, "http://a")[0]
		x.Sign = func(h http.Header, id string, now time.Time, body []byte) { h.Set("signed", id+" "+string(body[:1])) }
		id := x.publish(t, "text")
		must(t, x.SetSubscriptionAttribute(t.Context(), "t", s.ID, "RawMessageDelivery", "true"))
		x.at("http://a")
		raw := x.publish(t, "text")
		posts := x.at("http://a")
		if len(posts) != 2 || posts[1].body != "text" {
			t.Fatalf("posts are %v, want an envelope and a bare message", posts)
		}
		for i, want := range []map[string]string{
			{"x-amz-sns-message-id": id, "x-amz-sns-rawdelivery": "", "signed": id + " {"},
			{"x-amz-sns-message-id": raw, "x-amz-sns-rawdelivery": "true", "signed": raw + " t"},
		} {
			want["x-amz-sns-message-type"], want["x-amz-sns-topic-arn"], want["x-amz-sns-subscription-arn"] = "Notification", x.ARN("t", ""), x.ARN("t", s.ID)
			for name, value := range want {
				if got := posts[i].header.Get(name); got != value {
					t.Errorf("post %d: %s is %q, want %q", i+1, name, got, value)
				}
			}
		}
	})
}
