package faulty

import (
	"context"
	"io"
	"iter"

	"github.com/deferd/deferd"
)

// Objects wraps an object store. A Get whose call is answered may give an object
// whose body breaks off. A List that is done but not answered breaks off after
// its first object. What shows objects early still does so; a wait for them to be
// durable that fails has waited, or has not.
func (c *Cue) Objects(s deferd.ObjectStore) deferd.ObjectStore {
	if early, ok := s.(deferd.EarlyObjectStore); ok {
		return &earlyObjects{objects{s, c}, early}
	}
	return &objects{s, c}
}

type objects struct {
	deferd.ObjectStore
	cue *Cue
}

const (
	put      = "object.put"
	durable  = "object.durable"
	open     = "object.get"
	head     = "object.head"
	list     = "object.list"
	upload   = "object.upload"
	complete = "object.complete"
)

func (s *objects) Get(ctx context.Context, l deferd.Location, g deferd.GetObject) (*deferd.Object, error) {
	broken := false
	o, err := get(ctx, s.cue, open, func() (*deferd.Object, error) {
		o, err := s.ObjectStore.Get(ctx, l, g)
		if err == nil && s.cue.draw(open).how != "" {
			broken = true
		}
		return o, err
	})
	if err == nil && broken {
		o.Body = &breakingBody{o.Body, max(1, (o.Size-g.Offset)/2)}
	}
	return o, err
}

// A breakingBody ends too early.
type breakingBody struct {
	io.ReadCloser
	left int64
}

func (b *breakingBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errFault
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (s *objects) Head(ctx context.Context, l deferd.Location) (deferd.ObjectInfo, error) {
	return get(ctx, s.cue, head, func() (deferd.ObjectInfo, error) { return s.ObjectStore.Head(ctx, l) })
}

func (s *objects) List(ctx context.Context, l deferd.Location) iter.Seq2[deferd.ObjectInfo, error] {
	return func(yield func(deferd.ObjectInfo, error) bool) {
		asked := false
		fault := s.cue.run(ctx, list, func() error { asked = true; return nil })
		if !asked {
			yield(deferd.ObjectInfo{}, fault)
			return
		}
		for info, err := range s.ObjectStore.List(ctx, l) {
			if !yield(info, err) || err != nil {
				return
			}
			if fault != nil {
				break
			}
		}
		if fault != nil {
			yield(deferd.ObjectInfo{}, fault)
		}
	}
}

func (s *objects) Put(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	return s.cue.run(ctx, put, func() error { return s.ObjectStore.Put(ctx, l, a, body) })
}

func (s *objects) CreateUpload(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes) (string, error) {
	return get(ctx, s.cue, upload, func() (string, error) { return s.ObjectStore.CreateUpload(ctx, l, a) })
}

func (s *objects) UploadPart(ctx context.Context, u deferd.Upload, n int, size int64, body io.Reader) (deferd.Part, error) {
	return get(ctx, s.cue, upload, func() (deferd.Part, error) { return s.ObjectStore.UploadPart(ctx, u, n, size, body) })
}

func (s *objects) AbortUpload(ctx context.Context, u deferd.Upload) error {
	return s.cue.run(ctx, upload, func() error { return s.ObjectStore.AbortUpload(ctx, u) })
}

func (s *objects) CompleteUpload(ctx context.Context, u deferd.Upload) error {
	return s.cue.run(ctx, complete, func() error { return s.ObjectStore.CompleteUpload(ctx, u) })
}

// An earlyObjects is an object store that shows objects early.
type earlyObjects struct {
	objects
	early deferd.EarlyObjectStore
}

func (s *earlyObjects) PutEarly(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	return s.cue.run(ctx, put, func() error { return s.early.PutEarly(ctx, l, a, body) })
}

func (s *earlyObjects) AwaitDurable(ctx context.Context) error {
	return s.cue.run(ctx, durable, func() error { return s.early.AwaitDurable(ctx) })
}
