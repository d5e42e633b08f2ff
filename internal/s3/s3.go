// Package s3 is any S3 as a [deferd.ObjectStore]: Amazon's, or a server that
// speaks its protocol.
//
// The client retries a few times by itself; whoever uses the store retries for
// as long as it is worth. Checksums are computed only where the protocol needs
// one: many stores refuse the client's newer default.
package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/deferd/deferd"
)

var _ deferd.ObjectStore = (*Store)(nil)

// Config says where the store is and who asks.
type Config struct {
	Endpoint  string // base URL
	Region    string
	PathStyle bool // the bucket stands in the path, not in the host name

	// The keys; where there are none, they are found as AWS's SDKs find them.
	AccessKey, SecretKey, SessionToken string

	// Connections is how many are kept open. Fewer than there are concurrent
	// requests means a handshake for each of the others. Default 128.
	Connections int
}

// A Store is a client of an S3.
type Store struct {
	client *s3.Client
}

// New returns a store. It asks nothing of the S3 yet.
func New(ctx context.Context, c Config) (*Store, error) {
	options := []func(*config.LoadOptions) error{
		config.WithRegion(c.Region),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = cmp.Or(c.Connections, 128)
			t.MaxIdleConns = t.MaxIdleConnsPerHost
			t.DisableCompression = true
		})),
	}
	if c.AccessKey != "" {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	return &Store{client: s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint = aws.String(c.Endpoint)
		o.UsePathStyle = c.PathStyle
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})}, nil
}

// Get opens an object.
func (s *Store) Get(ctx context.Context, l deferd.Location, o deferd.GetObject) (*deferd.Object, error) {
	in := &s3.GetObjectInput{Bucket: &l.Bucket, Key: &l.Key}
	if o.Offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", o.Offset))
	}
	if o.IfMatch != "" {
		in.IfMatch = &o.IfMatch
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		if code(err) == "InvalidRange" {
			return s.atEnd(ctx, l, o)
		}
		return nil, translate("get", l, err)
	}
	info := deferd.ObjectInfo{
		ObjectAttributes: deferd.ObjectAttributes{ContentType: aws.ToString(out.ContentType), Metadata: lower(out.Metadata)},
		Key:              l.Key,
		Size:             o.Offset + aws.ToInt64(out.ContentLength),
		ETag:             aws.ToString(out.ETag),
		Modified:         aws.ToTime(out.LastModified),
	}
	return &deferd.Object{ObjectInfo: info, Body: &body{ReadCloser: out.Body, location: l}}, nil
}

// atEnd is the open object of which nothing is left to read: S3 takes no range
// that begins at an object's end.
func (s *Store) atEnd(ctx context.Context, l deferd.Location, o deferd.GetObject) (*deferd.Object, error) {
	info, err := s.Head(ctx, l)
	switch {
	case err != nil:
		return nil, err
	case o.IfMatch != "" && strings.Trim(o.IfMatch, `"`) != strings.Trim(info.ETag, `"`):
		return nil, &deferd.Error{Code: deferd.Changed, Msg: "PreconditionFailed"}
	case o.Offset > info.Size:
		return nil, &deferd.Error{Code: deferd.Invalid, Msg: "InvalidRange"}
	}
	return &deferd.Object{ObjectInfo: info, Body: http.NoBody}, nil
}

// A body fails with Unavailable where it ends early.
type body struct {
	io.ReadCloser
	location deferd.Location
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &deferd.Error{Code: deferd.Unavailable, Msg: "IncompleteBody", Err: fmt.Errorf("read %s: %w", b.location, err)}
	}
	return n, err
}

// Head describes an object.
func (s *Store) Head(ctx context.Context, l deferd.Location) (deferd.ObjectInfo, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &l.Bucket, Key: &l.Key})
	if err != nil {
		return deferd.ObjectInfo{}, s.explainHead(ctx, l, err)
	}
	return deferd.ObjectInfo{
		ObjectAttributes: deferd.ObjectAttributes{ContentType: aws.ToString(out.ContentType), Metadata: lower(out.Metadata)},
		Key:              l.Key,
		Size:             aws.ToInt64(out.ContentLength),
		ETag:             aws.ToString(out.ETag),
		Modified:         aws.ToTime(out.LastModified),
	}, nil
}

// explainHead finds the code of a HEAD that was refused: the answer to one has
// no body to hold it.
func (s *Store) explainHead(ctx context.Context, l deferd.Location, err error) error {
	translated := translate("head", l, err)
	if deferd.CodeOf(translated) != deferd.NotFound {
		return translated
	}
	msg := "NoSuchKey"
	if _, berr := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &l.Bucket}); berr != nil &&
		deferd.CodeOf(translate("head", l, berr)) == deferd.NotFound {
		msg = "NoSuchBucket"
	}
	return &deferd.Error{Code: deferd.NotFound, Msg: msg, Err: err}
}

// List yields objects by prefix.
func (s *Store) List(ctx context.Context, l deferd.Location) iter.Seq2[deferd.ObjectInfo, error] {
	return func(yield func(deferd.ObjectInfo, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &l.Bucket, Prefix: &l.Key})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(deferd.ObjectInfo{}, translate("list", l, err))
				return
			}
			for _, o := range page.Contents {
				info := deferd.ObjectInfo{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag), Modified: aws.ToTime(o.LastModified)}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// once keeps the client from asking again. What makes an outcome visible is
// tried again by who first looks whether it is visible already: asked for again
// blindly, an object that somebody has seen would get another date, and one that
// its client has taken away would come back.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// Put stores a whole object. It asks once.
func (s *Store) Put(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes, data []byte) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &l.Bucket, Key: &l.Key, Body: bytes.NewReader(data), ContentLength: aws.Int64(int64(len(data))),
		ContentType: optional(a.ContentType), Metadata: a.Metadata,
	}, once)
	return translate("put", l, err)
}

// CreateUpload begins a multipart upload.
func (s *Store) CreateUpload(ctx context.Context, l deferd.Location, a deferd.ObjectAttributes) (string, error) {
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &l.Bucket, Key: &l.Key, ContentType: optional(a.ContentType), Metadata: a.Metadata,
	})
	if err != nil {
		return "", translate("begin an upload to", l, err)
	}
	return aws.ToString(out.UploadId), nil
}

// UploadPart stores a part. A body that can be read again is sent again by the
// client where that is needed.
func (s *Store) UploadPart(ctx context.Context, u deferd.Upload, n int, size int64, data io.Reader) (deferd.Part, error) {
	if _, ok := data.(io.ReadSeeker); !ok {
		// Signing needs the bytes twice. Parts are what fits into memory.
		b, err := io.ReadAll(io.LimitReader(data, size+1))
		if err != nil {
			return deferd.Part{}, fmt.Errorf("read part %d: %w", n, err)
		}
		if int64(len(b)) != size {
			return deferd.Part{}, &deferd.Error{Code: deferd.Invalid, Msg: "IncompleteBody"}
		}
		data = bytes.NewReader(b)
	}
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &u.Location.Bucket, Key: &u.Location.Key, UploadId: &u.ID, PartNumber: aws.Int32(int32(n)),
		Body: data, ContentLength: &size,
	})
	if err != nil {
		return deferd.Part{}, translate("upload a part of", u.Location, err)
	}
	return deferd.Part{Number: n, ETag: aws.ToString(out.ETag), Size: size}, nil
}

// CompleteUpload makes the parts the object. It asks once.
func (s *Store) CompleteUpload(ctx context.Context, u deferd.Upload) error {
	parts := make([]types.CompletedPart, len(u.Parts))
	for i, p := range u.Parts {
		parts[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(p.ETag)}
	}
	_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.Location.Bucket, Key: &u.Location.Key, UploadId: &u.ID,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}, once)
	return translate("complete the upload to", u.Location, err)
}

// AbortUpload drops an upload.
func (s *Store) AbortUpload(ctx context.Context, u deferd.Upload) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.Location.Bucket, Key: &u.Location.Key, UploadId: &u.ID,
	})
	if err = translate("abort the upload to", u.Location, err); err != nil && deferd.CodeOf(err) == deferd.NotFound {
		return nil
	}
	return err
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// lower is metadata with its names as [deferd.ObjectAttributes] has them.
func lower(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[strings.ToLower(k)] = v
	}
	return out
}

// code is S3's own code of an error, "" where it gave none.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// translate gives an error of the client a code of ours. It is nil for nil.
func translate(what string, l deferd.Location, err error) error {
	if err == nil {
		return nil
	}
	status := 0
	if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		status = r.HTTPStatusCode()
	}
	name := code(err)
	e := &deferd.Error{Code: codeOf(name, status), Msg: name, Err: fmt.Errorf("%s %s: %w", what, l, err)}
	switch {
	case name == "NotFound":
		e.Msg = "NoSuchKey" // a HEAD's answer has no code
	case name == "":
		e.Msg = "ServiceUnavailable"
	}
	return e
}

// codeOf says what the caller can do about S3's code and status.
func codeOf(name string, status int) deferd.Code {
	switch name {
	case "NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NotFound":
		return deferd.NotFound
	case "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AllAccessDisabled":
		return deferd.Denied
	case "EntityTooLarge":
		return deferd.TooLarge
	case "PreconditionFailed", "ConditionalRequestConflict":
		return deferd.Changed
	case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted", "RequestTimeTooSkewed":
		return deferd.Unavailable
	}
	switch {
	case status == http.StatusNotFound:
		return deferd.NotFound
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return deferd.Denied
	case status == http.StatusPreconditionFailed:
		return deferd.Changed
	case status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout:
		return deferd.Invalid
	}
	return deferd.Unavailable
}
