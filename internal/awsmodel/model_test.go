package awsmodel

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// A modelShape is what the tests read of a shape in models/, apart from the
// generator.
type modelShape struct {
	Type     string
	Required []string
	Members  map[string]struct{ Shape string }
	Member   struct{ Shape string }
	Enum     []string
	Min, Max *int64
	Pattern  string
}

type modelFile struct {
	Operations map[string]struct{ Input struct{ Shape string } }
	Shapes     map[string]modelShape
}

// Every bound, enumeration and required member of the control plane's model is
// checked where the model has it: one step beyond is a violation at that path,
// and at the edge there is none of that kind.
func TestControlPlaneEdges(t *testing.T) {
	data, err := os.ReadFile("models/sagemaker.json")
	if err != nil {
		t.Fatal(err)
	}
	var m modelFile
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	probes := 0
	for _, op := range SageMakerOperations() {
		walk(m, m.Operations[op.Name].Input.Shape, "", func(v any) any { return v }, func(p probe) {
			probes++
			x := op.NewInput()
			doc, err := json.Marshal(p.document)
			if err != nil {
				t.Fatal(err)
			}
			if err := Decode(doc, x); err != nil {
				t.Fatalf("%s: %s: %v", op.Name, doc, err)
			}
			wanted := func(v string) bool {
				return strings.Contains(v, "'"+p.path+"' failed to satisfy constraint: ") && strings.HasSuffix(v, p.rule)
			}
			if got := slices.ContainsFunc(violations(t, x, Limits{}), wanted); got != p.violated {
				t.Errorf("%s: %s is violated at %s: %t, want %t", op.Name, p.rule, p.path, got, p.violated)
			}
		})
	}
	if probes < 500 {
		t.Errorf("%d probes: the model was not walked", probes)
	}
}

// A probe is a request, and a rule that it keeps or breaks at a path.
type probe struct {
	document any
	path     string
	rule     string
	violated bool
}

// walk makes the probes of a structure and of those below it. wrap puts a value
// of the structure into a whole request.
func walk(m modelFile, name, prefix string, wrap func(any) any, try func(probe)) {
	s := m.Shapes[name]
	for member, ref := range s.Members {
		path := prefix + strings.ToLower(member[:1]) + member[1:]
		put := func(v any) any { return wrap(map[string]any{member: v}) }
		if slices.Contains(s.Required, member) {
			try(probe{wrap(map[string]any{}), path, "Member must not be null", true})
		}
		at := m.Shapes[ref.Shape]
		switch at.Type {
		case "string", "list", "map":
			edges(m, at, ref.Shape, path, put, try)
		case "integer", "float":
			ranges(at, path, put, try)
		case "structure":
			walk(m, ref.Shape, path+".", put, try)
		}
		if item := at.Member.Shape; at.Type == "list" && m.Shapes[item].Type == "structure" {
			walk(m, item, path+".2.member.", func(v any) any { return put([]any{map[string]any{}, v}) }, try)
		}
	}
}

func ranges(s modelShape, path string, put func(any) any, try func(probe)) {
	if s.Min != nil {
		rule := fmt.Sprintf("Member must have value greater than or equal to %d", *s.Min)
		try(probe{put(*s.Min), path, rule, false})
		try(probe{put(*s.Min - 1), path, rule, true})
	}
	if s.Max != nil {
		rule := fmt.Sprintf("Member must have value less than or equal to %d", *s.Max)
		try(probe{put(*s.Max), path, rule, false})
		try(probe{put(*s.Max + 1), path, rule, true})
	}
}

func edges(m modelFile, s modelShape, name, path string, put func(any) any, try func(probe)) {
	if s.Min != nil && *s.Min > 0 {
		rule := fmt.Sprintf("Member must have length greater than or equal to %d", *s.Min)
		try(probe{put(sized(m, s, *s.Min)), path, rule, false})
		try(probe{put(sized(m, s, *s.Min-1)), path, rule, true})
	}
	if s.Max != nil {
		rule := fmt.Sprintf("Member must have length less than or equal to %d", *s.Max)
		try(probe{put(sized(m, s, *s.Max)), path, rule, false})
		try(probe{put(sized(m, s, *s.Max+1)), path, rule, true})
	}
	if s.Enum != nil && widened["sagemaker."+name] == nil {
		rule := "Member must satisfy enum value set: [" + strings.Join(slices.Sorted(slices.Values(s.Enum)), ", ") + "]"
		try(probe{put("bogus"), path, rule, true})
		for _, v := range s.Enum {
			try(probe{put(v), path, rule, false})
		}
	}
	if s.Pattern != "" && widened["sagemaker."+name] == nil && !strings.Contains(s.Pattern, `\S\s`) && !strings.Contains(s.Pattern, `\s\S`) {
		try(probe{put("\n"), path, "Member must satisfy regular expression pattern: " + s.Pattern, true})
	}
}

// sized is a value of a shape with n characters or items.
func sized(m modelFile, s modelShape, n int64) any {
	switch s.Type {
	case "string":
		return strings.Repeat("é", int(n))
	case "map":
		v := map[string]string{}
		for i := range n {
			v[fmt.Sprint("k", i)] = ""
		}
		return v
	}
	list := make([]any, n)
	for i := range list {
		if list[i] = any(""); m.Shapes[s.Member.Shape].Type == "structure" {
			list[i] = map[string]any{}
		}
	}
	return list
}
