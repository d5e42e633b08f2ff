package awsapi

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// Limits of Application Auto Scaling.
const (
	maxPolicies = 50 // of a target
	maxSteps    = 20 // of a policy
)

// Types of policies.
const (
	stepScaling    = "StepScaling"
	targetTracking = "TargetTrackingScaling"
)

// putPolicy makes a policy of a target, or replaces one.
func (s *Server) putPolicy(c *call, in *awsmodel.PutScalingPolicyRequest) (any, error) {
	r, err := scaledVariant(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	asked, err := policyOf(r, in)
	if err != nil {
		return nil, err
	}
	t, err := s.registered(c, r)
	if err != nil {
		return nil, err
	}
	var p deferd.ScalingPolicy
	err = s.put(c.ctx(), func() (deferd.Document, error) {
		p, err = s.policy(c, r, *in.PolicyName)
		switch {
		case err == nil && (p.Step == nil) != (asked.Step == nil):
			return deferd.Document{}, deferd.Errorf(deferd.Invalid, "The policy type of an existing scaling policy cannot be changed.")
		case err == nil:
			p.Step, p.Tracking, p.Request = asked.Step, asked.Tracking, asked.Request
		case deferd.CodeOf(err) == deferd.NotFound:
			if err := s.roomForPolicy(c, r); err != nil {
				return deferd.Document{}, err
			}
			p = s.newPolicy(c, asked)
		default:
			return deferd.Document{}, err
		}
		return p.Document()
	})
	if err != nil {
		return nil, err
	}
	s.Changed(t.EndpointID)
	if err := s.showTracking(c, p); err != nil {
		return nil, err
	}
	return awsmodel.PutScalingPolicyResponse{PolicyARN: &p.ARN, Alarms: alarmsAnswer(p)}, nil
}

// newPolicy gives a policy what it keeps when it is replaced.
func (s *Server) newPolicy(c *call, p deferd.ScalingPolicy) deferd.ScalingPolicy {
	p.ID, p.Account, p.Created = uuid.NewString(), c.principal.Account, s.Store.Now()
	p.ARN = deferd.PolicyARN(s.Region, p.Account, p.ID, p.Resource, p.Name)
	if p.Tracking == nil {
		return p
	}
	for _, side := range []string{"High", "Low"} {
		name := "TargetTracking-" + p.Resource.String() + "-Alarm" + side + "-" + uuid.NewString()
		p.Alarms = append(p.Alarms, deferd.PolicyAlarm{Name: name, ARN: "arn:aws:cloudwatch:" + s.Region + ":" + string(p.Account) + ":alarm:" + name})
	}
	return p
}

// showTracking has CloudWatch show what a policy that tracks a metric waits for.
// The policy looks itself, and acts on neither of its alarms.
func (s *Server) showTracking(c *call, p deferd.ScalingPolicy) error {
	for i, a := range p.Alarms {
		err := s.changeAlarm(c, a.Name, func(old *deferd.Alarm) (*deferd.Alarm, error) {
			next := deferd.TrackingAlarm(p, i == 0)
			next.Configured = s.Store.Now()
			if old == nil {
				next.State, next.Reason = deferd.AlarmInsufficient, "Unchecked: Initial alarm creation"
				next.Updated, next.Transitions = next.Configured, next.Configured
				return &next, nil
			}
			next.Tags, next.State, next.Reason, next.ReasonData = old.Tags, old.State, old.Reason, old.ReasonData
			next.Updated, next.Transitions = old.Updated, old.Transitions
			return &next, nil
		})
		if err != nil {
			return fmt.Errorf("show the alarm %s: %w", a.Name, err)
		}
	}
	return nil
}

func (s *Server) roomForPolicy(c *call, r deferd.VariantRef) error {
	docs, err := s.Store.Documents(c.ctx(), deferd.KindScalingPolicy, c.principal.Account, deferd.ScalingName(r, ""), "", maxPolicies)
	if err == nil && len(docs) == maxPolicies {
		err = &failure{status: http.StatusBadRequest, code: "LimitExceededException", msg: fmt.Sprintf("A scalable target cannot have more than %d scaling policies.", maxPolicies)}
	}
	return err
}

func (s *Server) policy(c *call, r deferd.VariantRef, name string) (deferd.ScalingPolicy, error) {
	d, err := s.Store.Document(c.ctx(), deferd.KindScalingPolicy, c.principal.Account, deferd.ScalingName(r, name))
	if err != nil {
		return deferd.ScalingPolicy{}, err
	}
	return deferd.ReadScalingPolicy(d)
}

// policyOf reads a policy from a request.
func policyOf(r deferd.VariantRef, in *awsmodel.PutScalingPolicyRequest) (p deferd.ScalingPolicy, err error) {
	p = deferd.ScalingPolicy{Name: *in.PolicyName, Resource: r}
	kind := value(in.PolicyType)
	if kind == "" {
		kind = stepScaling
		if in.TargetTrackingScalingPolicyConfiguration != nil {
			kind = targetTracking
		}
	}
	step, track := in.StepScalingPolicyConfiguration, in.TargetTrackingScalingPolicyConfiguration
	switch {
	case kind == stepScaling && step != nil && track == nil:
		if p.Step, err = stepOf(step); err == nil {
			p.Request, err = document(step)
		}
	case kind == targetTracking && track != nil && step == nil:
		if p.Tracking, err = trackingOf(r, track); err == nil {
			p.Request, err = document(track)
		}
	case kind == stepScaling:
		err = deferd.Errorf(deferd.Invalid, "A policy of type StepScaling has a StepScalingPolicyConfiguration and no other.")
	case kind == targetTracking:
		err = deferd.Errorf(deferd.Invalid, "A policy of type TargetTrackingScaling has a TargetTrackingScalingPolicyConfiguration and no other.")
	default:
		err = deferd.Errorf(deferd.Invalid, "Policies of type %s are not supported here.", kind)
	}
	return p, err
}

func stepOf(in *awsmodel.StepScalingPolicyConfiguration) (*deferd.StepScaling, error) {
	k := &deferd.StepScaling{
		Adjustment: deferd.AdjustmentType(value(in.AdjustmentType)), MinMagnitude: int(value(in.MinAdjustmentMagnitude)),
		Aggregation: value(in.MetricAggregationType),
	}
	var err error
	if k.Cooldown, err = cooldown("Cooldown", in.Cooldown); err != nil {
		return nil, err
	}
	switch {
	case k.Adjustment == "":
		return nil, deferd.Errorf(deferd.Invalid, "AdjustmentType is required.")
	case k.MinMagnitude != 0 && k.Adjustment != deferd.PercentChangeInCapacity:
		return nil, deferd.Errorf(deferd.Invalid, "MinAdjustmentMagnitude can only be specified with the adjustment type PercentChangeInCapacity.")
	case k.MinMagnitude < 0:
		return nil, deferd.Errorf(deferd.Invalid, "MinAdjustmentMagnitude cannot be negative.")
	case len(in.StepAdjustments) == 0:
		return nil, deferd.Errorf(deferd.Invalid, "At least one StepAdjustment is required.")
	case len(in.StepAdjustments) > maxSteps:
		return nil, &failure{status: http.StatusBadRequest, code: "LimitExceededException", msg: fmt.Sprintf("A scaling policy cannot have more than %d step adjustments.", maxSteps)}
	}
	for _, a := range in.StepAdjustments {
		step := deferd.Step{Lower: a.MetricIntervalLowerBound, Upper: a.MetricIntervalUpperBound, Adjustment: int(*a.ScalingAdjustment)}
		if step.Lower == nil && step.Upper == nil && len(in.StepAdjustments) > 1 || step.Lower != nil && step.Upper != nil && *step.Lower >= *step.Upper {
			return nil, deferd.Errorf(deferd.Invalid, "Each StepAdjustment has a lower bound that is less than its upper bound.")
		}
		if k.Adjustment == deferd.ExactCapacity && step.Adjustment < 0 {
			return nil, deferd.Errorf(deferd.Invalid, "ScalingAdjustment cannot be negative with the adjustment type ExactCapacity.")
		}
		k.Steps = append(k.Steps, step)
	}
	return k, checkSteps(k.Steps)
}

// checkSteps refuses steps that overlap, leave gaps, or end where the metric
// need not.
func checkSteps(steps []deferd.Step) error {
	lower := func(s deferd.Step) float64 {
		if s.Lower == nil {
			return math.Inf(-1)
		}
		return *s.Lower
	}
	sorted := slices.SortedFunc(slices.Values(steps), func(a, b deferd.Step) int {
		if lower(a) < lower(b) {
			return -1
		}
		return 1
	})
	for i, s := range sorted[1:] {
		before := sorted[i].Upper
		switch {
		case before == nil || s.Lower == nil || *before > *s.Lower:
			return deferd.Errorf(deferd.Invalid, "StepAdjustment intervals must not overlap.")
		case *before < *s.Lower:
			return deferd.Errorf(deferd.Invalid, "There must be no gap between StepAdjustment intervals.")
		}
	}
	first, last := sorted[0].Lower, sorted[len(sorted)-1].Upper
	switch {
	case first != nil && *first < 0:
		return deferd.Errorf(deferd.Invalid, "There must be a StepAdjustment with an unspecified lower bound when one has a negative lower bound.")
	case last != nil && *last > 0:
		return deferd.Errorf(deferd.Invalid, "There must be a StepAdjustment with an unspecified upper bound when one has a positive upper bound.")
	}
	return nil
}

// cooldown reads a number of seconds.
func cooldown(name string, in *int32) (time.Duration, error) {
	if value(in) < 0 {
		return 0, deferd.Errorf(deferd.Invalid, "%s cannot be negative.", name)
	}
	return seconds(in, deferd.DefaultCooldown), nil
}

func trackingOf(r deferd.VariantRef, in *awsmodel.TargetTrackingScalingPolicyConfiguration) (k *deferd.TargetTracking, err error) {
	k = &deferd.TargetTracking{Target: *in.TargetValue, DisableIn: value(in.DisableScaleIn)}
	if k.OutCooldown, err = cooldown("ScaleOutCooldown", in.ScaleOutCooldown); err != nil {
		return nil, err
	}
	if k.InCooldown, err = cooldown("ScaleInCooldown", in.ScaleInCooldown); err != nil {
		return nil, err
	}
	predefined, customized := in.PredefinedMetricSpecification, in.CustomizedMetricSpecification
	switch {
	case k.Target <= 0:
		return nil, deferd.Errorf(deferd.Invalid, "TargetValue must be greater than 0.")
	case (predefined == nil) == (customized == nil):
		return nil, deferd.Errorf(deferd.Invalid, "Specify exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification.")
	case predefined != nil:
		k.Metric, err = predefinedMetric(*predefined.PredefinedMetricType)
	default:
		k.Metric, err = customizedMetric(r, customized)
	}
	return k, err
}

// predefinedMetrics are what predefined metrics mean for an asynchronous
// endpoint.
var predefinedMetrics = map[string]deferd.OwnMetric{
	"SageMakerVariantInvocationsPerInstance":                   deferd.MetricInvocationsPerInstance,
	"SageMakerVariantConcurrentRequestsPerModelHighResolution": deferd.MetricBacklogPerInstance,
	awsmodel.OldestRequestMetric:                               deferd.MetricOldestAge,
}

func predefinedMetric(kind string) (deferd.ScalingMetric, error) {
	own := predefinedMetrics[kind]
	if own == "" {
		return deferd.ScalingMetric{}, deferd.Errorf(deferd.Invalid, "The predefined metric type %s is not supported for the scalable dimension %s.", kind, scalingDimension)
	}
	return deferd.ScalingMetric{Own: own}, nil
}

func customizedMetric(r deferd.VariantRef, in *awsmodel.CustomizedMetricSpecification) (deferd.ScalingMetric, error) {
	if len(in.Metrics) > 0 {
		return deferd.ScalingMetric{}, deferd.Errorf(deferd.Invalid, "Metrics, with which metrics are combined, are not supported here: name one metric.")
	}
	m := deferd.ScalingMetric{
		Namespace: value(in.Namespace), Name: value(in.MetricName), Statistic: value(in.Statistic), Unit: value(in.Unit), Dimensions: map[string]string{},
	}
	if m.Namespace == "" || m.Name == "" || m.Statistic == "" {
		return m, deferd.Errorf(deferd.Invalid, "MetricName, Namespace and Statistic are required in a CustomizedMetricSpecification.")
	}
	for _, d := range in.Dimensions {
		if _, twice := m.Dimensions[*d.Name]; twice {
			return m, deferd.Errorf(deferd.Invalid, "The dimension %q was non-unique within the request.", *d.Name)
		}
		m.Dimensions[*d.Name] = *d.Value
	}
	if own := deferd.Own(r, m.Namespace, m.Name, m.Dimensions); own != "" && m.Statistic != "SampleCount" {
		return deferd.ScalingMetric{Own: own}, nil
	}
	return m, nil
}

func (s *Server) deletePolicy(c *call, in *awsmodel.DeleteScalingPolicyRequest) (any, error) {
	r, err := scaledVariant(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	d, err := s.Store.Document(c.ctx(), deferd.KindScalingPolicy, c.principal.Account, deferd.ScalingName(r, *in.PolicyName))
	if deferd.CodeOf(err) == deferd.NotFound && err != nil {
		return nil, notScaled("scaling policy found", r, *in.PolicyName)
	}
	if err != nil {
		return nil, err
	}
	if err := deferd.DeleteScaling(c.ctx(), s.Store, d); err != nil {
		return nil, err
	}
	return awsmodel.DeleteScalingPolicyResponse{}, nil
}

func (s *Server) describePolicies(c *call, in *awsmodel.DescribeScalingPoliciesRequest) (any, error) {
	q, err := ofResource(deferd.KindScalingPolicy, in.ServiceNamespace, in.ResourceId, in.ScalableDimension, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	q.keep = func(d deferd.Document) bool {
		if len(in.PolicyNames) == 0 {
			return true
		}
		p, err := deferd.ReadScalingPolicy(d)
		return err != nil || slices.Contains(in.PolicyNames, p.Name) || slices.Contains(in.PolicyNames, p.ARN)
	}
	policies, token, err := listScaling(s, c, q, deferd.ReadScalingPolicy, policyAnswer)
	if err != nil {
		return nil, err
	}
	return awsmodel.DescribeScalingPoliciesResponse{ScalingPolicies: policies, NextToken: token}, nil
}

func policyAnswer(p deferd.ScalingPolicy) (awsmodel.ScalingPolicy, error) {
	out := awsmodel.ScalingPolicy{
		PolicyARN: &p.ARN, PolicyName: &p.Name, ServiceNamespace: new(scalingNamespace), ResourceId: new(p.Resource.String()),
		ScalableDimension: new(scalingDimension), PolicyType: new(stepScaling), Alarms: alarmsAnswer(p), CreationTime: awsmodel.Time(p.Created),
	}
	var err error
	if p.Step != nil {
		err = json.Unmarshal(p.Request, &out.StepScalingPolicyConfiguration)
	} else {
		out.PolicyType = new(targetTracking)
		err = json.Unmarshal(p.Request, &out.TargetTrackingScalingPolicyConfiguration)
	}
	if err != nil {
		return out, fmt.Errorf("read the scaling policy %s of %s: %w", p.Name, p.Resource, err)
	}
	return out, nil
}

func alarmsAnswer(p deferd.ScalingPolicy) []awsmodel.ScalingAlarm {
	alarms := []awsmodel.ScalingAlarm{}
	for _, a := range p.Alarms {
		alarms = append(alarms, awsmodel.ScalingAlarm{AlarmName: &a.Name, AlarmARN: &a.ARN})
	}
	return alarms
}

func (s *Server) describeActivities(c *call, in *awsmodel.DescribeScalingActivitiesRequest) (any, error) {
	q, err := ofResource(deferd.KindScalingActivity, in.ServiceNamespace, in.ResourceId, in.ScalableDimension, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	activities, token, err := listScaling(s, c, q, deferd.ReadScalingActivity, activityAnswer)
	if err != nil {
		return nil, err
	}
	return awsmodel.DescribeScalingActivitiesResponse{ScalingActivities: activities, NextToken: token}, nil
}

// activityAnswer is an activity in AWS's words.
func activityAnswer(a deferd.ScalingActivity) (awsmodel.ScalingActivity, error) {
	message := fmt.Sprintf("Successfully set desired instance count to %d. ", a.To)
	switch a.Status {
	case deferd.ActivitySuccessful:
		message += "Change successfully fulfilled by sagemaker."
	case deferd.ActivityInProgress:
		message += "Waiting for change to be fulfilled by sagemaker."
	case deferd.ActivityOverridden:
		message += "Another change came before this one was fulfilled."
	default:
		message = fmt.Sprintf("Failed to set desired instance count to %d. Reason: %s", a.To, a.Message)
	}
	out := awsmodel.ScalingActivity{
		ActivityId: &a.ID, ServiceNamespace: new(scalingNamespace), ResourceId: new(a.Resource.String()), ScalableDimension: new(scalingDimension),
		Description: new(fmt.Sprintf("Setting desired instance count to %d.", a.To)), Cause: &a.Cause,
		StartTime: awsmodel.Time(a.Started), StatusCode: new(string(a.Status)), StatusMessage: &message,
	}
	if !a.Ended.IsZero() {
		out.EndTime = awsmodel.Time(a.Ended)
	}
	return out, nil
}
