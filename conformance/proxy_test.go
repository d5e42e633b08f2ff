package conformance

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// oddKeys are keys that a proxy must not clean, decode or encode again.
var oddKeys = []string{"odd/a b", "odd/a//b", "odd/ä+%2F", "odd/../up", "odd/%41"}

// startProxy puts a reverse proxy in front of the server, which may start
// later. It passes requests on as they came, but for what spoil does to them.
func startProxy(t *testing.T, s *server, spoil func(*http.Request)) (url string) {
	t.Helper()
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "http", strings.TrimPrefix(s.url, "http://")
		if spoil != nil {
			spoil(r.Out)
		}
	}})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// through returns a client of the server that goes by another address.
func (s *server) through(address string) *client {
	s.t.Helper()
	cfg := s.awsConfig()
	cfg.BaseEndpoint = &address
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return &client{s.t, sagemaker.NewFromConfig(cfg), sagemakerruntime.NewFromConfig(cfg), s3.NewFromConfig(cfg)}
}

// TestProxy has a proxy in front of the server that keeps what signatures hold.
func TestProxy(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.through(startProxy(t, s, nil))
	c.deploy()
	c.useThroughProxy()
}

// TestProxyThatReplacesHost has one that cannot be told to keep the Host header,
// and a server that knows what its clients call it.
func TestProxyThatReplacesHost(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	address := startProxy(t, s, func(r *http.Request) { r.Host = "" })
	s.args = []string{"--public-host", strings.TrimPrefix(address, "http://")}
	s.start()
	c := s.through(address)
	c.deploy()
	c.useThroughProxy()
}

// useThroughProxy does whatever a proxy could spoil.
func (c *client) useThroughProxy() {
	c.t.Helper()
	data := bytes.Repeat([]byte("through a proxy "), 1<<18)
	location := c.upload("in/large", "text/plain", data)
	out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &location})
	if got := c.awaitObject(*out.OutputLocation); !bytes.Equal(got.data, data) {
		c.t.Errorf("the output has %d bytes, want the %d that were sent", len(got.data), len(data))
	}
	out = c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("inline"), ContentType: aws.String("text/plain")})
	if got := c.awaitObject(*out.OutputLocation); string(got.data) != "inline" {
		c.t.Errorf("the output is %q, want inline", got.data)
	}
	for _, key := range oddKeys {
		c.upload(key, "", []byte(key))
		if got, ok := c.get("s3://" + bucket + "/" + url.PathEscape(key)); !ok || string(got.data) != key {
			c.t.Errorf("the object %q has %q", key, got.data)
		}
		signed, err := s3.NewPresignClient(c.s3).PresignGetObject(c.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
		c.must("presign", err)
		if got := fetch(c.t, signed.URL); got != key {
			c.t.Errorf("the signed URL of %q has %q", key, got)
		}
	}
	found := c.list("odd/")
	for _, key := range oddKeys {
		if _, ok := found[key]; !ok {
			c.t.Errorf("the listing has no %q: %v", key, found)
		}
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProxyThatSpoils has proxies that change what a signature holds: each is
// refused, and nothing happens.
func TestProxyThatSpoils(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.client().deploy()
	for _, test := range []struct {
		name  string
		spoil func(*http.Request)
		all   bool // requests, not only those with odd paths
	}{
		{"host", func(r *http.Request) { r.Host = "" }, true}, // it becomes the server's own address
		{"host, told in another header", func(r *http.Request) { r.Header.Set("X-Forwarded-Host", r.Host); r.Host = "" }, true},
		{"path cleaned", func(r *http.Request) { r.URL.Path, r.URL.RawPath = path.Clean(r.URL.Path), "" }, false},
		{"path below another", func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/deferd"+r.URL.Path, "" }, true},
		{"signed header dropped", func(r *http.Request) { r.Header.Del("Amz-Sdk-Invocation-Id") }, true},
		{"encodings changed", func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.t = t
			c := s.through(startProxy(t, s, test.spoil))
			for _, key := range []string{"plain", "odd/../up"} {
				if key == "plain" && !test.all {
					continue
				}
				_, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("x")})
				checkAPIError(t, err, "SignatureDoesNotMatch", "")
			}
			if !test.all {
				return
			}
			_, err := c.control.ListModels(t.Context(), &sagemaker.ListModelsInput{})
			if err == nil {
				t.Error("the models were listed")
			}
		})
	}
	s.t = t
	if found := s.client().list(""); len(found) > 0 {
		t.Errorf("objects were made: %v", found)
	}
}

// TestPublicHost goes by a name that only the proxy has, with the bucket in
// front of it, as SDKs do for any name that is not an address.
func TestPublicHost(t *testing.T) {
	t.Parallel()
	const name = "deferd.test"
	use := func(t *testing.T, args ...string) (*client, error) {
		s := newServer(t)
		s.args = args
		s.start()
		address := strings.TrimPrefix(startProxy(t, s, nil), "http://")
		cfg := s.awsConfig()
		cfg.BaseEndpoint = aws.String("http://" + name)
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		cfg.HTTPClient = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		}}
		c := &client{t, sagemaker.NewFromConfig(cfg), sagemakerruntime.NewFromConfig(cfg), s3.NewFromConfig(cfg)}
		_, err := c.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
		return c, err
	}
	t.Run("given", func(t *testing.T) {
		c, err := use(t, "--public-host", name)
		c.must("create the bucket", err)
		c.create(endpoint)
		c.awaitInService(endpoint)
		c.useVirtualHost(name)
	})
	t.Run("not given", func(t *testing.T) {
		if _, err := use(t); err == nil {
			t.Error("a bucket below a name that the server does not know was created")
		}
	})
}

func (c *client) useVirtualHost(name string) {
	c.t.Helper()
	c.upload("odd/a b", "text/plain", []byte("x"))
	for _, location := range []string{
		"s3://" + bucket + "/odd/a b", "https://" + name + "/" + bucket + "/odd/a%20b", "https://" + bucket + "." + name + "/odd/a%20b",
	} {
		out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &location})
		if got := c.awaitObject(*out.OutputLocation); string(got.data) != "x" {
			c.t.Errorf("the output of %s is %q", location, got.data)
		}
	}
}
