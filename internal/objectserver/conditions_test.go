package objectserver

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// race runs n attempts at once and counts those that succeed. The others must
// fail with one of the codes.
func race(t *testing.T, n int, attempt func(i int) error, codes ...string) int64 {
	t.Helper()
	var won atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			err := attempt(i)
			if err == nil {
				won.Add(1)
				return
			}
			api, ok := errors.AsType[smithy.APIError](err)
			for _, code := range codes {
				if ok && api.ErrorCode() == code {
					return
				}
			}
			t.Errorf("attempt %d: %v, want success or one of %q", i, err, codes)
		})
	}
	close(start)
	wg.Wait()
	return won.Load()
}

// TestClientRaces lets many clients write one key under a condition that holds
// for the first of them only.
func TestClientRaces(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx, bucket := t.Context(), aws.String("bucket")
	const writers = 24
	for _, size := range []int{10, 300 << 10} { // in the log, and in a file
		body := strings.Repeat("x", size)
		key := aws.String(fmt.Sprint("key", size))
		put := func(i int, match, none *string) error {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(fmt.Sprint(body, i)), IfMatch: match, IfNoneMatch: none})
			return err
		}
		for round := range 5 {
			if won := race(t, writers, func(i int) error { return put(i, nil, aws.String("*")) }, "PreconditionFailed"); won != 1 {
				t.Errorf("%d bytes, round %d: %d clients created the object, want 1", size, round, won)
			}
			head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
			if err != nil {
				t.Fatal(err)
			}
			if won := race(t, writers, func(i int) error { return put(writers+i, head.ETag, nil) }, "PreconditionFailed"); won != 1 {
				t.Errorf("%d bytes, round %d: %d clients replaced the object, want 1", size, round, won)
			}
			if head, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key}); err != nil {
				t.Fatal(err)
			}
			won := race(t, writers, func(int) error {
				_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key, IfMatch: head.ETag})
				return err
			}, "PreconditionFailed", "NoSuchKey")
			if won != 1 {
				t.Errorf("%d bytes, round %d: %d clients deleted the object, want 1", size, round, won)
			}
		}
	}
}

// TestClientRaceOfUploads completes many uploads to one key, each under the
// condition that it is the first.
func TestClientRaceOfUploads(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("k")
	const uploads = 12
	bodies := 0 // all differ, and with them the ETags
	begin := func() []*s3.CompleteMultipartUploadInput {
		var all []*s3.CompleteMultipartUploadInput
		for range uploads {
			bodies++
			up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
			if err != nil {
				t.Fatal(err)
			}
			p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader(fmt.Sprint(bodies))})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{
				Parts: []types.CompletedPart{{ETag: p.ETag, PartNumber: aws.Int32(1)}},
			}})
		}
		return all
	}
	complete := func(in *s3.CompleteMultipartUploadInput) error {
		_, err := c.CompleteMultipartUpload(ctx, in)
		return err
	}
	all := begin()
	var winner atomic.Int64
	won := race(t, uploads, func(i int) error {
		all[i].IfNoneMatch = aws.String("*")
		err := complete(all[i])
		if err == nil {
			winner.Store(int64(i))
		}
		return err
	}, "PreconditionFailed")
	if won != 1 {
		t.Errorf("%d uploads created the object, want 1", won)
	}
	first := all[winner.Load()]
	if err := complete(first); err != nil {
		t.Errorf("completing the winner again: %v", err)
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	all = begin()
	won = race(t, uploads, func(i int) error {
		all[i].IfMatch = head.ETag
		return complete(all[i])
	}, "PreconditionFailed")
	if won != 1 {
		t.Errorf("%d uploads replaced the object, want 1", won)
	}
	absent := begin()[0]
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
		t.Fatal(err)
	}
	absent.IfMatch = head.ETag
	wantCode(t, "completing under a match with nothing", complete(absent), "NoSuchKey")
}

// TestConditionNames reads which condition an answer says did not hold, and
// takes ETags in the forms that clients send.
func TestConditionNames(t *testing.T) {
	srv := newServer(t, HandlerOptions{})
	c := newClient(srv)
	etag := strings.Trim(*putString(t, c, "k", "body").ETag, `"`)
	past, future := time.Now().Add(-time.Hour).UTC().Format(time.RFC1123), time.Now().Add(time.Hour).UTC().Format(time.RFC1123)
	past, future = strings.Replace(past, "UTC", "GMT", 1), strings.Replace(future, "UTC", "GMT", 1)
	tests := []struct {
		name, method, key string
		header            map[string]string
		status            int
		code, condition   string
	}{
		{"put", "PUT", "k", map[string]string{"If-None-Match": "*"}, 412, "PreconditionFailed", "If-None-Match"},
		{"put", "PUT", "k", map[string]string{"If-Match": `"other"`}, 412, "PreconditionFailed", "If-Match"},
		{"put of an absent key", "PUT", "absent", map[string]string{"If-Match": etag}, 404, "NoSuchKey", ""},
		{"put under any", "PUT", "absent", map[string]string{"If-Match": "*"}, 404, "NoSuchKey", ""},
		{"put under a list", "PUT", "k", map[string]string{"If-None-Match": `"x"`}, 501, "NotImplemented", ""},
		{"half quoted", "PUT", "k", map[string]string{"If-Match": `"` + etag}, 200, "", ""},
		{"half quoted behind", "PUT", "k", map[string]string{"If-Match": etag + `"`}, 200, "", ""},
		{"unquoted", "PUT", "k", map[string]string{"If-Match": etag}, 200, "", ""},
		{"delete", "DELETE", "k", map[string]string{"If-Match": `"other"`}, 412, "PreconditionFailed", "If-Match"},
		{"delete of an absent key", "DELETE", "absent", map[string]string{"If-Match": etag}, 404, "NoSuchKey", ""},
		{"read", "GET", "k", map[string]string{"If-Match": `"other"`}, 412, "PreconditionFailed", "If-Match"},
		{"read unmodified", "GET", "k", map[string]string{"If-Unmodified-Since": past}, 412, "PreconditionFailed", "If-Unmodified-Since"},
		{"read matched, modified", "GET", "k", map[string]string{"If-Match": etag, "If-Unmodified-Since": past}, 200, "", ""},
		{"read not modified", "GET", "k", map[string]string{"If-Modified-Since": future}, 304, "", ""},
		{"read of another", "GET", "k", map[string]string{"If-None-Match": "x", "If-Modified-Since": future}, 200, "", ""},

		{"copy", "PUT", "to", map[string]string{"x-amz-copy-source-if-match": etag}, 200, "", ""},
		{"copy", "PUT", "to", map[string]string{"x-amz-copy-source-if-match": "x"}, 412, "PreconditionFailed", "x-amz-copy-source-if-match"},
		{"copy", "PUT", "to", map[string]string{"x-amz-copy-source-if-none-match": etag}, 412, "PreconditionFailed", "x-amz-copy-source-if-none-match"},
		{"copy", "PUT", "to", map[string]string{"x-amz-copy-source-if-none-match": "x"}, 200, "", ""},
		{"copy", "PUT", "to", map[string]string{"x-amz-copy-source-if-unmodified-since": past}, 412, "PreconditionFailed", "x-amz-copy-source-if-unmodified-since"},
		{"copy", "PUT", "to", map[string]string{"x-amz-copy-source-if-unmodified-since": future}, 200, "", ""},
		{"copy", "PUT", "to", map[string]string{"x-amz-copy-source-if-modified-since": future}, 412, "PreconditionFailed", "x-amz-copy-source-if-modified-since"},
		{"copy", "PUT", "to", map[string]string{"x-amz-copy-source-if-modified-since": past}, 200, "", ""},
		{"copy, matched though modified", "PUT", "to", map[string]string{"x-amz-copy-source-if-match": etag, "x-amz-copy-source-if-unmodified-since": past}, 200, "", ""},
		{"copy, not matched and modified", "PUT", "to", map[string]string{"x-amz-copy-source-if-none-match": etag, "x-amz-copy-source-if-modified-since": past}, 412, "PreconditionFailed", "x-amz-copy-source-if-none-match"},
		{"copy onto what is there", "PUT", "to", map[string]string{"If-None-Match": "*"}, 412, "PreconditionFailed", "If-None-Match"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.name, test.header), func(t *testing.T) {
			body := "body"
			if strings.HasPrefix(test.name, "copy") {
				test.header["x-amz-copy-source"], body = "/bucket/k", ""
			}
			raw := rawTest{method: test.method, path: "/bucket/" + test.key, header: test.header, body: body, status: test.status, code: test.code}
			if test.condition != "" {
				raw.check = func(b []byte) error {
					var e struct{ Condition string }
					if err := xml.Unmarshal(b, &e); err != nil || e.Condition != test.condition {
						return fmt.Errorf("condition %q, %v; want %q", e.Condition, err, test.condition)
					}
					return nil
				}
			}
			raw.run(t, srv)
		})
	}
}
