package awsapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

const arnHead = "arn:aws:sagemaker:us-east-1:123456789012:"

// An endpoint from its creation to its end, through the AWS SDK for Go.
func TestLifeOfAnEndpoint(t *testing.T) {
	status := map[deferd.VariantName]VariantStatus{"v": {Instances: 1, Images: []DeployedImage{{"i:1", "i@sha256:0", time.UnixMilli(1700000003200)}}}}
	s := open(t, func(c *Config) {
		c.Status = func(deferd.EndpointID, int) map[deferd.VariantName]VariantStatus { return status }
	})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := s.control.CreateModel(ctx, &sagemaker.CreateModelInput{
		ModelName:        new("My-Model"),
		ExecutionRoleArn: new("arn:aws:iam::123456789012:role/Any"),
		PrimaryContainer: &types.ContainerDefinition{Image: new("i:1"), ModelDataUrl: new("s3://b/m.tar.gz"), Environment: map[string]string{"A": ""}},
	})
	must(err)
	if got, want := aws.ToString(m.ModelArn), arnHead+"model/my-model"; got != want {
		t.Errorf("model ARN %s, want %s", got, want)
	}
	_, err = s.control.CreateEndpointConfig(ctx, &sagemaker.CreateEndpointConfigInput{
		EndpointConfigName: new("My-Config"),
		ProductionVariants: []types.ProductionVariant{{
			VariantName: new("v"), ModelName: new("My-Model"), InstanceType: "ml.rack-7", InitialInstanceCount: new(int32(2)), InitialVariantWeight: new(float32(0.5)),
			ContainerStartupHealthCheckTimeoutInSeconds: new(int32(60)), ModelDataDownloadTimeoutInSeconds: new(int32(120)),
		}},
		AsyncInferenceConfig: &types.AsyncInferenceConfig{
			ClientConfig: &types.AsyncInferenceClientConfig{MaxConcurrentInvocationsPerInstance: new(int32(3))},
			OutputConfig: &types.AsyncInferenceOutputConfig{
				S3OutputPath: new("https://localhost/b/out"), S3FailurePath: new("s3://b/fail"),
				NotificationConfig: &types.AsyncInferenceNotificationConfig{
					SuccessTopic: new("arn:aws:sns:us-east-1:123456789012:ok"), ErrorTopic: new("https://hooks.example.com/x"),
					IncludeInferenceResponseIn: []types.AsyncNotificationTopicTypes{"ERROR_NOTIFICATION_TOPIC"},
				},
			},
		},
	})
	must(err)
	_, err = s.control.CreateEndpoint(ctx, &sagemaker.CreateEndpointInput{EndpointName: new("My-Endpoint"), EndpointConfigName: new("My-Config")})
	must(err)

	model, err := s.store.Model(ctx, account, "My-Model")
	must(err)
	config, err := s.store.Config(ctx, account, "My-Config")
	must(err)
	e, err := s.store.Endpoint(ctx, account, "My-Endpoint")
	must(err)
	if model.Image != "i:1" || model.RoleARN != "arn:aws:iam::123456789012:role/Any" || model.Data != (deferd.ModelData{Location: deferd.Location{Bucket: "b", Key: "m.tar.gz"}, Gzip: true}) {
		t.Errorf("model: %+v", model)
	}
	wantVariants := []deferd.Variant{{
		Name: "v", ModelID: model.ID, ModelName: "My-Model", InstanceType: "ml.rack-7", InitialCount: 2, InitialWeight: 0.5,
		StartupTimeout: time.Minute, DownloadTimeout: 2 * time.Minute,
	}}
	if diff := cmp.Diff(wantVariants, config.Variants); diff != "" {
		t.Errorf("variants (-want +got):\n%s", diff)
	}
	wantAsync := &deferd.AsyncConfig{
		Concurrency: 3, OutputPath: deferd.Location{Bucket: "b", Key: "out"}, FailurePath: deferd.Location{Bucket: "b", Key: "fail"},
		SuccessTopic: "arn:aws:sns:us-east-1:123456789012:ok", ErrorTopic: "https://hooks.example.com/x", IncludeErrorResponse: true,
	}
	if diff := cmp.Diff(wantAsync, config.Async); diff != "" {
		t.Errorf("async configuration (-want +got):\n%s", diff)
	}
	if e.Status != deferd.EndpointCreating || e.ConfigID != config.ID {
		t.Errorf("endpoint: %+v", e)
	}

	describe := func() *sagemaker.DescribeEndpointOutput {
		t.Helper()
		out, err := s.control.DescribeEndpoint(ctx, &sagemaker.DescribeEndpointInput{EndpointName: new("My-Endpoint")})
		must(err)
		return out
	}
	if got := describe().EndpointStatus; got != types.EndpointStatusCreating {
		t.Errorf("status %s right after CreateEndpoint", got)
	}
	s.become("My-Endpoint", deferd.EndpointInService)
	out := describe()
	v := out.ProductionVariants[0]
	if out.EndpointStatus != types.EndpointStatusInService || aws.ToString(out.EndpointArn) != arnHead+"endpoint/my-endpoint" ||
		aws.ToString(out.EndpointConfigName) != "My-Config" || aws.ToString(out.AsyncInferenceConfig.OutputConfig.S3OutputPath) != "https://localhost/b/out" {
		t.Errorf("described: %+v", out)
	}
	if aws.ToInt32(v.CurrentInstanceCount) != 1 || aws.ToInt32(v.DesiredInstanceCount) != 2 || aws.ToFloat32(v.CurrentWeight) != 0.5 ||
		aws.ToString(v.DeployedImages[0].ResolvedImage) != "i@sha256:0" || !v.DeployedImages[0].ResolutionTime.Equal(time.UnixMilli(1700000003200)) {
		t.Errorf("variant: %+v", v)
	}
	if got := aws.ToTime(out.CreationTime); got.Sub(e.Created).Abs() > time.Millisecond {
		t.Errorf("creation time %s, want %s", got, e.Created)
	}

	_, err = s.control.DeleteEndpoint(ctx, &sagemaker.DeleteEndpointInput{EndpointName: new("My-Endpoint")})
	must(err)
	if got := describe().EndpointStatus; got != types.EndpointStatusDeleting {
		t.Errorf("status %s after DeleteEndpoint", got)
	}
	must(s.store.RemoveEndpoint(ctx, e.ID))
	_, err = s.control.DescribeEndpoint(ctx, &sagemaker.DescribeEndpointInput{EndpointName: new("My-Endpoint")})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "ValidationException" || !strings.HasPrefix(e.ErrorMessage(), "Could not find endpoint") {
		t.Errorf("after its end: %v", err)
	}
	_, err = s.control.DeleteEndpointConfig(ctx, &sagemaker.DeleteEndpointConfigInput{EndpointConfigName: new("My-Config")})
	must(err)
	_, err = s.control.DeleteModel(ctx, &sagemaker.DeleteModelInput{ModelName: new("My-Model")})
	must(err)
	if diff := cmp.Diff([]deferd.EndpointID{e.ID, e.ID}, s.changed); diff != "" {
		t.Errorf("told of changes (-want +got):\n%s", diff)
	}
}

// Describe says what was sent, what AWS adds, and nothing else.
func TestDescribeEchoes(t *testing.T) {
	s := open(t, nil)
	s.must("CreateModel", `{"ModelName":"m","PrimaryContainer":{"Image":"i","Mode":"SingleModel","Environment":{"A":""},"ImageConfig":{"RepositoryAccessMode":"Platform"}},"VpcConfig":{"SecurityGroupIds":["sg-1"],"Subnets":["s-1"]},"Tags":[]}`)
	s.must("CreateModel", `{"ModelName":"one","Containers":[{"Image":"i","MultiModelConfig":{}}],"EnableNetworkIsolation":false}`)
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"v","ModelName":"m","InitialInstanceCount":1,"InitialVariantWeight":1,"EnableSSMAccess":false}],
		"AsyncInferenceConfig":{"ClientConfig":{},"OutputConfig":{"S3OutputPath":"s3://b/out/","NotificationConfig":{"IncludeInferenceResponseIn":[]}}},"Tags":[{"Key":"k","Value":""}]}`)
	s.must("CreateEndpoint", `{"EndpointName":"e","EndpointConfigName":"c","DeploymentConfig":{"RollingUpdatePolicy":{"MaximumBatchSize":{"Type":"INSTANCE_COUNT","Value":1},"WaitIntervalInSeconds":0}}}`)
	tests := []struct{ operation, in, want string }{
		{"DescribeModel", `{"ModelName":"m"}`, `{"ModelName":"m","PrimaryContainer":{"Image":"i","ImageConfig":{"RepositoryAccessMode":"Platform"},"Mode":"SingleModel","Environment":{"A":""}},"VpcConfig":{"SecurityGroupIds":["sg-1"],"Subnets":["s-1"]},"CreationTime":"<time>","ModelArn":"` + arnHead + `model/m","EnableNetworkIsolation":false}`},
		{"DescribeModel", `{"ModelName":"one"}`, `{"ModelName":"one","Containers":[{"Image":"i"}],"CreationTime":"<time>","ModelArn":"` + arnHead + `model/one","EnableNetworkIsolation":false}`},
		{"DescribeEndpointConfig", `{"EndpointConfigName":"c"}`, `{"EndpointConfigName":"c","EndpointConfigArn":"` + arnHead + `endpoint-config/c","ProductionVariants":[{"VariantName":"v","ModelName":"m","InitialInstanceCount":1,"InitialVariantWeight":1,"EnableSSMAccess":false}],
			"CreationTime":"<time>","AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/out/","NotificationConfig":{"IncludeInferenceResponseIn":[]}}}}`},
		{"DescribeEndpoint", `{"EndpointName":"e"}`, `{"EndpointName":"e","EndpointArn":"` + arnHead + `endpoint/e","EndpointConfigName":"c","ProductionVariants":[{"VariantName":"v","CurrentWeight":1,"DesiredWeight":1,"CurrentInstanceCount":0,"DesiredInstanceCount":1,"DeployedImages":[{"SpecifiedImage":"i"}]}],
			"EndpointStatus":"Creating","CreationTime":"<time>","LastModifiedTime":"<time>","LastDeploymentConfig":{"RollingUpdatePolicy":{"MaximumBatchSize":{"Type":"INSTANCE_COUNT","Value":1},"WaitIntervalInSeconds":0}},
			"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/out/","NotificationConfig":{"IncludeInferenceResponseIn":[]}}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.operation+" "+tt.in, func(t *testing.T) {
			a := s.must(tt.operation, tt.in)
			if got := a.header.Get("Content-Type"); got != "application/x-amz-json-1.1" {
				t.Errorf("content type %q", got)
			}
			var got, want map[string]any
			a.decode(t, &got)
			answer{body: tt.want}.decode(t, &want)
			for _, name := range []string{"CreationTime", "LastModifiedTime"} {
				if at, ok := got[name].(float64); ok && at > 1.7e9 {
					got[name] = "<time>"
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
		})
	}
}

// The texts of errors, which clients search.
func TestControlErrors(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"real-time","ProductionVariants":[{"VariantName":"v","ModelName":"m"}]}`)
	async := `"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/out"}}`
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"serverless","ProductionVariants":[{"VariantName":"v","ModelName":"m","ServerlessConfig":{"MemorySizeInMB":1024,"MaxConcurrency":1}}],`+async+`}`)
	config := func(variants string) string {
		return `{"EndpointConfigName":"new","ProductionVariants":[` + variants + `],` + async + `}`
	}
	tests := []struct{ name, operation, in, want string }{
		{"no model", "DescribeModel", `{"ModelName":"No"}`, `Could not find model "` + arnHead + `model/no".`},
		{"no model to delete", "DeleteModel", `{"ModelName":"no"}`, `Could not find model "` + arnHead + `model/no".`},
		{"no configuration", "DescribeEndpointConfig", `{"EndpointConfigName":"no"}`, `Could not find endpoint configuration "` + arnHead + `endpoint-config/no".`},
		{"no configuration to delete", "DeleteEndpointConfig", `{"EndpointConfigName":"no"}`, `Could not find endpoint configuration "` + arnHead + `endpoint-config/no".`},
		{"no endpoint", "DescribeEndpoint", `{"EndpointName":"no"}`, `Could not find endpoint "` + arnHead + `endpoint/no".`},
		{"no endpoint to delete", "DeleteEndpoint", `{"EndpointName":"no"}`, `Could not find endpoint "` + arnHead + `endpoint/no".`},
		{"model exists", "CreateModel", `{"ModelName":"m","PrimaryContainer":{"Image":"i"}}`, `Cannot create already existing model "` + arnHead + `model/m".`},
		{"configuration exists", "CreateEndpointConfig", `{"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"v","ModelName":"m"}]}`, `Cannot create already existing endpoint configuration "` + arnHead + `endpoint-config/c".`},
		{"endpoint exists", "CreateEndpoint", `{"EndpointName":"e","EndpointConfigName":"c"}`, `Cannot create already existing endpoint "` + arnHead + `endpoint/e".`},
		{"endpoint exists in another case", "CreateEndpoint", `{"EndpointName":"E","EndpointConfigName":"c"}`, `Cannot create already existing endpoint "` + arnHead + `endpoint/e".`},
		{"model of a variant", "CreateEndpointConfig", config(`{"VariantName":"v","ModelName":"no"}`), `Could not find model "` + arnHead + `model/no".`},
		{"variant without model", "CreateEndpointConfig", config(`{"VariantName":"v"}`), `1 validation error detected: Value null at 'productionVariants.1.member.modelName' failed to satisfy constraint: Member must not be null`},
		{"variant twice", "CreateEndpointConfig", config(`{"VariantName":"x","ModelName":"m"},{"VariantName":"x","ModelName":"m"}`), `The variant name "x" was non-unique within the request.`},
		{"path of somebody else", "CreateEndpointConfig", `{"EndpointConfigName":"n","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"https://x.example/b"}}}`, `location "https://x.example/b" is not in the S3 of this installation`},
		{"endpoint without configuration", "CreateEndpoint", `{"EndpointName":"n","EndpointConfigName":"no"}`, `Could not find endpoint configuration "` + arnHead + `endpoint-config/no".`},
		{"real-time", "CreateEndpoint", `{"EndpointName":"n","EndpointConfigName":"real-time"}`, `Endpoint configuration "` + arnHead + `endpoint-config/real-time" has no AsyncInferenceConfig; only asynchronous endpoints are served here.`},
		{"serverless", "CreateEndpoint", `{"EndpointName":"n","EndpointConfigName":"serverless"}`, `Endpoint configuration "` + arnHead + `endpoint-config/serverless" has a variant with a ServerlessConfig; serverless endpoints are not served here.`},
		{"no container", "CreateModel", `{"ModelName":"n"}`, `A model needs a PrimaryContainer.`},
		{"both kinds of container", "CreateModel", `{"ModelName":"n","PrimaryContainer":{"Image":"i"},"Containers":[{"Image":"i"}]}`, `PrimaryContainer and Containers cannot be given together.`},
		{"several containers", "CreateModel", `{"ModelName":"n","Containers":[{"Image":"i"},{"Image":"i"}]}`, `Models of several containers are not supported: give one.`},
		{"multi-model", "CreateModel", `{"ModelName":"n","PrimaryContainer":{"Image":"i","Mode":"MultiModel"}}`, `Mode MultiModel is not supported: a container here serves one model.`},
		{"no image", "CreateModel", `{"ModelName":"n","PrimaryContainer":{}}`, `A container needs an Image.`},
		{"isolation", "CreateModel", `{"ModelName":"n","PrimaryContainer":{"Image":"i"},"EnableNetworkIsolation":true}`, `EnableNetworkIsolation is not supported: containers here have a network.`},
		{"both kinds of data", "CreateModel", `{"ModelName":"n","PrimaryContainer":{"Image":"i","ModelDataUrl":"s3://b/k","ModelDataSource":{"S3DataSource":{"S3Uri":"s3://b/k","S3DataType":"S3Object","CompressionType":"Gzip"}}}}`, `ModelDataUrl and ModelDataSource cannot be given together.`},
		{"constraint", "CreateEndpoint", `{"EndpointName":"-"}`, `2 validation errors detected: Value '-' at 'endpointName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}; Value null at 'endpointConfigName' failed to satisfy constraint: Member must not be null`},
		{"page token", "ListModels", `{"NextToken":"bogus"}`, `the page token is not one of this list's`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.call(tt.operation, tt.in)
			a.check(t, 400, fmt.Sprintf(`{"__type":"ValidationException","message":%q}`, tt.want))
			if got := a.header.Get("x-amzn-ErrorType"); got != "ValidationException" {
				t.Errorf("x-amzn-ErrorType %q", got)
			}
			if got := a.header.Get("Content-Type"); got != "application/x-amz-json-1.1" {
				t.Errorf("content type %q", got)
			}
		})
	}
	s.call("Bogus", "{}").check(t, 404, `{"__type":"UnknownOperationException","message":"There is no operation \"SageMaker.Bogus\"."}`)
	s.send("sagemaker", "GET", "/", "").check(t, 404, `{"__type":"UnknownOperationException","message":"There is no operation \"\"."}`)
}

// Endpoints may be deleted unless they are in between two states.
func TestDeleteEndpoint(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	busy := `{"__type":"ValidationException","message":"Cannot update in-progress endpoint \"` + arnHead + `endpoint/e\"."}`
	s.become("e", deferd.EndpointUpdating)
	s.call("DeleteEndpoint", `{"EndpointName":"e"}`).check(t, 400, busy)
	s.become("e", deferd.EndpointCreating)
	s.call("DeleteEndpoint", `{"EndpointName":"e"}`).check(t, 200, "")
	s.call("DeleteEndpoint", `{"EndpointName":"e"}`).check(t, 400, busy)
	e, err := s.store.Endpoint(t.Context(), account, "e")
	if err != nil || e.Status != deferd.EndpointDeleting {
		t.Errorf("status %s, %v", e.Status, err)
	}
}

func TestModelData(t *testing.T) {
	s := open(t, nil)
	source := func(uri, kind, compression string) string {
		return `"ModelDataSource":{"S3DataSource":{"S3Uri":"` + uri + `","S3DataType":"` + kind + `","CompressionType":"` + compression + `"}}`
	}
	at := deferd.Location{Bucket: "b", Key: "m/"}
	tests := []struct {
		name, in string
		want     deferd.ModelData
	}{
		{"none", "", deferd.ModelData{}},
		{"url", `"ModelDataUrl":"s3://b/m/"`, deferd.ModelData{Location: at, Gzip: true}},
		{"prefix", source("s3://b/m/", "S3Prefix", "None"), deferd.ModelData{Location: at, Prefix: true}},
		{"archives", source("s3://b/m/", "S3Prefix", "Gzip"), deferd.ModelData{Location: at, Prefix: true, Gzip: true}},
		{"object", source("https://b.localhost/m/", "S3Object", "None"), deferd.ModelData{Location: at}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := `{"ModelName":"` + tt.name + `","PrimaryContainer":{"Image":"i"`
			if tt.in != "" {
				in += "," + tt.in
			}
			s.must("CreateModel", in+"}}")
			m, err := s.store.Model(t.Context(), account, deferd.ModelName(tt.name))
			if err != nil || m.Data != tt.want {
				t.Errorf("got %+v, %v, want %+v", m.Data, err, tt.want)
			}
		})
	}
}

func TestLists(t *testing.T) {
	s := open(t, nil)
	s.serve("e00")
	for i := 1; i < 12; i++ {
		name := fmt.Sprintf("e%02d", i)
		s.must("CreateEndpoint", `{"EndpointName":"`+name+`","EndpointConfigName":"c"}`)
	}
	names := func(in string) (names []string, token string) {
		t.Helper()
		var out struct {
			Endpoints []struct{ EndpointName, EndpointArn, EndpointStatus string }
			NextToken string
		}
		s.must("ListEndpoints", in).decode(t, &out)
		for _, e := range out.Endpoints {
			names = append(names, e.EndpointName)
			if e.EndpointArn != arnHead+"endpoint/"+e.EndpointName || e.EndpointStatus == "" {
				t.Errorf("%+v", e)
			}
		}
		return names, out.NextToken
	}
	got, token := names(`{}`)
	if len(got) != 10 || got[0] != "e11" || token == "" {
		t.Errorf("by default: %q, token %q; want ten, the newest first, and a token", got, token)
	}
	got, token = names(`{"NextToken":"` + token + `"}`)
	if diff := cmp.Diff([]string{"e01", "e00"}, got); diff != "" || token != "" {
		t.Errorf("second page: token %q, names (-want +got):\n%s", token, diff)
	}
	tests := []struct {
		in   string
		want []string
	}{
		{`{"SortBy":"Name","SortOrder":"Ascending","MaxResults":2}`, []string{"e00", "e01"}},
		{`{"SortBy":"Name","MaxResults":1}`, []string{"e11"}},
		{`{"NameContains":"10"}`, []string{"e10"}},
		{`{"StatusEquals":"InService"}`, []string{"e00"}},
		{`{"StatusEquals":"Failed"}`, nil},
		{`{"CreationTimeAfter":4000000000}`, nil},
		{`{"LastModifiedTimeBefore":1000000000}`, nil},
		{`{"CreationTimeBefore":4000000000,"NameContains":"e00"}`, []string{"e00"}},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, _ := names(tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}

	var models struct {
		Models []struct {
			ModelName, ModelArn string
			CreationTime        float64
		}
	}
	s.must("ListModels", `{}`).decode(t, &models)
	if len(models.Models) != 1 || models.Models[0].ModelArn != arnHead+"model/m" || models.Models[0].CreationTime < 1.7e9 {
		t.Errorf("models: %+v", models)
	}
	var configs struct {
		EndpointConfigs []struct{ EndpointConfigName, EndpointConfigArn string }
	}
	s.must("ListEndpointConfigs", `{}`).decode(t, &configs)
	if len(configs.EndpointConfigs) != 1 || configs.EndpointConfigs[0].EndpointConfigArn != arnHead+"endpoint-config/c" {
		t.Errorf("configurations: %+v", configs)
	}
	s.must("ListEndpointConfigs", `{"NameContains":"none"}`).check(t, 200, `{"EndpointConfigs":[]}`)
}

// What one may ask of invocations, which SageMaker does not tell.
func TestInvocations(t *testing.T) {
	s := open(t, nil)
	e := s.serve("e")
	const at = "X-Amzn-SageMaker-InputLocation"
	s.invoke("e", "secret payload", "X-Amzn-SageMaker-Custom-Attributes", "secret attribute")
	s.invoke("e", "", at, "s3://in/k", "X-Amzn-SageMaker-Inference-Id", "a b/c")
	list := s.invocations(e.ID)
	inline, byReference := list[1], list[0]
	if _, err := s.store.End(t.Context(), inline.ID, deferd.End(deferd.CancelRequested, "ClientError: Request cancelled.")); err != nil {
		t.Fatal(err)
	}
	get := func(path string) answer {
		return s.send("sagemaker", "GET", "/endpoints/e/async-invocations"+path, "")
	}
	describe := func(path string) map[string]any {
		t.Helper()
		a := get(path)
		var document map[string]any
		if a.status != http.StatusOK {
			t.Fatalf("GET %s: %d %s", path, a.status, a.body)
		}
		if strings.Contains(a.body, "secret") {
			t.Errorf("GET %s tells secrets: %s", path, a.body)
		}
		a.decode(t, &document)
		for name, v := range document {
			if _, err := time.Parse("2006-01-02T15:04:05.000Z", fmt.Sprint(v)); strings.HasSuffix(name, "Time") && err == nil {
				document[name] = "<time>"
			}
		}
		return document
	}
	want := map[string]any{
		"invocationId": string(byReference.ID), "inferenceId": "a b/c", "state": "Queued", "attempts": 0.0, "acceptedTime": "<time>",
		"inputLocation": "s3://in/k", "outputLocation": byReference.Output.String(), "failureLocation": byReference.Failure.String(),
		"requestTTLSeconds": 21600.0, "invocationTimeoutSeconds": 900.0,
	}
	for _, path := range []string{"/" + string(byReference.ID), "/a%20b%2Fc"} {
		if diff := cmp.Diff(want, describe(path)); diff != "" {
			t.Errorf("GET %s (-want +got):\n%s", path, diff)
		}
	}
	got := describe("/" + string(inline.ID))
	if got["state"] != "Publishing" || got["reason"] != "cancelled" || got["failureReason"] != "ClientError: Request cancelled." || got["inlineSize"] != 14.0 || got["settledTime"] != "<time>" {
		t.Errorf("cancelled: %v", got)
	}

	tests := []struct {
		query string
		want  []any
	}{
		{"", []any{string(byReference.ID), string(inline.ID)}},
		{"?state=Queued", []any{string(byReference.ID)}},
		{"?state=Queued,Publishing", []any{string(byReference.ID), string(inline.ID)}},
		{"?state=Running&state=Publishing", []any{string(inline.ID)}},
		{"?state=Failed", nil},
	}
	for _, tt := range tests {
		var ids []any
		for _, d := range describe(tt.query)["invocations"].([]any) {
			ids = append(ids, d.(map[string]any)["invocationId"])
		}
		if diff := cmp.Diff(tt.want, ids); diff != "" {
			t.Errorf("list %q (-want +got):\n%s", tt.query, diff)
		}
	}
	first := describe("?maxResults=1")
	second := describe("?maxResults=1&nextToken=" + fmt.Sprint(first["nextToken"]))
	if id := second["invocations"].([]any)[0].(map[string]any)["invocationId"]; id != string(inline.ID) {
		t.Errorf("second page begins with %v", id)
	}

	get("/nobody").check(t, 404, `{"Message":"There is no invocation nobody of endpoint e."}`)
	get("?state=Lost").check(t, 400, `{"Message":"\"Lost\" is no state of an invocation"}`)
	get("?maxResults=0").check(t, 400, `{"Message":"maxResults must be a number from 1 to 100."}`)
	s.send("sagemaker", "GET", "/endpoints/nobody/async-invocations", "").check(t, 400, `{"ErrorCode":"NO_SUCH_ENDPOINT","Message":"Endpoint nobody of account 123456789012 not found."}`)
}
