package awsapi

import (
	"net/http"
	"strings"
	"testing"
)

// Tags that AWS does not let a thing be made with, nor given later.
func TestTagsThatAreRefused(t *testing.T) {
	const reserved = `{"__type":"ValidationException","message":"aws: prefixed tag key names are not allowed for external use."}`
	tests := []struct {
		name, tags string
		want       string // "" where the thing is made
	}{
		{"two of one key", `{"Key":"k","Value":"1"},{"Key":"k","Value":"2"}`, `{"__type":"ValidationException","message":"The tag key \"k\" was non-unique within the request."}`},
		{"two that differ in case", `{"Key":"k","Value":"1"},{"Key":"K","Value":"2"}`, ""},
		{"reserved", `{"Key":"aws:x","Value":"1"}`, reserved},
		{"reserved, whatever the case", `{"Key":"ok","Value":"1"},{"Key":"AwS:","Value":"1"}`, reserved},
		{"like reserved", `{"Key":"aws","Value":"1"},{"Key":"awsx:","Value":"1"},{"Key":"é","Value":""}`, ""},
	}
	creates := []struct{ operation, delete, body string }{
		{"CreateModel", "DeleteModel", `{"ModelName":"m2","PrimaryContainer":{"Image":"i"},"Tags":[TAGS]}`},
		{"CreateEndpointConfig", "DeleteEndpointConfig", `{"EndpointConfigName":"c2","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"Tags":[TAGS]}`},
		{"CreateEndpoint", "", `{"EndpointName":"e-NAME","EndpointConfigName":"c","Tags":[TAGS]}`},
	}
	s := open(t, nil)
	s.serve("e")
	for _, tt := range tests {
		t.Run("AddTags "+tt.name, func(t *testing.T) {
			a := s.call("AddTags", `{"ResourceArn":"arn:aws:sagemaker:us-east-1:123456789012:model/m","Tags":[`+tt.tags+`]}`)
			if tt.want != "" {
				a.check(t, http.StatusBadRequest, tt.want)
			} else if a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	for _, create := range creates {
		for i, tt := range tests {
			t.Run(create.operation+" "+tt.name, func(t *testing.T) {
				body := strings.NewReplacer("TAGS", tt.tags, "NAME", string(rune('a'+i))).Replace(create.body)
				a := s.call(create.operation, body)
				if tt.want != "" {
					a.check(t, http.StatusBadRequest, tt.want)
					return
				}
				if a.status != http.StatusOK {
					t.Fatalf("%d %s", a.status, a.body)
				}
				if create.delete != "" {
					s.must(create.delete, body)
				}
			})
		}
	}
}
