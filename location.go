package deferd

import (
	"strings"
)

// A Location names an S3 object as s3://bucket/key. The key is literal: it is
// never percent-decoded, and "..", "." and "//" are ordinary characters of it.
// The zero Location names nothing.
type Location struct {
	Bucket string
	Key    string // without a leading slash; may be empty where a prefix is meant
}

// maxKey is the longest key that S3 takes, in bytes.
const maxKey = 1024

// ParseLocation reads an s3:// URI. Locations given as https:// URLs depend on
// the installation's S3 and are read by the API, which knows it.
func ParseLocation(uri string) (Location, error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	if !ok {
		return Location{}, Errorf(Invalid, "location %q is not an s3:// URI", uri)
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if bucket == "" {
		return Location{}, Errorf(Invalid, "location %q names no bucket", uri)
	}
	return Location{Bucket: bucket, Key: key}, nil
}

// IsZero reports whether l names nothing.
func (l Location) IsZero() bool { return l == Location{} }

// String returns the s3:// URI of l, or "" for the zero Location.
func (l Location) String() string {
	if l.IsZero() {
		return ""
	}
	return "s3://" + l.Bucket + "/" + l.Key
}

// Join returns the location below l named by the parts. Of the slashes that
// meet at a joint one stays; nothing else is normalised. Empty parts are
// skipped.
func (l Location) Join(parts ...string) Location {
	key := l.Key
	for _, p := range parts {
		switch {
		case p == "":
		case key == "":
			key = strings.TrimLeft(p, "/")
		default:
			key = strings.TrimRight(key, "/") + "/" + strings.TrimLeft(p, "/")
		}
	}
	return Location{Bucket: l.Bucket, Key: key}
}

// KeyTooLong reports whether l's key is longer than an S3 key can be.
func (l Location) KeyTooLong() bool { return len(l.Key) > maxKey }

// OutputLocation names the output object of the invocation id: below the
// configured path, the caller's extension if there is one, then the caller's
// filename or the default <id>.out.
func OutputLocation(path Location, extension, filename string, id InvocationID) Location {
	if path.IsZero() {
		return Location{}
	}
	if filename == "" {
		filename = string(id) + ".out"
	}
	return path.Join(extension, filename)
}

// FailureLocation names the failure object of the invocation id. The caller's
// extension and filename do not apply to it.
func FailureLocation(path Location, id InvocationID) Location {
	if path.IsZero() {
		return Location{}
	}
	return path.Join(string(id) + "-error.out")
}
