package conformance

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// TestCommands asks the program's other verbs about a running server.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	good := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x")})
	bad := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), CustomAttributes: aws.String("status=418&secret=1")})
	c.awaitObject(*good.OutputLocation)
	c.awaitObject(*bad.FailureLocation)

	for _, test := range []struct {
		name string
		args []string
		want []string
	}{
		{"version", []string{"version"}, []string{"deferd"}},
		{"config", []string{"config", "--data", s.data()}, []string{"data: " + s.data(), "listen: 127.0.0.1:8780"}},
		{"env", []string{"env", "--data", s.data()}, []string{
			"export AWS_ENDPOINT_URL=", "export AWS_ACCESS_KEY_ID=", "export AWS_SECRET_ACCESS_KEY=", "export AWS_REGION=",
		}},
		{"invocations", []string{"invocations", endpoint}, []string{*good.InferenceId, "Completed", *bad.InferenceId, "Failed"}},
		{"invocation", []string{"invocations", endpoint, *bad.InferenceId}, []string{"Failed", "model_client_error", "(418)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := s.command(test.args...)
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("deferd %s does not print %q:\n%s", strings.Join(test.args, " "), want, out)
				}
			}
		})
	}
	data, err := os.ReadFile(s.logFile())
	if err != nil {
		t.Fatal(err)
	}
	log := string(data)
	for _, e := range s.environment() {
		if key, value, _ := strings.Cut(e, "="); key == "AWS_SECRET_ACCESS_KEY" && strings.Contains(log, value) {
			t.Error("the server's log has the secret key")
		}
	}
	if strings.Contains(log, "secret=1") {
		t.Error("the server's log has custom attributes")
	}
}

// TestHealth asks both listeners how the server is.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, url := range []string{
		s.url + "/healthz", s.url + "/readyz", s.console + "/healthz", s.console + "/readyz", s.console + "/metrics",
	} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got, want := resp.StatusCode, http.StatusOK; got != want {
			t.Errorf("GET %s: status %d, want %d", strings.TrimPrefix(url, "http://"), got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(s.data(), "credentials")); err != nil {
		t.Error(err)
	}
}
