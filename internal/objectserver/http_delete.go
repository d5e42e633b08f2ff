package objectserver

import (
	"context"
	"time"

	"github.com/deferd/deferd"
)

// The request and answer of DeleteObjects.
type (
	deleteRequest struct {
		XMLName struct{} `xml:"Delete"`
		Quiet   bool
		Objects []deleteKey `xml:"Object"`
	}
	deleteKey struct {
		Key       string
		VersionID string `xml:"VersionId"`
		ETag      string

		// Conditions of directory buckets.
		LastModifiedTime *string
		Size             *string
	}
	deleteResult struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
		Deleted []deletedKey
		Error   []deleteError
	}
	deletedKey  struct{ Key string }
	deleteError struct{ Key, Code, Message string }
)

const maxDelete = 1000 // keys in one request

func (c *call) deleteObjects() error {
	req, err := c.readDelete()
	if err != nil {
		return err
	}
	if err := c.store.HeadBucket(c.r.Context(), c.bucket); err != nil {
		return err
	}
	errs := make([]error, len(req.Objects))
	var keys []deleteKey
	var at []int
	for i, k := range req.Objects {
		if k.VersionID != "" && k.VersionID != "null" {
			errs[i] = notImplemented("Deleting a version")
		} else if k.LastModifiedTime != nil || k.Size != nil {
			errs[i] = notImplemented("Deleting under the condition of a time or size")
		} else if errs[i] = c.allow("s3:DeleteObject", k.Key); errs[i] == nil {
			keys, at = append(keys, k), append(at, i)
		}
	}
	for i, err := range c.store.deleteMany(c.r.Context(), c.bucket, keys) {
		errs[at[i]] = err
	}
	var res deleteResult
	for i, k := range req.Objects {
		if errs[i] != nil {
			e, _ := toAPIError(errs[i])
			res.Error = append(res.Error, deleteError{k.Key, e.code, e.message})
		} else if !req.Quiet {
			res.Deleted = append(res.Deleted, deletedKey{k.Key})
		}
	}
	return c.writeXML(&res)
}

// readDelete reads a request to delete many, whose body must be protected.
func (c *call) readDelete() (req deleteRequest, err error) {
	protected, err := c.readProtected(&req)
	switch {
	case err != nil:
		return req, err
	case !protected:
		return req, s3Error("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	case len(req.Objects) == 0 || len(req.Objects) > maxDelete:
		return req, s3Error("MalformedXML", "")
	}
	return req, nil
}

// A tee is a body that passes a digester.
type tee struct {
	Body
	d *digester
}

func (t tee) Read(b []byte) (int, error) {
	n, err := t.Body.Read(b)
	t.d.Write(b[:n])
	return n, err
}

// deleteMany deletes keys with one commit and returns an error for each.
func (s *Store) deleteMany(ctx context.Context, bucket string, keys []deleteKey) []error {
	errs := make([]error, len(keys))
	conditional := false
	for _, k := range keys {
		conditional = conditional || k.ETag != ""
	}
	err := s.commit(conditional, func() ([]change, error) {
		var records []*record
		for i, k := range keys {
			l := deferd.Location{Bucket: bucket, Key: k.Key}
			e := s.lookup(l)
			cond := conditions{ifMatch: k.ETag}
			if errs[i] = cond.check(e); errs[i] == nil && e != nil {
				records = append(records, &record{Op: opDelete, Bucket: bucket, Key: k.Key, Time: time.Now().UnixNano()})
			}
		}
		return s.changes(records)
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}
