package awsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

func (s *Server) describeEndpoint(c *call, in *awsmodel.DescribeEndpointInput) (any, error) {
	e, err := s.Store.Endpoint(c.ctx(), c.principal.Account, deferd.EndpointName(*in.EndpointName))
	if err != nil {
		return nil, endpoint.explain(c, *in.EndpointName, err)
	}
	config, err := s.configs.get(c.ctx(), e.ConfigID)
	if err != nil {
		return nil, fmt.Errorf("find configuration of endpoint %s: %w", e.Name, err)
	}
	var configured awsmodel.CreateEndpointConfigInput
	if err := awsmodel.Decode(config.Request, &configured); err != nil {
		return nil, err
	}
	out := awsmodel.DescribeEndpointOutput{
		EndpointName:         new(string(e.Name)),
		EndpointArn:          new(endpoint.arn(c, in.EndpointName)),
		EndpointConfigName:   new(string(config.Name)),
		EndpointStatus:       new(string(e.Status)),
		CreationTime:         awsmodel.Time(e.Created),
		LastModifiedTime:     awsmodel.Time(e.Modified),
		AsyncInferenceConfig: configured.AsyncInferenceConfig,
		DataCaptureConfig:    captureSummary(configured.DataCaptureConfig),
		MetricsConfig:        configured.MetricsConfig,

		CrossRegionTrafficConfig: configured.CrossRegionTrafficConfig,
	}
	if e.DeploymentConfig != nil {
		if err := json.Unmarshal(e.DeploymentConfig, &out.LastDeploymentConfig); err != nil {
			return nil, fmt.Errorf("read the last deployment configuration of endpoint %s: %w", e.Name, err)
		}
	}
	if e.FailureReason != "" {
		out.FailureReason = new(truncate(e.FailureReason, maxFailureReason))
	}
	if out.ProductionVariants, err = s.summaries(c.ctx(), e, config, configured.ProductionVariants); err != nil {
		return nil, err
	}
	out.PendingDeploymentSummary, err = s.pending(c.ctx(), e)
	return out, err
}

// captureSummary says of a capture of data that it was asked for, and that
// nothing is captured.
func captureSummary(in *awsmodel.DataCaptureConfig) *awsmodel.DataCaptureConfigSummary {
	if in == nil {
		return nil
	}
	return &awsmodel.DataCaptureConfigSummary{
		EnableCapture:             new(value(in.EnableCapture)),
		CaptureStatus:             new("Stopped"),
		CurrentSamplingPercentage: in.InitialSamplingPercentage,
		DestinationS3Uri:          in.DestinationS3Uri,
		KmsKeyId:                  new(value(in.KmsKeyId)),
	}
}

// summaries are the variants that serve. What they are to become in the same
// fleet shows as desired.
func (s *Server) summaries(ctx context.Context, e deferd.Endpoint, config deferd.Config, configured []awsmodel.ProductionVariant) ([]awsmodel.ProductionVariantSummary, error) {
	running := s.Status(e.ID, e.Fleet)
	var out []awsmodel.ProductionVariantSummary
	for n, v := range e.Variants {
		desired := v
		if d := e.Deployment; d != nil && d.Fleet == e.Fleet {
			desired = d.Variants[n]
		}
		images, err := s.deployedImages(ctx, config, v.Name, running[v.Name])
		if err != nil {
			return nil, err
		}
		sum := awsmodel.ProductionVariantSummary{
			VariantName:          new(string(v.Name)),
			DeployedImages:       images,
			CurrentWeight:        new(float32(v.Weight)),
			DesiredWeight:        new(float32(desired.Weight)),
			CurrentInstanceCount: new(int32(running[v.Name].Instances)),
			DesiredInstanceCount: new(int32(desired.Desired)),
		}
		i := slices.IndexFunc(configured, func(c awsmodel.ProductionVariant) bool { return *c.VariantName == string(v.Name) })
		if i >= 0 {
			sum.ManagedInstanceScaling, sum.RoutingConfig = configured[i].ManagedInstanceScaling, configured[i].RoutingConfig
		}
		out = append(out, sum)
	}
	return out, nil
}

// pending is the fleet that is being brought up; nil where there is none.
func (s *Server) pending(ctx context.Context, e deferd.Endpoint) (*awsmodel.PendingDeploymentSummary, error) {
	d := e.Deployment
	if d == nil || d.Fleet == e.Fleet {
		return nil, nil
	}
	config, err := s.configs.get(ctx, d.ConfigID)
	if err != nil {
		return nil, fmt.Errorf("find configuration that endpoint %s is updated to: %w", e.Name, err)
	}
	running := s.Status(e.ID, d.Fleet)
	out := &awsmodel.PendingDeploymentSummary{EndpointConfigName: new(string(config.Name)), StartTime: awsmodel.Time(d.Started)}
	for _, v := range d.Variants {
		images, err := s.deployedImages(ctx, config, v.Name, running[v.Name])
		if err != nil {
			return nil, err
		}
		variant := awsmodel.PendingProductionVariantSummary{
			VariantName:          new(string(v.Name)),
			DeployedImages:       images,
			DesiredWeight:        new(float32(v.Weight)),
			CurrentInstanceCount: new(int32(running[v.Name].Instances)),
			DesiredInstanceCount: new(int32(v.Desired)),
			VariantStatus:        []awsmodel.ProductionVariantStatus{{Status: new("Creating"), StartTime: awsmodel.Time(d.Started)}},
		}
		if configured := config.Variant(v.Name); configured != nil && configured.InstanceType != "" {
			variant.InstanceType = new(configured.InstanceType)
		}
		out.ProductionVariants = append(out.ProductionVariants, variant)
	}
	return out, nil
}

// deployedImages are what a variant's instances run: as the runtime has resolved
// it, else as the model names it.
func (s *Server) deployedImages(ctx context.Context, config deferd.Config, name deferd.VariantName, running VariantStatus) ([]awsmodel.DeployedImage, error) {
	var out []awsmodel.DeployedImage
	for _, image := range running.Images {
		d := awsmodel.DeployedImage{SpecifiedImage: &image.Specified, ResolutionTime: awsmodel.Time(image.Time)}
		if image.Resolved != "" {
			d.ResolvedImage = &image.Resolved
		}
		out = append(out, d)
	}
	v := config.Variant(name)
	if len(out) > 0 || v == nil {
		return out, nil
	}
	m, err := s.Store.ModelByID(ctx, v.ModelID)
	if err != nil {
		return nil, fmt.Errorf("find model of variant %s: %w", name, err)
	}
	return []awsmodel.DeployedImage{{SpecifiedImage: &m.Image}}, nil
}

// maxFailureReason is the length that AWS's model gives FailureReason.
const maxFailureReason = 1024

func truncate(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n])
	}
	return s
}
