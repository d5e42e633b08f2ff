package objectserver

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/deferd/deferd"
)

// A raw request, with what its answer must be.
type rawTest struct {
	name   string
	method string
	path   string
	header map[string]string
	body   string
	status int
	code   string // S3's error code
	want   string // of the body
	check  func(body []byte) error
}

func (test rawTest) run(t *testing.T, srv *httptest.Server) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), test.method, srv.URL+test.path, strings.NewReader(test.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range test.header {
		if k == "Host" {
			req.Host = v
		}
		req.Header.Set(k, v)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != test.status {
		t.Errorf("status %d, want %d\n%s", res.StatusCode, test.status, b)
	}
	if res.Header.Get("X-Amz-Request-Id") == "" {
		t.Error("no request ID")
	}
	var e struct{ Code string }
	if test.code != "" && (xml.Unmarshal(b, &e) != nil || e.Code != test.code) {
		t.Errorf("answer %s, want code %s", b, test.code)
	}
	if test.want != "" && string(b) != test.want {
		t.Errorf("body %q, want %q", b, test.want)
	}
	if test.check != nil {
		if err := test.check(b); err != nil {
			t.Errorf("%v\n%s", err, b)
		}
	}
	return res
}

func TestRanges(t *testing.T) {
	srv := newServer(t, HandlerOptions{})
	rawTest{method: "PUT", path: "/bucket/k", body: "0123456789", status: 200}.run(t, srv)
	rawTest{method: "PUT", path: "/bucket/empty", status: 200}.run(t, srv)
	tests := []struct {
		spec   string
		status int
		want   string
	}{
		{"bytes=0-3", 206, "0123"},
		{"bytes=4-", 206, "456789"},
		{"bytes=-3", 206, "789"},
		{"bytes=-99", 206, "0123456789"},
		{"bytes=8-99", 206, "89"},
		{"bytes=9-9", 206, "9"},
		{"bytes=10-", 416, ""},
		{"bytes=-0", 416, ""},
		{"bytes=1-0", 200, "0123456789"},
		{"bytes=0-1,3-4", 200, "0123456789"},
		{"bytes=x-", 200, "0123456789"},
		{"lines=0-1", 200, "0123456789"},
		{"bytes=-", 200, "0123456789"},
		{"bytes=0-", 206, "0123456789"},
		{"bytes=0-99999999999999999999", 206, "0123456789"},
		{"bytes=-99999999999999999999", 206, "0123456789"},
		{"bytes=99999999999999999999-", 416, ""},
		{"bytes=9223372036854775807-9223372036854775807", 416, ""},
		{"bytes=99999999999999999999-1", 200, "0123456789"},
		{"bytes=0-0,-1", 200, "0123456789"},
		{"bytes=+1-2", 200, "0123456789"},
		{"bytes=-1-2", 200, "0123456789"},
		{"bytes=", 200, "0123456789"},
		{" bytes=0-3", 206, "0123"},
	}
	for _, test := range tests {
		t.Run(test.spec, func(t *testing.T) {
			header := map[string]string{"Range": test.spec}
			rawTest{method: "GET", path: "/bucket/k", header: header, status: test.status, want: test.want}.run(t, srv)
			res := rawTest{method: "HEAD", path: "/bucket/k", header: header, status: test.status}.run(t, srv)
			if got := res.Header.Get("Content-Range"); test.status == 416 && got != "bytes */10" {
				t.Errorf("HEAD: Content-Range %q, want that of 10 bytes", got)
			}
			if test.status < 300 && res.ContentLength != int64(len(test.want)) {
				t.Errorf("HEAD: length %d, want %d", res.ContentLength, len(test.want))
			}
		})
	}
	for _, spec := range []string{"bytes=0-", "bytes=-1", "bytes=0-0"} {
		rawTest{method: "GET", path: "/bucket/empty", header: map[string]string{"Range": spec}, status: 416, code: "InvalidRange"}.run(t, srv)
	}
}

func TestRaw(t *testing.T) {
	srv := newServer(t, HandlerOptions{Hosts: []string{"s3.localhost"}})
	long := strings.Repeat("k", 1025)
	h := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	const md5OfX = "ndTkYSaMgDT1yFZOFVxnpg=="
	tests := []rawTest{
		{name: "literal path", method: "PUT", path: "/bucket/a//b/../%2F%2e/+", body: "odd", status: 200},
		{name: "literal path again", method: "GET", path: "/bucket/a//b/..//./%2B", status: 200, want: "odd"},
		{name: "cleaned path", method: "GET", path: "/bucket/a/+", status: 404, code: "NoSuchKey"},
		{name: "virtual host", method: "GET", path: "/a//b/..//./+", header: h("Host", "bucket.S3.localhost:99"), status: 200, want: "odd"},
		{name: "virtual host's root", method: "GET", path: "/", header: h("Host", "absent.s3.localhost"), status: 404, code: "NoSuchBucket"},
		{name: "name of the service", method: "GET", path: "/", header: h("Host", "s3.localhost"), status: 200},
		{name: "key not UTF-8", method: "PUT", path: "/bucket/%ff", status: 400, code: "InvalidURI"},
		{name: "no bucket", method: "GET", path: "//k", status: 400, code: "InvalidBucketName"},
		{name: "long key", method: "PUT", path: "/bucket/" + long, status: 400, code: "KeyTooLongError"},
		{name: "long key read", method: "GET", path: "/bucket/" + long, status: 400, code: "KeyTooLongError"},

		{name: "unknown sub-resource of object", method: "DELETE", path: "/bucket/k?renameObject", status: 501, code: "NotImplemented"},
		{name: "unknown sub-resource of bucket", method: "DELETE", path: "/bucket?metrics", status: 501, code: "NotImplemented"},
		{name: "unknown sub-resource of put", method: "PUT", path: "/bucket/k?retention", status: 501, code: "NotImplemented"},
		{name: "unknown sub-resource of a listing", method: "GET", path: "/bucket?inventory", status: 501, code: "NotImplemented"},
		{name: "version", method: "GET", path: "/bucket/k?versionId=1", status: 501, code: "NotImplemented"},
		{name: "part number without upload", method: "PUT", path: "/bucket/k?partNumber=1", status: 501, code: "NotImplemented"},
		{name: "repeated parameter", method: "GET", path: "/bucket?prefix=a&prefix=b", status: 400, code: "InvalidArgument"},
		{name: "presigned", method: "GET", path: "/bucket/a//b/..//./+?X-Amz-Signature=1&X-Amz-Date=2&x-id=GetObject", status: 200, want: "odd"},
		{name: "presigned, with a header in the URL", method: "GET", path: "/bucket/a//b/..//./+?X-Amz-Signature=1&x-amz-expected-bucket-owner=1", status: 403, code: "AccessDenied"},
		{name: "presigned, with a checksum of nothing", method: "PUT", path: "/bucket/signed?X-Amz-Signature=1&x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32", body: "y", status: 200},
		{name: "presigned, with a checksum in both", method: "PUT", path: "/bucket/bad?X-Amz-Signature=1&X-Amz-Checksum-Crc32=AAAAAA%3D%3D", body: "y", header: h("x-amz-checksum-crc32", "AAAAAA=="), status: 400, code: "BadDigest"},
		{name: "presigned before V4, with its type", method: "PUT", path: "/bucket/v2?AWSAccessKeyId=1&Signature=1&Expires=1&content-type=a%2Fb", status: 200},
		{name: "not presigned, with a type", method: "PUT", path: "/bucket/v2?content-type=a%2Fb", status: 501, code: "NotImplemented"},
		{name: "not presigned, with a header in the URL", method: "GET", path: "/bucket/k?X-Amz-Checksum-Mode=ENABLED", status: 501, code: "NotImplemented"},
		{name: "method", method: "PATCH", path: "/bucket/k", status: 405, code: "MethodNotAllowed"},

		{name: "right MD5", method: "PUT", path: "/bucket/md5", body: "x", header: h("Content-MD5", md5OfX), status: 200},
		{name: "wrong MD5", method: "PUT", path: "/bucket/bad", body: "y", header: h("Content-MD5", md5OfX), status: 400, code: "BadDigest"},
		{name: "no MD5", method: "PUT", path: "/bucket/bad", body: "y", header: h("Content-MD5", "x"), status: 400, code: "InvalidDigest"},
		{name: "wrong checksum", method: "PUT", path: "/bucket/bad", body: "y", header: h("x-amz-checksum-crc32", "AAAAAA=="), status: 400, code: "BadDigest"},
		{name: "no checksum", method: "PUT", path: "/bucket/bad", body: "y", header: h("x-amz-checksum-crc32", "AA"), status: 400, code: "InvalidRequest"},
		{name: "absent trailer", method: "PUT", path: "/bucket/bad", body: "y", header: h("x-amz-trailer", "x-amz-checksum-crc32"), status: 400, code: "BadDigest"},
		{name: "unknown checksum", method: "PUT", path: "/bucket/bad", body: "y", header: h("x-amz-checksum-foo", "AA"), status: 501, code: "NotImplemented"},
		{name: "what was refused is absent", method: "GET", path: "/bucket/bad", status: 404, code: "NoSuchKey"},

		{name: "acl", method: "PUT", path: "/bucket/acl", header: h("x-amz-acl", "private"), status: 200},
		{name: "public acl", method: "PUT", path: "/bucket/acl", header: h("x-amz-acl", "public-read"), status: 501, code: "NotImplemented"},
		{name: "storage class", method: "PUT", path: "/bucket/acl", header: h("x-amz-storage-class", "GLACIER"), status: 501, code: "NotImplemented"},
		{name: "customer key", method: "PUT", path: "/bucket/acl", header: h("x-amz-server-side-encryption-customer-algorithm", "AES256"), status: 501, code: "NotImplemented"},
		{name: "customer key of a read", method: "GET", path: "/bucket/acl", header: h("x-amz-server-side-encryption-customer-algorithm", "AES256"), status: 501, code: "NotImplemented"},
		{name: "object lock", method: "PUT", path: "/bucket/acl", header: h("x-amz-object-lock-mode", "GOVERNANCE"), status: 501, code: "NotImplemented"},
		{name: "grant", method: "PUT", path: "/bucket/acl", header: h("x-amz-grant-read", "id=1"), status: 501, code: "NotImplemented"},
		{name: "redirect", method: "PUT", path: "/bucket/acl", header: h("x-amz-website-redirect-location", "/x"), status: 501, code: "NotImplemented"},
		{name: "conditional delete by size", method: "DELETE", path: "/bucket/acl", header: h("x-amz-if-match-size", "1"), status: 501, code: "NotImplemented"},
		{name: "tags of a part", method: "PUT", path: "/bucket/acl?uploadId=1&partNumber=1", header: h("x-amz-tagging", "a=b"), status: 501, code: "NotImplemented"},
		{name: "copy of a version", method: "PUT", path: "/bucket/acl", header: h("x-amz-copy-source", "/bucket/k?versionId=1"), status: 501, code: "NotImplemented"},
		{name: "copy of nothing", method: "PUT", path: "/bucket/acl", header: h("x-amz-copy-source", "bucket"), status: 400, code: "InvalidArgument"},
		{name: "metadata", method: "PUT", path: "/bucket/acl", header: h("x-amz-meta-a", strings.Repeat("v", 3000)), status: 400, code: "MetadataTooLarge"},
		{name: "other owner", method: "GET", path: "/bucket/md5", header: h("x-amz-expected-bucket-owner", "1"), status: 403, code: "AccessDenied"},

		{name: "not modified", method: "GET", path: "/bucket/md5", header: h("If-None-Match", `"9dd4e461268c8034f5c8564e155c67a6"`), status: 304},
		{name: "modified since", method: "GET", path: "/bucket/md5", header: h("If-Modified-Since", "Fri, 02 Jan 2026 03:04:05 GMT"), status: 200, want: "x"},
		{name: "unmodified since", method: "GET", path: "/bucket/md5", header: h("If-Unmodified-Since", "Fri, 02 Jan 2026 03:04:05 GMT"), status: 412, code: "PreconditionFailed"},
		{name: "if match, half quoted", method: "GET", path: "/bucket/md5", header: h("If-Match", `9dd4e461268c8034f5c8564e155c67a6"`), status: 200, want: "x"},
		{name: "overridden header", method: "GET", path: "/bucket/md5?response-content-type=a/b", status: 200},

		{name: "bucket namespace", method: "PUT", path: "/other", header: h("x-amz-bucket-namespace", "account-regional"), status: 501, code: "NotImplemented"},
		{name: "no XML", method: "POST", path: "/bucket?delete", body: "<Delete", header: h("Content-MD5", "lc+uAhGmLd2IM2WcV6i/kA=="), status: 400, code: "MalformedXML"},
		{name: "unprotected delete", method: "POST", path: "/bucket?delete", body: "<Delete/>", status: 400, code: "InvalidRequest"},
		{name: "complete without parts", method: "POST", path: "/bucket/k?uploadId=1", body: "<CompleteMultipartUpload/>", status: 400, code: "MalformedXML"},
		{name: "absent upload", method: "PUT", path: "/bucket/k?uploadId=1&partNumber=1", body: "x", status: 404, code: "NoSuchUpload"},
		{name: "part number", method: "PUT", path: "/bucket/k?uploadId=1&partNumber=0", body: "x", status: 400, code: "InvalidArgument"},
		{name: "max-keys", method: "GET", path: "/bucket?max-keys=-1", status: 400, code: "InvalidArgument"},
		{name: "continuation token", method: "GET", path: "/bucket?list-type=2&continuation-token=%21", status: 400, code: "InvalidArgument"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, srv) })
	}
	res := rawTest{method: "GET", path: "/bucket/md5", status: 200}.run(t, srv)
	if got := res.Header.Get("Content-Type"); got != "binary/octet-stream" {
		t.Errorf("type of an object put without one: %q", got)
	}
}

// A failingBody ends with err instead of io.EOF.
type failingBody struct {
	data string
	err  error
	at   int
}

func (b *failingBody) Length() int64        { return -1 }
func (b *failingBody) Trailer() http.Header { return nil }
func (b *failingBody) Read(p []byte) (int, error) {
	if b.at == len(b.data) {
		return 0, b.err
	}
	n := copy(p, b.data[b.at:])
	b.at += n
	return n, nil
}

// A verifyError is like those of the verifying reader.
type verifyError struct{}

func (verifyError) Error() string         { return "the payload differs" }
func (verifyError) S3Code() (string, int) { return "XAmzContentSHA256Mismatch", 400 }

// TestBadBodyStoresNothing ends bodies in every wrong way.
func TestBadBodyStoresNothing(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	h := NewHandler(s, HandlerOptions{})
	id, err := s.CreateUpload(t.Context(), deferd.Location{Bucket: "bucket", Key: "k"}, deferd.ObjectAttributes{})
	if err != nil {
		t.Fatal(err)
	}
	bodies := []struct {
		name string
		body Body
		code string
	}{
		{"cut off", &failingBody{data: "part", err: io.ErrUnexpectedEOF}, "IncompleteBody"},
		{"large, cut off", &failingBody{data: strings.Repeat("x", 1<<20), err: io.ErrUnexpectedEOF}, "IncompleteBody"},
		{"other than signed", &failingBody{data: "other", err: verifyError{}}, "XAmzContentSHA256Mismatch"},
		{"connection lost", &failingBody{data: "part", err: errors.New("connection reset")}, "IncompleteBody"},
		{"shorter than said", plainBody{strings.NewReader("short"), 10, nil}, "IncompleteBody"},
		{"longer than said", plainBody{strings.NewReader("longer"), 3, nil}, "IncompleteBody"},
		{"too large", plainBody{strings.NewReader("x"), maxObject + 1, nil}, "EntityTooLarge"},
	}
	for _, b := range bodies {
		for _, path := range []string{"/bucket/k", "/bucket/k?partNumber=1&uploadId=" + id} {
			t.Run(b.name+path, func(t *testing.T) {
				w := httptest.NewRecorder()
				h.Serve(w, httptest.NewRequest("PUT", path, nil), deferd.Principal{}, b.body)
				var e struct{ Code string }
				if err := xml.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code != b.code {
					t.Errorf("answer %s, want code %s", w.Body, b.code)
				}
			})
			if f, ok := b.body.(*failingBody); ok {
				f.at = 0
			}
		}
	}
	if _, err := s.Head(t.Context(), deferd.Location{Bucket: "bucket", Key: "k"}); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("Head: %v, want not found", err)
	}
	u, err := s.openUpload(deferd.Upload{Location: deferd.Location{Bucket: "bucket", Key: "k"}, ID: id})
	if err != nil || len(u.parts) != 0 {
		t.Errorf("parts %v, %v; want none", u.parts, err)
	}
	if files := dataFiles(t, s.dir); len(files) != 0 {
		t.Errorf("files %q are left, want none", files)
	}
}

// zeros is a body of zeros.
type zeros struct{ length, left int64 }

func (z *zeros) Length() int64        { return z.length }
func (z *zeros) Trailer() http.Header { return nil }
func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

// TestMemory stores and reads an object that is much larger than what may be
// held of it.
func TestMemory(t *testing.T) {
	const most = 4 << 20
	h := NewHandler(openTest(t, t.TempDir(), Options{}), HandlerOptions{})
	for _, method := range []string{"PUT", "GET"} {
		for _, length := range []int64{256 << 20, -1} {
			size := max(length, 64<<20)
			if method == "GET" {
				size = 64 << 20 // which is there last
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w := &countingWriter{discardWriter: discardWriter{header: http.Header{}}}
			h.Serve(w, httptest.NewRequest(method, "/bucket/k", nil), deferd.Principal{}, &zeros{length, size})
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > most {
				t.Errorf("%s of %d bytes allocates %d", method, size, got)
			}
			if method == "GET" && int64(w.n) != size {
				t.Errorf("GET: %d bytes, want %d", w.n, size)
			}
		}
	}
}

type countingWriter struct {
	discardWriter
	n int
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.n += len(b)
	return len(b), nil
}

func TestAuthorize(t *testing.T) {
	var asked []string
	s := openTest(t, t.TempDir(), Options{})
	h := NewHandler(s, HandlerOptions{Authorize: func(_ deferd.Principal, action, resource string) error {
		asked = append(asked, action+" "+resource)
		return deferd.Errorf(deferd.Denied, "no")
	}})
	requests := []struct{ method, path, want string }{
		{"GET", "/", "s3:ListAllMyBuckets *"},
		{"PUT", "/b", "s3:CreateBucket arn:aws:s3:::b"},
		{"GET", "/b?list-type=2", "s3:ListBucket arn:aws:s3:::b"},
		{"GET", "/b/k%20/x", "s3:GetObject arn:aws:s3:::b/k /x"},
		{"HEAD", "/b/k", "s3:GetObject arn:aws:s3:::b/k"},
		{"PUT", "/b/k", "s3:PutObject arn:aws:s3:::b/k"},
		{"POST", "/b/k?uploads", "s3:PutObject arn:aws:s3:::b/k"},
		{"DELETE", "/b/k", "s3:DeleteObject arn:aws:s3:::b/k"},
		{"DELETE", "/b/k?uploadId=1", "s3:AbortMultipartUpload arn:aws:s3:::b/k"},
	}
	for _, r := range requests {
		asked = nil
		w := httptest.NewRecorder()
		h.Serve(w, httptest.NewRequest(r.method, r.path, nil), deferd.Principal{}, plainBody{Reader: strings.NewReader("")})
		if w.Code != http.StatusForbidden || !slices.Equal(asked, []string{r.want}) {
			t.Errorf("%s %s: status %d, asked %q; want 403, %q", r.method, r.path, w.Code, asked, r.want)
		}
	}
}

// TestTrailer sends checksums behind the body.
func TestTrailer(t *testing.T) {
	h := NewHandler(openTest(t, t.TempDir(), Options{}), HandlerOptions{})
	sum := newChecksum(algCRC32)
	sum.Write([]byte("body"))
	right := base64.StdEncoding.EncodeToString(sum.Sum(nil))
	tests := []struct {
		name, sum, key string
		status         int
	}{
		{"right", right, "right", 200},
		{"wrong", "AAAAAA==", "wrong", 400},
		{"absent", "", "wrong", 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("PUT", "/bucket/"+test.key, nil)
			r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
			r.Header.Set("Content-Encoding", "aws-chunked, gzip")
			trailer := http.Header{"X-Amz-Checksum-Crc32": {test.sum}}
			w := httptest.NewRecorder()
			h.Serve(w, r, deferd.Principal{}, plainBody{strings.NewReader("body"), 4, trailer})
			if w.Code != test.status {
				t.Errorf("status %d, want %d\n%s", w.Code, test.status, w.Body)
			}
			if got := w.Header().Get("X-Amz-Checksum-Crc32"); test.status == 200 && got != right {
				t.Errorf("checksum %q, want %q", got, right)
			}
		})
	}
	w := httptest.NewRecorder()
	h.Serve(w, httptest.NewRequest("GET", "/bucket/right", nil), deferd.Principal{}, nil)
	if got := w.Header().Get("Content-Encoding"); got != "gzip" || w.Body.String() != "body" {
		t.Errorf("encoding %q, body %q; want gzip alone, and the body", got, w.Body)
	}
	w = httptest.NewRecorder()
	h.Serve(w, httptest.NewRequest("GET", "/bucket/wrong", nil), deferd.Principal{}, nil)
	if w.Code != 404 {
		t.Errorf("what was refused: status %d, want 404", w.Code)
	}
}

func TestWriteError(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		w := httptest.NewRecorder()
		WriteError(w, httptest.NewRequest(method, "/b/k%3C", nil), 403, "AccessDenied", "no <way>", "")
		id := w.Header().Get("X-Amz-Request-Id")
		want := ""
		if method == "GET" {
			want = xml.Header + "<Error><Code>AccessDenied</Code><Message>no &lt;way&gt;</Message><Resource>/b/k&lt;</Resource><RequestId>" + id + "</RequestId></Error>"
		}
		if got := w.Body.String(); w.Code != 403 || id == "" || got != want {
			t.Errorf("%s: status %d, body %q; want 403, %q", method, w.Code, got, want)
		}
	}
}

// TestSignedURLHeaders has a URL say what headers say elsewhere.
func TestSignedURLHeaders(t *testing.T) {
	srv := newServer(t, HandlerOptions{})
	put := "/bucket/k?X-Amz-Signature=1&X-Amz-Meta-Who=me&X-Amz-Sdk-Checksum-Algorithm=CRC32"
	rawTest{method: "PUT", path: put, header: map[string]string{"x-amz-meta-who": "somebody else"}, body: "x", status: 200}.run(t, srv)
	res := rawTest{method: "GET", path: "/bucket/k?X-Amz-Signature=1&X-Amz-Checksum-Mode=ENABLED", status: 200, want: "x"}.run(t, srv)
	for name, want := range map[string]string{"X-Amz-Meta-Who": "me", "X-Amz-Checksum-Crc32": "jNwWgw=="} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("header %s: %q, want %q", name, got, want)
		}
	}
}
