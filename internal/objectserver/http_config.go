package objectserver

import (
	"net/http"

	"github.com/deferd/deferd"
)

// What a bucket or an object can have elsewhere and never has here is told
// truly when it is read, and refused when it is set: clients that look at a
// bucket, as Terraform does, look at all of it.

// absent answers that a bucket has no such configuration.
func absent(code string) func(*call) error {
	return func(c *call) error {
		if err := c.store.HeadBucket(c.r.Context(), c.bucket); err != nil {
			return err
		}
		return s3Error(code, "")
	}
}

// removed answers that what was never there is gone.
func removed(c *call) error {
	if _, err := c.readBody(); err != nil {
		return err
	}
	if err := c.store.HeadBucket(c.r.Context(), c.bucket); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// document answers with what is true of every bucket.
func document(v any) func(*call) error {
	return func(c *call) error {
		if err := c.store.HeadBucket(c.r.Context(), c.bucket); err != nil {
			return err
		}
		return c.writeXML(v)
	}
}

// unlocked answers for an object's retention and legal hold.
func unlocked(c *call) error {
	if _, err := c.store.Head(c.r.Context(), c.location()); err != nil {
		return err
	}
	return s3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")
}

type (
	versioningResult struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ VersioningConfiguration"`
	}
	loggingResult struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ BucketLoggingStatus"`
	}
	notificationResult struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ NotificationConfiguration"`
	}
	accelerateResult struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ AccelerateConfiguration"`
	}
	paymentResult struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ RequestPaymentConfiguration"`
		Payer   string
	}
	ownershipResult struct {
		XMLName         struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ OwnershipControls"`
		ObjectOwnership string   `xml:"Rule>ObjectOwnership"`
	}
)

type aclResult struct {
	XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ AccessControlPolicy"`
	Owner   *owner
	Grants  []grant `xml:"AccessControlList>Grant"`
}

type grant struct {
	Grantee    grantee
	Permission string
}

type grantee struct {
	Namespace string `xml:"xmlns:xsi,attr"`
	Type      string `xml:"xsi:type,attr"`
	owner
}

// acl answers who may use a bucket or an object: its owner.
func (c *call) acl() error {
	if err := c.exists(); err != nil {
		return err
	}
	return c.writeXML(&aclResult{Owner: c.owner(), Grants: []grant{{
		Grantee:    grantee{"http://www.w3.org/2001/XMLSchema-instance", "CanonicalUser", *c.owner()},
		Permission: "FULL_CONTROL",
	}}})
}

// putACL takes what is so anyway.
func (c *call) putACL() error {
	b, err := c.readBody()
	if err != nil {
		return err
	}
	if len(b) > 0 || c.r.Header.Get("X-Amz-Acl") == "" {
		return notImplemented("An access control list")
	}
	if err := c.exists(); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// exists says whether there is what the request names.
func (c *call) exists() error {
	if c.key == "" {
		return c.store.HeadBucket(c.r.Context(), c.bucket)
	}
	_, err := c.store.Head(c.r.Context(), deferd.Location{Bucket: c.bucket, Key: c.key})
	return err
}

type (
	listVersionsResult struct {
		XMLName             struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListVersionsResult"`
		Name                string
		Prefix              string
		KeyMarker           string
		VersionIDMarker     string `xml:"VersionIdMarker"`
		NextKeyMarker       string `xml:",omitempty"`
		NextVersionIDMarker string `xml:"NextVersionIdMarker,omitempty"`
		Delimiter           string `xml:",omitempty"`
		MaxKeys             int
		EncodingType        string `xml:",omitempty"`
		IsTruncated         bool
		Version             []versionElement
		CommonPrefixes      []prefixElement
	}
	versionElement struct {
		objectElement
		VersionID string `xml:"VersionId"`
		IsLatest  bool
	}
)

// listVersions lists the objects of a bucket that keeps no versions: each has
// one, called null.
func (c *call) listVersions() error {
	marker := c.query.Get("key-marker")
	page, list, encode, err := c.list(marker, true)
	if err != nil {
		return err
	}
	res := listVersionsResult{
		Name: list.Name, Prefix: list.Prefix, KeyMarker: encode(marker), VersionIDMarker: c.query.Get("version-id-marker"),
		Delimiter: list.Delimiter, MaxKeys: list.MaxKeys, EncodingType: list.EncodingType, IsTruncated: list.IsTruncated,
		CommonPrefixes: list.CommonPrefixes,
	}
	for _, o := range list.Contents {
		res.Version = append(res.Version, versionElement{o, "null", true})
	}
	if page.more {
		res.NextKeyMarker, res.NextVersionIDMarker = encode(page.last), "null"
	}
	return c.writeXML(&res)
}
