package awsapi

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The shapes that Terraform, the SageMaker SDK and the AWS CLI send come back
// as they were sent: Terraform takes all else for drift.
func TestDescribeEchoesWhatClientsSend(t *testing.T) {
	const (
		role   = `"ExecutionRoleArn":"arn:aws:iam::123456789012:role/r"`
		output = `"OutputConfig":{"S3OutputPath":"s3://b/out"}`
	)
	modelOf := func(container string) string { return `{"ModelName":"x","PrimaryContainer":` + container + `}` }
	described := func(container string) string {
		return `{"ModelName":"x","EnableNetworkIsolation":false,"PrimaryContainer":` + container + `}`
	}
	variant := func(members string) string {
		return `{"EndpointConfigName":"x","ProductionVariants":[{"VariantName":"AllTraffic","ModelName":"m"` + members + `}]}`
	}
	async := func(members string) string {
		return `{"EndpointConfigName":"x","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"AsyncInferenceConfig":{` + members + `}}`
	}
	model, config := creations[0], creations[1]
	tests := []struct {
		name     string
		creation creation
		in       string
		want     string // "" for what was sent, without its tags
	}{
		{
			"Terraform's model", model,
			`{"ModelName":"x",` + role + `,"EnableNetworkIsolation":false,"PrimaryContainer":{"Image":"i","Mode":"SingleModel","ModelDataUrl":"s3://b/m.tar.gz","Environment":{"A":"1","EMPTY":""}},"Tags":[{"Key":"k","Value":"v"}]}`, "",
		},
		{
			"Terraform's model in containers", model,
			`{"ModelName":"x",` + role + `,"Containers":[{"Image":"i","Mode":"SingleModel"}]}`,
			`{"ModelName":"x",` + role + `,"EnableNetworkIsolation":false,"Containers":[{"Image":"i","Mode":"SingleModel"}]}`,
		},
		{"no source of model data is made of a URL", model, modelOf(`{"Image":"i","ModelDataUrl":"s3://b/m.tar.gz"}`), described(`{"Image":"i","ModelDataUrl":"s3://b/m.tar.gz"}`)},
		{
			"source of model data", model,
			modelOf(`{"Image":"i","ModelDataSource":{"S3DataSource":{"S3Uri":"s3://b/m/","S3DataType":"S3Prefix","CompressionType":"None"}}}`),
			described(`{"Image":"i","ModelDataSource":{"S3DataSource":{"S3Uri":"s3://b/m/","S3DataType":"S3Prefix","CompressionType":"None"}}}`),
		},
		{"no model data, and no mode", model, modelOf(`{"Image":"i"}`), described(`{"Image":"i"}`)},
		{"the SDK's empty environment", model, modelOf(`{"Image":"i","Environment":{}}`), described(`{"Image":"i","Environment":{}}`)},
		{"no environment", model, modelOf(`{"Image":"i","Environment":null}`), described(`{"Image":"i"}`)},
		{"no tags", model, `{"ModelName":"x","PrimaryContainer":{"Image":"i"},"Tags":[]}`, described(`{"Image":"i"}`)},
		{"empty structures of a container", model, modelOf(`{"Image":"i","MultiModelConfig":{},"ModelDataSource":{},"ContainerMetricsConfig":{}}`), described(`{"Image":"i"}`)},
		{"isolation that is off", model, `{"ModelName":"x","PrimaryContainer":{"Image":"i"},"EnableNetworkIsolation":false}`, ""},
		{
			"network", model,
			`{"ModelName":"x","PrimaryContainer":{"Image":"i"},"VpcConfig":{"SecurityGroupIds":["sg-2","sg-1"],"Subnets":["subnet-b","subnet-a"]}}`,
			`{"ModelName":"x","EnableNetworkIsolation":false,"PrimaryContainer":{"Image":"i"},"VpcConfig":{"SecurityGroupIds":["sg-2","sg-1"],"Subnets":["subnet-b","subnet-a"]}}`,
		},

		{
			"Terraform's configuration", config,
			`{"EndpointConfigName":"x","ProductionVariants":[{"VariantName":"v","ModelName":"m","InstanceType":"ml.m5.large","InitialInstanceCount":1,"InitialVariantWeight":1,"EnableSSMAccess":false}],
				"AsyncInferenceConfig":{"ClientConfig":{"MaxConcurrentInvocationsPerInstance":4},"OutputConfig":{"S3OutputPath":"s3://b/out","S3FailurePath":"s3://b/fail","KmsKeyId":"alias/k",
				"NotificationConfig":{"SuccessTopic":"arn:aws:sns:us-east-1:123456789012:ok","IncludeInferenceResponseIn":["SUCCESS_NOTIFICATION_TOPIC"]}}},"Tags":[{"Key":"k","Value":""}]}`, "",
		},
		{"the SDK's variant", config, variant(`,"InstanceType":"ml.g5.xlarge","InitialInstanceCount":1,"InitialVariantWeight":1`), ""},
		{"weight as a float", config, variant(`,"InitialVariantWeight":1.0`), variant(`,"InitialVariantWeight":1`)},
		{"weight that no binary fraction is", config, variant(`,"InitialVariantWeight":0.7`), ""},
		{"weight of nothing", config, variant(`,"InitialVariantWeight":0`), ""},
		{"no count and no weight", config, variant(``), ""},
		{"volume", config, variant(`,"VolumeSizeInGB":30`), ""},
		{"time-outs", config, variant(`,"ModelDataDownloadTimeoutInSeconds":60,"ContainerStartupHealthCheckTimeoutInSeconds":3600`), ""},
		{"access that is off", config, variant(`,"EnableSSMAccess":false`), ""},
		{"scaling", config, variant(`,"ManagedInstanceScaling":{"Status":"DISABLED","MinInstanceCount":0,"MaxInstanceCount":1}`), ""},
		{"any instance type", config, variant(`,"InstanceType":"ml.rack-7"`), ""},
		{"no client's part", config, async(output), ""},
		{"empty client's part", config, async(`"ClientConfig":{},` + output), async(output)},
		{"nowhere to put results", config, async(`"OutputConfig":{}`), ""},
		{"empty notifications", config, async(`"OutputConfig":{"S3OutputPath":"s3://b/out","NotificationConfig":{}}`), async(output)},
		{"notifications that include nothing", config, async(`"OutputConfig":{"S3OutputPath":"s3://b/out","NotificationConfig":{"IncludeInferenceResponseIn":[]}}`), ""},
		{"path that ends in a slash, and one that does not", config, async(`"OutputConfig":{"S3OutputPath":"s3://b/out/","S3FailurePath":"s3://b/fail"}`), ""},
		{
			"data capture", config,
			`{"EndpointConfigName":"x","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"DataCaptureConfig":{"EnableCapture":false,"InitialSamplingPercentage":0,"DestinationS3Uri":"s3://b/captured","CaptureOptions":[{"CaptureMode":"Input"},{"CaptureMode":"Output"}]},"KmsKeyId":"alias/k","Tags":[]}`, "",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newProver(t)
			request := p.request(test.creation.operation, test.in, "", nil)
			p.s.must(test.creation.operation, test.in)
			if test.want != "" {
				c := test.creation
				c.want = func(map[string]any) map[string]any { return p.request(c.operation, test.want, "", nil) }
				test.creation = c
			}
			if diff := p.echo(test.creation, request); diff != "" {
				t.Errorf("described (-want +got):\n%s", diff)
			}
		})
	}
}

// An endpoint is asynchronous, and said to be, even where nothing but an empty
// OutputConfig says so.
func TestEmptyOutputConfigIsAsynchronous(t *testing.T) {
	p := newProver(t)
	p.s.must("CreateEndpointConfig", `{"EndpointConfigName":"x","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"AsyncInferenceConfig":{"OutputConfig":{}}}`)
	p.s.must("CreateEndpoint", `{"EndpointName":"x","EndpointConfigName":"x"}`)
	var got struct{ AsyncInferenceConfig any }
	p.s.must("DescribeEndpoint", `{"EndpointName":"x"}`).decode(t, &got)
	if diff := cmp.Diff(map[string]any{"OutputConfig": map[string]any{}}, got.AsyncInferenceConfig); diff != "" {
		t.Errorf("described (-want +got):\n%s", diff)
	}
}

// mayBeEmpty are the maps of the model, and the structures that it requires but
// that require nothing; no optional structure has the name of one.
func TestMayBeEmpty(t *testing.T) {
	m := readModel(t, "sagemaker")
	var want, optional []string
	for _, s := range m.Shapes {
		for name, member := range s.Members {
			target := m.Shapes[member.Shape]
			switch {
			case target.Type == "map", target.Type == "structure" && slices.Contains(s.Required, name) && target.Required == nil:
				want = append(want, name)
			case target.Type == "structure":
				optional = append(optional, name)
			}
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if diff := cmp.Diff(want, mayBeEmpty); diff != "" {
		t.Errorf("mayBeEmpty (-want +got):\n%s", diff)
	}
	for _, name := range mayBeEmpty {
		if slices.Contains(optional, name) {
			t.Errorf("%s is the name of an optional structure too", name)
		}
	}
}
