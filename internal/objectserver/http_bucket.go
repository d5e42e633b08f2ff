package objectserver

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/deferd/deferd"
)

const (
	timeFormat = "2006-01-02T15:04:05.000Z"
	maxPage    = 1000
)

// A bucketDocument says what a new bucket shall be.
type bucketDocument struct {
	XMLName            struct{} `xml:"CreateBucketConfiguration"`
	LocationConstraint string
	Location           *anyElement
	Bucket             *anyElement
	Tags               *tagsElement
}

func (c *call) createBucket() error {
	var req bucketDocument
	if _, err := c.readXML(&req); err != nil {
		return err
	}
	if req.Location != nil || req.Bucket != nil {
		return notImplemented("This kind of bucket")
	}
	var tags []tag
	if req.Tags != nil {
		if err := c.allow("s3:PutBucketTagging", ""); err != nil {
			return err
		}
		tags = req.Tags.tags()
		if err := checkBucketTags(tags); err != nil {
			return err
		}
	}
	if err := checkConstraint(c.region, req.LocationConstraint); err != nil {
		return err
	}
	err := c.store.createBucket(c.r.Context(), c.bucket, req.LocationConstraint, tags)
	if deferd.CodeOf(err) == deferd.Exists && c.region == "us-east-1" {
		err = nil // one's own bucket again
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/"+c.bucket)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// checkConstraint knows which LocationConstraint S3 takes in a region.
func checkConstraint(region, constraint string) error {
	switch {
	case region == "us-east-1" && constraint == region:
		return s3Error("InvalidLocationConstraint", "")
	case region != "us-east-1" && constraint != region:
		return s3Error("IllegalLocationConstraintException", "")
	}
	return nil
}

func (c *call) headBucket() error {
	b, err := c.store.bucket(c.bucket)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("X-Amz-Bucket-Region", cmp.Or(b.region, c.region))
	h.Set("Content-Type", "application/xml")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (c *call) deleteBucket() error {
	if _, err := c.readBody(); err != nil {
		return err
	}
	if err := c.store.DeleteBucket(c.r.Context(), c.bucket); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) bucketLocation() error {
	b, err := c.store.bucket(c.bucket)
	if err != nil {
		return err
	}
	return c.writeXML(struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}{Region: b.region})
}

// An owner owns buckets, objects and uploads; all are the account's.
type owner struct {
	ID          string
	DisplayName string
}

func (c *call) owner() *owner { return &owner{c.account, c.account} }

type listBucketsResult struct {
	XMLName           struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
	Owner             *owner
	Buckets           []bucketElement `xml:"Buckets>Bucket"`
	ContinuationToken string          `xml:",omitempty"`
	Prefix            string          `xml:",omitempty"`
}

type bucketElement struct {
	Name         string
	CreationDate string
	BucketRegion string
}

func (c *call) listBuckets() error {
	most, err := c.limit("max-buckets", 10_000)
	if err != nil {
		return err
	}
	after, err := decodeToken(c.query.Get("continuation-token"))
	if err != nil {
		return err
	}
	all, err := c.store.Buckets(c.r.Context())
	if err != nil {
		return err
	}
	res := listBucketsResult{Owner: c.owner(), Prefix: c.query.Get("prefix")}
	for _, b := range all {
		region := cmp.Or(b.Region, c.region)
		if b.Name <= after || !strings.HasPrefix(b.Name, res.Prefix) ||
			region != cmp.Or(c.query.Get("bucket-region"), region) {
			continue
		}
		if len(res.Buckets) == most {
			res.ContinuationToken = encodeToken(res.Buckets[most-1].Name)
			break
		}
		res.Buckets = append(res.Buckets, bucketElement{b.Name, b.Created.Format(timeFormat), region})
	}
	return c.writeXML(&res)
}

// limit reads a parameter that says how much an answer may hold.
func (c *call) limit(name string, most int) (int, error) {
	return limited(c.query.Get(name), name, most)
}

// limited reads a number that says how much an answer may hold; "" for most.
func limited(v, name string, most int) (int, error) {
	if v == "" {
		return most, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, s3Error(codeInvalidArgument, "Argument "+name+" must be an integer between 0 and 2147483647")
	}
	return min(int(n), most), nil
}

func encodeToken(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

func decodeToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", s3Error(codeInvalidArgument, "The continuation token provided is incorrect")
	}
	return string(b), nil
}

type objectElement struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
	Owner        *owner `xml:",omitempty"`
	StorageClass string
}

type prefixElement struct{ Prefix string }

type listResult struct {
	XMLName               struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	Delimiter             string  `xml:",omitempty"`
	Marker                *string `xml:",omitempty"`
	NextMarker            string  `xml:",omitempty"`
	StartAfter            string  `xml:",omitempty"`
	ContinuationToken     string  `xml:",omitempty"`
	NextContinuationToken string  `xml:",omitempty"`
	KeyCount              *int    `xml:",omitempty"`
	MaxKeys               int
	EncodingType          string `xml:",omitempty"`
	IsTruncated           bool
	Contents              []objectElement
	CommonPrefixes        []prefixElement
}

func (c *call) listObjectsV2() error {
	if c.query.Get("list-type") != "2" {
		return s3Error(codeInvalidArgument, "")
	}
	token := c.query.Get("continuation-token")
	after, err := decodeToken(token)
	if err != nil {
		return err
	}
	start := c.query.Get("start-after")
	page, res, encode, err := c.list(max(after, start), c.query.Get("fetch-owner") == "true")
	if err != nil {
		return err
	}
	count := len(res.Contents) + len(res.CommonPrefixes)
	res.KeyCount = &count
	res.StartAfter, res.ContinuationToken = encode(start), token
	if page.more {
		res.NextContinuationToken = encodeToken(page.last)
	}
	return c.writeXML(res)
}

func (c *call) listObjects() error {
	marker := c.query.Get("marker")
	page, res, encode, err := c.list(marker, true)
	if err != nil {
		return err
	}
	marker = encode(marker)
	res.Marker = &marker
	if page.more && res.Delimiter != "" {
		res.NextMarker = encode(page.last)
	}
	return c.writeXML(res)
}

// list does what the two forms of listing have in common.
func (c *call) list(after string, owners bool) (listPage, *listResult, func(string) string, error) {
	most, err := c.limit("max-keys", maxPage)
	if err != nil {
		return listPage{}, nil, nil, err
	}
	encode, err := c.encoding()
	if err != nil {
		return listPage{}, nil, nil, err
	}
	if err := c.store.HeadBucket(c.r.Context(), c.bucket); err != nil {
		return listPage{}, nil, nil, err
	}
	q := listQuery{bucket: c.bucket, prefix: c.query.Get("prefix"), delimiter: c.query.Get("delimiter"), after: after, max: most}
	page := c.store.list(q)
	res := &listResult{
		Name: c.bucket, Prefix: encode(q.prefix), Delimiter: encode(q.delimiter), MaxKeys: most,
		EncodingType: c.query.Get("encoding-type"), IsTruncated: page.more,
	}
	for _, e := range page.entries {
		o := objectElement{
			Key: encode(e.key), LastModified: formatTime(e.modified),
			ETag: quoteETag(e.etag), Size: e.size, StorageClass: "STANDARD",
		}
		if owners {
			o.Owner = c.owner()
		}
		res.Contents = append(res.Contents, o)
	}
	for _, p := range page.prefixes {
		res.CommonPrefixes = append(res.CommonPrefixes, prefixElement{encode(p)})
	}
	return page, res, encode, nil
}

// encoding returns how keys are written into the answer.
func (c *call) encoding() (func(string) string, error) {
	switch c.query.Get("encoding-type") {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/") }, nil
	}
	return nil, s3Error(codeInvalidArgument, "Invalid Encoding Method specified in Request")
}
