package sigv4

import (
	"iter"
	"strconv"
	"strings"
	"time"
)

// maxExpires is the longest that a presigned URL is valid.
const maxExpires = 7 * 24 * time.Hour

// isPresigned reports whether a raw query has parameters of a presigned URL.
func isPresigned(raw string) bool {
	return hasParam(raw, "X-Amz-Signature") || hasParam(raw, "X-Amz-Credential") || hasParam(raw, "X-Amz-Algorithm")
}

// hasParam reports whether a raw query has a parameter of this name, which
// needs no escaping.
func hasParam(raw, name string) bool {
	if !strings.Contains(raw, name) { // most requests
		return false
	}
	for n := range rawPairs(raw) {
		if n == name {
			return true
		}
	}
	return false
}

// rawPairs yields the parameters of a raw query as they are.
func rawPairs(raw string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for raw != "" {
			var pair string
			pair, raw, _ = strings.Cut(raw, "&")
			if pair == "" {
				continue
			}
			name, value, _ := strings.Cut(pair, "=")
			if !yield(name, value) {
				return
			}
		}
	}
}

// parseQuery reads the claim of a presigned URL.
func (c *claim) parseQuery(raw string) *Error {
	p, ok := c.readQuery(raw)
	switch {
	case !ok:
		return &Error{Kind: IncompleteQuery, Message: "Query-string authentication parameters cannot be decoded or are repeated."}
	case p.algorithm == "" || p.credential == "" || c.signature == "" || p.date == "" || c.signedHeaders == "" || p.expires == "":
		return &Error{Kind: IncompleteQuery, Message: "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, " +
			"X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."}
	case p.algorithm != algorithm:
		return &Error{Kind: IncompleteQuery, Message: `X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`}
	case c.AccessKey == "":
		return &Error{Kind: IncompleteQuery, Message: "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; " +
			`expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`}
	case !c.setDate(p.date):
		return &Error{Kind: IncompleteQuery, Message: `X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`}
	}
	seconds, err := strconv.ParseInt(p.expires, 10, 64)
	switch {
	case err != nil:
		return &Error{Kind: IncompleteQuery, Message: "X-Amz-Expires should be a number"}
	case seconds < 1:
		return &Error{Kind: IncompleteQuery, Message: "X-Amz-Expires must be positive"}
	case seconds > int64(maxExpires/time.Second):
		return &Error{Kind: IncompleteQuery, Message: "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"}
	}
	c.expires = time.Duration(seconds) * time.Second
	return nil
}

// A presign holds the parameters of a presigned URL that a claim keeps in
// another form.
type presign struct{ algorithm, credential, date, expires string }

// readQuery reads the parameters of a presigned URL. It reports false when one
// is repeated or not decodable.
func (c *claim) readQuery(raw string) (p presign, ok bool) {
	c.Presigned = true
	ok = true
	for name, value := range rawPairs(raw) {
		var to *string
		switch name {
		case "X-Amz-Algorithm":
			to = &p.algorithm
		case "X-Amz-Credential":
			to = &p.credential
		case "X-Amz-Date":
			to = &p.date
		case "X-Amz-Expires":
			to = &p.expires
		case "X-Amz-SignedHeaders":
			to = &c.signedHeaders
		case "X-Amz-Signature":
			to = &c.signature
		case "X-Amz-Security-Token":
			to = &c.token
		default:
			continue
		}
		decoded, err := appendDecoded(nil, value, true)
		if err != nil || *to != "" {
			ok = false
			continue
		}
		*to = string(decoded)
	}
	c.readCredential(p.credential)
	return p, ok
}
