package conformance

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// testGoldenRuntime replays the invocations. A header that is read is named
// when it breaks its constraint.
func testGoldenRuntime(t *testing.T, s *server) {
	c := s.signer(t)
	members := 0
	shots := readSnapshots(t, snapshots(t, "sagemakerruntime", "request_snapshot"), ".request.snap")
	for _, shot := range shots {
		a := c.replay("sagemaker", shot)
		if code, message := a.jsonError(); a.status != 400 || code != "ValidationError" || !strings.Contains(message, "alue '__EndpointName__' at 'endpointName'") {
			t.Errorf("%s: %v", shot.operation, a)
		}
		for name, values := range shot.header {
			if name == "Content-Type" && shot.operation == "InvokeEndpointAsync" {
				continue // of the transfer: the member has a header of its own
			}
			members++
			wrong := shot
			wrong.header = http.Header{name: {strings.Repeat("x", 2000)}}
			want := member(name)
			if values[0] == "1" { // a number
				wrong.header.Set(name, "0")
			}
			if want == "requestTTLSeconds" || want == "invocationTimeoutSeconds" {
				values[0] = "0"
			}
			a := c.replay("sagemaker", wrong)
			if _, message := a.jsonError(); a.status != 400 || !strings.Contains(strings.ToLower(message), "at '"+strings.ToLower(want)) {
				t.Errorf("%s does not know %s as %s: %v", shot.operation, name, want, a)
			}
		}
	}
	t.Logf("replayed %d operations, and each of their %d headers", len(shots), members)
}

// member guesses how the model calls what a header carries.
func member(header string) string {
	name := strings.TrimPrefix(header, "X-Amzn-Sagemaker-")
	name = strings.ReplaceAll(name, "-", "")
	if name == "InferenceComponent" {
		name += "Name"
	}
	return strings.ToLower(name[:1]) + name[1:]
}

func testGoldenSTS(t *testing.T, s *server) {
	c := s.signer(t)
	served := 0
	shots := readSnapshots(t, snapshots(t, "sts", "request_snapshot"), ".request.snap")
	for _, shot := range shots {
		a := c.replay("sts", shot)
		var e struct {
			Error struct{ Code, Message string }
		}
		if err := xml.Unmarshal(a.body, &e); err != nil {
			t.Errorf("%s: %v in %v", shot.operation, err, a)
		}
		switch {
		case a.status == http.StatusOK:
			served++
		case e.Error.Code == "ValidationError" && strings.Contains(e.Error.Message, "at 'roleArn' failed to satisfy constraint"):
			served++ // it has read the words that stand for values
		case a.status >= 500 || e.Error.Code == "" || !strings.Contains(e.Error.Message, shot.operation):
			t.Errorf("%s: %v", shot.operation, a)
		}
	}
	t.Logf("replayed %d operations, %d are served", len(shots), served)
}

// s3Operations are those of S3 without which no client works.
var s3Operations = []string{
	"AbortMultipartUpload", "CompleteMultipartUpload", "CopyObject", "CreateBucket", "CreateMultipartUpload", "DeleteBucket", "DeleteObject",
	"DeleteObjects", "GetBucketLocation", "GetObject", "HeadBucket", "HeadObject", "ListBuckets", "ListMultipartUploads", "ListObjects",
	"ListObjectsV2", "ListParts", "PutObject", "UploadPart", "UploadPartCopy",
}

// takenByWrites are the headers, as the snapshots have them, with which
// something is written. All others would change what is written, or for whom,
// and are refused by name.
var takenByWrites = []string{
	"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires",
	"X-Amz-Acl", "X-Amz-Meta-Key0", "X-Amz-Request-Payer", "X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Storage-Class",
	"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Checksum-Algorithm", "X-Amz-Tagging",
	// Of copies: conditions that hold, and what is done anyway.
	"X-Amz-Copy-Source-If-Modified-Since", "X-Amz-Copy-Source-If-None-Match",
	"X-Amz-Metadata-Directive", "X-Amz-Tagging-Directive", "X-Amz-Object-Annotation-Directive",
}

// testGoldenS3 replays every operation of S3, once whole, once without headers
// and once with each of its headers alone.
func testGoldenS3(t *testing.T, s *server) {
	c := s.signer(t)
	var served []string
	sent := 0
	shots := readSnapshots(t, snapshots(t, "s3", "request_snapshot"), ".request.snap")
	for _, shot := range shots {
		method, target, _ := strings.Cut(shot.first, " ")
		if shot.operation != "ListBuckets" && shot.operation != "ListDirectoryBuckets" {
			target = "/golden" + target
		}
		body := shot.body
		try := func(h http.Header) answer {
			t.Helper()
			sent++
			c.send("s3", "PUT", "/golden", http.Header{}, nil)
			a := c.send("s3", method, target, h, body)
			checkS3Answer(t, shot.operation, method, h, a)
			return a
		}
		try(shot.header)
		bare := http.Header{}
		if source := shot.header.Values("X-Amz-Copy-Source"); source != nil {
			c.send("s3", "PUT", "/golden/source", http.Header{}, []byte("x"))
			bare.Set("X-Amz-Copy-Source", "/golden/source")
		}
		target = withoutOptions(t, target)
		if shot.operation == "CreateBucket" {
			body = nil // which says nothing but what is optional
		}
		a := try(bare)
		known := a.status != http.StatusNotImplemented && a.status != http.StatusMethodNotAllowed
		if known {
			served = append(served, shot.operation)
		}
		for name, values := range shot.header {
			h := bare.Clone()
			h[name] = values
			a := try(h)
			if known && method == "PUT" && a.status < 300 && !slices.Contains(takenByWrites, name) {
				t.Errorf("%s drops the header %s: %s", shot.operation, name, values)
			}
		}
	}
	for _, want := range s3Operations {
		if !slices.Contains(served, want) {
			t.Errorf("%s is not served", want)
		}
	}
	t.Logf("replayed %d operations in %d requests; %d are served: %s", len(shots), sent, len(served), strings.Join(served, " "))
}

// withoutOptions leaves of a query only what says which operation is meant, and
// parts of uploads.
func withoutOptions(t *testing.T, target string) string {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range values {
		isOption := v[0] != "" && !slices.Contains([]string{"x-id", "list-type", "uploadId"}, name)
		if isOption && (name != "partNumber" || !values.Has("uploadId")) {
			values.Del(name)
		}
	}
	return path + "?" + values.Encode()
}

func checkS3Answer(t *testing.T, operation, method string, h http.Header, a answer) {
	t.Helper()
	if a.header.Get("X-Amz-Request-Id") == "" {
		t.Errorf("%s: no request ID", operation)
	}
	if a.status < 400 || method == "HEAD" {
		return
	}
	var e struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}
	err := xml.Unmarshal(a.body, &e)
	if err != nil || e.Code == "" || a.status >= 500 && e.Code != "NotImplemented" {
		t.Errorf("%s with %v: %v (%v)", operation, h, a, err)
	}
}

// testGoldenAnswers compares what is answered with the SDK's snapshots of
// answers: no member has another name or type than there.
func testGoldenAnswers(t *testing.T, s *server) {
	c := s.signer(t)
	control := snapshots(t, "sagemaker", "response_snapshot")
	name := func(kind string) map[string]any { return map[string]any{kind: "answers"} }
	steps := []struct {
		operation string
		document  map[string]any
	}{
		{"CreateModel", map[string]any{"ModelName": "answers", "PrimaryContainer": map[string]any{"Image": image}, "Tags": []any{map[string]any{"Key": "k", "Value": "v"}}}},
		{"DescribeModel", name("ModelName")},
		{"ListModels", map[string]any{"MaxResults": 1}},
		{"CreateEndpointConfig", map[string]any{
			"EndpointConfigName":   "answers",
			"ProductionVariants":   []any{map[string]any{"VariantName": "v", "ModelName": "answers"}},
			"AsyncInferenceConfig": map[string]any{"OutputConfig": map[string]any{"S3OutputPath": "s3://work/out", "S3FailurePath": "s3://work/failed"}},
		}},
		{"DescribeEndpointConfig", name("EndpointConfigName")},
		{"ListEndpointConfigs", map[string]any{"MaxResults": 1}},
		{"CreateEndpoint", map[string]any{"EndpointName": "answers", "EndpointConfigName": "answers"}},
		{"DescribeEndpoint", name("EndpointName")},
		{"ListEndpoints", map[string]any{"MaxResults": 1}},
		{"ListTags", map[string]any{"ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:model/answers"}},
	}
	members := 0
	for _, step := range steps {
		a := c.call(step.operation, step.document)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-amz-json-1.1" {
			t.Fatalf("%s: %v", step.operation, a)
		}
		checkAnswer(t, step.operation, a, parseSnapshot("", readFile(t, control, step.operation+".response.snap")), &members)
		if step.operation == "CreateEndpoint" {
			s.client().with(t).awaitInService("answers")
		}
	}
	runtime := snapshots(t, "sagemakerruntime", "response_snapshot")
	a := c.send("sagemaker", "POST", "/endpoints/answers/async-invocations", http.Header{}, []byte("x"))
	shot := parseSnapshot("", readFile(t, runtime, "InvokeEndpointAsync.response.snap"))
	checkAnswer(t, "InvokeEndpointAsync", a, shot, &members)
	for header := range shot.header {
		if a.header.Get(header) == "" {
			t.Errorf("InvokeEndpointAsync has no header %s", header)
		}
	}
	if a.status != http.StatusAccepted {
		t.Errorf("InvokeEndpointAsync: %v", a)
	}
	t.Logf("%d answers with %d members have the names and types of the SDK's", len(steps)+1, members)
}

func checkAnswer(t *testing.T, operation string, a answer, shot snapshot, members *int) {
	t.Helper()
	var got, want any
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatalf("%s: %v in %v", operation, err, a)
	}
	if err := json.Unmarshal(shot.body, &want); err != nil {
		t.Fatalf("the snapshot of %s: %v", operation, err)
	}
	checkTypes(t, operation, got, want, members)
}

// checkTypes checks that all of got has the names and types of want.
func checkTypes(t *testing.T, path string, got, want any, members *int) {
	t.Helper()
	if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
		t.Errorf("%s is %v, want it to be as %v", path, got, want)
		return
	}
	switch got := got.(type) {
	case map[string]any:
		for name, value := range got {
			*members++
			checkTypes(t, path+"."+name, value, want.(map[string]any)[name], members)
		}
	case []any:
		for _, value := range got {
			checkTypes(t, path+"[]", value, want.([]any)[0], members)
		}
	}
}
