package sigv4

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bucketOf is how a server might read host names.
func bucketOf(host string) string {
	bucket, ok := strings.CutSuffix(host, ".s3.amazonaws.com")
	if !ok {
		return ""
	}
	return bucket
}

// The example of Amazon's "Signing and authenticating REST requests".
func TestDocumentedV2(t *testing.T) {
	r := newRequest(t, "GET", "http://johnsmith.s3.amazonaws.com/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE"+
		"&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620", nil)
	v := at(time.Unix(1175139620, 0), Options{Bucket: bucketOf}, exampleKey)
	if _, _, err := v.VerifyStream(r); err != nil {
		t.Error(err)
	}
	r.Host = "other.s3.amazonaws.com"
	if _, _, err := v.VerifyStream(r); kindOf(t, err) != WrongSignature {
		t.Errorf("with another bucket: %v", err)
	}
}

// presignV2 returns a URL as botocore presigns it; resource is what it signs.
func presignV2(method, headers, resource, query string, expires time.Time) string {
	seconds := strconv.FormatInt(expires.Unix(), 10)
	m := hmac.New(sha1.New, []byte(exampleSecret))
	m.Write([]byte(method + "\n\n" + headers + seconds + "\n" + resource))
	return "http://deferd.test/bucket/a%20key?" + query + "AWSAccessKeyId=" + exampleID +
		"&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(m.Sum(nil))) + "&Expires=" + seconds
}

func TestV2(t *testing.T) {
	const key = "/bucket/a%20key"
	later := noon.Add(time.Hour)
	session := exampleKey
	session.Token = "token"
	withToken := func(header string) string {
		seconds := strconv.FormatInt(later.Unix(), 10)
		m := hmac.New(sha1.New, []byte(exampleSecret))
		m.Write([]byte("GET\n\n\n" + seconds + "\nx-amz-security-token:" + header + "\n" + key))
		return "http://deferd.test" + key + "?AWSAccessKeyId=" + exampleID + "&x-amz-security-token=" + header +
			"&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(m.Sum(nil))) + "&Expires=" + seconds
	}
	tests := []struct {
		name   string
		method string
		url    string
		key    Key
		header []string
		change func(*http.Request)
		ok     bool
		want   Kind
	}{
		{name: "get", method: "GET", url: presignV2("GET", "\n", key, "", later), ok: true},
		{name: "head", method: "HEAD", url: presignV2("HEAD", "\n", key, "", later), ok: true},
		{name: "put", method: "PUT", url: presignV2("PUT", "text/plain\n", key, "content-type=text%2Fplain&", later), ok: true},
		{name: "put with the header", method: "PUT", url: presignV2("PUT", "text/plain\n", key, "", later), header: []string{"Content-Type", "text/plain"}, ok: true},
		{name: "put with another", method: "PUT", url: presignV2("PUT", "text/plain\n", key, "content-type=text%2Fplain&", later), header: []string{"Content-Type", "text/html"}, want: WrongSignature},
		{name: "part", method: "PUT", url: presignV2("PUT", "\n", key+"?partNumber=1&uploadId=a b", "uploadId=a%20b&partNumber=1&", later), ok: true},
		{name: "session", method: "GET", url: withToken("token"), key: session, ok: true},
		{name: "another session", method: "GET", url: withToken("other"), key: session, want: BadToken},
		{name: "no session", method: "GET", url: presignV2("GET", "\n", key, "", later), key: session, want: BadToken},
		{name: "method", method: "PUT", url: presignV2("GET", "\n", key, "", later), want: WrongSignature},
		{name: "delete", method: "DELETE", url: presignV2("DELETE", "\n", key, "", later), want: Unsupported},
		{name: "expired", method: "GET", url: presignV2("GET", "\n", key, "", noon.Add(-time.Second)), want: PresignExpired},
		{name: "expiry", method: "GET", url: strings.Replace(presignV2("GET", "\n", key, "", later), "Expires=", "Expires=9", 1), want: WrongSignature},
		{name: "expiry is a word", method: "GET", url: "http://deferd.test/?AWSAccessKeyId=a&Signature=b&Expires=c", want: IncompleteQuery},
		{name: "no signature", method: "GET", url: "http://deferd.test/?AWSAccessKeyId=a&Expires=1", want: IncompleteQuery},
		{name: "unknown key", method: "GET", url: "http://deferd.test/?AWSAccessKeyId=a&Signature=b&Expires=9999999999", want: UnknownKey},
		{name: "unsigned subresource", method: "GET", url: presignV2("GET", "\n", key, "tagging&", later), want: WrongSignature},
		{name: "unsigned parameter", method: "GET", url: presignV2("GET", "\n", key, "attributes&", later), want: WrongSignature},
		{name: "unsigned header", method: "PUT", url: presignV2("PUT", "\n", key, "", later), header: []string{"X-Amz-Copy-Source", "/b/k"}, want: WrongSignature},
		{name: "with a header beside it", method: "GET", url: presignV2("GET", "\n", key, "", later), header: []string{"Authorization", "x"}, want: Unsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := tt.key
			if k.ID == "" {
				k = exampleKey
			}
			r := served(t, newRequest(t, tt.method, tt.url, nil, tt.header...))
			p, _, err := at(noon, Options{}, k).VerifyStream(r)
			switch {
			case tt.ok && err != nil:
				t.Errorf("refused: %v", err)
			case tt.ok:
				if p != k.Principal {
					t.Errorf("got principal %v", p)
				}
			default:
				if got := kindOf(t, err); got != tt.want {
					t.Errorf("got kind %d (%v), want %d", got, err, tt.want)
				}
			}
		})
	}
}
