package topics

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// The signing key, and how long a certificate of it lasts. Receivers keep
// certificates by their URL, so another certificate has another one.
const (
	signingKeyName = "sns"
	keyBits        = 2048
	certificateFor = 10 * 365 * 24 * time.Hour
	renewBefore    = 30 * 24 * time.Hour
)

// A signer signs messages.
type signer struct {
	key         *rsa.PrivateKey
	certificate []byte // PEM
	path        string // where receivers find it
	expires     time.Time
}

// A storedKey is a signer as it is kept.
type storedKey struct {
	Certificate string // PEM
	Sealed      []byte // of the key, PEM
}

// A signerCache keeps the signer that was used last.
type signerCache struct {
	mu sync.Mutex // guards s, and is held while a key is made
	s  *signer
}

// certificatePrefix begins the paths of certificates.
const certificatePrefix = "/SimpleNotificationService-"

// Certificate is the certificate at a path, in PEM; false where there is none.
func (t *Topics) Certificate(ctx context.Context, path string) ([]byte, bool, error) {
	s, err := t.signerNow(ctx)
	if err != nil || s.path != path {
		return nil, false, err
	}
	return s.certificate, true, nil
}

// signerNow returns the signer, which it makes where there is none.
func (t *Topics) signerNow(ctx context.Context) (*signer, error) {
	c := &t.signer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s != nil && time.Until(c.s.expires) > renewBefore {
		return c.s, nil
	}
	stored, version, err := get[storedKey](ctx, t, kindSigningKey, signingKeyName)
	if err == nil {
		if c.s, err = t.open(stored); err != nil || time.Until(c.s.expires) > renewBefore {
			return c.s, err
		}
	}
	if err != nil && deferd.CodeOf(err) != deferd.NotFound {
		return nil, err
	}
	if stored, err = t.makeKey(); err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	if _, err := t.put(ctx, kindSigningKey, signingKeyName, version, stored); err != nil {
		return nil, fmt.Errorf("store the signing key: %w", err)
	}
	c.s, err = t.open(stored)
	return c.s, err
}

// makeKey makes a key with a certificate that it signs itself.
func (t *Topics) makeKey() (k storedKey, err error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return k, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return k, err
	}
	now, host := time.Now(), "sns."+t.Region+".amazonaws.com" // what verifiers look for
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host, Organization: []string{"deferd"}}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateFor),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return k, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return k, err
	}
	return storedKey{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Sealed:      t.Seal(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))),
	}, nil
}

// open unseals a key.
func (t *Topics) open(k storedKey) (*signer, error) {
	text, err := t.Unseal(k.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open the signing key: %w", err)
	}
	private, _ := pem.Decode([]byte(text))
	public, _ := pem.Decode([]byte(k.Certificate))
	if private == nil || public == nil {
		return nil, fmt.Errorf("open the signing key: it is damaged")
	}
	key, err := x509.ParsePKCS8PrivateKey(private.Bytes)
	if err != nil {
		return nil, fmt.Errorf("open the signing key: %w", err)
	}
	certificate, err := x509.ParseCertificate(public.Bytes)
	if err != nil {
		return nil, fmt.Errorf("open the signing certificate: %w", err)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("open the signing key: it is a %T", key)
	}
	sum := sha256.Sum256(public.Bytes)
	return &signer{
		key: rsaKey, certificate: []byte(k.Certificate), expires: certificate.NotAfter,
		path: certificatePrefix + hex.EncodeToString(sum[:16]) + ".pem",
	}, nil
}

// sign signs an envelope, which names the version of the signature.
func (s *signer) sign(e *envelope) error {
	text := []byte(e.signed())
	hash, sum := crypto.SHA1, []byte(nil)
	if e.SignatureVersion == "2" {
		digest := sha256.Sum256(text)
		hash, sum = crypto.SHA256, digest[:]
	} else {
		digest := sha1.Sum(text)
		sum = digest[:]
	}
	signature, err := rsa.SignPKCS1v15(nil, s.key, hash, sum)
	if err != nil {
		return fmt.Errorf("sign a message: %w", err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(signature)
	return nil
}

// signed is what of an envelope is signed: the names and values that it has of
// a few, in the order of the names.
func (e *envelope) signed() string {
	var b strings.Builder
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", e.Message)
	add("MessageId", e.MessageID)
	if e.Type == notification {
		if e.Subject != "" {
			add("Subject", e.Subject)
		}
		add("Timestamp", e.Timestamp)
	} else {
		add("SubscribeURL", e.SubscribeURL)
		add("Timestamp", e.Timestamp)
		add("Token", e.Token)
	}
	add("TopicArn", e.TopicARN)
	add("Type", e.Type)
	return b.String()
}
