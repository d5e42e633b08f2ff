package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/smithy-go"

	"github.com/deferd/deferd/conformance/model/journal"
)

// TestSDK walks through the life of an endpoint with aws-sdk-go-v2.
func TestSDK(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()

	t.Run("invoke", func(t *testing.T) { testInvoke(t, c) })
	t.Run("report", func(t *testing.T) { testReport(t, c) })
	t.Run("failures", func(t *testing.T) { testFailures(t, c) })
	t.Run("refusals", func(t *testing.T) { testRefusals(t, s, c) })
	t.Run("large", func(t *testing.T) { testLarge(t, c) })
	t.Run("concurrency", func(t *testing.T) { testConcurrency(t, s, c) })
	t.Run("delete", func(t *testing.T) { testDelete(t, s, c) })
}

func testInvoke(t *testing.T, c *client) {
	text := []byte("what a model gets")
	plain := c.with(t).upload("in/plain", "", text)
	typed := c.with(t).upload("in/typed.csv", "text/csv", text)
	for _, test := range []struct {
		name        string
		in          sagemakerruntime.InvokeEndpointAsyncInput
		output      string // the key, where it can be told
		contentType string
	}{
		{
			name:        "inline",
			in:          sagemakerruntime.InvokeEndpointAsyncInput{Body: text, ContentType: aws.String("text/plain")},
			contentType: "text/plain",
		},
		{
			name:        "S3",
			in:          sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &plain, ContentType: aws.String("application/json")},
			contentType: "application/json",
		},
		{
			name:        "S3 with the object's type",
			in:          sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &typed},
			contentType: "text/csv",
		},
		{
			name:        "S3 with another type than the object's",
			in:          sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &typed, ContentType: aws.String("text/tab-separated-values")},
			contentType: "text/tab-separated-values",
		},
		{
			name: "filename",
			in: sagemakerruntime.InvokeEndpointAsyncInput{
				Body: text, ContentType: aws.String("text/plain"), Filename: aws.String("result.txt"),
			},
			output:      "out/result.txt",
			contentType: "text/plain",
		},
		{
			name: "output path extension",
			in: sagemakerruntime.InvokeEndpointAsyncInput{
				Body: text, ContentType: aws.String("text/plain"),
				S3OutputPathExtension: aws.String("team/a"), Filename: aws.String("result"),
			},
			output:      "out/team/a/result",
			contentType: "text/plain",
		},
		{
			name: "everything",
			in: sagemakerruntime.InvokeEndpointAsyncInput{
				InputLocation: &plain, ContentType: aws.String("text/plain"), Accept: aws.String("text/html"),
				CustomAttributes: aws.String("chunked=1&type=text/html"), InferenceId: aws.String("my own id"),
				InvocationTimeoutSeconds: aws.Int32(30), RequestTTLSeconds: aws.Int32(60),
			},
			contentType: "text/html",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := c.with(t)
			out := c.invoke(&test.in)
			if out.InferenceId == nil || test.in.InferenceId != nil && *out.InferenceId != *test.in.InferenceId {
				t.Errorf("inference ID %q, want %q", aws.ToString(out.InferenceId), aws.ToString(test.in.InferenceId))
			}
			if test.output != "" {
				if got, want := key(*out.OutputLocation), test.output; got != want {
					t.Errorf("output location %q, want %q", got, want)
				}
			}
			got := c.awaitObject(*out.OutputLocation)
			if string(got.data) != string(text) || got.contentType != test.contentType {
				t.Errorf("got %q of type %q, want %q of type %q", got.data, got.contentType, text, test.contentType)
			}
			if c.exists(*out.FailureLocation) {
				t.Error("there is a failure object too")
			}
		})
	}
}

// testReport looks at an invocation from the model's side.
func testReport(t *testing.T, c *client) {
	c = c.with(t)
	out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{
		Body: []byte("{}"), ContentType: aws.String("application/json"), Accept: aws.String("application/xml"),
		InferenceId: aws.String("seen-by-the-model"), CustomAttributes: aws.String("report=1&attributes=answered"),
	})
	got := c.awaitObject(*out.OutputLocation)
	var rep journal.Report
	if err := json.Unmarshal(got.data, &rep); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type":                       "application/json",
		"Accept":                             "application/xml",
		"X-Amzn-SageMaker-Inference-Id":      "seen-by-the-model",
		"X-Amzn-SageMaker-Custom-Attributes": "report=1&attributes=answered",
	} {
		if got := rep.Header.Get(name); got != want {
			t.Errorf("the model got %s %q, want %q", name, got, want)
		}
	}
	for name := range rep.Header {
		if name == "Authorization" || strings.HasPrefix(name, "X-Amz-") || strings.HasPrefix(name, "Amz-Sdk-") {
			t.Errorf("the model got the caller's header %s", name)
		}
	}
	if got, want := got.metadata["custom-attributes"], "answered"; got != want {
		t.Errorf("custom attributes %q in the output's metadata, want %q", got, want)
	}
}

func testFailures(t *testing.T, c *client) {
	missing := "s3://" + bucket + "/in/missing"
	body := []byte(`{"message":"no"}`)
	for _, test := range []struct {
		name        string
		in          sagemakerruntime.InvokeEndpointAsyncInput
		content     string // what the failure object contains
		contentType string
	}{
		{
			name:        "client error",
			in:          sagemakerruntime.InvokeEndpointAsyncInput{Body: body, CustomAttributes: aws.String("status=400")},
			content:     `{"message":"no"}`,
			contentType: "application/json",
		},
		{
			name:        "server error",
			in:          sagemakerruntime.InvokeEndpointAsyncInput{Body: body, CustomAttributes: aws.String("status=500")},
			content:     `{"message":"no"}`,
			contentType: "application/json",
		},
		{
			name:        "connection closed",
			in:          sagemakerruntime.InvokeEndpointAsyncInput{Body: body, CustomAttributes: aws.String("abort=1")},
			content:     "server error (0)",
			contentType: "text/plain; charset=utf-8",
		},
		{
			name: "timeout",
			in: sagemakerruntime.InvokeEndpointAsyncInput{
				Body: body, CustomAttributes: aws.String("delay=2s"), InvocationTimeoutSeconds: aws.Int32(1),
			},
			content:     "server error (0)",
			contentType: "text/plain; charset=utf-8",
		},
		{
			name:        "input missing",
			in:          sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &missing},
			content:     "NoSuchKey",
			contentType: "text/plain; charset=utf-8",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := c.with(t)
			test.in.ContentType = aws.String("application/json")
			out := c.invoke(&test.in)
			got := c.awaitObject(*out.FailureLocation)
			if !strings.Contains(string(got.data), test.content) || got.contentType != test.contentType {
				t.Errorf("got %q of type %q, want %q of type %q", got.data, got.contentType, test.content, test.contentType)
			}
			if _, ok := c.get(*out.OutputLocation); ok {
				t.Error("there is an output object too")
			}
		})
	}
}

func testRefusals(t *testing.T, s *server, c *client) {
	location := "s3://" + bucket + "/in/plain"
	for _, test := range []struct {
		name          string
		in            sagemakerruntime.InvokeEndpointAsyncInput
		code, message string
	}{
		{
			name: "body and location",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), InputLocation: &location},
			code: "ValidationError",
		},
		{name: "neither", code: "ValidationError"},
		{
			name: "128,001 bytes",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{Body: make([]byte, 128_001)},
			code: "ValidationError",
		},
		{
			name: "unknown endpoint",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{EndpointName: aws.String("nobody"), Body: []byte("x")},
			code: "ValidationError", message: "Endpoint nobody of account 000000000000 not found.",
		},
		{
			name: "long inference ID",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), InferenceId: aws.String(strings.Repeat("i", 65))},
			code: "ValidationError", message: "inferenceId",
		},
		{
			name: "bad filename",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), Filename: aws.String("a.b.c")},
			code: "ValidationError", message: "filename",
		},
		{
			name: "bad extension",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), S3OutputPathExtension: aws.String("s3:x")},
			code: "ValidationError", message: "s3OutputPathExtension",
		},
		{
			name: "bad location",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: aws.String("ftp://host/file")},
			code: "ValidationError", message: "inputLocation",
		},
		{
			name: "short time to live",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), RequestTTLSeconds: aws.Int32(59)},
			code: "ValidationError", message: "greater than or equal to 60",
		},
		{
			name: "long timeout",
			in:   sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), InvocationTimeoutSeconds: aws.Int32(3601)},
			code: "ValidationError", message: "less than or equal to 3600",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.in.EndpointName == nil {
				test.in.EndpointName = aws.String(endpoint)
			}
			_, err := c.runtime.InvokeEndpointAsync(t.Context(), &test.in)
			checkAPIError(t, err, test.code, test.message)
		})
	}
	t.Run("real-time call", func(t *testing.T) {
		_, err := c.runtime.InvokeEndpoint(t.Context(), &sagemakerruntime.InvokeEndpointInput{
			EndpointName: aws.String(endpoint), Body: []byte("x"),
		})
		checkAPIError(t, err, "ValidationError", "does not support this inference type")
	})
	t.Run("wrong secret", func(t *testing.T) {
		cfg := s.awsConfig()
		creds, err := cfg.Credentials.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cfg.Credentials = credentials.NewStaticCredentialsProvider(creds.AccessKeyID, "wrong", "")
		_, err = sagemaker.NewFromConfig(cfg).ListEndpoints(t.Context(), &sagemaker.ListEndpointsInput{})
		checkAPIError(t, err, "InvalidSignatureException", "signature")
	})
	t.Run("unknown key", func(t *testing.T) {
		cfg := s.awsConfig()
		cfg.Credentials = credentials.NewStaticCredentialsProvider("AKIAUNKNOWN000000000", "wrong", "")
		_, err := sagemaker.NewFromConfig(cfg).ListEndpoints(t.Context(), &sagemaker.ListEndpointsInput{})
		checkAPIError(t, err, "UnrecognizedClientException", "security token")
	})
}

func checkAPIError(t *testing.T, err error, code, message string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Fatalf("got %v, want the error %s", err, code)
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("got %s: %q, want %s: …%s…", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
}

// testLarge sends and gets more than is ever kept in memory whole.
func testLarge(t *testing.T, c *client) {
	c = c.with(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	location := c.upload("in/large", "application/octet-stream", data)
	for _, attributes := range []string{"", "chunked=1", "status=500"} {
		out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &location, CustomAttributes: nonEmpty(attributes)})
		where := out.OutputLocation
		if attributes == "status=500" {
			where = out.FailureLocation
		}
		if got := c.awaitObject(*where); !bytes.Equal(got.data, data) {
			t.Errorf("attributes %q: got %d bytes, want the same %d as were sent", attributes, len(got.data), len(data))
		}
	}
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// testConcurrency lets the model count how many invocations it has at a time.
// Two of them time out, and keep the model busy for longer than that.
func testConcurrency(t *testing.T, s *server, c *client) {
	c = c.with(t)
	var late []string
	for range 2 {
		out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{
			Body: []byte("x"), CustomAttributes: aws.String("delay=3s"), InvocationTimeoutSeconds: aws.Int32(1),
		})
		late = append(late, *out.FailureLocation)
	}
	for _, l := range late {
		c.awaitObject(l)
	}
	var locations []string
	for range 24 {
		out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), CustomAttributes: aws.String("delay=100ms")})
		locations = append(locations, *out.OutputLocation)
	}
	for _, l := range locations {
		c.awaitObject(l)
	}
	most := 0
	for _, e := range s.journal(journal.Start) {
		most = max(most, e.Running)
	}
	if got, want := most, 4; got != want {
		t.Errorf("at most %d invocations ran at a time, want %d", got, want)
	}
}

func testDelete(t *testing.T, s *server, c *client) {
	c = c.with(t)
	ctx := t.Context()
	name := aws.String(endpoint)
	_, err := c.control.DeleteEndpoint(ctx, &sagemaker.DeleteEndpointInput{EndpointName: name})
	c.must("delete the endpoint", err)
	waiter := sagemaker.NewEndpointDeletedWaiter(c.control, func(o *sagemaker.EndpointDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*tick, 10*tick
	})
	c.must("wait for its end", waiter.Wait(ctx, &sagemaker.DescribeEndpointInput{EndpointName: name}, patience))
	_, err = c.control.DeleteEndpointConfig(ctx, &sagemaker.DeleteEndpointConfigInput{EndpointConfigName: name})
	c.must("delete the configuration", err)
	_, err = c.control.DeleteModel(ctx, &sagemaker.DeleteModelInput{ModelName: name})
	c.must("delete the model", err)
	_, err = c.control.DescribeEndpoint(ctx, &sagemaker.DescribeEndpointInput{EndpointName: name})
	checkAPIError(t, err, "ValidationException", "Could not find endpoint")
	_, err = c.runtime.InvokeEndpointAsync(ctx, &sagemakerruntime.InvokeEndpointAsyncInput{EndpointName: name, Body: []byte("x")})
	checkAPIError(t, err, "ValidationError", "not found")
	s.t = t
	s.awaitNoModels()
}
