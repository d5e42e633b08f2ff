// Package keyring mints access keys and seals their secrets, which a signature
// cannot be verified without, so that a stolen store alone opens nothing.
//
// A sealed secret is AES-256-GCM under the installation's own key, bound to the
// ID of the access key that it belongs to: it cannot be moved to another one.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/deferd/deferd"
)

// A Keyring seals and unseals secrets. It is safe for concurrent use.
type Keyring struct {
	aead  cipher.AEAD
	cache cache
}

// sealVersion begins every sealed secret, so that another way of sealing can
// be told from this one.
const sealVersion = 1

func newKeyring(key []byte) (*Keyring, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make keyring: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make keyring: %w", err)
	}
	return &Keyring{aead: aead}, nil
}

// Seal encrypts the secret of the access key id. Each call gives another result.
func (r *Keyring) Seal(id, secret string) []byte {
	return r.aead.Seal([]byte{sealVersion}, nil, []byte(secret), boundTo(id))
}

// Unseal returns the secret of k. It fails where k was sealed with another
// key, or for another ID.
func (r *Keyring) Unseal(k deferd.AccessKey) (string, error) {
	if len(k.Sealed) == 0 || k.Sealed[0] != sealVersion {
		return "", fmt.Errorf("unseal access key %s: its secret is sealed in an unknown way", k.ID)
	}
	secret, err := r.aead.Open(nil, nil, k.Sealed[1:], boundTo(k.ID))
	if err != nil {
		return "", fmt.Errorf("unseal access key %s: its secret was sealed with another secret key than this server's", k.ID)
	}
	return string(secret), nil
}

// boundTo is the data that a sealed secret is authenticated with.
func boundTo(id string) []byte { return []byte("deferd access key " + id) }

// Minted keys look like AWS's, whose shape tools check.
const (
	lastingPrefix = "AKIA"
	sessionPrefix = "ASIA"
	idAlphabet    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	idLength      = 16 // after the prefix: 80 bits

	// No "/" and "+", which AWS has too: they get lost in URLs and shells.
	secretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	secretLength   = 40 // 238 bits
	tokenLength    = 64
)

// NewKey mints a lasting access key of a principal. Nothing is stored; k has
// the secret sealed.
func (r *Keyring) NewKey(account deferd.AccountID, arn string) (k deferd.AccessKey, secret string) {
	return r.mint(lastingPrefix, account, arn)
}

// NewSession mints an access key with a session token, for use with one
// service only unless service is "".
func (r *Keyring) NewSession(account deferd.AccountID, arn, service string) (k deferd.AccessKey, secret string) {
	k, secret = r.mint(sessionPrefix, account, arn)
	k.Token, k.Service = draw(secretAlphabet, tokenLength), service
	return k, secret
}

func (r *Keyring) mint(prefix string, account deferd.AccountID, arn string) (deferd.AccessKey, string) {
	id, secret := prefix+draw(idAlphabet, idLength), draw(secretAlphabet, secretLength)
	return deferd.AccessKey{
		ID:      id,
		Account: account,
		ARN:     arn,
		Sealed:  r.Seal(id, secret),
		Created: time.Now().UTC(),
	}, secret
}

// draw returns n random characters of an alphabet, all equally likely.
func draw(alphabet string, n int) string {
	// Bytes from fair on would make the first characters likelier.
	fair := 256 - 256%len(alphabet)
	drawn := make([]byte, 0, n)
	for buffer := make([]byte, n); len(drawn) < n; {
		_, _ = rand.Read(buffer) // never fails
		for _, b := range buffer {
			if int(b) < fair && len(drawn) < n {
				drawn = append(drawn, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(drawn)
}
