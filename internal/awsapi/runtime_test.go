package awsapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// invocations returns what an endpoint has, newest first, with inline bodies.
func (s *site) invocations(e deferd.EndpointID) []deferd.Invocation {
	s.t.Helper()
	page, err := s.store.Invocations(s.t.Context(), deferd.InvocationQuery{Endpoint: e, Max: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	return page.Items
}

// The AWS SDK for Go invokes with everything there is to say.
func TestInvokeEndpointAsync(t *testing.T) {
	s := open(t, nil)
	e := s.serve("e")
	var got deferd.NewInvocation
	s.store.onAccept = func(n deferd.NewInvocation) error { got = n; return nil }
	out, err := s.runtime.InvokeEndpointAsync(t.Context(), &sagemakerruntime.InvokeEndpointAsyncInput{
		EndpointName:             new("e"),
		InputLocation:            new("s3://in/a b/%41..//x"),
		ContentType:              new("application/json"),
		Accept:                   new("*/*"),
		CustomAttributes:         new("a=1,  b=2"),
		InferenceId:              new("mine"),
		S3OutputPathExtension:    new("x/y"),
		Filename:                 new("r.json"),
		RequestTTLSeconds:        new(int32(60)),
		InvocationTimeoutSeconds: new(int32(3600)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if list := s.invocations(e.ID); len(list) != 1 || list[0].ID != got.ID {
		t.Fatalf("stored: %v, want the one invocation", list)
	}
	if aws.ToString(out.InferenceId) != "mine" || aws.ToString(out.OutputLocation) != "s3://b/out/x/y/r.json" ||
		aws.ToString(out.FailureLocation) != "s3://b/fail/"+string(got.ID)+"-error.out" {
		t.Errorf("answer: %s %s %s", aws.ToString(out.InferenceId), aws.ToString(out.OutputLocation), aws.ToString(out.FailureLocation))
	}
	if got.RetryToken == [16]byte{} {
		t.Error("the SDK's invocation ID gave no retry token")
	}
	want := deferd.NewInvocation{
		ID: got.ID, InferenceID: "mine", Account: account, Endpoint: e.ID, Config: e.ConfigID, AccessKey: keyID,
		Input:       deferd.Location{Bucket: "in", Key: "a b/%41..//x"},
		ContentType: "application/json", Accept: "*/*", CustomAttributes: "a=1,  b=2",
		Output:     deferd.Location{Bucket: "b", Key: "out/x/y/r.json"},
		Failure:    deferd.Location{Bucket: "b", Key: "fail/" + string(got.ID) + "-error.out"},
		TTL:        time.Minute,
		Timeout:    time.Hour,
		RetryToken: got.RetryToken,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("invocation (-want +got):\n%s", diff)
	}
}

// An inline body, and nothing else: what is missing gets its default.
func TestInvokeInline(t *testing.T) {
	s := open(t, nil)
	e := s.serve("e")
	out, err := s.runtime.InvokeEndpointAsync(t.Context(), &sagemakerruntime.InvokeEndpointAsyncInput{EndpointName: new("e"), Body: []byte{0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	got := s.invocations(e.ID)[0]
	body, err := s.store.Body(t.Context(), got.ID)
	if err != nil || string(body) != "\x00\x01\x02" {
		t.Errorf("body %q, %v", body, err)
	}
	if aws.ToString(out.InferenceId) != string(got.ID) || got.InferenceID != string(got.ID) {
		t.Errorf("inference ID %s, want the invocation's, %s", aws.ToString(out.InferenceId), got.ID)
	}
	if want := "s3://b/out/" + string(got.ID) + ".out"; aws.ToString(out.OutputLocation) != want {
		t.Errorf("output location %s, want %s", aws.ToString(out.OutputLocation), want)
	}
	if got.TTL != 6*time.Hour || got.Timeout != 15*time.Minute || got.ContentType != "" || got.Accept != "" {
		t.Errorf("defaults: TTL %s, timeout %s, content type %q, accept %q", got.TTL, got.Timeout, got.ContentType, got.Accept)
	}
}

// The bytes of a 202, as boto3's requests get it.
func TestAcceptedAnswer(t *testing.T) {
	s := open(t, nil)
	e := s.serve("my-ep")
	s.store.onAccept = func(n deferd.NewInvocation) error {
		if n.RetryToken != [16]byte{} {
			t.Error("a request without an SDK's invocation ID got a retry token")
		}
		return nil
	}
	a := s.invoke("my-ep", "", "X-Amzn-SageMaker-InputLocation", "s3://bkt/in/a.json", "X-Amzn-SageMaker-Content-Type", "application/json")
	a.check(t, http.StatusAccepted, `{"InferenceId":"<uuid>"}`)
	id := string(s.invocations(e.ID)[0].ID)
	for name, want := range map[string]string{
		"Content-Type":                     "application/json",
		"Content-Length":                   "54",
		"X-Amzn-SageMaker-OutputLocation":  "s3://b/out/" + id + ".out",
		"X-Amzn-SageMaker-FailureLocation": "s3://b/fail/" + id + "-error.out",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Paths that are not configured have no header.
func TestAcceptedWithoutPaths(t *testing.T) {
	s := open(t, nil)
	s.must("CreateModel", `{"ModelName":"m","PrimaryContainer":{"Image":"i"}}`)
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"AsyncInferenceConfig":{"OutputConfig":{}}}`)
	if !strings.Contains(s.log.String(), "no place for results") {
		t.Error("no warning about a configuration whose results nobody sees")
	}
	s.must("CreateEndpoint", `{"EndpointName":"e","EndpointConfigName":"c"}`)
	s.become("e", deferd.EndpointInService)
	a := s.invoke("e", "x")
	a.check(t, http.StatusAccepted, `{"InferenceId":"<uuid>"}`)
	for _, name := range []string{"X-Amzn-SageMaker-OutputLocation", "X-Amzn-SageMaker-FailureLocation"} {
		if values := a.header.Values(name); len(values) > 0 {
			t.Errorf("%s: %q, want none", name, values)
		}
	}
}

func TestInvokeErrors(t *testing.T) {
	const (
		in  = "X-Amzn-SageMaker-InputLocation"
		ext = "X-Amzn-SageMaker-S3OutputPathExtension"
	)
	noSuch := func(name string) string {
		return `{"ErrorCode":"NO_SUCH_ENDPOINT","Message":"Endpoint ` + name + ` of account 123456789012 not found."}`
	}
	violation := func(text string) string { return `{"Message":"1 validation error detected: ` + text + `"}` }
	long := strings.Repeat("a", 512)
	tests := []struct {
		name     string
		endpoint string
		status   deferd.EndpointStatus // of endpoint e; "" for in service
		body     string
		headers  []string
		want     string
	}{
		{name: "unknown endpoint", endpoint: "nobody", body: "x", want: noSuch("nobody")},
		{name: "name in another case", endpoint: "E", body: "x", want: noSuch("E")},
		{name: "creating", endpoint: "e", status: deferd.EndpointCreating, body: "x", want: noSuch("e")},
		{name: "failed", endpoint: "e", status: deferd.EndpointFailed, body: "x", want: noSuch("e")},
		{name: "deleting", endpoint: "e", status: deferd.EndpointDeleting, body: "x", want: noSuch("e")},
		{name: "member before endpoint", endpoint: "nobody", headers: []string{"X-Amzn-SageMaker-RequestTTLSeconds", "59"}, want: violation("Value '59' at 'requestTTLSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60")},
		{name: "endpoint before body rule", endpoint: "nobody", want: noSuch("nobody")},
		{name: "neither body nor location", endpoint: "e", want: `{"Message":"Exactly one of Body and InputLocation is required."}`},
		{name: "both", endpoint: "e", body: "x", headers: []string{in, "s3://b/k"}, want: `{"Message":"Exactly one of Body and InputLocation is required."}`},
		{name: "body too large", endpoint: "e", body: strings.Repeat("x", 128_001), want: violation("Value at 'body' failed to satisfy constraint: Member must have length less than or equal to 128000")},
		{name: "name that is none", endpoint: "a_b", body: "x", want: violation("Value 'a_b' at 'endpointName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*")},
		{name: "empty inference ID", endpoint: "e", body: "x", headers: []string{"X-Amzn-SageMaker-Inference-Id", ""}, want: `{"Message":"2 validation errors detected: Value '' at 'inferenceId' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '' at 'inferenceId' failed to satisfy constraint: Member must satisfy regular expression pattern: \\A\\S[\\p{Print}]*\\z"}`},
		{name: "number that is none", endpoint: "e", body: "x", headers: []string{"X-Amzn-SageMaker-RequestTTLSeconds", "1e3"}, want: `{"message":"The value of header X-Amzn-SageMaker-RequestTTLSeconds is not an integer."}`},
		{name: "URL of somebody else", endpoint: "e", headers: []string{in, "https://example.com/b/k"}, want: `{"Message":"location \"https://example.com/b/k\" is not in the S3 of this installation"}`},
		{name: "bucket without key", endpoint: "e", headers: []string{in, "s3://b"}, want: `{"Message":"location \"s3://b\" names no object"}`},
		{name: "extension fits", endpoint: "deep", body: "x", headers: []string{ext, long[:511]}},
		{name: "key too long", endpoint: "deep", body: "x", headers: []string{ext, long[:512]}, want: violation("Value '" + long + "' at 's3OutputPathExtension' failed to satisfy constraint: The key of the output object, which has 1025 bytes with it, must have at most 1024")},
		{name: "updating", endpoint: "e", status: deferd.EndpointUpdating, body: "x"},
	}
	s := open(t, nil)
	s.serve("e")
	// 505 bytes of path in the bucket, a slash, the extension, a slash and 40 bytes of name.
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"deep","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],
		"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/`+strings.Repeat("p", 471)+`"}}}`)
	s.must("CreateEndpoint", `{"EndpointName":"deep","EndpointConfigName":"deep"}`)
	s.become("deep", deferd.EndpointInService)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.status != "" {
				s.become("e", tt.status)
				defer s.become("e", deferd.EndpointInService)
			}
			a := s.invoke(tt.endpoint, tt.body, tt.headers...)
			if tt.want == "" {
				a.check(t, http.StatusAccepted, `{"InferenceId":"<uuid>"}`)
				return
			}
			a.check(t, http.StatusBadRequest, tt.want)
			code := "ValidationError"
			if strings.Contains(tt.want, "is not an integer") {
				code = "SerializationException"
			}
			if got, want := a.header.Get("x-amzn-ErrorType"), code+":http://internal.amazon.com/coral/com.amazon.sagemaker/"; got != want {
				t.Errorf("x-amzn-ErrorType %q, want %q", got, want)
			}
		})
	}
}

// The store's refusal after the look-up, when an endpoint is deleted between
// the two, reads like an endpoint that was never there.
func TestEndpointDeletedMeanwhile(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	s.store.onAccept = func(deferd.NewInvocation) error { return deferd.Errorf(deferd.NotFound, "gone") }
	s.invoke("e", "x").check(t, 400, `{"ErrorCode":"NO_SUCH_ENDPOINT","Message":"Endpoint e of account 123456789012 not found."}`)
}

// A raised limit lets a larger body through, and says its number.
func TestRaisedLimits(t *testing.T) {
	s := open(t, func(c *Config) { c.Limits = awsmodel.Limits{MaxInline: 7 << 20} })
	s.serve("e")
	s.invoke("e", strings.Repeat("x", 7<<20)).check(t, http.StatusAccepted, `{"InferenceId":"<uuid>"}`)
	s.invoke("e", strings.Repeat("x", 7<<20+1)).check(t, http.StatusBadRequest,
		`{"Message":"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less than or equal to 7340032"}`)
}

// Endpoints answer asynchronously or not at all.
func TestSynchronousOperations(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	for _, path := range []string{"invocations", "invocations-response-stream"} {
		s.send("sagemaker", "POST", "/endpoints/nobody/"+path, "x").check(t, 400, `{"ErrorCode":"NO_SUCH_ENDPOINT","Message":"Endpoint nobody of account 123456789012 not found."}`)
		s.send("sagemaker", "POST", "/endpoints/e/"+path, "x").check(t, 400, `{"Message":"Endpoint e of account 123456789012 does not support this inference type."}`)
	}
	_, err := s.runtime.InvokeEndpoint(t.Context(), &sagemakerruntime.InvokeEndpointInput{EndpointName: new("e"), Body: []byte("x")})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "ValidationError" {
		t.Errorf("InvokeEndpoint: %v", err)
	}
	s.send("sagemaker", "POST", "/endpoints/e/bogus", "").check(t, 404, `{"message":"There is no operation POST /endpoints/e/bogus."}`)
}

// An SDK that repeats a request gets the first answer; anything else that
// repeats the SDK's ID is a request of its own.
func TestRetries(t *testing.T) {
	s := open(t, nil)
	e := s.serve("e")
	const id = "Amz-Sdk-Invocation-Id"
	first := s.invoke("e", "x", id, "1")
	if again := s.invoke("e", "x", id, "1", "Amz-Sdk-Request", "attempt=2"); again.body != first.body ||
		again.header.Get("X-Amzn-SageMaker-OutputLocation") != first.header.Get("X-Amzn-SageMaker-OutputLocation") || again.status != http.StatusAccepted {
		t.Errorf("the repeat got %d %s, want %s", again.status, again.body, first.body)
	}
	others := [][]string{
		{"x", id, "2"},
		{"y", id, "1"},
		{"x", id, "1", "X-Amzn-SageMaker-Accept", "a"},
		{"x", id, "1", "X-Amzn-SageMaker-Content-Type", "a"},
		{"x", id, "1", "X-Amzn-SageMaker-Custom-Attributes", "a"},
		{"x", id, "1", "X-Amzn-SageMaker-Filename", "a"},
		{"x", id, "1", "X-Amzn-SageMaker-S3OutputPathExtension", "a"},
		{"x", id, "1", "X-Amzn-SageMaker-RequestTTLSeconds", "60"},
		{"x", id, "1", "X-Amzn-SageMaker-InvocationTimeoutSeconds", "60"},
		{"x"},
		{"x"},
	}
	for _, request := range others {
		if a := s.invoke("e", request[0], request[1:]...); a.status != http.StatusAccepted || a.body == first.body {
			t.Errorf("%q got %d %s", request, a.status, a.body)
		}
	}
	if got, want := len(s.invocations(e.ID)), 1+len(others); got != want {
		t.Errorf("%d invocations, want %d", got, want)
	}
}

func TestLocate(t *testing.T) {
	own := S3{Hosts: []string{"localhost", "127.0.0.1", "::1"}}
	amazon := S3{AWS: true}
	loc := func(bucket, key string) deferd.Location { return deferd.Location{Bucket: bucket, Key: key} }
	tests := []struct {
		name string
		s3   S3
		uri  string
		want deferd.Location // zero: refused
	}{
		{"s3", own, "s3://b/k", loc("b", "k")},
		{"s3 is literal", own, "s3://b/%41/../ //x?y#z", loc("b", "%41/../ //x?y#z")},
		{"path style", own, "https://localhost:8780/b/a%20b/%2541", loc("b", "a b/%41")},
		{"address", own, "https://127.0.0.1/b/k", loc("b", "k")},
		{"IPv6 address", own, "https://[::1]:8780/b/k", loc("b", "k")},
		{"virtual host", own, "https://my.b.localhost/k/l", loc("my.b", "k/l")},
		{"host in capitals", own, "https://LOCALHOST/b/k", loc("b", "k")},
		{"presigned", own, "https://localhost/b/k?X-Amz-Signature=1", loc("", "")},
		{"empty query", own, "https://localhost/b/k?", loc("", "")},
		{"fragment", own, "https://localhost/b/k#f", loc("", "")},
		{"user", own, "https://u:p@localhost/b/k", loc("", "")},
		{"no bucket", own, "https://localhost/", loc("", "")},
		{"only looks like it", own, "https://evil-localhost/b/k", loc("", "")},
		{"Amazon's is not ours", own, "https://b.s3.amazonaws.com/k", loc("", "")},
		{"bad escape", own, "https://localhost/b/%zz", loc("", "")},
		{"virtual host of Amazon", amazon, "https://b.s3.us-east-1.amazonaws.com/k", loc("b", "k")},
		{"dots in the bucket", amazon, "https://a.b.s3.amazonaws.com/k", loc("a.b", "k")},
		{"path style of Amazon", amazon, "https://s3.eu-central-1.amazonaws.com/b/k", loc("b", "k")},
		{"old path style of Amazon", amazon, "https://s3-us-west-2.amazonaws.com/b/k", loc("b", "k")},
		{"dual stack", amazon, "https://b.s3.dualstack.us-gov-west-1.amazonaws.com/k", loc("b", "k")},
		{"China", amazon, "https://b.s3.cn-north-1.amazonaws.com.cn/k", loc("b", "k")},
		{"website", amazon, "https://b.s3-website-us-east-1.amazonaws.com/k", loc("", "")},
		{"another service of Amazon", amazon, "https://ec2.us-east-1.amazonaws.com/b/k", loc("", "")},
		{"suffix of Amazon's", amazon, "https://s3.amazonaws.com.evil.example/b/k", loc("", "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.s3.locate(tt.uri)
			if tt.want.IsZero() {
				if err == nil || deferd.CodeOf(err) != deferd.Invalid {
					t.Fatalf("got %v, %v, want it refused as Invalid", got, err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// Every operation asks for its own action, before it looks at what is stored.
func TestAuthorization(t *testing.T) {
	s := open(t, nil)
	s.serve("E1")
	const arn = "arn:aws:sagemaker:us-east-1:123456789012:"
	rest := func(method, path, body string, headers ...string) func() answer {
		return func() answer { return s.send("sagemaker", method, path, body, headers...) }
	}
	control := func(operation, body string) func() answer {
		return func() answer { return s.call(operation, body) }
	}
	tests := []struct {
		action, resource string
		call             func() answer
	}{
		{"sagemaker:InvokeEndpointAsync", arn + "endpoint/e1", rest("POST", "/endpoints/E1/async-invocations", "x")},
		{"s3:GetObject", "arn:aws:s3:::in/a b", rest("POST", "/endpoints/E1/async-invocations", "", "X-Amzn-SageMaker-InputLocation", "s3://in/a b")},
		{"sagemaker:InvokeEndpoint", arn + "endpoint/e1", rest("POST", "/endpoints/E1/invocations", "x")},
		{"sagemaker:InvokeEndpointWithResponseStream", arn + "endpoint/e1", rest("POST", "/endpoints/E1/invocations-response-stream", "x")},
		{"deferd:ListInvocations", arn + "endpoint/e1", rest("GET", "/endpoints/E1/async-invocations", "")},
		{"deferd:DescribeInvocation", arn + "endpoint/e1", rest("GET", "/endpoints/E1/async-invocations/x", "")},
		{"sagemaker:CreateModel", arn + "model/m2", control("CreateModel", `{"ModelName":"M2"}`)},
		{"sagemaker:DescribeModel", arn + "model/m", control("DescribeModel", `{"ModelName":"m"}`)},
		{"sagemaker:DeleteModel", arn + "model/m", control("DeleteModel", `{"ModelName":"m"}`)},
		{"sagemaker:ListModels", "*", control("ListModels", `{}`)},
		{"sagemaker:CreateEndpointConfig", arn + "endpoint-config/c2", control("CreateEndpointConfig", `{"EndpointConfigName":"C2","ProductionVariants":[{"VariantName":"v"}]}`)},
		{"sagemaker:DescribeEndpointConfig", arn + "endpoint-config/c", control("DescribeEndpointConfig", `{"EndpointConfigName":"c"}`)},
		{"sagemaker:DeleteEndpointConfig", arn + "endpoint-config/c", control("DeleteEndpointConfig", `{"EndpointConfigName":"c"}`)},
		{"sagemaker:ListEndpointConfigs", "*", control("ListEndpointConfigs", `{}`)},
		{"sagemaker:CreateEndpoint", arn + "endpoint/e2", control("CreateEndpoint", `{"EndpointName":"e2","EndpointConfigName":"c"}`)},
		{"sagemaker:DescribeEndpoint", arn + "endpoint/e1", control("DescribeEndpoint", `{"EndpointName":"E1"}`)},
		{"sagemaker:DeleteEndpoint", arn + "endpoint/e1", control("DeleteEndpoint", `{"EndpointName":"E1"}`)},
		{"sagemaker:ListEndpoints", "*", control("ListEndpoints", `{}`)},
		{"sagemaker:UpdateEndpoint", arn + "endpoint/e1", control("UpdateEndpoint", `{"EndpointName":"E1","EndpointConfigName":"c"}`)},
		{"sagemaker:UpdateEndpointWeightsAndCapacities", arn + "endpoint/e1", control("UpdateEndpointWeightsAndCapacities", `{"EndpointName":"E1","DesiredWeightsAndCapacities":[{"VariantName":"v"}]}`)},
		{"sagemaker:AddTags", arn + "endpoint/e1", control("AddTags", `{"ResourceArn":"`+arn+`endpoint/e1","Tags":[]}`)},
		{"sagemaker:ListTags", arn + "endpoint/e1", control("ListTags", `{"ResourceArn":"`+arn+`endpoint/e1"}`)},
		{"sagemaker:DeleteTags", arn + "endpoint/e1", control("DeleteTags", `{"ResourceArn":"`+arn+`endpoint/e1","TagKeys":["k"]}`)},
		{"sts:GetCallerIdentity", "*", func() answer { return s.send("sts", "GET", "/?Action=GetCallerIdentity", "") }},
	}
	for _, tt := range tests {
		t.Run(tt.action, func(t *testing.T) {
			s.refusing, s.asked = tt.action, nil
			a := tt.call()
			text := "User: arn:aws:iam::123456789012:user/tester is not authorized to perform: " + tt.action + " on resource: " + tt.resource
			if a.status != http.StatusForbidden || !strings.Contains(a.body, text) || !strings.Contains(a.body+a.header.Get("x-amzn-ErrorType"), "AccessDenied") {
				t.Errorf("%d %s", a.status, a.body)
			}
			if last := s.asked[len(s.asked)-1]; last != tt.action+" "+tt.resource {
				t.Errorf("asked for %q last", s.asked)
			}
		})
	}
}

// Whatever a caller sends as a location is refused as invalid or names a
// bucket, and what was read reads the same again.
func FuzzLocate(f *testing.F) {
	for _, uri := range []string{"s3://b/k", "s3://", "https://localhost/b/%2Fk", "https://b.s3.us-east-1.amazonaws.com/k", "https://[::1/b", "https://.localhost/k", ""} {
		f.Add(uri)
	}
	s := S3{Hosts: []string{"localhost", "::1"}, AWS: true}
	f.Fuzz(func(t *testing.T, uri string) {
		l, err := s.locate(uri)
		if err != nil {
			if deferd.CodeOf(err) != deferd.Invalid {
				t.Errorf("locate(%q): %v", uri, err)
			}
			return
		}
		again, err := s.locate(l.String())
		if err != nil || again != l {
			t.Errorf("locate(%q) is %q, which reads as %q, %v", uri, l, again, err)
		}
	})
}
