package awsmodel

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// violations returns what Validate finds in x.
func violations(t *testing.T, x Input, l Limits) []string {
	t.Helper()
	err := x.Validate(l)
	if err == nil {
		return nil
	}
	v, ok := errors.AsType[*ValidationError](err)
	if !ok {
		t.Fatalf("Validate: %v is not a *ValidationError", err)
	}
	return v.Violations
}

// Every member of InvokeEndpointAsync at the edge of its constraint, and one
// step beyond.
func TestInvokeEndpointAsyncEdges(t *testing.T) {
	type input = InvokeEndpointAsyncInput
	a := func(n int) *string { s := strings.Repeat("a", n); return &s }
	ascii := "\x00 \t~\x7f"
	const failed = "' failed to satisfy constraint: Member must "
	const inputPattern = `satisfy regular expression pattern: ^(https|s3)://([^/]+)/?(.*)$`
	const filePattern = `satisfy regular expression pattern: ^(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_\.]*$`
	const extPattern = `satisfy regular expression pattern: ^(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+$`
	tests := []struct {
		name string
		set  func(x *input)
		want string // rule that is broken; "" for none
	}{
		{"endpointName longest", func(x *input) { x.EndpointName = a(63) }, ""},
		{"endpointName longer", func(x *input) { x.EndpointName = a(64) }, "have length less than or equal to 63"},
		{"endpointName inner hyphens", func(x *input) { x.EndpointName = new("a--b") }, ""},
		{"endpointName hyphen at its end", func(x *input) { x.EndpointName = new("a-") }, "satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*"},
		{"endpointName empty", func(x *input) { x.EndpointName = new("") }, "satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*"},
		{"endpointName absent", func(x *input) { x.EndpointName = nil }, "not be null"},
		{"contentType longest", func(x *input) { x.ContentType = a(1024) }, ""},
		{"contentType longer", func(x *input) { x.ContentType = a(1025) }, "have length less than or equal to 1024"},
		{"contentType all of ASCII", func(x *input) { x.ContentType = &ascii }, ""},
		{"contentType beyond ASCII", func(x *input) { x.ContentType = new("é") }, `satisfy regular expression pattern: \p{ASCII}*`},
		{"accept longest", func(x *input) { x.Accept = a(1024) }, ""},
		{"accept longer", func(x *input) { x.Accept = a(1025) }, "have length less than or equal to 1024"},
		{"accept beyond ASCII", func(x *input) { x.Accept = new("\u0080") }, `satisfy regular expression pattern: \p{ASCII}*`},
		{"customAttributes longest", func(x *input) { x.CustomAttributes = a(1024) }, ""},
		{"customAttributes longer", func(x *input) { x.CustomAttributes = a(1025) }, "have length less than or equal to 1024"},
		{"customAttributes beyond ASCII", func(x *input) { x.CustomAttributes = new("é") }, `satisfy regular expression pattern: \p{ASCII}*`},
		{"inferenceId shortest", func(x *input) { x.InferenceId = a(1) }, ""},
		{"inferenceId empty", func(x *input) { x.InferenceId = new("") }, `have length greater than or equal to 1`},
		{"inferenceId longest", func(x *input) { x.InferenceId = a(64) }, ""},
		{"inferenceId longer", func(x *input) { x.InferenceId = a(65) }, "have length less than or equal to 64"},
		{"inferenceId blank inside", func(x *input) { x.InferenceId = new("a b~") }, ""},
		{"inferenceId blank first", func(x *input) { x.InferenceId = new(" a") }, `satisfy regular expression pattern: \A\S[\p{Print}]*\z`},
		{"inferenceId unprintable", func(x *input) { x.InferenceId = new("a\x7f") }, `satisfy regular expression pattern: \A\S[\p{Print}]*\z`},
		{"inputLocation s3", func(x *input) { x.InputLocation = new("s3://b") }, ""},
		{"inputLocation https", func(x *input) { x.InputLocation = new("https://b/k") }, ""},
		{"inputLocation http", func(x *input) { x.InputLocation = new("http://b/k") }, inputPattern},
		{"inputLocation no bucket", func(x *input) { x.InputLocation = new("s3:///k") }, inputPattern},
		{"inputLocation longest", func(x *input) { x.InputLocation = new("s3://b/" + *a(1017)) }, ""},
		{"inputLocation longer", func(x *input) { x.InputLocation = new("s3://b/" + *a(1018)) }, "have length less than or equal to 1024"},
		{"inputLocation empty", func(x *input) { x.InputLocation = new("") }, "have length greater than or equal to 1"},
		{"s3OutputPathExtension shortest", func(x *input) { x.S3OutputPathExtension = a(1) }, ""},
		{"s3OutputPathExtension longest", func(x *input) { x.S3OutputPathExtension = a(512) }, ""},
		{"s3OutputPathExtension longer", func(x *input) { x.S3OutputPathExtension = a(513) }, "have length less than or equal to 512"},
		{"s3OutputPathExtension all of its class", func(x *input) { x.S3OutputPathExtension = new("aZ0!_.*'()/-") }, ""},
		{"s3OutputPathExtension scheme", func(x *input) { x.S3OutputPathExtension = new("s3://b") }, extPattern},
		{"s3OutputPathExtension blank", func(x *input) { x.S3OutputPathExtension = new("a b") }, extPattern},
		{"filename shortest", func(x *input) { x.Filename = a(1) }, ""},
		{"filename longest", func(x *input) { x.Filename = a(32) }, ""},
		{"filename longer", func(x *input) { x.Filename = a(33) }, "have length less than or equal to 32"},
		{"filename one dot", func(x *input) { x.Filename = new("a-_b.json") }, ""},
		{"filename dot at its end", func(x *input) { x.Filename = new("a.") }, ""},
		{"filename two dots", func(x *input) { x.Filename = new("a.b.c") }, filePattern},
		{"filename dot first", func(x *input) { x.Filename = new(".a") }, filePattern},
		{"filename slash", func(x *input) { x.Filename = new("a/b") }, filePattern},
		{"requestTTLSeconds least", func(x *input) { x.RequestTTLSeconds = new(int32(60)) }, ""},
		{"requestTTLSeconds less", func(x *input) { x.RequestTTLSeconds = new(int32(59)) }, "have value greater than or equal to 60"},
		{"requestTTLSeconds most", func(x *input) { x.RequestTTLSeconds = new(int32(21600)) }, ""},
		{"requestTTLSeconds more", func(x *input) { x.RequestTTLSeconds = new(int32(21601)) }, "have value less than or equal to 21600"},
		{"invocationTimeoutSeconds least", func(x *input) { x.InvocationTimeoutSeconds = new(int32(1)) }, ""},
		{"invocationTimeoutSeconds less", func(x *input) { x.InvocationTimeoutSeconds = new(int32(0)) }, "have value greater than or equal to 1"},
		{"invocationTimeoutSeconds most", func(x *input) { x.InvocationTimeoutSeconds = new(int32(3600)) }, ""},
		{"invocationTimeoutSeconds more", func(x *input) { x.InvocationTimeoutSeconds = new(int32(3601)) }, "have value less than or equal to 3600"},
		{"body longest", func(x *input) { x.Body = make([]byte, 128_000) }, ""},
		{"body longer", func(x *input) { x.Body = make([]byte, 128_001) }, "have length less than or equal to 128000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := &input{EndpointName: new("e")}
			tt.set(x)
			got := violations(t, x, Limits{})
			if tt.want == "" {
				if got != nil {
					t.Fatalf("violations %q, want none", got)
				}
				return
			}
			member, _, _ := strings.Cut(tt.name, " ")
			if len(got) == 0 || !strings.HasSuffix(got[0], member+failed+tt.want) {
				t.Errorf("violations %q, want the first to end in %q", got, member+failed+tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	l := Limits{MaxTimeout: 6 * time.Hour, MaxTTL: 48 * time.Hour, MaxInline: 1 << 20}
	x := &InvokeEndpointAsyncInput{
		EndpointName:             new("e"),
		InvocationTimeoutSeconds: new(int32(21600)),
		RequestTTLSeconds:        new(int32(172800)),
		Body:                     make([]byte, 1<<20),
	}
	if got := violations(t, x, l); got != nil {
		t.Errorf("at the raised limits: %q, want none", got)
	}
	*x.InvocationTimeoutSeconds++
	*x.RequestTTLSeconds++
	x.Body = make([]byte, 1<<20+1)
	want := []string{
		"Value '172801' at 'requestTTLSeconds' failed to satisfy constraint: Member must have value less than or equal to 172800",
		"Value '21601' at 'invocationTimeoutSeconds' failed to satisfy constraint: Member must have value less than or equal to 21600",
		"Value at 'body' failed to satisfy constraint: Member must have length less than or equal to 1048576",
	}
	if diff := cmp.Diff(want, violations(t, x, l)); diff != "" {
		t.Errorf("beyond the raised limits (-want +got):\n%s", diff)
	}
}

// The texts of violations, whole.
func TestTexts(t *testing.T) {
	variant := func(set func(*ProductionVariant)) *CreateEndpointConfigInput {
		v := ProductionVariant{VariantName: new("v")}
		set(&v)
		return &CreateEndpointConfigInput{EndpointConfigName: new("c"), ProductionVariants: []ProductionVariant{v}}
	}
	container := func(set func(*ContainerDefinition)) *CreateModelInput {
		x := &CreateModelInput{ModelName: new("m"), PrimaryContainer: new(ContainerDefinition)}
		set(x.PrimaryContainer)
		return x
	}
	tests := []struct {
		name string
		x    Input
		want string
	}{
		{
			"required", &DescribeEndpointInput{},
			"1 validation error detected: Value null at 'endpointName' failed to satisfy constraint: Member must not be null",
		},
		{
			"two at once", &CreateEndpointConfigInput{EndpointConfigName: new("-")},
			"2 validation errors detected: Value '-' at 'endpointConfigName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}; Value null at 'productionVariants' failed to satisfy constraint: Member must not be null",
		},
		{
			"empty list", &CreateEndpointConfigInput{EndpointConfigName: new("c"), ProductionVariants: []ProductionVariant{}},
			"1 validation error detected: Value '[]' at 'productionVariants' failed to satisfy constraint: Member must have length greater than or equal to 1",
		},
		{
			"item of a list", variant(func(v *ProductionVariant) { v.VariantName = nil }),
			"1 validation error detected: Value null at 'productionVariants.1.member.variantName' failed to satisfy constraint: Member must not be null",
		},
		{
			"range", variant(func(v *ProductionVariant) { v.VolumeSizeInGB = new(int32(513)) }),
			"1 validation error detected: Value '513' at 'productionVariants.1.member.volumeSizeInGB' failed to satisfy constraint: Member must have value less than or equal to 512",
		},
		{
			"instance type of our own", variant(func(v *ProductionVariant) { v.InstanceType = new("ml.rack7-a100x4") }),
			"",
		},
		{
			"instance type of no kind", variant(func(v *ProductionVariant) { v.InstanceType = new("t2.micro") }),
			"1 validation error detected: Value 't2.micro' at 'productionVariants.1.member.instanceType' failed to satisfy constraint: Member must satisfy regular expression pattern: ml\\.[a-zA-Z0-9._-]+",
		},
		{
			"enum, sorted", container(func(c *ContainerDefinition) { c.Mode = new("Many") }),
			"1 validation error detected: Value 'Many' at 'primaryContainer.mode' failed to satisfy constraint: Member must satisfy enum value set: [MultiModel, SingleModel]",
		},
		{
			"map", container(func(c *ContainerDefinition) { c.Environment = map[string]string{"1": "secret"} }),
			"1 validation error detected: Value at 'primaryContainer.environment' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: [a-zA-Z_][a-zA-Z0-9_]*]",
		},
		{
			"list of strings", &DeleteTagsInput{ResourceArn: new("arn:aws:sagemaker:us-east-1:000000000000:model/m"), TagKeys: []string{"ok", ""}},
			`1 validation error detected: Value '[ok, ]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)]`,
		},
		{
			"sensitive", &InvokeEndpointAsyncInput{EndpointName: new("e"), CustomAttributes: new("é")},
			`1 validation error detected: Value at 'customAttributes' failed to satisfy constraint: Member must satisfy regular expression pattern: \p{ASCII}*`,
		},
		{
			"length counts characters", &AddTagsInput{
				ResourceArn: new("arn:aws:sagemaker:us-east-1:000000000000:model/m"),
				Tags:        []Tag{{Key: new("k"), Value: new(strings.Repeat("é", 256))}},
			},
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.x.Validate(Limits{}); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTopics(t *testing.T) {
	tests := []struct {
		topic     string
		ok, plain bool // as things are, and where webhooks may be in clear
	}{
		{"arn:aws:sns:us-east-1:123456789012:done", true, true},
		{"arn:aws-cn:sns:cn-north-1:123456789012:done", true, true},
		{"https://hooks.example.com/done?x=1", true, true},
		{"http://hooks.example.com/done", false, true},
		{"http://hooks.example.com/a b", false, false},
		{"https://hooks.example.com/a b", false, false},
		{"arn:aws:sqs:us-east-1:123456789012:done", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.topic, func(t *testing.T) {
			x := &CreateEndpointConfigInput{
				EndpointConfigName: new("c"),
				ProductionVariants: []ProductionVariant{{VariantName: new("v")}},
				AsyncInferenceConfig: &AsyncInferenceConfig{OutputConfig: &AsyncInferenceOutputConfig{
					NotificationConfig: &AsyncInferenceNotificationConfig{SuccessTopic: &tt.topic, ErrorTopic: &tt.topic},
				}},
			}
			for plain, ok := range map[bool]bool{false: tt.ok, true: tt.plain} {
				want := 2
				if ok {
					want = 0
				}
				if got := violations(t, x, Limits{PlainWebhooks: plain}); len(got) != want {
					t.Errorf("in clear %v: %d violations, want %d: %q", plain, len(got), want, got)
				}
			}
		})
	}
}

// Every entry of the list of what is widened names a shape that is checked.
func TestWidenedNamesShapes(t *testing.T) {
	known := map[string]*constraint{}
	for _, k := range []*constraint{
		&sagemakerProductionVariantInstanceType, &sagemakerSnsTopicArn,
		&runtimeInvocationTimeoutSecondsHeader, &runtimeRequestTTLSecondsHeader, &runtimeAsyncBodyBlob,
		&autoscalingMetricType,
	} {
		known[k.shape] = k
	}
	for shape := range widened {
		if known[shape] == nil {
			t.Errorf("%s is widened, but no shape of that name is known here", shape)
		}
	}
	c := checker{}
	for _, instanceType := range sagemakerProductionVariantInstanceType.enum {
		if broken := c.rule(&sagemakerProductionVariantInstanceType).brokenBy(instanceType); broken != nil {
			t.Errorf("AWS's own instance type %s is refused: %q", instanceType, broken)
		}
	}
}
