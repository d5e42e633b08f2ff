package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/deferd/deferd/client"
)

func newClient(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return client.New(client.Config{Endpoint: s.URL + "/", Credentials: credentials.NewStaticCredentialsProvider("AKIA1", "secret", "")})
}

func TestInvocation(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.URL.EscapedPath(), "/endpoints/ep/async-invocations/a%2Fb"; got != want {
			t.Errorf("path %q, want %q", got, want)
		}
		if a := r.Header.Get("Authorization"); !strings.Contains(a, "/us-east-1/sagemaker/aws4_request") {
			t.Errorf("authorization %q is not for SageMaker", a)
		}
		fmt.Fprint(w, `{"invocationId":"i","state":"Failed","attempts":2,"reason":"timeout","acceptedTime":"2026-01-02T03:04:05.006Z"}`)
	})
	inv, err := c.Invocation(t.Context(), "ep", "a/b")
	if err != nil {
		t.Fatal(err)
	}
	if inv.ID != "i" || !inv.Ended() || inv.Attempts != 2 || inv.Accepted.Nanosecond() != 6e6 || !inv.Finished.IsZero() {
		t.Errorf("got %+v", inv)
	}
}

func TestRefusal(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-amzn-ErrorType", "ResourceNotFound:http://internal/")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"Message":"There is none."}`)
	})
	_, err := c.Invocation(t.Context(), "ep", "x")
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Code != "ResourceNotFound" || e.Status != 404 || e.Message != "There is none." {
		t.Errorf("error is %#v", err)
	}
}

func TestInvocationsPages(t *testing.T) {
	asked := 0
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		q := r.URL.Query()
		if got := q.Get("state"); got != "Queued,Running" {
			t.Errorf("state %q", got)
		}
		if q.Get("nextToken") == "" {
			fmt.Fprint(w, `{"invocations":[{"invocationId":"3"},{"invocationId":"2"}],"nextToken":"t"}`)
			return
		}
		fmt.Fprint(w, `{"invocations":[{"invocationId":"1"}]}`)
	})
	var got strings.Builder
	for inv, err := range c.Invocations(t.Context(), "ep", "Queued", "Running") {
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(inv.ID)
	}
	if got.String() != "321" || asked != 2 {
		t.Errorf("got %q in %d requests, want 321 in 2", got.String(), asked)
	}
	for range c.Invocations(t.Context(), "ep", "Queued", "Running") {
		break // ends without a second page
	}
	if asked != 3 {
		t.Errorf("%d requests in all, want 3", asked)
	}
}

func TestFromEnvironmentNeedsAnEndpoint(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "")
	if _, err := client.FromEnvironment(t.Context()); err == nil || !strings.Contains(err.Error(), "deferd env") {
		t.Errorf("error is %v, want one that says what to do", err)
	}
}

// Which of an endpoint's invocations have failed, and why.
func ExampleClient_Invocations() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"invocations":[{"invocationId":"0198c1f2","state":"Failed","reason":"out_of_memory","attempts":3}]}`)
	}))
	defer server.Close()
	c := client.New(client.Config{
		Endpoint:    server.URL, // such as http://127.0.0.1:8780; FromEnvironment finds it as AWS's SDKs do
		Credentials: credentials.NewStaticCredentialsProvider("AKIA…", "…", ""),
	})
	for inv, err := range c.Invocations(context.Background(), "digits", "Failed") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(inv.ID, inv.Reason, "after", inv.Attempts, "attempts")
	}
	// Output: 0198c1f2 out_of_memory after 3 attempts
}
