package sigv4

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

// drawRequest draws a request as a client might make it. It stays clear of what
// AWS's SDK for Go does not sign as AWS documents: dot segments, and names of
// parameters that sort otherwise when they are encoded. To S3 it sends paths
// encoded as they are signed.
func drawRequest(t *rapid.T, service string) (r *http.Request, body []byte) {
	segment := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09-_~ %+/=&;?#:$ü€")), 1, 6, -1)
	var path strings.Builder
	for _, s := range rapid.SliceOfN(segment, 0, 4).Draw(t, "path") {
		if service == "s3" {
			s = strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
			path.WriteString("/" + strings.ReplaceAll(s, "%2F", "/"))
			continue
		}
		path.WriteString("/" + url.PathEscape(s))
	}
	query := url.Values{}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9._~-]{1,6}`), 0, 4, rapid.ID).Draw(t, "names") {
		query.Add(name, rapid.StringN(0, 8, -1).Draw(t, "value"))
	}
	method := rapid.SampledFrom([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}).Draw(t, "method")
	if method != "GET" && method != "HEAD" {
		body = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "body")
	}
	raw := "http://deferd.test:8780" + path.String()
	if path.String() == "" {
		raw += "/"
	}
	r, err := http.NewRequest(method, raw+"?"+query.Encode(), strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	names := rapid.SampledFrom([]string{"X-Amz-Meta-A", "X-Amz-Meta-B", "X-Amzn-Sagemaker-Filename", "Content-Type", "X-Other", "Range"})
	for _, name := range rapid.SliceOfNDistinct(names, 0, 4, rapid.ID).Draw(t, "headers") {
		for _, v := range rapid.SliceOfN(rapid.StringMatching(`[a-zA-Z0-9 ,;="/-]{0,12}`), 1, 3).Draw(t, "values") {
			r.Header.Add(name, v)
		}
	}
	return r, body
}

// A mutation changes one thing of a signed request that is signed.
type mutation struct {
	name  string
	apply func(r *http.Request, body *[]byte)
}

var mutations = []mutation{
	{"method", func(r *http.Request, _ *[]byte) { r.Method += "X" }},
	{"path", func(r *http.Request, _ *[]byte) {
		path, query, _ := strings.Cut(r.RequestURI, "?")
		r.RequestURI = path + "x?" + query
	}},
	{"another parameter", func(r *http.Request, _ *[]byte) { r.URL.RawQuery += "&added" }},
	{"host", func(r *http.Request, _ *[]byte) { r.Host = "deferd.test" }},
	{"another header", func(r *http.Request, _ *[]byte) { r.Header.Set("X-Amz-Added", "x") }},
	{"body", func(_ *http.Request, body *[]byte) { *body = append(*body, 'x') }},
	{"signature", func(r *http.Request, _ *[]byte) {
		flip := func(s string) string {
			i := strings.Index(s, "Signature=") + len("Signature=")
			digit := "0"
			if s[i] == '0' {
				digit = "1"
			}
			return s[:i] + digit + s[i+1:]
		}
		if h := r.Header.Get("Authorization"); h != "" {
			r.Header.Set("Authorization", flip(h))
		} else {
			r.URL.RawQuery = flip(r.URL.RawQuery)
		}
	}},
	{"credential's region", func(r *http.Request, _ *[]byte) {
		for _, s := range []*string{&r.URL.RawQuery, &r.Header["Authorization"][0]} {
			*s = strings.Replace(*s, "us-east-1", "us-east-2", 1)
		}
	}},
	{"date", func(r *http.Request, _ *[]byte) {
		if r.Header.Get("X-Amz-Date") != "" {
			r.Header.Set("X-Amz-Date", noon.Add(time.Second).Format(isoBasic))
		}
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "T120000Z", "T120001Z", 1)
	}},
}

// What AWS's SDK signs in a header is taken, and nothing of it can be changed.
func TestSDKHeader(t *testing.T) {
	v := at(noon, Options{}, exampleKey)
	rapid.Check(t, func(rt *rapid.T) {
		service := rapid.SampledFrom([]string{"sagemaker", "sns", "s3"}).Draw(rt, "service")
		r, body := drawRequest(rt, service)
		if service == "s3" {
			r.Header.Set("X-Amz-Content-Sha256", hexHash(body))
		}
		signSDK(t, r, exampleKey, hexHash(body), service, "us-east-1", noon)
		r = served(t, r)
		if err := verifyAll(v, r, service, body); err != nil {
			rt.Fatalf("%s %s: %v", r.Method, r.RequestURI, err)
		}
		m := rapid.SampledFrom(mutations).Draw(rt, "mutation")
		m.apply(r, &body)
		if err := verifyAll(v, r, service, body); err == nil {
			rt.Fatalf("taken with another %s", m.name)
		}
	})
}

// The same for the URLs that it presigns.
func TestSDKPresigned(t *testing.T) {
	v := at(noon.Add(time.Minute), Options{}, exampleKey)
	rapid.Check(t, func(rt *rapid.T) {
		service := rapid.SampledFrom([]string{"sagemaker", "sts", "s3"}).Draw(rt, "service")
		r, body := drawRequest(rt, service)
		payload := hexHash(body)
		if service == "s3" {
			payload = unsignedPayload
		}
		query := r.URL.Query()
		query.Set("X-Amz-Expires", "60")
		r.URL.RawQuery = query.Encode()
		signedURL, header, err := v4.NewSigner().PresignHTTP(context.Background(), credentials(exampleKey), r, payload, service, "us-east-1", noon,
			func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
		if err != nil {
			rt.Fatal(err)
		}
		signed, err := http.NewRequest(r.Method, signedURL, strings.NewReader(string(body)))
		if err != nil {
			rt.Fatal(err)
		}
		for name, values := range header {
			if name != "Host" && name != "Content-Length" {
				signed.Header[name] = values
			}
		}
		got := served(t, signed)
		if err := verifyAll(v, got, service, body); err != nil {
			rt.Fatalf("%s %s: %v", r.Method, signedURL, err)
		}
		m := rapid.SampledFrom(mutations).Draw(rt, "mutation")
		if m.name == "body" && service == "s3" {
			return // which is not signed
		}
		got.Header["Authorization"] = []string{""} // for the mutations that look there
		m.apply(got, &body)
		delete(got.Header, "Authorization")
		if err := verifyAll(v, got, service, body); err == nil {
			rt.Fatalf("taken with another %s", m.name)
		}
	})
}

func credentials(k Key) aws.Credentials {
	return aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token}
}

// verifyAll verifies a request with its body.
func verifyAll(v *Verifier, r *http.Request, service string, body []byte) error {
	if service != "s3" {
		_, err := v.Verify(r, service, body)
		return err
	}
	r.Body, r.ContentLength = newBody(body), int64(len(body))
	_, stream, err := v.VerifyStream(r)
	if err != nil {
		return err
	}
	return drainBody(stream)
}
