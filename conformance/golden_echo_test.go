package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// goldenValues are what stands for the snapshots' placeholders, by member,
// where an operation would not take those.
var goldenValues = map[string]any{
	"ModelName":                        "golden",
	"EndpointConfigName":               "golden",
	"EndpointName":                     "golden",
	"ExecutionRoleArn":                 role,
	"MetricsEndpointPath":              "/metrics",
	"S3Uri":                            "s3://work/model/",
	"ManifestS3Uri":                    "s3://work/manifest",
	"HubContentArn":                    "arn:aws:sagemaker:us-east-1:000000000000:hub-content/hub/Model/content/1.0.0",
	"RepositoryCredentialsProviderArn": "arn:aws:lambda:us-east-1:000000000000:function:credentials",
	"ModelNameOverride":                "golden",
	"SecurityGroupIds":                 []any{"sg-0"},
	"Subnets":                          []any{"subnet-0"},
	"ContainerHostname":                "host",
	"InferenceSpecificationName":       "specification",
	"MlReservationArn":                 "arn:aws:sagemaker:us-east-1:000000000000:training-plan/plan",
	"KmsKeyId":                         "alias/key",
	"DestinationS3Uri":                 "s3://work/captured",
	"S3OutputPath":                     "s3://work/out",
	"S3FailurePath":                    "s3://work/failed",
	"SuccessTopic":                     "arn:aws:sns:us-east-1:000000000000:done",
	"ErrorTopic":                       "arn:aws:sns:us-east-1:000000000000:failed",
	"CsvContentTypes":                  []any{"text/csv"},
	"JsonContentTypes":                 []any{"application/json"},
	"AcceleratorPartitionTypes":        []any{"mig-1g.5gb"},
	"ContainerStartupHealthCheckTimeoutInSeconds": 60,
	"ModelDataDownloadTimeoutInSeconds":           60,
	"VariantInstanceProvisionTimeoutInSeconds":    300,
	"MemorySizeInMB":                   1024,
	"MimeType":                         "text/csv",
	"ShapBaselineUri":                  "s3://work/baseline",
	"CooldownInMinutes":                5,
	"WaitIntervalInSeconds":            60,
	"MaximumExecutionTimeoutInSeconds": 600,
	"FeatureHeaders":                   []any{"feature"},
	"LabelHeaders":                     []any{"label"},
	"EnableExplanations":               "`true`",
	"AlarmName":                        "alarm",
	"ModelDataUrl":                     "s3://work/model.tar.gz",
	"ModelPackageName":                 "package",
	"VariantName":                      "AllTraffic",
	"PrefixLength":                     1024,
}

// goldenOnce are operations that make what can be described. What is refused,
// or cannot stand beside other members, is listed and tried by itself.
var goldenOnce = []struct {
	create, describe, name string
	omitted                map[string]string // by path: what the refusal says; "" where it is taken, but not beside the others
}{
	{"CreateModel", "DescribeModel", "ModelName", map[string]string{
		"Containers":             "cannot be given together",
		"EnableNetworkIsolation": "EnableNetworkIsolation",
		"PrimaryContainer.AdditionalModelDataSources":                 "AdditionalModelDataSources",
		"PrimaryContainer.ModelDataUrl":                               "ModelDataUrl and ModelDataSource",
		"PrimaryContainer.ModelDataSource.S3DataSource.ManifestS3Uri": "ManifestS3Uri",
		"PrimaryContainer.ModelDataSource.S3DataSource.ManifestEtag":  "ManifestEtag",
		"PrimaryContainer.ModelPackageName":                           "ModelPackageName is not supported",
	}},
	{"CreateEndpointConfig", "DescribeEndpointConfig", "EndpointConfigName", map[string]string{}},
}

// testGoldenEcho creates things with every member that there is: what is taken
// is described as it was given, and what is not is refused by name.
func testGoldenEcho(t *testing.T, s *server) {
	c := s.signer(t)
	echoed := 0
	for _, once := range goldenOnce {
		t.Run(once.create, func(t *testing.T) {
			shot := parseSnapshot(once.create, readFile(t, snapshots(t, "sagemaker", "request_snapshot"), once.create+".request.snap"))
			var whole map[string]any
			if err := json.Unmarshal(shot.body, &whole); err != nil {
				t.Fatal(err)
			}
			whole = fill(whole).(map[string]any)
			taken := without(whole, slices.Collect(maps.Keys(once.omitted)))
			if a := c.call(once.create, taken); a.status != http.StatusOK {
				t.Fatalf("with all members that are taken: %d %s", a.status, a.body)
			}
			a := c.call(once.describe, map[string]any{once.name: "golden"})
			var described any
			if err := json.Unmarshal(a.body, &described); err != nil || a.status != http.StatusOK {
				t.Fatalf("%s: %v", once.describe, a)
			}
			delete(taken, "Tags")
			checkWithin(t, once.describe, taken, described, &echoed)
			for path, says := range once.omitted {
				alone := without(whole, slices.DeleteFunc(slices.Collect(maps.Keys(once.omitted)), func(p string) bool { return p == path }))
				alone[once.name] = "golden2"
				a := c.call(once.create, alone)
				if code, message := a.jsonError(); code != "ValidationException" || !strings.Contains(message, says) {
					t.Errorf("%s: %v, want a validation error that says %q", path, a, says)
				}
			}
		})
	}
	t.Run("CreateEndpoint", func(t *testing.T) { testGoldenDeployment(t, s, &echoed) })
	t.Logf("%d members came back as they were given", echoed)
}

// testGoldenDeployment creates an endpoint with everything that there is, of a
// configuration that can be served. Its deployment has another name when it is
// described.
func testGoldenDeployment(t *testing.T, s *server, echoed *int) {
	c, sdk := s.signer(t), s.client().with(t)
	sdk.create("golden-endpoint")
	sdk.awaitInService("golden-endpoint")
	shot := parseSnapshot("CreateEndpoint", readFile(t, snapshots(t, "sagemaker", "request_snapshot"), "CreateEndpoint.request.snap"))
	var whole map[string]any
	if err := json.Unmarshal(shot.body, &whole); err != nil {
		t.Fatal(err)
	}
	whole = fill(whole).(map[string]any)
	whole["EndpointConfigName"] = "golden-endpoint"
	tags := whole["Tags"]
	for _, policy := range []string{"RollingUpdatePolicy", "BlueGreenUpdatePolicy"} { // one of them at a time
		whole["EndpointName"] = policy
		taken := without(whole, []string{"DeploymentConfig." + policy})
		if a := c.call("CreateEndpoint", taken); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		sdk.awaitInService(policy)
		var described struct{ EndpointArn, EndpointName, EndpointConfigName, LastDeploymentConfig any }
		if err := json.Unmarshal(c.call("DescribeEndpoint", map[string]any{"EndpointName": policy}).body, &described); err != nil {
			t.Fatal(err)
		}
		checkWithin(t, "LastDeploymentConfig", taken["DeploymentConfig"], described.LastDeploymentConfig, echoed)
		checkWithin(t, "EndpointConfigName", taken["EndpointConfigName"], described.EndpointConfigName, echoed)
		var listed struct{ Tags any }
		if err := json.Unmarshal(c.call("ListTags", map[string]any{"ResourceArn": described.EndpointArn}).body, &listed); err != nil {
			t.Fatal(err)
		}
		checkWithin(t, "Tags", tags, listed.Tags, echoed)
	}
}

// fill puts goldenValues where they belong. Lists of structures keep their first.
func fill(at any) any {
	switch at := at.(type) {
	case map[string]any:
		for name, value := range at {
			if v, ok := goldenValues[name]; ok {
				at[name] = v
			} else {
				at[name] = fill(value)
			}
		}
	case []any:
		return []any{fill(at[0])}
	}
	return at
}

// without copies a document, less the members at the paths.
func without(document any, paths []string) map[string]any {
	text, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		panic(err)
	}
	for _, path := range paths {
		at := tree
		steps := strings.Split(path, ".")
		for _, step := range steps[:len(steps)-1] {
			next := at[step]
			if list, ok := next.([]any); ok {
				next = list[0]
			}
			at = next.(map[string]any)
		}
		delete(at, steps[len(steps)-1])
	}
	return tree
}

// checkWithin checks that everything in want stands in got, and counts it.
func checkWithin(t *testing.T, path string, want, got any, count *int) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for name, value := range want {
			checkWithin(t, path+"."+name, value, g[name], count)
		}
	case []any:
		g, _ := got.([]any)
		if len(g) != len(want) {
			t.Errorf("%s: %v, want %v", path, got, want)
			return
		}
		for i := range want {
			checkWithin(t, fmt.Sprintf("%s[%d]", path, i), want[i], g[i], count)
		}
	default:
		*count++
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
