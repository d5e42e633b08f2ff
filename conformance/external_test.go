package conformance

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// TestExternalS3 runs a server whose objects are in another S3: the embedded
// one of a second server, which checks its signatures.
func TestExternalS3(t *testing.T) {
	t.Parallel()
	objects := startServer(t)
	keys := objects.awsConfig().Credentials
	k, err := keys.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.args = []string{"--s3", objects.url}
	s.env = []string{
		"DEFERD_S3_ACCESS_KEY_ID=" + k.AccessKeyID, "DEFERD_S3_SECRET_ACCESS_KEY=" + k.SecretAccessKey,
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", // of a shell that is set up as a client: not for the server
	}
	s.start()
	c := s.client()
	c.s3 = s3.NewFromConfig(objects.awsConfig())
	c.deploy()

	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	for _, input := range [][]byte{[]byte("small"), data} {
		location := c.upload("in/x", "text/plain", input)
		out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &location})
		if got := c.awaitObject(*out.OutputLocation); !bytes.Equal(got.data, input) || got.contentType != "text/plain" {
			t.Errorf("the output has %d bytes of %q, want %d of text/plain", len(got.data), got.contentType, len(input))
		}
	}
	missing := "s3://" + bucket + "/none"
	out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &missing})
	if got := c.awaitObject(*out.FailureLocation); !strings.Contains(string(got.data), "NoSuchKey") {
		t.Errorf("the failure object says %q", got.data)
	}
	_, err = s3.NewFromConfig(s.awsConfig()).ListBuckets(t.Context(), &s3.ListBucketsInput{}, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	wantStatus(t, "S3 at the server itself", err, http.StatusNotImplemented)
}
