package sigv4

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// Signature Version 2 survives in presigned S3 URLs, which botocore still makes
// by default for endpoints other than AWS's. Nothing else is taken in it.

// subresources are the parameters that Version 2 signs. A handler must not see
// any other, since those could be added to a URL by whoever holds it.
var subresources = []string{
	"acl", "accelerate", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location",
	"logging", "metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment",
	"response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
	"response-content-type", "response-expires", "restore", "select", "select-type", "storageClass", "tagging", "torrent",
	"uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// A claimV2 is what a URL that was presigned in Version 2 says.
type claimV2 struct {
	accessKey string
	signature string
	expires   string
	signed    []string          // subresources, name or name=value
	headers   map[string]string // those that the client put into the URL instead
}

// isPresignedV2 reports whether a raw query belongs to such a URL.
func isPresignedV2(raw string) bool { return hasParam(raw, "AWSAccessKeyId") }

// readV2 reads such a URL. It reports false for a parameter that is repeated,
// unsigned or cannot be decoded.
func readV2(raw string) (c claimV2, ok bool) {
	c.headers = make(map[string]string)
	ok = true
	seen := make(map[string]bool)
	for rawName, rawValue := range rawPairs(raw) {
		nameBytes, err1 := appendDecoded(nil, rawName, true)
		valueBytes, err2 := appendDecoded(nil, rawValue, true)
		name, value := string(nameBytes), string(valueBytes)
		if err1 != nil || err2 != nil || seen[name] {
			ok = false
			continue
		}
		seen[name] = true
		switch {
		case name == "AWSAccessKeyId":
			c.accessKey = value
		case name == "Signature":
			c.signature = value
		case name == "Expires":
			c.expires = value
		case name == "content-type" || name == "content-md5" || strings.HasPrefix(name, "x-amz-"):
			c.headers[name] = value
		case slices.Contains(subresources, name):
			if value != "" {
				name += "=" + value
			}
			c.signed = append(c.signed, name)
		default:
			ok = false
		}
	}
	return c, ok
}

// verifyV2 checks a request to S3 by a URL that was presigned in Version 2. Its
// body is not signed.
func (v *Verifier) verifyV2(r *http.Request) (deferd.Principal, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPut || len(r.Header["Authorization"]) > 0 {
		return deferd.Principal{}, refuse(Unsupported, true)
	}
	c, readable := readV2(r.URL.RawQuery)
	if c.accessKey == "" || c.signature == "" || c.expires == "" {
		return deferd.Principal{}, &Error{Kind: IncompleteQuery, Message: "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"}
	}
	seconds, err := strconv.ParseInt(c.expires, 10, 64)
	if err != nil {
		return deferd.Principal{}, &Error{Kind: IncompleteQuery, Message: "Invalid date (should be seconds since epoch): " + strconv.Quote(c.expires)}
	}
	now := v.options.Now()
	if now.After(time.Unix(seconds, 0)) {
		return deferd.Principal{}, &Error{Kind: PresignExpired, Message: "Request has expired"}
	}
	key, known, err := v.lookUp(r.Context(), c.accessKey)
	if err != nil {
		return deferd.Principal{}, err
	}
	mac := hmac.New(sha1.New, []byte(key.Secret))
	mac.Write([]byte(c.stringToSign(r, v.options.Bucket(r.Host))))
	matches := hmac.Equal([]byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(c.signature))
	switch {
	case !known:
		return deferd.Principal{}, refuse(UnknownKey, true)
	case !matches || !readable:
		return deferd.Principal{}, refuse(WrongSignature, true)
	}
	if err := key.allows(c.header(r, "x-amz-security-token"), "s3", now); err != nil {
		return deferd.Principal{}, err
	}
	return key.Principal, nil
}

// stringToSign is what Version 2 signs of a request. Bucket is what the host
// stands for, or "".
func (c *claimV2) stringToSign(r *http.Request, bucket string) string {
	var b strings.Builder
	for _, line := range [...]string{r.Method, c.header(r, "content-md5"), c.header(r, "content-type"), c.expires} {
		b.WriteString(line + "\n")
	}
	for _, name := range c.amzHeaders(r) {
		b.WriteString(name + ":" + c.header(r, name) + "\n")
	}
	if bucket != "" {
		b.WriteString("/" + bucket)
	}
	b.WriteString(sentPath(r))
	slices.Sort(c.signed)
	for i, s := range c.signed {
		if i == 0 {
			b.WriteByte('?')
		} else {
			b.WriteByte('&')
		}
		b.WriteString(s)
	}
	return b.String()
}

// amzHeaders are the sorted names of the request's x-amz-* headers.
func (c *claimV2) amzHeaders(r *http.Request) []string {
	var names []string
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
			names = append(names, lower)
		}
	}
	for name := range c.headers {
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// header is the value of a header, from the request or else from its URL.
func (c *claimV2) header(r *http.Request, lower string) string {
	values := r.Header.Values(lower)
	if len(values) == 0 {
		return c.headers[lower]
	}
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.TrimSpace(v)
	}
	return strings.Join(trimmed, ",")
}
