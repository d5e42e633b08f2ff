package awsapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// direct sends a signed request to the handler, without a connection between.
func (s *site) direct(t *testing.T, service, method, target, body string, header http.Header) answer {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Skip() // no request arrives that net/http cannot read
	}
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.URL, r.RequestURI, r.Header, r.Host = u, "", header, "deferd.test"
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(t.Context(), s.keys, r, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(w, r)
	if log := s.log.String(); w.Code >= 500 || strings.Contains(log, "panicked") {
		t.Fatalf("%s %s %v %q is answered %d %s\n%s", method, target, header, body, w.Code, w.Body, log)
	}
	s.log.Reset()
	return answer{w.Code, w.Header(), w.Body.String()}
}

// checkJSON checks that an answer is a JSON object and, where it is an error,
// that clients can read it.
func (a answer) checkJSON(t *testing.T) {
	t.Helper()
	if a.status == http.StatusOK && a.body == "" {
		return // of operations that answer nothing
	}
	var document struct{ Message string }
	if err := json.Unmarshal([]byte(a.body), &document); err != nil {
		t.Errorf("%d %q: %v", a.status, a.body, err)
	}
	failed := a.status >= 400
	if failed != (a.header.Get("X-Amzn-Errortype") != "") || failed && document.Message == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}

// Whatever an invocation carries, it is accepted or refused by name.
func FuzzInvoke(f *testing.F) {
	f.Add("e", "", "s3://b/k", "text/plain", "*/*", "a=1", "id", "x/y", "f.json", "60", "1")
	f.Add("a%2Fb", "body", "", "", "", "", "", "", "", "", "")
	f.Add("e", "body", "https://localhost/b/k", "\xff", "é", "\x7f", " ", "s3:", "..", "-1", "99999999999")
	f.Add("nobody", "", "s3://b", "", "", "", strings.Repeat("i", 65), strings.Repeat("p", 513), "a.b.c", "1e3", "٣")
	s := open(f, nil)
	s.serve("e")
	f.Fuzz(func(t *testing.T, name, body, input, contentType, accept, attributes, id, extension, filename, ttl, timeout string) {
		header := http.Header{}
		for member, value := range map[string]string{
			"InputLocation": input, "Content-Type": contentType, "Accept": accept, "Custom-Attributes": attributes, "Inference-Id": id,
			"S3OutputPathExtension": extension, "Filename": filename, "RequestTTLSeconds": ttl, "InvocationTimeoutSeconds": timeout,
		} {
			if strings.ContainsAny(value, "\r\n\x00") {
				t.Skip() // no header arrives with these
			}
			if value = strings.Trim(value, " \t"); value != "" {
				header.Set(invocationPrefix+member, value)
			}
		}
		a := s.direct(t, "sagemaker", "POST", "/endpoints/"+name+"/async-invocations", body, header)
		a.checkJSON(t)
		if a.status == http.StatusAccepted {
			if (body == "") == (input == "") {
				t.Errorf("accepted with body %q and location %q", body, input)
			}
			if out := a.header.Get(invocationPrefix + "OutputLocation"); !strings.HasPrefix(out, "s3://b/out/") {
				t.Errorf("the output goes to %q", out)
			}
		}
	})
}

// Whatever a document says, each operation of the control plane does it or
// refuses it; what was created can be described, listed and deleted.
func FuzzControl(f *testing.F) {
	operations := awsmodel.SageMakerOperations()
	for i, op := range operations {
		f.Add(i, `{}`)
		f.Add(i, `{"ModelName":"n","EndpointConfigName":"n","EndpointName":"n","PrimaryContainer":{"Image":"i","Environment":{"A":"b"}},
			"ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/o"}},
			"Tags":[{"Key":"k","Value":"v"}],"ResourceArn":"arn:aws:sagemaker:us-east-1:123456789012:model/m"}`)
		f.Add(i, `{"NameContains":"n","MaxResults":1,"NextToken":"AAAA","CreationTimeAfter":1e9,"SortBy":"Name","`+op.Name+`":[null]}`)
	}
	f.Add(0, "\xff")
	f.Add(1, `[[[[`)
	s := open(f, nil)
	s.serve("e")
	f.Fuzz(func(t *testing.T, i int, body string) {
		call := func(operation string) answer {
			a := s.direct(t, "sagemaker", "POST", "/", body, http.Header{"X-Amz-Target": {"SageMaker." + operation}})
			a.checkJSON(t)
			return a
		}
		operation := operations[uint(i)%uint(len(operations))].Name
		a := call(operation)
		kind, created := strings.CutPrefix(operation, "Create")
		if !created || a.status != http.StatusOK {
			return
		}
		if d := call("Describe" + kind); d.status != http.StatusOK {
			t.Errorf("%s, and then: %s", operation, d.body)
		}
		call("List" + kind + "s")
		call("ListTags")
		if d := call("Delete" + kind); d.status != http.StatusOK {
			t.Errorf("%s, and then: %s", operation, d.body)
		}
		if kind == "Endpoint" { // which its instances outlive for a while
			s.forget(t, body)
		}
	})
}

// forget removes the endpoint that a document names, as the scheduler does when
// its instances are gone.
func (s *site) forget(t *testing.T, body string) {
	t.Helper()
	var in awsmodel.CreateEndpointInput
	if err := awsmodel.Decode([]byte(body), &in); err != nil {
		t.Fatal(err)
	}
	e, err := s.store.Endpoint(t.Context(), account, deferd.EndpointName(*in.EndpointName))
	if err == nil {
		err = s.store.RemoveEndpoint(t.Context(), e.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever a form says, STS answers in XML that clients can read.
func FuzzQuery(f *testing.F) {
	const form = "application/x-www-form-urlencoded"
	f.Add("POST", "/", form, "Action=GetCallerIdentity&Version=2011-06-15")
	f.Add("GET", "/?Action=GetCallerIdentity", "", "")
	f.Add("POST", "/?Action=x", "text/plain; =", "Action=%zz;a&&=")
	f.Add("POST", "/", form, "Action=\xff<&>]]>\x00")
	s := open(f, nil)
	f.Fuzz(func(t *testing.T, method, target, contentType, body string) {
		if strings.ContainsAny(method+contentType, "\r\n\x00") || !isToken(method) || strings.ContainsAny(target, " \r\n") {
			t.Skip() // no request arrives with these
		}
		a := s.direct(t, "sts", method, target, body, http.Header{"Content-Type": {contentType}})
		if method == http.MethodHead {
			return
		}
		var document struct {
			XMLName xml.Name
			Error   struct{ Type, Code, Message string }
			Result  struct{ Account string } `xml:"GetCallerIdentityResult"`
		}
		if err := xml.Unmarshal([]byte(a.body), &document); err != nil {
			t.Fatalf("%d %q: %v", a.status, a.body, err)
		}
		if a.status == http.StatusOK && document.Result.Account != account || a.status != http.StatusOK && document.Error.Code == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// isToken reports whether net/http takes a string for a method.
func isToken(s string) bool {
	_, err := http.NewRequest(s, "/", nil)
	return err == nil && s != ""
}
