// Command minio walks through deferd's S3 with minio-go, which knows objects
// and nothing else.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/deferd/deferd/conformance/gowalk/step"
)

func main() {
	w := &walk{ctx: context.Background(), bucket: step.Name()}
	var err error
	if w.Client, err = connect(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	step.Run("minio-go", step.Version("github.com/minio/minio-go/v7"), []step.Step{
		{Name: "identity", Run: objectsOnly},
		{Name: "create", Run: objectsOnly},
		{Name: "wait", Run: objectsOnly},
		{Name: "upload", Run: w.upload},
		{Name: "invoke-s3", Run: objectsOnly},
		{Name: "invoke-inline", Run: objectsOnly},
		{Name: "invoke-named", Run: objectsOnly},
		{Name: "poll", Run: w.poll},
		{Name: "failure", Run: objectsOnly},
		{Name: "refusals", Run: w.refusals},
		{Name: "presign", Run: w.presign},
		{Name: "list", Run: w.list},
		{Name: "tags", Run: objectsOnly},
		{Name: "update", Run: objectsOnly},
		{Name: "download", Run: w.download},
		{Name: "copy", Run: w.copy},
		{Name: "delete-objects", Run: w.deleteObjects},
		{Name: "delete", Run: objectsOnly},
	})
}

func objectsOnly() error { return step.Absent("an S3 client: it knows objects only") }

func connect(key, secret string) (*minio.Client, error) {
	server, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL"))
	if err != nil {
		return nil, err
	}
	return minio.New(server.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(key, secret, ""),
		Secure: server.Scheme == "https",
		Region: os.Getenv("AWS_REGION"),
	})
}

// A walk is a user with minio-go's client.
type walk struct {
	*minio.Client
	ctx    context.Context
	bucket string
}

// large returns what is sent in parts; always the same.
func large() []byte {
	data := make([]byte, 40<<20)
	rand.New(rand.NewSource(2)).Read(data)
	return data
}

func (w *walk) upload() error {
	if err := w.MakeBucket(w.ctx, w.bucket, minio.MakeBucketOptions{}); err != nil {
		return err
	}
	there, err := w.BucketExists(w.ctx, w.bucket)
	if err := errors.Join(err, step.Equal("the bucket exists", there, true)); err != nil {
		return err
	}
	data := large()
	_, err = w.PutObject(w.ctx, w.bucket, "in/large", bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{
		ContentType: "image/x-raw",
	})
	if err != nil {
		return err
	}
	// Of a stream of which nobody knows the length.
	_, err = w.PutObject(w.ctx, w.bucket, "in/stream", io.MultiReader(bytes.NewReader(data)), -1, minio.PutObjectOptions{
		PartSize: 8 << 20,
	})
	if err != nil {
		return err
	}
	info, err := w.StatObject(w.ctx, w.bucket, "in/large", minio.StatObjectOptions{})
	return errors.Join(err,
		step.Equal("length", info.Size, int64(len(data))),
		step.Equal("content type", info.ContentType, "image/x-raw"),
	)
}

func (w *walk) put(key, data string) error {
	_, err := w.PutObject(w.ctx, w.bucket, key, strings.NewReader(data), int64(len(data)), minio.PutObjectOptions{
		ContentType: "text/plain", UserMetadata: map[string]string{"Key": "yes"},
	})
	return err
}

func (w *walk) get(key string, o minio.GetObjectOptions) (string, error) {
	object, err := w.GetObject(w.ctx, w.bucket, key, o)
	if err != nil {
		return "", err
	}
	defer object.Close()
	data, err := io.ReadAll(object)
	return string(data), err
}

// refused returns an error unless err is S3's of that code.
func refused(err error, code string, status int) error {
	if err == nil {
		return fmt.Errorf("got no error, want %s", code)
	}
	e := minio.ToErrorResponse(err)
	return errors.Join(step.Equal("error code", e.Code, code), step.Equal("status", e.StatusCode, status))
}

// poll asks for an object that is put a moment later.
func (w *walk) poll() error {
	_, stat := w.StatObject(w.ctx, w.bucket, "later", minio.StatObjectOptions{})
	_, got := w.get("later", minio.GetObjectOptions{})
	put := make(chan error, 1)
	time.AfterFunc(300*time.Millisecond, func() { put <- w.put("later", "later") })
	polled := step.Until("object", func() (bool, error) {
		data, err := w.get("later", minio.GetObjectOptions{})
		if minio.ToErrorResponse(err).Code == "NoSuchKey" {
			return false, nil
		}
		return true, errors.Join(err, step.Equal("object", data, "later"))
	})
	return errors.Join(refused(stat, "NoSuchKey", 404), refused(got, "NoSuchKey", 404), polled, <-put)
}

func (w *walk) refusals() error {
	wrong, err := connect(os.Getenv("AWS_ACCESS_KEY_ID"), "wrong")
	if err != nil {
		return err
	}
	_, signed := wrong.ListBuckets(w.ctx)
	unknown, err := connect("AKIAUNKNOWN000000000", "wrong")
	if err != nil {
		return err
	}
	_, stranger := unknown.ListBuckets(w.ctx)
	_, bucket := w.PutObject(w.ctx, "no-such-bucket", "k", strings.NewReader("x"), 1, minio.PutObjectOptions{})
	return errors.Join(
		refused(signed, "SignatureDoesNotMatch", 403),
		refused(stranger, "InvalidAccessKeyId", 403),
		refused(bucket, "NoSuchBucket", 404),
		refused(w.RemoveBucket(w.ctx, w.bucket), "BucketNotEmpty", 409),
	)
}

func (w *walk) presign() error {
	put, err := w.PresignedPutObject(w.ctx, w.bucket, "in/by url", time.Minute)
	if err != nil {
		return err
	}
	get, err := w.PresignedGetObject(w.ctx, w.bucket, "in/by url", time.Minute, url.Values{
		"response-content-type": {"text/css"},
	})
	if err != nil {
		return err
	}
	return errors.Join(
		fetches("PUT", put.String(), "by URL", http.StatusOK, ""),
		fetches("GET", get.String(), "", http.StatusOK, "by URL"),
		fetches("GET", strings.Replace(get.String(), "by%20url", "large", 1), "", http.StatusForbidden, "SignatureDoesNotMatch"),
	)
}

// fetches uses a URL as a program does that knows nothing of S3.
func fetches(method, url, body string, status int, want string) error {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return errors.Join(err, step.Equal("status", resp.StatusCode, status), step.Contains(method, string(got), want))
}

var oddKeys = []string{"odd/a b", "odd/a//b", "odd/ä+%2F"}

func (w *walk) list() error {
	for _, key := range oddKeys {
		if err := w.put(key, key); err != nil {
			return err
		}
	}
	for _, o := range []minio.ListObjectsOptions{
		{Prefix: "odd/", Recursive: true, MaxKeys: 2},
		{Prefix: "odd/", Recursive: true, MaxKeys: 2, UseV1: true},
	} {
		if keys, err := w.keys(o); err != nil || !slices.Equal(keys, oddKeys) {
			return fmt.Errorf("keys: got %q and %w, want %q", keys, err, oddKeys)
		}
	}
	keys, err := w.keys(minio.ListObjectsOptions{Prefix: "od"})
	if err != nil || !slices.Equal(keys, []string{"odd/"}) {
		return fmt.Errorf("folders: got %q and %w, want odd/", keys, err)
	}
	for _, key := range oddKeys {
		var o minio.GetObjectOptions
		if err := o.SetRange(0, 2); err != nil {
			return err
		}
		data, err := w.get(key, o)
		info, statErr := w.StatObject(w.ctx, w.bucket, key, minio.StatObjectOptions{})
		err = errors.Join(err, statErr, step.Equal("range", data, key[:3]), step.Equal("metadata", info.UserMetadata["Key"], "yes"))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) keys(o minio.ListObjectsOptions) (keys []string, err error) {
	for found := range w.ListObjects(w.ctx, w.bucket, o) {
		if found.Err != nil {
			return nil, found.Err
		}
		keys = append(keys, found.Key)
	}
	return keys, nil
}

func (w *walk) download() error {
	return errors.Join(w.isLarge("in/large"), w.isLarge("in/stream"))
}

func (w *walk) isLarge(key string) error {
	data, err := w.get(key, minio.GetObjectOptions{Checksum: true})
	return errors.Join(err, step.Equal("hash of "+key, sha256.Sum256([]byte(data)), sha256.Sum256(large())))
}

func (w *walk) copy() error {
	_, err := w.CopyObject(w.ctx,
		minio.CopyDestOptions{Bucket: w.bucket, Object: "copy/a b"},
		minio.CopySrcOptions{Bucket: w.bucket, Object: "odd/ä+%2F"})
	if err != nil {
		return err
	}
	data, err := w.get("copy/a b", minio.GetObjectOptions{})
	if err := errors.Join(err, step.Equal("copy", data, "odd/ä+%2F")); err != nil {
		return err
	}
	// In parts, of two objects.
	_, err = w.ComposeObject(w.ctx,
		minio.CopyDestOptions{Bucket: w.bucket, Object: "copy/composed"},
		minio.CopySrcOptions{Bucket: w.bucket, Object: "in/large"},
		minio.CopySrcOptions{Bucket: w.bucket, Object: "copy/a b"})
	if err != nil {
		return err
	}
	composed, err := w.get("copy/composed", minio.GetObjectOptions{})
	return errors.Join(err, step.Equal("hash", sha256.Sum256([]byte(composed)), sha256.Sum256(append(large(), "odd/ä+%2F"...))))
}

func (w *walk) deleteObjects() error {
	there := w.ListObjects(w.ctx, w.bucket, minio.ListObjectsOptions{Recursive: true})
	for e := range w.RemoveObjects(w.ctx, w.bucket, there, minio.RemoveObjectsOptions{}) {
		return fmt.Errorf("%s: %w", e.ObjectName, e.Err)
	}
	left, err := w.keys(minio.ListObjectsOptions{Recursive: true})
	return errors.Join(err,
		step.Equal("objects left", len(left), 0),
		w.RemoveObject(w.ctx, w.bucket, "never/was", minio.RemoveObjectOptions{}),
		w.RemoveBucket(w.ctx, w.bucket),
	)
}
