package conformance

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A terraform makes the calls that Terraform's provider makes: after each
// creation it reads, and what it reads and did not write is a drift, which it
// would want to mend at each run.
type terraform struct {
	*scaler
	arns []*string // of what was made, whose tags are read each time
}

// ignored is what no plan has: what AWS adds itself, and how the SDK keeps
// structures.
var ignored = cmp.Options{
	cmpopts.EquateEmpty(), // of lists: a plan has none
	cmpopts.IgnoreTypes(middleware.Metadata{}),
	cmpopts.IgnoreFields(sagemaker.DescribeModelOutput{}, "CreationTime", "ModelArn"),
	cmpopts.IgnoreFields(sagemaker.DescribeEndpointConfigOutput{}, "CreationTime", "EndpointConfigArn"),
	cmpopts.IgnoreUnexported(
		sagemaker.DescribeModelOutput{}, sagemaker.DescribeEndpointConfigOutput{}, types.ContainerDefinition{}, types.ProductionVariant{},
		types.AsyncInferenceConfig{}, types.AsyncInferenceClientConfig{}, types.AsyncInferenceOutputConfig{}, types.AsyncInferenceNotificationConfig{},
		types.Tag{}, scaling.TargetTrackingScalingPolicyConfiguration{}, scaling.CustomizedMetricSpecification{}, scaling.MetricDimension{},
		scaling.StepScalingPolicyConfiguration{}, scaling.StepAdjustment{}, scaling.SuspendedState{},
	),
}

// TestTerraform applies a plan of all that an asynchronous endpoint needs, reads
// it again, changes it, and destroys it.
func TestTerraform(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	who, err := sts.NewFromConfig(s.awsConfig()).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *who.Account != "000000000000" {
		t.Fatalf("the account is %v, %v", who, err)
	}
	tf := &terraform{scaler: s.scaler(s.client())}
	tf.absent()
	tf.applyModel()
	tf.applyConfig("first", 1)
	tf.applyEndpoint()
	tf.applyScaling()
	tf.changeTags()
	tf.changeConfig()
	tf.destroy()
	s.awaitNoModels()
}

// absent reads what is not there yet. Its absence is told by the text alone.
func (tf *terraform) absent() {
	tf.t.Helper()
	ctx, name := tf.t.Context(), aws.String(endpoint)
	_, err := tf.control.DescribeModel(ctx, &sagemaker.DescribeModelInput{ModelName: name})
	checkAPIError(tf.t, err, "ValidationException", "Could not find model")
	_, err = tf.control.DescribeEndpointConfig(ctx, &sagemaker.DescribeEndpointConfigInput{EndpointConfigName: name})
	checkAPIError(tf.t, err, "ValidationException", "Could not find endpoint configuration")
	_, err = tf.control.DescribeEndpoint(ctx, &sagemaker.DescribeEndpointInput{EndpointName: name})
	checkAPIError(tf.t, err, "ValidationException", "Could not find endpoint")
}

var plannedTags = []types.Tag{{Key: aws.String("Name"), Value: aws.String("planned")}}

func (tf *terraform) applyModel() {
	tf.t.Helper()
	name := aws.String(endpoint)
	container := &types.ContainerDefinition{Image: aws.String(image), Mode: types.ContainerModeSingleModel}
	made, err := tf.control.CreateModel(tf.t.Context(), &sagemaker.CreateModelInput{
		ModelName: name, ExecutionRoleArn: aws.String(role), PrimaryContainer: container,
		EnableNetworkIsolation: aws.Bool(false), Tags: plannedTags,
	})
	tf.must("create the model", err)
	got, err := tf.control.DescribeModel(tf.t.Context(), &sagemaker.DescribeModelInput{ModelName: name})
	tf.must("describe the model", err)
	want := &sagemaker.DescribeModelOutput{
		ModelName: name, ExecutionRoleArn: aws.String(role), PrimaryContainer: container, EnableNetworkIsolation: aws.Bool(false),
	}
	tf.same("the model", got, want)
	tf.made(made.ModelArn, plannedTags)
}

// applyConfig creates a configuration. Those never change: another one is made.
func (tf *terraform) applyConfig(name string, instances int32) {
	tf.t.Helper()
	variants := []types.ProductionVariant{{
		VariantName: aws.String("AllTraffic"), ModelName: aws.String(endpoint), InitialInstanceCount: &instances,
		InstanceType: types.ProductionVariantInstanceTypeMlM5Large, InitialVariantWeight: aws.Float32(1), EnableSSMAccess: aws.Bool(false),
	}}
	async := &types.AsyncInferenceConfig{
		ClientConfig: &types.AsyncInferenceClientConfig{MaxConcurrentInvocationsPerInstance: aws.Int32(4)},
		OutputConfig: &types.AsyncInferenceOutputConfig{S3OutputPath: aws.String("s3://" + bucket + "/out")},
	}
	made, err := tf.control.CreateEndpointConfig(tf.t.Context(), &sagemaker.CreateEndpointConfigInput{
		EndpointConfigName: &name, ProductionVariants: variants, AsyncInferenceConfig: async, Tags: plannedTags,
	})
	tf.must("create the configuration", err)
	got, err := tf.control.DescribeEndpointConfig(tf.t.Context(), &sagemaker.DescribeEndpointConfigInput{EndpointConfigName: &name})
	tf.must("describe the configuration", err)
	want := &sagemaker.DescribeEndpointConfigOutput{EndpointConfigName: &name, ProductionVariants: variants, AsyncInferenceConfig: async}
	tf.same("the configuration", got, want)
	tf.made(made.EndpointConfigArn, plannedTags)
}

func (tf *terraform) applyEndpoint() {
	tf.t.Helper()
	name := aws.String(endpoint)
	made, err := tf.control.CreateEndpoint(tf.t.Context(), &sagemaker.CreateEndpointInput{
		EndpointName: name, EndpointConfigName: aws.String("first"), Tags: plannedTags,
	})
	tf.must("create the endpoint", err)
	tf.awaitInService(endpoint)
	got := tf.describe()
	if *got.EndpointArn != *made.EndpointArn || *got.EndpointConfigName != "first" || got.LastDeploymentConfig != nil {
		tf.t.Errorf("the endpoint is %s of %s with the deployment %v", *got.EndpointArn, *got.EndpointConfigName, got.LastDeploymentConfig)
	}
	if got.DataCaptureConfig != nil || got.ExplainerConfig != nil || got.ShadowProductionVariants != nil || got.PendingDeploymentSummary != nil {
		tf.t.Errorf("the endpoint has what was never asked for: %+v", got)
	}
	tf.made(made.EndpointArn, plannedTags)
}

// made reads the tags of what was made, as is done after each reading.
func (tf *terraform) made(arn *string, want []types.Tag) {
	tf.t.Helper()
	tf.arns = append(tf.arns, arn)
	tf.hasTags(arn, want)
}

func (tf *terraform) hasTags(arn *string, want []types.Tag) {
	tf.t.Helper()
	out, err := tf.control.ListTags(tf.t.Context(), &sagemaker.ListTagsInput{ResourceArn: arn})
	tf.must("list the tags", err)
	tf.same("the tags of "+*arn, out.Tags, want)
}

func (tf *terraform) same(what string, got, want any) {
	tf.t.Helper()
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		tf.t.Errorf("%s drifts (-planned +read):\n%s", what, diff)
	}
}

func (tf *terraform) applyScaling() {
	tf.t.Helper()
	ctx := tf.t.Context()
	registered := tf.register(1, 2)
	targets, err := tf.auto.DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{
		ServiceNamespace: scaling.ServiceNamespaceSagemaker, ResourceIds: []string{scaledResource},
		ScalableDimension: scaling.ScalableDimensionSageMakerVariantDesiredInstanceCount,
	})
	tf.must("describe the target", err)
	if len(targets.ScalableTargets) != 1 {
		tf.t.Fatalf("there are %d targets, want 1", len(targets.ScalableTargets))
	}
	target := targets.ScalableTargets[0]
	if *target.MinCapacity != 1 || *target.MaxCapacity != 2 || *target.ScalableTargetARN != *registered.ScalableTargetARN ||
		!strings.HasSuffix(*target.RoleARN, "/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint") {
		tf.t.Errorf("the target is %+v", target)
	}
	no := aws.Bool(false)
	tf.same("the target's suspension", target.SuspendedState, &scaling.SuspendedState{
		DynamicScalingInSuspended: no, DynamicScalingOutSuspended: no, ScheduledScalingSuspended: no,
	})
	tags, err := tf.auto.ListTagsForResource(ctx, &applicationautoscaling.ListTagsForResourceInput{ResourceARN: target.ScalableTargetARN})
	tf.must("list the target's tags", err)
	if len(tags.Tags) != 0 {
		tf.t.Errorf("the target has the tags %v", tags.Tags)
	}
	tf.applyPolicy(&applicationautoscaling.PutScalingPolicyInput{
		PolicyName: aws.String("tracking"), PolicyType: scaling.PolicyTypeTargetTrackingScaling,
		TargetTrackingScalingPolicyConfiguration: &scaling.TargetTrackingScalingPolicyConfiguration{
			TargetValue: aws.Float64(5),
			CustomizedMetricSpecification: &scaling.CustomizedMetricSpecification{
				MetricName: aws.String("ApproximateBacklogSizePerInstance"), Namespace: aws.String("AWS/SageMaker"), Statistic: scaling.MetricStatisticAverage,
				Dimensions: []scaling.MetricDimension{{Name: aws.String("EndpointName"), Value: aws.String(endpoint)}},
			},
			DisableScaleIn: aws.Bool(false),
		},
	})
	tf.applyPolicy(&applicationautoscaling.PutScalingPolicyInput{
		PolicyName: aws.String("step"), PolicyType: scaling.PolicyTypeStepScaling,
		StepScalingPolicyConfiguration: &scaling.StepScalingPolicyConfiguration{
			AdjustmentType: scaling.AdjustmentTypeChangeInCapacity, Cooldown: aws.Int32(300),
			StepAdjustments: []scaling.StepAdjustment{{MetricIntervalLowerBound: aws.Float64(0), ScalingAdjustment: aws.Int32(1)}},
		},
	})
}

// applyPolicy puts a policy of the target and reads it, by its name.
func (tf *terraform) applyPolicy(in *applicationautoscaling.PutScalingPolicyInput) {
	tf.t.Helper()
	in.ServiceNamespace, in.ResourceId = scaling.ServiceNamespaceSagemaker, aws.String(scaledResource)
	in.ScalableDimension = scaling.ScalableDimensionSageMakerVariantDesiredInstanceCount
	made, err := tf.auto.PutScalingPolicy(tf.t.Context(), in)
	tf.must("put the policy", err)
	out, err := tf.auto.DescribeScalingPolicies(tf.t.Context(), &applicationautoscaling.DescribeScalingPoliciesInput{
		ServiceNamespace: in.ServiceNamespace, ResourceId: in.ResourceId, ScalableDimension: in.ScalableDimension, PolicyNames: []string{*in.PolicyName},
	})
	tf.must("describe the policy", err)
	if len(out.ScalingPolicies) != 1 || *out.ScalingPolicies[0].PolicyARN != *made.PolicyARN {
		tf.t.Fatalf("there are the policies %+v, want one", out.ScalingPolicies)
	}
	got := out.ScalingPolicies[0]
	tf.same("the policy's tracking", got.TargetTrackingScalingPolicyConfiguration, in.TargetTrackingScalingPolicyConfiguration)
	tf.same("the policy's steps", got.StepScalingPolicyConfiguration, in.StepScalingPolicyConfiguration)
}

// changeTags changes a tag, adds one, and takes both away again.
func (tf *terraform) changeTags() {
	tf.t.Helper()
	ctx := tf.t.Context()
	changed := []types.Tag{{Key: aws.String("Name"), Value: aws.String("changed")}, {Key: aws.String("Team"), Value: aws.String("")}}
	for _, arn := range tf.arns {
		_, err := tf.control.AddTags(ctx, &sagemaker.AddTagsInput{ResourceArn: arn, Tags: changed})
		tf.must("add tags", err)
		tf.hasTags(arn, changed)
		_, err = tf.control.DeleteTags(ctx, &sagemaker.DeleteTagsInput{ResourceArn: arn, TagKeys: []string{"Name", "Team"}})
		tf.must("delete tags", err)
		tf.hasTags(arn, nil)
	}
}

// changeConfig has the endpoint use another configuration, and deletes the first.
func (tf *terraform) changeConfig() {
	tf.t.Helper()
	tf.applyConfig("second", 2)
	_, err := tf.control.UpdateEndpoint(tf.t.Context(), &sagemaker.UpdateEndpointInput{
		EndpointName: aws.String(endpoint), EndpointConfigName: aws.String("second"),
	})
	tf.must("update the endpoint", err)
	tf.awaitInService(endpoint)
	if got := tf.describe(); *got.EndpointConfigName != "second" || *got.ProductionVariants[0].DesiredInstanceCount != 2 {
		tf.t.Errorf("the endpoint has %d instances of %s", *got.ProductionVariants[0].DesiredInstanceCount, *got.EndpointConfigName)
	}
	tf.deleteConfig("first")
}

func (tf *terraform) deleteConfig(name string) {
	tf.t.Helper()
	_, err := tf.control.DeleteEndpointConfig(tf.t.Context(), &sagemaker.DeleteEndpointConfigInput{EndpointConfigName: &name})
	tf.must("delete the configuration", err)
	_, err = tf.control.DescribeEndpointConfig(tf.t.Context(), &sagemaker.DescribeEndpointConfigInput{EndpointConfigName: &name})
	checkAPIError(tf.t, err, "ValidationException", "Could not find endpoint configuration")
}

// destroy deletes all of it, the last first, and what is deleted is gone.
func (tf *terraform) destroy() {
	tf.t.Helper()
	ctx, name, id := tf.t.Context(), aws.String(endpoint), aws.String(scaledResource)
	namespace, dimension := scaling.ServiceNamespaceSagemaker, scaling.ScalableDimensionSageMakerVariantDesiredInstanceCount
	for _, policy := range []string{"step", "tracking"} {
		in := &applicationautoscaling.DeleteScalingPolicyInput{PolicyName: &policy, ServiceNamespace: namespace, ResourceId: id, ScalableDimension: dimension}
		_, err := tf.auto.DeleteScalingPolicy(ctx, in)
		tf.must("delete the policy", err)
		_, err = tf.auto.DeleteScalingPolicy(ctx, in)
		if _, gone := errors.AsType[*scaling.ObjectNotFoundException](err); !gone {
			tf.t.Errorf("the policy is deleted twice: %v", err)
		}
	}
	_, err := tf.auto.DeregisterScalableTarget(ctx, &applicationautoscaling.DeregisterScalableTargetInput{
		ServiceNamespace: namespace, ResourceId: id, ScalableDimension: dimension,
	})
	tf.must("deregister the target", err)
	_, err = tf.control.DeleteEndpoint(ctx, &sagemaker.DeleteEndpointInput{EndpointName: name})
	tf.must("delete the endpoint", err)
	await(tf.t, "the end of the endpoint", func() bool {
		out, err := tf.control.DescribeEndpoint(ctx, &sagemaker.DescribeEndpointInput{EndpointName: name})
		if err != nil {
			checkAPIError(tf.t, err, "ValidationException", "Could not find endpoint")
			return true
		}
		if out.EndpointStatus != types.EndpointStatusDeleting {
			tf.t.Fatalf("a deleted endpoint is %s", out.EndpointStatus)
		}
		return false
	})
	_, err = tf.control.DeleteEndpoint(ctx, &sagemaker.DeleteEndpointInput{EndpointName: name})
	checkAPIError(tf.t, err, "ValidationException", "Could not find endpoint")
	tf.deleteConfig("second")
	_, err = tf.control.DeleteModel(ctx, &sagemaker.DeleteModelInput{ModelName: name})
	tf.must("delete the model", err)
	_, err = tf.control.DescribeModel(ctx, &sagemaker.DescribeModelInput{ModelName: name})
	checkAPIError(tf.t, err, "ValidationException", "Could not find model")
}
