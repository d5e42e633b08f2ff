package awsapi

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/deferd/deferd"
)

// S3 says where the installation's objects are.
type S3 struct {
	// Handler serves them. Nil: they are in an S3 of its own.
	Handler ObjectHandler

	// Hosts are the names and addresses, without port, under which that S3 is
	// reached: https://HOST/bucket/key and https://bucket.HOST/key name objects.
	Hosts []string

	// AWS says that it is Amazon's, so that its URLs do.
	AWS bool
}

// locate reads the location of an object or prefix that a caller sent: an s3://
// URI, whose key is literal, or the https:// URL of an object in the
// installation's own S3. It accepts no other URL, so that nobody can make the
// server fetch one.
func (s S3) locate(uri string) (deferd.Location, error) {
	if !strings.HasPrefix(uri, "https://") {
		return deferd.ParseLocation(uri)
	}
	u, err := url.Parse(uri)
	if err != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		return deferd.Location{}, deferd.Errorf(deferd.Invalid, "location %q is not the URL of an S3 object", uri)
	}
	bucket, ok := s.bucket(strings.ToLower(u.Hostname()))
	if !ok {
		return deferd.Location{}, deferd.Errorf(deferd.Invalid, "location %q is not in the S3 of this installation", uri)
	}
	key := strings.TrimPrefix(u.Path, "/")
	if bucket == "" {
		bucket, key, _ = strings.Cut(key, "/")
	}
	if bucket == "" {
		return deferd.Location{}, deferd.Errorf(deferd.Invalid, "location %q names no bucket", uri)
	}
	return deferd.Location{Bucket: bucket, Key: key}, nil
}

// amazon matches the host names of Amazon's S3. A bucket before it may hold
// dots.
var amazon = regexp.MustCompile(`^(?:(.+)\.)?s3(?:[.-](?:dualstack\.)?[a-z]{2}(?:-[a-z]+)+-[0-9]+)?\.amazonaws\.com(?:\.cn)?$`)

// bucket reports whether host is the S3's, and returns the bucket that it
// names; "" where the path does.
func (s S3) bucket(host string) (bucket string, ok bool) {
	for _, own := range s.Hosts {
		if host == own {
			return "", true
		}
		if b, ok := strings.CutSuffix(host, "."+own); ok && b != "" {
			return b, true
		}
	}
	if m := amazon.FindStringSubmatch(host); s.AWS && m != nil {
		return m[1], true
	}
	return "", false
}
