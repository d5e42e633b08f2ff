package objectserver

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// oddKeys are keys that a file system, a URL or XML would make something else
// of.
var oddKeys = []string{
	"a", "a/b", "a//b", "a/", "a/b/", "../x", "./", ".", "..", "a/../b", "/leading", "//", "/",
	"two words", " ", " leading", "trailing ", "a+b", "%2F", "%", "a%b", "a%20b", "?", "a?b=c", "#", "a&b", "<tag>", "\"quoted\"", "'", "`",
	"\\", "a\\b", "*", "~", "@:;,!$()[]{}|^", "ünï", "日本語/鍵", "😀", "e\u0301", "\u00e9", "\u200b", "\ufffd", "\U0010ffff",
	"\x00", "nul\x00in", "\x01", "tab\tin", "line\nin", "cr\rin", "\x1f", "\x7f", "\u0085", "\ufffe", "\uffff",
	strings.Repeat("k", maxKey), strings.Repeat("é", maxKey/2),
}

// TestOddKeys stores, reads, copies, lists and deletes under each of them.
func TestOddKeys(t *testing.T) {
	srv := newServer(t, HandlerOptions{})
	c := newClient(srv)
	ctx, bucket := t.Context(), aws.String("bucket")
	for _, k := range oddKeys {
		putString(t, c, k, "at "+k)
	}
	read := func(key, want string) {
		t.Helper()
		get, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String(key)})
		if err != nil {
			t.Errorf("GetObject(%q): %v", key, err)
			return
		}
		if b, err := io.ReadAll(get.Body); string(b) != want || err != nil {
			t.Errorf("object %q is %q, %v", key, b, err)
		}
	}
	want := slices.Sorted(slices.Values(oddKeys))
	for _, k := range want {
		read(k, "at "+k)
	}
	if got := listEncoded(t, c, 7); !slices.Equal(got, want) {
		t.Errorf("listed with encoding\n%q, want\n%q", got, want)
	}

	// Without encoding, what XML cannot hold is replaced, and the rest is there.
	var list struct {
		Contents []struct{ Key string }
	}
	rawTest{method: "GET", path: "/bucket?list-type=2", status: 200, check: func(b []byte) error { return xml.Unmarshal(b, &list) }}.run(t, srv)
	if len(list.Contents) != len(want) {
		t.Fatalf("%d keys without encoding, want %d", len(list.Contents), len(want))
	}
	for i, o := range list.Contents {
		if strings.ContainsRune(o.Key, '\ufffd') {
			continue
		}
		if o.Key != want[i] {
			t.Errorf("key %q is listed as %q", want[i], o.Key)
		}
	}

	for _, k := range want {
		copied := "copies/" + k
		if len(copied) > maxKey {
			continue
		}
		_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String(copied), CopySource: aws.String("bucket/" + url.PathEscape(k))})
		if err != nil {
			t.Errorf("CopyObject(%q): %v", k, err)
			continue
		}
		read(copied, "at "+k)
	}
	for _, k := range want {
		if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String(k)}); err != nil {
			t.Errorf("DeleteObject(%q): %v", k, err)
		}
	}
	for _, k := range listEncoded(t, c, 1000) {
		if !strings.HasPrefix(k, "copies/") {
			t.Errorf("%q is left", k)
		}
	}
}

// listEncoded lists all keys by pages and decodes them.
func listEncoded(t *testing.T, c *s3.Client, pageSize int32) []string {
	t.Helper()
	in := &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), MaxKeys: aws.Int32(pageSize), EncodingType: types.EncodingTypeUrl}
	var keys []string
	for p := s3.NewListObjectsV2Paginator(c, in); p.HasMorePages(); {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatalf("ListObjectsV2: %v", err)
		}
		for _, o := range page.Contents {
			k, err := url.QueryUnescape(*o.Key)
			if err != nil {
				t.Errorf("listed key %q: %v", *o.Key, err)
			}
			keys = append(keys, k)
		}
	}
	return keys
}

func TestKeyLength(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx, bucket, long := t.Context(), aws.String("bucket"), aws.String(strings.Repeat("k", maxKey+1))
	calls := map[string]error{}
	_, calls["PutObject"] = c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: long})
	_, calls["GetObject"] = c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: long})
	_, calls["CreateMultipartUpload"] = c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: long})
	_, calls["DeleteObject"] = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: long})
	for name, err := range calls {
		wantCode(t, name, err, "KeyTooLongError")
	}
}

// TestDelimiters lists keys where one is another's directory.
func TestDelimiters(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	for _, k := range []string{"a", "a/", "a//b", "a/b", "a/b/c", "a0", "//", "日/本", "日/語"} {
		putString(t, c, k, "x")
	}
	tests := []struct{ prefix, delimiter, want string }{
		{"", "/", "/| a a/| a0 日/|"},
		{"a/", "/", "a/ a//| a/b a/b/|"},
		{"a//", "/", "a//b"},
		{"/", "/", "//|"},
		{"", "日/", "// a a/ a//b a/b a/b/c a0 日/|"},
		{"", "//", "//| a a/ a//| a/b a/b/c a0 日/本 日/語"},
		{"a", "b", "a a/ a//b| a/b| a0"},
	}
	for _, test := range tests {
		for _, size := range []int32{1, 3, 1000} {
			in := &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), Prefix: aws.String(test.prefix), Delimiter: aws.String(test.delimiter), MaxKeys: aws.Int32(size)}
			if got := strings.Join(listAll(t, c, in, size), " "); got != test.want {
				t.Errorf("prefix %q, delimiter %q, %d at once:\n%s, want\n%s", test.prefix, test.delimiter, size, got, test.want)
			}
		}
	}
	versions, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("bucket"), MaxKeys: aws.Int32(3)})
	if err != nil || len(versions.Versions) != 3 || *versions.Versions[2].VersionId != "null" || !*versions.IsTruncated || aws.ToString(versions.NextKeyMarker) != "a/" {
		t.Errorf("ListObjectVersions = %+v, %v", versions, err)
	}
	versions, err = c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("bucket"), KeyMarker: versions.NextKeyMarker, VersionIdMarker: versions.NextVersionIdMarker})
	if err != nil || len(versions.Versions) != 6 || *versions.Versions[0].Key != "a//b" {
		t.Errorf("ListObjectVersions, second page = %+v, %v", versions, err)
	}
	for _, v := range versions.Versions {
		if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: v.Key, VersionId: v.VersionId}); err != nil {
			t.Errorf("DeleteObject of version null: %v", err)
		}
	}
}

// TestBucketNamesOnTheWire makes buckets under names that may or may not be.
func TestBucketNamesOnTheWire(t *testing.T) {
	srv := newServer(t, HandlerOptions{})
	names := map[string]string{
		"abc": "", "a.b-c": "", "123": "", strings.Repeat("a", 63): "", "my-bucket": "",
		"ab": "InvalidBucketName", strings.Repeat("a", 64): "InvalidBucketName", "a..b": "InvalidBucketName", "-abc": "InvalidBucketName",
		"abc-": "InvalidBucketName", ".abc": "InvalidBucketName", "ABC": "InvalidBucketName", "a_b_c": "InvalidBucketName",
		"10.0.0.1": "InvalidBucketName", "xn--a": "InvalidBucketName", "sthree-x": "InvalidBucketName", "b--ol-s3": "InvalidBucketName", "a%20b": "InvalidBucketName",
	}
	for name, code := range names {
		status := 200
		if code != "" {
			status = 400
		}
		rawTest{method: "PUT", path: "/" + name, status: status, code: code}.run(t, srv)
	}
}

// TestManyObjects pages through a score of full pages, and finds all of them
// again after a start.
func TestManyObjects(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 1 << 20})
	const objects = 20_000
	fillBucket(t, s, objects, "x")
	c := newClient(serveTest(t, NewHandler(s, HandlerOptions{})))
	n, last := 0, ""
	for p := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String("bucket")}); p.HasMorePages(); {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			if *o.Key <= last {
				t.Fatalf("%q comes after %q", *o.Key, last)
			}
			last = *o.Key
			n++
		}
	}
	if n != objects {
		t.Errorf("listed %d objects, want %d", n, objects)
	}
	in := &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), Delimiter: aws.String("/")}
	if got := len(listAll(t, c, in, 1000)); got != 100 {
		t.Errorf("%d common prefixes, want 100", got)
	}
	s.Close()
	s = openTest(t, dir, Options{})
	if got := s.objects.Len(); got != objects {
		t.Errorf("%d objects after a start, want %d", got, objects)
	}
	if got := getString(t, s, "99/019999"); got != "x" {
		t.Errorf("the last object is %q", got)
	}
}

// fillBucket stores n small objects, many with one sync.
func fillBucket(t testing.TB, s *Store, n int, body string) {
	t.Helper()
	d := newDigester(digests{})
	d.Write([]byte(body))
	for i := 0; i < n; i += 1000 {
		var changes []change
		for j := i; j < min(i+1000, n); j++ {
			r := &record{
				Op: opPut, Bucket: "bucket", Key: fmt.Sprintf("%02d/%06d", j%100, j), Time: int64(j + 1),
				ETag: d.etag(), Size: int64(len(body)), Attr: &attributes{Sums: d.sums(), Full: true},
			}
			buf, err := encodeRecord(r, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, change{buf, func(at pos) { s.state.apply(r, at) }})
		}
		if err := s.commit(true, func() ([]change, error) { return changes, nil }); err != nil {
			t.Fatal(err)
		}
	}
}
