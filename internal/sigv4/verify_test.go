package sigv4

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// Requests as botocore signs them.
func TestVectors(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name, url, body string
		header          []string
		signed          string
		hash, signature string
	}{
		{
			name:      "InvokeEndpointAsync",
			url:       "http://127.0.0.1:8080/endpoints/my-ep/async-invocations",
			header:    []string{"X-Amzn-SageMaker-InputLocation", "s3://bkt/in/a.json", "X-Amzn-SageMaker-Content-Type", "application/json"},
			signed:    "host;x-amz-date;x-amzn-sagemaker-content-type;x-amzn-sagemaker-inputlocation",
			hash:      "93031dbdc8d68bc4e03a272ec6b640f08d9214dfbe8e3fbffc8e404e86cbde3f",
			signature: "71452f4fc31c3aaf5f4a9d5a569d202dd2807263c664b3a6f87a1a5e99341060",
		},
		{
			name:      "DescribeEndpoint",
			url:       "http://127.0.0.1:8080/",
			body:      `{"EndpointName": "my-ep"}`,
			header:    []string{"X-Amz-Target", "SageMaker.DescribeEndpoint", "Content-Type", "application/x-amz-json-1.1"},
			signed:    "content-type;host;x-amz-date;x-amz-target",
			hash:      "3df3f9a8a4044bc5468dd82f4d8e94d5674fad09cf9a615e784e7571552439f7",
			signature: "9588c04ad0bfce21630265fa6fe110e5d1560e914bff2764b79a60b2cbb4690b",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, "POST", tt.url, []byte(tt.body), tt.header...)
			r.Header.Set("X-Amz-Date", "20260102T030405Z")
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+exampleID+"/20260102/us-east-1/sagemaker/aws4_request, SignedHeaders="+
				tt.signed+", Signature="+tt.signature)
			r = served(t, r)
			claim, refusal := parse(r, false)
			if refusal != nil {
				t.Fatal(refusal)
			}
			var b scratch
			if err := b.build(r, r.Host, &claim, hexHash([]byte(tt.body)), false); err != nil {
				t.Fatal(err)
			}
			if got := hexHash(b.request); got != tt.hash {
				t.Errorf("canonical request has hash %s, want %s:\n%s", got, tt.hash, b.request)
			}
			p, err := at(when, Options{}, exampleKey).Verify(r, "sagemaker", []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(exampleKey.Principal, p); diff != "" {
				t.Errorf("principal (-want +got):\n%s", diff)
			}
		})
	}
}

// signed returns a request to SageMaker, signed at noon, as a server reads it.
func signed(t testing.TB, k Key, service, region string) *http.Request {
	t.Helper()
	r := newRequest(t, "POST", "http://deferd.test:8780/endpoints/e/async-invocations?x=1", nil,
		"X-Amzn-Sagemaker-Inputlocation", "s3://bucket/key", "X-Amzn-Sagemaker-Accept", "text/plain")
	signSDK(t, r, k, emptyHash, service, region, noon)
	return served(t, r)
}

// replaceAuthorization changes a part of the Authorization header.
func replaceAuthorization(old, with string) func(*http.Request) {
	return func(r *http.Request) {
		h := r.Header.Get("Authorization")
		if !strings.Contains(h, old) {
			panic("no " + old + " in " + h)
		}
		r.Header.Set("Authorization", strings.Replace(h, old, with, 1))
	}
}

func setHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestRefusals(t *testing.T) {
	lasting, session := exampleKey, exampleKey
	session.ID, session.Token, session.Expires = "ASIASESSION", "token", noon.Add(time.Minute)
	over := session
	over.ID, over.Expires = "ASIAOVER", noon
	narrow := exampleKey
	narrow.ID, narrow.Service = "AKIANARROW", "s3"

	stranger := exampleKey
	stranger.ID = "AKIASTRANGER"
	forger := exampleKey
	forger.Secret = "guessed"
	otherToken := session
	otherToken.Token = "other"
	noToken := session
	noToken.Token = ""
	unwantedToken := lasting
	unwantedToken.Token = "token"

	tests := []struct {
		name    string
		key     Key // lasting unless it is given
		service string
		region  string
		change  func(*http.Request)
		late    time.Duration // how long after noon it arrives
		want    Kind
		text    string // that the message contains
	}{
		{name: "no signature", change: func(r *http.Request) { r.Header.Del("Authorization") }, want: Missing, text: "Missing Authentication Token"},
		{name: "empty", change: setHeader("Authorization", ""), want: Incomplete, text: "cannot be empty"},
		{name: "twice", change: func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, want: Incomplete},
		{name: "header and query", change: func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=0" }, want: Incomplete, text: "Only one auth mechanism"},
		{name: "basic", change: setHeader("Authorization", "Basic YTpi"), want: Unsupported},
		{name: "asymmetric", change: replaceAuthorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), want: Unsupported},
		{name: "nothing in it", change: setHeader("Authorization", "AWS4-HMAC-SHA256"), want: Incomplete,
			text: "requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."},
		{name: "no equal sign", change: replaceAuthorization("Signature=", "Signature"), want: Incomplete, text: "missing equal-sign"},
		{name: "short credential", change: replaceAuthorization("/aws4_request", ""), want: Incomplete, text: "'Credential'"},
		{name: "long credential", change: replaceAuthorization("/aws4_request", "/aws4_request/x"), want: Incomplete, text: "'Credential'"},
		{name: "endless region", change: replaceAuthorization("us-east-1", strings.Repeat("r", 1000)), want: Incomplete, text: "'Credential'"},
		{name: "no date", change: func(r *http.Request) { r.Header.Del("X-Amz-Date") }, want: Incomplete, text: "existence of either a 'X-Amz-Date' or a 'Date'"},
		{name: "odd date", change: setHeader("X-Amz-Date", "20260102T120000.5Z"), want: Incomplete, text: "existence of either"},

		{name: "terminator", change: replaceAuthorization("aws4_request", "aws5_request"), want: WrongScope,
			text: "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."},
		{name: "service", service: "sns", want: WrongScope, text: "Credential should be scoped to correct service: 'sagemaker'."},
		{name: "region", region: "eu-west-1", want: WrongScope, text: "Credential should be scoped to a valid Region, not 'eu-west-1'."},
		{name: "day", change: replaceAuthorization("/20260102/", "/20260101/"), want: WrongScope, text: "'20260101' != '20260102', from '20260102T120000Z'"},

		{name: "too old", late: 5*time.Minute + time.Second, want: Skewed,
			text: "Signature expired: 20260102T120000Z is now earlier than 20260102T120001Z (20260102T120501Z - 5 min.)"},
		{name: "too new", late: -5*time.Minute - time.Second, want: Skewed,
			text: "Signature not yet current: 20260102T120000Z is still later than 20260102T115959Z (20260102T115459Z + 5 min.)"},

		{name: "unknown key", key: stranger, want: UnknownKey, text: "The security token included in the request is invalid."},
		{name: "wrong secret", key: forger, want: WrongSignature, text: "Check your AWS Secret Access Key"},
		{name: "wrong token", key: otherToken, want: BadToken, text: "is invalid"},
		{name: "no token", key: noToken, want: BadToken},
		{name: "unwanted token", key: unwantedToken, want: BadToken},
		{name: "session over", key: over, want: Expired, text: "is expired"},
		{name: "other service's key", key: narrow, want: NotAllowed, text: "arn:aws:iam::123456789012:user/ann"},

		{name: "method", change: func(r *http.Request) { r.Method = "PUT" }, want: WrongSignature},
		{name: "path", change: func(r *http.Request) { r.RequestURI = "/endpoints/f/async-invocations" }, want: WrongSignature},
		{name: "query", change: func(r *http.Request) { r.URL.RawQuery = "x=2" }, want: WrongSignature},
		{name: "semicolon in query", change: func(r *http.Request) { r.URL.RawQuery = "x=1;" }, want: WrongSignature},
		{name: "broken escape in query", change: func(r *http.Request) { r.URL.RawQuery = "x=%3" }, want: WrongSignature},
		{name: "host", change: func(r *http.Request) { r.Host = "deferd.test" }, want: WrongSignature},
		{name: "signed header", change: setHeader("X-Amzn-Sagemaker-Inputlocation", "s3://bucket/other"), want: WrongSignature},
		{name: "signed header gone", change: func(r *http.Request) { r.Header.Del("X-Amzn-Sagemaker-Accept") }, want: WrongSignature},
		{name: "unsigned parameter", change: setHeader("X-Amzn-Sagemaker-Filename", "f"), want: WrongSignature},
		{name: "unsigned x-amz header", change: setHeader("X-Amz-Target", "SageMaker.DeleteEndpoint"), want: WrongSignature},
		{name: "signature", change: replaceAuthorization("Signature=", "Signature=0"), want: WrongSignature},
		{name: "short signature", change: func(r *http.Request) { h := r.Header.Get("Authorization"); r.Header.Set("Authorization", h[:len(h)-1]) }, want: WrongSignature},
		{name: "upper-case name", change: replaceAuthorization("host", "Host"), want: WrongSignature},
		{name: "host not signed", change: replaceAuthorization("host;", ""), want: WrongSignature},
		{name: "date not signed", change: replaceAuthorization("x-amz-date;", ""), want: WrongSignature},
		{name: "name twice", change: replaceAuthorization("host;", "host;host;"), want: WrongSignature},
		{name: "unsorted", change: replaceAuthorization("host;x-amz-date", "x-amz-date;host"), want: WrongSignature},

		{name: "other body hash", change: setHeader("X-Amz-Content-Sha256", hexHash([]byte("x"))), want: BadDigest},
		{name: "unsigned payload", change: setHeader("X-Amz-Content-Sha256", unsignedPayload), want: InvalidHash},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, service, region := tt.key, tt.service, tt.region
			if key.ID == "" {
				key = lasting
			}
			if service == "" {
				service = "sagemaker"
			}
			if region == "" {
				region = "us-east-1"
			}
			r := signed(t, key, service, region)
			if tt.change != nil {
				tt.change(r)
			}
			v := at(noon.Add(tt.late), Options{Region: "us-east-1"}, lasting, session, over, narrow)
			p, err := v.Verify(r, "sagemaker", nil)
			if got := kindOf(t, err); got != tt.want {
				t.Errorf("got kind %d (%v), want %d", got, err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got message %q, want one with %q", err, tt.text)
			}
			if p != (deferd.Principal{}) {
				t.Errorf("got principal %v with a refusal", p)
			}
			err = v.Plausible(r, "sagemaker")
			if always := tt.want < BadToken || tt.want == Skewed || tt.want == WrongScope; err == nil && always {
				t.Error("it is plausible, and no body makes it right")
			} else if err != nil && kindOf(t, err) != tt.want {
				t.Errorf("it is not plausible for another reason: %v", err)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	session := exampleKey
	session.Token, session.Expires = "token", noon.Add(time.Minute)
	narrow := exampleKey
	narrow.Service = "sagemaker"
	tests := []struct {
		name    string
		key     Key
		service string
		region  string // of the signature
		options Options
		late    time.Duration
		change  func(*http.Request)
	}{
		{name: "any region", region: "eu-west-1"},
		{name: "named region", region: "eu-west-1", options: Options{Region: "eu-west-1"}},
		{name: "global service", service: "iam", options: Options{Region: "eu-west-1"}},
		{name: "session", key: session},
		{name: "key for this service", key: narrow},
		{name: "five minutes late", late: 5 * time.Minute},
		{name: "five minutes early", late: -5 * time.Minute},
		{name: "sts fifteen minutes late", service: "sts", late: 15 * time.Minute},
		{name: "widened", options: Options{Skew: time.Hour}, late: time.Hour},
		{name: "skew never narrows", options: Options{Skew: time.Second}, late: 5 * time.Minute},
		{name: "unsigned ordinary headers", change: setHeader("User-Agent", "other")},
		{name: "trace header", change: setHeader("X-Amzn-Trace-Id", "Root=1")},
		{name: "no blanks between parameters", change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), ", ", ","))
		}},
		{name: "other order of parameters", change: func(r *http.Request) {
			_, params, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			p := strings.Split(params, ", ")
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+p[2]+" ,"+p[0]+", "+p[1])
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, service, region := tt.key, tt.service, tt.region
			if key.ID == "" {
				key = exampleKey
			}
			if service == "" {
				service = "sagemaker"
			}
			if region == "" {
				region = "us-east-1"
			}
			r := signed(t, key, service, region)
			if tt.change != nil {
				tt.change(r)
			}
			v := at(noon.Add(tt.late), tt.options, key)
			if err := v.Plausible(r, service); err != nil {
				t.Errorf("it is not plausible: %v", err)
			}
			p, err := v.Verify(r, service, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(key.Principal, p); diff != "" {
				t.Errorf("principal (-want +got):\n%s", diff)
			}
		})
	}
}

// Without X-Amz-Date the Date header tells when a request was signed.
func TestDateHeader(t *testing.T) {
	for _, date := range []string{"Fri, 02 Jan 2026 12:00:00 GMT", "Fri, 02 Jan 2026 12:00:00 -0000", "Fri, 02 Jan 2026 13:00:00 +0100", "20260102T120000Z"} {
		t.Run(date, func(t *testing.T) {
			r := newRequest(t, "GET", "http://deferd.test/", nil, "Date", date)
			signByHand(t, r, "date;host", emptyHash, "sagemaker")
			r = served(t, r)
			if _, err := at(noon, Options{}, exampleKey).Verify(r, "sagemaker", nil); err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Date", "Fri, 02 Jan 2026 12:00:01 GMT")
			if _, err := at(noon, Options{}, exampleKey).Verify(r, "sagemaker", nil); kindOf(t, err) != WrongSignature {
				t.Errorf("with another date: %v", err)
			}
		})
	}
	t.Run("unsigned", func(t *testing.T) {
		r := newRequest(t, "GET", "http://deferd.test/", nil, "Date", "Fri, 02 Jan 2026 12:00:00 GMT")
		signByHand(t, r, "host", emptyHash, "sagemaker")
		if _, err := at(noon, Options{}, exampleKey).Verify(served(t, r), "sagemaker", nil); kindOf(t, err) != WrongSignature {
			t.Errorf("got %v, want a wrong signature", err)
		}
	})
}

// signByHand signs with exactly these headers, at noon, by the code under test:
// it serves to sign what no SDK would.
func signByHand(t testing.TB, r *http.Request, headers, payload, service string) {
	t.Helper()
	r.Host = r.URL.Host
	c := claim{
		Scope:         Scope{AccessKey: exampleID, Day: "20260102", Region: "us-east-1", Service: service},
		terminator:    terminator,
		signedHeaders: headers,
	}
	if !c.readDate(r.Header) {
		t.Fatal("the request has no date")
	}
	c.dateIn = "host" // so that build does not mind
	var b scratch
	if err := b.build(r, r.Host, &c, payload, service == "s3"); err != nil {
		t.Fatal(err)
	}
	signature := derive(exampleSecret, c.Day, c.Region, service).sign(nil, b.toSign)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+exampleID+"/20260102/us-east-1/"+service+"/aws4_request,SignedHeaders="+
		headers+",Signature="+hexOf(signature))
}

func TestKeyLookupFails(t *testing.T) {
	down := errors.New("no connection")
	v := New(func(context.Context, string) (Key, error) {
		return Key{}, &deferd.Error{Code: deferd.Unavailable, Err: down}
	},
		Options{Now: func() time.Time { return noon }})
	_, err := v.Verify(signed(t, exampleKey, "sagemaker", "us-east-1"), "sagemaker", nil)
	if _, refused := errors.AsType[*Error](err); refused || deferd.CodeOf(err) != deferd.Unavailable || !errors.Is(err, down) {
		t.Errorf("got %v, want the lookup's own error", err)
	}
}

func TestReplacedSecret(t *testing.T) {
	key := exampleKey
	v := New(func(context.Context, string) (Key, error) { return key, nil }, Options{Now: func() time.Time { return noon }})
	r := signed(t, exampleKey, "sagemaker", "us-east-1")
	if _, err := v.Verify(r, "sagemaker", nil); err != nil {
		t.Fatal(err)
	}
	key.Secret = "another"
	if _, err := v.Verify(r, "sagemaker", nil); kindOf(t, err) != WrongSignature {
		t.Errorf("with the old secret: %v", err)
	}
}

func TestScopeOf(t *testing.T) {
	full := Scope{AccessKey: "AK", Day: "20260102", Region: "us-east-1", Service: "sns"}
	presigned := full
	presigned.Presigned = true
	tests := []struct {
		name, authorization, query string
		want                       Scope
		ok                         bool
	}{
		{name: "none"},
		{name: "bearer", authorization: "Bearer abc"},
		{name: "header", authorization: "AWS4-HMAC-SHA256 Credential=AK/20260102/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=00", want: full, ok: true},
		{name: "presigned", query: "a=b&X-Amz-Credential=AK%2F20260102%2Fus-east-1%2Fsns%2Faws4_request", want: presigned, ok: true},
		{name: "unreadable header", authorization: "AWS4-HMAC-SHA256 what", ok: true},
		{name: "version 2", query: "AWSAccessKeyId=AK&Signature=x&Expires=1", want: Scope{AccessKey: "AK", Service: "s3", Presigned: true}, ok: true},
		{name: "version 2 in a header", authorization: "AWS AK:xyz", want: Scope{Service: "s3"}, ok: true},
		{name: "parameter of another name", query: "NotX-Amz-Signature=1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, "GET", "http://deferd.test/?"+tt.query, nil)
			if tt.authorization != "" {
				r.Header.Set("Authorization", tt.authorization)
			}
			got, ok := ScopeOf(r)
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
				t.Errorf("ok is %v, want %v; scope (-want +got):\n%s", ok, tt.ok, diff)
			}
		})
	}
}
