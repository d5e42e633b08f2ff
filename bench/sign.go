package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials are what "deferd env" tells a client.
type credentials struct {
	url, keyID, secret, region string
}

func (c credentials) host() string { return strings.TrimPrefix(c.url, "http://") }

// A header is one of a request, its name in lower case.
type header struct{ name, value string }

// A signer writes requests that are signed with Signature Version 4, every one
// for itself and with everything in it: POSTs to SageMaker where nothing else
// is said. Without a key it signs nothing. It is one client's: not for
// concurrent use. AWS's own signer does the same and takes several times as
// long, which would be the server's time on a small machine.
type signer struct {
	credentials
	method  string // "": POST
	service string // "": sagemaker

	day string
	mac hash.Hash // with the key of the day

	canonical, toSign []byte // scratch
	headers           []header
}

// request appends a request to b. It takes the headers in any order, host and
// date excluded.
func (s *signer) request(b []byte, path string, headers []header, body []byte, now time.Time) []byte {
	date := now.UTC().Format("20060102T150405Z")
	s.setDay(date[:8])
	s.headers = append(append(s.headers[:0], header{"host", s.host()}, header{"x-amz-date", date}), headers...)
	slices.SortFunc(s.headers, func(a, b header) int { return strings.Compare(a.name, b.name) })

	b = append(b, cmp.Or(s.method, http.MethodPost)...)
	b = append(b, ' ')
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\n"...)
	for _, h := range s.headers {
		b = append(b, h.name...)
		b = append(b, ": "...)
		b = append(b, h.value...)
		b = append(b, "\r\n"...)
	}
	if s.keyID != "" {
		b = s.authorization(b, path, date, body)
	}
	b = append(b, "content-length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// authorization appends the header with the signature.
func (s *signer) authorization(b []byte, path, date string, body []byte) []byte {
	signature, names := s.sign(path, date, body)
	b = append(b, "authorization: AWS4-HMAC-SHA256 Credential="...)
	b = append(b, s.keyID...)
	b = append(b, '/')
	b = append(b, s.scope()...)
	b = append(b, ", SignedHeaders="...)
	b = append(b, names...)
	b = append(b, ", Signature="...)
	b = append(b, signature...)
	return append(b, "\r\n"...)
}

// sign returns the signature over the headers and the body, and which headers
// it covers.
func (s *signer) sign(path, date string, body []byte) (signature, names string) {
	c := append(s.canonical[:0], cmp.Or(s.method, http.MethodPost)...)
	c = append(c, '\n')
	c = append(c, path...)
	c = append(c, "\n\n"...)
	list := make([]string, 0, 16)
	for _, h := range s.headers {
		c = append(c, h.name...)
		c = append(c, ':')
		c = append(c, h.value...)
		c = append(c, '\n')
		list = append(list, h.name)
	}
	names = strings.Join(list, ";")
	c = append(c, '\n')
	c = append(c, names...)
	c = append(c, '\n')
	sum := sha256.Sum256(body)
	c = hex.AppendEncode(c, sum[:])
	s.canonical = c

	t := append(s.toSign[:0], "AWS4-HMAC-SHA256\n"...)
	t = append(t, date...)
	t = append(t, '\n')
	t = append(t, s.scope()...)
	t = append(t, '\n')
	sum = sha256.Sum256(c)
	t = hex.AppendEncode(t, sum[:])
	s.toSign = t
	s.mac.Reset()
	s.mac.Write(t)
	return hex.EncodeToString(s.mac.Sum(nil)), names
}

func (s *signer) scope() string {
	return s.day + "/" + s.region + "/" + cmp.Or(s.service, "sagemaker") + "/aws4_request"
}

// setDay derives the day's key.
func (s *signer) setDay(day string) {
	if s.day == day {
		return
	}
	s.day = day
	key := []byte("AWS4" + s.secret)
	for _, part := range []string{day, s.region, cmp.Or(s.service, "sagemaker"), "aws4_request"} {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	s.mac = hmac.New(sha256.New, key)
}
