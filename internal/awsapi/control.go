package awsapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// An operation reads its request, checks it, asks whether the caller may, and
// returns the document that answers it; nil for none.
type operation func(c *call, name string) (any, error)

// controlPlane returns the operations of the control plane, each with the
// resource that it is about.
func (s *Server) controlPlane() map[string]operation {
	return map[string]operation{
		"CreateModel":   control(func(c *call, in *awsmodel.CreateModelInput) string { return model.arn(c, in.ModelName) }, s.createModel),
		"DescribeModel": control(func(c *call, in *awsmodel.DescribeModelInput) string { return model.arn(c, in.ModelName) }, s.describeModel),
		"DeleteModel":   control(func(c *call, in *awsmodel.DeleteModelInput) string { return model.arn(c, in.ModelName) }, s.deleteModel),
		"ListModels":    control(anything[*awsmodel.ListModelsInput], s.listModels),

		"CreateEndpointConfig": control(func(c *call, in *awsmodel.CreateEndpointConfigInput) string {
			return endpointConfig.arn(c, in.EndpointConfigName)
		}, s.createEndpointConfig),
		"DescribeEndpointConfig": control(func(c *call, in *awsmodel.DescribeEndpointConfigInput) string {
			return endpointConfig.arn(c, in.EndpointConfigName)
		}, s.describeEndpointConfig),
		"DeleteEndpointConfig": control(func(c *call, in *awsmodel.DeleteEndpointConfigInput) string {
			return endpointConfig.arn(c, in.EndpointConfigName)
		}, s.deleteEndpointConfig),
		"ListEndpointConfigs": control(anything[*awsmodel.ListEndpointConfigsInput], s.listEndpointConfigs),

		"CreateEndpoint":   control(func(c *call, in *awsmodel.CreateEndpointInput) string { return endpoint.arn(c, in.EndpointName) }, s.createEndpoint),
		"DescribeEndpoint": control(func(c *call, in *awsmodel.DescribeEndpointInput) string { return endpoint.arn(c, in.EndpointName) }, s.describeEndpoint),
		"DeleteEndpoint":   control(func(c *call, in *awsmodel.DeleteEndpointInput) string { return endpoint.arn(c, in.EndpointName) }, s.deleteEndpoint),
		"ListEndpoints":    control(anything[*awsmodel.ListEndpointsInput], s.listEndpoints),
		"UpdateEndpoint":   control(func(c *call, in *awsmodel.UpdateEndpointInput) string { return endpoint.arn(c, in.EndpointName) }, s.updateEndpoint),
		"UpdateEndpointWeightsAndCapacities": control(func(c *call, in *awsmodel.UpdateEndpointWeightsAndCapacitiesInput) string {
			return endpoint.arn(c, in.EndpointName)
		}, s.updateCapacities),

		"AddTags":    control(func(c *call, in *awsmodel.AddTagsInput) string { return *in.ResourceArn }, s.addTags),
		"ListTags":   control(func(c *call, in *awsmodel.ListTagsInput) string { return *in.ResourceArn }, s.listTags),
		"DeleteTags": control(func(c *call, in *awsmodel.DeleteTagsInput) string { return *in.ResourceArn }, s.deleteTags),
	}
}

// control makes an operation of the control plane.
func control[I any, P interface {
	*I
	awsmodel.Input
}](resource func(*call, P) string, handle func(*call, P) (any, error)) operation {
	return operationOf("sagemaker", resource, handle)
}

// operationOf makes an operation, of a service as actions call it, of a handler
// whose request is an I.
func operationOf[I any, P interface {
	*I
	awsmodel.Input
}](service string, resource func(*call, P) string, handle func(*call, P) (any, error)) operation {
	return func(c *call, name string) (any, error) {
		in := P(new(I))
		if err := c.decode(in); err != nil {
			return nil, err
		}
		if err := in.Validate(c.server.Limits); err != nil {
			return nil, err
		}
		if err := c.authorize(service+":"+name, resource(c, in)); err != nil {
			return nil, err
		}
		return handle(c, in)
	}
}

// decode reads the request in the call's protocol.
func (c *call) decode(in any) error {
	switch c.protocol {
	case rpcCBOR:
		return awsmodel.DecodeCBOR(c.body, in)
	case query:
		return awsmodel.DecodeQuery(form(c.r, c.body), in)
	}
	return awsmodel.Decode(c.body, in)
}

// anything is the resource of an operation that names none.
func anything[P any](*call, P) string { return "*" }

// target runs the operation that X-Amz-Target names, of a service whose targets
// have a prefix.
func (s *Server) target(c *call, prefix string, operations map[string]operation) error {
	name, ok := strings.CutPrefix(c.r.Header.Get("X-Amz-Target"), prefix)
	op := operations[name]
	if !ok || op == nil || c.r.Method != http.MethodPost {
		return unknownOperation(fmt.Sprintf("There is no operation %q.", c.r.Header.Get("X-Amz-Target")))
	}
	document, err := op(c, name)
	if err != nil {
		return err
	}
	return c.respondJSON(http.StatusOK, document)
}

// A kind of thing, as ARNs and messages call it.
type kind struct{ inARN, noun string }

var (
	model          = kind{"model", "model"}
	endpointConfig = kind{"endpoint-config", "endpoint configuration"}
	endpoint       = kind{"endpoint", "endpoint"}
)

// arn is the ARN of a thing of this kind, whose name was checked.
func (k kind) arn(c *call, name *string) string { return c.arn(k.inARN, *name) }

// explain words an error of the store about the thing of that name as AWS does.
func (k kind) explain(c *call, name string, err error) error {
	switch deferd.CodeOf(err) {
	case deferd.NotFound:
		return deferd.Errorf(deferd.NotFound, "Could not find %s %q.", k.noun, c.arn(k.inARN, name))
	case deferd.Exists:
		return deferd.Errorf(deferd.Exists, "Cannot create already existing %s %q.", k.noun, c.arn(k.inARN, name))
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", k.noun, name, err)
	}
	return nil
}

// document is a request as it is kept, without the structures that are empty:
// clients refuse those in answers.
func document(in any) (json.RawMessage, error) {
	text, err := marshal(in)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree map[string]any
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	prune(tree)
	return marshal(tree)
}

// mayBeEmpty are what an answer has even with nothing in it, where the request
// had it: maps, and structures that requests must have, without which what they
// are in would not be what was sent.
var mayBeEmpty = []string{"Environment", "OutputConfig", "ShapBaselineConfig"}

// prune removes empty structures from everything below tree, but for mayBeEmpty.
func prune(tree any) {
	switch tree := tree.(type) {
	case map[string]any:
		for name, v := range tree {
			prune(v)
			if m, ok := v.(map[string]any); ok && len(m) == 0 && !slices.Contains(mayBeEmpty, name) {
				delete(tree, name)
			}
		}
	case []any:
		for _, v := range tree {
			prune(v)
		}
	}
}
