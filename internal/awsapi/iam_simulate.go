package awsapi

import (
	"encoding/xml"
	"net/url"
	"regexp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

var (
	sourceARNParameter = parameter{name: "PolicySourceArn", at: "policySourceArn", required: true, min: 20, max: 2048}

	principalARN = regexp.MustCompile(`^arn:aws[a-z-]*:(?:iam|sts)::([0-9]{12}):(?:root|(?:user|group|role|assumed-role)/.+)$`)
)

// maxSimulated bounds the questions of one request. All are answered at once.
const maxSimulated = 10_000

// simulatePolicy answers whether a principal of the account may perform actions
// on resources, by asking what the services themselves ask. Policies that a
// request brings along are not taken: nothing here could follow them.
func (s *Server) simulatePolicy(c *call, values url.Values) (any, error) {
	if err := checkParameters(values, sourceARNParameter); err != nil {
		return nil, err
	}
	if err := refuseParameters(values, "PolicyInputList", "PermissionsBoundaryPolicyInputList", "ResourcePolicy", "ContextEntries", "CallerArn", "ResourceOwner", "ResourceHandlingOption"); err != nil {
		return nil, err
	}
	var in struct {
		ActionNames  []string `json:"ActionNames"`
		ResourceArns []string `json:"ResourceArns"`
	}
	if err := awsmodel.DecodeQuery(values, &in); err != nil {
		return nil, err
	}
	source := values.Get("PolicySourceArn")
	m := principalARN.FindStringSubmatch(source)
	switch {
	case m == nil:
		return nil, deferd.Errorf(deferd.Invalid, "Invalid ARN: %s", source)
	case deferd.AccountID(m[1]) != c.principal.Account:
		return nil, deferd.Errorf(deferd.Denied, "User: %s is not authorized to perform: iam:SimulatePrincipalPolicy on resource: %s", c.principal.ARN, source)
	case len(in.ActionNames) == 0:
		return nil, deferd.Errorf(deferd.Invalid, "1 validation error detected: Value null at 'actionNames' failed to satisfy constraint: Member must not be null")
	case len(in.ActionNames)*max(len(in.ResourceArns), 1) > maxSimulated:
		return nil, deferd.Errorf(deferd.Invalid, "No more than %d actions on resources are simulated at a time.", maxSimulated)
	}
	if err := c.authorize("iam:SimulatePrincipalPolicy", source); err != nil {
		return nil, err
	}
	if len(in.ResourceArns) == 0 {
		in.ResourceArns = []string{"*"}
	}
	type result struct{ EvalActionName, EvalResourceName, EvalDecision string }
	out := struct {
		XMLName     xml.Name `xml:"SimulatePrincipalPolicyResult"`
		Results     []result `xml:"EvaluationResults>member"`
		IsTruncated bool
	}{}
	asked := deferd.Principal{Account: c.principal.Account, ARN: source}
	for _, action := range in.ActionNames {
		for _, resource := range in.ResourceArns {
			decision := "allowed"
			if err := s.Authorize(asked, action, resource); err != nil && deferd.CodeOf(err) == deferd.Denied {
				decision = "implicitDeny"
			} else if err != nil {
				return nil, err
			}
			out.Results = append(out.Results, result{action, resource, decision})
		}
	}
	return out, nil
}
