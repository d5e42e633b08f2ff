package conformance

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	sagemakertypes "github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/deferd/deferd/conformance/model/journal"
)

const scaledResource = "endpoint/" + endpoint + "/variant/AllTraffic"

// A scaler drives Application Auto Scaling, as its users do.
type scaler struct {
	*client
	auto *applicationautoscaling.Client
}

func (s *server) scaler(c *client) *scaler {
	s.t.Helper()
	return &scaler{c, applicationautoscaling.NewFromConfig(s.awsConfig())}
}

func (s *scaler) register(lowest, highest int32) *applicationautoscaling.RegisterScalableTargetOutput {
	s.t.Helper()
	out, err := s.auto.RegisterScalableTarget(s.t.Context(), &applicationautoscaling.RegisterScalableTargetInput{
		ServiceNamespace: types.ServiceNamespaceSagemaker, ResourceId: aws.String(scaledResource),
		ScalableDimension: types.ScalableDimensionSageMakerVariantDesiredInstanceCount,
		MinCapacity:       &lowest, MaxCapacity: &highest,
	})
	s.must("register the target", err)
	return out
}

// track puts the policy of AWS's guide, with cooldowns of a second.
func (s *scaler) track(backlog float64) *applicationautoscaling.PutScalingPolicyOutput {
	s.t.Helper()
	out, err := s.auto.PutScalingPolicy(s.t.Context(), &applicationautoscaling.PutScalingPolicyInput{
		PolicyName: aws.String("backlog"), PolicyType: types.PolicyTypeTargetTrackingScaling,
		ServiceNamespace: types.ServiceNamespaceSagemaker, ResourceId: aws.String(scaledResource),
		ScalableDimension: types.ScalableDimensionSageMakerVariantDesiredInstanceCount,
		TargetTrackingScalingPolicyConfiguration: &types.TargetTrackingScalingPolicyConfiguration{
			TargetValue: &backlog,
			CustomizedMetricSpecification: &types.CustomizedMetricSpecification{
				MetricName: aws.String("ApproximateBacklogSizePerInstance"), Namespace: aws.String("AWS/SageMaker"), Statistic: types.MetricStatisticAverage,
				Dimensions: []types.MetricDimension{{Name: aws.String("EndpointName"), Value: aws.String(endpoint)}},
			},
			ScaleInCooldown: aws.Int32(1), ScaleOutCooldown: aws.Int32(1),
		},
	})
	s.must("put the policy", err)
	return out
}

// activities are the target's, the latest first.
func (s *scaler) activities() []types.ScalingActivity {
	s.t.Helper()
	var all []types.ScalingActivity
	pages := applicationautoscaling.NewDescribeScalingActivitiesPaginator(s.auto, &applicationautoscaling.DescribeScalingActivitiesInput{
		ServiceNamespace: types.ServiceNamespaceSagemaker, ResourceId: aws.String(scaledResource), MaxResults: aws.Int32(2),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.t.Context())
		s.must("describe the activities", err)
		all = append(all, page.ScalingActivities...)
	}
	return all
}

// maxWake is how long a request may wait for the start of the first instance,
// beside what that takes itself.
const maxWake = time.Second

// TestScalesToZeroAndBack has an endpoint come to zero, wake for a request, grow
// with a burst, and come to zero again.
func TestScalesToZeroAndBack(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.args = []string{"--scaling-period", "300ms"}
	s.start()
	c := s.client()
	c.deploy()
	scaling := s.scaler(c)
	scaling.register(0, 3)
	scaling.track(5)
	s.awaitModels(0)
	c.awaitInService(endpoint)
	if got := *c.describe().ProductionVariants[0].DesiredInstanceCount; got != 0 {
		t.Errorf("at rest there are to be %d instances, want 0", got)
	}

	before := len(s.journal(journal.Listening))
	asked := time.Now()
	out := c.invokeBody("good morning")
	c.awaitObject(*out.OutputLocation)
	answered := time.Since(asked)
	listening := s.journal(journal.Listening)
	if len(listening) <= before {
		t.Fatal("no instance was started")
	}
	woke := listening[before].Time.Sub(asked)
	t.Logf("from the request to the model's first sign of life: %v; to the result: %v", woke.Round(time.Millisecond), answered.Round(time.Millisecond))
	if woke > maxWake {
		t.Errorf("the instance was there %v after the request, want %v", woke, maxWake)
	}

	accepted := c.invokeMany(100, func(int) string { return "delay=100ms" })
	s.awaitModels(3)
	for id, out := range accepted {
		if got := c.awaitObject(*out.OutputLocation); string(got.data) != id {
			t.Errorf("the result of %s is %q", id, got.data)
		}
	}
	s.awaitModels(0)
	for id, n := range s.starts() {
		if n != 1 {
			t.Errorf("%s came to a model %d times: an instance was stopped with work on it", id, n)
		}
	}
	c.awaitInService(endpoint)
	var causes []string
	for _, a := range slices.Backward(scaling.activities()) {
		causes = append(causes, aws.ToString(a.Cause))
		if a.StatusCode == types.ScalingActivityStatusCodeFailed {
			t.Errorf("%s: %s", *a.Description, *a.StatusMessage)
		}
		t.Logf("%s %s %s %s", a.StartTime.Format(time.StampMilli), a.StatusCode, *a.Description, *a.Cause)
	}
	i := 0
	for _, want := range []string{"AlarmLow", "1 request waited and there was no instance", "AlarmHigh", "AlarmLow"} {
		n := slices.IndexFunc(causes[i:], func(c string) bool { return strings.Contains(c, want) })
		if n < 0 {
			t.Fatalf("after %q nothing has the cause %q", causes[:i], want)
		}
		i += n + 1
	}
}

// TestManagedScaling has an endpoint that begins without an instance.
func TestManagedScaling(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	_, err := c.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	c.must("create the bucket", err)
	name := aws.String(endpoint)
	_, err = c.control.CreateModel(t.Context(), &sagemaker.CreateModelInput{
		ModelName: name, PrimaryContainer: &sagemakertypes.ContainerDefinition{Image: aws.String(image)}, ExecutionRoleArn: aws.String(role),
	})
	c.must("create the model", err)
	_, err = c.control.CreateEndpointConfig(t.Context(), &sagemaker.CreateEndpointConfigInput{
		EndpointConfigName: name,
		ProductionVariants: []sagemakertypes.ProductionVariant{{
			VariantName: aws.String("AllTraffic"), ModelName: name,
			ManagedInstanceScaling: &sagemakertypes.ProductionVariantManagedInstanceScaling{
				Status: sagemakertypes.ManagedInstanceScalingStatusEnabled, MinInstanceCount: aws.Int32(0), MaxInstanceCount: aws.Int32(2),
			},
		}},
		AsyncInferenceConfig: &sagemakertypes.AsyncInferenceConfig{
			OutputConfig: &sagemakertypes.AsyncInferenceOutputConfig{S3OutputPath: aws.String("s3://" + bucket + "/out")},
		},
	})
	c.must("create the endpoint configuration", err)
	_, err = c.control.CreateEndpoint(t.Context(), &sagemaker.CreateEndpointInput{EndpointName: name, EndpointConfigName: name})
	c.must("create the endpoint", err)
	c.awaitInService(endpoint)
	if n := len(s.journal(journal.Listening)); n != 0 {
		t.Errorf("%d instances were started before there was any work", n)
	}
	c.awaitObject(*c.invokeBody("good morning").OutputLocation)
	s.awaitModels(1)
}

// TestScalingByGo drives each operation with the Go SDK.
func TestScalingByGo(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.deploy()
	a := s.scaler(c)
	ctx := t.Context()
	arn := a.register(0, 5).ScalableTargetARN
	put := a.track(5)
	if len(put.Alarms) != 2 || !strings.HasPrefix(*put.Alarms[0].AlarmName, "TargetTracking-"+scaledResource+"-AlarmHigh-") {
		t.Errorf("the policy has the alarms %v", put.Alarms)
	}
	_, err := a.auto.TagResource(ctx, &applicationautoscaling.TagResourceInput{ResourceARN: arn, Tags: map[string]string{"a": "1", "b": "2"}})
	a.must("tag the target", err)
	_, err = a.auto.UntagResource(ctx, &applicationautoscaling.UntagResourceInput{ResourceARN: arn, TagKeys: []string{"a"}})
	a.must("untag the target", err)
	tags, err := a.auto.ListTagsForResource(ctx, &applicationautoscaling.ListTagsForResourceInput{ResourceARN: arn})
	a.must("list the tags", err)
	if len(tags.Tags) != 1 || tags.Tags["b"] != "2" {
		t.Errorf("the tags are %v", tags.Tags)
	}
	targets, err := a.auto.DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{
		ServiceNamespace: types.ServiceNamespaceSagemaker, ResourceIds: []string{scaledResource},
	})
	a.must("describe the targets", err)
	if got := targets.ScalableTargets[0]; *got.ScalableTargetARN != *arn || *got.MinCapacity != 0 || *got.MaxCapacity != 5 || *got.SuspendedState.DynamicScalingInSuspended {
		t.Errorf("the target is %+v", got)
	}
	policies, err := a.auto.DescribeScalingPolicies(ctx, &applicationautoscaling.DescribeScalingPoliciesInput{ServiceNamespace: types.ServiceNamespaceSagemaker})
	a.must("describe the policies", err)
	if got := policies.ScalingPolicies[0]; *got.PolicyARN != *put.PolicyARN || *got.TargetTrackingScalingPolicyConfiguration.TargetValue != 5 {
		t.Errorf("the policy is %+v", got)
	}
	dimension, id, namespace := types.ScalableDimensionSageMakerVariantDesiredInstanceCount, aws.String(scaledResource), types.ServiceNamespaceSagemaker
	_, err = a.auto.DeleteScalingPolicy(ctx, &applicationautoscaling.DeleteScalingPolicyInput{
		PolicyName: aws.String("backlog"), ResourceId: id, ScalableDimension: dimension, ServiceNamespace: namespace,
	})
	a.must("delete the policy", err)
	deregister := &applicationautoscaling.DeregisterScalableTargetInput{ResourceId: id, ScalableDimension: dimension, ServiceNamespace: namespace}
	_, err = a.auto.DeregisterScalableTarget(ctx, deregister)
	a.must("deregister the target", err)
	_, err = a.auto.DeregisterScalableTarget(ctx, deregister)
	if missing := (*types.ObjectNotFoundException)(nil); !errors.As(err, &missing) {
		t.Errorf("deregistered again: %v", err)
	}
	_, err = a.auto.ListTagsForResource(ctx, &applicationautoscaling.ListTagsForResourceInput{ResourceARN: arn})
	if missing := (*types.ResourceNotFoundException)(nil); !errors.As(err, &missing) {
		t.Errorf("the tags of what is gone: %v", err)
	}
}

// TestScalingByPython drives each operation with boto3.
func TestScalingByPython(t *testing.T) {
	t.Parallel()
	python := boto3Python(t)
	s := startServer(t)
	c := s.client()
	c.deploy()
	cmd := exec.CommandContext(t.Context(), python, "python/scaling.py", scaledResource)
	cmd.Env = append(s.environment(), "HOME="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1", "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "all of it works") {
		t.Errorf("%v\n%s", err, out)
	}
	s.awaitModels(0) // the policies are gone, but it waited until there was no instance
}

// TestScalingByJS drives each operation with the SDK for JavaScript.
func TestScalingByJS(t *testing.T) {
	t.Parallel()
	js := jsProgram(t, "scaling.js")
	s := startServer(t)
	s.client().deploy()
	js.run(s, scaledResource)
	s.awaitModels(0)
}
