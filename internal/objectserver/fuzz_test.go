package objectserver

import (
	"bufio"
	"bytes"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzRecord reads whatever bytes as a log. Nothing may panic, and a record
// that is accepted must be written again as it was.
func FuzzRecord(f *testing.F) {
	const nonce = 7
	for _, r := range []*record{
		{Op: opBucket, Bucket: "b"},
		{Op: opPut, Bucket: "b", Key: "k", Size: 4, Attr: &attributes{Type: "a/b"}},
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
			p, base, err := nextRecord(r, nonce)
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

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Add("bytes=9223372036854775807-", int64(1))
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
