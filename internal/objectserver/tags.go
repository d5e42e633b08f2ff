package objectserver

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/deferd/deferd"
)

const (
	maxObjectTags = 10
	maxBucketTags = 50
	maxTagKey     = 128 // characters
	maxTagValue   = 256
)

// A tag is one of an object's or a bucket's. They keep the order in which they
// were given.
type tag struct {
	Key   string `json:"k"`
	Value string `json:"v"`
}

// checkTags says what is wrong with a set of tags of which there may be most.
func checkTags(tags []tag, most int, of string) error {
	if len(tags) > most {
		return s3Error("BadRequest", of)
	}
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return s3Error("InvalidTag", "System tags cannot be added or changed by a request.")
		case t.Key == "" || !tagText(t.Key, maxTagKey):
			return s3Error("InvalidTag", "The TagKey you have provided is invalid")
		case !tagText(t.Value, maxTagValue):
			return s3Error("InvalidTag", "The TagValue you have provided is invalid")
		case seen[t.Key]:
			return s3Error("InvalidTag", "Cannot provide multiple Tags with the same key")
		}
		seen[t.Key] = true
	}
	return nil
}

func checkObjectTags(tags []tag) error {
	return checkTags(tags, maxObjectTags, "Object tags cannot be greater than 10")
}

func checkBucketTags(tags []tag) error {
	return checkTags(tags, maxBucketTags, "Bucket tag count cannot be greater than 50")
}

// tagText reports whether s is made of what S3 takes in tags.
func tagText(s string, most int) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > most {
		return false
	}
	for _, c := range s {
		if !unicode.IsLetter(c) && !unicode.IsNumber(c) && !unicode.IsMark(c) && c != ' ' && !strings.ContainsRune("+-=._:/@", c) {
			return false
		}
	}
	return true
}

// setObjectTags replaces an object's tags. The object's record is written anew
// with its data, so nothing of an object ever lies in two places.
func (s *Store) setObjectTags(ctx context.Context, l deferd.Location, tags []tag) error {
	for {
		if err := ended(ctx); err != nil {
			return err
		}
		f, err := s.find(l, true)
		if err != nil {
			return err
		}
		overtaken, err := s.retag(f, tags)
		f.release()
		if err != nil || !overtaken {
			return err
		}
	}
}

// retag writes f with other tags, unless it was overtaken: replaced, deleted
// or moved in the meantime.
func (s *Store) retag(f *found, tags []tag) (overtaken bool, err error) {
	attr := f.attr
	attr.Tags = tags
	r := &record{
		Op: opPut, Bucket: f.bucket, Key: f.key, Time: f.modified, ETag: f.etag, Size: f.size,
		Attr: &attr, Upload: f.upload(), Files: f.files(),
	}
	buf, err := encodeRecord(r, f.data)
	if err != nil {
		return false, err
	}
	err = s.commit(true, func() ([]change, error) {
		if s.lookup(deferd.Location{Bucket: f.bucket, Key: f.key}) != f.entry {
			overtaken = true
			return nil, nil
		}
		return []change{{buf, func(at pos) { s.state.apply(r, at) }}}, nil
	})
	return overtaken, err
}

// setBucketTags replaces a bucket's tags.
func (s *Store) setBucketTags(ctx context.Context, name string, tags []tag) error {
	return s.updateBucket(ctx, name, func(b *bucket) { b.tags = tags })
}
