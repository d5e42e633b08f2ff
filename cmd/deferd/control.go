package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// call performs an operation of SageMaker's control plane. AWS's own client
// for it would do the same, but costs the program 4 MB and every start 10 MB of
// memory for its 400 operations.
func (s *site) call(ctx context.Context, operation string, in, out any) error {
	return s.callService(ctx, sageMaker, "SageMaker", operation, in, out)
}

// callService performs an operation of a service that speaks JSON.
func (s *site) callService(ctx context.Context, of service, target, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := s.send(ctx, of, operation, string(body), http.Header{
		"Content-Type": {"application/x-amz-json-1.1"},
		"X-Amz-Target": {target + "." + operation},
	})
	if err != nil || out == nil || len(answer) == 0 {
		return err
	}
	return json.Unmarshal(answer, out)
}

// query performs an operation of a service that speaks XML.
func (s *site) query(ctx context.Context, of service, version, operation string, params url.Values, out any) error {
	form := url.Values{"Action": {operation}, "Version": {version}}
	maps.Copy(form, params)
	answer, err := s.send(ctx, of, operation, form.Encode(), http.Header{
		"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"},
	})
	if err != nil || out == nil {
		return err
	}
	return xml.Unmarshal(answer, out)
}

const (
	tries     = 4
	maxAnswer = 8 << 20
)

// send signs and sends a request, again where the service is busy, and returns
// the answer. A refusal is an *apiError.
func (s *site) send(ctx context.Context, of service, operation, body string, header http.Header) ([]byte, error) {
	pause := backoff{200 * time.Millisecond, 2 * time.Second}
	again := false
	for try := 1; ; try++ {
		answer, err := s.sendOnce(ctx, of, operation, body, header)
		e, refused := asAPIError(err)
		if refused {
			e.again = again
			again = again || e.status >= http.StatusInternalServerError
		}
		if !refused || !e.passing() || try == tries {
			return answer, err
		}
		if err := pause.wait(ctx); err != nil {
			return nil, err
		}
	}
}

func (s *site) sendOnce(ctx context.Context, of service, operation, body string, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url(of)+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	keys, err := s.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("find credentials: %w", err)
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(sum[:]), of.scope, s.signingRegion(of), time.Now()); err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	resp, err := s.http().Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(operation, resp, answer)
	}
	return answer, nil
}

// refusal reads an error in JSON or XML.
func refusal(operation string, resp *http.Response, body []byte) error {
	var doc struct {
		Type    string `json:"__type" xml:"Error>Code"`
		Message string `json:"message" xml:"Error>Message"`
	}
	if json.Unmarshal(body, &doc) != nil {
		_ = xml.Unmarshal(body, &doc) // what is neither says nothing
	}
	code := cmp.Or(doc.Type, resp.Header.Get("x-amzn-ErrorType"))
	code, _, _ = strings.Cut(code, ":")
	code = code[strings.LastIndexByte(code, '#')+1:]
	return &apiError{operation: operation, code: cmp.Or(code, resp.Status), msg: cmp.Or(doc.Message, resp.Status), status: resp.StatusCode}
}

type object = map[string]any

// An endpointDescription is what DescribeEndpoint says.
type endpointDescription struct {
	EndpointName       string
	EndpointStatus     string
	EndpointConfigName string
	FailureReason      string
	CreationTime       float64
	LastModifiedTime   float64
	ProductionVariants []struct {
		VariantName                                string
		CurrentInstanceCount, DesiredInstanceCount int
	}
}

func (s *site) describeEndpoint(ctx context.Context, name string) (e endpointDescription, err error) {
	err = s.call(ctx, "DescribeEndpoint", object{"EndpointName": name}, &e)
	return e, err
}

// A configDescription is what DescribeEndpointConfig says.
type configDescription struct {
	ProductionVariants []struct {
		VariantName, ModelName, InstanceType string
		InitialInstanceCount                 int
	}
	AsyncInferenceConfig struct {
		ClientConfig struct{ MaxConcurrentInvocationsPerInstance int }
		OutputConfig struct{ S3OutputPath, S3FailurePath string }
	}
}

func (s *site) describeConfig(ctx context.Context, name string) (c configDescription, err error) {
	err = s.call(ctx, "DescribeEndpointConfig", object{"EndpointConfigName": name}, &c)
	return c, err
}

// models are the names of a configuration's models.
func (c configDescription) models() []string {
	var names []string
	for _, v := range c.ProductionVariants {
		if v.ModelName != "" {
			names = append(names, v.ModelName)
		}
	}
	return names
}

// An endpointSummary is one of those that ListEndpoints lists.
type endpointSummary struct {
	EndpointName, EndpointStatus   string
	CreationTime, LastModifiedTime float64
}

// listEndpoints lists the endpoints whose names contain text, by name; at most
// limit unless that is 0.
func (s *site) listEndpoints(ctx context.Context, text string, limit int) ([]endpointSummary, error) {
	all := []endpointSummary{}
	in := object{"SortBy": "Name", "SortOrder": "Ascending", "MaxResults": 100}
	if text != "" {
		in["NameContains"] = text
	}
	for {
		var page struct {
			Endpoints []endpointSummary
			NextToken string
		}
		if err := s.call(ctx, "ListEndpoints", in, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Endpoints...)
		if limit > 0 && len(all) >= limit {
			return all[:limit], nil
		}
		if page.NextToken == "" {
			return all, nil
		}
		in["NextToken"] = page.NextToken
	}
}

// awsTime reads a time as the control plane writes it.
func awsTime(seconds float64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(seconds * 1000))
}

// newSite is a site that is known in full.
func newSite(cfg aws.Config) *site { return &site{cfg: cfg} }
