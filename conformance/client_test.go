package conformance

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

const (
	bucket   = "work"
	endpoint = "echo"
	role     = "arn:aws:iam::000000000000:role/conformance"
)

// A client is what a user of AWS has: the clients of its Go SDK, made from the
// environment and nothing else.
type client struct {
	t       *testing.T
	control *sagemaker.Client
	runtime *sagemakerruntime.Client
	s3      *s3.Client
}

// client returns a client of the server at its present address.
func (s *server) client() *client {
	s.t.Helper()
	cfg := s.awsConfig()
	return &client{s.t, sagemaker.NewFromConfig(cfg), sagemakerruntime.NewFromConfig(cfg), s3.NewFromConfig(cfg)}
}

// with returns the same client for the subtest t.
func (c *client) with(t *testing.T) *client {
	d := *c
	d.t = t
	return &d
}

// deploy creates a bucket and an endpoint of the test model, and waits for the
// endpoint as AWS's waiter does.
func (c *client) deploy(adjust ...func(*types.ContainerDefinition)) {
	c.t.Helper()
	_, err := c.s3.CreateBucket(c.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	c.must("create the bucket", err)
	c.create(endpoint, adjust...)
	c.awaitInService(endpoint)
}

// create creates a model, a configuration and an endpoint, all with the name.
func (c *client) create(name string, adjust ...func(*types.ContainerDefinition)) {
	c.t.Helper()
	ctx := c.t.Context()
	container := &types.ContainerDefinition{Image: aws.String(image)}
	for _, f := range adjust {
		f(container)
	}
	_, err := c.control.CreateModel(ctx, &sagemaker.CreateModelInput{
		ModelName: &name, PrimaryContainer: container, ExecutionRoleArn: aws.String(role),
	})
	c.must("create the model", err)
	_, err = c.control.CreateEndpointConfig(ctx, &sagemaker.CreateEndpointConfigInput{
		EndpointConfigName: &name,
		ProductionVariants: []types.ProductionVariant{{
			VariantName: aws.String("AllTraffic"), ModelName: &name,
			InitialInstanceCount: aws.Int32(1), InstanceType: types.ProductionVariantInstanceTypeMlM5Large,
			ContainerStartupHealthCheckTimeoutInSeconds: aws.Int32(60),
		}},
		AsyncInferenceConfig: &types.AsyncInferenceConfig{
			ClientConfig: &types.AsyncInferenceClientConfig{MaxConcurrentInvocationsPerInstance: aws.Int32(4)},
			OutputConfig: &types.AsyncInferenceOutputConfig{
				S3OutputPath:  aws.String("s3://" + bucket + "/out"),
				S3FailurePath: aws.String("s3://" + bucket + "/failed"),
			},
		},
	})
	c.must("create the endpoint configuration", err)
	_, err = c.control.CreateEndpoint(ctx, &sagemaker.CreateEndpointInput{EndpointName: &name, EndpointConfigName: &name})
	c.must("create the endpoint", err)
}

func (c *client) awaitInService(name string) {
	c.t.Helper()
	waiter := sagemaker.NewEndpointInServiceWaiter(c.control, func(o *sagemaker.EndpointInServiceWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*tick, 10*tick
	})
	c.must("wait for the endpoint", waiter.Wait(c.t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: &name}, patience))
}

// awaitFailed waits until the endpoint is Failed and returns why.
func (c *client) awaitFailed(name string) string {
	c.t.Helper()
	var reason string
	await(c.t, "endpoint "+name+" to fail", func() bool {
		out, err := c.control.DescribeEndpoint(c.t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: &name})
		c.must("describe the endpoint", err)
		if out.EndpointStatus == types.EndpointStatusInService {
			c.t.Fatalf("endpoint %s is in service", name)
		}
		reason = aws.ToString(out.FailureReason)
		return out.EndpointStatus == types.EndpointStatusFailed
	})
	return reason
}

// upload puts data at the key and returns its location.
func (c *client) upload(key, contentType string, data []byte) string {
	c.t.Helper()
	in := &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(data)}
	if contentType != "" {
		in.ContentType = &contentType
	}
	_, err := c.s3.PutObject(c.t.Context(), in)
	c.must("upload "+key, err)
	return "s3://" + bucket + "/" + key
}

func (c *client) invoke(in *sagemakerruntime.InvokeEndpointAsyncInput) *sagemakerruntime.InvokeEndpointAsyncOutput {
	c.t.Helper()
	in.EndpointName = aws.String(endpoint)
	out, err := c.runtime.InvokeEndpointAsync(c.t.Context(), in)
	c.must("invoke the endpoint", err)
	return out
}

// An object is what was found in S3.
type object struct {
	data        []byte
	contentType string
	metadata    map[string]string
}

// get returns the object at the location, or false where there is none, the
// way AWS's notebooks ask.
func (c *client) get(location string) (object, bool) {
	c.t.Helper()
	u, err := url.Parse(location)
	c.must("read the location", err)
	out, err := c.s3.GetObject(c.t.Context(), &s3.GetObjectInput{Bucket: &u.Host, Key: aws.String(u.Path[1:])})
	if _, missing := errors.AsType[*s3types.NoSuchKey](err); missing {
		return object{}, false
	}
	c.must("get "+location, err)
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	c.must("read "+location, err)
	return object{data, aws.ToString(out.ContentType), out.Metadata}, true
}

// exists asks the same with HeadObject, whose answer to a missing key is a bare
// 404.
func (c *client) exists(location string) bool {
	c.t.Helper()
	u, err := url.Parse(location)
	c.must("read the location", err)
	_, err = c.s3.HeadObject(c.t.Context(), &s3.HeadObjectInput{Bucket: &u.Host, Key: aws.String(u.Path[1:])})
	if _, missing := errors.AsType[*s3types.NotFound](err); missing {
		return false
	}
	c.must("head "+location, err)
	return true
}

// awaitObject polls until there is an object at the location, as clients of
// SageMaker do.
func (c *client) awaitObject(location string) object {
	c.t.Helper()
	var found object
	await(c.t, location, func() (ok bool) {
		found, ok = c.get(location)
		return ok
	})
	return found
}

// list returns the keys below the prefix, and when each was written.
func (c *client) list(prefix string) map[string]time.Time {
	c.t.Helper()
	keys := map[string]time.Time{}
	pages := s3.NewListObjectsV2Paginator(c.s3, &s3.ListObjectsV2Input{
		Bucket: aws.String(bucket), Prefix: &prefix, MaxKeys: aws.Int32(100),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(c.t.Context())
		c.must("list "+prefix, err)
		for _, o := range page.Contents {
			keys[*o.Key] = *o.LastModified
		}
	}
	return keys
}

func (c *client) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// key returns the key of a location in the bucket.
func key(location string) string { return strings.TrimPrefix(location, "s3://"+bucket+"/") }
