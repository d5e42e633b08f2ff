package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/deferd/deferd"
)

const (
	// partSize is the size of the parts of an answer that is too large for a
	// settle. A slot has at most one in memory; S3 takes 10,000 parts of at
	// least 5 MiB, so the largest answer fits many times.
	partSize = 8 << 20

	// storePatience is how long storing a part of an answer is tried while the
	// answer waits, and storeLimit how long one try may take.
	storePatience = 10 * time.Minute
	storeLimit    = 2 * time.Minute
)

// errTooLarge says that a model answered more than it may.
var errTooLarge = errors.New("the answer is too large")

// A storeError is one of the store that an answer is staged in, in contrast to
// one of the model that gives it.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func isStoreError(err error) bool {
	_, ok := errors.AsType[*storeError](err)
	return ok
}

// stage takes the answer to its end: what fits goes into the outcome, the rest
// into an upload. Quote is the beginning of an answer that is a failure.
func (t *attempt) stage(o deferd.Outcome, resp *http.Response) (staged deferd.Outcome, quote string, err error) {
	if resp.ContentLength > deferd.MaxInput {
		return o, "", errTooLarge
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, deferd.MaxStaged+1))
	if err != nil {
		return o, "", fmt.Errorf("read answer: %w", err)
	}
	if o.State != deferd.Completed {
		quote = string(head[:min(len(head), maxQuote)])
	}
	if len(head) <= deferd.MaxStaged {
		o.Body, o.Size = head, int64(len(head))
		return o, quote, nil
	}
	o.Upload, o.Size, err = t.stageLarge(o, io.MultiReader(bytes.NewReader(head), resp.Body))
	return o, quote, err
}

// stageLarge stores an answer in parts. Where it has nowhere to go it is read
// and dropped, and the upload is nil.
func (t *attempt) stageLarge(o deferd.Outcome, body io.Reader) (*deferd.Upload, int64, error) {
	upload, err := t.beginUpload(o)
	if err != nil {
		return nil, 0, err
	}
	if upload == nil {
		n, err := io.Copy(io.Discard, io.LimitReader(body, deferd.MaxInput+1))
		if err != nil {
			return nil, 0, fmt.Errorf("read answer: %w", err)
		}
		if n > deferd.MaxInput {
			return nil, 0, errTooLarge
		}
		return nil, n, nil
	}
	buf := t.agent.buffers.Get().(*[partSize]byte)
	var size int64
	for end := false; !end; {
		var n int
		n, end, err = fill(body, buf[:])
		if err != nil {
			return nil, 0, fmt.Errorf("read answer: %w", err)
		}
		if n == 0 {
			break
		}
		size += int64(n)
		if size > deferd.MaxInput {
			return nil, 0, errTooLarge
		}
		part, err := t.storePart(*upload, len(upload.Parts)+1, buf[:n])
		if err != nil {
			return nil, 0, err
		}
		upload.Parts = append(upload.Parts, part)
	}
	// Only now: a call that was given up could still be looking at it.
	t.agent.buffers.Put(buf)
	return upload, size, nil
}

// beginUpload makes the upload that an answer goes to; nil for nowhere.
func (t *attempt) beginUpload(o deferd.Outcome) (*deferd.Upload, error) {
	a := deferd.ObjectAttributes{ContentType: o.ContentType, Metadata: o.Metadata}
	var upload *deferd.Upload
	err := t.store("begin upload", func(ctx context.Context) (err error) {
		upload, err = t.agent.config.Work.Upload(ctx, t.ID, o.State == deferd.Completed, a)
		return err
	})
	if err != nil || upload == nil {
		return nil, err
	}
	return &deferd.Upload{Location: upload.Location, ID: upload.ID}, nil
}

func (t *attempt) storePart(u deferd.Upload, n int, data []byte) (deferd.Part, error) {
	u.Parts = nil // a part's upload is named by location and ID
	var part deferd.Part
	err := t.store("upload part", func(ctx context.Context) (err error) {
		part, err = t.agent.config.Work.UploadPart(ctx, t.ID, u, n, int64(len(data)), bytes.NewReader(data))
		return err
	})
	return part, err
}

// store makes a call that stores something of the answer, again and again while
// there is patience, and holds the attempt's clock up meanwhile.
func (t *attempt) store(what string, call func(context.Context) error) error {
	began := time.Now()
	t.clock.pause()
	defer func() {
		t.storing.Add(int64(time.Since(began)))
		t.clock.resume()
	}()
	ctx, cancel := context.WithTimeout(t.work, storePatience)
	defer cancel()
	if err := t.agent.insist(ctx, what, storeLimit, call); err != nil {
		return &storeError{err}
	}
	return nil
}

// fill reads until p is full or r has ended, which end reports. Unlike
// io.ReadFull it keeps an end apart from a reader that broke off.
func fill(r io.Reader, p []byte) (n int, end bool, err error) {
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}
