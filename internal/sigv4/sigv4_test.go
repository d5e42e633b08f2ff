package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/deferd/deferd"
)

const (
	exampleID     = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var exampleKey = Key{
	ID:        exampleID,
	Secret:    exampleSecret,
	Principal: deferd.Principal{Account: "123456789012", ARN: "arn:aws:iam::123456789012:user/ann", AccessKey: exampleID},
}

// noon is when requests of these tests are signed unless they say otherwise.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// keysOf returns a lookup that knows these keys and no others.
func keysOf(keys ...Key) Keys {
	return func(_ context.Context, id string) (Key, error) {
		for _, k := range keys {
			if k.ID == id {
				return k, nil
			}
		}
		return Key{}, deferd.Errorf(deferd.NotFound, "no access key %q", id)
	}
}

// at returns a verifier whose clock stands still.
func at(now time.Time, o Options, keys ...Key) *Verifier {
	o.Now = func() time.Time { return now }
	return New(keysOf(keys...), o)
}

// kindOf is the kind of a refusal; the test ends if err is none.
func kindOf(t testing.TB, err error) Kind {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got error %v, want a refusal", err)
	}
	return e.Kind
}

// newRequest returns a client's request.
func newRequest(t testing.TB, method, url string, body []byte, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// signSDK signs a request as AWS's SDK does.
func signSDK(t testing.TB, r *http.Request, k Key, payload, service, region string, when time.Time) {
	t.Helper()
	credentials := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token}
	err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, payload, service, region, when,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err != nil {
		t.Fatal(err)
	}
}

// served returns a request as a server reads it from the wire.
func served(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func hexHash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
