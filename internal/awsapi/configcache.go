package awsapi

import (
	"context"
	"sync"

	"github.com/deferd/deferd"
)

// A configCache keeps configurations, of which only the tags ever change, so
// that an invocation costs no look-up of its own. Nobody may ask it for tags.
type configCache struct {
	load func(context.Context, deferd.ConfigID) (deferd.Config, error)

	mu   sync.RWMutex
	byID map[deferd.ConfigID]deferd.Config // guarded by mu
}

// maxConfigs bounds the cache. Beyond it, all are forgotten and read again.
const maxConfigs = 4096

func (c *configCache) get(ctx context.Context, id deferd.ConfigID) (deferd.Config, error) {
	c.mu.RLock()
	config, ok := c.byID[id]
	c.mu.RUnlock()
	if ok {
		return config, nil
	}
	config, err := c.load(ctx, id)
	if err != nil {
		return deferd.Config{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil || len(c.byID) >= maxConfigs {
		c.byID = make(map[deferd.ConfigID]deferd.Config)
	}
	c.byID[id] = config
	return config, nil
}
