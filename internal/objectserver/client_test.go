package objectserver

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// A plainBody is a body that nobody verifies.
type plainBody struct {
	io.Reader
	length  int64
	trailer http.Header
}

func (b plainBody) Length() int64        { return b.length }
func (b plainBody) Trailer() http.Header { return b.trailer }

// serveTest starts a server in front of h that verifies nothing.
func serveTest(t *testing.T, h *Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.Serve(w, r, deferd.Principal{}, plainBody{r.Body, r.ContentLength, r.Trailer})
	}))
	t.Cleanup(srv.Close)
	return srv
}

// newServer starts a server over a new store with the bucket "bucket".
func newServer(t *testing.T, o HandlerOptions) *httptest.Server {
	t.Helper()
	return serveTest(t, NewHandler(openTest(t, t.TempDir(), Options{}), o))
}

func newClient(srv *httptest.Server) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint:               aws.String(srv.URL),
		Region:                     "us-east-1",
		Credentials:                credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		UsePathStyle:               true,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		RetryMaxAttempts:           1,
	})
}

// wantCode checks S3's error code of a client's error.
func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code {
		t.Errorf("%s: %v, want code %s", what, err, code)
	}
}

func TestClientBuckets(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx := t.Context()
	for range 2 {
		if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("another")}); err != nil {
			t.Fatalf("CreateBucket: %v", err)
		}
	}
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("Wrong_Name")})
	wantCode(t, "CreateBucket of a wrong name", err, "InvalidBucketName")
	_, err = c.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    aws.String("elsewhere"),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"},
	})
	if err != nil {
		t.Errorf("CreateBucket elsewhere: %v", err)
	}
	_, err = c.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    aws.String("here"),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "us-east-1"},
	})
	wantCode(t, "CreateBucket constrained to us-east-1", err, "InvalidLocationConstraint")

	list, err := c.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		t.Fatalf("ListBuckets: %v", err)
	}
	var names []string
	for _, b := range list.Buckets {
		names = append(names, *b.Name)
	}
	if diff := cmp.Diff([]string{"another", "bucket", "elsewhere"}, names); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
	loc, err := c.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: aws.String("elsewhere")})
	if err != nil || loc.LocationConstraint != "eu-west-1" {
		t.Errorf("GetBucketLocation = %+v, %v", loc, err)
	}
	if _, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Errorf("HeadBucket: %v", err)
	}
	_, err = c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("absent")})
	wantCode(t, "HeadBucket", err, "NotFound")
	_, err = c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("bucket"), ExpectedBucketOwner: aws.String("111111111111")})
	wantCode(t, "HeadBucket of another owner", err, "Forbidden")
	if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String("another")}); err != nil {
		t.Errorf("DeleteBucket: %v", err)
	}
	putString(t, c, "k", "x")
	_, err = c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String("bucket")})
	wantCode(t, "DeleteBucket that is not empty", err, "BucketNotEmpty")
}

func putString(t *testing.T, c *s3.Client, key, body string) *s3.PutObjectOutput {
	t.Helper()
	out, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String(key), Body: strings.NewReader(body),
	})
	if err != nil {
		t.Fatalf("PutObject(%q): %v", key, err)
	}
	return out
}

func TestClientObject(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	for _, size := range []int{0, 100, 1 << 20} {
		body := bytes.Repeat([]byte("0123456789"), size/10)
		put, err := c.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("bucket"), Key: aws.String("a b/é+%"), Body: bytes.NewReader(body),
			ContentType: aws.String("text/csv"), CacheControl: aws.String("no-store"),
			ContentEncoding: aws.String("gzip"), Metadata: map[string]string{"one": "1"},
			ServerSideEncryption: types.ServerSideEncryptionAwsKms,
		})
		if err != nil {
			t.Fatalf("PutObject: %v", err)
		}
		if put.ServerSideEncryption != types.ServerSideEncryptionAwsKms || put.ChecksumCRC32 == nil {
			t.Errorf("PutObject answered %+v", put)
		}
		if want := fmt.Sprintf(`"%x"`, md5.Sum(body)); *put.ETag != want {
			t.Errorf("ETag %s, want %s", *put.ETag, want)
		}
		get, err := c.GetObject(t.Context(), &s3.GetObjectInput{
			Bucket: aws.String("bucket"), Key: aws.String("a b/é+%"), ChecksumMode: types.ChecksumModeEnabled,
		})
		if err != nil {
			t.Fatalf("GetObject: %v", err)
		}
		got, err := io.ReadAll(get.Body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
		if *get.ContentType != "text/csv" || *get.CacheControl != "no-store" || *get.ContentEncoding != "gzip" ||
			get.Metadata["one"] != "1" || get.ChecksumCRC32 == nil || *get.ETag != *put.ETag {
			t.Errorf("GetObject answered %+v", get)
		}
		head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b/é+%")})
		if err != nil || *head.ContentLength != int64(len(body)) || time.Since(*head.LastModified) > time.Minute {
			t.Errorf("HeadObject = %+v, %v", head, err)
		}
	}
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("absent")})
	wantCode(t, "GetObject", err, "NoSuchKey")
	_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("absent")})
	wantCode(t, "HeadObject", err, "NotFound")
}

func TestClientConditions(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	first := putString(t, c, "k", "one")
	put := func(key string, match, none *string) error {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("bucket"), Key: aws.String(key), Body: strings.NewReader("two"), IfMatch: match, IfNoneMatch: none,
		})
		return err
	}
	wantCode(t, "If-None-Match: *", put("k", nil, aws.String("*")), "PreconditionFailed")
	wantCode(t, "If-Match with another ETag", put("k", aws.String(`"x"`), nil), "PreconditionFailed")
	wantCode(t, "If-Match of an absent key", put("absent", first.ETag, nil), "NoSuchKey")
	if err := put("k", first.ETag, nil); err != nil {
		t.Errorf("If-Match: %v", err)
	}
	if err := put("new", nil, aws.String("*")); err != nil {
		t.Errorf("If-None-Match of an absent key: %v", err)
	}
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), IfMatch: first.ETag})
	wantCode(t, "GetObject If-Match", err, "PreconditionFailed")
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), IfMatch: first.ETag})
	wantCode(t, "DeleteObject If-Match", err, "PreconditionFailed")
}

func TestClientList(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	for _, k := range []string{"a", "a/1", "a/2", "b/x/1", "b/y", "c d", "d\x01e"} {
		putString(t, c, k, k)
	}
	tests := []struct {
		name string
		in   s3.ListObjectsV2Input
		want []string // common prefixes are marked with a bar
	}{
		{"all", s3.ListObjectsV2Input{}, []string{"a", "a/1", "a/2", "b/x/1", "b/y", "c d", "d\x01e"}},
		{"delimiter", s3.ListObjectsV2Input{Delimiter: aws.String("/")}, []string{"a", "a/|", "b/|", "c d", "d\x01e"}},
		{"prefix and delimiter", s3.ListObjectsV2Input{Prefix: aws.String("b/"), Delimiter: aws.String("/")}, []string{"b/x/|", "b/y"}},
		{"start after", s3.ListObjectsV2Input{StartAfter: aws.String("a/2")}, []string{"b/x/1", "b/y", "c d", "d\x01e"}},
		{"nothing", s3.ListObjectsV2Input{Prefix: aws.String("z")}, nil},
	}
	for _, test := range tests {
		for _, pageSize := range []int32{1, 2, 1000} {
			t.Run(fmt.Sprint(test.name, "/", pageSize), func(t *testing.T) {
				in := test.in
				in.Bucket, in.MaxKeys, in.EncodingType = aws.String("bucket"), aws.Int32(pageSize), types.EncodingTypeUrl
				got := listAll(t, c, &in, pageSize)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
	_, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("absent")})
	wantCode(t, "ListObjectsV2", err, "NoSuchBucket")
	v1, err := c.ListObjects(t.Context(), &s3.ListObjectsInput{Bucket: aws.String("bucket"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(2)})
	if err != nil || aws.ToString(v1.NextMarker) != "a/" || !*v1.IsTruncated {
		t.Errorf("ListObjects = %+v, %v; want NextMarker a/", v1, err)
	}
}

// listAll lists page by page. The client of Go leaves keys encoded.
func listAll(t *testing.T, c *s3.Client, in *s3.ListObjectsV2Input, pageSize int32) []string {
	t.Helper()
	decode := strings.NewReplacer("+", " ", "%01", "\x01")
	var got []string
	for p := s3.NewListObjectsV2Paginator(c, in); p.HasMorePages(); {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatalf("ListObjectsV2: %v", err)
		}
		if *page.KeyCount > pageSize {
			t.Errorf("page of %d keys, want at most %d", *page.KeyCount, pageSize)
		}
		for _, o := range page.Contents {
			got = append(got, decode.Replace(*o.Key))
		}
		for _, p := range page.CommonPrefixes {
			got = append(got, decode.Replace(*p.Prefix)+"|")
		}
	}
	slices.Sort(got)
	return got
}

func TestClientDeleteObjects(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	putString(t, c, "a", "x")
	putString(t, c, "b", "x")
	out, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{
		Bucket: aws.String("bucket"),
		Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("a")}, {Key: aws.String("absent")}, {Key: aws.String("b"), VersionId: aws.String("v")}}},
	})
	if err != nil {
		t.Fatalf("DeleteObjects: %v", err)
	}
	if len(out.Deleted) != 2 || len(out.Errors) != 1 || *out.Errors[0].Code != "NotImplemented" {
		t.Errorf("DeleteObjects = %+v", out)
	}
	list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket")})
	if err != nil || len(list.Contents) != 1 || *list.Contents[0].Key != "b" {
		t.Errorf("after that: %+v, %v; want b", list, err)
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("absent")}); err != nil {
		t.Errorf("DeleteObject of an absent key: %v", err)
	}
}

func TestClientMultipart(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	tests := []struct {
		name      string
		algorithm types.ChecksumAlgorithm
		kind      types.ChecksumType
		check     func(*s3.GetObjectOutput) *string
		composite bool
	}{
		{"default", "", "", func(o *s3.GetObjectOutput) *string { return o.ChecksumCRC64NVME }, false},
		{"crc32 composite", types.ChecksumAlgorithmCrc32, "", func(o *s3.GetObjectOutput) *string { return o.ChecksumCRC32 }, true},
		{"crc32 full", types.ChecksumAlgorithmCrc32, types.ChecksumTypeFullObject, func(o *s3.GetObjectOutput) *string { return o.ChecksumCRC32 }, false},
		{"crc32c full", types.ChecksumAlgorithmCrc32c, types.ChecksumTypeFullObject, func(o *s3.GetObjectOutput) *string { return o.ChecksumCRC32C }, false},
		{"sha256", types.ChecksumAlgorithmSha256, "", func(o *s3.GetObjectOutput) *string { return o.ChecksumSHA256 }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key, body := aws.String(test.name), bytes.Repeat([]byte("abcdefg"), 1_000_000)
			up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
				Bucket: aws.String("bucket"), Key: key, ChecksumAlgorithm: test.algorithm, ChecksumType: test.kind, ContentType: aws.String("x/y"),
			})
			if err != nil {
				t.Fatalf("CreateMultipartUpload: %v", err)
			}
			var done types.CompletedMultipartUpload
			for i, b := range [][]byte{body[:minPart], body[minPart:]} {
				n := aws.Int32(int32(i + 1))
				p, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
					Bucket: aws.String("bucket"), Key: key, UploadId: up.UploadId, PartNumber: n,
					Body: bytes.NewReader(b), ChecksumAlgorithm: test.algorithm,
				})
				if err != nil {
					t.Fatalf("UploadPart: %v", err)
				}
				done.Parts = append(done.Parts, types.CompletedPart{ETag: p.ETag, PartNumber: n, ChecksumCRC32: p.ChecksumCRC32, ChecksumSHA256: p.ChecksumSHA256})
			}
			parts, err := c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: aws.String("bucket"), Key: key, UploadId: up.UploadId})
			if err != nil || len(parts.Parts) != 2 || *parts.Parts[1].Size != int64(len(body)-minPart) {
				t.Errorf("ListParts = %+v, %v", parts, err)
			}
			uploads, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("bucket")})
			if err != nil || len(uploads.Uploads) != 1 || *uploads.Uploads[0].UploadId != *up.UploadId {
				t.Errorf("ListMultipartUploads = %+v, %v", uploads, err)
			}
			complete := &s3.CompleteMultipartUploadInput{Bucket: aws.String("bucket"), Key: key, UploadId: up.UploadId, MultipartUpload: &done, IfNoneMatch: aws.String("*")}
			first, err := c.CompleteMultipartUpload(t.Context(), complete)
			if err != nil {
				t.Fatalf("CompleteMultipartUpload: %v", err)
			}
			again, err := c.CompleteMultipartUpload(t.Context(), complete)
			if err != nil || *again.ETag != *first.ETag || !strings.HasSuffix(*first.ETag, `-2"`) {
				t.Errorf("completed with %s, then %v, %v", *first.ETag, again, err)
			}
			get, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: key, ChecksumMode: types.ChecksumModeEnabled})
			if err != nil {
				t.Fatalf("GetObject: %v", err)
			}
			got, err := io.ReadAll(get.Body)
			if err != nil || !bytes.Equal(got, body) || *get.ContentType != "x/y" {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			sum := aws.ToString(test.check(get))
			h := newChecksum(strings.ToLower(string(test.algorithm)))
			if h == nil {
				h = newChecksum(algCRC64NVME)
			}
			h.Write(body)
			if whole := base64.StdEncoding.EncodeToString(h.Sum(nil)); !test.composite && sum != whole {
				t.Errorf("checksum %q, want that of the whole, %q", sum, whole)
			} else if test.composite && !strings.HasSuffix(sum, "-2") {
				t.Errorf("checksum %q, want a composite one", sum)
			}
		})
	}
}

func TestClientCopy(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	body := strings.Repeat("0123456789", 600_000)
	put, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("a b/é"), Body: strings.NewReader(body),
		ContentType: aws.String("a/b"), Metadata: map[string]string{"one": "1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	in := func(key string) *s3.CopyObjectInput {
		return &s3.CopyObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), CopySource: aws.String("bucket/a%20b/%C3%A9")}
	}
	out, err := c.CopyObject(t.Context(), in("copy"))
	if err != nil || *out.CopyObjectResult.ETag != *put.ETag {
		t.Fatalf("CopyObject = %+v, %v", out, err)
	}
	wantCopy := func(key, contentType, body string) {
		t.Helper()
		get, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(get.Body)
		if err != nil || string(got) != body || *get.ContentType != contentType {
			t.Errorf("%s: %d bytes, %v, type %s; want %d, %s", key, len(got), err, *get.ContentType, len(body), contentType)
		}
	}
	wantCopy("copy", "a/b", body)
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("summed"), Body: strings.NewReader("x"), ChecksumAlgorithm: types.ChecksumAlgorithmSha1,
	}); err != nil {
		t.Fatal(err)
	}
	summed := in("summed copy")
	summed.CopySource = aws.String("bucket/summed?versionId=null")
	if out, err := c.CopyObject(t.Context(), summed); err != nil || out.CopyObjectResult.ChecksumSHA1 == nil {
		t.Errorf("CopyObject = %+v, %v; want the source's kind of checksum", out, err)
	}
	replace := in("replaced")
	replace.MetadataDirective, replace.ContentType = types.MetadataDirectiveReplace, aws.String("c/d")
	if _, err := c.CopyObject(t.Context(), replace); err != nil {
		t.Errorf("CopyObject with other metadata: %v", err)
	}
	wantCopy("replaced", "c/d", body)
	_, err = c.CopyObject(t.Context(), in("a b/é"))
	wantCode(t, "CopyObject onto itself", err, "InvalidRequest")
	unmatched := in("x")
	unmatched.CopySourceIfMatch = aws.String("other")
	_, err = c.CopyObject(t.Context(), unmatched)
	wantCode(t, "CopyObject of another version", err, "PreconditionFailed")
	absent := in("x")
	absent.CopySource = aws.String("bucket/absent")
	_, err = c.CopyObject(t.Context(), absent)
	wantCode(t, "CopyObject of nothing", err, "NoSuchKey")

	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("parts")})
	if err != nil {
		t.Fatal(err)
	}
	var done types.CompletedMultipartUpload
	for i, r := range []string{fmt.Sprint("bytes=0-", minPart-1), fmt.Sprint("bytes=", minPart, "-", len(body)-1)} {
		n := aws.Int32(int32(i + 1))
		p, err := c.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
			Bucket: aws.String("bucket"), Key: aws.String("parts"), UploadId: up.UploadId, PartNumber: n,
			CopySource: aws.String("/bucket/copy"), CopySourceRange: aws.String(r),
		})
		if err != nil {
			t.Fatalf("UploadPartCopy: %v", err)
		}
		done.Parts = append(done.Parts, types.CompletedPart{ETag: p.CopyPartResult.ETag, PartNumber: n})
	}
	if _, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: aws.String("bucket"), Key: aws.String("parts"), UploadId: up.UploadId, MultipartUpload: &done,
	}); err != nil {
		t.Fatalf("CompleteMultipartUpload: %v", err)
	}
	wantCopy("parts", "binary/octet-stream", body)
	for n, want := range map[int32]int{1: minPart, 2: len(body) - minPart} {
		get, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("parts"), PartNumber: aws.Int32(n)})
		if err != nil || *get.ContentLength != int64(want) || *get.PartsCount != 2 {
			t.Errorf("GetObject of part %d = %+v, %v; want %d bytes of 2 parts", n, get, err, want)
		}
		if err == nil {
			get.Body.Close()
		}
	}
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("parts"), PartNumber: aws.Int32(3)})
	wantCode(t, "GetObject of part 3", err, "InvalidPartNumber")
}
