package objectserver

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deferd/deferd"
)

const copySource = "X-Amz-Copy-Source"

// copyConditions are the conditions on a source, by what they are called on a
// read.
var copyConditions = map[string]string{
	"If-Match":            copySource + "-If-Match",
	"If-None-Match":       copySource + "-If-None-Match",
	"If-Modified-Since":   copySource + "-If-Modified-Since",
	"If-Unmodified-Since": copySource + "-If-Unmodified-Since",
}

// A source is an object, or a part of it, that is being copied.
type source struct {
	*found
	body io.ReadCloser
	size int64
}

// openSource opens the object that a request wants copied.
func (c *call) openSource(partial bool) (*source, error) {
	h := c.r.Header
	if _, err := c.readBody(); err != nil {
		return nil, err
	}
	if owner := h.Get("X-Amz-Source-Expected-Bucket-Owner"); owner != "" && owner != c.account {
		return nil, s3Error("AccessDenied", "")
	}
	from, err := parseSource(h.Get(copySource))
	if err != nil {
		return nil, err
	}
	if err := (&call{Handler: c.Handler, p: c.p, target: from}).allow("s3:GetObject", from.key); err != nil {
		return nil, err
	}
	f, err := c.store.find(deferd.Location{Bucket: from.bucket, Key: from.key}, true)
	if err != nil {
		return nil, err
	}
	part, err := checkSource(h, f, partial)
	if err != nil {
		f.release()
		return nil, err
	}
	return &source{f, c.store.open(f, part.off, part.n), part.n}, nil
}

// parseSource reads bucket and key, percent-encoded, with or without a slash
// in front.
func parseSource(v string) (target, error) {
	path, query, _ := strings.Cut(v, "?")
	if query != "" && query != "versionId=null" {
		return target{}, notImplemented("Copying a version")
	}
	path, err := url.PathUnescape(path)
	if err != nil || !utf8.ValidString(path) {
		return target{}, s3Error(codeInvalidArgument, "Copy Source must be URL-encoded")
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if bucket == "" || key == "" {
		return target{}, s3Error(codeInvalidArgument, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	return target{bucket, key}, nil
}

// checkSource judges the conditions on the source and returns the part of it
// that is wanted.
func checkSource(h http.Header, f *found, partial bool) (byteRange, error) {
	read := http.Header{}
	for name, header := range copyConditions {
		if v := h.Get(header); v != "" {
			read.Set(name, v)
		}
	}
	if err := checkRead(read, f); err != nil {
		return byteRange{}, sourcePrecondition(err)
	}
	part := byteRange{0, f.size}
	if v := h.Get(copySource + "-Range"); v != "" {
		r, ok, err := parseRange(v, f.size)
		whole := fmt.Sprintf("bytes=%d-%d", r.off, r.off+r.n-1) // not more than there is
		if err != nil || !ok || !partial || v != whole {
			return part, s3Error(codeInvalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
		}
		part = r
	}
	if part.n > maxObject {
		return part, s3Error("InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120")
	}
	return part, nil
}

// sourcePrecondition says of a condition that did not hold that it was on the
// source. All of them end a copy alike.
func sourcePrecondition(err error) error {
	e := s3Error(codePrecondition, "")
	if failed, ok := err.(*apiError); ok {
		for _, d := range failed.details {
			e.details = append(e.details, detail{d.name, strings.ToLower(copyConditions[d.value])})
		}
	}
	return e
}

type copyResult struct {
	XMLName      struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CopyObjectResult"`
	ETag         string
	LastModified string
	checksumElements
}

type copyPartResult struct {
	XMLName      struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CopyPartResult"`
	ETag         string
	LastModified string
	checksumElements
}

func (c *call) copyObject() error {
	src, err := c.openSource(false)
	if err != nil {
		return err
	}
	defer src.body.Close()
	p, err := c.newCopy(src)
	if err != nil {
		return err
	}
	st, err := c.store.putObject(c.r.Context(), p)
	if err != nil {
		return named(err, p.cond)
	}
	setEchoed(c.w.Header(), &p.attr)
	c.setExpiration(c.w.Header(), st.size, st.modified, p.attr.Tags)
	return c.writeXML(&copyResult{
		ETag: quoteETag(st.etag), LastModified: formatTime(st.modified), checksumElements: newChecksumElements(st.sums),
	})
}

// newCopy says what becomes of a source: its attributes come with it unless
// the request replaces them.
func (c *call) newCopy(src *source) (p putRequest, err error) {
	h := c.r.Header
	p = putRequest{location: c.location(), body: src.body, size: src.size}
	p.attr = newAttributes(h)
	tags, err := c.copiedTags(src)
	if err != nil {
		return p, err
	}
	switch directive := h.Get("X-Amz-Metadata-Directive"); directive {
	case "", "COPY":
		if src.bucket == c.bucket && src.key == c.key {
			return p, s3Error("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata.")
		}
		encryption := p.attr.Headers
		p.attr = attributes{Type: src.attr.Type, Metadata: src.attr.Metadata, Headers: copyMap(src.attr.Headers)}
		for _, name := range echoedHeaders {
			delete(p.attr.Headers, name)
			if v := encryption[name]; v != "" {
				p.attr.Headers[name] = v
			}
		}
	case "REPLACE":
	default:
		return p, s3Error(codeInvalidArgument, "Unknown metadata directive.")
	}
	p.attr.Tags = tags
	p.digests.algorithm = strings.ToLower(h.Get("X-Amz-Checksum-Algorithm"))
	for a := range src.attr.Sums { // there is one at most
		p.digests.algorithm = cmp.Or(p.digests.algorithm, a)
	}
	if p.digests.algorithm != "" && newChecksum(p.digests.algorithm) == nil {
		return p, notImplemented("The checksum algorithm " + p.digests.algorithm)
	}
	p.cond, err = writeConditions(h)
	return p, err
}

// copiedTags returns the tags of a copy: the source's, unless the request
// replaces them.
func (c *call) copiedTags(src *source) ([]tag, error) {
	switch c.r.Header.Get("X-Amz-Tagging-Directive") {
	case "", "COPY":
		return src.attr.Tags, nil
	case "REPLACE":
		return c.newTagging()
	}
	return nil, s3Error(codeInvalidArgument, "Unknown tagging directive.")
}

// copyPart stores a part that is a copy of an object or of a part of one.
func (c *call) copyPart(n int) error {
	src, err := c.openSource(true)
	if err != nil {
		return err
	}
	defer src.body.Close()
	st, err := c.store.uploadPart(c.r.Context(), c.upload(), n, src.size, src.body, digests{})
	if err != nil {
		return err
	}
	return c.writeXML(&copyPartResult{
		ETag: quoteETag(st.etag), LastModified: formatTime(st.modified), checksumElements: newChecksumElements(st.sums),
	})
}

func formatTime(nanoseconds int64) string {
	return time.Unix(0, nanoseconds).UTC().Format(timeFormat)
}
