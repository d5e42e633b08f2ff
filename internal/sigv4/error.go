package sigv4

import (
	"net/http"
	"strconv"
	"time"
)

// A Kind says why a request was refused. The error's code follows from it and
// from the protocol that the answer is written in.
type Kind int

const (
	Missing          Kind = iota // no signature at all
	Incomplete                   // the Authorization header cannot be read
	IncompleteQuery              // a presigned URL's parameters cannot be read
	Unsupported                  // another way of signing
	UnknownKey                   // no such access key
	BadToken                     // the session token is not the key's
	WrongSignature               // the signature does not match, or does not cover what it must
	Skewed                       // signed too long ago, or in the future
	Expired                      // the session is over
	PresignExpired               // the presigned URL is over, or not valid yet
	WrongScope                   // for another day, region, service or terminator
	WrongScopeQuery              // the same, in a presigned URL
	NotAllowed                   // the key may not be used with this service
	MissingHash                  // S3 without x-amz-content-sha256
	InvalidHash                  // x-amz-content-sha256 is nothing known
	BadDigest                    // the body is not what was signed
	MissingLength                // a chunked body without its decoded length
	InvalidLength                // that length is no number
	IncompleteBody               // the body is shorter, longer or framed otherwise than announced
	MalformedTrailer             // the trailer cannot be read, or is not the announced one
)

// A Protocol is a way of writing errors.
type Protocol int

const (
	JSON  Protocol = iota // JSON 1.0, JSON 1.1 and REST-JSON
	Query                 // query services, in XML
	S3                    // S3, in XML
)

// answers has, for each kind, its code in each protocol and S3's status; the
// other protocols answer 403, since their clients look at the code alone.
var answers = [...]struct {
	code   [3]string // by Protocol
	status int       // of S3
}{
	Missing:          {[3]string{"MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied"}, http.StatusForbidden},
	Incomplete:       {[3]string{"IncompleteSignatureException", "IncompleteSignature", "AuthorizationHeaderMalformed"}, http.StatusBadRequest},
	IncompleteQuery:  {[3]string{"IncompleteSignatureException", "IncompleteSignature", "AuthorizationQueryParametersError"}, http.StatusBadRequest},
	Unsupported:      {[3]string{"IncompleteSignatureException", "IncompleteSignature", "InvalidRequest"}, http.StatusBadRequest},
	UnknownKey:       {[3]string{"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"}, http.StatusForbidden},
	BadToken:         {[3]string{"UnrecognizedClientException", "InvalidClientTokenId", "InvalidToken"}, http.StatusBadRequest},
	WrongSignature:   {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"}, http.StatusForbidden},
	Skewed:           {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"}, http.StatusForbidden},
	Expired:          {[3]string{"ExpiredTokenException", "ExpiredToken", "ExpiredToken"}, http.StatusBadRequest},
	PresignExpired:   {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied"}, http.StatusForbidden},
	WrongScope:       {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}, http.StatusBadRequest},
	WrongScopeQuery:  {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "AuthorizationQueryParametersError"}, http.StatusBadRequest},
	NotAllowed:       {[3]string{"AccessDeniedException", "AccessDenied", "AccessDenied"}, http.StatusForbidden},
	MissingHash:      {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "InvalidRequest"}, http.StatusBadRequest},
	InvalidHash:      {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "InvalidArgument"}, http.StatusBadRequest},
	BadDigest:        {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "XAmzContentSHA256Mismatch"}, http.StatusBadRequest},
	MissingLength:    {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "MissingContentLength"}, http.StatusLengthRequired},
	InvalidLength:    {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "InvalidArgument"}, http.StatusBadRequest},
	IncompleteBody:   {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteBody"}, http.StatusBadRequest},
	MalformedTrailer: {[3]string{"InvalidSignatureException", "SignatureDoesNotMatch", "MalformedTrailerError"}, http.StatusBadRequest},
}

// An Error is a refusal. Its message is AWS's text and is for the caller; it
// holds nothing of the request's but names, dates and hashes.
type Error struct {
	Kind    Kind
	Message string
	Region  string // the region that was expected, where a wrong one is all that is wrong; S3 names it apart
}

func (e *Error) Error() string { return e.Message }

// S3Code is how S3 answers the error. It is for those who read a body without
// knowing that it is verified.
func (e *Error) S3Code() (code string, status int) { return e.Code(S3), e.Status(S3) }

// Code is the name of the error in protocol p.
func (e *Error) Code(p Protocol) string { return answers[e.Kind].code[p] }

// Status is the HTTP status of the error in protocol p.
func (e *Error) Status(p Protocol) int {
	if p == S3 {
		return answers[e.Kind].status
	}
	return http.StatusForbidden
}

// refuse returns the refusal of a kind whose message needs no details, worded
// as S3 or as the other services word it.
func refuse(k Kind, s3 bool) *Error {
	if s3 {
		return &Error{Kind: k, Message: s3Message(k)}
	}
	return &Error{Kind: k, Message: message(k)}
}

func message(k Kind) string {
	switch k {
	case Missing:
		return "Missing Authentication Token"
	case UnknownKey, BadToken:
		return "The security token included in the request is invalid."
	case Expired:
		return "The security token included in the request is expired"
	case BadDigest:
		return "The request signature we calculated does not match the signature you provided. The value of 'X-Amz-Content-Sha256' is not the SHA-256 of the body."
	case InvalidHash:
		return "The value of 'X-Amz-Content-Sha256' must be the SHA-256 of the body."
	}
	return "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
}

func s3Message(k Kind) string {
	switch k {
	case Missing:
		return "Access Denied"
	case Unsupported:
		return "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
	case UnknownKey:
		return "The AWS Access Key Id you provided does not exist in our records."
	case BadToken:
		return "The provided token is malformed or otherwise invalid."
	case Expired:
		return "The provided token has expired."
	case Skewed:
		return "The difference between the request time and the current time is too large."
	case MissingHash:
		return "Missing required header for this request: x-amz-content-sha256"
	case InvalidHash:
		return "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
	case BadDigest:
		return "The provided 'x-amz-content-sha256' header does not match what was computed."
	case MissingLength:
		return "You must provide the Content-Length HTTP header."
	case InvalidLength:
		return "The value of x-amz-decoded-content-length is not a valid length."
	case IncompleteBody:
		return "You did not provide the number of bytes specified by the Content-Length HTTP header"
	case MalformedTrailer:
		return "The request contained trailing data that was not well-formed or did not conform to our published schema."
	}
	return "The request signature we calculated does not match the signature you provided. Check your key and signing method."
}

// tooOld is the refusal of a request signed at t when it may be signed no
// earlier than window before now.
func tooOld(t, now time.Time, window time.Duration) string {
	return "Signature expired: " + t.Format(isoBasic) + " is now earlier than " + now.Add(-window).Format(isoBasic) +
		" (" + now.Format(isoBasic) + " - " + minutes(window) + ")"
}

// tooNew is the refusal of a request signed at t, later than window after now.
func tooNew(t, now time.Time, window time.Duration) string {
	return "Signature not yet current: " + t.Format(isoBasic) + " is still later than " + now.Add(window).Format(isoBasic) +
		" (" + now.Format(isoBasic) + " + " + minutes(window) + ")"
}

func minutes(d time.Duration) string { return strconv.Itoa(int(d/time.Minute)) + " min." }
