package awsapi

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

func (s *Server) createEndpointConfig(c *call, in *awsmodel.CreateEndpointConfigInput) (any, error) {
	config, err := s.newConfig(c, in)
	if err != nil {
		return nil, err
	}
	if err := s.Store.CreateConfig(c.ctx(), config); err != nil {
		return nil, endpointConfig.explain(c, *in.EndpointConfigName, err)
	}
	if a := config.Async; a != nil && a.OutputPath.IsZero() && !(a.SuccessTopic != "" && a.IncludeSuccessResponse) {
		s.Logger.WarnContext(c.ctx(), "endpoint configuration has no place for results", "config", config.Name)
	}
	arn := endpointConfig.arn(c, in.EndpointConfigName)
	return awsmodel.CreateEndpointConfigOutput{EndpointConfigArn: &arn}, nil
}

// newConfig reads an endpoint configuration, whose models must exist.
func (s *Server) newConfig(c *call, in *awsmodel.CreateEndpointConfigInput) (config deferd.Config, err error) {
	config = deferd.Config{
		ID:      deferd.ConfigID(uuid.NewString()),
		Account: c.principal.Account,
		Name:    deferd.ConfigName(*in.EndpointConfigName),
		Created: s.Store.Now(),
	}
	if config.Variants, err = s.variants(c, in.ProductionVariants); err != nil {
		return config, err
	}
	if config.Async, err = s.asyncConfig(in.AsyncInferenceConfig); err != nil {
		return config, err
	}
	if config.Tags, err = takeTags(&in.Tags); err != nil {
		return config, err
	}
	config.Request, err = document(in)
	return config, err
}

func (s *Server) variants(c *call, in []awsmodel.ProductionVariant) ([]deferd.Variant, error) {
	var variants []deferd.Variant
	for i, v := range in {
		if v.ModelName == nil {
			return nil, &awsmodel.ValidationError{Violations: []string{fmt.Sprintf(
				"Value null at 'productionVariants.%d.member.modelName' failed to satisfy constraint: Member must not be null", i+1)}}
		}
		name := deferd.VariantName(*v.VariantName)
		if slices.ContainsFunc(variants, func(o deferd.Variant) bool { return o.Name == name }) {
			return nil, deferd.Errorf(deferd.Invalid, "The variant name %q was non-unique within the request.", name)
		}
		m, err := s.Store.Model(c.ctx(), c.principal.Account, deferd.ModelName(*v.ModelName))
		if err != nil {
			return nil, model.explain(c, *v.ModelName, err)
		}
		variants = append(variants, newVariant(v, m))
	}
	return variants, nil
}

func newVariant(in awsmodel.ProductionVariant, m deferd.Model) deferd.Variant {
	v := deferd.Variant{
		Name:            deferd.VariantName(*in.VariantName),
		ModelID:         m.ID,
		ModelName:       m.Name,
		InstanceType:    value(in.InstanceType),
		InitialCount:    1,
		InitialWeight:   1,
		StartupTimeout:  seconds(in.ContainerStartupHealthCheckTimeoutInSeconds, 0),
		DownloadTimeout: seconds(in.ModelDataDownloadTimeoutInSeconds, 0),
	}
	if m := in.ManagedInstanceScaling; m != nil && value(m.Status) == "ENABLED" {
		v.Managed = &deferd.ManagedScaling{Min: 1, Max: int(value(m.MaxInstanceCount))}
		if m.MinInstanceCount != nil {
			v.Managed.Min = int(*m.MinInstanceCount)
		}
		v.InitialCount = v.Managed.Min
	}
	if in.InitialInstanceCount != nil {
		v.InitialCount = int(*in.InitialInstanceCount)
	}
	if in.InitialVariantWeight != nil {
		v.InitialWeight = float64(*in.InitialVariantWeight)
	}
	return v
}

// asyncConfig reads AsyncInferenceConfig; nil for a real-time endpoint's.
func (s *Server) asyncConfig(in *awsmodel.AsyncInferenceConfig) (*deferd.AsyncConfig, error) {
	if in == nil {
		return nil, nil
	}
	a := new(deferd.AsyncConfig)
	if in.ClientConfig != nil {
		a.Concurrency = int(value(in.ClientConfig.MaxConcurrentInvocationsPerInstance))
	}
	for _, path := range []struct {
		uri *string
		to  *deferd.Location
	}{{in.OutputConfig.S3OutputPath, &a.OutputPath}, {in.OutputConfig.S3FailurePath, &a.FailurePath}} {
		if path.uri == nil {
			continue
		}
		l, err := s.S3.locate(*path.uri)
		if err != nil {
			return nil, err
		}
		*path.to = l
	}
	if n := in.OutputConfig.NotificationConfig; n != nil {
		a.SuccessTopic = value(n.SuccessTopic)
		a.ErrorTopic = value(n.ErrorTopic)
		a.IncludeSuccessResponse = slices.Contains(n.IncludeInferenceResponseIn, "SUCCESS_NOTIFICATION_TOPIC")
		a.IncludeErrorResponse = slices.Contains(n.IncludeInferenceResponseIn, "ERROR_NOTIFICATION_TOPIC")
	}
	return a, nil
}

func (s *Server) describeEndpointConfig(c *call, in *awsmodel.DescribeEndpointConfigInput) (any, error) {
	config, err := s.Store.Config(c.ctx(), c.principal.Account, deferd.ConfigName(*in.EndpointConfigName))
	if err != nil {
		return nil, endpointConfig.explain(c, *in.EndpointConfigName, err)
	}
	var out awsmodel.DescribeEndpointConfigOutput
	if err := awsmodel.Decode(config.Request, &out); err != nil {
		return nil, err
	}
	arn := endpointConfig.arn(c, in.EndpointConfigName)
	out.EndpointConfigArn = &arn
	out.CreationTime = awsmodel.Time(config.Created)
	return out, nil
}

func (s *Server) deleteEndpointConfig(c *call, in *awsmodel.DeleteEndpointConfigInput) (any, error) {
	err := s.Store.DeleteConfig(c.ctx(), c.principal.Account, deferd.ConfigName(*in.EndpointConfigName))
	return nil, endpointConfig.explain(c, *in.EndpointConfigName, err)
}

func (s *Server) listEndpointConfigs(c *call, in *awsmodel.ListEndpointConfigsInput) (any, error) {
	page, err := s.Store.Configs(c.ctx(), deferd.ListQuery{
		Account:       c.principal.Account,
		NameContains:  value(in.NameContains),
		CreatedBefore: value(in.CreationTimeBefore).Time,
		CreatedAfter:  value(in.CreationTimeAfter).Time,
		SortBy:        order(in.SortBy),
		Ascending:     value(in.SortOrder) == "Ascending",
		Max:           maxResults(in.MaxResults),
		Token:         value(in.NextToken),
	})
	if err != nil {
		return nil, err
	}
	out := awsmodel.ListEndpointConfigsOutput{EndpointConfigs: []awsmodel.EndpointConfigSummary{}, NextToken: nextToken(page.Token)}
	for _, config := range page.Items {
		name := string(config.Name)
		arn := endpointConfig.arn(c, &name)
		out.EndpointConfigs = append(out.EndpointConfigs, awsmodel.EndpointConfigSummary{
			EndpointConfigName: &name, EndpointConfigArn: &arn, CreationTime: awsmodel.Time(config.Created),
		})
	}
	return out, nil
}
