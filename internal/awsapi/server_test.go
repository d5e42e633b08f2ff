package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
	"github.com/deferd/deferd/internal/sigv4"
	"github.com/deferd/deferd/internal/sqlite"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	keyID   = "AKIAIOSFODNN7EXAMPLE"
	secret  = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// A site is a server with a real store behind it, and clients that sign.
type site struct {
	t        testing.TB
	store    *store
	url      string
	server   *Server
	keys     aws.Credentials
	control  *sagemaker.Client
	runtime  *sagemakerruntime.Client
	log      *bytes.Buffer // what the server logged; read it after the answer
	changed  []deferd.EndpointID
	asked    []string // actions and resources that authorization was asked for
	refusing string   // the action that is refused
	caller   string   // the caller's ARN
}

// A store fails where its fields say so.
type store struct {
	deferd.Store
	onAccept   func(deferd.NewInvocation) error
	onEndpoint func() error
}

func (s *store) Accept(ctx context.Context, n deferd.NewInvocation) (deferd.Invocation, bool, error) {
	if s.onAccept != nil {
		if err := s.onAccept(n); err != nil {
			return deferd.Invocation{}, false, err
		}
	}
	return s.Store.Accept(ctx, n)
}

func (s *store) Endpoint(ctx context.Context, a deferd.AccountID, n deferd.EndpointName) (deferd.Endpoint, error) {
	if s.onEndpoint != nil {
		if err := s.onEndpoint(); err != nil {
			return deferd.Endpoint{}, err
		}
	}
	return s.Store.Endpoint(ctx, a, n)
}

// open starts a server; change, if given, changes its settings before.
func open(t testing.TB, change func(*Config)) *site {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "deferd.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &site{t: t, store: &store{Store: db}, keys: aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, log: new(bytes.Buffer), caller: "arn:aws:iam::" + account + ":user/tester"}
	lookUp := func(_ context.Context, id string) (sigv4.Key, error) {
		if id != keyID {
			return sigv4.Key{}, deferd.Errorf(deferd.NotFound, "no such key")
		}
		p := deferd.Principal{Account: account, ARN: s.caller, AccessKey: keyID}
		return sigv4.Key{ID: keyID, Secret: secret, Principal: p}, nil
	}
	c := Config{
		Store:     s.store,
		Region:    region,
		Verifier:  sigv4.New(lookUp, sigv4.Options{}),
		Authorize: s.authorize,
		S3:        S3{Hosts: []string{"localhost", "127.0.0.1"}},
		Logger:    slog.New(slog.NewTextHandler(s.log, nil)),
		Changed:   func(e deferd.EndpointID) { s.changed = append(s.changed, e) },
	}
	if change != nil {
		change(&c)
	}
	s.server = New(c)
	server := httptest.NewServer(s.server.Handler())
	t.Cleanup(server.Close)
	s.url = server.URL
	provider := credentials.NewStaticCredentialsProvider(keyID, secret, "")
	s.control = sagemaker.New(sagemaker.Options{Region: region, Credentials: provider, BaseEndpoint: &s.url, Retryer: aws.NopRetryer{}})
	s.runtime = sagemakerruntime.New(sagemakerruntime.Options{Region: region, Credentials: provider, BaseEndpoint: &s.url, Retryer: aws.NopRetryer{}})
	return s
}

func (s *site) authorize(p deferd.Principal, action, resource string) error {
	s.asked = append(s.asked, action+" "+resource)
	if action == s.refusing {
		return deferd.Errorf(deferd.Denied, "User: %s is not authorized to perform: %s on resource: %s", p.ARN, action, resource)
	}
	return nil
}

// An answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

// send signs a request for a service and sends it. Headers are pairs.
func (s *site) send(service, method, path, body string, headers ...string) answer {
	s.t.Helper()
	return s.sendSigned(service, region, time.Now(), method, path, body, headers...)
}

func (s *site) sendSigned(service, region string, at time.Time, method, path, body string, headers ...string) answer {
	s.t.Helper()
	r := s.request(method, path, body, headers...)
	sum := sha256.Sum256([]byte(body))
	payload := hex.EncodeToString(sum[:])
	if service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", payload)
	}
	if err := v4.NewSigner().SignHTTP(s.t.Context(), s.keys, r, payload, service, region, at); err != nil {
		s.t.Fatal(err)
	}
	return s.do(r)
}

func (s *site) request(method, path, body string, headers ...string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (s *site) do(r *http.Request) answer {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// call sends a request to the control plane.
func (s *site) call(operation, body string) answer {
	s.t.Helper()
	return s.send("sagemaker", "POST", "/", body, "X-Amz-Target", "SageMaker."+operation, "Content-Type", "application/x-amz-json-1.1")
}

// must is call for what has to succeed.
func (s *site) must(operation, body string) answer {
	s.t.Helper()
	a := s.call(operation, body)
	if a.status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", operation, a.status, a.body)
	}
	return a
}

// serve creates a model m, a configuration c and an endpoint of the given name,
// which is in service.
func (s *site) serve(name string) deferd.Endpoint {
	s.t.Helper()
	s.must("CreateModel", `{"ModelName":"m","PrimaryContainer":{"Image":"i"}}`)
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],
		"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/out/","S3FailurePath":"s3://b/fail"}}}`)
	s.must("CreateEndpoint", `{"EndpointName":"`+name+`","EndpointConfigName":"c"}`)
	return s.become(name, deferd.EndpointInService)
}

// become gives an endpoint a status, as the scheduler does.
func (s *site) become(name string, status deferd.EndpointStatus) deferd.Endpoint {
	s.t.Helper()
	e, err := s.store.Endpoint(s.t.Context(), account, deferd.EndpointName(name))
	if err == nil {
		e, err = s.store.ChangeEndpoint(s.t.Context(), e.ID, func(e *deferd.Endpoint) error { e.Status = status; return nil })
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func (s *site) invoke(endpoint, body string, headers ...string) answer {
	s.t.Helper()
	return s.send("sagemaker", "POST", "/endpoints/"+endpoint+"/async-invocations", body, headers...)
}

var uuidPattern = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// masked is a body with every UUID replaced.
func (a answer) masked() string { return uuidPattern.ReplaceAllString(a.body, "<uuid>") }

// check compares status and body, whose UUIDs are masked.
func (a answer) check(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d", a.status, status)
	}
	if diff := cmp.Diff(body, a.masked()); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	for _, name := range []string{"Date"} {
		if a.header.Get(name) == "" {
			t.Errorf("no header %s", name)
		}
	}
	if id := a.header.Get("x-amzn-RequestId") + a.header.Get("x-amz-request-id"); !uuidPattern.MatchString(id) {
		t.Errorf("request ID %q is no UUID", id)
	}
}

func TestHealth(t *testing.T) {
	var ready error
	s := open(t, func(c *Config) { c.Ready = func() error { return ready } })
	for _, tt := range []struct {
		path   string
		err    error
		status int
		body   string
	}{
		{"/healthz", nil, 200, "ok\n"},
		{"/readyz", nil, 200, "ok\n"},
		{"/healthz", errors.New("stopping"), 200, "ok\n"},
		{"/readyz", errors.New("stopping"), 503, "stopping\n"},
	} {
		ready = tt.err
		a := s.do(s.request("GET", tt.path, ""))
		if a.status != tt.status || a.body != tt.body {
			t.Errorf("GET %s: %d %q, want %d %q", tt.path, a.status, a.body, tt.status, tt.body)
		}
	}
}

// Refusals of requests whose signature is not good, in each protocol.
func TestSignatureErrors(t *testing.T) {
	s := open(t, nil)
	const (
		json = "X-Amz-Target"
		rest = "/endpoints/e/async-invocations"
		form = "application/x-www-form-urlencoded"
	)
	now := time.Now()
	wrong := s.keys
	wrong.SecretAccessKey = "wrong"
	unknown := s.keys
	unknown.AccessKeyID = "AKIAUNKNOWN"
	sign := func(keys aws.Credentials, service, region string, at time.Time, r *http.Request, body string) *http.Request {
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hex.EncodeToString(sum[:]), service, region, at); err != nil {
			t.Fatal(err)
		}
		return r
	}
	describe := func() *http.Request { return s.request("POST", "/", "{}", json, "SageMaker.ListModels") }
	invoke := func() *http.Request { return s.request("POST", rest, "") }
	identity := func() *http.Request {
		return s.request("POST", "/", "Action=GetCallerIdentity", "Content-Type", form)
	}
	const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	const invalidToken = "The security token included in the request is invalid."
	tests := []struct {
		name      string
		r         *http.Request
		errorType string
		body      string
	}{
		{"none, JSON", describe(), "MissingAuthenticationTokenException", `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`},
		{"none, REST", invoke(), "MissingAuthenticationTokenException:http://internal.amazon.com/coral/com.amazon.sagemaker/", `{"message":"Missing Authentication Token"}`},
		{"none, query", identity(), "", `<ErrorResponse><Error><Type>Sender</Type><Code>MissingAuthenticationToken</Code><Message>Missing Authentication Token</Message></Error><RequestId><uuid></RequestId></ErrorResponse>`},
		{"none, anything else", s.request("GET", "/bucket/key", ""), "", xmlHead + `<Error><Code>AccessDenied</Code><Message>Access Denied</Message><Resource>/bucket/key</Resource><RequestId><uuid></RequestId></Error>`},
		{"wrong secret, JSON", sign(wrong, "sagemaker", region, now, describe(), "{}"), "InvalidSignatureException", `{"__type":"InvalidSignatureException","message":"` + mismatch + `"}`},
		{"wrong secret, REST", sign(wrong, "sagemaker", region, now, invoke(), ""), "InvalidSignatureException:http://internal.amazon.com/coral/com.amazon.sagemaker/", `{"message":"` + mismatch + `"}`},
		{"wrong secret, query", sign(wrong, "sts", region, now, identity(), "Action=GetCallerIdentity"), "", `<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>` + mismatch + `</Message></Error><RequestId><uuid></RequestId></ErrorResponse>`},
		{"unknown key, JSON", sign(unknown, "sagemaker", region, now, describe(), "{}"), "UnrecognizedClientException", `{"__type":"UnrecognizedClientException","message":"` + invalidToken + `"}`},
		{"unknown key, REST", sign(unknown, "sagemaker", region, now, invoke(), ""), "UnrecognizedClientException:http://internal.amazon.com/coral/com.amazon.sagemaker/", `{"message":"` + invalidToken + `"}`},
		{"unknown key, query", sign(unknown, "sts", region, now, identity(), "Action=GetCallerIdentity"), "", `<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>` + invalidToken + `</Message></Error><RequestId><uuid></RequestId></ErrorResponse>`},
		{"a body that was not signed", sign(s.keys, "sagemaker", region, now, describe(), "other"), "InvalidSignatureException", `{"__type":"InvalidSignatureException","message":"` + mismatch + `"}`},
		{"another service", sign(s.keys, "bogus", region, now, describe(), "{}"), "UnknownOperationException", `{"__type":"UnknownOperationException","message":"The service bogus is not offered here."}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(tt.r)
			status := http.StatusForbidden
			if strings.HasPrefix(tt.errorType, "Unknown") {
				status = http.StatusNotFound
			}
			a.check(t, status, tt.body)
			if got := a.header.Get("x-amzn-ErrorType"); got != tt.errorType {
				t.Errorf("x-amzn-ErrorType %q, want %q", got, tt.errorType)
			}
		})
	}
	t.Run("too old", func(t *testing.T) {
		a := s.do(sign(s.keys, "sagemaker", region, now.Add(-time.Hour), describe(), "{}"))
		if a.status != 403 || !strings.HasPrefix(a.body, `{"__type":"InvalidSignatureException","message":"Signature expired: `) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("malformed", func(t *testing.T) {
		r := describe()
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 nonsense")
		if a := s.do(r); a.status != 403 || !strings.HasPrefix(a.body, `{"__type":"IncompleteSignatureException"`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// Whose request it is, is said by the scope and never by the path.
func TestServiceComesFromScope(t *testing.T) {
	objects := new(recordingObjects)
	s := open(t, func(c *Config) { c.S3.Handler = objects })
	a := s.send("s3", "PUT", "/endpoints/x/async-invocations", "payload")
	if a.status != http.StatusOK || objects.body != "payload" || objects.principal.AccessKey != keyID {
		t.Errorf("%d %s; S3 got %q of %q", a.status, a.body, objects.body, objects.principal.AccessKey)
	}
	a = s.send("sts", "POST", "/endpoints/x/async-invocations", "Action=GetCallerIdentity", "Content-Type", "application/x-www-form-urlencoded")
	if a.status != http.StatusOK || !strings.Contains(a.body, "<Account>"+account+"</Account>") {
		t.Errorf("sts: %d %s", a.status, a.body)
	}
}

type recordingObjects struct {
	body      string
	principal deferd.Principal
}

func (o *recordingObjects) Serve(w http.ResponseWriter, r *http.Request, p deferd.Principal, body *sigv4.Body) {
	b, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.body, o.principal = string(b), p
}

func TestExternalS3(t *testing.T) {
	s := open(t, nil)
	s.send("s3", "GET", "/bucket/key", "").check(t, http.StatusNotImplemented, xmlHead+
		`<Error><Code>NotImplemented</Code><Message>This server keeps its objects in another S3. Send S3 requests there.</Message><Resource>/bucket/key</Resource><RequestId><uuid></RequestId></Error>`)
	if a := s.send("s3", "HEAD", "/bucket/key", ""); a.status != http.StatusNotImplemented || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
}

func TestGetCallerIdentity(t *testing.T) {
	s := open(t, nil)
	want := `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/tester</Arn><UserId>AKIAIOSFODNN7EXAMPLE</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId><uuid></RequestId></ResponseMetadata></GetCallerIdentityResponse>`
	s.send("sts", "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", "Content-Type", "application/x-www-form-urlencoded; charset=utf-8").check(t, 200, want)
	s.send("sts", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", "").check(t, 200, want)
	s.send("sts", "POST", "/", "Action=AssumeRole", "Content-Type", "application/x-www-form-urlencoded").check(t, 400,
		`<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>Could not find operation AssumeRole for version 2011-06-15</Message></Error><RequestId><uuid></RequestId></ErrorResponse>`)
}

// What is broken here is told apart from what passes, in each protocol, and is
// logged once without what the caller sent.
func TestBrokenStore(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	secretBody := "top-secret-payload"
	tests := []struct {
		name   string
		fail   func() error
		status int
		rest   string
		json   string
		log    string
	}{
		{
			"passing", func() error {
				return &deferd.Error{Code: deferd.Unavailable, Msg: "disk full", Err: errors.New("ENOSPC")}
			}, 503,
			`{"Message":"The service cannot answer now. Try again."}`,
			`{"__type":"ServiceUnavailable","message":"The service cannot answer now. Try again."}`,
			"level=WARN",
		},
		{
			"bug", func() error { return errors.New("index out of range") }, 500,
			`{"Message":"The request failed because of an internal error."}`,
			`{"__type":"InternalFailure","message":"The request failed because of an internal error."}`,
			"level=ERROR",
		},
		{
			"panic", func() error { panic("boom") }, 500,
			`{"Message":"The request failed because of an internal error."}`,
			`{"__type":"InternalFailure","message":"The request failed because of an internal error."}`,
			"boom",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.store.onAccept = func(deferd.NewInvocation) error { return tt.fail() }
			s.log.Reset()
			s.invoke("e", secretBody, "X-Amzn-SageMaker-Custom-Attributes", "attr-secret").check(t, tt.status, tt.rest)
			if log := s.log.String(); strings.Count(log, "level=") != 1 || !strings.Contains(log, tt.log) ||
				strings.Contains(log, secretBody) || strings.Contains(log, "attr-secret") {
				t.Errorf("log: %s", log)
			}
			s.store.onAccept = nil

			s.store.onEndpoint = tt.fail
			s.call("DescribeEndpoint", `{"EndpointName":"e"}`).check(t, tt.status, tt.json)
			s.store.onEndpoint = nil
		})
	}
}

func TestBodies(t *testing.T) {
	s := open(t, nil)
	huge := strings.Repeat("x", 6<<20+1)
	s.send("sagemaker", "POST", "/endpoints/e/async-invocations", huge).check(t, http.StatusBadRequest,
		`{"Message":"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less than or equal to 128000"}`)
	s.send("sagemaker", "POST", "/endpoints/e/invocations", huge).check(t, http.StatusRequestEntityTooLarge, `{"message":"The body of the request is too large."}`)
	s.call("ListModels", "{").check(t, 400, `{"__type":"SerializationException","message":"The request is not valid JSON."}`)

	t.Run("chunked", func(t *testing.T) {
		body := `{"MaxResults":1}`
		r := s.request("POST", "/", "", "X-Amz-Target", "SageMaker.ListModels")
		sum := sha256.Sum256([]byte(body))
		r.ContentLength = -1
		r.Body = io.NopCloser(strings.NewReader(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), s.keys, r, hex.EncodeToString(sum[:]), "sagemaker", region, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.do(r).check(t, 200, `{"Models":[]}`)
	})
}

// Every operation of the model has a handler, and every handler is one of the
// model's.
func TestOperationsAreServed(t *testing.T) {
	s := New(Config{Store: &store{}})
	known := map[string]bool{}
	for _, op := range awsmodel.SageMakerOperations() {
		known[op.Name] = true
		if s.control[op.Name] == nil {
			t.Errorf("%s has no handler", op.Name)
		}
	}
	for name := range s.control {
		if !known[name] {
			t.Errorf("%s is not in the model", name)
		}
	}
}

// decode reads a JSON body.
func (a answer) decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}
