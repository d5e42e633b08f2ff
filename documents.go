package deferd

import "context"

// A Document is a small thing that a service beside the core keeps by name: a
// topic, a subscription, an alarm, a scaling policy.
type Document struct {
	Kind    DocumentKind
	Account AccountID
	Name    string // unique within kind and account
	Version int64  // the store's: 1 at creation, one more at each change
	Body    []byte // the service's own JSON
}

// A DocumentKind says which service's documents these are.
type DocumentKind string

const (
	KindTopic         DocumentKind = "topic"
	KindSubscription  DocumentKind = "subscription"
	KindAlarm         DocumentKind = "alarm"
	KindTarget        DocumentKind = "scalable-target"
	KindScalingPolicy DocumentKind = "scaling-policy"
)

// Documents keeps small documents, each changed as a whole. A change is durable
// when it returns nil. After an Unavailable error it may or may not have been
// made: who repeats it reads the document first, since a repeated creation is
// refused with Exists, a repeated change with Changed and a repeated deletion
// with NotFound. All methods may be called concurrently.
type Documents interface {
	// PutDocument stores a document and returns it with its new version. One
	// of version 0 is created, or refused with Exists. One of another version
	// replaces exactly that version: Changed where there is another,
	// NotFound where there is none.
	PutDocument(ctx context.Context, d Document) (Document, error)

	// Document reads a document, or answers NotFound.
	Document(ctx context.Context, k DocumentKind, a AccountID, name string) (Document, error)

	// DeleteDocument deletes a document, whatever its version, or answers
	// NotFound. One that is made again under the name begins at version 1.
	DeleteDocument(ctx context.Context, k DocumentKind, a AccountID, name string) error

	// Documents reads up to n documents whose names begin with prefix and come
	// after a name, in the byte order of their names.
	Documents(ctx context.Context, k DocumentKind, a AccountID, prefix, after string, n int) ([]Document, error)
}
