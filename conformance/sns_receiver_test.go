package conformance

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// A posted is a request that a receiver got.
type posted struct {
	path   string
	header http.Header
	body   []byte
}

// A receiver is the endpoint of subscriptions. It keeps what it takes.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex // guards the rest
	status int
	got    []posted
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.status == http.StatusOK {
			r.got = append(r.got, posted{req.URL.Path, req.Header, body})
		}
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// at returns what was posted to a path.
func (r *receiver) at(path string) (found []posted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.got {
		if p.path == path {
			found = append(found, p)
		}
	}
	return found
}

// await waits for the n-th post to a path, from 1.
func (r *receiver) await(t *testing.T, path string, n int) posted {
	t.Helper()
	await(t, fmt.Sprintf("message %d at %s", n, path), func() bool { return len(r.at(path)) >= n })
	return r.at(path)[n-1]
}

// envelope reads a message and verifies it as AWS's validators do.
func (p posted) envelope(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(p.body, &m); err != nil {
		t.Fatalf("read the message: %v\n%s", err, p.body)
	}
	text := func(name string) string {
		s, _ := m[name].(string)
		return s
	}
	signed := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if text("Type") != "Notification" {
		signed = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var canonical strings.Builder
	for _, name := range signed {
		if _, is := m[name]; is {
			canonical.WriteString(name + "\n" + text(name) + "\n")
		}
	}
	signature, err := base64.StdEncoding.DecodeString(text("Signature"))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(certificate(t, text("SigningCertURL")), text("SignatureVersion"), canonical.String(), signature); err != nil {
		t.Errorf("the signature of %s: %v", p.body, err)
	}
	if got, want := p.header.Get("x-amz-sns-message-type"), text("Type"); got != want {
		t.Errorf("x-amz-sns-message-type is %q, want %q", got, want)
	}
	if got, want := p.header.Get("x-amz-sns-message-id"), text("MessageId"); got != want {
		t.Errorf("x-amz-sns-message-id is %q, want %q", got, want)
	}
	return m
}

func certificate(t *testing.T, url string) *x509.Certificate {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s answers %s:\n%s", url, resp.Status, text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func verify(cert *x509.Certificate, version, canonical string, signature []byte) error {
	key := cert.PublicKey.(*rsa.PublicKey)
	switch version {
	case "1":
		sum := sha1.Sum([]byte(canonical))
		return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
	case "2":
		sum := sha256.Sum256([]byte(canonical))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	}
	return fmt.Errorf("version %q", version)
}

// follow gets a link without a signature, as receivers do.
func follow(t *testing.T, url any) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprint(url))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s (%v):\n%s", url, resp.Status, err, body)
	}
	return string(body)
}

// verifyWebhook checks the headers of Standard Webhooks.
func verifyWebhook(p posted, secret string) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", p.header.Get("webhook-id"), p.header.Get("webhook-timestamp"), p.body)
	if got, want := p.header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		return fmt.Errorf("webhook-signature is %q, want %q", got, want)
	}
	return nil
}
