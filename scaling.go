package deferd

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A VariantRef names a variant of an endpoint, as autoscaling calls it.
type VariantRef struct {
	Endpoint EndpointName
	Variant  VariantName
}

// String is the resource ID of the variant.
func (r VariantRef) String() string {
	return "endpoint/" + string(r.Endpoint) + "/variant/" + string(r.Variant)
}

// ParseVariantRef reads a resource ID.
func ParseVariantRef(id string) (VariantRef, error) {
	parts := strings.Split(id, "/")
	if len(parts) != 4 || parts[0] != "endpoint" || parts[2] != "variant" || parts[1] == "" || parts[3] == "" {
		return VariantRef{}, Errorf(Invalid, "%q names no variant of an endpoint: endpoint/NAME/variant/NAME", id)
	}
	return VariantRef{EndpointName(parts[1]), VariantName(parts[3])}, nil
}

// PolicyARN is the ARN of a target's policy, with a unique part of its own.
func PolicyARN(region string, a AccountID, unique string, r VariantRef, name string) string {
	return "arn:aws:autoscaling:" + region + ":" + string(a) + ":scalingPolicy:" + unique + ":resource/sagemaker/" + r.String() + ":policyName/" + name
}

// ParsePolicyARN says which policy an ARN names. That policy may be a later one
// of the same name, whose ARN is another.
func ParsePolicyARN(arn string) (a AccountID, r VariantRef, name string, err error) {
	parts := strings.SplitN(arn, ":", 8)
	if len(parts) == 8 && parts[0] == "arn" && parts[2] == "autoscaling" && parts[5] == "scalingPolicy" {
		resource, isVariant := strings.CutPrefix(parts[7], "resource/sagemaker/")
		id, name, named := strings.Cut(resource, ":policyName/")
		if r, err := ParseVariantRef(id); err == nil && isVariant && named {
			return AccountID(parts[4]), r, name, nil
		}
	}
	return "", VariantRef{}, "", Errorf(Invalid, "%q is not the ARN of a scaling policy", arn)
}

// A ScalableTarget is a variant whose number of instances follows policies,
// between two bounds. It ends with its endpoint: EndpointID says with which, as
// another one may get the name.
type ScalableTarget struct {
	ID         string // in its ARN
	Account    AccountID
	Resource   VariantRef
	EndpointID EndpointID
	Created    time.Time
	Min, Max   int
	Suspended  Suspension
	Tags       map[string]string `json:",omitempty"`

	// What cooldowns are counted from: the last scale-in, until a scale-out
	// ends its cooldown, and the last scale-out of each policy, by its name.
	LastIn  time.Time
	LastOut map[string]ScaledOut `json:",omitempty"`

	Version int64 `json:"-"` // of its document
}

// A Suspension says which kinds of scaling are suspended.
type Suspension struct{ In, Out, Scheduled bool }

// ScaledOut is a scale-out of a policy.
type ScaledOut struct {
	At   time.Time
	From int // the instances that there were before
}

// A ScalingPolicy says when a target is to have another number of instances.
// It has either Tracking or Step.
type ScalingPolicy struct {
	ID       string // in its ARN
	ARN      string
	Name     string
	Account  AccountID
	Resource VariantRef
	Created  time.Time
	Tracking *TargetTracking `json:",omitempty"`
	Step     *StepScaling    `json:",omitempty"`
	Alarms   []PolicyAlarm   `json:",omitempty"` // of Tracking: the high one, then the low one

	Request json.RawMessage // the configuration as the API validated it, which Describe echoes

	Version int64 `json:"-"` // of its document
}

// A PolicyAlarm is an alarm that a policy acts on.
type PolicyAlarm struct{ Name, ARN string }

// A ScalingMetric is what target tracking keeps at its target. One of the
// endpoint's own is computed from what the store counts; for any other, Own is
// empty and the rest says which metric of CloudWatch it is.
type ScalingMetric struct {
	Own        OwnMetric         `json:",omitempty"`
	Namespace  string            `json:",omitempty"`
	Name       string            `json:",omitempty"`
	Dimensions map[string]string `json:",omitempty"`
	Statistic  string            `json:",omitempty"`
	Unit       string            `json:",omitempty"`
}

// An OwnMetric is a metric of an endpoint that is computed from its counts.
type OwnMetric string

const (
	MetricBacklog                OwnMetric = "backlog"                  // queued or running
	MetricBacklogPerInstance     OwnMetric = "backlog_per_instance"     // divided by the instances that there are to be, at least 1
	MetricOldestAge              OwnMetric = "oldest_age"               // seconds that the oldest request has waited
	MetricWithoutCapacity        OwnMetric = "backlog_without_capacity" // 1 where there is backlog and no instance is to be, else 0
	MetricInvocationsPerInstance OwnMetric = "invocations_per_instance" // accepted in a minute, divided as the backlog is
)

// A Load is what a period looked like at its end. An instance that is starting
// counts as one: what it will take is not asked for once more.
type Load struct {
	At        time.Time
	Period    time.Duration
	Queued    int64
	Backlog   int64         // queued or running
	Instances int           // that there are to be, of all variants
	OldestAge time.Duration // of what waits; 0 where nothing does
	Accepted  int64         // in the period
}

// Busy reports whether anything came or ran.
func (l Load) Busy() bool { return l.Backlog > 0 || l.Accepted > 0 }

// Of is the value of a metric.
func (m OwnMetric) Of(l Load) float64 {
	instances := float64(max(1, l.Instances))
	switch m {
	case MetricBacklog:
		return float64(l.Backlog)
	case MetricBacklogPerInstance:
		return float64(l.Backlog) / instances
	case MetricOldestAge:
		return l.OldestAge.Seconds()
	case MetricWithoutCapacity:
		if l.Backlog > 0 && l.Instances == 0 {
			return 1
		}
		return 0
	case MetricInvocationsPerInstance:
		return float64(l.Accepted) / instances * float64(time.Minute) / float64(max(1, l.Period))
	}
	return math.NaN()
}

// A ScalingActivity is a change of a target's number of instances, or one that
// was tried.
type ScalingActivity struct {
	ID       string
	Account  AccountID
	Resource VariantRef
	To       int
	Cause    string
	Started  time.Time
	Ended    time.Time // zero while it is in progress
	Status   ActivityStatus
	Message  string `json:",omitempty"` // why it failed

	Version int64 `json:"-"` // of its document
}

// An ActivityStatus is the status of an activity as AWS spells it.
type ActivityStatus string

const (
	ActivityInProgress ActivityStatus = "InProgress"
	ActivitySuccessful ActivityStatus = "Successful"
	ActivityOverridden ActivityStatus = "Overridden" // another change came in between
	ActivityFailed     ActivityStatus = "Failed"
)

// Kinds of documents, beside those that are listed with [Document].
const (
	KindScalingActivity DocumentKind = "scaling-activity"
	KindScheduledAction DocumentKind = "scheduled-action"
)

// Document is the target as it is stored, under its resource ID.
func (t ScalableTarget) Document() (Document, error) {
	return scalingDocument(KindTarget, t.Account, t.Resource.String(), t.Version, t)
}

// ReadScalableTarget reads a target's document.
func ReadScalableTarget(d Document) (t ScalableTarget, err error) {
	err = readScaling(d, &t)
	t.Version = d.Version
	return t, err
}

// Document is the policy as it is stored.
func (p ScalingPolicy) Document() (Document, error) {
	return scalingDocument(KindScalingPolicy, p.Account, ScalingName(p.Resource, p.Name), p.Version, p)
}

// ReadScalingPolicy reads a policy's document.
func ReadScalingPolicy(d Document) (p ScalingPolicy, err error) {
	err = readScaling(d, &p)
	p.Version = d.Version
	return p, err
}

// ScalingName is the name of a document of a target that has several: below
// ScalingName(r, "") stand all of r's.
func ScalingName(r VariantRef, name string) string { return r.String() + "/" + name }

// Document is the activity as it is stored: under names in which the latest
// comes first.
func (a ScalingActivity) Document() (Document, error) {
	return scalingDocument(KindScalingActivity, a.Account, ScalingName(a.Resource, ActivityName(a.Started)+a.ID), a.Version, a)
}

// ActivityName is how the names of activities begin that started at a time.
func ActivityName(started time.Time) string {
	return fmt.Sprintf("%016x-", uint64(math.MaxInt64-started.UnixMicro()))
}

// ReadScalingActivity reads an activity's document.
func ReadScalingActivity(d Document) (a ScalingActivity, err error) {
	err = readScaling(d, &a)
	a.Version = d.Version
	return a, err
}

// DeleteScaling deletes a target's document, and with a policy the alarms that
// show what it does. What is not there any more is no error.
func DeleteScaling(ctx context.Context, from Documents, d Document) error {
	doomed := []Document{d}
	if d.Kind == KindScalingPolicy {
		p, err := ReadScalingPolicy(d)
		if err != nil {
			return err
		}
		for _, a := range p.Alarms {
			doomed = append(doomed, Document{Kind: KindAlarm, Account: d.Account, Name: a.Name})
		}
		slices.Reverse(doomed) // the policy last: it names them
	}
	for _, d := range doomed {
		if err := from.DeleteDocument(ctx, d.Kind, d.Account, d.Name); err != nil && CodeOf(err) != NotFound {
			return fmt.Errorf("delete the %s %s: %w", d.Kind, d.Name, err)
		}
	}
	return nil
}

func scalingDocument(k DocumentKind, a AccountID, name string, version int64, body any) (Document, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return Document{}, fmt.Errorf("write the %s %s: %w", k, name, err)
	}
	return Document{Kind: k, Account: a, Name: name, Version: version, Body: b}, nil
}

func readScaling(d Document, into any) error {
	if err := json.Unmarshal(d.Body, into); err != nil {
		return fmt.Errorf("read the %s %s: %w", d.Kind, d.Name, err)
	}
	return nil
}

// Own is the metric of the endpoint's own that a metric of CloudWatch is; ""
// for all others.
func Own(r VariantRef, namespace, name string, dimensions map[string]string) OwnMetric {
	if namespace != SageMakerNamespace {
		return ""
	}
	i := slices.IndexFunc(ownMetrics, func(m cloudWatchMetric) bool { return m.name == name })
	if i < 0 || len(dimensions) != 1 || dimensions["EndpointName"] != string(r.Endpoint) {
		return ""
	}
	return ownMetrics[i].own
}

// A cloudWatchMetric is an endpoint's own metric as CloudWatch names it.
type cloudWatchMetric struct {
	name string
	own  OwnMetric
}

var ownMetrics = []cloudWatchMetric{
	{BacklogSize, MetricBacklog},
	{BacklogSizePerInstance, MetricBacklogPerInstance},
	{AgeOfOldestRequest, MetricOldestAge},
	{BacklogWithoutCapacity, MetricWithoutCapacity},
}
