package torture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const region = "us-east-1"

// An outside is what clients of the server have: its addresses and a key. Its
// HTTP client does not retry and keeps nothing for long, so that each call is
// one request whose fate is known.
type outside struct {
	url     string
	console string
	keys    aws.Credentials
	signer  *v4.Signer
	http    *http.Client
	s3      *s3.Client
}

// callLimit bounds one call; a frozen server answers later than this.
const callLimit = 15 * time.Second

func newOutside(w *world) (*outside, error) {
	keys, err := readKeys(filepath.Join(w.data, "credentials"))
	if err != nil {
		return nil, err
	}
	o := &outside{
		url: w.url(), console: "http://" + w.console, keys: keys, signer: v4.NewSigner(),
		http: &http.Client{
			Timeout:   callLimit,
			Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 2 * time.Second},
		},
	}
	objects, url := keys, o.url
	if w.external != nil {
		url = w.external.url()
		if objects, err = readKeys(filepath.Join(w.external.data(), "credentials")); err != nil {
			return nil, err
		}
	}
	o.s3 = s3.New(s3.Options{
		BaseEndpoint: &url, Region: region, UsePathStyle: true, HTTPClient: o.http, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(objects.AccessKeyID, objects.SecretAccessKey, ""),
	})
	return o, nil
}

// readKeys reads AWS's shared credentials file.
func readKeys(name string) (k aws.Credentials, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return k, fmt.Errorf("read keys: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(key) {
		case "aws_access_key_id":
			k.AccessKeyID = strings.TrimSpace(value)
		case "aws_secret_access_key":
			k.SecretAccessKey = strings.TrimSpace(value)
		}
	}
	if !k.HasKeys() {
		return k, fmt.Errorf("read keys: %s holds none", name)
	}
	return k, nil
}

// A refusal is an answer with an error status.
type refusal struct {
	Status int
	Text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("status %d: %s", r.Status, r.Text) }

// do signs a request, sends it once, and returns the answer's header and body.
func (o *outside) do(ctx context.Context, method, target string, header http.Header, body []byte) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, o.url+target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(req.Header, header)
	sum := sha256.Sum256(body)
	if err := o.signer.SignHTTP(ctx, o.keys, req, hex.EncodeToString(sum[:]), "sagemaker", region, time.Now()); err != nil {
		return nil, nil, err
	}
	resp, err := o.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode/100 != 2 {
		return resp.Header, nil, &refusal{resp.StatusCode, string(answer)}
	}
	return resp.Header, answer, nil
}

// control performs an operation of SageMaker's control plane.
func (o *outside) control(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, answer, err := o.do(ctx, http.MethodPost, "/", http.Header{
		"Content-Type": {"application/x-amz-json-1.1"},
		"X-Amz-Target": {"SageMaker." + operation},
	}, body)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// Accepted is what a 202 promised.
type Accepted struct {
	Invocation string // from the failure location or the output location
	Output     string // key
	Failure    string // key; "" where none is configured
}

// invoke makes one call of InvokeEndpointAsync. The body holds the input where
// that is inline.
func (o *outside) invoke(ctx context.Context, q Request, body []byte) (Accepted, error) {
	h := http.Header{"Amz-Sdk-Invocation-Id": {"token-" + q.ID}, "Content-Type": {"application/x-torture"}}
	set := func(name, value string) {
		if value != "" {
			h.Set("X-Amzn-Sagemaker-"+name, value)
		}
	}
	set("Inference-Id", q.ID)
	set("Custom-Attributes", q.Order.String())
	set("Invocationtimeoutseconds", seconds(q.Timeout))
	set("Requestttlseconds", seconds(q.TTL))
	set("Filename", q.Name)
	if q.Input != Inline {
		set("Inputlocation", "s3://"+bucket+"/"+inputKey(q.ID))
	}
	header, _, err := o.do(ctx, http.MethodPost, "/endpoints/"+q.Endpoint+"/async-invocations", h, body)
	if err != nil {
		return Accepted{}, err
	}
	a := Accepted{
		Output:  strings.TrimPrefix(header.Get("X-Amzn-Sagemaker-Outputlocation"), "s3://"+bucket+"/"),
		Failure: strings.TrimPrefix(header.Get("X-Amzn-Sagemaker-Failurelocation"), "s3://"+bucket+"/"),
	}
	a.Invocation = invocationOf(a, q.Name)
	return a, nil
}

// invocationOf reads the invocation ID out of a location that is named after it;
// "" where none is.
func invocationOf(a Accepted, name string) string {
	if id, ok := strings.CutSuffix(path.Base(a.Failure), "-error.out"); ok {
		return id
	}
	if id, ok := strings.CutSuffix(path.Base(a.Output), ".out"); ok && name == "" {
		return id
	}
	return ""
}

func inputKey(id string) string { return "in/" + id }

func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return strconv.Itoa(int(d / time.Second))
}

// Status is what the server says about an invocation.
type Status struct {
	InvocationID  string
	State         string
	Reason        string
	FailureReason string
	ModelStatus   int
	Attempts      int

	OutputLocation, FailureLocation string
}

// accepted is what a 202 would have promised.
func (s Status) accepted() Accepted {
	key := func(location string) string { return strings.TrimPrefix(location, "s3://"+bucket+"/") }
	return Accepted{Invocation: s.InvocationID, Output: key(s.OutputLocation), Failure: key(s.FailureLocation)}
}

// status asks for an invocation; nil where there is none.
func (o *outside) status(ctx context.Context, endpoint, id string) (*Status, error) {
	_, body, err := o.do(ctx, http.MethodGet, "/endpoints/"+endpoint+"/async-invocations/"+id, nil, nil)
	if r, ok := errors.AsType[*refusal](err); ok && r.Status/100 == 4 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &Status{}
	return s, json.Unmarshal(body, s)
}

// Metrics are the series of /metrics: name with labels to value.
type Metrics map[string]float64

func (o *outside) metrics(ctx context.Context) (Metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.console+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := o.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	m := Metrics{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(line[cut+1:], 64); err == nil {
			m[line[:cut]] = v
		}
	}
	return m, nil
}
