package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

const (
	// inputTries is how often reading the input is tried, in a row, without a
	// byte that came of it.
	inputTries = 5

	// inputSilence is how long the input may bring no byte before that counts
	// as an error.
	inputSilence = time.Minute
)

// An input reads the input of a leased invocation to its end, over whatever
// interrupts it, and holds the attempt's clock up while it waits. Close may be
// called while another goroutine reads.
type input struct {
	t    *attempt
	info deferd.ObjectInfo

	offset int64 // of the next byte; the reader's alone
	tries  int   // that failed since the last byte; the reader's alone

	mu     sync.Mutex // guards what follows
	source *source    // nil while there is none
	closed bool
	err    error // why the input cannot be read, once it is given up
}

// A source is one opened object, with a watchdog over its silence. It may be
// closed by several, also while it is read: the transport closes what it sends,
// and so does the attempt.
type source struct {
	cancel   context.CancelFunc
	watchdog *time.Timer

	mu     sync.Mutex // held over each read, and guards what follows
	body   io.ReadCloser
	closed bool
}

// errUnreadable says that an input opens, but cannot be read to its end.
var errUnreadable error = &deferd.Error{Code: deferd.Unavailable, Msg: "The input object cannot be read to its end."}

// openInput opens the input, or gives up with the error that says why.
func (t *attempt) openInput() (*input, error) {
	in := &input{t: t}
	defer in.waiting()()
	if err := in.reopen(); err != nil {
		return nil, fmt.Errorf("open input: %w", err)
	}
	return in, nil
}

// Read fails only when the input is given up, and never reports a clean end
// before the last byte.
func (in *input) Read(p []byte) (int, error) {
	if in.offset >= in.info.Size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), in.info.Size-in.offset)]
	defer in.waiting()()
	for {
		s, err := in.current()
		if err != nil {
			return 0, err
		}
		n, err := s.read(p)
		if n > 0 {
			in.offset += int64(n)
			in.tries = 0
			return n, nil // an error shows again at the next read
		}
		if err == nil {
			continue
		}
		in.drop()
		in.tries++
		if err := in.reopen(); err != nil {
			return 0, in.giveUp(fmt.Errorf("read input at %d: %w", in.offset, err))
		}
	}
}

// Close ends reading.
func (in *input) Close() error {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.drop()
	return nil
}

// failure is why the input was given up, or nil.
func (in *input) failure() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// giveUp records err, unless it only comes from the end of the request.
func (in *input) giveUp(err error) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed && in.err == nil && in.t.request.Err() == nil {
		in.err = err
	}
	return err
}

// current is the source to read from.
func (in *input) current() (*source, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, errors.New("input is closed")
	}
	if in.err != nil {
		return nil, in.err
	}
	return in.source, nil
}

// drop closes the source, if there is one.
func (in *input) drop() {
	in.mu.Lock()
	s := in.source
	in.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// reopen opens the input at the offset, as often as there are tries left. What
// is opened must be the version that was read so far.
func (in *input) reopen() error {
	var pause backoff
	last := errUnreadable
	for ; ; in.tries++ {
		if in.tries > 0 {
			// Once there is a verdict nobody waits for the rest.
			if in.tries >= inputTries || in.t.request.Err() != nil || !pause.wait(in.t.work) {
				return last
			}
		}
		o, s, err := in.open()
		switch deferd.CodeOf(err) {
		case deferd.Lost, deferd.Changed, deferd.NotFound, deferd.Denied, deferd.Invalid, deferd.TooLarge:
			return err
		}
		if err != nil {
			in.t.log.InfoContext(in.t.work, "input not opened", "offset", in.offset, "err", err)
			last = err
			continue
		}
		if in.info.ETag == "" {
			in.info = o.ObjectInfo
		}
		return in.use(s)
	}
}

// use makes s the source.
func (in *input) use(s *source) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		s.close()
		return errors.New("input is closed")
	}
	in.source = s
	return nil
}

// open asks for the input from the offset on.
func (in *input) open() (*deferd.Object, *source, error) {
	// It lives as long as the request, longer than the verdict: a container
	// that nobody waits for is still to see its request's end.
	ctx, cancel := context.WithCancel(in.t.request)
	watchdog := time.AfterFunc(inputSilence, cancel)
	o, err := in.t.agent.config.Work.Input(ctx, in.t.ID, deferd.GetObject{Offset: in.offset, IfMatch: in.info.ETag})
	watchdog.Stop()
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return o, &source{body: o.Body, cancel: cancel, watchdog: watchdog}, nil
}

// waiting holds the clock up until the function that it returns is called.
func (in *input) waiting() func() {
	began := time.Now()
	in.t.clock.pause()
	return func() {
		in.t.fetching.Add(int64(time.Since(began)))
		in.t.clock.resume()
	}
}

func (s *source) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errSourceClosed
	}
	s.watchdog.Reset(inputSilence)
	defer s.watchdog.Stop()
	return s.body.Read(p)
}

var errSourceClosed = errors.New("the input's source is closed")

// close ends a read that is under way, and then the source.
func (s *source) close() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.watchdog.Stop()
	s.body.Close() // only read from
}
