package objectserver

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// honoured are the operations that do what they say. They are tested
// elsewhere; here they are called with as little as the client lets through,
// and answer as said: "" is success.
var honoured = map[string]string{
	"AbortMultipartUpload":            "NoSuchUpload",
	"CompleteMultipartUpload":         "MalformedXML",
	"CopyObject":                      "",
	"CreateBucket":                    "",
	"CreateMultipartUpload":           "",
	"DeleteBucket":                    "BucketNotEmpty",
	"DeleteBucketLifecycle":           "",
	"DeleteBucketTagging":             "",
	"DeleteObject":                    "",
	"DeleteObjectTagging":             "",
	"DeleteObjects":                   "",
	"GetBucketLifecycleConfiguration": "NoSuchLifecycleConfiguration",
	"GetBucketLocation":               "",
	"GetBucketTagging":                "NoSuchTagSet",
	"GetObject":                       "",
	"GetObjectAttributes":             "",
	"GetObjectTagging":                "",
	"HeadBucket":                      "",
	"HeadObject":                      "",
	"ListBuckets":                     "",
	"ListMultipartUploads":            "",
	"ListObjectVersions":              "",
	"ListObjects":                     "",
	"ListObjectsV2":                   "",
	"ListParts":                       "NoSuchUpload",
	"PutBucketLifecycleConfiguration": "MalformedXML",
	"PutBucketTagging":                "",
	"PutObject":                       "",
	"PutObjectTagging":                "",
	"UploadPart":                      "NoSuchUpload",
	"UploadPartCopy":                  "NoSuchUpload",

	// What is never set, told truly.
	"GetBucketAccelerateConfiguration":   "",
	"GetBucketAcl":                       "",
	"GetBucketLogging":                   "",
	"GetBucketNotificationConfiguration": "",
	"GetBucketOwnershipControls":         "",
	"GetBucketRequestPayment":            "",
	"GetBucketVersioning":                "",
	"GetObjectAcl":                       "",
	"GetBucketCors":                      "NoSuchCORSConfiguration",
	"GetBucketEncryption":                "ServerSideEncryptionConfigurationNotFoundError",
	"GetBucketPolicy":                    "NoSuchBucketPolicy",
	"GetBucketPolicyStatus":              "NoSuchBucketPolicy",
	"GetBucketReplication":               "ReplicationConfigurationNotFoundError",
	"GetBucketWebsite":                   "NoSuchWebsiteConfiguration",
	"GetObjectLegalHold":                 "InvalidRequest",
	"GetObjectLockConfiguration":         "ObjectLockConfigurationNotFoundError",
	"GetObjectRetention":                 "InvalidRequest",
	"GetPublicAccessBlock":               "NoSuchPublicAccessBlockConfiguration",
	"DeleteBucketCors":                   "",
	"DeleteBucketEncryption":             "",
	"DeleteBucketPolicy":                 "",
	"DeleteBucketReplication":            "",
	"DeleteBucketWebsite":                "",
	"DeletePublicAccessBlock":            "",
}

// TestEveryOperation calls all that the client can. What is not honoured must
// say NotImplemented: not fail inside, and not pretend.
func TestEveryOperation(t *testing.T) {
	called := map[string]bool{}
	client := reflect.ValueOf(newClient(newServer(t, HandlerOptions{})))
	for m := range client.Type().Methods() {
		if m.Name == "ListDirectoryBuckets" || m.Name == "WriteGetObjectResponse" {
			continue // go to services under other names
		}
		if m.Type.NumIn() != 4 || !m.Type.IsVariadic() || m.Type.NumOut() != 2 || m.Type.In(2).Kind() != reflect.Pointer {
			continue // not an operation
		}
		called[m.Name] = true
		t.Run(m.Name, func(t *testing.T) {
			c := newClient(newServer(t, HandlerOptions{}))
			putString(t, c, "value", "body")
			putString(t, c, "other", "body")
			err := callOperation(t, c, m)
			want, ok := honoured[m.Name]
			if !ok {
				want = "NotImplemented"
			}
			if want == "" {
				if err != nil {
					t.Errorf("%v, want success", err)
				}
				return
			}
			wantCode(t, "call", err, want)
			if res, ok := errors.AsType[interface {
				error
				HTTPStatusCode() int
			}](err); ok && res.HTTPStatusCode() == http.StatusInternalServerError {
				t.Errorf("status 500: %v", err)
			}
		})
	}
	for name := range maps.Keys(honoured) {
		if !called[name] {
			t.Errorf("the client has no operation %s", name)
		}
	}
	if len(called) < 90 {
		t.Errorf("%d operations were found, want all of some hundred", len(called))
	}
}

// callOperation calls an operation with the least that the client lets
// through: it says what is missing, and gets it.
func callOperation(t *testing.T, c *s3.Client, m reflect.Method) error {
	t.Helper()
	in := reflect.New(m.Type.In(2).Elem())
	for range 10 {
		out := reflect.ValueOf(c).MethodByName(m.Name).Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
		err, _ := out[1].Interface().(error)
		var missing smithy.InvalidParamsError
		if !errors.As(err, &missing) {
			if body, ok := readBodyOf(out[0]); ok {
				body.Close()
			}
			return err
		}
		for _, e := range missing.Errs() {
			field := e.(smithy.InvalidParamError).Field()
			_, path, _ := strings.Cut(field, ".")
			if err := fillField(in.Elem(), path); err != nil {
				t.Fatalf("%s: %v", field, err)
			}
		}
	}
	t.Fatalf("the client never sends it: %+v", in)
	return nil
}

func readBodyOf(out reflect.Value) (io.ReadCloser, bool) {
	if out.IsNil() {
		return nil, false
	}
	f := out.Elem().FieldByName("Body")
	if !f.IsValid() {
		return nil, false
	}
	body, ok := f.Interface().(io.ReadCloser)
	return body, ok && body != nil
}

var indexed = regexp.MustCompile(`^(\w+)\[(\d+)\]$`)

// fillField sets what a path through a value's fields names.
func fillField(v reflect.Value, path string) error {
	name, rest, _ := strings.Cut(path, ".")
	index := -1
	if parts := indexed.FindStringSubmatch(name); parts != nil {
		name = parts[1]
		fmt.Sscan(parts[2], &index)
	}
	f := v.FieldByName(name)
	if !f.IsValid() {
		return fmt.Errorf("%v has no field %q", v.Type(), name)
	}
	if index >= 0 {
		f = f.Index(index)
	}
	if f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct {
		if f.IsNil() {
			f.Set(reflect.New(f.Type().Elem()))
		}
		f = f.Elem()
	}
	if rest != "" {
		return fillField(f, rest)
	}
	return setSample(f, name)
}

// setSample gives a field something that means something.
func setSample(f reflect.Value, name string) error {
	switch {
	case f.Type() == reflect.TypeFor[*string]():
		f.Set(reflect.ValueOf(aws.String(sampleString(name))))
	case f.Type() == reflect.TypeFor[*int32]():
		f.Set(reflect.ValueOf(aws.Int32(1)))
	case f.Type() == reflect.TypeFor[*int64]():
		f.Set(reflect.ValueOf(aws.Int64(1)))
	case f.Type() == reflect.TypeFor[*bool]():
		f.Set(reflect.ValueOf(aws.Bool(true)))
	case f.Type() == reflect.TypeFor[string]():
		f.SetString(sampleString(name))
	case f.Kind() == reflect.String: // an enumeration
		values := f.MethodByName("Values").Call(nil)[0]
		f.Set(values.Index(0))
	case f.Kind() == reflect.Slice:
		f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		if e := f.Index(0); e.Kind() == reflect.String {
			return setSample(e, name)
		}
	case f.Type() == reflect.TypeFor[io.Reader]():
		f.Set(reflect.ValueOf(strings.NewReader("value")))
	case f.Type() == reflect.TypeFor[types.ObjectEncryption]():
		f.Set(reflect.ValueOf(&types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: aws.String("value")}}))
	case f.Kind() == reflect.Struct:
	default:
		return fmt.Errorf("no sample for %v", f.Type())
	}
	return nil
}

func sampleString(name string) string {
	switch name {
	case "Bucket":
		return "bucket"
	case "CopySource":
		return "bucket/other"
	case "Policy":
		return "{}"
	}
	return "value"
}

// TestFillField fills one field of each form.
func TestFillField(t *testing.T) {
	in := &s3.PutBucketTaggingInput{}
	for _, path := range []string{"Bucket", "Tagging", "Tagging.TagSet", "Tagging.TagSet[0].Key"} {
		if err := fillField(reflect.ValueOf(in).Elem(), path); err != nil {
			t.Errorf("fillField(%q): %v", path, err)
		}
	}
	if *in.Bucket != "bucket" || *in.Tagging.TagSet[0].Key != "value" {
		t.Errorf("filled %+v", in)
	}
}
