package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
)

// A registry is a SageMaker in memory that fails as it is told. It is the
// client of a site, so that a test of it needs no sockets and no time.
type registry struct {
	things map[string]string // kind and name, and what of it matters
	fail   string            // the operation that fails
	done   bool              // whether it is carried out all the same
	way    string            // "network": no answer; "once": 503 and then no more; "always": 503
	failed int
	asked  []string
}

func (r *registry) site() *site {
	return newSite(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String("http://server:1"), HTTPClient: r,
		Credentials: credentials.NewStaticCredentialsProvider("AKIA1", "secret", ""),
	})
}

func (r *registry) Do(req *http.Request) (*http.Response, error) {
	_, operation, ok := strings.Cut(req.Header.Get("X-Amz-Target"), "SageMaker.")
	if !ok { // S3 and STS are well
		return answerOf(req, 200, `<R><GetCallerIdentityResult><Account>000000000000</Account></GetCallerIdentityResult></R>`), nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.asked = append(r.asked, operation)
	failing := operation == r.fail && (r.way != "once" || r.failed == 0)
	if failing {
		r.failed++
	}
	if failing && !r.done {
		return r.failure(req)
	}
	status, text := r.carryOut(operation, body)
	if failing {
		return r.failure(req)
	}
	return answerOf(req, status, text), nil
}

func (r *registry) failure(req *http.Request) (*http.Response, error) {
	if r.way == "network" {
		return nil, &url.Error{Op: "Post", URL: req.URL.String(), Err: errors.New("connection reset")}
	}
	return answerOf(req, 503, `{"__type":"ServiceUnavailable","message":"later"}`), nil
}

func answerOf(req *http.Request, status int, text string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: req}
}

func (r *registry) carryOut(operation string, body []byte) (int, string) {
	var in struct{ ModelName, EndpointConfigName, EndpointName string }
	if err := json.Unmarshal(body, &in); err != nil {
		return 400, err.Error()
	}
	key, value := "endpoint "+in.EndpointName, in.EndpointConfigName
	switch {
	case strings.HasSuffix(operation, "Model"):
		key = "model " + in.ModelName
	case strings.HasSuffix(operation, "EndpointConfig"):
		key, value = "configuration "+in.EndpointConfigName, "made"
	}
	_, there := r.things[key]
	verb := operation[:strings.IndexAny(operation[1:], "EM")+1]
	switch {
	case verb == "Create" && there:
		return 400, `{"__type":"ValidationException","message":"Cannot create already existing thing."}`
	case verb != "Create" && !there:
		return 400, `{"__type":"ValidationException","message":"Could not find thing."}`
	case verb == "Update" && r.things[key] == value:
		return 400, `{"__type":"ValidationException","message":"Cannot update in-progress endpoint."}`
	case verb == "Create", verb == "Update":
		r.things[key] = value
	case verb == "Delete":
		delete(r.things, key)
	case verb == "Describe" && strings.HasPrefix(key, "endpoint "):
		return 200, fmt.Sprintf(`{"EndpointStatus":"InService","EndpointConfigName":%q}`, r.things[key])
	}
	return 200, `{}`
}

// TestStepsFailBothWays fails each step of a deployment, before it is done and
// after it is done but not answered. Either it works in the end, or nothing
// stays of it, or it is said to go on.
func TestStepsFailBothWays(t *testing.T) {
	for _, update := range []bool{false, true} {
		for _, step := range []string{"DescribeModel", "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "DescribeEndpoint"} {
			for _, way := range []string{"network", "once", "always"} {
				for _, done := range []bool{false, true} {
					t.Run(fmt.Sprintf("update=%v/%s/%s/done=%v", update, step, way, done), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { failStep(t, update, &registry{fail: step, way: way, done: done}) })
					})
				}
			}
		}
	}
}

func failStep(t *testing.T, update bool, r *registry) {
	r.things = map[string]string{}
	if update {
		r.things = map[string]string{"endpoint e": "e", "configuration e": "made", "model e": ""}
	}
	before := maps.Clone(r.things)
	var said bytes.Buffer
	s := r.site()
	d := &deployment{
		site: s, objects: s.objects(), name: "e", errors: &said, status: &statusLine{w: io.Discard},
		o: deployOptions{image: "i", instances: 1, keepPrevious: true, output: deployOutput{format: textFormat}},
	}
	err := d.run(t.Context(), io.Discard)
	served := r.things["endpoint e"]
	whole := served == "" || r.things["configuration "+served] != ""
	made := len(r.things) - len(before)
	_, left := errors.AsType[*exitError](err)
	switch {
	case err == nil && update && made == 2, err == nil && !update && made == 3, left: // as it should be, if it is whole
		if !whole {
			t.Errorf("the endpoint serves %s, which is not there: %v", served, r.things)
		}
	case err == nil:
		t.Errorf("it worked, and made %d things: %v", made, r.things)
	default:
		if diff := cmp.Diff(before, r.things); diff != "" {
			t.Errorf("after %v (-before +after):\n%s%s", err, diff, said.String())
		}
	}
	if r.way == "once" && err != nil {
		t.Errorf("one failure of the server is not borne: %v (%q)", err, r.asked)
	}
}
