package awsapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// updateEndpoint begins to deploy another configuration, or the same one once
// more. The fleet that serves does so until all of the new one is healthy.
func (s *Server) updateEndpoint(c *call, in *awsmodel.UpdateEndpointInput) (any, error) {
	e, err := s.Store.Endpoint(c.ctx(), c.principal.Account, deferd.EndpointName(*in.EndpointName))
	if err != nil {
		return nil, endpoint.explain(c, *in.EndpointName, err)
	}
	config, err := s.Store.Config(c.ctx(), c.principal.Account, deferd.ConfigName(*in.EndpointConfigName))
	if err != nil {
		return nil, endpointConfig.explain(c, *in.EndpointConfigName, err)
	}
	if err := servable(c, config); err != nil {
		return nil, err
	}
	how, err := deploymentConfig(in.DeploymentConfig)
	if err != nil {
		return nil, err
	}
	now, found := s.Store.Now(), false
	arn, err := s.deploy(c, e, func(e *deferd.Endpoint) error {
		found = true
		how := how // this may run more than once
		if how == nil && value(in.RetainDeploymentConfig) {
			how = e.DeploymentConfig
		}
		limit, err := deploymentLimit(how)
		if err != nil {
			return err
		}
		e.DeploymentConfig = how
		variants := initialVariants(config)
		if value(in.RetainAllVariantProperties) {
			retain(variants, e.Variants, in.ExcludeRetainedVariantProperties)
		}
		if err := s.affordable(variants, e.Variants); err != nil {
			return err
		}
		e.Deploy(deferd.Deployment{ConfigID: config.ID, Variants: variants, Started: now, Limit: limit}, true)
		return nil
	})
	if found && deferd.CodeOf(err) == deferd.NotFound { // the configuration is not, any more
		err = endpointConfig.explain(c, *in.EndpointConfigName, err)
	}
	if err != nil {
		return nil, err
	}
	s.testTopics(c, config.Async)
	return awsmodel.UpdateEndpointOutput{EndpointArn: &arn}, nil
}

// updateCapacities begins to change how many instances the variants have, and
// their weights.
func (s *Server) updateCapacities(c *call, in *awsmodel.UpdateEndpointWeightsAndCapacitiesInput) (any, error) {
	for i, v := range in.DesiredWeightsAndCapacities {
		if v.ServerlessUpdateConfig != nil {
			return nil, deferd.Errorf(deferd.Invalid, "ServerlessUpdateConfig is not supported: serverless endpoints are not served here.")
		}
		if slices.ContainsFunc(in.DesiredWeightsAndCapacities[:i], func(o awsmodel.DesiredWeightAndCapacity) bool { return *o.VariantName == *v.VariantName }) {
			return nil, deferd.Errorf(deferd.Invalid, "The variant name %q was non-unique within the request.", *v.VariantName)
		}
	}
	e, err := s.Store.Endpoint(c.ctx(), c.principal.Account, deferd.EndpointName(*in.EndpointName))
	if err != nil {
		return nil, endpoint.explain(c, *in.EndpointName, err)
	}
	now := s.Store.Now()
	deployed := e.ConfigID
	arn, err := s.deploy(c, e, func(e *deferd.Endpoint) error {
		deployed = e.ConfigID
		variants := slices.Clone(e.Variants)
		unknown := desire(variants, in.DesiredWeightsAndCapacities)
		if len(unknown) > 0 {
			config, err := s.configs.get(c.ctx(), e.ConfigID)
			if err != nil {
				return fmt.Errorf("find configuration of endpoint %s: %w", e.Name, err)
			}
			return deferd.Errorf(deferd.Invalid, "The variant name(s) %q is/are not present within endpoint configuration %q.",
				strings.Join(unknown, ", "), config.Name)
		}
		if err := s.affordable(variants, e.Variants); err != nil {
			return err
		}
		e.Deploy(deferd.Deployment{ConfigID: e.ConfigID, Variants: variants, Started: now}, false)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if config, err := s.configs.get(c.ctx(), deployed); err == nil {
		s.testTopics(c, config.Async)
	}
	return awsmodel.UpdateEndpointWeightsAndCapacitiesOutput{EndpointArn: &arn}, nil
}

// deploy begins a deployment of an endpoint that is in service.
func (s *Server) deploy(c *call, e deferd.Endpoint, change func(*deferd.Endpoint) error) (arn string, err error) {
	name := string(e.Name)
	arn = endpoint.arn(c, &name)
	found := false
	_, err = s.Store.ChangeEndpoint(c.ctx(), e.ID, func(e *deferd.Endpoint) error {
		found = true
		switch e.Status {
		case deferd.EndpointInService:
			return change(e)
		case deferd.EndpointFailed:
			return deferd.Errorf(deferd.Invalid, "Cannot update failed endpoint %q. Delete it and create it again.", arn)
		}
		return deferd.Errorf(deferd.Busy, "Cannot update in-progress endpoint %q.", arn)
	})
	s.tell(e.ID, err)
	if err != nil && !found { // deleted meanwhile
		err = endpoint.explain(c, name, err)
	}
	return arn, err
}

// tell has an endpoint looked at after a change of it, also where nobody knows
// whether that was stored.
func (s *Server) tell(id deferd.EndpointID, err error) {
	if err == nil || deferd.CodeOf(err) == deferd.Unavailable {
		s.Changed(id)
	}
}

// affordable refuses more instances of a variant than there may be, beside
// those that there are now.
func (s *Server) affordable(variants, now []deferd.EndpointVariant) error {
	for _, v := range variants {
		if s.MaxInstances == 0 || v.Desired <= s.MaxInstances {
			continue
		}
		utilization := 0
		if i := slices.IndexFunc(now, func(o deferd.EndpointVariant) bool { return o.Name == v.Name }); i >= 0 {
			utilization = now[i].Desired
		}
		return &failure{
			status: http.StatusBadRequest, code: "ResourceLimitExceeded",
			msg: fmt.Sprintf("The account-level service limit 'instances of a variant' is %d Instances, with current utilization of %d Instances "+
				"and a request delta of %d Instances. The operator can raise it: max-instances.", s.MaxInstances, utilization, v.Desired-utilization),
		}
	}
	return nil
}

// initialVariants are a configuration's variants as an endpoint begins with
// them.
func initialVariants(config deferd.Config) []deferd.EndpointVariant {
	var variants []deferd.EndpointVariant
	for _, v := range config.Variants {
		variants = append(variants, deferd.EndpointVariant{Name: v.Name, Desired: v.InitialCount, Weight: v.InitialWeight})
	}
	return variants
}

// retain gives variants the properties that those of the same name have now,
// except for those that are excluded.
func retain(variants, now []deferd.EndpointVariant, excluded []awsmodel.VariantProperty) {
	excludes := func(property string) bool {
		return slices.ContainsFunc(excluded, func(p awsmodel.VariantProperty) bool { return *p.VariantPropertyType == property })
	}
	for i, v := range variants {
		j := slices.IndexFunc(now, func(o deferd.EndpointVariant) bool { return o.Name == v.Name })
		if j < 0 {
			continue
		}
		if !excludes("DesiredInstanceCount") {
			variants[i].Desired = now[j].Desired
		}
		if !excludes("DesiredWeight") {
			variants[i].Weight = now[j].Weight
		}
	}
}

// desire changes variants as asked, and returns the names that none of them has.
func desire(variants []deferd.EndpointVariant, asked []awsmodel.DesiredWeightAndCapacity) (unknown []string) {
	for _, a := range asked {
		i := slices.IndexFunc(variants, func(v deferd.EndpointVariant) bool { return string(v.Name) == *a.VariantName })
		if i < 0 {
			unknown = append(unknown, *a.VariantName)
			continue
		}
		if a.DesiredInstanceCount != nil {
			variants[i].Desired = int(*a.DesiredInstanceCount)
		}
		if a.DesiredWeight != nil {
			variants[i].Weight = float64(*a.DesiredWeight)
		}
	}
	return unknown
}

// deploymentConfig is a DeploymentConfig as it is kept; nil for none.
func deploymentConfig(in *awsmodel.DeploymentConfig) (json.RawMessage, error) {
	if in == nil {
		return nil, nil
	}
	if in.BlueGreenUpdatePolicy != nil && in.RollingUpdatePolicy != nil {
		return nil, deferd.Errorf(deferd.Invalid, "BlueGreenUpdatePolicy and RollingUpdatePolicy cannot be given together.")
	}
	text, err := document(in)
	if err != nil || string(text) == "{}" {
		return nil, err
	}
	return text, nil
}

// deploymentLimit is how long a deployment may take; 0: as long as it takes.
func deploymentLimit(how json.RawMessage) (time.Duration, error) {
	var in awsmodel.DeploymentConfig
	if how == nil {
		return 0, nil
	}
	if err := json.Unmarshal(how, &in); err != nil {
		return 0, fmt.Errorf("read a deployment configuration: %w", err)
	}
	var limit *int32
	switch {
	case in.BlueGreenUpdatePolicy != nil:
		limit = in.BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds
	case in.RollingUpdatePolicy != nil:
		limit = in.RollingUpdatePolicy.MaximumExecutionTimeoutInSeconds
	}
	return seconds(limit, 0), nil
}
