package awsapi

import (
	"fmt"
	"strings"
	"testing"
)

func TestListTags(t *testing.T) {
	s := open(t, nil)
	s.must("CreateModel", `{"ModelName":"My-Model","PrimaryContainer":{"Image":"i"},"Tags":[{"Key":"k","Value":"v"}]}`)
	s.must("CreateModel", `{"ModelName":"My-Model-2","PrimaryContainer":{"Image":"i"}}`)
	list := func(arn string) answer { return s.call("ListTags", `{"ResourceArn":"`+arn+`"}`) }
	list(arnHead+"model/my-model").check(t, 200, `{"Tags":[{"Key":"k","Value":"v"}]}`)
	list(arnHead+"model/My-Model-2").check(t, 200, `{"Tags":[]}`)
	list(arnHead+"model/model").check(t, 400, `{"__type":"ValidationException","message":"Could not find model \"`+arnHead+`model/model\"."}`)
	list(arnHead+"endpoint/e").check(t, 400, `{"__type":"ValidationException","message":"Could not find endpoint \"`+arnHead+`endpoint/e\"."}`)
	list(arnHead+"pipeline/p").check(t, 400, `{"__type":"ValidationException","message":"\"`+arnHead+`pipeline/p\" names nothing that has tags here."}`)
	list("arn:aws:sagemaker:us-east-1:000000000000:model/my-model").check(t, 400,
		`{"__type":"ValidationException","message":"\"arn:aws:sagemaker:us-east-1:000000000000:model/my-model\" is not an ARN of this account and region."}`)
	s.call("ListTags", `{"ResourceArn":"`+arnHead+`model/my-model","NextToken":"x"}`).check(t, 400,
		`{"__type":"ValidationException","message":"NextToken is not one of this list's."}`)
}

func TestChangeTags(t *testing.T) {
	s := open(t, nil)
	s.serve("E-1")
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"C-1","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"Tags":[{"Key":"k","Value":"v"}]}`)
	for _, arn := range []string{arnHead + "endpoint/e-1", arnHead + "endpoint-config/c-1", arnHead + "model/m"} {
		add := func(tags string) answer {
			return s.call("AddTags", `{"ResourceArn":"`+arn+`","Tags":[`+tags+`]}`)
		}
		remove := func(keys string) answer {
			return s.call("DeleteTags", `{"ResourceArn":"`+arn+`","TagKeys":[`+keys+`]}`)
		}
		remove(`"k"`).check(t, 200, `{}`)
		add(`{"Key":"a","Value":"1"},{"Key":"b","Value":""}`).check(t, 200, `{"Tags":[{"Key":"a","Value":"1"},{"Key":"b","Value":""}]}`)
		add(`{"Key":"c","Value":"3"},{"Key":"a","Value":"2"}`).check(t, 200, `{"Tags":[{"Key":"a","Value":"2"},{"Key":"b","Value":""},{"Key":"c","Value":"3"}]}`)
		add(``).check(t, 200, `{"Tags":[{"Key":"a","Value":"2"},{"Key":"b","Value":""},{"Key":"c","Value":"3"}]}`)
		remove(`"b","nobody"`).check(t, 200, `{}`)
		s.call("ListTags", `{"ResourceArn":"`+arn+`"}`).check(t, 200, `{"Tags":[{"Key":"a","Value":"2"},{"Key":"c","Value":"3"}]}`)

		var many []string
		for i := range 49 {
			many = append(many, fmt.Sprintf(`{"Key":"k%d","Value":"x"}`, i))
		}
		add(strings.Join(many, ",")).check(t, 400,
			`{"__type":"ValidationException","message":"\"`+arn+`\" would have 51 tags; 50 are the most."}`)
		add(strings.Join(many[1:], ","))
		s.call("ListTags", `{"ResourceArn":"`+arn+`"}`).check(t, 200, `{"Tags":[{"Key":"a","Value":"2"},{"Key":"c","Value":"3"},`+strings.Join(many[1:], ",")+`]}`)
	}
	missing := arnHead + "model/no"
	for _, op := range []string{`"Tags":[]`, `"TagKeys":["k"]`} {
		name := map[bool]string{true: "AddTags", false: "DeleteTags"}[strings.HasPrefix(op, `"Tags"`)]
		s.call(name, `{"ResourceArn":"`+missing+`",`+op+`}`).check(t, 400,
			`{"__type":"ValidationException","message":"Could not find model \"`+missing+`\"."}`)
	}
}

// TestTagTwice has requests that name a key twice: which of them would count?
func TestTagTwice(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	const tags = `"Tags":[{"Key":"k","Value":"1"},{"Key":"j","Value":""},{"Key":"k","Value":"2"}]`
	for operation, in := range map[string]string{
		"CreateModel":          `{"ModelName":"n","PrimaryContainer":{"Image":"i"},` + tags + `}`,
		"CreateEndpointConfig": `{"EndpointConfigName":"d","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],` + tags + `}`,
		"CreateEndpoint":       `{"EndpointName":"f","EndpointConfigName":"c",` + tags + `}`,
		"AddTags":              `{"ResourceArn":"` + arnHead + `endpoint/e",` + tags + `}`,
	} {
		s.call(operation, in).check(t, 400, `{"__type":"ValidationException","message":"The tag key \"k\" was non-unique within the request."}`)
	}
	s.call("ListTags", `{"ResourceArn":"`+arnHead+`endpoint/e"}`).check(t, 200, `{"Tags":[]}`)
}
