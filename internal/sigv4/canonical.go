package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// errAmbiguous refuses a request that a handler might read differently from
// what was signed.
var errAmbiguous = errors.New("the request has no single reading")

// A scratch holds the buffers of one verification. Verifications share them in
// turn, so that a request costs no memory of its own.
type scratch struct {
	request []byte // the canonical request
	toSign  []byte
	path    []byte // decoded
	name    []byte // of a header, as http.Header spells it
	sum     []byte
	query   []byte // encoded parameters, one after the other
	params  []param
}

// A param is an encoded parameter in scratch.query: name, then value.
type param struct{ name, value, end int }

// build makes the canonical request and the string to sign of a request with
// claim c, sent to host, in which payload stands for the body.
func (b *scratch) build(r *http.Request, host string, c *claim, payload string, s3 bool) error {
	b.request = append(append(b.request[:0], r.Method...), '\n')
	if err := b.appendPath(r, s3); err != nil {
		return err
	}
	b.request = append(b.request, '\n')
	if err := b.appendQuery(r.URL.RawQuery); err != nil {
		return err
	}
	b.request = append(b.request, '\n')
	if err := b.appendHeaders(r, host, c); err != nil {
		return err
	}
	b.request = append(b.request, '\n')
	b.request = append(append(b.request, c.signedHeaders...), '\n')
	b.request = append(b.request, payload...)

	sum := sha256.Sum256(b.request)
	b.toSign = append(append(b.toSign[:0], algorithm...), '\n')
	b.toSign = c.appendDateAndScope(b.toSign)
	b.toSign = hex.AppendEncode(b.toSign, sum[:])
	return nil
}

// appendDateAndScope appends the lines that all strings to sign have.
func (c *claim) appendDateAndScope(dst []byte) []byte {
	dst = append(append(dst, c.date...), '\n')
	for _, part := range [...]string{c.Day, c.Region, c.Service} {
		dst = append(append(dst, part...), '/')
	}
	return append(append(dst, c.terminator...), '\n')
}

// appendPath appends the canonical path. S3's is the key as it is, encoded
// once. The others' is what was sent, normalised and encoded again.
func (b *scratch) appendPath(r *http.Request, s3 bool) error {
	path := sentPath(r)
	if !s3 {
		b.request = appendNormalized(b.request, path)
		return nil
	}
	var err error
	if b.path, err = appendDecoded(b.path[:0], path, false); err != nil {
		return err
	}
	if len(b.path) == 0 {
		b.path = append(b.path, '/')
	}
	b.request = appendEncoded(b.request, b.path, true)
	return nil
}

// sentPath is the path as the client sent it. URL.EscapedPath differs from it
// where the client sent what it should have escaped.
func sentPath(r *http.Request) string {
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") { // absolute form, or not from a server
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(uri, "?")
	return path
}

// appendNormalized appends an absolute path without empty and dot segments, as
// all services but S3 sign it, and encoded.
func appendNormalized(dst []byte, path string) []byte {
	start := len(dst)
	slash := strings.HasSuffix(path, "/")
	for path != "" {
		var segment string
		segment, path, _ = strings.Cut(path, "/")
		switch segment {
		case "", ".":
		case "..":
			dst = dst[:start+max(bytes.LastIndexByte(dst[start:], '/'), 0)]
		default:
			dst = appendEncoded(append(dst, '/'), segment, false)
		}
	}
	if slash || len(dst) == start {
		dst = append(dst, '/')
	}
	return dst
}

// appendQuery appends the canonical query: every parameter but the signature,
// encoded and sorted.
func (b *scratch) appendQuery(raw string) error {
	b.query, b.params = b.query[:0], b.params[:0]
	for name, value := range rawPairs(raw) {
		if name == "X-Amz-Signature" {
			continue
		}
		p := param{name: len(b.query)}
		var err error
		if b.query, err = appendRecoded(b.query, name); err != nil {
			return err
		}
		p.value = len(b.query)
		if b.query, err = appendRecoded(b.query, value); err != nil {
			return err
		}
		p.end = len(b.query)
		b.params = append(b.params, p)
	}
	slices.SortFunc(b.params, func(x, y param) int {
		if c := bytes.Compare(b.query[x.name:x.value], b.query[y.name:y.value]); c != 0 {
			return c
		}
		return bytes.Compare(b.query[x.value:x.end], b.query[y.value:y.end])
	})
	for i, p := range b.params {
		if i > 0 {
			b.request = append(b.request, '&')
		}
		b.request = append(append(b.request, b.query[p.name:p.value]...), '=')
		b.request = append(b.request, b.query[p.value:p.end]...)
	}
	return nil
}

// appendHeaders appends the signed headers, and refuses a request that leaves
// one unsigned that must be.
func (b *scratch) appendHeaders(r *http.Request, host string, c *claim) error {
	var last string
	var hosted, dated bool
	mandatory := 0 // how many headers that must be signed are
	for rest, more := c.signedHeaders, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		if name <= last { // not sorted, repeated or empty
			return errAmbiguous
		}
		last = name
		hosted = hosted || name == "host"
		dated = dated || name == c.dateIn
		if !b.setName(name) {
			return errAmbiguous
		}
		values := r.Header[string(b.name)]
		if len(values) > 0 && mustSign(name) {
			mandatory++
		}
		b.request = append(append(b.request, name...), ':')
		b.request = appendValues(b.request, r, host, name, values)
		b.request = append(b.request, '\n')
	}
	if !hosted || !dated && !c.Presigned {
		return errAmbiguous
	}
	for name, values := range r.Header {
		if len(values) > 0 && mustSign(name) {
			mandatory--
		}
	}
	if mandatory != 0 {
		return errAmbiguous
	}
	return nil
}

// mustSign reports whether a header must be among the signed ones when it is
// there. All parameters of AWS's APIs that travel in headers begin so.
func mustSign(name string) bool {
	for _, prefix := range [...]string{"x-amz-", "x-amzn-sagemaker-"} {
		if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// setName sets b.name to a header name from the list of signed ones, spelt as
// http.Header does. It reports false unless that name is in lower case.
func (b *scratch) setName(lower string) bool {
	b.name = b.name[:0]
	first := true
	for i := range len(lower) {
		ch := lower[i]
		if 'A' <= ch && ch <= 'Z' {
			return false
		}
		if first && 'a' <= ch && ch <= 'z' {
			ch -= 'a' - 'A'
		}
		b.name = append(b.name, ch)
		first = ch == '-'
	}
	return true
}

// appendValues appends the values of a signed header. Some headers are not
// where the others are, since net/http has taken them out.
func appendValues(dst []byte, r *http.Request, host, name string, values []string) []byte {
	if len(values) == 0 {
		switch name {
		case "host":
			return appendValue(dst, host)
		case "content-length":
			if r.ContentLength >= 0 {
				return strconv.AppendInt(dst, r.ContentLength, 10)
			}
		case "transfer-encoding":
			values = r.TransferEncoding
		case "trailer":
			for n := range r.Trailer {
				values = append(values, n)
			}
		}
	}
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendValue(dst, v)
	}
	return dst
}

// appendValue appends a header's value with no blanks around it and single ones
// within.
func appendValue(dst []byte, v string) []byte {
	blank := false
	for _, ch := range []byte(strings.Trim(v, " \t")) {
		if ch == ' ' && blank {
			continue
		}
		blank = ch == ' '
		dst = append(dst, ch)
	}
	return dst
}

// appendRecoded appends a part of a raw query, decoded and encoded again.
func appendRecoded(dst []byte, raw string) ([]byte, error) {
	start := len(dst)
	if isPlain(raw) {
		return append(dst, raw...), nil
	}
	dst, err := appendDecoded(dst, raw, true)
	if err != nil {
		return dst, err
	}
	end := len(dst)
	dst = appendEncoded(dst, dst[start:end], false)
	n := copy(dst[start:], dst[end:])
	return dst[:start+n], nil
}

// isPlain reports whether a string is its own encoding.
func isPlain(s string) bool {
	for i := range len(s) {
		if !unreserved(s[i]) {
			return false
		}
	}
	return true
}

// appendDecoded appends s with its percent escapes resolved. In a query a plus
// is a blank, and a semicolon is refused: net/url drops a parameter that has
// one, and with an invalid escape, so neither may pass for its encoded form.
func appendDecoded(dst []byte, s string, query bool) ([]byte, error) {
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case ch == '%':
			if i+2 >= len(s) {
				return dst, url.EscapeError(s[i:])
			}
			var err error
			if dst, err = hex.AppendDecode(dst, []byte{s[i+1], s[i+2]}); err != nil {
				return dst, url.EscapeError(s[i : i+3])
			}
			i += 2
		case ch == '+' && query:
			dst = append(dst, ' ')
		case ch == ';' && query:
			return dst, errAmbiguous
		default:
			dst = append(dst, ch)
		}
	}
	return dst, nil
}

// appendEncoded appends s with everything escaped but unreserved characters
// and, in a path, slashes.
func appendEncoded[S string | []byte](dst []byte, s S, path bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		ch := s[i]
		if unreserved(ch) || path && ch == '/' {
			dst = append(dst, ch)
			continue
		}
		dst = append(dst, '%', digits[ch>>4], digits[ch&15])
	}
	return dst
}

// unreserved reports whether RFC 3986 never escapes a character.
func unreserved(ch byte) bool {
	return 'a' <= ch && ch <= 'z' || 'A' <= ch && ch <= 'Z' || '0' <= ch && ch <= '9' ||
		ch == '-' || ch == '.' || ch == '_' || ch == '~'
}
