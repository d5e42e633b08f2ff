package objectserver

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (c *call) putObject() error {
	if c.r.Header.Get(copySource) != "" {
		return c.copyObject()
	}
	p, err := c.newPut()
	if err != nil {
		return err
	}
	st, err := c.store.putObject(c.r.Context(), p)
	if err != nil {
		return named(err, p.cond)
	}
	setStored(c.w.Header(), st, &p.attr)
	c.setExpiration(c.w.Header(), st.size, st.modified, p.attr.Tags)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// newPut reads from the headers what is to be stored how.
func (c *call) newPut() (p putRequest, err error) {
	h := c.r.Header
	p = putRequest{location: c.location(), body: c.body, size: c.body.Length()}
	p.attr = newAttributes(h)
	if p.attr.Tags, err = c.newTagging(); err != nil {
		return p, err
	}
	if p.digests, err = bodyDigests(h, c.body); err != nil {
		return p, err
	}
	p.cond, err = writeConditions(h)
	return p, err
}

func (c *call) deleteObject() error {
	if _, err := c.readBody(); err != nil {
		return err
	}
	cond := conditions{ifMatch: c.r.Header.Get("If-Match")}
	if err := c.store.deleteObject(c.r.Context(), c.location(), cond); err != nil {
		return named(err, cond)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// getObject answers GET and HEAD.
func (c *call) getObject() error {
	head := c.r.Method == http.MethodHead
	f, err := c.store.find(c.location(), !head)
	if err != nil {
		return err
	}
	h := c.w.Header()
	if err := checkRead(c.r.Header, f); err != nil {
		defer f.release()
		if e, ok := err.(*apiError); ok && e.status == http.StatusNotModified {
			setObject(h, f)
			h.Del("Content-Type")
		}
		return err
	}
	part, partial, err := c.wantedBytes(f)
	if err != nil {
		f.release()
		return err
	}
	setObject(h, f)
	setTagCount(h, f.attr.Tags)
	c.setExpiration(h, f.size, f.modified, f.attr.Tags)
	c.overrideHeaders(h)
	h.Set("Content-Length", strconv.FormatInt(part.n, 10))
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", part.contentRange(f.size))
	}
	if strings.EqualFold(c.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		setChecksums(h, c.answeredSums(f, partial), f.attr.Full)
	}
	if head {
		f.release()
		c.w.WriteHeader(status)
		return nil
	}
	body := c.store.open(f, part.off, part.n)
	defer body.Close()
	c.w.WriteHeader(status)
	_, err = io.Copy(c.w, body)
	c.gone(err)
	return nil
}

// answeredSums returns the checksums of what an answer holds: the object's, or
// those of the part that was asked for by its number.
func (c *call) answeredSums(f *found, partial bool) map[string]string {
	if !partial {
		return f.attr.Sums
	}
	n, err := strconv.Atoi(c.query.Get("partNumber"))
	if err != nil {
		return nil
	}
	return f.partSums(n - 1)
}

// overrideHeaders sets what the query wants the answer's headers to be.
func (c *call) overrideHeaders(h http.Header) {
	for name, values := range c.query {
		if header, ok := strings.CutPrefix(name, "response-"); ok {
			h.Set(header, values[0])
		}
	}
}

// checkRead judges the conditions of a GET or HEAD, in the order of RFC 9110.
func checkRead(h http.Header, f *found) error {
	modified := time.Unix(0, f.modified).Truncate(time.Second)
	if v := h.Get("If-Match"); v != "" {
		if !matchesETag(v, f.etag) {
			return preconditionFailed("If-Match")
		}
	} else if t, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && modified.After(t) {
		return preconditionFailed("If-Unmodified-Since")
	}
	if v := h.Get("If-None-Match"); v != "" {
		if matchesETag(v, f.etag) {
			return notModified("If-None-Match")
		}
	} else if t, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil && !modified.After(t) {
		return notModified("If-Modified-Since")
	}
	return nil
}

func notModified(condition string) error {
	return &apiError{status: http.StatusNotModified, code: "NotModified", details: []detail{{"Condition", condition}}}
}

// matchesETag reports whether a list of ETags, or "*", names etag.
func matchesETag(list, etag string) bool {
	for e := range strings.SplitSeq(list, ",") {
		e = strings.TrimPrefix(strings.TrimSpace(e), "W/")
		if e == "*" || sameETag(e, etag) {
			return true
		}
	}
	return false
}
