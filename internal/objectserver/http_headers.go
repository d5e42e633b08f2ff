package objectserver

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/deferd/deferd"
)

const (
	metaPrefix = "X-Amz-Meta-"
	sumPrefix  = "X-Amz-Checksum-"
)

// keptHeaders are stored with an object and given back as they were.
var keptHeaders = []string{
	"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
	"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id",
}

// echoedHeaders are those of keptHeaders that answers to writes repeat.
var echoedHeaders = keptHeaders[5:]

// checkHeaders refuses headers that ask for what is not there. Nothing that
// changes what an object is, who sees it, or when a change is made, is dropped
// silently.
func checkHeaders(h http.Header) error {
	for name, values := range h {
		rest, ok := strings.CutPrefix(name, "X-Amz-")
		if !ok {
			continue
		}
		v := values[0]
		refused := false
		switch {
		case rest == "Acl":
			refused = v != "private" && v != "bucket-owner-full-control"
		case rest == "Storage-Class":
			refused = v != "STANDARD"
		case rest == "Server-Side-Encryption":
			refused = v != "AES256" && v != "aws:kms"
		case rest == "Object-Ownership":
			refused = v != "BucketOwnerEnforced"
		case rest == "Bucket-Namespace":
			refused = v != "global"
		case rest == "Bucket-Object-Lock-Enabled", rest == "Server-Side-Encryption-Bucket-Key-Enabled":
			refused = strings.EqualFold(v, "true")
		case rest == "Server-Side-Encryption-Aws-Kms-Key-Id":
		case rest == "Website-Redirect-Location", rest == "Write-Offset-Bytes", strings.HasPrefix(rest, "If-Match-"),
			strings.HasPrefix(rest, "Grant-"), strings.HasPrefix(rest, "Object-Lock-"),
			strings.HasPrefix(rest, "Copy-Source-Server-Side-Encryption-"), strings.HasPrefix(rest, "Server-Side-Encryption-"):
			refused = true
		}
		if refused {
			return notImplemented("The header " + strings.ToLower(name) + " with this value")
		}
	}
	return nil
}

// objectAttributes reads what an object is to say of itself.
func newAttributes(h http.Header) attributes {
	a := attributes{Type: h.Get("Content-Type")}
	for _, name := range keptHeaders {
		v := strings.Join(h.Values(name), ", ")
		if name == "Content-Encoding" {
			v = withoutChunked(v)
		}
		if v != "" {
			if a.Headers == nil {
				a.Headers = map[string]string{}
			}
			a.Headers[name] = v
		}
	}
	for name, values := range h {
		if rest, ok := strings.CutPrefix(name, metaPrefix); ok && rest != "" {
			if a.Metadata == nil {
				a.Metadata = map[string]string{}
			}
			a.Metadata[strings.ToLower(rest)] = strings.Join(values, ",")
		}
	}
	return a
}

// withoutChunked removes aws-chunked, which is of the transfer, from a list of
// content encodings.
func withoutChunked(encodings string) string {
	var kept []string
	for e := range strings.SplitSeq(encodings, ",") {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ", ")
}

// bodyDigests reads what the headers say of the body, and arranges for what
// its trailer will say.
func bodyDigests(h http.Header, body Body) (digests, error) {
	d := digests{md5: h.Get("Content-Md5")}
	if d.md5 != "" && !isDigest(d.md5, 16) {
		return d, s3Error("InvalidDigest", "")
	}
	sums, err := checksumHeaders(h)
	if err != nil {
		return d, err
	}
	d.sums = sums
	for a := range sums {
		d.algorithm = a
	}
	trailing := trailingChecksum(h)
	if trailing == "" {
		if d.algorithm == "" {
			d.algorithm = strings.ToLower(h.Get("X-Amz-Sdk-Checksum-Algorithm"))
		}
		if d.algorithm != "" && newChecksum(d.algorithm) == nil {
			return d, notImplemented("The checksum algorithm " + d.algorithm)
		}
		return d, nil
	}
	if newChecksum(trailing) == nil {
		return d, notImplemented("The checksum algorithm " + trailing)
	}
	if d.algorithm != "" {
		return d, s3Error("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.")
	}
	d.algorithm = trailing
	d.trailer = func() map[string]string {
		return map[string]string{trailing: body.Trailer().Get(sumPrefix + trailing)}
	}
	return d, nil
}

// checksumHeaders reads the checksum, of which there is one at most.
func checksumHeaders(h http.Header) (map[string]string, error) {
	var sums map[string]string
	for name, values := range h {
		a, ok := checksumOf(name)
		if !ok {
			continue
		}
		sum := newChecksum(a)
		if sum == nil {
			return nil, notImplemented("The checksum algorithm " + a)
		}
		if sums != nil {
			return nil, s3Error("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.")
		}
		if !isDigest(values[0], sum.Size()) {
			return nil, s3Error("InvalidRequest", "Value for "+strings.ToLower(name)+" header is invalid.")
		}
		sums = map[string]string{a: values[0]}
	}
	return sums, nil
}

// checksumOf returns the algorithm whose checksum a header carries.
func checksumOf(name string) (algorithm string, ok bool) {
	a, ok := strings.CutPrefix(name, sumPrefix)
	return strings.ToLower(a), ok && a != "Mode" && a != "Algorithm" && a != "Type"
}

// trailingChecksum returns the algorithm whose checksum comes behind the body.
func trailingChecksum(h http.Header) string {
	for _, v := range h.Values("X-Amz-Trailer") {
		for name := range strings.SplitSeq(v, ",") {
			if a, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(name)), strings.ToLower(sumPrefix)); ok {
				return a
			}
		}
	}
	return ""
}

func isDigest(s string, size int) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(b) == size
}

// setChecksums puts checksums into an answer.
func setChecksums(h http.Header, sums map[string]string, full bool) {
	if len(sums) == 0 {
		return
	}
	for a, sum := range sums {
		h.Set(sumPrefix+a, sum)
	}
	h.Set("X-Amz-Checksum-Type", checksumType(full))
}

func checksumType(full bool) string {
	if full {
		return "FULL_OBJECT"
	}
	return "COMPOSITE"
}

// setStored describes a stored object in the answer to a write.
func setStored(h http.Header, st stored, a *attributes) {
	h.Set("ETag", quoteETag(st.etag))
	setChecksums(h, st.sums, true)
	setEchoed(h, a)
}

func setEchoed(h http.Header, a *attributes) {
	for _, name := range echoedHeaders {
		if v := a.Headers[name]; v != "" {
			h.Set(name, v)
		}
	}
}

// setObject describes an object in the answer to a read.
func setObject(h http.Header, f *found) {
	h.Set("ETag", quoteETag(f.etag))
	h.Set("Last-Modified", f.info().Modified.Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", "binary/octet-stream")
	if f.attr.Type != "" {
		h.Set("Content-Type", f.attr.Type)
	}
	for name, v := range f.attr.Headers {
		h.Set(name, v)
	}
	for name, v := range f.attr.Metadata {
		h[metaPrefix+name] = []string{v} // in lower case, as S3 sends it
	}
}

// writeConditions reads the conditions of a write.
func writeConditions(h http.Header) (conditions, error) {
	c := conditions{ifMatch: h.Get("If-Match")}
	switch v := strings.TrimSpace(h.Get("If-None-Match")); v {
	case "":
	case "*":
		c.ifNoneMatch = true
	default:
		return c, notImplemented("If-None-Match with an ETag on a write")
	}
	return c, nil
}

// named adds to a failed condition which one it was.
func named(err error, c conditions) error {
	if deferd.CodeOf(err) != deferd.Changed {
		return err
	}
	name := "If-Match"
	if c.ifNoneMatch {
		name = "If-None-Match"
	}
	return preconditionFailed(name)
}

func preconditionFailed(condition string) error {
	e := s3Error(codePrecondition, "")
	e.details = []detail{{"Condition", condition}}
	return e
}
