package objectserver

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"maps"
	"strings"

	"github.com/minio/crc64nvme"

	"github.com/deferd/deferd"
)

// The checksum algorithms of S3, as they end the names of its headers.
const (
	algCRC32     = "crc32"
	algCRC32C    = "crc32c"
	algCRC64NVME = "crc64nvme"
	algSHA1      = "sha1"
	algSHA256    = "sha256"
)

func newChecksum(algorithm string) hash.Hash {
	switch algorithm {
	case algCRC32:
		return crc32.NewIEEE()
	case algCRC32C:
		return crc32.New(castagnoli)
	case algCRC64NVME:
		return crc64nvme.New()
	case algSHA1:
		return sha1.New()
	case algSHA256:
		return sha256.New()
	}
	return nil
}

// Digests are what a body's bytes are said to have. The zero value says nothing.
type digests struct {
	md5       string            // base64; "" if not given
	algorithm string            // the checksum to keep; "" for CRC64NVME
	sums      map[string]string // base64, by algorithm

	// trailer returns the checksums that came behind the body; nil for none.
	trailer func() map[string]string
}

// A digester takes the digests of a body as it passes.
type digester struct {
	want   digests
	md5    hash.Hash
	hashes map[string]hash.Hash
}

// newDigester takes MD5, for the ETag, and the checksum that is kept.
func newDigester(want digests) *digester {
	d := &digester{want: want, md5: md5.New(), hashes: map[string]hash.Hash{}}
	d.add(want.algorithm)
	for a := range want.sums {
		d.add(a)
	}
	if len(d.hashes) == 0 {
		d.add(algCRC64NVME)
	}
	return d
}

func (d *digester) add(algorithm string) {
	if h := newChecksum(algorithm); h != nil && d.hashes[algorithm] == nil {
		d.hashes[algorithm] = h
	}
}

// Write never fails.
func (d *digester) Write(b []byte) (int, error) {
	d.md5.Write(b)
	for _, h := range d.hashes {
		h.Write(b)
	}
	return len(b), nil
}

// check compares what was given with what came, after the whole body.
func (d *digester) check() error {
	if d.want.md5 != "" && d.want.md5 != base64.StdEncoding.EncodeToString(d.md5.Sum(nil)) {
		return deferd.Errorf(deferd.Invalid, codeBadDigest)
	}
	want := d.want.sums
	if d.want.trailer != nil {
		want = copyMap(want)
		maps.Copy(want, d.want.trailer())
	}
	for a, sum := range want {
		h := d.hashes[a]
		if h == nil || base64.StdEncoding.EncodeToString(h.Sum(nil)) != sum {
			return deferd.Errorf(deferd.Invalid, codeBadDigest)
		}
	}
	return nil
}

func (d *digester) etag() string { return hex.EncodeToString(d.md5.Sum(nil)) }

func (d *digester) sums() map[string]string {
	m := make(map[string]string, len(d.hashes))
	for a, h := range d.hashes {
		m[a] = base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	return m
}

// compositeChecksum is the checksum of the parts' checksums, as S3 gives it
// for a multipart object; "" if a part has none.
func compositeChecksum(algorithm string, sums []string) string {
	h := newChecksum(algorithm)
	if h == nil {
		return ""
	}
	for _, s := range sums {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || s == "" {
			return ""
		}
		h.Write(b)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// sameETag compares ETags however they are quoted.
func sameETag(a, b string) bool { return bareETag(a) == bareETag(b) }

func bareETag(e string) string { return strings.Trim(strings.TrimSpace(e), `"`) }

func quoteETag(e string) string { return `"` + e + `"` }

// copyMap is maps.Clone for maps that are added to.
func copyMap(m map[string]string) map[string]string {
	c := maps.Clone(m)
	if c == nil {
		c = map[string]string{}
	}
	return c
}
