package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// objects is an S3 as the verbs use it. Transfers are in transfer.go.
type objects struct{ client *s3.Client }

// An objectInfo is an object as a list shows it.
type objectInfo struct {
	Key      string    `json:"key"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified,omitzero"`
}

// list yields the objects below a prefix in the order of their keys. With
// folders, what has a slash after the prefix is yielded once, as a key that
// ends with it and has no time.
func (o *objects) list(ctx context.Context, bucket, prefix string, folders bool) iter.Seq2[objectInfo, error] {
	in := &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix}
	if folders {
		in.Delimiter = aws.String("/")
	}
	pages := s3.NewListObjectsV2Paginator(o.client, in)
	return func(yield func(objectInfo, error) bool) {
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(objectInfo{}, located("list", bucket, prefix, err))
				return
			}
			for _, p := range page.CommonPrefixes {
				if !yield(objectInfo{Key: aws.ToString(p.Prefix)}, nil) {
					return
				}
			}
			for _, c := range page.Contents {
				if !yield(objectInfo{aws.ToString(c.Key), aws.ToInt64(c.Size), aws.ToTime(c.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// buckets lists all buckets.
func (o *objects) buckets(ctx context.Context) ([]types.Bucket, error) {
	out, err := o.client.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return nil, err
	}
	return out.Buckets, nil
}

// An openObject is an object that is being read. Where the connection breaks it
// reads on over another one, as long as the object is the same.
type openObject struct {
	contentType string

	ctx         context.Context // of the reading
	objects     *objects
	bucket, key string
	etag        *string
	body        io.ReadCloser
	at          int64
	size        int64
	breaks      int
}

// maxBreaks is how often a connection may break while an object is read.
const maxBreaks = 5

func (o *objects) open(ctx context.Context, bucket, key string) (*openObject, error) {
	out, err := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, located("read", bucket, key, err)
	}
	return &openObject{
		contentType: aws.ToString(out.ContentType),
		ctx:         ctx, objects: o, bucket: bucket, key: key,
		etag: out.ETag, body: out.Body, size: aws.ToInt64(out.ContentLength),
	}, nil
}

func (o *openObject) Read(b []byte) (int, error) {
	n, err := o.body.Read(b)
	o.at += int64(n)
	whole := errors.Is(err, io.EOF) && o.at >= o.size
	if err == nil || whole || o.ctx.Err() != nil || o.at >= o.size || o.etag == nil || o.breaks == maxBreaks {
		return n, err
	}
	o.breaks++
	return n, o.reopen()
}

// reopen goes on where the connection broke.
func (o *openObject) reopen() error {
	out, err := o.objects.client.GetObject(o.ctx, &s3.GetObjectInput{
		Bucket: &o.bucket, Key: &o.key, IfMatch: o.etag, Range: aws.String(fmt.Sprintf("bytes=%d-", o.at)),
	})
	if err != nil {
		return located("read on in", o.bucket, o.key, err)
	}
	err = o.body.Close()
	o.body = out.Body
	if err != nil && o.ctx.Err() != nil {
		return err
	}
	return nil // a broken connection may well fail to close
}

func (o *openObject) Close() error { return o.body.Close() }

// head returns an object's size and type.
func (o *objects) head(ctx context.Context, bucket, key string) (size int64, contentType string, err error) {
	out, err := o.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return 0, "", located("look at", bucket, key, err)
	}
	return aws.ToInt64(out.ContentLength), aws.ToString(out.ContentType), nil
}

// maxBatch is how many keys one request deletes.
const maxBatch = 1000

// remove deletes up to maxBatch objects.
func (o *objects) remove(ctx context.Context, bucket string, keys ...string) error {
	if len(keys) == 1 {
		_, err := o.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &keys[0]})
		return located("delete", bucket, keys[0], err)
	}
	in := &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Quiet: aws.Bool(true)}}
	for _, key := range keys {
		in.Delete.Objects = append(in.Delete.Objects, types.ObjectIdentifier{Key: &key})
	}
	out, err := o.client.DeleteObjects(ctx, in)
	if err != nil {
		return located("delete from", bucket, "", err)
	}
	var errs []error
	for _, e := range out.Errors {
		errs = append(errs, fmt.Errorf("delete s3://%s/%s: %s: %s", bucket, aws.ToString(e.Key), aws.ToString(e.Code), aws.ToString(e.Message)))
	}
	return errors.Join(errs...)
}

func (o *objects) bucketExists(ctx context.Context, bucket string) (bool, error) {
	_, err := o.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	switch {
	case err == nil:
		return true, nil
	case isMissing(err):
		return false, nil
	}
	return false, located("look at", bucket, "", err)
}

func (o *objects) createBucket(ctx context.Context, bucket string) error {
	in := &s3.CreateBucketInput{Bucket: &bucket}
	if region := o.client.Options().Region; region != defaultRegion {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	_, err := o.client.CreateBucket(ctx, in)
	return located("create", bucket, "", err)
}

func (o *objects) deleteBucket(ctx context.Context, bucket string) error {
	_, err := o.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	return located("delete", bucket, "", err)
}

// located says what was to be done with which object, in S3's words.
func located(doing, bucket, key string, err error) error {
	if err == nil {
		return nil
	}
	where := doing + " s3://" + bucket
	if key != "" {
		where += "/" + key
	}
	e, refused := asAPIError(err)
	if !refused {
		return fmt.Errorf("%s: %w", where, err)
	}
	e.operation = where
	if bare := strings.TrimSpace(e.msg); bare == "" || bare == e.code {
		e.msg = e.code
	}
	return e
}

// copySource is how a copy names where it is from.
func copySource(bucket, key string) string {
	return bucket + "/" + strings.NewReplacer("%2F", "/", "+", "%2B").Replace(url.PathEscape(key))
}
