package objectserver

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deferd/deferd"
)

const (
	maxRules         = 1000
	maxRuleID        = 255
	maxLifecycleDays = 1<<31 - 1

	minimumHeader  = "X-Amz-Transition-Default-Minimum-Object-Size"
	minimumDefault = "all_storage_classes_128K"
)

// newLifecycle makes a configuration of a document, or says what is wrong with
// it.
func newLifecycle(doc *lifecycleDocument, minimum string) (*lifecycle, error) {
	if minimum != "" && minimum != minimumDefault && minimum != "varies_by_storage_class" {
		return nil, s3Error(codeInvalidArgument, "Invalid value of "+strings.ToLower(minimumHeader))
	}
	if len(doc.Rules) == 0 || len(doc.Rules) > maxRules {
		return nil, s3Error("MalformedXML", "")
	}
	l := &lifecycle{Rules: slices.Clone(doc.Rules), Minimum: cmp.Or(minimum, minimumDefault)}
	seen := map[string]bool{}
	for i := range l.Rules {
		e := &l.Rules[i]
		if e.ID == nil || *e.ID == "" {
			id := newFileID()
			e.ID = &id
		}
		if err := e.check(); err != nil {
			return nil, err
		}
		if seen[*e.ID] {
			return nil, s3Error(codeInvalidArgument, "Rule ID must be unique. Found same ID for more than one rule")
		}
		seen[*e.ID] = true
	}
	if err := l.compile(); err != nil {
		return nil, s3Error("MalformedXML", "")
	}
	return l, nil
}

// check says what is wrong with a rule.
func (e *ruleElement) check() error {
	switch {
	case len(e.Transition) > 0:
		return notImplemented("The lifecycle element Transition")
	case len(e.NoncurrentVersionTransition) > 0:
		return notImplemented("The lifecycle element NoncurrentVersionTransition")
	case len(e.NoncurrentVersionExpiration) > 0:
		return notImplemented("The lifecycle element NoncurrentVersionExpiration")
	case utf8.RuneCountInString(*e.ID) > maxRuleID:
		return s3Error(codeInvalidArgument, "ID length should not exceed allowed limit of 255")
	case e.Status != "Enabled" && e.Status != "Disabled", (e.Prefix == nil) == (e.Filter == nil):
		return s3Error("MalformedXML", "")
	case e.Prefix != nil && len(*e.Prefix) > maxKey:
		return s3Error("InvalidRequest", "The maximum size of a prefix is 1024.")
	case e.Expiration == nil && e.Abort == nil:
		return s3Error("InvalidRequest", "At least one action needs to be specified in a rule")
	}
	if err := e.Filter.check(e.Abort != nil); err != nil {
		return err
	}
	if err := e.Expiration.check(); err != nil {
		return err
	}
	return e.Abort.check()
}

func (f *filterElement) check(abort bool) error {
	if f == nil {
		return nil
	}
	p := f.predicates
	if f.And != nil {
		if p.count() > 0 || f.And.count() == 0 {
			return s3Error("MalformedXML", "")
		}
		p = f.And.predicates
	} else if p.count() > 1 {
		return s3Error("MalformedXML", "")
	}
	greater, less := p.ObjectSizeGreaterThan, p.ObjectSizeLessThan
	var tags []tag
	for _, t := range p.Tag {
		tags = append(tags, tag(t))
	}
	switch {
	case abort && len(tags) > 0:
		return s3Error("InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Tags")
	case abort && (greater != nil || less != nil):
		return s3Error("InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Object Size")
	case p.Prefix != nil && len(*p.Prefix) > maxKey:
		return s3Error("InvalidRequest", "The maximum size of a prefix is 1024.")
	case greater != nil && *greater < 0:
		return s3Error(codeInvalidArgument, "'ObjectSizeGreaterThan' must not be negative")
	case less != nil && *less < 1:
		return s3Error(codeInvalidArgument, "'ObjectSizeLessThan' must be positive")
	case greater != nil && less != nil && *greater >= *less:
		return s3Error(codeInvalidArgument, "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")
	}
	return checkObjectTags(tags)
}

func (p *predicates) count() int {
	n := len(p.Tag)
	for _, there := range []bool{p.Prefix != nil, p.ObjectSizeGreaterThan != nil, p.ObjectSizeLessThan != nil} {
		if there {
			n++
		}
	}
	return n
}

func (x *expirationElement) check() error {
	switch {
	case x == nil:
		return nil
	case x.ExpiredObjectDeleteMarker != nil && *x.ExpiredObjectDeleteMarker:
		return notImplemented("The lifecycle element ExpiredObjectDeleteMarker")
	case (x.Days == nil) == (x.Date == nil):
		return s3Error("MalformedXML", "")
	case x.Days != nil && (*x.Days < 1 || *x.Days > maxLifecycleDays):
		return s3Error(codeInvalidArgument, "'Days' for Expiration action must be a positive integer")
	case x.Days != nil:
		return nil
	}
	t, err := parseDate(*x.Date)
	if err != nil {
		return s3Error("MalformedXML", "")
	}
	if !t.Equal(t.Truncate(24 * time.Hour)) {
		return s3Error(codeInvalidArgument, "'Date' must be at midnight GMT")
	}
	return nil
}

func (a *abortElement) check() error {
	switch {
	case a == nil:
		return nil
	case a.DaysAfterInitiation == nil:
		return s3Error("MalformedXML", "")
	case *a.DaysAfterInitiation < 1 || *a.DaysAfterInitiation > maxLifecycleDays:
		return s3Error(codeInvalidArgument, "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer")
	}
	return nil
}

func (c *call) putLifecycle() error {
	var doc lifecycleDocument
	if _, err := c.readProtected(&doc); err != nil {
		return err
	}
	l, err := newLifecycle(&doc, c.r.Header.Get(minimumHeader))
	if err != nil {
		return err
	}
	if err := c.store.setLifecycle(c.r.Context(), c.bucket, l); err != nil {
		return err
	}
	c.store.sweepSoon()
	c.w.Header().Set(minimumHeader, l.Minimum)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (c *call) deleteLifecycle() error {
	if _, err := c.readBody(); err != nil {
		return err
	}
	if err := c.store.setLifecycle(c.r.Context(), c.bucket, nil); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) lifecycle() error {
	b, err := c.store.bucket(c.bucket)
	if err != nil {
		return err
	}
	if b.lifecycle == nil {
		return deferd.Errorf(deferd.NotFound, codeNoSuchLifecycle)
	}
	c.w.Header().Set(minimumHeader, b.lifecycle.Minimum)
	return c.writeXML(&struct {
		XMLName struct{}      `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LifecycleConfiguration"`
		Rules   []ruleElement `xml:"Rule"`
	}{Rules: b.lifecycle.Rules})
}

// setExpiration says in an answer when a rule will end the object, if one will.
func (c *call) setExpiration(h http.Header, size, modified int64, tags []tag) {
	b, err := c.store.bucket(c.bucket)
	if err != nil {
		return
	}
	if v := b.lifecycle.expirationHeader(c.key, size, modified, tags); v != "" {
		h.Set("X-Amz-Expiration", v)
	}
}

// setAbort says in an answer when a rule will end the upload, if one will.
func (c *call) setAbort(h http.Header, created int64) {
	b, err := c.store.bucket(c.bucket)
	if err != nil {
		return
	}
	if r, at := b.lifecycle.abort(c.key, created); r != nil {
		h.Set("X-Amz-Abort-Date", at.Format(http.TimeFormat))
		h.Set("X-Amz-Abort-Rule-Id", r.id)
	}
}
