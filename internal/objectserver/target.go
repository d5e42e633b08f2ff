package objectserver

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// A target is what a request's host and path name: the service (neither), a
// bucket, or an object.
type target struct {
	bucket string
	key    string
}

// parseTarget reads host and path. A host below one of the names carries the
// bucket; else the path's first segment is it. The path comes as it was sent:
// what is not percent-encoded stays what it is, dots and slashes too.
func parseTarget(host, escapedPath string, names []string) (target, error) {
	rest, ok := strings.CutPrefix(escapedPath, "/")
	if !ok {
		return target{}, s3Error(codeInvalidKey, "")
	}
	if bucket := HostBucket(host, names); bucket != "" {
		key, err := unescapeKey(rest)
		return target{bucket, key}, err
	}
	if rest == "" {
		return target{}, nil
	}
	bucket, rest, _ := strings.Cut(rest, "/")
	bucket, err := unescapeKey(bucket)
	if err != nil {
		return target{}, err
	}
	if bucket == "" {
		return target{}, s3Error(codeBucketName, "")
	}
	key, err := unescapeKey(rest)
	return target{bucket, key}, err
}

func unescapeKey(s string) (string, error) {
	key, err := url.PathUnescape(s)
	if err != nil || !utf8.ValidString(key) {
		return "", s3Error(codeInvalidKey, "")
	}
	return key, nil
}

// HostBucket returns the bucket that a Host header names below one of the names
// of the server, or "". A verifier of signatures has to go by the same.
func HostBucket(host string, names []string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	for _, n := range names {
		bucket, ok := strings.CutSuffix(host, "."+strings.ToLower(n))
		if ok && bucket != "" {
			return bucket
		}
	}
	return ""
}

// parseQuery reads a query. Parameters that only carry a signature, or say
// again which operation is meant or what a header says, are left out.
func parseQuery(raw string) (url.Values, error) {
	if raw == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, s3Error(codeInvalidArgument, "The query cannot be read.")
	}
	beforeV4 := q.Has("AWSAccessKeyId")
	for name, values := range q {
		for _, v := range values {
			if !utf8.ValidString(v) || len(values) > 1 {
				return nil, s3Error(codeInvalidArgument, "The query cannot be read.")
			}
		}
		if signing(name) || beforeV4 && (name == "content-type" || name == "content-md5") {
			delete(q, name)
		}
	}
	return q, nil
}

func signing(name string) bool {
	switch name {
	case "x-id", "AWSAccessKeyId", "Signature", "Expires":
		return true
	case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
		"X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Content-Sha256":
		return true
	}
	return false
}

// moveToHeader makes headers of the parameters of a signed URL that stand for
// them: who signs a URL can say there what a browser would not send. They are
// signed, and so win over what the request says. A checksum is dropped, as S3
// drops it: who signs has no body yet, and SDKs sign the checksum of none.
func moveToHeader(query url.Values, header http.Header) {
	for param, values := range query {
		name := http.CanonicalHeaderKey(param)
		if len(name) <= len(amzPrefix) || !strings.HasPrefix(name, amzPrefix) {
			continue
		}
		delete(query, param)
		if algorithm, ok := strings.CutPrefix(name, sumPrefix); ok && newChecksum(strings.ToLower(algorithm)) != nil {
			continue
		}
		header[name] = values
	}
}

const amzPrefix = "X-Amz-"
