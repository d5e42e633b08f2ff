package keyring

import (
	"context"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

const (
	// cacheLife bounds how long a key that another server deleted still works
	// here.
	cacheLife = time.Minute

	// cacheSize bounds the memory; an installation has a key for each user and
	// each running instance.
	cacheSize = 4096
)

// Lookup returns the access key id with its secret, from keys or from what an
// earlier Lookup found there less than a minute ago. Keys that are not there
// are not remembered. All calls must be given the same keys.
func (r *Keyring) Lookup(ctx context.Context, keys deferd.Keys, id string) (deferd.AccessKey, string, error) {
	found, epoch := r.cache.get(id)
	if found != nil {
		return found.key, found.secret, nil
	}
	k, err := keys.Key(ctx, id)
	if err != nil {
		return deferd.AccessKey{}, "", err
	}
	secret, err := r.Unseal(k)
	if err != nil {
		return deferd.AccessKey{}, "", err
	}
	r.cache.put(id, &unsealed{key: k, secret: secret, until: time.Now().Add(cacheLife)}, epoch)
	return k, secret, nil
}

// Forget makes the next Lookup of id read it again. It is called after a key
// was deleted or replaced; a Lookup that has begun before may still return the
// old key, but no later one does.
func (r *Keyring) Forget(id string) { r.cache.forget(id) }

// A cache holds unsealed keys for a short while.
type cache struct {
	mu      sync.Mutex // guards the rest
	entries map[string]*unsealed
	epoch   int // rises with each forget
}

// An unsealed key never changes.
type unsealed struct {
	key    deferd.AccessKey
	secret string
	until  time.Time
}

func (c *cache) get(id string) (found *unsealed, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil && time.Now().Before(e.until) {
		return e, c.epoch
	}
	return nil, c.epoch
}

// put keeps an entry that was read since epoch. If anything has been forgotten
// since then it may be what was read.
func (c *cache) put(id string, e *unsealed, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if c.entries == nil {
		c.entries = map[string]*unsealed{}
	}
	if len(c.entries) >= cacheSize {
		c.makeRoom()
	}
	c.entries[id] = e
}

// makeRoom drops what is over, or else any entry. The caller holds c.mu.
func (c *cache) makeRoom() {
	now := time.Now()
	for id, e := range c.entries {
		if !now.Before(e.until) {
			delete(c.entries, id)
		}
	}
	for id := range c.entries {
		if len(c.entries) < cacheSize {
			return
		}
		delete(c.entries, id)
	}
}

func (c *cache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, id)
	c.epoch++
}
