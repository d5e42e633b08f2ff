package objectserver

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/deferd/deferd"
)

// FuzzRecord reads whatever bytes as a log. Nothing may panic, and a record
// that is accepted must be written again as it was.
func FuzzRecord(f *testing.F) {
	const nonce = 7
	for _, r := range []*record{
		{Op: opBucket, Bucket: "b"},
		{Op: opPut, Bucket: "b", Key: "k", Size: 4, Attr: &attributes{Type: "a/b"}},
		{Op: opPut, Bucket: "b", Key: "k", Attr: &attributes{Tags: []tag{{"a", "b"}}, PartSums: []string{"AAAA"}}, Files: []fileRef{{newFileID(), 1}}, Upload: "u"},
		{Op: opBucket, Bucket: "b", Tags: []tag{{"a", "b"}}, Cycle: &lifecycle{Rules: []ruleElement{{Status: "Enabled", Expiration: &expirationElement{Days: new(1)}}}}},
	} {
		b, err := encodeRecord(r, bytes.Repeat([]byte("x"), int(r.Size)))
		if err != nil {
			f.Fatal(err)
		}
		sealRecord(b, 99, nonce)
		f.Add(b)
		f.Add(append(b, b[:10]...))
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		r := bufio.NewReader(bytes.NewReader(log))
		read := 0
		for {
			p, base, err := nextRecord(r, nonce, nil)
			if err != nil {
				break
			}
			rec, metaLen, err := parsePayload(p)
			if err == nil {
				_ = rec.check()
				if 4+metaLen > len(p) {
					t.Errorf("description of %d bytes in %d", metaLen, len(p))
				}
			}
			if base < 0 {
				t.Errorf("base %d", base)
			}
			read += recordHeader + len(p)
		}
		if read > len(log) {
			t.Errorf("read %d bytes of %d", read, len(log))
		}
		laterRecord(log, 0, nonce)
	})
}

// FuzzQuickPut compares what the quick reader of records says with what the
// decoder does.
func FuzzQuickPut(f *testing.F) {
	f.Add("bucket", "key", "etag", "a/b", "name", "value", "", int64(1), uint8(4))
	f.Add("b", "\"g\":[", "", "<a>", "g", "\"f\":[", "", int64(-1), uint8(0))
	f.Add("b\\", "\u2028", "e", "", "", "", "tag", int64(0), uint8(9))
	f.Fuzz(func(t *testing.T, bucket, key, etag, kind, name, value, tagKey string, time int64, size uint8) {
		attr := &attributes{Type: kind, Metadata: map[string]string{name: value}, Full: true}
		if tagKey != "" {
			attr.Tags = []tag{{tagKey, value}}
		}
		want := &record{Op: opPut, Bucket: bucket, Key: key, ETag: etag, Time: time, Size: int64(size), Attr: attr}
		if size%3 == 1 {
			want.Files = []fileRef{{"00112233445566778899aabbccddeeff", want.Size}}
		}
		buf, err := encodeRecord(want, nil)
		if err != nil {
			t.Fatal(err)
		}
		meta, err := description(buf[recordHeader:])
		if err != nil {
			t.Fatal(err)
		}
		full := new(record)
		if err := json.Unmarshal(meta, full); err != nil {
			t.Fatal(err)
		}
		var quick record
		if !quickPut(meta, &quick, func(b []byte) string { return string(b) }) {
			if key == "key" && bucket == "bucket" && etag == "etag" && time > 0 && tagKey == "" && size%3 != 1 {
				t.Errorf("an ordinary record is left to the decoder: %s", meta)
			}
			return
		}
		if full.Files != nil || full.Attr.Tags != nil || quick.Attr == nil {
			t.Errorf("taken for a plain object: %s", meta)
		}
		full.Attr, quick.Attr = nil, nil
		if !reflect.DeepEqual(full, &quick) {
			t.Errorf("%s: quickly %+v, in full %+v", meta, quick, *full)
		}
	})
}

// FuzzTarget reads whatever host and path. A key must come back from a path
// that names it, and no path may be cleaned.
func FuzzTarget(f *testing.F) {
	f.Add("localhost", "/bucket/a//b/../c")
	f.Add("b.s3.localhost:80", "/%2F%2e%ff")
	f.Add("[::1]:80", "//")
	f.Fuzz(func(t *testing.T, host, path string) {
		got, err := parseTarget(host, path, []string{"s3.localhost"})
		if err == nil && (!utf8.ValidString(got.key) || got.key != "" && got.bucket == "") {
			t.Errorf("parseTarget(%q, %q) = %q", host, path, got)
		}
		if !utf8.ValidString(path) {
			return
		}
		again, err := parseTarget("localhost", "/bucket/"+strings.ReplaceAll(url.PathEscape(path), "%2F", "/"), nil)
		if err != nil || again != (target{"bucket", path}) {
			t.Errorf("key %q came back as %q, %v", path, again, err)
		}
	})
}

// refusal reports whether an error is one that a caller has earned.
func refusal(err error) bool {
	e, unexpected := toAPIError(err)
	return !unexpected && (e.status < 500 || e.status == http.StatusNotImplemented)
}

// FuzzXML reads whatever bytes as each of the documents. What is taken as a
// lifecycle must be the same after a turn through the log and one over the wire.
func FuzzXML(f *testing.F) {
	const rule = "<Rule><ID>i</ID><Status>Enabled</Status><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Expiration><Days>1</Days></Expiration></Rule>"
	for _, seed := range []string{
		"", "<", "<a/>", "<!DOCTYPE a>", "<?xml version='1.0'?><Delete><Quiet>true</Quiet><Object><Key>k</Key><VersionId>null</VersionId></Object></Delete>",
		"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></CompleteMultipartUpload>",
		"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>", "<LifecycleConfiguration>" + rule + "</LifecycleConfiguration>",
		"<LifecycleConfiguration><Rule><Status>Disabled</Status><Prefix/><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>",
		"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>", strings.Repeat("<Tagging>", 99),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, v := range []any{&deleteRequest{}, &completeDocument{}, &taggingRequest{}, &bucketDocument{}} {
			if err := decodeXML(body, v); err != nil && !refusal(err) {
				t.Errorf("%T: %v", v, err)
			}
		}
		var doc lifecycleDocument
		if decodeXML(body, &doc) != nil {
			return
		}
		l, err := newLifecycle(&doc, "")
		if err != nil {
			if !refusal(err) {
				t.Errorf("lifecycle: %v", err)
			}
			return
		}
		b, err := encodeRecord(&record{Op: opBucket, Bucket: "b", Cycle: l}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := parsePayload(b[recordHeader:])
		if err != nil || r.check() != nil {
			t.Fatalf("logged lifecycle: %v, %v", err, r.check())
		}
		if got, want := fmt.Sprint(r.Cycle.rules), fmt.Sprint(l.rules); got != want {
			t.Errorf("logged rules %s, want %s", got, want)
		}
		if b, err = xml.Marshal(&lifecycleDocument{Rules: l.Rules}); err != nil {
			t.Fatal(err)
		}
		var again lifecycleDocument
		if err := decodeXML(b, &again); err != nil {
			t.Fatalf("own document %s: %v", b, err)
		}
		same, err := newLifecycle(&again, "")
		if err != nil {
			t.Fatalf("own document %s: %v", b, err)
		}
		if got, want := fmt.Sprint(same.rules), fmt.Sprint(l.rules); got != want {
			t.Errorf("rules after a turn: %s, want %s", got, want)
		}
	})
}

// FuzzTagging reads whatever as tags of a header. What is taken must be the
// same when it is written again.
func FuzzTagging(f *testing.F) {
	for _, seed := range []string{"", "a=b", "a=b&c=d", "a", "=", "&&", "a=%", "a=%C3%A9", "aws:a=b", "a=1&a=2", "a+b=c%20d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tags, err := parseTagging(header)
		if err != nil {
			if !refusal(err) {
				t.Error(err)
			}
			return
		}
		if len(tags) > maxObjectTags {
			t.Errorf("%d tags", len(tags))
		}
		var pairs []string
		for _, tag := range tags {
			pairs = append(pairs, url.QueryEscape(tag.Key)+"="+url.QueryEscape(tag.Value))
		}
		again, err := parseTagging(strings.Join(pairs, "&"))
		if err != nil || !slices.Equal(again, tags) {
			t.Errorf("%q came back as %q, %v", tags, again, err)
		}
	})
}

// FuzzCopySource reads whatever as the source of a copy.
func FuzzCopySource(f *testing.F) {
	for _, seed := range []string{"", "/", "b", "b/", "b/k", "/b/k", "b/%2F", "b/k?versionId=1", "%", "b//k", "b%2Fk", "arn:aws:s3:::b/k", "b/\xbc", "b/%bc"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		got, err := parseSource(v)
		if err != nil {
			if !refusal(err) {
				t.Error(err)
			}
			return
		}
		if got.bucket == "" || got.key == "" || !utf8.ValidString(got.key) {
			t.Errorf("parseSource(%q) = %q", v, got)
		}
		again, err := parseSource("/" + got.bucket + "/" + url.PathEscape(got.key))
		if err != nil || again != got && !strings.Contains(got.bucket, "%") {
			t.Errorf("%q came back as %q, %v", got, again, err)
		}
	})
}

// FuzzList lists by pages under whatever prefix and delimiter, and compares
// with what the keys say.
func FuzzList(f *testing.F) {
	s, err := Open(f.TempDir(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	if err := s.CreateBucket(f.Context(), "bucket"); err != nil {
		f.Fatal(err)
	}
	keys := []string{"", "a", "a/", "a//", "a/b", "a/b/c", "a/b/d", "a0", "b", "b\x00", "b\x00c", "é", "日/本", "日/語", "\U0010ffff"}
	for _, k := range keys[1:] {
		mustPut(f, s, k, "x")
	}
	h := NewHandler(s, HandlerOptions{})
	f.Add("", "", uint16(1), "", "")
	f.Add("a", "/", uint16(2), "a/", "")
	f.Add("日", "/", uint16(1), "", "YQ")
	f.Add("\xff", "\x00", uint16(0), "é", "!")
	f.Fuzz(func(t *testing.T, prefix, delimiter string, size uint16, after, token string) {
		q := listQuery{bucket: "bucket", prefix: prefix, delimiter: delimiter, after: after, max: int(size%20) + 1}
		want := map[string]bool{}
		for _, k := range keys[1:] {
			p := commonPrefix(k, prefix, delimiter)
			if name := cmp.Or(p, k); strings.HasPrefix(k, prefix) && name > after && (p == "" || k > after) {
				want[name] = true
			}
		}
		got := map[string]bool{}
		for {
			page := s.list(q)
			if len(page.entries)+len(page.prefixes) > q.max {
				t.Fatalf("page of %d and %d, want at most %d", len(page.entries), len(page.prefixes), q.max)
			}
			for _, e := range page.entries {
				got[e.key] = true
			}
			for _, p := range page.prefixes {
				got[p] = true
			}
			if !page.more {
				break
			}
			if page.last <= q.after {
				t.Fatalf("page ends with %q, not after %q", page.last, q.after)
			}
			q.after = page.last
		}
		if !maps.Equal(got, want) {
			t.Errorf("prefix %q, delimiter %q, after %q: %v, want %v", prefix, delimiter, after, got, want)
		}
		query := url.Values{"list-type": {"2"}, "prefix": {prefix}, "delimiter": {delimiter}, "start-after": {after}, "continuation-token": {token}, "max-keys": {strconv.Itoa(int(size))}}
		if w := do(h, "GET", "/bucket?"+query.Encode(), ""); w.Code != 200 && w.Code != 400 || checkXML(w.Body.Bytes(), reflect.TypeFor[anyElement]()) != nil {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

// FuzzServe makes whatever request of a store that has an object. Whatever it
// is, the answer is no failure of the server.
func FuzzServe(f *testing.F) {
	s, err := Open(f.TempDir(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	h := NewHandler(s, HandlerOptions{})
	f.Add("GET", "/bucket/k", "partNumber=1", "Range", "bytes=0-", "")
	f.Add("PUT", "/bucket/k", "tagging", "X-Amz-Tagging", "a=b", "<Tagging><TagSet/></Tagging>")
	f.Add("PUT", "/bucket", "lifecycle", "Content-Md5", "", "<LifecycleConfiguration/>")
	f.Add("POST", "/bucket", "delete", "X-Amz-Checksum-Crc32", "AAAAAA==", "<Delete/>")
	f.Add("POST", "/bucket/k", "uploads", "X-Amz-Checksum-Algorithm", "CRC32", "")
	f.Add("PUT", "/bucket/k", "", "X-Amz-Copy-Source", "bucket/k", "")
	f.Add("GET", "/bucket/k", "attributes", "X-Amz-Object-Attributes", "ETag,ObjectParts", "")
	f.Add("DELETE", "/bucket/k", "versionId=null", "If-Match", "*", "")
	f.Fuzz(func(t *testing.T, method, path, query, name, value, body string) {
		if err := s.CreateBucket(t.Context(), "bucket"); err != nil && deferd.CodeOf(err) != deferd.Exists {
			t.Fatal(err)
		}
		mustPut(t, s, "k", "body")
		u := &url.URL{Path: "/" + strings.TrimPrefix(path, "/"), RawQuery: query}
		r := &http.Request{Method: method, URL: u, Host: "localhost", Header: http.Header{}}
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		h.Serve(w, r.WithContext(t.Context()), deferd.Principal{}, plainBody{strings.NewReader(body), int64(len(body)), nil})
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Errorf("%s %s with %s: %q: status %d\n%s", method, u, name, value, w.Code, w.Body)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Add("bytes=9223372036854775807-", int64(1))
	f.Add("bytes=99999999999999999999-99999999999999999999", int64(1))
	f.Add("bytes=-99999999999999999999", int64(0))
	f.Add("bytes=1-0", int64(2))
	f.Add("bytes=0-0,1-1", int64(2))
	f.Fuzz(func(t *testing.T, spec string, size int64) {
		if size < 0 {
			return
		}
		r, ok, err := parseRange(spec, size)
		if ok && (err != nil || r.off < 0 || r.n < 1 || r.off > size-r.n) {
			t.Errorf("parseRange(%q, %d) = %+v, %v", spec, size, r, err)
		}
	})
}
