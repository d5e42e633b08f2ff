package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"strings"
	"sync"
)

// A signingKey signs what belongs to one scope. It may be used concurrently.
type signingKey struct {
	key  []byte
	macs sync.Pool // of hash.Hash
}

// sign appends the signature of a message to dst.
func (k *signingKey) sign(dst, message []byte) []byte {
	mac, ok := k.macs.Get().(hash.Hash)
	if !ok {
		mac = hmac.New(sha256.New, k.key)
	}
	mac.Write(message)
	dst = mac.Sum(dst)
	mac.Reset()
	k.macs.Put(mac)
	return dst
}

// derive makes the signing key of a secret for a scope.
func derive(secret, day, region, service string) *signingKey {
	key := []byte("AWS4" + secret)
	for _, part := range [...]string{day, region, service, terminator} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return &signingKey{key: key}
}

// maxCached is how many signing keys are kept at least while all are in use;
// twice as many at most. One takes about a kilobyte with what it has pooled.
const maxCached = 1024

// A keyCache keeps signing keys in two generations: when the young one is full
// it becomes the old one, and what is still used comes back from there.
type keyCache struct {
	mu         sync.Mutex // guards both generations
	young, old map[keyID]*signingKey
}

// A keyID holds everything that a signing key is made from, the secret too, so
// that one which was replaced is not found any more.
type keyID struct{ secret, day, region, service string }

// get returns the signing key of a secret for a scope.
func (c *keyCache) get(secret string, s Scope) *signingKey {
	id := keyID{secret, s.Day, s.Region, s.Service}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.young[id]; ok {
		return k
	}
	k, ok := c.old[id]
	if !ok {
		k = derive(secret, s.Day, s.Region, s.Service)
		// The strings are parts of a request's header, which need not stay.
		id = keyID{strings.Clone(secret), strings.Clone(s.Day), strings.Clone(s.Region), strings.Clone(s.Service)}
	}
	if c.young == nil || len(c.young) >= maxCached {
		c.old, c.young = c.young, make(map[keyID]*signingKey)
	}
	c.young[id] = k
	return k
}
