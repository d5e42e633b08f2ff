package objectserver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// A lifecycle is a bucket's lifecycle configuration: as it was given, which is
// what is kept and given back, and ready to be applied. It is never changed.
type lifecycle struct {
	Rules   []ruleElement
	Minimum string // x-amz-transition-default-minimum-object-size, which means nothing here

	rules []rule
}

// The elements of a rule. They are XML on the wire and JSON in the log.
type (
	ruleElement struct {
		ID         *string            `json:",omitempty"`
		Prefix     *string            `json:",omitempty"`
		Filter     *filterElement     `json:",omitempty"`
		Status     string             `json:",omitempty"`
		Expiration *expirationElement `json:",omitempty"`
		Abort      *abortElement      `xml:"AbortIncompleteMultipartUpload" json:",omitempty"`

		// What is not offered.
		Transition                  []anyElement `json:"-"`
		NoncurrentVersionTransition []anyElement `json:"-"`
		NoncurrentVersionExpiration []anyElement `json:"-"`
	}
	filterElement struct {
		predicates
		And *andElement `json:",omitempty"`
	}
	andElement struct{ predicates }
	predicates struct {
		Prefix                *string      `json:",omitempty"`
		Tag                   []tagElement `json:",omitempty"`
		ObjectSizeGreaterThan *int64       `json:",omitempty"`
		ObjectSizeLessThan    *int64       `json:",omitempty"`
	}
	expirationElement struct {
		Days                      *int    `json:",omitempty"`
		Date                      *string `json:",omitempty"`
		ExpiredObjectDeleteMarker *bool   `json:",omitempty"`
	}
	abortElement struct {
		DaysAfterInitiation *int `json:",omitempty"`
	}
	lifecycleDocument struct {
		XMLName struct{}      `xml:"LifecycleConfiguration"`
		Rules   []ruleElement `xml:"Rule"`
	}
)

// A rule says what becomes of which objects and uploads.
type rule struct {
	id           string
	enabled      bool
	prefix       string
	tags         []tag
	above, below int64     // the sizes between which an object's must lie
	days         int       // after which objects expire; 0 for never
	date         time.Time // at which objects expire; zero for never
	abortDays    int       // after which uploads expire; 0 for never
}

// compile readies the rules. It fails if they are not what newLifecycle let in.
func (l *lifecycle) compile() error {
	l.rules = nil
	for _, e := range l.Rules {
		r, err := e.rule()
		if err != nil {
			return err
		}
		l.rules = append(l.rules, r)
	}
	return nil
}

func (e *ruleElement) rule() (rule, error) {
	r := rule{enabled: e.Status == "Enabled", above: -1, below: math.MaxInt64}
	if e.ID != nil {
		r.id = *e.ID
	}
	if e.Prefix != nil {
		r.prefix = *e.Prefix
	}
	if f := e.Filter; f != nil {
		r.narrow(f.predicates)
		if f.And != nil {
			r.narrow(f.And.predicates)
		}
	}
	if x := e.Expiration; x != nil && x.Days != nil {
		r.days = *x.Days
	}
	if x := e.Expiration; x != nil && x.Date != nil {
		t, err := parseDate(*x.Date)
		if err != nil {
			return r, err
		}
		r.date = t
	}
	if e.Abort != nil && e.Abort.DaysAfterInitiation != nil {
		r.abortDays = *e.Abort.DaysAfterInitiation
	}
	return r, nil
}

func (r *rule) narrow(p predicates) {
	if p.Prefix != nil {
		r.prefix = *p.Prefix
	}
	for _, t := range p.Tag {
		r.tags = append(r.tags, tag(t))
	}
	if p.ObjectSizeGreaterThan != nil {
		r.above = *p.ObjectSizeGreaterThan
	}
	if p.ObjectSizeLessThan != nil {
		r.below = *p.ObjectSizeLessThan
	}
}

// hasTags reports whether all the tags wanted are among have.
func hasTags(have, wanted []tag) bool {
	for _, t := range wanted {
		if !slices.Contains(have, t) {
			return false
		}
	}
	return true
}

// parseDate reads an ISO 8601 date, with or without a time.
func parseDate(s string) (time.Time, error) {
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date", s)
}

// expires says when the rule ends an object that was stored at a time; zero
// for never, as far as size and name go.
func (r *rule) expires(key string, size, modified int64) time.Time {
	switch {
	case !r.enabled || !strings.HasPrefix(key, r.prefix) || size <= r.above || size >= r.below:
		return time.Time{}
	case r.days > 0:
		return midnightAfter(modified, r.days)
	}
	return r.date
}

// aborts says when the rule ends an upload that was begun at a time.
func (r *rule) aborts(key string, created int64) time.Time {
	if !r.enabled || r.abortDays == 0 || !strings.HasPrefix(key, r.prefix) {
		return time.Time{}
	}
	return midnightAfter(created, r.abortDays)
}

// midnightAfter is the first midnight, in UTC, when the days have passed.
func midnightAfter(nanoseconds int64, days int) time.Time {
	t := time.Unix(0, nanoseconds).UTC().AddDate(0, 0, days)
	if m := t.Truncate(24 * time.Hour); !m.Equal(t) {
		return m.Add(24 * time.Hour)
	}
	return t
}

// expiration returns the rule that ends an object first, and when; nil if none
// does.
func (l *lifecycle) expiration(key string, size, modified int64, tags []tag) (first *rule, at time.Time) {
	if l == nil {
		return nil, at
	}
	for i := range l.rules {
		r := &l.rules[i]
		t := r.expires(key, size, modified)
		if !t.IsZero() && hasTags(tags, r.tags) && (first == nil || t.Before(at)) {
			first, at = r, t
		}
	}
	return first, at
}

// expirationHeader is what answers say of an object's end; "" for nothing.
func (l *lifecycle) expirationHeader(key string, size, modified int64, tags []tag) string {
	r, at := l.expiration(key, size, modified, tags)
	if r == nil {
		return ""
	}
	return fmt.Sprintf("expiry-date=%q, rule-id=%q", at.Format("Mon, 02 Jan 2006 15:04:05 GMT"), url.QueryEscape(r.id))
}

// abort returns the rule that ends an upload first, and when; nil if none does.
func (l *lifecycle) abort(key string, created int64) (first *rule, at time.Time) {
	if l == nil {
		return nil, at
	}
	for i := range l.rules {
		r := &l.rules[i]
		if t := r.aborts(key, created); !t.IsZero() && (first == nil || t.Before(at)) {
			first, at = r, t
		}
	}
	return first, at
}

// setLifecycle replaces a bucket's lifecycle configuration; nil for none.
func (s *Store) setLifecycle(ctx context.Context, name string, l *lifecycle) error {
	return s.updateBucket(ctx, name, func(b *bucket) { b.lifecycle = l })
}

// uploadEnds says when an upload has to be over: by a rule of its bucket, or
// after a week.
func (st *state) uploadEnds(u *upload) time.Time {
	if b := st.buckets[u.location.Bucket]; b != nil {
		if r, at := b.lifecycle.abort(u.location.Key, u.created); r != nil {
			return at
		}
	}
	return time.Unix(0, u.created).Add(uploadExpiry)
}

// expireObjects deletes what the buckets' rules say. The keeper alone calls
// it, so no record moves meanwhile.
func (s *Store) expireObjects(now time.Time) error {
	all, err := s.Buckets(context.Background())
	if err != nil {
		return err
	}
	for _, listed := range all {
		b, err := s.bucket(listed.Name)
		if err != nil || b.lifecycle == nil {
			continue
		}
		for i := range b.lifecycle.rules {
			if err := s.expireByRule(now, b, &b.lifecycle.rules[i]); err != nil {
				return fmt.Errorf("expire objects of bucket %q: %w", b.name, err)
			}
		}
	}
	return nil
}

// expireByRule deletes the objects of a bucket that one rule ends.
func (s *Store) expireByRule(now time.Time, b bucket, r *rule) error {
	if !r.enabled || r.days == 0 && (r.date.IsZero() || r.date.After(now)) {
		return nil
	}
	q := listQuery{bucket: b.name, prefix: r.prefix, max: maxPage}
	for {
		select {
		case <-s.quit:
			return errClosed
		default:
		}
		page := s.list(q)
		due := slices.DeleteFunc(page.entries, func(e *entry) bool {
			t := r.expires(e.key, e.size, e.modified)
			return t.IsZero() || t.After(now) || len(r.tags) > 0 && !s.tagged(e, r.tags)
		})
		if err := s.deleteExpired(b, due); err != nil {
			return err
		}
		if !page.more {
			return nil
		}
		q.after = page.last
	}
}

// tagged reports whether an object has the tags.
func (s *Store) tagged(e *entry, tags []tag) bool {
	if !e.tagged {
		return false
	}
	f, err := s.find(deferd.Location{Bucket: e.bucket, Key: e.key}, false)
	if err != nil {
		return false
	}
	defer f.release()
	return f.entry == e && hasTags(f.attr.Tags, tags)
}

// deleteExpired deletes objects that are still what they were, unless the
// bucket's rules have changed.
func (s *Store) deleteExpired(b bucket, due []*entry) error {
	if len(due) == 0 {
		return nil
	}
	err := s.commit(true, func() ([]change, error) {
		if now := s.buckets[b.name]; now == nil || now.lifecycle != b.lifecycle {
			return nil, nil
		}
		var records []*record
		for _, e := range due {
			if s.lookup(deferd.Location{Bucket: e.bucket, Key: e.key}) == e {
				records = append(records, &record{Op: opDelete, Bucket: e.bucket, Key: e.key, Time: time.Now().UnixNano()})
			}
		}
		return s.changes(records)
	})
	if err == nil {
		s.log.Info("expired objects deleted", "bucket", b.name, "objects", len(due))
	}
	return err
}

// checkLifecycle says what makes a logged lifecycle unusable.
func checkLifecycle(l *lifecycle) error {
	if l == nil {
		return nil
	}
	if err := l.compile(); err != nil {
		return errors.New("lifecycle of a bucket: " + err.Error())
	}
	return nil
}
