// Package client asks a deferd server what AWS's API cannot answer: where an
// invocation stands, and which notifications nobody has taken. Everything else is done with AWS's own SDKs.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

// A Config says which server to ask, and as whom.
type Config struct {
	Endpoint    string // base URL, such as http://127.0.0.1:8780
	Region      string // default us-east-1
	Credentials aws.CredentialsProvider
	HTTPClient  *http.Client // nil: http.DefaultClient
}

// A Client is safe for concurrent use.
type Client struct {
	c      Config
	signer *v4.Signer
}

// New returns a client.
func New(c Config) *Client {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.HTTPClient == nil {
		c.HTTPClient = http.DefaultClient
	}
	c.Endpoint = strings.TrimRight(c.Endpoint, "/")
	return &Client{c: c, signer: v4.NewSigner()}
}

// FromEnvironment returns a client that is set up like AWS's SDKs: by
// AWS_ENDPOINT_URL, AWS_REGION, keys, and AWS's configuration files.
func FromEnvironment(ctx context.Context) (*Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if aws.ToString(cfg.BaseEndpoint) == "" {
		return nil, errors.New(`AWS_ENDPOINT_URL is not set; eval "$(deferd env)" sets it`)
	}
	return New(Config{Endpoint: *cfg.BaseEndpoint, Region: cfg.Region, Credentials: cfg.Credentials}), nil
}

// An Invocation is where an invocation stands. Times that have not come are
// zero.
type Invocation struct {
	ID             string    `json:"invocationId"`
	InferenceID    string    `json:"inferenceId"`
	State          string    `json:"state"`    // Queued, Running, Publishing, Completed, Failed, Expired or Cancelled
	Attempts       int       `json:"attempts"` // that counted
	Reason         string    `json:"reason,omitempty"`
	FailureReason  string    `json:"failureReason,omitempty"`
	ModelStatus    int       `json:"modelStatus,omitempty"` // HTTP status of the model's last answer
	Progress       string    `json:"progress,omitempty"`
	Accepted       time.Time `json:"acceptedTime"`
	Claimed        time.Time `json:"claimedTime,omitzero"`
	Settled        time.Time `json:"settledTime,omitzero"`
	Finished       time.Time `json:"finishedTime,omitzero"`
	Input          string    `json:"inputLocation,omitempty"` // "" for an inline body
	Output         string    `json:"outputLocation,omitempty"`
	Failure        string    `json:"failureLocation,omitempty"`
	Variant        string    `json:"variant,omitempty"`
	Instance       string    `json:"instance,omitempty"`
	InlineSize     int64     `json:"inlineSize,omitempty"`  // bytes
	OutcomeSize    int64     `json:"outcomeSize,omitempty"` // bytes
	TTLSeconds     int64     `json:"requestTTLSeconds"`
	TimeoutSeconds int64     `json:"invocationTimeoutSeconds"`
}

// Ended reports whether the invocation has come to its end.
func (i Invocation) Ended() bool {
	switch i.State {
	case "Completed", "Failed", "Expired", "Cancelled":
		return true
	}
	return false
}

// Invocation describes one invocation of an endpoint: by invocation ID, else
// the newest with that inference ID. An *Error with code ResourceNotFound says
// that there is none.
func (c *Client) Invocation(ctx context.Context, endpoint, id string) (Invocation, error) {
	var inv Invocation
	err := c.get(ctx, "/endpoints/"+url.PathEscape(endpoint)+"/async-invocations/"+url.PathEscape(id), nil, &inv)
	return inv, err
}

// Invocations yields an endpoint's invocations, newest first; those in one of
// the states where any are given.
func (c *Client) Invocations(ctx context.Context, endpoint string, states ...string) iter.Seq2[Invocation, error] {
	return func(yield func(Invocation, error) bool) {
		params := url.Values{"maxResults": {"100"}}
		if len(states) > 0 {
			params.Set("state", strings.Join(states, ","))
		}
		for {
			var page struct {
				Invocations []Invocation `json:"invocations"`
				NextToken   string       `json:"nextToken"`
			}
			if err := c.get(ctx, "/endpoints/"+url.PathEscape(endpoint)+"/async-invocations", params, &page); err != nil {
				yield(Invocation{}, err)
				return
			}
			for _, inv := range page.Invocations {
				if !yield(inv, nil) {
					return
				}
			}
			if page.NextToken == "" {
				return
			}
			params.Set("nextToken", page.NextToken)
		}
	}
}

// An Error is a refusal by the server, in AWS's terms.
type Error struct {
	Status  int    // of HTTP
	Code    string // such as ValidationError
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// emptyHash is the SHA-256 of no body.
var emptyHash = hex.EncodeToString(sha256.New().Sum(nil))

func (c *Client) get(ctx context.Context, path string, params url.Values, out any) error {
	return c.send(ctx, http.MethodGet, path, params, out)
}

// send sends a request without a body.
func (c *Client) send(ctx context.Context, method, path string, params url.Values, out any) error {
	target := c.c.Endpoint + path
	if len(params) > 0 {
		target += "?" + params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", target, err)
	}
	keys, err := c.c.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("find credentials: %w", err)
	}
	if err := c.signer.SignHTTP(ctx, keys, req, emptyHash, "sagemaker", c.c.Region, time.Now()); err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	resp, err := c.c.HTTPClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	defer resp.Body.Close()
	const maxAnswer = 16 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(resp, body)
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

func refusal(resp *http.Response, body []byte) error {
	e := &Error{Status: resp.StatusCode, Code: resp.Header.Get("x-amzn-ErrorType"), Message: resp.Status}
	e.Code, _, _ = strings.Cut(e.Code, ":")
	var doc struct{ Message string }
	if json.Unmarshal(body, &doc) == nil && doc.Message != "" {
		e.Message = doc.Message
	}
	return e
}
