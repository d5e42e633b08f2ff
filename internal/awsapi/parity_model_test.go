package awsapi

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/deferd/deferd/internal/awsmodel"
)

// members lists what a request may say, by path: the leaves of an input's
// type, as documents call them. Lists have "[]" behind their name.
func members(input reflect.Type) (paths []string) {
	for f := range input.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" { // it is in the path, a header or the body
			name = f.Name
		}
		paths = append(paths, below(name, f.Type)...)
	}
	return paths
}

// below lists the leaves of a member.
func below(name string, t reflect.Type) []string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[awsmodel.Timestamp](), t == reflect.TypeFor[[]byte]():
	case t.Kind() == reflect.Slice:
		return below(name+"[]", t.Elem())
	case t.Kind() == reflect.Struct:
		paths := members(t)
		for i := range paths {
			paths[i] = name + "." + paths[i]
		}
		return paths
	}
	return []string{name}
}

// A serviceModel is AWS's own, as internal/awsmodel has it.
type serviceModel struct {
	Operations map[string]struct {
		Input struct{ Shape string }
		HTTP  struct{ Method, RequestURI string }
	}
	Shapes map[string]shape
}

type shape struct {
	Type     string
	Members  map[string]member
	Required []string
	Member   *member
	Enum     []string
	Min, Max *float64
}

type member struct{ Shape, LocationName string }

func readModel(t *testing.T, name string) *serviceModel {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "awsmodel", "models", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	m := new(serviceModel)
	if err := json.Unmarshal(text, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// leaf returns the name of the shape of a member of an operation.
func (m *serviceModel) leaf(operation, path string) string {
	name := m.Operations[operation].Input.Shape
	for step := range strings.SplitSeq(path, ".") {
		base, list := strings.CutSuffix(step, "[]")
		name = m.Shapes[name].Members[base].Shape
		if list {
			name = m.Shapes[name].Member.Shape
		}
	}
	return name
}

// examples are values of the shapes whose pattern "value-1" does not match.
var examples = map[string]any{
	"AcceleratorPartitionType": "mig-1g.5gb",
	"ClarifyMimeType":          "text/csv",
	"CsvContentType":           "text/csv",
	"DestinationS3Uri":         "s3://bucket/some/prefix",
	"EnvironmentMap":           map[string]any{"NAME": "a value", "EMPTY": ""},
	"InputLocationHeader":      "s3://bucket/key",
	"JsonContentType":          "application/json",
	"KmsKeyId":                 "arn:aws:kms:us-east-1:123456789012:key/1a2b",
	"MetricsEndpointPath":      "/metrics",
	"MlReservationArn":         "arn:aws:sagemaker:us-east-1:123456789012:training-plan/p",
	"ResourceArn":              arnHead + "model/m",
	"RoleArn":                  "arn:aws:iam::123456789012:role/Some",
	"S3ModelUri":               "s3://bucket/model/",
	"SnsTopicArn":              "arn:aws:sns:us-east-1:123456789012:topic",
	"Timestamp":                1.7e9,
	"Url":                      "s3://bucket/model.tar.gz",
}

// values are valid values of a leaf: both ends of a range, the elements of an
// enumeration (of a long one, its first and last), and an example otherwise.
func (m *serviceModel) values(name string) []any {
	s := m.Shapes[name]
	if v, ok := examples[name]; ok {
		return []any{v}
	}
	switch s.Type {
	case "boolean":
		return []any{true, false}
	case "integer", "long", "float", "double":
		low, high := 0.0, 7.0
		if s.Min != nil {
			low, high = *s.Min, *s.Min+7
		}
		if s.Max != nil {
			high = *s.Max
		}
		if s.Type == "float" {
			return []any{low, 0.1, 1.0, high}
		}
		return []any{low, high}
	case "string":
		if n := len(s.Enum); n > 12 {
			return []any{s.Enum[0], s.Enum[n-1]}
		}
		if s.Enum != nil {
			list := make([]any, len(s.Enum))
			for i, v := range s.Enum {
				list[i] = v
			}
			return list
		}
		return []any{"value-1"}
	case "blob":
		return []any{"some bytes"}
	}
	panic(fmt.Sprintf("no values of shape %s of type %s", name, s.Type))
}

// minimal is a value of a shape with nothing but what is required.
func (m *serviceModel) minimal(name string) any {
	s := m.Shapes[name]
	switch s.Type {
	case "structure":
		v := map[string]any{}
		for _, required := range s.Required {
			v[required] = m.minimal(s.Members[required].Shape)
		}
		return v
	case "list":
		return []any{m.minimal(s.Member.Shape)}
	}
	return m.values(name)[0]
}

// set puts a value into a request, and what is required around it.
func (m *serviceModel) set(request map[string]any, operation, path string, v any) {
	name, at := m.Operations[operation].Input.Shape, request
	steps := strings.Split(path, ".")
	for i, step := range steps {
		base, list := strings.CutSuffix(step, "[]")
		name = m.Shapes[name].Members[base].Shape
		switch {
		case i == len(steps)-1 && list:
			at[base] = []any{v}
		case i == len(steps)-1:
			at[base] = v
		case at[base] == nil:
			at[base] = m.minimal(name)
			fallthrough
		default:
			next := at[base]
			if list {
				next = next.([]any)[0]
				name = m.Shapes[name].Member.Shape
			}
			at = next.(map[string]any)
		}
	}
}

// The leaves of the generated types are those of the model: otherwise a member
// might be walked that no request can have, or the other way round.
func TestMembers(t *testing.T) {
	for file, operations := range map[string][]awsmodel.Operation{
		"sagemaker": awsmodel.SageMakerOperations(), "runtime": awsmodel.RuntimeOperations(), "sts": awsmodel.STSOperations(),
	} {
		m := readModel(t, file)
		for _, op := range operations {
			var want []string
			if input := m.Operations[op.Name].Input.Shape; input != "" {
				want = m.leaves("", input)
			}
			got := members(reflect.TypeOf(op.NewInput()).Elem())
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s has %q, want %q", op.Name, got, want)
			}
		}
	}
}

func (m *serviceModel) leaves(path, name string) (paths []string) {
	s := m.Shapes[name]
	switch s.Type {
	case "structure":
		for field, f := range s.Members {
			paths = append(paths, m.leaves(strings.TrimPrefix(path+"."+field, "."), f.Shape)...)
		}
		return paths
	case "list":
		return m.leaves(path+"[]", s.Member.Shape)
	}
	return []string{path}
}
