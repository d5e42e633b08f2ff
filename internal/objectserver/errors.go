package objectserver

import (
	"context"
	"errors"
	"io"

	"github.com/deferd/deferd"
)

// The S3 error codes that the store itself answers with.
const (
	codeNoSuchKey        = "NoSuchKey"
	codeNoSuchBucket     = "NoSuchBucket"
	codeNoSuchUpload     = "NoSuchUpload"
	codeNoSuchTagSet     = "NoSuchTagSet"
	codeNoSuchLifecycle  = "NoSuchLifecycleConfiguration"
	codeBucketExists     = "BucketAlreadyOwnedByYou"
	codeBucketNotEmpty   = "BucketNotEmpty"
	codeBucketName       = "InvalidBucketName"
	codeKeyTooLong       = "KeyTooLongError"
	codeInvalidKey       = "InvalidURI"
	codePrecondition     = "PreconditionFailed"
	codeTooLarge         = "EntityTooLarge"
	codeTooSmall         = "EntityTooSmall"
	codeIncomplete       = "IncompleteBody"
	codeInvalidPart      = "InvalidPart"
	codePartOrder        = "InvalidPartOrder"
	codeInvalidArgument  = "InvalidArgument"
	codeInvalidRange     = "InvalidRange"
	codeBadDigest        = "BadDigest"
	codeMetadataTooLarge = "MetadataTooLarge"
	codeUnavailable      = "ServiceUnavailable"
	codeInternal         = "InternalError"
)

var (
	errNoSuchKey    = deferd.Errorf(deferd.NotFound, codeNoSuchKey)
	errNoSuchBucket = deferd.Errorf(deferd.NotFound, codeNoSuchBucket)
	errNoSuchUpload = deferd.Errorf(deferd.NotFound, codeNoSuchUpload)
	errPrecondition = deferd.Errorf(deferd.Changed, codePrecondition)
	errIncomplete   = deferd.Errorf(deferd.Invalid, codeIncomplete)
	errClosed       = &deferd.Error{Code: deferd.Unavailable, Msg: codeUnavailable, Err: errors.New("object store is closed")}

	// errInDoubt says that a change was refused but may be there after a
	// restart: the disk failed in a way that left no means to take it back.
	errInDoubt = errors.New("change may come back at the next start")
)

// unavailable wraps what the disk did.
func unavailable(err error) error {
	return &deferd.Error{Code: deferd.Unavailable, Msg: codeUnavailable, Err: err}
}

// A bodyError is a failure to read what is to be stored, kept apart from what
// goes wrong on this side. It passes the reader's own error through.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// readError says what a failure to read a body means to the store's callers.
func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errIncomplete
	}
	if _, ok := errors.AsType[*deferd.Error](err); ok {
		return err // an object of ours that is being copied, or a reader that knows
	}
	return &deferd.Error{Err: &bodyError{err}}
}

// ended reports that ctx has ended, as an error of the store.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return unavailable(context.Cause(ctx))
}
