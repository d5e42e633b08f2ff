package awsapi

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd/internal/awsmodel"
)

// What is wrong with the form of a document is told.
func TestParseParityComplains(t *testing.T) {
	const head = "## S\n### `Op`\n| member | verdict | note |\n|---|---|---|\n"
	tests := []struct{ name, text, want string }{
		{"right", head + "| `A`, `B.*` | stored | never used |", ""},
		{"right, of all operations", "## S\n### Members of all operations\n| member | verdict | note |\n| `A` | stored | |", ""},
		{"verdict", head + "| `A` | ignored | |", `line 5: has the verdict "ignored"`},
		{"no verdict", head + "| `A` | | |", `line 5: has the verdict ""`},
		{"too few cells", head + "| `A` | stored |", "line 5: is not three cells between bars"},
		{"too many cells", head + "| `A` | stored | a | b |", "line 5: is not three cells between bars"},
		{"row that does not end", head + "| `A` | stored | a", "line 5: is not three cells between bars"},
		{"prose for a name", head + "| `A` and the rest | stored | |", "line 5: names nothing: `A` and the rest"},
		{"another head", "## S\n| thing | verdict | note |", "line 2: is no head of a table: | thing | verdict | note |"},
		{"members of nothing", "## S\n| member | verdict | note |", "line 2: is a table of members below no operation"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, complaints := parseParity(test.text)
			if diff := cmp.Diff(test.want, strings.Join(complaints, "; ")); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

// A document that leaves something out, or makes something up, is told.
func TestIncompleteParityIsTold(t *testing.T) {
	typed := []awsmodel.Operation{
		{Name: "AddTags", NewInput: func() awsmodel.Input { return new(awsmodel.AddTagsInput) }},
		{Name: "DeleteModel", NewInput: func() awsmodel.Input { return new(awsmodel.DeleteModelInput) }},
	}
	const (
		operations = "## S\n| operation | verdict | note |\n|---|---|---|\n"
		both       = operations + "| `AddTags`, `DeleteModel` | honoured | |\n| every other operation (1) | refused | |\n"
		members    = "| member | verdict | note |\n|---|---|---|\n"
		tags       = "### `AddTags`\n" + members + "| `ResourceArn`, `Tags[].*` | honoured | |\n"
		model      = "### `DeleteModel`\n" + members + "| `ModelName` | honoured | |\n"
	)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"whole", both + tags + model, nil},
		{"no operation", operations + "| `AddTags` | honoured | |\n| every other operation (1) | refused | |\n" + tags + model, []string{"S: 0 rows are about DeleteModel"}},
		{"an operation twice", both + "| `AddTags` | refused | |\n" + tags + model, []string{"S: 2 rows are about AddTags"}},
		{"another operation", both + "| `Fly` | refused | |\n" + tags + model, []string{"line 6: S has no member Fly"}},
		{"miscounted", strings.Replace(both, "(1)", "(2)", 1) + tags + model, []string{"S: 2 other operations, want 1"}},
		{"no member", both + tags, []string{"DeleteModel: 0 rows are about ModelName"}},
		{"part of a structure", both + strings.Replace(tags, "Tags[].*", "Tags[].Key", 1) + model, []string{"AddTags: 0 rows are about Tags[].Value"}},
		{"a member twice", both + tags + "| `Tags[].Key` | stored | |\n" + model, []string{"AddTags: 2 rows are about Tags[].Key"}},
		{"another member", both + tags + model + "| `Colour` | stored | |\n", []string{"line 14: DeleteModel has no member Colour"}},
		{"members of another operation", both + tags + model + "### `Fly`\n" + members, []string{"S: a table is about Fly, which is no operation"}},
		{"refused", strings.Replace(both, "| `AddTags`, `DeleteModel` | honoured | |", "| `AddTags` | honoured | |\n| `DeleteModel` | refused | |", 1) + tags, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, complaints := parseParity(test.text)
			if complaints != nil {
				t.Fatal(complaints)
			}
			got := incomplete(d, "S", typed, []string{"AddTags", "DeleteModel", "Other"})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

// Verdicts that the server does not bear out are told.
func TestWrongVerdictsAreTold(t *testing.T) {
	p := newProver(t)
	model, config := creations[0], creations[1]
	forgetful := model
	forgetful.got = func(described map[string]any) map[string]any { return without(model.got(described), "VpcConfig") }
	talkative := model
	talkative.got = func(described map[string]any) map[string]any {
		got := maps.Clone(model.got(described))
		got["InferenceExecutionConfig"] = map[string]any{"Mode": "Serial"}
		return got
	}
	container := "PrimaryContainer."
	tests := []struct {
		name     string
		creation creation
		path     string
		verdict  verdict
		note     string
		want     string // "" for no complaint
	}{
		{"stored", model, "VpcConfig.Subnets[]", stored, "", ""},
		{"stored, but said to be refused", model, "VpcConfig.Subnets[]", refused, "", "want a refusal that names Subnets"},
		{"stored, but dropped", forgetful, "VpcConfig.Subnets[]", stored, "", "described (-want +got)"},
		{"stored, but with more than was sent", talkative, "VpcConfig.Subnets[]", stored, "", "described (-want +got)"},
		{"refused", model, container + "ModelPackageName", refused, "", ""},
		{"refused, but said to be stored", model, container + "ModelPackageName", stored, "", "ModelPackageName is not supported"},
		{"refused, but said to be honoured", model, container + "ModelPackageName", honoured, "", "ModelPackageName is not supported"},
		{"one value refused", model, container + "Mode", honoured, "`MultiModel` is refused", ""},
		{"one value refused, but not said so", model, container + "Mode", honoured, "", "Mode MultiModel is not supported"},
		{"another value refused", model, container + "Mode", honoured, "`SingleModel` is refused, `MultiModel` is refused", "want a refusal that names Mode"},
		{"late", config, "ExplainerConfig.ClarifyExplainerConfig.EnableExplanations", refused, "at `CreateEndpoint`", "names EnableExplanations"},
		{"late, but said to be at once", config, "EnableNetworkIsolation", refused, "`false` is stored", "want a refusal that names EnableNetworkIsolation"},
		{"late, but said to be stored", config, "EnableNetworkIsolation", stored, "", "CreateEndpoint: answer 400"},
		{"never, but said to be late", config, "KmsKeyId", refused, "at `CreateEndpoint`", "CreateEndpoint: answer 200"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			row := parityRow{names: []string{test.path}, verdict: test.verdict, note: test.note}
			got := strings.Join(p.prove(test.creation, test.path, row, test.path), "\n")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("complaints %q, want %q", got, test.want)
			}
		})
	}
}

func TestMembersOfALargeInput(t *testing.T) {
	got := members(reflect.TypeFor[awsmodel.CreateEndpointConfigInput]())
	for _, want := range []string{
		"KmsKeyId", "ProductionVariants[].CoreDumpConfig.DestinationS3Uri", "VpcConfig.Subnets[]",
		"ProductionVariants[].AcceleratorPartitionLayouts[].AcceleratorPartitionTypes[]",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
}
