package objectserver

import (
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/deferd/deferd"
)

// HandlerOptions are the settings of a handler. The zero value is usable.
type HandlerOptions struct {
	Region    string           // default: the store's
	Account   string           // that owns the buckets; default: the store's
	Hosts     []string         // names below which a bucket may stand, as <bucket>.<name>
	Authorize deferd.Authorize // default: deferd.WithinAccount
	Logger    *slog.Logger     // default: the store's
}

// A Handler speaks S3 in front of a Store. It must be reached with the path
// as the client sent it, hence not through an http.ServeMux.
type Handler struct {
	store     *Store
	region    string
	account   string
	hosts     []string
	authorize deferd.Authorize
	log       *slog.Logger
}

// A Body is a request's body while it is verified. Read ends with io.EOF only
// if the body is whole and the one that was signed. Errors that know S3's code
// have a method S3Code() (code string, status int).
type Body interface {
	io.Reader
	Length() int64        // of the data; -1 if unknown
	Trailer() http.Header // what came behind the data, after io.EOF
}

// NewHandler returns a handler for a store.
func NewHandler(s *Store, o HandlerOptions) *Handler {
	h := &Handler{
		store:     s,
		region:    cmp.Or(o.Region, s.region),
		account:   cmp.Or(o.Account, s.account),
		hosts:     o.Hosts,
		authorize: o.Authorize,
		log:       cmp.Or(o.Logger, s.log),
	}
	if h.authorize == nil {
		h.authorize = deferd.WithinAccount
	}
	return h
}

// A call is one request on its way through an operation.
type call struct {
	*Handler
	w     http.ResponseWriter
	r     *http.Request
	p     deferd.Principal
	body  Body
	query url.Values
	target
}

func (c *call) location() deferd.Location {
	return deferd.Location{Bucket: c.bucket, Key: c.key}
}

// Serve answers a request whose signature was verified, made by p.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, p deferd.Principal, body Body) {
	setRequestID(w.Header())
	c := &call{Handler: h, w: w, r: r, p: p, body: body}
	err := c.serve()
	if err == nil {
		return
	}
	e, unexpected := toAPIError(err)
	if unexpected {
		h.log.ErrorContext(r.Context(), "s3 request", "method", r.Method, "bucket", c.bucket, "code", e.code, "err", err)
	}
	writeError(w, r, e, "")
}

func (c *call) serve() (err error) {
	if c.target, err = parseTarget(c.r.Host, c.r.URL.EscapedPath(), c.hosts); err != nil {
		return err
	}
	if len(c.key) > maxKey {
		return s3Error(codeKeyTooLong, "")
	}
	if c.query, err = parseQuery(c.r.URL.RawQuery); err != nil {
		return err
	}
	if strings.Contains(c.r.URL.RawQuery, "X-Amz-Signature=") {
		moveToHeader(c.query, c.r.Header)
	}
	op, err := findOperation(c.r.Method, c.target, c.query)
	if err != nil {
		return err
	}
	if err := checkHeaders(c.r.Header); err != nil {
		return err
	}
	if c.r.Header.Get(taggingHeader) != "" && (op.action != "s3:PutObject" || c.query.Has("uploadId")) {
		return notImplemented("The header x-amz-tagging here")
	}
	if v := c.query.Get("versionId"); v != "" && v != "null" {
		return notImplemented("A version")
	}
	if op.action != "" {
		if err := c.allow(op.action, c.key); err != nil {
			return err
		}
	}
	if owner := c.r.Header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != c.account && c.bucket != "" {
		return s3Error("AccessDenied", "")
	}
	return op.serve(c)
}

// allow asks whether the principal may perform an action on a key of the
// request's bucket, or on the bucket if key is "".
func (c *call) allow(action, key string) error {
	resource := "*"
	switch {
	case key != "":
		resource = "arn:aws:s3:::" + c.bucket + "/" + key
	case c.bucket != "":
		resource = "arn:aws:s3:::" + c.bucket
	}
	err := c.authorize(c.p, action, resource)
	if deferd.CodeOf(err) == deferd.Denied {
		return s3Error("AccessDenied", "")
	}
	return err
}

// readBody reads a body that is no object: XML, or nothing. The longest is a
// list of 10,000 parts with their checksums.
func (c *call) readBody() ([]byte, error) { return readAll(c.body) }

func readAll(body io.Reader) ([]byte, error) {
	const most = 4 << 20
	b, err := io.ReadAll(io.LimitReader(body, most+1))
	if err != nil {
		return nil, readError(err)
	}
	if len(b) > most {
		return nil, s3Error("MalformedXML", "")
	}
	return b, nil
}

// readXML reads a body into v; false says that there is none.
func (c *call) readXML(v any) (bool, error) {
	b, err := c.readBody()
	if err != nil || len(b) == 0 {
		return false, err
	}
	return true, decodeXML(b, v)
}

// readProtected reads a body of XML and compares it with its checksums.
func (c *call) readProtected(v any) (protected bool, err error) {
	want, err := bodyDigests(c.r.Header, c.body)
	if err != nil {
		return false, err
	}
	d := newDigester(want)
	b, err := readAll(tee{c.body, d})
	if err != nil {
		return false, err
	}
	if err := d.check(); err != nil {
		return false, err
	}
	if err := decodeXML(b, v); err != nil {
		return false, err
	}
	return want.md5 != "" || want.sums != nil || want.trailer != nil, nil
}

// writeXML answers with a document.
func (c *call) writeXML(v any) error {
	b, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(xml.Header)+len(b)))
	c.w.WriteHeader(http.StatusOK)
	_, err = io.WriteString(c.w, xml.Header)
	if err == nil {
		_, err = c.w.Write(b)
	}
	c.gone(err)
	return nil
}

// gone notes that an answer did not reach the client.
func (c *call) gone(err error) {
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*deferd.Error](err); ok {
		c.log.ErrorContext(c.r.Context(), "read object", "bucket", c.bucket, "err", e)
		return
	}
	c.log.DebugContext(c.r.Context(), "answer was cut off", "err", err)
}

// An operation is one of S3's, found by method, by what the target is, and by
// a query parameter that marks it.
type operation struct {
	method string
	level  level
	marker string // "" for the plain one
	params string // further query parameters that it takes
	action string // to be authorized on the target; "" if serve asks itself
	serve  func(*call) error
}

type level int

const (
	serviceLevel level = iota
	bucketLevel
	objectLevel
)

func (t target) level() level {
	switch {
	case t.key != "":
		return objectLevel
	case t.bucket != "":
		return bucketLevel
	}
	return serviceLevel
}

const (
	listParams = "prefix delimiter max-keys encoding-type"
	getParams  = "versionId partNumber response-content-type response-content-language response-expires response-cache-control response-content-disposition response-content-encoding"
)

// operations are all there are. Marked ones stand before plain ones.
var operations = []operation{
	{"GET", objectLevel, "tagging", "versionId", "s3:GetObjectTagging", (*call).objectTagging},
	{"PUT", objectLevel, "tagging", "versionId", "s3:PutObjectTagging", (*call).putObjectTagging},
	{"DELETE", objectLevel, "tagging", "versionId", "s3:DeleteObjectTagging", (*call).deleteObjectTagging},
	{"GET", objectLevel, "attributes", "versionId", "s3:GetObjectAttributes", (*call).objectAttributes},
	{"GET", objectLevel, "acl", "versionId", "s3:GetObjectAcl", (*call).acl},
	{"PUT", objectLevel, "acl", "versionId", "s3:PutObjectAcl", (*call).putACL},
	{"GET", objectLevel, "retention", "versionId", "s3:GetObjectRetention", unlocked},
	{"GET", objectLevel, "legal-hold", "versionId", "s3:GetObjectLegalHold", unlocked},
	{"GET", objectLevel, "uploadId", "max-parts part-number-marker", "s3:ListMultipartUploadParts", (*call).listParts},
	{"GET", objectLevel, "", getParams, "s3:GetObject", (*call).getObject},
	{"HEAD", objectLevel, "", getParams, "s3:GetObject", (*call).getObject},
	{"PUT", objectLevel, "uploadId", "partNumber", "s3:PutObject", (*call).uploadPart},
	{"PUT", objectLevel, "", "", "s3:PutObject", (*call).putObject},
	{"DELETE", objectLevel, "uploadId", "", "s3:AbortMultipartUpload", (*call).abortUpload},
	{"DELETE", objectLevel, "", "versionId", "s3:DeleteObject", (*call).deleteObject},
	{"POST", objectLevel, "uploads", "", "s3:PutObject", (*call).createUpload},
	{"POST", objectLevel, "uploadId", "", "s3:PutObject", (*call).completeUpload},
	{"GET", bucketLevel, "location", "", "s3:GetBucketLocation", (*call).bucketLocation},
	{"GET", bucketLevel, "tagging", "", "s3:GetBucketTagging", (*call).bucketTagging},
	{"PUT", bucketLevel, "tagging", "", "s3:PutBucketTagging", (*call).putBucketTagging},
	{"DELETE", bucketLevel, "tagging", "", "s3:PutBucketTagging", (*call).deleteBucketTagging},
	{"GET", bucketLevel, "lifecycle", "withUpdatedAt", "s3:GetLifecycleConfiguration", (*call).lifecycle},
	{"PUT", bucketLevel, "lifecycle", "", "s3:PutLifecycleConfiguration", (*call).putLifecycle},
	{"DELETE", bucketLevel, "lifecycle", "", "s3:PutLifecycleConfiguration", (*call).deleteLifecycle},
	{"GET", bucketLevel, "acl", "", "s3:GetBucketAcl", (*call).acl},
	{"PUT", bucketLevel, "acl", "", "s3:PutBucketAcl", (*call).putACL},
	{"GET", bucketLevel, "versioning", "", "s3:GetBucketVersioning", document(&versioningResult{})},
	{"GET", bucketLevel, "logging", "", "s3:GetBucketLogging", document(&loggingResult{})},
	{"GET", bucketLevel, "notification", "", "s3:GetBucketNotification", document(&notificationResult{})},
	{"GET", bucketLevel, "accelerate", "", "s3:GetAccelerateConfiguration", document(&accelerateResult{})},
	{"GET", bucketLevel, "requestPayment", "", "s3:GetBucketRequestPayment", document(&paymentResult{Payer: "BucketOwner"})},
	{"GET", bucketLevel, "ownershipControls", "", "s3:GetBucketOwnershipControls", document(&ownershipResult{ObjectOwnership: "BucketOwnerEnforced"})},
	{"GET", bucketLevel, "policy", "", "s3:GetBucketPolicy", absent("NoSuchBucketPolicy")},
	{"GET", bucketLevel, "policyStatus", "", "s3:GetBucketPolicyStatus", absent("NoSuchBucketPolicy")},
	{"GET", bucketLevel, "cors", "", "s3:GetBucketCORS", absent("NoSuchCORSConfiguration")},
	{"GET", bucketLevel, "website", "", "s3:GetBucketWebsite", absent("NoSuchWebsiteConfiguration")},
	{"GET", bucketLevel, "encryption", "", "s3:GetEncryptionConfiguration", absent("ServerSideEncryptionConfigurationNotFoundError")},
	{"GET", bucketLevel, "replication", "", "s3:GetReplicationConfiguration", absent("ReplicationConfigurationNotFoundError")},
	{"GET", bucketLevel, "object-lock", "", "s3:GetBucketObjectLockConfiguration", absent("ObjectLockConfigurationNotFoundError")},
	{"GET", bucketLevel, "publicAccessBlock", "", "s3:GetBucketPublicAccessBlock", absent("NoSuchPublicAccessBlockConfiguration")},
	{"DELETE", bucketLevel, "policy", "", "s3:DeleteBucketPolicy", removed},
	{"DELETE", bucketLevel, "cors", "", "s3:PutBucketCORS", removed},
	{"DELETE", bucketLevel, "website", "", "s3:DeleteBucketWebsite", removed},
	{"DELETE", bucketLevel, "encryption", "", "s3:PutEncryptionConfiguration", removed},
	{"DELETE", bucketLevel, "replication", "", "s3:PutReplicationConfiguration", removed},
	{"DELETE", bucketLevel, "publicAccessBlock", "", "s3:PutBucketPublicAccessBlock", removed},
	{"GET", bucketLevel, "versions", "prefix delimiter max-keys encoding-type key-marker version-id-marker", "s3:ListBucketVersions", (*call).listVersions},
	{"GET", bucketLevel, "uploads", "prefix delimiter max-uploads key-marker upload-id-marker encoding-type", "s3:ListBucketMultipartUploads", (*call).listUploads},
	{"GET", bucketLevel, "list-type", listParams + " continuation-token start-after fetch-owner", "s3:ListBucket", (*call).listObjectsV2},
	{"GET", bucketLevel, "", listParams + " marker", "s3:ListBucket", (*call).listObjects},
	{"HEAD", bucketLevel, "", "", "s3:ListBucket", (*call).headBucket},
	{"PUT", bucketLevel, "", "", "s3:CreateBucket", (*call).createBucket},
	{"DELETE", bucketLevel, "", "", "s3:DeleteBucket", (*call).deleteBucket},
	{"POST", bucketLevel, "delete", "", "", (*call).deleteObjects},
	{"GET", serviceLevel, "", "prefix max-buckets continuation-token bucket-region", "s3:ListAllMyBuckets", (*call).listBuckets},
}

// findOperation finds the operation of a request. A query parameter that it
// does not take may ask for another one, so it is refused.
func findOperation(method string, t target, query url.Values) (*operation, error) {
	at := t.level()
	for i := range operations {
		op := &operations[i]
		if op.method != method || op.level != at || op.marker != "" && !query.Has(op.marker) {
			continue
		}
		for name := range query {
			if name != op.marker && !hasWord(op.params, name) {
				return nil, notImplemented("The query parameter " + strconv.Quote(name))
			}
		}
		return op, nil
	}
	if len(query) > 0 {
		return nil, notImplemented("This operation")
	}
	return nil, s3Error("MethodNotAllowed", "")
}

func hasWord(words, word string) bool {
	for w := range strings.SplitSeq(words, " ") {
		if w == word && w != "" {
			return true
		}
	}
	return false
}
