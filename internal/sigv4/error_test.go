package sigv4

import "testing"

func TestCodes(t *testing.T) {
	tests := []struct {
		kind            Kind
		json, query, s3 string
		s3Status        int
	}{
		{Missing, "MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied", 403},
		{Incomplete, "IncompleteSignatureException", "IncompleteSignature", "AuthorizationHeaderMalformed", 400},
		{IncompleteQuery, "IncompleteSignatureException", "IncompleteSignature", "AuthorizationQueryParametersError", 400},
		{UnknownKey, "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", 403},
		{BadToken, "UnrecognizedClientException", "InvalidClientTokenId", "InvalidToken", 400},
		{WrongSignature, "InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch", 403},
		{Skewed, "InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed", 403},
		{Expired, "ExpiredTokenException", "ExpiredToken", "ExpiredToken", 400},
		{WrongScope, "InvalidSignatureException", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", 400},
		{NotAllowed, "AccessDeniedException", "AccessDenied", "AccessDenied", 403},
	}
	for _, tt := range tests {
		e := &Error{Kind: tt.kind}
		for _, c := range []struct {
			p      Protocol
			code   string
			status int
		}{{JSON, tt.json, 403}, {Query, tt.query, 403}, {S3, tt.s3, tt.s3Status}} {
			if e.Code(c.p) != c.code || e.Status(c.p) != c.status {
				t.Errorf("kind %d in protocol %d is %s with %d, want %s with %d", tt.kind, c.p, e.Code(c.p), e.Status(c.p), c.code, c.status)
			}
		}
	}
}

// Every kind has an answer in every protocol.
func TestAnswersComplete(t *testing.T) {
	for k := Missing; k <= MalformedTrailer; k++ {
		for p := JSON; p <= S3; p++ {
			if e := refuse(k, p == S3); e.Code(p) == "" || e.Status(p) < 400 || e.Message == "" {
				t.Errorf("kind %d in protocol %d: code %q, status %d, message %q", k, p, e.Code(p), e.Status(p), e.Message)
			}
		}
	}
}
