package bothways

import (
	"bytes"
	"context"
	"io"

	"github.com/deferd/deferd"
)

// objects are the real ones behind a border where calls fail, and where refuse
// may say no. What is done on the other side of it goes into the record.
type objects struct {
	deferd.ObjectStore
	*faults
	record *record
	refuse func(deferd.Location) error // puts and completions; nil: none
}

func (o *objects) Get(ctx context.Context, l deferd.Location, g deferd.GetObject) (*deferd.Object, error) {
	obj, err := do(ctx, o.faults, "objects.Get", l.Key, func(ctx context.Context) (*deferd.Object, error) {
		return o.ObjectStore.Get(ctx, l, g)
	})
	if err == nil && o.next("objects.Get's body", l.Key) != answered {
		// There is one way to fail for a body that is being read.
		obj.Body = &brokenBody{obj.Body, obj.Size / 2, o.err}
	}
	return obj, err
}

// A brokenBody breaks off.
type brokenBody struct {
	io.ReadCloser
	left int64
	err  error
}

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (o *objects) Head(ctx context.Context, l deferd.Location) (deferd.ObjectInfo, error) {
	return do(ctx, o.faults, "objects.Head", l.Key, func(ctx context.Context) (deferd.ObjectInfo, error) {
		return o.ObjectStore.Head(ctx, l)
	})
}

func (o *objects) Put(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	return o.put(ctx, l, a, body, o.ObjectStore.Put)
}

func (o *objects) put(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte,
	put func(context.Context, deferd.Location, deferd.ObjectAttributes, []byte) error) error {
	return try(ctx, o.faults, "objects.Put", l.Key, func(ctx context.Context) error {
		if o.refuse != nil && o.refuse(l) != nil {
			return o.refuse(l)
		}
		err := put(ctx, l, a, body)
		if err == nil {
			o.record.put(l, a, body)
		}
		return err
	})
}

func (o *objects) CreateUpload(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes) (string, error) {
	return do(ctx, o.faults, "objects.CreateUpload", l.Key, func(ctx context.Context) (string, error) {
		id, err := o.ObjectStore.CreateUpload(ctx, l, a)
		if err == nil {
			o.record.upload(id, a.Metadata[mark])
		}
		return id, err
	})
}

func (o *objects) UploadPart(ctx context.Context, u deferd.Upload, n int, size int64, body io.Reader) (deferd.Part, error) {
	switch {
	case o.step != "objects.UploadPart":
		return o.ObjectStore.UploadPart(ctx, u, n, size, body)
	case o.way == late:
		b, err := io.ReadAll(body) // what is on its way
		if err != nil {
			return deferd.Part{}, err
		}
		body = bytes.NewReader(b)
	}
	return do(ctx, o.faults, "objects.UploadPart", u.ID+string(rune('0'+n)), func(ctx context.Context) (deferd.Part, error) {
		return o.ObjectStore.UploadPart(ctx, u, n, size, body)
	})
}

func (o *objects) CompleteUpload(ctx context.Context, u deferd.Upload) error {
	return try(ctx, o.faults, "objects.CompleteUpload", u.ID, func(ctx context.Context) error {
		if o.refuse != nil && o.refuse(u.Location) != nil {
			return o.refuse(u.Location)
		}
		err := o.ObjectStore.CompleteUpload(ctx, u)
		if err == nil {
			o.record.completed(u)
		}
		return err
	})
}

func (o *objects) AbortUpload(ctx context.Context, u deferd.Upload) error {
	return try(ctx, o.faults, "objects.AbortUpload", u.ID, func(ctx context.Context) error {
		err := o.ObjectStore.AbortUpload(ctx, u)
		if err == nil {
			o.record.aborted(u)
		}
		return err
	})
}

// earlyObjects are those that can be seen before they are durable.
type earlyObjects struct {
	*objects
	early deferd.EarlyObjectStore
}

func (o *earlyObjects) PutEarly(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	return o.put(ctx, l, a, body, o.early.PutEarly)
}

func (o *earlyObjects) AwaitDurable(ctx context.Context) error {
	return try(ctx, o.faults, "objects.AwaitDurable", "", o.early.AwaitDurable)
}
