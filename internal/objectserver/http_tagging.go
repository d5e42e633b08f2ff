package objectserver

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/deferd/deferd"
)

const taggingHeader = "X-Amz-Tagging"

type (
	tagElement  struct{ Key, Value string }
	tagsElement struct {
		Tag []tagElement
	}
	taggingRequest struct {
		XMLName struct{}     `xml:"Tagging"`
		TagSet  *tagsElement `xml:"TagSet"`
	}
	taggingResult struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ Tagging"`
		TagSet  tagsElement
	}
)

func (e *tagsElement) tags() []tag {
	var tags []tag
	for _, t := range e.Tag {
		tags = append(tags, tag(t))
	}
	return tags
}

func newTags(tags []tag) (e tagsElement) {
	for _, t := range tags {
		e.Tag = append(e.Tag, tagElement(t))
	}
	return e
}

// readTagging reads a document with tags.
func (c *call) readTagging() ([]tag, error) {
	var req taggingRequest
	if _, err := c.readProtected(&req); err != nil {
		return nil, err
	}
	if req.TagSet == nil {
		return nil, s3Error("MalformedXML", "")
	}
	return req.TagSet.tags(), nil
}

// parseTagging reads tags that are written like a query.
func parseTagging(v string) ([]tag, error) {
	var tags []tag
	for pair := range strings.SplitSeq(v, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, errTaggingHeader()
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, errTaggingHeader()
		}
		for _, t := range tags {
			if t.Key == key {
				return nil, errTaggingHeader()
			}
		}
		tags = append(tags, tag{key, value})
	}
	return tags, checkObjectTags(tags)
}

func errTaggingHeader() error {
	return s3Error(codeInvalidArgument, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
}

// newTagging reads the tags that a write gives its object.
func (c *call) newTagging() ([]tag, error) {
	v := c.r.Header.Get(taggingHeader)
	if v == "" {
		return nil, nil
	}
	if err := c.allow("s3:PutObjectTagging", c.key); err != nil {
		return nil, err
	}
	return parseTagging(v)
}

func (c *call) putObjectTagging() error {
	tags, err := c.readTagging()
	if err != nil {
		return err
	}
	if err := checkObjectTags(tags); err != nil {
		return err
	}
	return c.store.setObjectTags(c.r.Context(), c.location(), tags)
}

func (c *call) deleteObjectTagging() error {
	if _, err := c.readBody(); err != nil {
		return err
	}
	if err := c.store.setObjectTags(c.r.Context(), c.location(), nil); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) objectTagging() error {
	f, err := c.store.find(c.location(), false)
	if err != nil {
		return err
	}
	defer f.release()
	return c.writeXML(&taggingResult{TagSet: newTags(f.attr.Tags)})
}

func (c *call) putBucketTagging() error {
	tags, err := c.readTagging()
	if err != nil {
		return err
	}
	if err := checkBucketTags(tags); err != nil {
		return err
	}
	if err := c.store.setBucketTags(c.r.Context(), c.bucket, tags); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) deleteBucketTagging() error {
	if _, err := c.readBody(); err != nil {
		return err
	}
	if err := c.store.setBucketTags(c.r.Context(), c.bucket, nil); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) bucketTagging() error {
	b, err := c.store.bucket(c.bucket)
	if err != nil {
		return err
	}
	if len(b.tags) == 0 {
		return deferd.Errorf(deferd.NotFound, codeNoSuchTagSet)
	}
	return c.writeXML(&taggingResult{TagSet: newTags(b.tags)})
}

// setTagCount says in the answer to a read how many tags the object has.
func setTagCount(h http.Header, tags []tag) {
	if len(tags) > 0 {
		h.Set("X-Amz-Tagging-Count", strconv.Itoa(len(tags)))
	}
}
