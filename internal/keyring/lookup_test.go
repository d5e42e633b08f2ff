package keyring

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// countingKeys is a store of keys that counts its reads.
type countingKeys struct {
	deferd.Keys
	keys  map[string]deferd.AccessKey
	reads int
	onKey func() // called before an answer, if not nil
}

func (c *countingKeys) Key(_ context.Context, id string) (deferd.AccessKey, error) {
	c.reads++
	k, ok := c.keys[id]
	if c.onKey != nil {
		c.onKey()
	}
	if !ok {
		return deferd.AccessKey{}, deferd.Errorf(deferd.NotFound, "no key %q", id)
	}
	return k, nil
}

func newKeys(r *Keyring, n int) (c *countingKeys, ids []string) {
	c = &countingKeys{keys: map[string]deferd.AccessKey{}}
	for range n {
		k, _ := r.NewKey("000000000000", "arn:user")
		c.keys[k.ID] = k
		ids = append(ids, k.ID)
	}
	return c, ids
}

func TestLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t)
		keys := &countingKeys{keys: map[string]deferd.AccessKey{}}
		k, secret := r.NewKey("000000000000", "arn:user")
		keys.keys[k.ID] = k
		for _, step := range []struct {
			name  string
			do    func()
			reads int
		}{
			{"first", func() {}, 1},
			{"again", func() {}, 1},
			{"before a minute is over", func() { time.Sleep(cacheLife - time.Nanosecond) }, 1},
			{"after a minute", func() { time.Sleep(time.Nanosecond) }, 2},
			{"after another key was forgotten", func() { r.Forget("other") }, 2},
			{"after it was forgotten", func() { r.Forget(k.ID) }, 3},
		} {
			step.do()
			got, gotSecret, err := r.Lookup(t.Context(), keys, k.ID)
			if err != nil || got.ID != k.ID || gotSecret != secret {
				t.Errorf("%s: got %s, %q, %v", step.name, got.ID, gotSecret, err)
			}
			if got, want := keys.reads, step.reads; got != want {
				t.Errorf("%s: %d reads, want %d", step.name, got, want)
			}
		}
	})
}

func TestLookupErrors(t *testing.T) {
	r := open(t)
	keys, ids := newKeys(r, 1)
	for range 2 {
		if _, _, err := r.Lookup(t.Context(), keys, "AKIANONE"); deferd.CodeOf(err) != deferd.NotFound {
			t.Errorf("unknown key: %v, want NotFound", err)
		}
	}
	if got, want := keys.reads, 2; got != want {
		t.Errorf("%d reads, want %d: what is not there may come", got, want)
	}
	k := keys.keys[ids[0]]
	k.Sealed = nil
	keys.keys[ids[0]] = k
	if _, _, err := r.Lookup(t.Context(), keys, ids[0]); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a damaged key: %v, want an error", err)
	}
}

// A key that is deleted while it is read must not come back from the cache.
func TestForgetDuringLookup(t *testing.T) {
	r := open(t)
	keys, ids := newKeys(r, 1)
	keys.onKey = func() {
		delete(keys.keys, ids[0])
		r.Forget(ids[0])
	}
	if _, _, err := r.Lookup(t.Context(), keys, ids[0]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Lookup(t.Context(), keys, ids[0]); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("after it was forgotten: %v, want NotFound", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cache{}
		add := func(n int, life time.Duration) {
			for i := range n {
				c.put(fmt.Sprint(life, i), &unsealed{until: time.Now().Add(life)}, 0)
			}
		}
		add(cacheSize, time.Second)
		add(10, time.Minute)
		if got, want := len(c.entries), cacheSize; got != want {
			t.Errorf("%d entries, want %d", got, want)
		}
		time.Sleep(time.Second)
		add(11, time.Minute)
		if got, want := len(c.entries), 11; got != want {
			t.Errorf("%d entries after the others were over, want %d", got, want)
		}
	})
}
