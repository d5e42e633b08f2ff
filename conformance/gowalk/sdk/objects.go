package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/deferd/deferd/conformance/gowalk/step"
)

func (w *walk) location(key string) string { return "s3://" + w.bucket + "/" + key }

func split(location string) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(location, "s3://"), "/")
	return bucket, key
}

func (w *walk) put(key, contentType, data string) (location string, err error) {
	in := &s3.PutObjectInput{Bucket: &w.bucket, Key: &key, Body: strings.NewReader(data), Metadata: map[string]string{"key": "yes"}}
	if contentType != "" {
		in.ContentType = &contentType
	}
	_, err = w.s3.PutObject(w.ctx, in)
	return w.location(key), err
}

// get polls until there is an object at the location.
func (w *walk) get(location string) (data, contentType string, err error) {
	where, key := split(location)
	err = step.Until(location, func() (bool, error) {
		out, err := w.s3.GetObject(w.ctx, &s3.GetObjectInput{Bucket: &where, Key: &key})
		if _, ok := errors.AsType[*types.NoSuchKey](err); ok {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		defer out.Body.Close()
		b, err := io.ReadAll(out.Body)
		data, contentType = string(b), aws.ToString(out.ContentType)
		return true, err
	})
	return data, contentType, err
}

func (w *walk) awaits(location, want, contentType string) error {
	data, ct, err := w.get(location)
	return errors.Join(err, step.Equal("object", data, want), step.Equal("content type", ct, contentType))
}

func (w *walk) missing(location string) error {
	where, key := split(location)
	_, got := w.s3.GetObject(w.ctx, &s3.GetObjectInput{Bucket: &where, Key: &key})
	_, head := w.s3.HeadObject(w.ctx, &s3.HeadObjectInput{Bucket: &where, Key: &key})
	return errors.Join(refused(got, "NoSuchKey", ""), refused(head, "NotFound", ""))
}

// large returns what is sent in parts; always the same.
func large() []byte {
	data := make([]byte, 40<<20)
	rand.New(rand.NewSource(2)).Read(data)
	return data
}

func (w *walk) upload() error {
	_, err := w.transfer.UploadObject(w.ctx, &transfermanager.UploadObjectInput{
		Bucket: &w.bucket, Key: aws.String("in/large"), Body: bytes.NewReader(large()), ContentType: aws.String("image/x-raw"),
	})
	if err != nil {
		return err
	}
	head, err := w.s3.HeadObject(w.ctx, &s3.HeadObjectInput{Bucket: &w.bucket, Key: aws.String("in/large")})
	if err != nil {
		return err
	}
	return errors.Join(
		step.Equal("length", *head.ContentLength, 40<<20),
		step.Equal("content type", *head.ContentType, "image/x-raw"),
	)
}

func (w *walk) download() error {
	where, key := split(w.largeOutput)
	exists := s3.NewObjectExistsWaiter(w.s3)
	if err := exists.Wait(w.ctx, &s3.HeadObjectInput{Bucket: &where, Key: &key}, step.Patience); err != nil {
		return err
	}
	return w.isLarge(where, key)
}

// isLarge downloads the object in parts and compares hashes.
func (w *walk) isLarge(bucket, key string) error {
	found := make(writerAt, 40<<20)
	_, err := w.transfer.DownloadObject(w.ctx, &transfermanager.DownloadObjectInput{Bucket: &bucket, Key: &key, WriterAt: found})
	if err != nil {
		return err
	}
	return step.Equal("hash of "+key, sha256.Sum256(found), sha256.Sum256(large()))
}

type writerAt []byte

func (w writerAt) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(w)) {
		return 0, fmt.Errorf("%d bytes at %d are too many", len(p), off)
	}
	return copy(w[off:], p), nil
}

func (w *walk) presign() error {
	signer := s3.NewPresignClient(w.s3)
	key := aws.String("in/by url")
	put, err := signer.PresignPutObject(w.ctx, &s3.PutObjectInput{Bucket: &w.bucket, Key: key})
	if err != nil {
		return err
	}
	get, err := signer.PresignGetObject(w.ctx, &s3.GetObjectInput{Bucket: &w.bucket, Key: key})
	if err != nil {
		return err
	}
	return errors.Join(
		fetches("PUT", put.URL, "by URL", http.StatusOK, ""),
		fetches("GET", get.URL, "", http.StatusOK, "by URL"),
		fetches("GET", strings.Replace(get.URL, "by%20url", "plain.json", 1), "", http.StatusForbidden, "SignatureDoesNotMatch"),
	)
}

// fetches uses a URL as a program does that knows nothing of AWS.
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

var oddKeys = []string{"odd/../up", "odd/a b", "odd/a//b", "odd/ä+%2F"}

func (w *walk) listObjects() error {
	for _, key := range oddKeys {
		if _, err := w.put(key, "", key); err != nil {
			return err
		}
	}
	keys, err := w.keys("odd/")
	if err != nil {
		return err
	}
	if !slices.Equal(keys, oddKeys) {
		return fmt.Errorf("keys: got %q, want %q", keys, oddKeys)
	}
	for _, key := range oddKeys {
		out, err := w.s3.GetObject(w.ctx, &s3.GetObjectInput{Bucket: &w.bucket, Key: &key, Range: aws.String("bytes=0-2")})
		if err != nil {
			return err
		}
		data, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err := errors.Join(err, step.Equal("range", string(data), key[:3]), step.Equal("metadata", out.Metadata["key"], "yes")); err != nil {
			return err
		}
	}
	_, err = w.s3.GetObject(w.ctx, &s3.GetObjectInput{Bucket: aws.String("no-such-bucket"), Key: aws.String("k")})
	return refused(err, "NoSuchBucket", "")
}

func (w *walk) keys(prefix string) (keys []string, err error) {
	pages := s3.NewListObjectsV2Paginator(w.s3, &s3.ListObjectsV2Input{Bucket: &w.bucket, Prefix: &prefix, MaxKeys: aws.Int32(3)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys, nil
}

func (w *walk) copy() error {
	_, err := w.s3.CopyObject(w.ctx, &s3.CopyObjectInput{
		Bucket: &w.bucket, Key: aws.String("copy/a b"), CopySource: aws.String(w.bucket + "/" + url.PathEscape("odd/ä+%2F")),
	})
	if err != nil {
		return err
	}
	if err := w.awaits(w.location("copy/a b"), "odd/ä+%2F", "application/octet-stream"); err != nil {
		return err
	}
	_, err = w.s3.CopyObject(w.ctx, &s3.CopyObjectInput{
		Bucket: &w.bucket, Key: aws.String("copy/large"), CopySource: aws.String(w.bucket + "/in/large"),
	})
	if err != nil {
		return err
	}
	return w.isLarge(w.bucket, "copy/large")
}

func (w *walk) deleteObjects() error {
	_, notEmpty := w.s3.DeleteBucket(w.ctx, &s3.DeleteBucketInput{Bucket: &w.bucket})
	keys, err := w.keys("")
	if err != nil {
		return err
	}
	var all []types.ObjectIdentifier
	for _, key := range append(keys, "never/was") {
		all = append(all, types.ObjectIdentifier{Key: &key})
	}
	out, err := w.s3.DeleteObjects(w.ctx, &s3.DeleteObjectsInput{Bucket: &w.bucket, Delete: &types.Delete{Objects: all}})
	if err != nil {
		return err
	}
	left, err := w.keys("")
	if err != nil {
		return err
	}
	_, err = w.s3.DeleteBucket(w.ctx, &s3.DeleteBucketInput{Bucket: &w.bucket})
	return errors.Join(
		err,
		refused(notEmpty, "BucketNotEmpty", ""),
		step.Equal("deleted", len(out.Deleted), len(all)),
		step.Equal("errors", len(out.Errors), 0),
		step.Equal("left", len(left), 0),
	)
}
