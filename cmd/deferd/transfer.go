package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

const (
	// partSize is what goes in one request; more is sent in parts, of which
	// at most partsAtOnce are in memory and on their way.
	partSize    = 8 << 20
	partsAtOnce = 4

	maxParts = 10_000
	maxCopy  = 5 << 30 // what S3 copies in one request

	abortLimit = 10 * time.Second
)

// A destination is where an upload goes, and as what.
type destination struct {
	bucket, key, contentType string
}

func (d destination) typed() *string {
	if d.contentType == "" {
		return nil
	}
	return &d.contentType
}

// A piece is a part of an upload. Release, if given, is called when its content
// is not needed any more.
type piece struct {
	content io.ReadSeeker
	size    int64
	release func()
}

// upload sends a file, whatever its size, with little memory. Moved is told of
// bytes that have arrived, from any goroutine.
func (o *objects) upload(ctx context.Context, f *os.File, d destination, moved func(int64)) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // a pipe, or a device
		return o.uploadStream(ctx, f, d, moved)
	}
	size := info.Size()
	if size <= partSize {
		return o.put(ctx, piece{content: io.NewSectionReader(f, 0, size), size: size}, d, moved)
	}
	each := max(partSize, (size+maxParts-1)/maxParts)
	at := int64(0)
	return o.uploadParts(ctx, d, moved, func() (piece, error) {
		if at >= size {
			return piece{}, io.EOF
		}
		n := min(each, size-at)
		p := piece{content: io.NewSectionReader(f, at, n), size: n}
		at += n
		return p, nil
	})
}

// uploadStream sends what r gives, however long that is.
func (o *objects) uploadStream(ctx context.Context, r io.Reader, d destination, moved func(int64)) error {
	free := make(chan []byte, partsAtOnce+1)
	for range partsAtOnce + 1 {
		free <- nil // a buffer that is not made yet
	}
	parts := 0
	next := func() (piece, error) {
		// Streams of unknown length get larger parts the longer they are.
		size := partSize << (parts / 2000)
		parts++
		var buffer []byte
		select {
		case buffer = <-free:
		case <-ctx.Done():
			return piece{}, context.Cause(ctx)
		}
		if len(buffer) < size {
			buffer = make([]byte, size)
		}
		n, err := io.ReadFull(r, buffer[:size])
		if n == 0 && errors.Is(err, io.EOF) {
			free <- buffer
			return piece{}, io.EOF
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return piece{}, err
		}
		return piece{content: bytes.NewReader(buffer[:n]), size: int64(n), release: func() { free <- buffer }}, nil
	}
	first, err := next()
	if errors.Is(err, io.EOF) {
		return o.put(ctx, piece{content: bytes.NewReader(nil)}, d, moved)
	}
	if err != nil {
		return err
	}
	if first.size < partSize {
		return o.put(ctx, first, d, moved)
	}
	return o.uploadParts(ctx, d, moved, func() (piece, error) {
		if first.content != nil {
			p := first
			first = piece{}
			return p, nil
		}
		return next()
	})
}

// put sends an object in one request.
func (o *objects) put(ctx context.Context, p piece, d destination, moved func(int64)) error {
	_, err := o.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &d.bucket, Key: &d.key, Body: p.content, ContentLength: &p.size, ContentType: d.typed(),
	})
	if err != nil {
		return located("write", d.bucket, d.key, err)
	}
	moved(p.size)
	return nil
}

// uploadParts sends an object in the parts that next gives, until it says
// io.EOF. Nothing stays of an upload that fails.
func (o *objects) uploadParts(ctx context.Context, d destination, moved func(int64), next func() (piece, error)) error {
	begun, err := o.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &d.bucket, Key: &d.key, ContentType: d.typed()})
	if err != nil {
		return located("write", d.bucket, d.key, err)
	}
	parts, err := o.sendParts(ctx, d, begun.UploadId, moved, next)
	if err == nil {
		_, err = o.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &d.bucket, Key: &d.key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	if err == nil {
		return nil
	}
	// The parts would stay, unseen, and an interrupt is no reason for that.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
	defer cancel()
	_, aborted := o.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &d.bucket, Key: &d.key, UploadId: begun.UploadId})
	return errors.Join(located("write", d.bucket, d.key, err), aborted)
}

func (o *objects) sendParts(ctx context.Context, d destination, upload *string, moved func(int64), next func() (piece, error)) ([]types.CompletedPart, error) {
	var mu sync.Mutex // guards parts
	var parts []types.CompletedPart
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(partsAtOnce)
	var ended error
	for number := int32(1); ctx.Err() == nil; number++ {
		p, err := next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				ended = err
			}
			break
		}
		g.Go(func() error {
			if p.release != nil {
				defer p.release()
			}
			out, err := o.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &d.bucket, Key: &d.key, UploadId: upload, PartNumber: &number, Body: p.content, ContentLength: &p.size,
			})
			if err != nil {
				return err
			}
			moved(p.size)
			mu.Lock()
			defer mu.Unlock()
			parts = append(parts, types.CompletedPart{
				ETag: out.ETag, PartNumber: &number, ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
			})
			return nil
		})
	}
	if err := errors.Join(g.Wait(), ended); err != nil {
		return nil, err
	}
	slices.SortFunc(parts, func(a, b types.CompletedPart) int { return cmp.Compare(*a.PartNumber, *b.PartNumber) })
	return parts, nil
}

// download writes an object to a file, which is there when it is whole.
func (o *objects) download(ctx context.Context, bucket, key, path string, moved func(int64)) error {
	in, err := o.open(ctx, bucket, key)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeStream(path, in, moved)
}

// writeStream replaces a file by what r gives; it is the old one until it is
// the whole new one.
func writeStream(path string, r io.Reader, moved func(int64)) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = io.Copy(f, &counting{r, moved})
	// As any new file, whatever the one before was.
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// A counting reader tells of what passes through it.
type counting struct {
	r     io.Reader
	moved func(int64)
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.moved(int64(n))
	return n, err
}

// copyObject copies an object within S3.
func (o *objects) copyObject(ctx context.Context, bucket, key string, d destination, moved func(int64)) error {
	size, contentType, err := o.head(ctx, bucket, key)
	if err != nil {
		return err
	}
	source := copySource(bucket, key)
	if size > maxCopy {
		return o.copyParts(ctx, source, size, destination{d.bucket, d.key, cmp.Or(d.contentType, contentType)}, moved)
	}
	in := &s3.CopyObjectInput{Bucket: &d.bucket, Key: &d.key, CopySource: &source}
	if d.contentType != "" {
		in.ContentType, in.MetadataDirective = &d.contentType, types.MetadataDirectiveReplace
	}
	if _, err := o.client.CopyObject(ctx, in); err != nil {
		return located("copy to", d.bucket, d.key, err)
	}
	moved(size)
	return nil
}

// copyParts copies an object that is too large for one request.
func (o *objects) copyParts(ctx context.Context, source string, size int64, d destination, moved func(int64)) error {
	begun, err := o.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &d.bucket, Key: &d.key, ContentType: d.typed()})
	if err != nil {
		return located("copy to", d.bucket, d.key, err)
	}
	each := max(64*partSize, (size+maxParts-1)/maxParts)
	var parts []types.CompletedPart
	for at := int64(0); at < size && err == nil; at += each {
		number := int32(len(parts) + 1)
		end := min(at+each, size)
		var out *s3.UploadPartCopyOutput
		out, err = o.client.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
			Bucket: &d.bucket, Key: &d.key, UploadId: begun.UploadId, PartNumber: &number,
			CopySource: &source, CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", at, end-1)),
		})
		if err == nil {
			parts = append(parts, types.CompletedPart{ETag: out.CopyPartResult.ETag, PartNumber: &number})
			moved(end - at)
		}
	}
	if err == nil {
		_, err = o.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &d.bucket, Key: &d.key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
	defer cancel()
	_, aborted := o.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &d.bucket, Key: &d.key, UploadId: begun.UploadId})
	return errors.Join(located("copy to", d.bucket, d.key, err), aborted)
}

// typeOf guesses the type of a file's content from its name; "" where nothing
// is known. What the system has to say about it comes last: it differs from one
// to the next.
func typeOf(name string) string {
	extension := strings.ToLower(filepath.Ext(name))
	switch extension {
	case ".csv":
		return "text/csv"
	case ".txt", ".md":
		return "text/plain"
	case ".json":
		return "application/json"
	case ".jsonl":
		return "application/jsonlines"
	case ".npy":
		return "application/x-npy"
	case ".parquet":
		return "application/x-parquet"
	case ".wav":
		return "audio/wav"
	case ".gz", ".tgz":
		return "application/gzip"
	}
	return mime.TypeByExtension(extension)
}
