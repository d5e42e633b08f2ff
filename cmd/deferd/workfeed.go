package main

import (
	"sync"
	"sync/atomic"

	"github.com/deferd/deferd"
)

// A workFeed is a store that tells several parts of new work.
type workFeed struct {
	deferd.Store
	once  sync.Once
	mu    sync.Mutex // held while one is added
	heard atomic.Pointer[[]func(deferd.EndpointID)]
}

func (f *workFeed) OnWork(hear func(deferd.EndpointID)) {
	f.mu.Lock()
	var all []func(deferd.EndpointID)
	if before := f.heard.Load(); before != nil {
		all = append(all, *before...)
	}
	all = append(all, hear)
	f.heard.Store(&all)
	f.mu.Unlock()
	f.once.Do(func() { f.Store.OnWork(f.tell) })
}

func (f *workFeed) tell(e deferd.EndpointID) {
	for _, hear := range *f.heard.Load() {
		hear(e)
	}
}
