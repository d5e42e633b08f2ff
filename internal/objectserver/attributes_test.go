package objectserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// uploadParts stores an object of these parts and returns its ETag and what
// UploadPart said of each.
func uploadParts(t *testing.T, c *s3.Client, in *s3.CreateMultipartUploadInput, bodies ...[]byte) (string, []*s3.UploadPartOutput) {
	t.Helper()
	in.Bucket = aws.String("bucket")
	up, err := c.CreateMultipartUpload(t.Context(), in)
	if err != nil {
		t.Fatalf("CreateMultipartUpload: %v", err)
	}
	var done types.CompletedMultipartUpload
	var parts []*s3.UploadPartOutput
	for i, b := range bodies {
		p, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)),
			Body: bytes.NewReader(b), ChecksumAlgorithm: in.ChecksumAlgorithm,
		})
		if err != nil {
			t.Fatalf("UploadPart: %v", err)
		}
		parts = append(parts, p)
		done.Parts = append(done.Parts, types.CompletedPart{ETag: p.ETag, PartNumber: aws.Int32(int32(i + 1)), ChecksumSHA256: p.ChecksumSHA256, ChecksumCRC32: p.ChecksumCRC32})
	}
	out, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, MultipartUpload: &done,
	})
	if err != nil {
		t.Fatalf("CompleteMultipartUpload: %v", err)
	}
	return *out.ETag, parts
}

var allAttributes = types.ObjectAttributesEtag.Values()

func TestClientObjectAttributes(t *testing.T) {
	srv := newServer(t, HandlerOptions{})
	c := newClient(srv)
	ctx, bucket := t.Context(), aws.String("bucket")
	ask := func(key string, most, marker string) *s3.GetObjectAttributesOutput {
		t.Helper()
		in := &s3.GetObjectAttributesInput{Bucket: bucket, Key: aws.String(key), ObjectAttributes: allAttributes}
		if most != "" {
			var n int32
			fmt.Sscan(most, &n)
			in.MaxParts = aws.Int32(n)
		}
		if marker != "" {
			in.PartNumberMarker = aws.String(marker)
		}
		out, err := c.GetObjectAttributes(ctx, in)
		if err != nil {
			t.Fatalf("GetObjectAttributes(%s): %v", key, err)
		}
		return out
	}

	put, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("plain"), Body: strings.NewReader("plain"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	out := ask("plain", "", "")
	if `"`+aws.ToString(out.ETag)+`"` != *put.ETag || aws.ToInt64(out.ObjectSize) != 5 || out.StorageClass != types.StorageClassStandard ||
		aws.ToString(out.Checksum.ChecksumSHA256) != *put.ChecksumSHA256 || out.Checksum.ChecksumType != types.ChecksumTypeFullObject ||
		out.ObjectParts != nil || out.LastModified == nil {
		t.Errorf("plain object: %+v, checksum %+v, parts %+v", out, out.Checksum, out.ObjectParts)
	}

	first, second, third := bytes.Repeat([]byte("1"), minPart), bytes.Repeat([]byte("2"), minPart+1), []byte("end")
	bodies := [][]byte{first, second, third}
	etag, parts := uploadParts(t, c, &s3.CreateMultipartUploadInput{Key: aws.String("composite"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}, bodies...)
	whole := sha256.New()
	for _, b := range bodies {
		s := sha256.Sum256(b)
		whole.Write(s[:])
	}
	out = ask("composite", "", "")
	if want := base64.StdEncoding.EncodeToString(whole.Sum(nil)) + "-3"; aws.ToString(out.Checksum.ChecksumSHA256) != want || out.Checksum.ChecksumType != types.ChecksumTypeComposite {
		t.Errorf("checksum %+v, want composite %s", out.Checksum, want)
	}
	if `"`+*out.ETag+`"` != etag || *out.ObjectSize != int64(len(first)+len(second)+len(third)) || aws.ToInt32(out.ObjectParts.TotalPartsCount) != 3 {
		t.Errorf("composite object: %+v, parts %+v", out, out.ObjectParts)
	}
	for i, p := range out.ObjectParts.Parts {
		if *p.PartNumber != int32(i+1) || *p.Size != int64(len(bodies[i])) || aws.ToString(p.ChecksumSHA256) != *parts[i].ChecksumSHA256 {
			t.Errorf("part %d: %+v", i+1, p)
		}
	}

	// Page by page.
	var numbers []int32
	marker := ""
	for range 5 {
		page := ask("composite", "2", marker).ObjectParts
		for _, p := range page.Parts {
			numbers = append(numbers, *p.PartNumber)
		}
		if marker = aws.ToString(page.NextPartNumberMarker); !*page.IsTruncated {
			break
		}
	}
	if got := fmt.Sprint(numbers); got != "[1 2 3]" {
		t.Errorf("parts by pages of two: %s", got)
	}

	// Without an algorithm of the caller's only the number of parts is told.
	uploadParts(t, c, &s3.CreateMultipartUploadInput{Key: aws.String("default")}, first, third)
	out = ask("default", "", "")
	if out.Checksum.ChecksumCRC64NVME == nil || out.Checksum.ChecksumType != types.ChecksumTypeFullObject ||
		*out.ObjectParts.TotalPartsCount != 2 || len(out.ObjectParts.Parts) != 0 {
		t.Errorf("object of parts: checksum %+v, parts %+v", out.Checksum, out.ObjectParts)
	}

	_, err = c.GetObjectAttributes(ctx, &s3.GetObjectAttributesInput{Bucket: bucket, Key: aws.String("absent"), ObjectAttributes: allAttributes})
	wantCode(t, "GetObjectAttributes of an absent key", err, "NoSuchKey")
	_, err = c.GetObjectAttributes(ctx, &s3.GetObjectAttributesInput{Bucket: bucket, Key: aws.String("plain"), ObjectAttributes: []types.ObjectAttributes{"Color"}})
	wantCode(t, "GetObjectAttributes of another attribute", err, "InvalidArgument")
	rawTest{method: "GET", path: "/bucket/plain?attributes", status: 400, code: "InvalidRequest"}.run(t, srv)

	// A part by its number comes with its own checksum, which the client checks.
	for i, want := range bodies {
		n := aws.Int32(int32(i + 1))
		get, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("composite"), PartNumber: n, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatalf("GetObject of part %d: %v", *n, err)
		}
		got, err := io.ReadAll(get.Body)
		if err != nil || !bytes.Equal(got, want) || *get.PartsCount != 3 || aws.ToString(get.ChecksumSHA256) != *parts[i].ChecksumSHA256 {
			t.Errorf("part %d: %d bytes, %v, %d parts, checksum %v", *n, len(got), err, *get.PartsCount, aws.ToString(get.ChecksumSHA256))
		}
		head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("composite"), PartNumber: n, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || *head.ContentLength != int64(len(want)) || aws.ToString(head.ChecksumSHA256) != *parts[i].ChecksumSHA256 {
			t.Errorf("HeadObject of part %d = %+v, %v", *n, head, err)
		}
	}
	get, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("plain"), PartNumber: aws.Int32(1), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(get.Body); string(got) != "plain" || err != nil {
		t.Errorf("part 1 of a plain object: %q, %v", got, err)
	}
}
