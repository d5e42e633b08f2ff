package agent

import (
	"context"
	"sync"
	"testing"
	"time"
)

// strictBody is for one caller at a time: the race detector sees to that.
type strictBody struct {
	ctx    context.Context
	reads  int
	closes int
}

// Read brings a byte, until its context ends.
func (b *strictBody) Read(p []byte) (int, error) {
	b.reads++
	if b.reads > 100 {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	p[0] = 'x'
	return 1, nil
}

func (b *strictBody) Close() error { b.closes++; return nil }

// TestSourceIsClosedByMany closes a source while it is read and the read waits:
// the transport and the attempt both do.
func TestSourceIsClosedByMany(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	body := &strictBody{ctx: ctx}
	s := &source{body: body, cancel: cancel, watchdog: time.AfterFunc(time.Hour, cancel)}
	var wg sync.WaitGroup
	reading := make(chan struct{})
	wg.Go(func() {
		p := make([]byte, 8)
		for n := 0; ; n++ {
			if n == 50 {
				close(reading)
			}
			if _, err := s.read(p); err != nil {
				return
			}
		}
	})
	<-reading
	for range 4 {
		wg.Go(s.close)
	}
	wg.Wait()
	if body.closes != 1 {
		t.Errorf("the body was closed %d times, want once", body.closes)
	}
	if _, err := s.read(make([]byte, 1)); err != errSourceClosed {
		t.Errorf("a read afterwards returns %v", err)
	}
}
