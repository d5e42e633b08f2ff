package awsapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

const invocationPrefix = "X-Amzn-SageMaker-"

// as sends an invocation whose headers are as they are given, several of a name
// too. It is signed with keys.
func (s *site) as(keys aws.Credentials, method, path, body string, header http.Header) answer {
	s.t.Helper()
	r := s.request(method, path, body)
	maps.Copy(r.Header, header)
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(s.t.Context(), keys, r, hex.EncodeToString(sum[:]), "sagemaker", region, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	return s.do(r)
}

// taken returns what the last accepted invocation came to the store as.
func (s *site) taken() *deferd.NewInvocation {
	n := new(deferd.NewInvocation)
	s.store.onAccept = func(taken deferd.NewInvocation) error { *n = taken; return nil }
	return n
}

// Every client spells the headers in its own way.
func TestHeaderSpellings(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	got := s.taken()
	for name, spell := range map[string]func(string) string{
		"AWS's":      func(n string) string { return n },
		"Go's":       http.CanonicalHeaderKey,
		"lower case": strings.ToLower,
		"upper case": strings.ToUpper,
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			for member, value := range map[string]string{
				"Content-Type": "text/csv", "Accept": "text/plain", "Custom-Attributes": "a=1", "Inference-Id": "mine", "InputLocation": "s3://b/k",
				"S3OutputPathExtension": "x", "Filename": "f", "RequestTTLSeconds": "60", "InvocationTimeoutSeconds": "1",
			} {
				header[spell(invocationPrefix+member)] = []string{value}
			}
			s.as(s.keys, "POST", "/endpoints/e/async-invocations", "", header).check(t, http.StatusAccepted, `{"InferenceId":"mine"}`)
			want := deferd.NewInvocation{
				ID: got.ID, InferenceID: "mine", Account: account, Endpoint: got.Endpoint, Config: got.Config, AccessKey: keyID,
				Input: deferd.Location{Bucket: "b", Key: "k"}, ContentType: "text/csv", Accept: "text/plain", CustomAttributes: "a=1",
				Output:  deferd.Location{Bucket: "b", Key: "out/x/f"},
				Failure: deferd.Location{Bucket: "b", Key: "fail/" + string(got.ID) + "-error.out"},
				TTL:     time.Minute, Timeout: time.Second,
			}
			if diff := cmp.Diff(want, *got); diff != "" {
				t.Errorf("invocation (-want +got):\n%s", diff)
			}
		})
	}
}

// What stands in a header: blanks, nothing, several values.
func TestHeaderValues(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	got := s.taken()
	tests := []struct {
		name   string
		member string
		values []string
		want   any // what comes to the store; an error's text where it is refused
		of     func() any
	}{
		{"blanks around", "Accept", []string{"  text/plain\t"}, "text/plain", func() any { return got.Accept }},
		{"blanks within", "Custom-Attributes", []string{"a  b   c"}, "a  b   c", func() any { return got.CustomAttributes }},
		{"blanks around a number", "RequestTTLSeconds", []string{" 61 "}, 61 * time.Second, func() any { return got.TTL }},
		{"only blanks", "Accept", []string{"   "}, "", func() any { return got.Accept }},
		{"only blanks, with a minimum", "Filename", []string{"   "}, "Value '' at 'filename'", nil},
		{"nothing", "Content-Type", []string{""}, "", func() any { return got.ContentType }},
		{"nothing for a number", "InvocationTimeoutSeconds", []string{""}, deferd.DefaultTimeout, func() any { return got.Timeout }},
		{"twice", "Accept", []string{"text/plain", "text/csv"}, "text/plain,text/csv", func() any { return got.Accept }},
		{"a number twice", "RequestTTLSeconds", []string{"60", "60"}, "is not an integer", nil},
		{"a name twice", "Filename", []string{"a", "b"}, "Value 'a,b' at 'filename'", nil},
		{"a sign", "RequestTTLSeconds", []string{"+60"}, 60 * time.Second, func() any { return got.TTL }},
		{"a fraction", "RequestTTLSeconds", []string{"60.0"}, "is not an integer", nil},
		{"a number beyond 32 bits", "RequestTTLSeconds", []string{"2147483648"}, "is not an integer", nil},
		{"a negative number", "InvocationTimeoutSeconds", []string{"-1"}, "Value '-1' at 'invocationTimeoutSeconds'", nil},
		{"no ASCII", "Custom-Attributes", []string{"é"}, "Value at 'customAttributes'", nil}, // sensitive: never shown
		{"quotes in a message", "Filename", []string{`a"b'c`}, `Value 'a\"b'c' at 'filename'`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.as(s.keys, "POST", "/endpoints/e/async-invocations", "x", http.Header{invocationPrefix + tt.member: tt.values})
			if tt.of == nil {
				if a.status != http.StatusBadRequest || !strings.Contains(a.body, tt.want.(string)) {
					t.Errorf("%d %s, want 400 and %q", a.status, a.body, tt.want)
				}
				return
			}
			a.check(t, http.StatusAccepted, `{"InferenceId":"<uuid>"}`)
			if got := tt.of(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("the type of the body is not the input's", func(t *testing.T) {
		s.as(s.keys, "POST", "/endpoints/e/async-invocations", "x", http.Header{"Content-Type": {"application/json"}, "Accept": {"text/html"}}).
			check(t, http.StatusAccepted, `{"InferenceId":"<uuid>"}`)
		if got.ContentType != "" || got.Accept != "" {
			t.Errorf("the input has type %q and wants %q, want neither", got.ContentType, got.Accept)
		}
	})
}

// All that is wrong is said at once, in the order of the model, every time.
func TestAllViolations(t *testing.T) {
	s := open(t, nil)
	long := strings.Repeat("x", 1025)
	header := http.Header{}
	for _, member := range []string{"Content-Type", "Accept", "Custom-Attributes", "Inference-Id", "S3OutputPathExtension", "Filename"} {
		header.Set(invocationPrefix+member, long)
	}
	header.Set(invocationPrefix+"InputLocation", "ftp://x")
	header.Set(invocationPrefix+"RequestTTLSeconds", "59")
	header.Set(invocationPrefix+"InvocationTimeoutSeconds", "3601")
	const failed = "' failed to satisfy constraint: Member must "
	most := func(member, value string, n int) string {
		return fmt.Sprintf("Value %sat '%s%shave length less than or equal to %d", value, member, failed, n)
	}
	want := `{"Message":"11 validation errors detected: ` + strings.Join([]string{
		"Value 'a_b' at 'endpointName" + failed + "satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*",
		most("contentType", "'"+long+"' ", 1024),
		most("accept", "'"+long+"' ", 1024),
		most("customAttributes", "", 1024),
		most("inferenceId", "'"+long+"' ", 64),
		"Value 'ftp://x' at 'inputLocation" + failed + "satisfy regular expression pattern: ^(https|s3)://([^/]+)/?(.*)$",
		most("s3OutputPathExtension", "'"+long+"' ", 512),
		most("filename", "'"+long+"' ", 32),
		"Value '59' at 'requestTTLSeconds" + failed + "have value greater than or equal to 60",
		"Value '3601' at 'invocationTimeoutSeconds" + failed + "have value less than or equal to 3600",
		most("body", "", 128000),
	}, "; ") + `"}`
	for range 3 {
		s.as(s.keys, "POST", "/endpoints/a_b/async-invocations", strings.Repeat("x", 128_001), header).check(t, http.StatusBadRequest, want)
	}
}

// What is checked before what: the signature, the members, whether the caller
// may, the endpoint, its kind, and the rule about body and location.
func TestOrderOfChecks(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	forger := s.keys
	forger.SecretAccessKey = "guessed"
	bad := http.Header{invocationPrefix + "Filename": {"a.b.c"}}
	tests := []struct {
		name     string
		keys     aws.Credentials
		endpoint string
		header   http.Header
		refused  bool // the caller may not
		body     string
		want     string
	}{
		{"the signature", forger, "nobody", bad, true, "", "InvalidSignatureException"},
		{"a member", s.keys, "nobody", bad, true, "", "at 'filename'"},
		{"the right", s.keys, "nobody", nil, true, "", "is not authorized to perform: sagemaker:InvokeEndpointAsync"},
		{"the endpoint", s.keys, "nobody", nil, false, "", "NO_SUCH_ENDPOINT"},
		{"body or location", s.keys, "e", nil, false, "", "Exactly one of Body and InputLocation"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.refusing = ""
			if tt.refused {
				s.refusing = "sagemaker:InvokeEndpointAsync"
			}
			a := s.as(tt.keys, "POST", "/endpoints/"+tt.endpoint+"/async-invocations", tt.body, tt.header)
			if !strings.Contains(a.header.Get("X-Amzn-Errortype")+a.body, tt.want) {
				t.Errorf("%d %s, want %q", a.status, a.body, tt.want)
			}
		})
	}
}

// The path names the operation, and the endpoint in any spelling of a URL.
func TestInvocationPaths(t *testing.T) {
	s := open(t, nil)
	s.serve("my-ep")
	const in = "X-Amzn-SageMaker-InputLocation"
	tests := []struct {
		method, path string
		status       int
		says         string
	}{
		{"POST", "/endpoints/my-ep/async-invocations", 202, ""},
		{"POST", "/endpoints/my%2Dep/async-invocations", 202, ""},
		{"POST", "/endpoints/%6dy-ep/async-invocations", 202, ""},
		{"POST", "/endpoints/my-ep/async-invocations?x=1&y", 202, ""},
		{"POST", "/endpoints/MY-EP/async-invocations", 400, "Endpoint MY-EP of account"},
		{"POST", "/endpoints/my%20ep/async-invocations", 400, "Value 'my ep' at 'endpointName'"},
		{"POST", "/endpoints/my%2Fep/async-invocations", 400, "Value 'my/ep' at 'endpointName'"},
		{"POST", "/endpoints/%C3%A9/async-invocations", 400, "Value 'é' at 'endpointName'"},
		{"POST", "/endpoints/my-ep/async-invocations/", 404, "There is no operation POST"},
		{"POST", "/endpoints/my-ep/async-invocations/x", 404, "There is no operation POST"},
		{"POST", "/endpoints/my-ep/", 404, "There is no operation POST"},
		{"POST", "/endpoints/my-ep", 404, "There is no operation POST"},
		{"POST", "/endpoints/", 404, "There is no operation POST"},
		{"POST", "/endpoints", 404, "There is no operation"},
		{"PUT", "/endpoints/my-ep/async-invocations", 404, "There is no operation PUT"},
		{"DELETE", "/endpoints/my-ep/async-invocations", 404, "There is no operation DELETE"},
		{"PATCH", "/endpoints/my-ep/invocations", 404, "There is no operation PATCH"},
		{"GET", "/endpoints/my-ep/invocations", 404, "There is no operation GET"},
		{"HEAD", "/endpoints/my-ep/async-invocations", 404, ""},
		{"OPTIONS", "/endpoints/my-ep/async-invocations", 404, "There is no operation OPTIONS"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			a := s.as(s.keys, tt.method, tt.path, "", http.Header{in: {"s3://b/k"}})
			if a.status != tt.status || !strings.Contains(a.body, tt.says) {
				t.Errorf("%d %s, want %d and %q", a.status, a.body, tt.status, tt.says)
			}
			if failed := a.header.Get("X-Amzn-Errortype") != ""; failed != (tt.status != 202) {
				t.Errorf("X-Amzn-ErrorType is %q with status %d", a.header.Get("X-Amzn-Errortype"), a.status)
			}
			if tt.method == "HEAD" && a.body != "" {
				t.Errorf("a body for HEAD: %s", a.body)
			}
		})
	}
}

// The two other invocations take as much as AWS's do before they are refused.
func TestSynchronousBodies(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	for _, path := range []string{"invocations", "invocations-response-stream"} {
		most := strings.Repeat("x", 6<<20)
		s.send("sagemaker", "POST", "/endpoints/e/"+path, most).check(t, 400, `{"Message":"Endpoint e of account 123456789012 does not support this inference type."}`)
		s.send("sagemaker", "POST", "/endpoints/e/"+path, most+"x").check(t, http.StatusRequestEntityTooLarge, `{"message":"The body of the request is too large."}`)
		s.send("sagemaker", "POST", "/endpoints/e/"+path, "").check(t, 400, `{"Message":"Endpoint e of account 123456789012 does not support this inference type."}`)
	}
}

// Whose request it is belongs to what a retry repeats.
func TestRetryTokenOfCaller(t *testing.T) {
	r := func(c *call) *call {
		c.r, _ = http.NewRequest("POST", "/", nil)
		c.r.Header.Set("Amz-Sdk-Invocation-Id", "1")
		return c
	}
	in := &awsmodel.InvokeEndpointAsyncInput{EndpointName: new("e"), Body: []byte("x")}
	mine := retryToken(r(&call{principal: deferd.Principal{AccessKey: "a"}}), "e", in)
	if again := retryToken(r(&call{principal: deferd.Principal{AccessKey: "a"}}), "e", in); again != mine {
		t.Error("a repeat has another token")
	}
	if retryToken(r(&call{principal: deferd.Principal{AccessKey: "b"}}), "e", in) == mine {
		t.Error("another caller has the same token")
	}
	if retryToken(r(&call{principal: deferd.Principal{AccessKey: "a"}}), "f", in) == mine {
		t.Error("another endpoint has the same token")
	}
}
