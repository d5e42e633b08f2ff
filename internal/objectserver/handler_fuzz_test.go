package objectserver

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/deferd/deferd"
)

// Whatever is asked, it is answered in S3's XML, and never with an error of the
// server's own; afterwards everything that is there can be listed and read.
func FuzzHandler(f *testing.F) {
	f.Add("PUT", "/bucket/k?x-id=PutObject", "Content-Md5", "lc+uAhGmLd2IM2WcV6i/kA==", "x")
	f.Add("PUT", "/bucket/copy", "X-Amz-Copy-Source", "/bucket/k?versionId=%zz", "")
	f.Add("POST", "/bucket/%01%ff?uploads", "X-Amz-Checksum-Algorithm", "CRC32", "")
	f.Add("POST", "/bucket/k?uploadId=1", "X-Amz-Mp-Object-Size", "-1", "<CompleteMultipartUpload><Part><PartNumber>0</PartNumber><ETag>&#0;</ETag></Part></CompleteMultipartUpload>")
	f.Add("POST", "/bucket?delete", "X-Amz-Checksum-Crc32", "AAAAAA==", "<Delete><Object><Key>k</Key></Object></Delete>")
	f.Add("GET", "/bucket?list-type=2&max-keys=1&prefix=%00&delimiter=%2F&encoding-type=url&start-after=a", "Range", "bytes=0-", "")
	f.Add("GET", "/bucket?uploads&key-marker=a&upload-id-marker=b", "", "", "")
	f.Add("GET", "/bucket/k?partNumber=1&response-expires=x", "If-Modified-Since", "yesterday", "")
	f.Add("PUT", "/other", "X-Amz-Acl", "private", "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>")
	f.Add("HEAD", "/bucket//", "If-Match", `"`, "")
	h := NewHandler(openTest(f, f.TempDir(), Options{SegmentSize: 1 << 16}), HandlerOptions{Hosts: []string{"localhost"}})
	ask := func(t *testing.T, method, target string, header http.Header, body string) *httptest.ResponseRecorder {
		t.Helper()
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip() // no request arrives that net/http cannot read
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL, r.Header, r.Host = method, u, header, "localhost"
		w := httptest.NewRecorder()
		h.Serve(w, r, deferd.Principal{}, plainBody{strings.NewReader(body), int64(len(body)), nil})
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("%s %s %v %q: %d %s", method, target, header, body, w.Code, w.Body)
		}
		return w
	}
	f.Fuzz(func(t *testing.T, method, target, name, value, body string) {
		if strings.ContainsAny(name+value, "\r\n\x00") {
			t.Skip() // no header arrives with these
		}
		header := http.Header{}
		if name != "" {
			header.Set(name, value)
		}
		w := ask(t, method, target, header, body)
		if method != http.MethodHead && w.Code >= 400 {
			var e struct {
				XMLName xml.Name `xml:"Error"`
				Code    string
			}
			if err := xml.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == "" {
				t.Errorf("%d %s: %v", w.Code, w.Body, err)
			}
		}
		var list struct {
			Contents []struct{ Key string }
		}
		w = ask(t, "GET", "/bucket?list-type=2&encoding-type=url", http.Header{}, "")
		if err := xml.Unmarshal(w.Body.Bytes(), &list); err != nil {
			if w.Code == http.StatusNotFound {
				ask(t, "PUT", "/bucket", http.Header{}, "") // it was deleted
				return
			}
			t.Fatalf("list: %d %s: %v", w.Code, w.Body, err)
		}
		for _, o := range list.Contents {
			path := "/bucket/" + strings.ReplaceAll(o.Key, "+", "%20")
			if w := ask(t, "GET", path, http.Header{}, ""); w.Code != http.StatusOK {
				t.Errorf("%q is listed, and then: %d %s", o.Key, w.Code, w.Body)
			}
			ask(t, "DELETE", path, http.Header{}, "")
		}
	})
}
