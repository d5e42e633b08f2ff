package awsapi

import (
	"slices"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

func (s *Server) createEndpoint(c *call, in *awsmodel.CreateEndpointInput) (any, error) {
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
	tags, err := takeTags(&in.Tags)
	if err != nil {
		return nil, err
	}
	request, err := document(in)
	if err != nil {
		return nil, err
	}
	now := s.Store.Now()
	e := deferd.Endpoint{
		ID:       deferd.EndpointID(uuid.NewString()),
		Account:  c.principal.Account,
		Name:     deferd.EndpointName(*in.EndpointName),
		ConfigID: config.ID,
		Created:  now,
		Modified: now,
		Status:   deferd.EndpointCreating,
		Variants: initialVariants(config),
		Tags:     tags,
		Request:  request,

		DeploymentConfig: how,
	}
	if err := s.affordable(e.Variants, nil); err != nil {
		return nil, err
	}
	err = s.Store.CreateEndpoint(c.ctx(), e)
	s.tell(e.ID, err)
	if deferd.CodeOf(err) == deferd.NotFound { // deleted meanwhile
		return nil, endpointConfig.explain(c, *in.EndpointConfigName, err)
	}
	if err != nil {
		return nil, endpoint.explain(c, *in.EndpointName, err)
	}
	s.testTopics(c, config.Async)
	arn := endpoint.arn(c, in.EndpointName)
	return awsmodel.CreateEndpointOutput{EndpointArn: &arn}, nil
}

// servable refuses configurations that are kept but that no endpoint here can
// serve, each with its own sentence.
func servable(c *call, config deferd.Config) error {
	var in awsmodel.CreateEndpointConfigInput
	if err := awsmodel.Decode(config.Request, &in); err != nil {
		return err
	}
	lacks := ""
	switch {
	case anyVariant(in, func(v awsmodel.ProductionVariant) bool { return v.ServerlessConfig != nil }):
		lacks = "has a variant with a ServerlessConfig; serverless endpoints are not served here."
	case config.Async == nil:
		lacks = "has no AsyncInferenceConfig; only asynchronous endpoints are served here."
	case len(in.ShadowProductionVariants) > 0:
		lacks = "has ShadowProductionVariants, which are not supported here."
	case anyVariant(in, func(v awsmodel.ProductionVariant) bool { return len(v.InstancePools) > 0 }):
		lacks = "has a variant with InstancePools, which are not supported here."
	case in.ExplainerConfig != nil:
		lacks = "has an ExplainerConfig, which is not supported here."
	case value(in.EnableNetworkIsolation):
		lacks = "has EnableNetworkIsolation, which is not supported here: containers have a network."
	default:
		return nil
	}
	return deferd.Errorf(deferd.Invalid, "Endpoint configuration %q %s", c.arn(endpointConfig.inARN, string(config.Name)), lacks)
}

func anyVariant(in awsmodel.CreateEndpointConfigInput, is func(awsmodel.ProductionVariant) bool) bool {
	return slices.ContainsFunc(in.ProductionVariants, is)
}

// deleteEndpoint begins to delete an endpoint. Unlike SageMaker's, one that is
// still being created may be deleted: a container that never becomes healthy
// need not be waited for.
func (s *Server) deleteEndpoint(c *call, in *awsmodel.DeleteEndpointInput) (any, error) {
	e, err := s.Store.Endpoint(c.ctx(), c.principal.Account, deferd.EndpointName(*in.EndpointName))
	if err != nil {
		return nil, endpoint.explain(c, *in.EndpointName, err)
	}
	_, err = s.Store.ChangeEndpoint(c.ctx(), e.ID, func(e *deferd.Endpoint) error {
		if e.Status == deferd.EndpointUpdating || e.Status == deferd.EndpointDeleting {
			return deferd.Errorf(deferd.Busy, "Cannot update in-progress endpoint %q.", endpoint.arn(c, in.EndpointName))
		}
		e.Status = deferd.EndpointDeleting
		return nil
	})
	s.tell(e.ID, err)
	if err != nil {
		return nil, endpoint.explain(c, *in.EndpointName, err)
	}
	return nil, nil
}

func (s *Server) listEndpoints(c *call, in *awsmodel.ListEndpointsInput) (any, error) {
	page, err := s.Store.Endpoints(c.ctx(), deferd.ListQuery{
		Account:        c.principal.Account,
		NameContains:   value(in.NameContains),
		CreatedBefore:  value(in.CreationTimeBefore).Time,
		CreatedAfter:   value(in.CreationTimeAfter).Time,
		ModifiedBefore: value(in.LastModifiedTimeBefore).Time,
		ModifiedAfter:  value(in.LastModifiedTimeAfter).Time,
		Status:         deferd.EndpointStatus(value(in.StatusEquals)),
		SortBy:         order(in.SortBy),
		Ascending:      value(in.SortOrder) == "Ascending",
		Max:            maxResults(in.MaxResults),
		Token:          value(in.NextToken),
	})
	if err != nil {
		return nil, err
	}
	out := awsmodel.ListEndpointsOutput{Endpoints: []awsmodel.EndpointSummary{}, NextToken: nextToken(page.Token)}
	for _, e := range page.Items {
		name := string(e.Name)
		out.Endpoints = append(out.Endpoints, awsmodel.EndpointSummary{
			EndpointName:     &name,
			EndpointArn:      new(endpoint.arn(c, &name)),
			CreationTime:     awsmodel.Time(e.Created),
			LastModifiedTime: awsmodel.Time(e.Modified),
			EndpointStatus:   new(string(e.Status)),
		})
	}
	return out, nil
}
