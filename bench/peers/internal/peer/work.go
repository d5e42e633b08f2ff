package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A location is that of an object, or of a prefix.
type location struct{ bucket, key string }

func parseLocation(s string) (location, error) {
	rest, found := strings.CutPrefix(s, "s3://")
	bucket, key, _ := strings.Cut(rest, "/")
	if !found || bucket == "" || key == "" {
		return location{}, fmt.Errorf("%q is not s3://bucket/key", s)
	}
	return location{bucket, strings.TrimSuffix(key, "/")}, nil
}

func (l location) below(name string) location { return location{l.bucket, l.key + "/" + name} }
func (l location) String() string             { return "s3://" + l.bucket + "/" + l.key }

// A worker reads inputs, calls the model and stores outputs.
type worker struct {
	objects *s3.Client
	model   string
	client  *http.Client
	output  location
}

func newWorker(c command) (*worker, error) {
	output, err := parseLocation(c.output)
	if err != nil {
		return nil, err
	}
	key, secret, region := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_REGION")
	if key == "" || secret == "" || region == "" {
		return nil, errors.New("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION are needed")
	}
	objects := s3.New(s3.Options{
		BaseEndpoint: aws.String(c.s3),
		UsePathStyle: true,
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(key, secret, ""),
		HTTPClient:   newClient(),
		// The payload's hash is in the signature; checksums come on top.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
	return &worker{objects: objects, model: strings.TrimSuffix(c.model, "/") + "/invocations", client: newClient(), output: output}, nil
}

// newClient keeps a connection for each invocation that is worked on.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 1024, IdleConnTimeout: time.Minute,
	}}
}

func (w *worker) work(ctx context.Context, inv Invocation) error {
	input, contentType, err := w.input(ctx, inv)
	if err != nil {
		return fmt.Errorf("read the input: %w", err)
	}
	output, contentType, err := w.infer(ctx, input, contentType)
	if err != nil {
		return fmt.Errorf("call the model: %w", err)
	}
	to := w.output.below(inv.ID + ".out")
	_, err = w.objects.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &to.bucket, Key: &to.key, ContentType: &contentType,
		Body: bytes.NewReader(output), ContentLength: aws.Int64(int64(len(output))),
	})
	if err != nil {
		return fmt.Errorf("store the output: %w", err)
	}
	return nil
}

func (w *worker) input(ctx context.Context, inv Invocation) ([]byte, string, error) {
	if inv.Input == "" {
		return inv.Body, inv.ContentType, nil
	}
	l, err := parseLocation(inv.Input)
	if err != nil {
		return nil, "", err
	}
	o, err := w.objects.GetObject(ctx, &s3.GetObjectInput{Bucket: &l.bucket, Key: &l.key})
	if err != nil {
		return nil, "", err
	}
	defer o.Body.Close()
	b, err := readAll(o.Body, aws.ToInt64(o.ContentLength))
	return b, aws.ToString(o.ContentType), err
}

func (w *worker) infer(ctx context.Context, input []byte, contentType string) ([]byte, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.model, bytes.NewReader(input))
	if err != nil {
		return nil, "", err
	}
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	output, err := readAll(resp.Body, resp.ContentLength)
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("it answered %s", resp.Status)
	}
	return output, resp.Header.Get("Content-Type"), nil
}

// readAll reads everything, into memory of its size where that is known.
func readAll(r io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	if size > 0 {
		b.Grow(int(size) + bytes.MinRead)
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}
