package modeldata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/deferd/deferd"
)

const (
	// resumes is how often in a row a read may break, without a byte in
	// between, before it is given up.
	resumes   = 4
	firstWait = 500 * time.Millisecond // doubled each time
)

// A source reads an object and goes on where a read broke.
type source struct {
	ctx     context.Context // of the Fetch that it is a part of
	fetcher *Fetcher
	at      deferd.Location
	body    io.ReadCloser // nil after it broke
	etag    string
	offset  int64
	broken  int   // in a row
	err     error // why reading ended, other than io.EOF
}

// open opens an object for reading.
func (f *Fetcher) open(ctx context.Context, l deferd.Location) (*source, error) {
	s := &source{ctx: ctx, fetcher: f, at: l}
	for {
		err := s.connect()
		if err == nil {
			return s, nil
		}
		if err = s.pause(err); err != nil {
			return nil, err
		}
	}
}

func (s *source) connect() error {
	object, err := s.fetcher.Objects.Get(s.ctx, s.at, deferd.GetObject{Offset: s.offset, IfMatch: s.etag})
	if err != nil {
		return err
	}
	s.body, s.etag = object.Body, object.ETag
	return nil
}

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	for s.err == nil {
		if s.ctx.Err() != nil {
			s.err = context.Cause(s.ctx)
			break
		}
		n, err := s.read(p)
		s.offset += int64(n)
		switch {
		case n > 0:
			s.broken = 0
			return n, nil
		case errors.Is(err, io.EOF):
			return 0, io.EOF
		case err != nil:
			s.err = s.pause(err)
		}
	}
	return 0, s.err
}

func (s *source) read(p []byte) (int, error) {
	if s.body == nil {
		return 0, s.connect()
	}
	n, err := s.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = s.body.Close()
		s.body = nil
		if n > 0 {
			err = nil // connect again at the next read
		}
	}
	return n, err
}

// pause returns nil after a while if what broke may pass, and otherwise the
// error to give up with.
func (s *source) pause(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if code := deferd.CodeOf(err); code != deferd.Unavailable && code != deferd.Internal || s.broken == resumes {
		return s.fetcher.explain(err, s.at)
	}
	wait := time.NewTimer(firstWait << s.broken)
	defer wait.Stop()
	s.broken++
	select {
	case <-wait.C:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// Close ends reading.
func (s *source) Close() {
	if s.body != nil {
		_ = s.body.Close() // everything that was wanted has been read
	}
}

// explain says what an error of the object store means to the model's owner.
func (f *Fetcher) explain(err error, l deferd.Location) error {
	code := deferd.CodeOf(err)
	message := "it cannot be read"
	switch code {
	case deferd.NotFound:
		message = "it does not exist"
	case deferd.Denied:
		message = "access to it is denied"
	case deferd.Changed:
		message = "it was replaced while it was being read"
	}
	detail := ""
	if e, ok := errors.AsType[*deferd.Error](err); ok && e.Msg != "" {
		detail = " (" + e.Msg + ")"
	}
	return &deferd.Error{Code: code, Msg: fmt.Sprintf("model data %s: %s%s", l, message, detail), Err: err}
}

// isLocalTrouble reports whether this host, not the data, is the reason for an
// error of the file system.
func isLocalTrouble(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.EACCES} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
