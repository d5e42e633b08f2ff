package deferd

import (
	"context"
	"io"
	"iter"
	"time"
)

// An ObjectStore keeps inputs, outcomes and model data. It is S3, embedded or
// any other; deferd uses both in one way.
//
// What a call has stored is durable when it returns, but for PutEarly of an
// EarlyObjectStore. All methods may be called
// concurrently. Nothing here retries by itself beyond what a client library
// does, and Put and CompleteUpload, which make objects visible, not even that;
// callers do. Errors are NotFound (no such key, bucket or upload), Denied,
// Invalid, TooLarge, Changed (an IfMatch that does not hold), and Unavailable
// for everything that may pass; their messages are S3's error codes, such as
// "NoSuchKey".
type ObjectStore interface {
	// Get opens an object from an offset on. The caller closes the body, which
	// fails with Unavailable if it ends early.
	Get(ctx context.Context, l Location, o GetObject) (*Object, error)

	// Head describes an object.
	Head(ctx context.Context, l Location) (ObjectInfo, error)

	// List yields the objects whose keys begin with l.Key, in key order.
	List(ctx context.Context, l Location) iter.Seq2[ObjectInfo, error]

	// Put stores a whole object, replacing what is there.
	Put(ctx context.Context, l Location, a ObjectAttributes, body []byte) error

	// CreateUpload begins a multipart upload and returns its ID. A repeat begins
	// another; the first is left to whatever clears uploads that nobody ends.
	CreateUpload(ctx context.Context, l Location, a ObjectAttributes) (string, error)

	// UploadPart stores part number n (from 1) of exactly size bytes; storing
	// it again replaces it. Parts but the last have at least 5 MiB.
	UploadPart(ctx context.Context, u Upload, n int, size int64, body io.Reader) (Part, error)

	// CompleteUpload makes the parts, in order, the object. NotFound says that
	// the upload is not there: aborted, or completed earlier. A repeat after a
	// success may succeed or be NotFound, and changes nothing: what has
	// replaced the object meanwhile stays.
	CompleteUpload(ctx context.Context, u Upload) error

	// AbortUpload drops an upload. One that is not there is no error.
	AbortUpload(ctx context.Context, u Upload) error
}

// An EarlyObjectStore can show an object before it is durable. It is for a
// caller who has what it takes to put the object again after a crash, and who
// does so before anybody else may look.
type EarlyObjectStore interface {
	ObjectStore

	// PutEarly is Put, but may return as soon as the object is visible: to every
	// Get, Head and List, to conditions, and to whatever changes it next. A crash
	// may take it back, whole, as long as AwaitDurable has not answered for it;
	// then there is what it replaced, as if it had never been put. Nothing else takes
	// it back: where it cannot be made durable now it stays visible, and is tried
	// again. An error says, as of Put, that it may or may not be there.
	//
	// A change of the same key that begins after PutEarly has returned follows
	// it also after a crash: where that change is there, the early one was.
	PutEarly(ctx context.Context, l Location, a ObjectAttributes, body []byte) error

	// AwaitDurable waits until all that is visible when it is called is durable.
	// It hurries nothing: it waits for a sync that comes within a moment anyhow,
	// and that is shared by all who wait. After an error, calling it again waits
	// for the next try.
	AwaitDurable(ctx context.Context) error
}

// GetObject says which part of which version of an object is wanted.
type GetObject struct {
	Offset  int64
	IfMatch string // an ETag; "" for whatever is there
}

// ObjectAttributes are what an object says of itself beside its bytes.
type ObjectAttributes struct {
	ContentType string
	Metadata    map[string]string // user metadata, names in lower case without "x-amz-meta-"
}

// ObjectInfo describes an object.
type ObjectInfo struct {
	ObjectAttributes
	Key      string
	Size     int64 // of the whole object
	ETag     string
	Modified time.Time
}

// An Object is an open object.
type Object struct {
	ObjectInfo
	Body io.ReadCloser // from the wanted offset to the end
}

// An Upload is a multipart upload, with the parts that make the object.
type Upload struct {
	Location Location
	ID       string
	Parts    []Part // in order; empty until it is to be completed
}

// A Part is one stored part of an upload.
type Part struct {
	Number int
	ETag   string
	Size   int64
}
