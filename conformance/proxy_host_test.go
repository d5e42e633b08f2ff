package conformance

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// TestReplacedHost has a proxy between clients and server that replaces the Host
// header, which signatures cover.
func TestReplacedHost(t *testing.T) {
	t.Parallel()
	var upstream atomic.Pointer[url.URL]
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream.Load()) }})
	defer proxy.Close()
	address := strings.TrimPrefix(proxy.URL, "http://")

	through := func(t *testing.T, args ...string) *client {
		s := newServer(t)
		s.args = args
		s.start()
		u, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		upstream.Store(u)
		cfg := s.awsConfig()
		cfg.BaseEndpoint = &proxy.URL
		return &client{t, sagemaker.NewFromConfig(cfg), sagemakerruntime.NewFromConfig(cfg), s3.NewFromConfig(cfg)}
	}
	t.Run("that is not known", func(t *testing.T) {
		c := through(t)
		_, err := c.control.ListEndpoints(t.Context(), &sagemaker.ListEndpointsInput{})
		checkAPIError(t, err, "InvalidSignatureException", "does not match the signature you provided")
		_, err = c.s3.ListBuckets(t.Context(), &s3.ListBucketsInput{})
		checkAPIError(t, err, "SignatureDoesNotMatch", "")
	})
	t.Run("that is", func(t *testing.T) {
		c := through(t, "--public-host", "inference.example.org", "--public-host", address)
		c.deploy()
		out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("through a proxy"), ContentType: aws.String("text/plain")})
		if got := c.awaitObject(*out.OutputLocation); string(got.data) != "through a proxy" {
			t.Errorf("the output is %q", got.data)
		}
		large := c.upload("in/large", "text/plain", make([]byte, 1<<20)) // its chunks are signed one after the other
		out = c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &large})
		if got := c.awaitObject(*out.OutputLocation); len(got.data) != 1<<20 {
			t.Errorf("the output has %d bytes, want %d", len(got.data), 1<<20)
		}
	})
}
