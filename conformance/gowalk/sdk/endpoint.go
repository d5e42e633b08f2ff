package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/deferd/deferd/conformance/gowalk/step"
)

func (w *walk) identity() error {
	who, err := sts.NewFromConfig(w.cfg).GetCallerIdentity(w.ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	cfg := w.cfg.Copy()
	key, err := cfg.Credentials.Retrieve(w.ctx)
	if err != nil {
		return err
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(key.AccessKeyID, "wrong", "")
	_, signed := sagemaker.NewFromConfig(cfg).ListEndpoints(w.ctx, &sagemaker.ListEndpointsInput{})
	_, signedS3 := s3.NewFromConfig(cfg).ListBuckets(w.ctx, &s3.ListBucketsInput{})
	cfg.Credentials = credentials.NewStaticCredentialsProvider("AKIAUNKNOWN000000000", "wrong", "")
	_, unknown := sagemaker.NewFromConfig(cfg).ListEndpoints(w.ctx, &sagemaker.ListEndpointsInput{})
	return errors.Join(
		step.Equal("account", aws.ToString(who.Account), step.Account),
		refused(signed, "InvalidSignatureException", "signature"),
		refused(signedS3, "SignatureDoesNotMatch", ""),
		refused(unknown, "UnrecognizedClientException", "security token"),
	)
}

// refused returns an error unless err is AWS's of that code, with that in its
// message.
func refused(err error, code, message string) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Errorf("got %w, want %s", err, code)
	}
	return errors.Join(step.Equal("error code", api.ErrorCode(), code), step.Contains(code, api.ErrorMessage(), message))
}

func (w *walk) create() error {
	if _, err := w.s3.CreateBucket(w.ctx, &s3.CreateBucketInput{Bucket: &w.bucket}); err != nil {
		return err
	}
	exists := s3.NewBucketExistsWaiter(w.s3)
	if err := exists.Wait(w.ctx, &s3.HeadBucketInput{Bucket: &w.bucket}, step.Patience); err != nil {
		return err
	}
	made, err := w.createModel(w.name)
	if err != nil {
		return err
	}
	if err := step.Contains("ARN", *made.ModelArn, ":"+step.Account+":model/"+w.name); err != nil {
		return err
	}
	if err := w.createConfig(w.name, "out"); err != nil {
		return err
	}
	_, err = w.control.CreateEndpoint(w.ctx, &sagemaker.CreateEndpointInput{
		EndpointName: &w.name, EndpointConfigName: &w.name,
		Tags: []types.Tag{{Key: aws.String("made"), Value: aws.String("by Go")}},
	})
	return err
}

func (w *walk) createModel(name string) (*sagemaker.CreateModelOutput, error) {
	return w.control.CreateModel(w.ctx, &sagemaker.CreateModelInput{
		ModelName:        &name,
		PrimaryContainer: &types.ContainerDefinition{Image: aws.String(step.Image())},
		ExecutionRoleArn: aws.String("arn:aws:iam::" + step.Account + ":role/walk"),
	})
}

func (w *walk) createConfig(name, output string) error {
	_, err := w.control.CreateEndpointConfig(w.ctx, &sagemaker.CreateEndpointConfigInput{
		EndpointConfigName: &name,
		ProductionVariants: []types.ProductionVariant{{
			VariantName: aws.String("AllTraffic"), ModelName: &w.name,
			InitialInstanceCount: aws.Int32(1), InstanceType: types.ProductionVariantInstanceTypeMlM5Large,
		}},
		AsyncInferenceConfig: &types.AsyncInferenceConfig{
			ClientConfig: &types.AsyncInferenceClientConfig{MaxConcurrentInvocationsPerInstance: aws.Int32(4)},
			OutputConfig: &types.AsyncInferenceOutputConfig{
				S3OutputPath:  aws.String("s3://" + w.bucket + "/" + output + "/"),
				S3FailurePath: aws.String("s3://" + w.bucket + "/failed/"),
			},
		},
	})
	return err
}

func (w *walk) wait() error {
	described, err := w.inService()
	if err != nil {
		return err
	}
	return errors.Join(
		step.Equal("instances", *described.ProductionVariants[0].CurrentInstanceCount, 1),
		step.Equal("output path", *described.AsyncInferenceConfig.OutputConfig.S3OutputPath, "s3://"+w.bucket+"/out/"),
	)
}

func (w *walk) inService() (*sagemaker.DescribeEndpointOutput, error) {
	waiter := sagemaker.NewEndpointInServiceWaiter(w.control, func(o *sagemaker.EndpointInServiceWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, time.Second
	})
	return waiter.WaitForOutput(w.ctx, &sagemaker.DescribeEndpointInput{EndpointName: &w.name}, step.Patience)
}

func (w *walk) list() error {
	endpoints, err := w.control.ListEndpoints(w.ctx, &sagemaker.ListEndpointsInput{NameContains: &w.name})
	if err != nil {
		return err
	}
	configs, err := w.control.ListEndpointConfigs(w.ctx, &sagemaker.ListEndpointConfigsInput{NameContains: &w.name})
	if err != nil {
		return err
	}
	want := []string{w.name}
	for i := range 3 {
		name := fmt.Sprintf("%s-page-%d", w.name, i)
		want = append(want, name)
		if _, err := w.createModel(name); err != nil {
			return err
		}
	}
	models, err := w.models(1)
	if err != nil {
		return err
	}
	return errors.Join(
		step.Equal("endpoints", len(endpoints.Endpoints), 1),
		step.Equal("configurations", len(configs.EndpointConfigs), 1),
		step.Equal("models", strings.Join(models, " "), strings.Join(want, " ")),
		w.listObjects(),
	)
}

// models returns the names of the walk's models, in order.
func (w *walk) models(perPage int32) (names []string, err error) {
	pages := sagemaker.NewListModelsPaginator(w.control, &sagemaker.ListModelsInput{
		NameContains: &w.name, SortBy: types.ModelSortKeyName, SortOrder: types.OrderKeyAscending, MaxResults: &perPage,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Models {
			names = append(names, *m.ModelName)
		}
	}
	return names, nil
}

func (w *walk) tags() error {
	described, err := w.control.DescribeEndpoint(w.ctx, &sagemaker.DescribeEndpointInput{EndpointName: &w.name})
	if err != nil {
		return err
	}
	arn := described.EndpointArn
	if err := w.hasTags(arn, map[string]string{"made": "by Go"}); err != nil {
		return err
	}
	_, err = w.control.AddTags(w.ctx, &sagemaker.AddTagsInput{ResourceArn: arn, Tags: []types.Tag{
		{Key: aws.String("team"), Value: aws.String("a")},
		{Key: aws.String("made"), Value: aws.String("again")},
	}})
	if err != nil {
		return err
	}
	if err := w.hasTags(arn, map[string]string{"made": "again", "team": "a"}); err != nil {
		return err
	}
	if _, err := w.control.DeleteTags(w.ctx, &sagemaker.DeleteTagsInput{ResourceArn: arn, TagKeys: []string{"made"}}); err != nil {
		return err
	}
	return w.hasTags(arn, map[string]string{"team": "a"})
}

func (w *walk) hasTags(arn *string, want map[string]string) error {
	got := map[string]string{}
	pages := sagemaker.NewListTagsPaginator(w.control, &sagemaker.ListTagsInput{ResourceArn: arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.ctx)
		if err != nil {
			return err
		}
		for _, t := range page.Tags {
			got[*t.Key] = *t.Value
		}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("tags: got %v, want %v", got, want)
	}
	return nil
}

func (w *walk) update() error {
	second := w.name + "-second"
	if err := w.createConfig(second, "second"); err != nil {
		return err
	}
	_, err := w.control.UpdateEndpoint(w.ctx, &sagemaker.UpdateEndpointInput{EndpointName: &w.name, EndpointConfigName: &second})
	if err != nil {
		return err
	}
	described, err := w.inService()
	if err != nil {
		return err
	}
	if err := step.Equal("configuration", *described.EndpointConfigName, second); err != nil {
		return err
	}
	out, err := w.invoke(fromS3(w.location("in/typed.csv")))
	if err != nil {
		return err
	}
	if err := step.Contains("output", *out.OutputLocation, w.location("second/")); err != nil {
		return err
	}
	if err := w.awaits(*out.OutputLocation, "1,2,3", "text/csv"); err != nil {
		return err
	}
	_, err = w.control.UpdateEndpointWeightsAndCapacities(w.ctx, &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{
		EndpointName:                &w.name,
		DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: aws.String("AllTraffic"), DesiredInstanceCount: aws.Int32(2)}},
	})
	if err != nil {
		return err
	}
	if described, err = w.inService(); err != nil {
		return err
	}
	return step.Equal("instances", *described.ProductionVariants[0].CurrentInstanceCount, 2)
}

func (w *walk) delete() error {
	name := &w.name
	if _, err := w.control.DeleteEndpoint(w.ctx, &sagemaker.DeleteEndpointInput{EndpointName: name}); err != nil {
		return err
	}
	waiter := sagemaker.NewEndpointDeletedWaiter(w.control, func(o *sagemaker.EndpointDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, time.Second
	})
	if err := waiter.Wait(w.ctx, &sagemaker.DescribeEndpointInput{EndpointName: name}, step.Patience); err != nil {
		return err
	}
	for _, config := range []string{w.name, w.name + "-second"} {
		if _, err := w.control.DeleteEndpointConfig(w.ctx, &sagemaker.DeleteEndpointConfigInput{EndpointConfigName: &config}); err != nil {
			return err
		}
	}
	models, err := w.models(100)
	if err != nil {
		return err
	}
	for model := range slices.Values(models) {
		if _, err := w.control.DeleteModel(w.ctx, &sagemaker.DeleteModelInput{ModelName: &model}); err != nil {
			return err
		}
	}
	_, err = w.control.DescribeEndpoint(w.ctx, &sagemaker.DescribeEndpointInput{EndpointName: name})
	return refused(err, "ValidationException", "Could not find endpoint")
}
