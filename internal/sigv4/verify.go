// Package sigv4 verifies the signatures of AWS requests on the server's side:
// Signature Version 4 in headers and presigned URLs, S3's signed chunks and
// trailers, and S3's older presigned URLs.
//
// A request is verified before anything of it is believed. Whoever calls may
// rely on this: host, date and every x-amz-* and x-amzn-sagemaker-* header were
// signed, and so were method, path, query and, once it was read to its end, the
// body. A signature may be used again within its time; nothing here prevents
// that. Other headers than these may have been changed on the way unless the
// client chose to sign them.
package sigv4

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

// A Key is what a signature is checked with.
type Key struct {
	ID        string
	Secret    string
	Token     string    // the session token that must accompany it; "" for lasting keys
	Expires   time.Time // when the session ends; zero for never
	Service   string    // the only service it may be used with; "" for all
	Principal deferd.Principal
}

// Keys looks up an access key. It answers NotFound for one that is unknown; any
// other error means that it cannot be looked up now. It is asked for every
// request, also those that turn out to be forged.
type Keys func(ctx context.Context, accessKeyID string) (Key, error)

// Options are the settings of a Verifier.
type Options struct {
	// Region is the only region that signatures may be for; "" takes any.
	// Global services (iam, sts) may be signed for us-east-1 as well.
	Region string

	// Skew is how far a client's clock may be off. It only ever widens the
	// windows of AWS, 15 minutes for S3 and STS and 5 for the rest. Wider
	// means that a stolen request can be repeated for longer.
	Skew time.Duration

	// Bucket names the bucket that a Host header stands for; "" for none, when
	// the bucket is in the path. It must be what S3 itself goes by: Signature
	// Version 2 signs the bucket and not the host. Nil: it is always in the path.
	Bucket func(host string) string

	// Hosts are what clients call the server, each with its port where it is
	// not the scheme's own. A signature is taken that is right for one of them
	// instead of for the Host header that arrived: a proxy in front may have
	// replaced it. A Host that stands for a bucket is never replaced.
	Hosts []string

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// A Verifier checks signatures. It may be used concurrently.
type Verifier struct {
	keys    Keys
	options Options
	signing keyCache
	buffers sync.Pool // of *scratch
}

// New returns a Verifier that looks access keys up with keys.
func New(keys Keys, o Options) *Verifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Bucket == nil {
		o.Bucket = func(string) string { return "" }
	}
	return &Verifier{
		keys:    keys,
		options: o,
		buffers: sync.Pool{New: func() any { return new(scratch) }},
	}
}

// decoy stands in for the secret of an unknown key, so that refusing it takes
// the time that refusing a wrong signature takes.
const decoy = "decoydecoydecoydecoydecoydecoydecoydecoy"

// Verify checks a request to a service (any but S3) whose body has been read.
// A refusal is an *Error; any other error says that the key could not be looked
// up.
func (v *Verifier) Verify(r *http.Request, service string, body []byte) (deferd.Principal, error) {
	c, refusal := parse(r, false)
	if refusal != nil {
		return deferd.Principal{}, refusal
	}
	sum := sha256.Sum256(body)
	var digits [2 * sha256.Size]byte
	hex.Encode(digits[:], sum[:])
	payload := string(digits[:])
	if declared := r.Header.Get("X-Amz-Content-Sha256"); declared != "" && declared != payload {
		if !isHash(declared) {
			return deferd.Principal{}, refuse(InvalidHash, false)
		}
		return deferd.Principal{}, refuse(BadDigest, false)
	}
	key, _, err := v.check(r, &c, service, payload)
	if err != nil {
		return deferd.Principal{}, err
	}
	return key.Principal, nil
}

// Plausible refuses a request to a service (any but S3) that no body can make
// right: its signature is not there, for something else, too old, or of an
// unknown access key. It is for asking before a body is read that takes memory;
// what it lets pass is not verified.
func (v *Verifier) Plausible(r *http.Request, service string) error {
	c, refusal := parse(r, false)
	if refusal != nil {
		return refusal
	}
	if err := v.checkClaim(&c, service, v.options.Now().UTC()); err != nil {
		return err
	}
	_, known, err := v.lookUp(r.Context(), c.AccessKey)
	if err == nil && !known {
		err = refuse(UnknownKey, false)
	}
	return err
}

// checkClaim verifies what a signature is for, and when.
func (v *Verifier) checkClaim(c *claim, service string, now time.Time) error {
	if err := v.checkScope(c, service); err != nil {
		return err
	}
	return v.checkTime(c, service, now)
}

// check verifies everything but the body, for which payload stands. It returns
// the access key and the signing key.
func (v *Verifier) check(r *http.Request, c *claim, service, payload string) (Key, *signingKey, error) {
	s3 := service == "s3"
	now := v.options.Now().UTC()
	if err := v.checkClaim(c, service, now); err != nil {
		return Key{}, nil, err
	}
	key, known, err := v.lookUp(r.Context(), c.AccessKey)
	if err != nil {
		return Key{}, nil, err
	}
	signing := v.signing.get(key.Secret, c.Scope)
	matches := v.matches(r, c, signing, payload, s3)
	switch {
	case !known:
		return Key{}, nil, refuse(UnknownKey, s3)
	case !matches:
		return Key{}, nil, refuse(WrongSignature, s3)
	}
	if err := key.allows(c.token, service, now); err != nil {
		return Key{}, nil, err
	}
	return key, signing, nil
}

// lookUp returns the access key with this ID, or a decoy for an unknown one.
func (v *Verifier) lookUp(ctx context.Context, id string) (key Key, known bool, err error) {
	key, err = v.keys(ctx, id)
	switch {
	case err == nil:
		return key, true, nil
	case deferd.CodeOf(err) == deferd.NotFound:
		return Key{Secret: decoy}, false, nil
	}
	return Key{}, false, fmt.Errorf("look up access key: %w", err)
}

// matches reports whether the request's signature is the one that the key makes.
func (v *Verifier) matches(r *http.Request, c *claim, signing *signingKey, payload string, s3 bool) bool {
	b := v.buffers.Get().(*scratch)
	defer v.buffers.Put(b)
	if b.matches(r, r.Host, c, signing, payload, s3) {
		return true
	}
	if v.options.Bucket(r.Host) != "" {
		return false // with another host the request would be about something else
	}
	return slices.ContainsFunc(v.options.Hosts, func(host string) bool {
		return host != r.Host && b.matches(r, host, c, signing, payload, s3)
	})
}

// matches reports whether the signature is right for a request to host.
func (b *scratch) matches(r *http.Request, host string, c *claim, signing *signingKey, payload string, s3 bool) bool {
	if err := b.build(r, host, c, payload, s3); err != nil {
		return false
	}
	b.sum = signing.sign(b.sum[:0], b.toSign)
	return equalHex(b.sum, c.signature)
}

// equalHex reports, in constant time, whether s is sum in lower-case hex.
func equalHex(sum []byte, s string) bool {
	var want, got [2 * sha256.Size]byte
	hex.Encode(want[:], sum)
	return copy(got[:], s) == len(s) && hmac.Equal(want[:], got[:])
}

// checkScope refuses a signature that is for something else.
func (v *Verifier) checkScope(c *claim, service string) error {
	s3 := service == "s3"
	region := v.options.Region
	global := (service == "iam" || service == "sts") && c.Region == "us-east-1"
	switch {
	case c.terminator != terminator:
		return wrongScope(c, s3, "Credential should be scoped with a valid terminator: '"+terminator+"', not '"+c.terminator+"'.",
			`incorrect terminal "`+c.terminator+`". This endpoint uses "`+terminator+`".`)
	case c.Service != service:
		return wrongScope(c, s3, "Credential should be scoped to correct service: '"+service+"'. ",
			`incorrect service "`+c.Service+`". This endpoint belongs to "s3".`)
	case c.Day != c.date[:8]:
		return wrongScope(c, s3, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+
			c.Day+"' != '"+c.date[:8]+"', from '"+c.date+"'.",
			`Invalid credential date "`+c.Day+`". This date is not the same as X-Amz-Date: "`+c.date[:8]+`".`)
	case c.Region == "" || region != "" && c.Region != region && !global:
		err := wrongScope(c, s3, "Credential should be scoped to a valid Region, not '"+c.Region+"'. ",
			"the region '"+c.Region+"' is wrong; expecting '"+cmp.Or(region, "us-east-1")+"'")
		err.Region = cmp.Or(region, "us-east-1")
		return err
	}
	return nil
}

func wrongScope(c *claim, s3 bool, message, s3Message string) *Error {
	e := &Error{Kind: WrongScope, Message: message}
	if c.Presigned {
		e.Kind = WrongScopeQuery
	}
	if s3 {
		e.Message = "The authorization header is malformed; " + s3Message
		if c.Presigned {
			e.Message = "Error parsing the X-Amz-Credential parameter; " + s3Message
		}
	}
	return e
}

// checkTime refuses a signature that is not valid now.
func (v *Verifier) checkTime(c *claim, service string, now time.Time) error {
	s3 := service == "s3"
	window := 5 * time.Minute
	if s3 || service == "sts" {
		window = 15 * time.Minute
	}
	window = max(window, v.options.Skew)
	early := c.time.After(now.Add(window))
	switch {
	case c.Presigned && early && s3:
		return &Error{Kind: PresignExpired, Message: "Request is not valid yet"}
	case c.Presigned && now.After(c.time.Add(c.expires)):
		if s3 {
			return &Error{Kind: PresignExpired, Message: "Request has expired"}
		}
		return &Error{Kind: PresignExpired, Message: tooOld(c.time, now, c.expires)}
	case early && !s3:
		return &Error{Kind: Skewed, Message: tooNew(c.time, now, window)}
	case !c.Presigned && (early || c.time.Before(now.Add(-window))):
		if s3 {
			return refuse(Skewed, true)
		}
		return &Error{Kind: Skewed, Message: tooOld(c.time, now, window)}
	}
	return nil
}

// allows refuses a key that is not valid any more, comes with another session
// token, or may not be used with the service.
func (k *Key) allows(token, service string, now time.Time) error {
	s3 := service == "s3"
	switch {
	case !hmac.Equal([]byte(k.Token), []byte(token)):
		return refuse(BadToken, s3)
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return refuse(Expired, s3)
	case k.Service != "" && k.Service != service:
		return &Error{Kind: NotAllowed, Message: "User: " + k.Principal.ARN + " is not authorized to use any service but " + k.Service + " with these credentials"}
	}
	return nil
}

// isHash reports whether s is a SHA-256 in lower-case hex.
func isHash(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for _, ch := range []byte(s) {
		if (ch < '0' || ch > '9') && (ch < 'a' || ch > 'f') {
			return false
		}
	}
	return true
}
