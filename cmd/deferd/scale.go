package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// autoScaling is the service that scales.
var autoScaling = service{"Application Auto Scaling", "application-autoscaling", "application-autoscaling"}

// backlogPolicy is the name of the policy that "deferd scale" keeps.
const backlogPolicy = "deferd-backlog"

func scaleCommand() *cobra.Command {
	var ask scaleRequest
	cmd := &cobra.Command{
		Use:   "scale ENDPOINT",
		Short: "Have the number of instances follow the work",
		Long: `Have an endpoint's number of instances follow its work, or say how it does.

TARGET is how many requests an instance may have that wait or run: with more
there are more instances, up to MAX, and with fewer there are fewer, down to
MIN. With a MIN of 0 an endpoint without work has no instance, and starts one as
soon as a request comes. --off leaves as many as there are.`,
		Example: `  deferd scale digits --min 0 --max 4 --target 5
  deferd scale digits
  deferd scale digits --off`,
		Args: arguments(cobra.ExactArgs(1)),
	}
	flags := cmd.Flags()
	flags.IntVar(&ask.lowest, "min", 0, "least number of instances")
	flags.IntVar(&ask.highest, "max", 1, "largest number of instances")
	flags.Float64Var(&ask.backlog, "target", 5, "requests of an instance that wait or run")
	flags.StringVar(&ask.variant, "variant", "", "variant that is scaled (the first)")
	flags.BoolVar(&ask.off, "off", false, "scale it no more")
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ask.minGiven, ask.maxGiven, ask.targetGiven = flags.Changed("min"), flags.Changed("max"), flags.Changed("target")
		if ask.off && ask.changes() {
			return usagef("--off says that nothing is scaled, so that --min, --max and --target say nothing")
		}
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		r, err := s.scale(cmd.Context(), args[0], ask)
		if err != nil {
			return err
		}
		return r.print(cmd.OutOrStdout(), *format)
	}
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints
	return cmd
}

// A scaleRequest is what the flags ask for.
type scaleRequest struct {
	lowest, highest int
	backlog         float64
	variant         string
	off             bool

	minGiven, maxGiven, targetGiven bool
}

func (r scaleRequest) changes() bool { return r.minGiven || r.maxGiven || r.targetGiven }

// scale changes how an endpoint is scaled, as asked, and says how it is.
func (s *site) scale(ctx context.Context, name string, ask scaleRequest) (scaleReport, error) {
	e, err := s.describeEndpoint(ctx, name)
	if err != nil {
		return scaleReport{}, err
	}
	if ask.variant == "" && len(e.ProductionVariants) > 0 {
		ask.variant = e.ProductionVariants[0].VariantName
	}
	resource := "endpoint/" + e.EndpointName + "/variant/" + ask.variant
	before, err := s.scaleReport(ctx, resource)
	if err != nil {
		return scaleReport{}, err
	}
	switch {
	case ask.off && before.Max != nil:
		err = s.callScaling(ctx, "DeregisterScalableTarget", scaledBy(resource), nil)
	case ask.changes():
		err = s.follow(ctx, e.EndpointName, resource, ask, before)
	default:
		return before, nil
	}
	if err != nil {
		return scaleReport{}, err
	}
	return s.scaleReport(ctx, resource)
}

// follow has a variant follow its backlog. What is not given stays as it is.
func (s *site) follow(ctx context.Context, endpoint, resource string, ask scaleRequest, before scaleReport) error {
	target := scaledBy(resource)
	if ask.minGiven || before.Min == nil {
		target["MinCapacity"] = ask.lowest
	}
	if ask.maxGiven || before.Max == nil {
		target["MaxCapacity"] = max(ask.highest, ask.lowest)
		if ask.maxGiven {
			target["MaxCapacity"] = ask.highest
		}
	}
	if err := s.callScaling(ctx, "RegisterScalableTarget", target, nil); err != nil {
		return err
	}
	if !ask.targetGiven && before.Target != nil {
		return nil
	}
	policy := scaledBy(resource)
	policy["PolicyName"], policy["PolicyType"] = backlogPolicy, "TargetTrackingScaling"
	policy["TargetTrackingScalingPolicyConfiguration"] = object{
		"TargetValue": ask.backlog,
		"CustomizedMetricSpecification": object{
			"MetricName": "ApproximateBacklogSizePerInstance", "Namespace": "AWS/SageMaker", "Statistic": "Average",
			"Dimensions": []object{{"Name": "EndpointName", "Value": endpoint}},
		},
	}
	return s.callScaling(ctx, "PutScalingPolicy", policy, nil)
}

// callScaling performs an operation of Application Auto Scaling.
func (s *site) callScaling(ctx context.Context, operation string, in, out any) error {
	return s.callService(ctx, autoScaling, "AnyScaleFrontendService", operation, in, out)
}

// scaledBy names a variant in a request.
func scaledBy(resource string) object {
	return object{"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
}

// A scaleReport is what is shown of how a variant is scaled; Min and Max are nil
// where it is not.
type scaleReport struct {
	Resource string          `json:"resource"`
	Min      *int            `json:"min,omitempty"`
	Max      *int            `json:"max,omitempty"`
	Target   *float64        `json:"target,omitempty"` // of the policy that "deferd scale" keeps
	Policies []string        `json:"policies"`
	Recent   []scaleActivity `json:"recent"`
}

// A scaleActivity is a change of the number of instances.
type scaleActivity struct {
	At     time.Time `json:"at"`
	Status string    `json:"status"`
	What   string    `json:"what"`
	Cause  string    `json:"cause"`
}

// recentActivities are as many as are shown.
const recentActivities = 10

func (s *site) scaleReport(ctx context.Context, resource string) (scaleReport, error) {
	r := scaleReport{Resource: resource, Policies: []string{}, Recent: []scaleActivity{}}
	var targets struct {
		ScalableTargets []struct{ MinCapacity, MaxCapacity int }
	}
	if err := s.callScaling(ctx, "DescribeScalableTargets", object{"ServiceNamespace": "sagemaker", "ResourceIds": []string{resource}}, &targets); err != nil {
		return r, err
	}
	if len(targets.ScalableTargets) > 0 {
		t := targets.ScalableTargets[0]
		r.Min, r.Max = &t.MinCapacity, &t.MaxCapacity
	}
	var policies struct {
		ScalingPolicies []struct {
			PolicyName, PolicyType                   string
			TargetTrackingScalingPolicyConfiguration struct{ TargetValue float64 }
		}
	}
	if err := s.callScaling(ctx, "DescribeScalingPolicies", object{"ServiceNamespace": "sagemaker", "ResourceId": resource}, &policies); err != nil {
		return r, err
	}
	for _, p := range policies.ScalingPolicies {
		r.Policies = append(r.Policies, p.PolicyName)
		if p.PolicyName == backlogPolicy {
			r.Target = &p.TargetTrackingScalingPolicyConfiguration.TargetValue
		}
	}
	var activities struct {
		ScalingActivities []struct {
			StartTime                                     float64
			StatusCode, Description, StatusMessage, Cause string
		}
	}
	in := object{"ServiceNamespace": "sagemaker", "ResourceId": resource, "MaxResults": recentActivities}
	if err := s.callScaling(ctx, "DescribeScalingActivities", in, &activities); err != nil {
		return r, err
	}
	for _, a := range activities.ScalingActivities {
		what := a.Description
		if a.StatusCode == "Failed" {
			what = a.StatusMessage
		}
		r.Recent = append(r.Recent, scaleActivity{awsTime(a.StartTime), a.StatusCode, what, a.Cause})
	}
	return r, nil
}

func (r scaleReport) print(w io.Writer, f format) error {
	if f == jsonFormat {
		return printJSON(w, r)
	}
	if r.Max == nil {
		fmt.Fprintf(w, "%s is not scaled\n", r.Resource)
	} else {
		fmt.Fprintf(w, "%s has %d to %d instances\n", r.Resource, *r.Min, *r.Max)
	}
	for _, p := range r.Policies {
		if p == backlogPolicy && r.Target != nil {
			fmt.Fprintf(w, "policy %s: %g requests of an instance wait or run\n", p, *r.Target)
			continue
		}
		fmt.Fprintf(w, "policy %s\n", p)
	}
	if len(r.Recent) == 0 {
		return nil
	}
	t := newTable(w)
	fmt.Fprintln(t, "\nTIME\tSTATUS\tWHAT\tCAUSE")
	for _, a := range r.Recent {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", showTime(a.At), a.Status, a.What, a.Cause)
	}
	return t.Flush()
}
