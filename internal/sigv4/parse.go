package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/mail"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	isoBasic   = "20060102T150405Z"

	// maxName bounds the parts of a credential scope, and with them what the
	// cache of signing keys keeps.
	maxName = 128
)

// A Scope is what a request's signature claims to be for.
type Scope struct {
	AccessKey string
	Day       string // YYYYMMDD
	Region    string
	Service   string
	Presigned bool // the signature is in the URL
}

// ScopeOf reads the scope of a request's signature and verifies nothing. What
// cannot be read stays empty. It reports false when the request has no AWS
// signature at all.
func ScopeOf(r *http.Request) (s Scope, ok bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		if strings.HasPrefix(h, "AWS ") { // Signature Version 2, which was S3's last
			return Scope{Service: "s3"}, true
		}
		if !strings.HasPrefix(h, "AWS4-") {
			return Scope{}, false
		}
		var c claim
		c.readHeader(h)
		return c.Scope, true
	}
	if isPresignedV2(r.URL.RawQuery) {
		p, _ := readV2(r.URL.RawQuery)
		return Scope{AccessKey: p.accessKey, Service: "s3", Presigned: true}, true
	}
	if isPresigned(r.URL.RawQuery) {
		var c claim
		c.readQuery(r.URL.RawQuery)
		return c.Scope, true
	}
	return Scope{}, false
}

// A claim is everything that a request says of its signature.
type claim struct {
	Scope
	terminator    string
	signedHeaders string // as sent: lower case, sorted, separated by semicolons
	signature     string

	date    string // as it stands in the string to sign
	time    time.Time
	dateIn  string        // the name of the header that holds it; "" when presigned
	expires time.Duration // of a presigned URL
	token   string        // the session token; "" for none
}

// parse reads a request's claim.
func parse(r *http.Request, s3 bool) (claim, *Error) {
	var c claim
	header, signed := r.Header["Authorization"]
	presigned := isPresigned(r.URL.RawQuery)
	var err *Error
	switch {
	case signed && presigned:
		return c, &Error{Kind: Incomplete, Message: "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, " +
			"Signature query string parameter or the Authorization header should be specified"}
	case presigned:
		err = c.parseQuery(r.URL.RawQuery)
	case !signed:
		err = refuse(Missing, s3)
	case len(header) > 1:
		err = &Error{Kind: Incomplete, Message: "The Authorization header must be given once."}
	default:
		err = c.parseHeader(header[0], r.Header, s3)
	}
	return c, err
}

// parseHeader reads a claim from an Authorization header and those beside it.
func (c *claim) parseHeader(authorization string, h http.Header, s3 bool) *Error {
	if authorization == "" {
		return &Error{Kind: Incomplete, Message: "Authorization header cannot be empty."}
	}
	scheme, _, _ := strings.Cut(authorization, " ")
	if scheme != algorithm {
		if s3 {
			return refuse(Unsupported, true)
		}
		return &Error{Kind: Unsupported, Message: "Unsupported AWS 'algorithm': it must be '" + algorithm + "'. " + hashed(authorization)}
	}
	if bad, ok := c.readHeader(authorization); !ok {
		return &Error{Kind: Incomplete, Message: "'" + digest(bad) + "' not a valid key=value pair (missing equal-sign) in Authorization header " +
			"(hashed with SHA-256 and encoded with Base64): '" + digest(authorization) + "'."}
	}
	dated := c.readDate(h)
	if c.AccessKey == "" || c.signature == "" || c.signedHeaders == "" || !dated {
		return c.incomplete(authorization, dated)
	}
	c.token = h.Get("X-Amz-Security-Token")
	return nil
}

// incomplete names everything that an Authorization header lacks.
func (c *claim) incomplete(authorization string, dated bool) *Error {
	var b strings.Builder
	for _, p := range []struct {
		have bool
		text string
	}{
		{c.AccessKey != "", "Authorization header requires 'Credential' parameter. "},
		{c.signature != "", "Authorization header requires 'Signature' parameter. "},
		{c.signedHeaders != "", "Authorization header requires 'SignedHeaders' parameter. "},
		{dated, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "},
	} {
		if !p.have {
			b.WriteString(p.text)
		}
	}
	b.WriteString(hashed(authorization))
	return &Error{Kind: Incomplete, Message: b.String()}
}

// readHeader reads the parameters of an Authorization header, in any order,
// with a comma, a blank or both between them. It returns a parameter that has
// no equal sign.
func (c *claim) readHeader(authorization string) (bad string, ok bool) {
	_, rest, _ := strings.Cut(authorization, " ")
	for rest != "" {
		end := strings.IndexAny(rest, ", ")
		param := rest
		if end < 0 {
			rest = ""
		} else {
			param, rest = rest[:end], rest[end+1:]
		}
		if param == "" {
			continue
		}
		name, value, found := strings.Cut(param, "=")
		if !found {
			return param, false
		}
		switch name {
		case "Credential":
			c.readCredential(value)
		case "SignedHeaders":
			c.signedHeaders = value
		case "Signature":
			c.signature = value
		}
	}
	return "", true
}

// readCredential reads KEY/DAY/REGION/SERVICE/TERMINATOR. A credential that is
// nothing of the kind leaves the access key empty.
func (c *claim) readCredential(s string) {
	var part [5]string
	for i := range part {
		var found bool
		part[i], s, found = strings.Cut(s, "/")
		if found != (i < len(part)-1) || len(part[i]) > maxName {
			return
		}
	}
	c.AccessKey, c.Day, c.Region, c.Service, c.terminator = part[0], part[1], part[2], part[3], part[4]
}

// readDate reads when the request was signed: X-Amz-Date, else Date.
func (c *claim) readDate(h http.Header) bool {
	if s := h.Get("X-Amz-Date"); s != "" {
		c.dateIn = "x-amz-date"
		return c.setDate(s)
	}
	s := h.Get("Date")
	if s == "" {
		return false
	}
	c.dateIn = "date"
	if c.setDate(s) {
		return true
	}
	t, err := http.ParseTime(s)
	if err != nil {
		// RFC 5322 writes UTC as -0000, which some clients send.
		if t, err = mail.ParseDate(s); err != nil {
			return false
		}
	}
	c.time = t.UTC()
	c.date = c.time.Format(isoBasic)
	return true
}

// setDate reads a date in the form that AWS signs.
func (c *claim) setDate(s string) bool {
	t, err := time.Parse(isoBasic, s)
	if err != nil || len(s) != len(isoBasic) { // Parse takes fractions of seconds too
		return false
	}
	c.date, c.time = s, t
	return true
}

// hashed is how AWS names a header without repeating it.
func hashed(authorization string) string {
	return "(Hashed with SHA-256 and encoded with Base64) Authorization=" + digest(authorization)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}
