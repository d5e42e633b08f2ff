package sigv4

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// suiteTime is when all cases of AWS's suite were signed.
var suiteTime = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

// request returns the case's request as a server reads it.
func (c *suiteCase) request(t *testing.T) *http.Request {
	t.Helper()
	var names []string
	for line := range strings.SplitSeq(c.headers, "\n") {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	head := "Host:example.amazonaws.com\n" + c.header + "\nX-Amz-Date:20150830T123600Z\n" +
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=" +
		strings.Join(names, ";") + ", Signature=" + c.signature + "\n"
	// A target with a blank is none that net/http reads.
	wire := c.method + " " + strings.ReplaceAll(c.target, " ", "%20") + " HTTP/1.1\n" + strings.ReplaceAll(head, "\n\n", "\n") + "\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		t.Fatal(err)
	}
	r.RequestURI = c.target
	return r
}

// canonical is the canonical request that the suite wants.
func (c *suiteCase) canonical(signedHeaders string) string {
	return strings.Join([]string{c.method, c.path, c.query, c.headers, "", signedHeaders, hexHash([]byte(c.body))}, "\n")
}

func TestSuite(t *testing.T) {
	for _, c := range suite {
		t.Run(c.name, func(t *testing.T) {
			r := c.request(t)
			claim, refusal := parse(r, false)
			if refusal != nil {
				t.Fatal(refusal)
			}
			var b scratch
			if err := b.build(r, r.Host, &claim, hexHash([]byte(c.body)), false); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.canonical(claim.signedHeaders), string(b.request)); diff != "" {
				t.Errorf("canonical request (-want +got):\n%s", diff)
			}

			key := Key{ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Token: r.Header.Get("X-Amz-Security-Token")}
			v := at(suiteTime, Options{}, key)
			if _, err := v.Verify(r, "service", []byte(c.body)); err != nil {
				t.Errorf("Verify: %v", err)
			}
			if _, err := v.Verify(r, "service", []byte(c.body+"x")); kindOf(t, err) != WrongSignature {
				t.Errorf("Verify with another body: %v", err)
			}
		})
	}
}
