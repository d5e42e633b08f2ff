package objectserver

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// A Bucket describes a bucket.
type Bucket struct {
	Name    string
	Created time.Time
	Region  string // its LocationConstraint; "" for none
}

// CreateBucket makes a bucket; Exists if it is there.
func (s *Store) CreateBucket(ctx context.Context, name string) error {
	return s.createBucket(ctx, name, "", nil)
}

func (s *Store) createBucket(ctx context.Context, name, region string, tags []tag) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if !validBucketName(name) {
		return deferd.Errorf(deferd.Invalid, codeBucketName)
	}
	r := &record{Op: opBucket, Bucket: name, Time: time.Now().UnixNano(), Region: region, Tags: tags}
	buf, err := encodeRecord(r, nil)
	if err != nil {
		return err
	}
	return s.commit(true, func() ([]change, error) {
		if s.buckets[name] != nil {
			return nil, deferd.Errorf(deferd.Exists, codeBucketExists)
		}
		return []change{{buf, func(at pos) { s.state.apply(r, at) }}}, nil
	})
}

// HeadBucket says whether a bucket is there.
func (s *Store) HeadBucket(ctx context.Context, name string) error {
	_, err := s.bucket(name)
	return err
}

// Buckets returns all buckets by name.
func (s *Store) Buckets(ctx context.Context) ([]Bucket, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Bucket, 0, len(s.buckets))
	for _, b := range s.buckets {
		all = append(all, Bucket{b.name, time.Unix(0, b.created).UTC(), b.region})
	}
	slices.SortFunc(all, func(a, b Bucket) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// DeleteBucket removes an empty bucket; Busy if it is not empty. Uploads that
// are still incomplete go with it.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	if err := ended(ctx); err != nil {
		return err
	}
	return s.commit(true, func() ([]change, error) {
		if s.buckets[name] == nil {
			return nil, errNoSuchBucket
		}
		if p := s.list(listQuery{bucket: name, max: 1}); len(p.entries) > 0 {
			return nil, deferd.Errorf(deferd.Busy, codeBucketNotEmpty)
		}
		records := []*record{{Op: opDeleteBucket, Bucket: name, Time: time.Now().UnixNano()}}
		for id, u := range s.uploads {
			if u.location.Bucket == name {
				records = append(records, &record{Op: opAbort, Upload: id})
			}
		}
		return s.changes(records)
	})
}

// updateBucket changes what a bucket says of itself.
func (s *Store) updateBucket(ctx context.Context, name string, update func(*bucket)) error {
	if err := ended(ctx); err != nil {
		return err
	}
	return s.commit(true, func() ([]change, error) {
		b := s.buckets[name]
		if b == nil {
			return nil, errNoSuchBucket
		}
		updated := *b
		update(&updated)
		return s.changes([]*record{updated.record()})
	})
}

// changes encodes records that change the state as they say.
func (s *Store) changes(records []*record) ([]change, error) {
	var all []change
	for _, r := range records {
		buf, err := encodeRecord(r, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, change{buf, func(at pos) { s.state.apply(r, at) }})
	}
	return all, nil
}

// validBucketName knows S3's rules for names of new buckets.
func validBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "..") {
		return false
	}
	for i, c := range []byte(name) {
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		inner := i > 0 && i < len(name)-1
		if !alnum && (!inner || c != '-' && c != '.') {
			return false
		}
	}
	return !isIPv4(name) && !reservedName(name)
}

func reservedName(name string) bool {
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	for _, p := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, p) {
			return true
		}
	}
	return false
}

// isIPv4 reports whether name is formed like an IPv4 address.
func isIPv4(name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return false
	}
	for _, p := range parts {
		if p == "" || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}
