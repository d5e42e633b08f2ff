package conformance

import (
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"

	"github.com/deferd/deferd/conformance/model/journal"
)

// TestUpdate changes an endpoint while it works: nothing that was accepted is
// lost, done twice, or put elsewhere than was promised.
func TestUpdate(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	// The new instance takes its time, so that there is something to see meanwhile.
	c.configure("second", image, map[string]string{"MODEL_SLOW": "2s"})
	c.configure("broken", "local/nothing:1", nil)

	// The first of them runs on the old instance for longer than the update takes.
	accepted := c.invokeMany(200, func(i int) string {
		if i == 0 {
			return "delay=4s"
		}
		return "delay=50ms"
	})
	await(t, "some invocations to run", func() bool { return len(s.journal(journal.End)) > 8 })
	c.update("second")
	whileUpdating := c.invokeBody("accepted while updating")
	if !strings.HasPrefix(*whileUpdating.OutputLocation, "s3://"+bucket+"/out/") {
		t.Errorf("while the endpoint is updated, a result is promised at %s", *whileUpdating.OutputLocation)
	}
	if _, err := c.control.DeleteEndpoint(t.Context(), &sagemaker.DeleteEndpointInput{EndpointName: aws.String(endpoint)}); err == nil ||
		!strings.Contains(err.Error(), "Cannot update in-progress endpoint") {
		t.Errorf("deleting while it is updated: %v", err)
	}
	c.awaitInService(endpoint)
	if got := c.describe(); aws.ToString(got.EndpointConfigName) != "second" || got.PendingDeploymentSummary != nil || got.FailureReason != nil {
		t.Errorf("updated, it has the configuration %q, pending %v, reason %q",
			aws.ToString(got.EndpointConfigName), got.PendingDeploymentSummary, aws.ToString(got.FailureReason))
	}
	after := c.invokeBody("accepted after the update")
	if !strings.HasPrefix(*after.OutputLocation, "s3://"+bucket+"/second/") {
		t.Errorf("after the update a result is promised at %s", *after.OutputLocation)
	}
	for id, out := range accepted {
		if got := c.awaitObject(*out.OutputLocation); string(got.data) != id {
			t.Errorf("the result of %s is %q", id, got.data)
		}
	}
	c.awaitObject(*whileUpdating.OutputLocation)
	c.awaitObject(*after.OutputLocation)
	for id, n := range s.starts() {
		if n != 1 {
			t.Errorf("%s came to a model %d times", id, n)
		}
	}
	s.awaitModels(1)

	t.Run("roll back", func(t *testing.T) {
		c := c.with(t)
		c.update("broken")
		c.awaitInService(endpoint)
		got := c.describe()
		if aws.ToString(got.EndpointConfigName) != "second" || !strings.Contains(aws.ToString(got.FailureReason), "local/nothing:1") {
			t.Errorf("rolled back, it has the configuration %q and the reason %q", aws.ToString(got.EndpointConfigName), aws.ToString(got.FailureReason))
		}
		c.awaitObject(*c.invokeBody("as before").OutputLocation)
		s.awaitModels(1)
	})
	t.Run("no instances, and more", func(t *testing.T) {
		c := c.with(t)
		c.rescale(0)
		c.awaitInService(endpoint)
		s.awaitModels(0)
		out := c.invokeBody("accepted by nobody")
		if got := c.describe().ProductionVariants[0]; *got.CurrentInstanceCount != 0 || *got.DesiredInstanceCount != 0 {
			t.Errorf("it has %d instances and wishes for %d, want none", *got.CurrentInstanceCount, *got.DesiredInstanceCount)
		}
		c.rescale(2)
		c.awaitInService(endpoint)
		c.awaitObject(*out.OutputLocation)
		s.awaitModels(2)
	})
	t.Run("killed while updating", func(t *testing.T) {
		c := c.with(t)
		c.update(endpoint)
		s.kill()
		s.awaitNoModels()
		s.start()
		c = s.client().with(t)
		c.awaitInService(endpoint)
		if got := aws.ToString(c.describe().EndpointConfigName); got != endpoint {
			t.Errorf("after the restart it has the configuration %q, want %q", got, endpoint)
		}
		c.awaitObject(*c.invokeBody("after all").OutputLocation)
		s.awaitModels(1)
	})
}

// configure creates a model of the image and a configuration, both with the
// name, whose results go below it.
func (c *client) configure(name, image string, env map[string]string) {
	c.t.Helper()
	_, err := c.control.CreateModel(c.t.Context(), &sagemaker.CreateModelInput{
		ModelName: &name, PrimaryContainer: &types.ContainerDefinition{Image: &image, Environment: env}, ExecutionRoleArn: aws.String(role),
	})
	c.must("create the model", err)
	_, err = c.control.CreateEndpointConfig(c.t.Context(), &sagemaker.CreateEndpointConfigInput{
		EndpointConfigName: &name,
		ProductionVariants: []types.ProductionVariant{{VariantName: aws.String("AllTraffic"), ModelName: &name, InitialInstanceCount: aws.Int32(1)}},
		AsyncInferenceConfig: &types.AsyncInferenceConfig{
			OutputConfig: &types.AsyncInferenceOutputConfig{S3OutputPath: aws.String("s3://" + bucket + "/" + name)},
		},
	})
	c.must("create the endpoint configuration", err)
}

func (c *client) update(config string) {
	c.t.Helper()
	_, err := c.control.UpdateEndpoint(c.t.Context(), &sagemaker.UpdateEndpointInput{EndpointName: aws.String(endpoint), EndpointConfigName: &config})
	c.must("update the endpoint", err)
}

func (c *client) rescale(n int32) {
	c.t.Helper()
	_, err := c.control.UpdateEndpointWeightsAndCapacities(c.t.Context(), &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{
		EndpointName:                aws.String(endpoint),
		DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: aws.String("AllTraffic"), DesiredInstanceCount: &n}},
	})
	c.must("change the number of instances", err)
}

func (c *client) describe() *sagemaker.DescribeEndpointOutput {
	c.t.Helper()
	out, err := c.control.DescribeEndpoint(c.t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String(endpoint)})
	c.must("describe the endpoint", err)
	return out
}

func (c *client) invokeBody(body string) *sagemakerruntime.InvokeEndpointAsyncOutput {
	c.t.Helper()
	return c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte(body)})
}

// awaitModels waits until n of the models that ever listened still do.
func (s *server) awaitModels(n int) {
	s.t.Helper()
	await(s.t, "the instances that nobody wants to end", func() bool {
		listening := 0
		for _, e := range s.journal(journal.Listening) {
			if c, err := net.Dial("tcp", e.Address); err == nil {
				c.Close()
				listening++
			}
		}
		return listening == n
	})
}
