package awsapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/objectserver"
	"github.com/deferd/deferd/internal/sigv4"
)

// An objectHandler is the embedded S3 behind a Server.
type objectHandler struct{ *objectserver.Handler }

func (o objectHandler) Serve(w http.ResponseWriter, r *http.Request, p deferd.Principal, body *sigv4.Body) {
	o.Handler.Serve(w, r, p, body)
}

// openS3 starts a server with an embedded S3, and returns a client of it whose
// requests all go there, whatever host it makes up.
func openS3(t *testing.T) *s3.Client {
	t.Helper()
	objects, err := objectserver.Open(t.TempDir(), objectserver.Options{Region: region, Account: account, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { objects.Close() })
	s := open(t, func(c *Config) {
		c.S3.Handler = objectHandler{objectserver.NewHandler(objects, objectserver.HandlerOptions{})}
	})
	return s3.New(s3.Options{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
		BaseEndpoint: &s.url, UsePathStyle: true, Retryer: aws.NopRetryer{},
	})
}

// Every operation of S3 has a row, and does what it says.
func TestParityOfS3Operations(t *testing.T) {
	d := readParity(t)
	rows := d.operations("S3")
	all := clientOperations[*s3.Client]()
	for _, c := range uncovered("S3", rows, all) {
		t.Error(c)
	}
	c := &s3Caller{t: t, client: openS3(t)}
	for _, name := range all {
		row, _ := find(rows, name)
		if why := c.unlike(name, "", nil, row.verdict); why != "" {
			t.Errorf("docs/parity.md: line %d: %s is not %s: %s", row.line, name, row.verdict, why)
		}
	}
}

// Every member of the operations that are honoured has a row, and is taken, or
// refused with NotImplemented, in every operation that has it.
func TestParityOfS3Members(t *testing.T) {
	d := readParity(t)
	rows := d.members("S3", allOperations)
	c := &s3Caller{t: t, client: openS3(t)}
	var all []string
	for _, operation := range clientOperations[*s3.Client]() {
		if row, _ := find(d.operations("S3"), operation); row.verdict != honoured {
			continue
		}
		input := c.input(operation).Type()
		for f := range input.Fields() {
			if !f.IsExported() {
				continue
			}
			if !slices.Contains(all, f.Name) {
				all = append(all, f.Name)
			}
			row, _ := find(rows, f.Name)
			for _, v := range samples(f) {
				want := row.on(v)
				if want == row.verdict {
					want = row.on(operation)
				}
				if why := c.unlike(operation, f.Name, v, want); why != "" {
					t.Errorf("docs/parity.md: line %d: %s=%v of %s is not %s: %s", row.line, f.Name, v, operation, want, why)
				}
			}
		}
	}
	for _, c := range uncovered("S3", rows, all) {
		t.Error(c)
	}
}

// Whoever says whose a bucket is, and is wrong, is told so.
func TestExpectedBucketOwners(t *testing.T) {
	c := &s3Caller{t: t, client: openS3(t)}
	d := readParity(t)
	for _, operation := range clientOperations[*s3.Client]() {
		row, _ := find(d.operations("S3"), operation)
		for _, member := range []string{"ExpectedBucketOwner", "ExpectedSourceBucketOwner"} {
			if row.verdict != honoured || !c.input(operation).FieldByName(member).IsValid() {
				continue
			}
			err := c.call(operation, member, "000000000000")
			if e, ok := errors.AsType[interface {
				error
				HTTPStatusCode() int
			}](err); !ok || e.HTTPStatusCode() != http.StatusForbidden {
				t.Errorf("%s with another %s: %v", operation, member, err)
			}
		}
	}
}

// What is stored is told by those who read.
func TestStoredMembersOfS3(t *testing.T) {
	client, bucket, key := openS3(t), "bucket", "key"
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}))
	must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("body"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: aws.String("alias/k")}))
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	must(head, err)
	if head.ServerSideEncryption != "aws:kms" || aws.ToString(head.SSEKMSKeyId) != "alias/k" {
		t.Errorf("encryption %s with key %s", head.ServerSideEncryption, aws.ToString(head.SSEKMSKeyId))
	}
	must(client.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
		Bucket: &bucket, TransitionDefaultMinimumObjectSize: "varies_by_storage_class",
		LifecycleConfiguration: s3Samples["LifecycleConfiguration"][0].(*types.BucketLifecycleConfiguration),
	}))
	rules, err := client.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
	must(rules, err)
	if rules.TransitionDefaultMinimumObjectSize != "varies_by_storage_class" {
		t.Errorf("minimum %s", rules.TransitionDefaultMinimumObjectSize)
	}
}

// An s3Caller calls operations of S3 by name.
type s3Caller struct {
	t      *testing.T
	client *s3.Client
	n      int // buckets made so far
}

func (c *s3Caller) method(operation string) reflect.Value {
	return reflect.ValueOf(c.client).MethodByName(operation)
}

// input is an empty input of an operation.
func (c *s3Caller) input(operation string) reflect.Value {
	return reflect.New(c.method(operation).Type().In(1).Elem()).Elem()
}

// unlike calls an operation with what it needs, and a member of its input, and
// says how the answer is not what a verdict promises; "" if it is.
func (c *s3Caller) unlike(operation, member string, v any, want verdict) string {
	err := c.call(operation, member, v)
	code, status := "", 0
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		code = e.ErrorCode()
	}
	if e, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok {
		status = e.HTTPStatusCode()
	}
	notImplemented := code == "NotImplemented" || status == http.StatusNotImplemented
	switch {
	case want == refused && err != nil && status == 0:
		return "" // the client itself does not send it, or sends it to another service
	case notImplemented != (want == refused), status == http.StatusInternalServerError, err != nil && status == 0:
		return fmt.Sprintf("%d %v", status, err)
	}
	return ""
}

// call calls an operation on a bucket of its own.
func (c *s3Caller) call(operation, member string, v any) error {
	c.n++
	bucket := fmt.Sprintf("bucket-%d", c.n)
	ctx, stop := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer stop()
	if _, err := c.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		c.t.Fatal(err)
	}
	for _, key := range []string{"key", "other"} {
		if _, err := c.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("body")}); err != nil {
			c.t.Fatal(err)
		}
	}
	in := c.input(operation)
	if f := in.FieldByName("Body"); f.IsValid() {
		f.Set(reflect.ValueOf(strings.NewReader("value")))
	}
	if f := in.FieldByName("UploadId"); f.IsValid() {
		id, part := c.upload(ctx, bucket)
		f.Set(reflect.ValueOf(&id))
		if f := in.FieldByName("MultipartUpload"); f.IsValid() {
			f.Set(reflect.ValueOf(&types.CompletedMultipartUpload{Parts: []types.CompletedPart{part}}))
		}
	}
	if member != "" {
		setField(in.FieldByName(member), v)
	}
	if operation == "CreateBucket" {
		bucket += "-new"
	}
	// The client says what is missing.
	for range 10 {
		out := c.method(operation).Call([]reflect.Value{reflect.ValueOf(ctx), in.Addr()})
		err, _ := out[1].Interface().(error)
		missing, ok := errors.AsType[smithy.InvalidParamsError](err)
		if !ok {
			closeBody(out[0])
			return err
		}
		for _, e := range missing.Errs() {
			_, path, _ := strings.Cut(e.(smithy.InvalidParamError).Field(), ".")
			fill(in, path, bucket)
		}
	}
	c.t.Fatalf("%s is never sent: %+v", operation, in)
	return nil
}

// upload begins to upload an object.
func (c *s3Caller) upload(ctx context.Context, bucket string) (id string, part types.CompletedPart) {
	key, number := "key", int32(1)
	out, err := c.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		c.t.Fatal(err)
	}
	up, err := c.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: out.UploadId, PartNumber: &number, Body: strings.NewReader("body")})
	if err != nil {
		c.t.Fatal(err)
	}
	return *out.UploadId, types.CompletedPart{PartNumber: &number, ETag: up.ETag}
}

func closeBody(out reflect.Value) {
	if out.IsNil() {
		return
	}
	if f := out.Elem().FieldByName("Body"); f.IsValid() && !f.IsNil() {
		f.Interface().(io.Closer).Close()
	}
}

// fill sets what a path through an input names.
func fill(v reflect.Value, path, bucket string) {
	for step := range strings.SplitSeq(path, ".") {
		name, index, list := strings.Cut(step, "[")
		v = v.FieldByName(name)
		if list {
			i := 0
			fmt.Sscan(strings.TrimSuffix(index, "]"), &i)
			v = v.Index(i)
		}
		if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
	}
	last := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case v.Kind() == reflect.Struct:
	case last == "Bucket":
		v.Set(reflect.ValueOf(&bucket))
	case last == "CopySource":
		v.Set(reflect.ValueOf(aws.String(bucket + "/other")))
	case v.Type() == reflect.TypeFor[types.ObjectEncryption]():
		v.Set(reflect.ValueOf(&types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: aws.String("arn")}}))
	default:
		setField(v, samples(reflect.StructField{Name: last, Type: v.Type()})[0])
	}
}

// s3Samples are values that mean something of the members whose type allows
// more than that.
var s3Samples = map[string][]any{
	"Key":                       {"key"},
	"CopySource":                nil, // as the call makes it
	"Bucket":                    nil,
	"Body":                      nil,
	"MultipartUpload":           nil,
	"UploadId":                  nil,
	"IfNoneMatch":               {"*"},
	"ChecksumCRC32":             {"AAAAAA=="},
	"ChecksumCRC32C":            {"AAAAAA=="},
	"ChecksumCRC64NVME":         {"AAAAAAAAAAA="},
	"ChecksumSHA1":              {"AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
	"ChecksumSHA256":            {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
	"ContentLength":             {int64(5)},
	"Range":                     {"bytes=0-1"},
	"CopySourceRange":           {"bytes=0-1"},
	"VersionId":                 {"null"},
	"VersionIdMarker":           {"null"},
	"ExpectedBucketOwner":       {account, "000000000000"},
	"Expires":                   {time.Unix(1_800_000_000, 0)},
	"CreateBucketConfiguration": {&types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"}},
	"LifecycleConfiguration": {&types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
		Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("tmp/")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)},
	}}}},
}

// samples are values of a member: all of an enumeration.
func samples(f reflect.StructField) []any {
	if v, ok := s3Samples[f.Name]; ok {
		return v
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String {
		t = t.Elem()
	}
	if values, ok := t.MethodByName("Values"); ok {
		list := values.Func.Call([]reflect.Value{reflect.Zero(t)})[0]
		var all []any
		for i := range list.Len() {
			all = append(all, list.Index(i).Interface())
		}
		return all
	}
	switch {
	case t.Kind() == reflect.String:
		return []any{"value"}
	case t.Kind() == reflect.Bool:
		return []any{true, false}
	case t.Kind() == reflect.Int32:
		return []any{int32(1)}
	case t.Kind() == reflect.Int64:
		return []any{int64(1)}
	case t == reflect.TypeFor[time.Time]():
		return []any{time.Unix(1_700_000_000, 0)}
	case t == reflect.TypeFor[io.Reader]():
		return []any{bytes.NewReader([]byte("value"))}
	case t == reflect.TypeFor[map[string]string]():
		return []any{map[string]string{"name": "value"}}
	case t.Kind() == reflect.Slice:
		return []any{reflect.MakeSlice(t, 1, 1).Interface()}
	case t.Kind() == reflect.Struct:
		return []any{reflect.New(t).Interface()}
	}
	panic(fmt.Sprintf("no value of %s, a %s", f.Name, t))
}

// setField sets a member, through the pointers and lists that are around it.
func setField(f reflect.Value, v any) {
	value := reflect.ValueOf(v)
	switch {
	case value.Type().AssignableTo(f.Type()):
		f.Set(value)
	case f.Kind() == reflect.Pointer:
		p := reflect.New(f.Type().Elem())
		setField(p.Elem(), v)
		f.Set(p)
	case f.Kind() == reflect.Slice:
		f.Set(reflect.Append(f, value))
	default:
		f.Set(value.Convert(f.Type()))
	}
}
