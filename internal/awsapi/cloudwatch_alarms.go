package awsapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

const (
	alarmsPage   = 50
	maxAlarmSpan = 24 * time.Hour // that an alarm may look at, with periods below an hour
	maxLongSpan  = 7 * 24 * time.Hour
)

func (s *Server) putMetricAlarm(c *call, in *awsmodel.PutMetricAlarmInput) (any, error) {
	a, err := c.newAlarm(in)
	if err != nil {
		return nil, err
	}
	tags, err := alarmTags(in.Tags)
	if err != nil {
		return nil, err
	}
	return nil, s.changeAlarm(c, a.Name, func(old *deferd.Alarm) (*deferd.Alarm, error) {
		next := a
		next.Configured = s.Store.Now()
		if old == nil {
			next.Tags, next.State, next.Reason = tags, deferd.AlarmInsufficient, "Unchecked: Initial alarm creation"
			next.Updated, next.Transitions = next.Configured, next.Configured
			return &next, nil
		}
		next.Tags, next.State, next.Reason, next.ReasonData = old.Tags, old.State, old.Reason, old.ReasonData
		next.Updated, next.Transitions = old.Updated, old.Transitions
		return &next, nil
	})
}

// changeAlarm stores what change makes of an alarm, nil where there is none. It
// goes on over those who change it at the same time.
func (s *Server) changeAlarm(c *call, name string, change func(*deferd.Alarm) (*deferd.Alarm, error)) error {
	for {
		d, err := s.Store.Document(c.ctx(), deferd.KindAlarm, c.principal.Account, name)
		var old *deferd.Alarm
		switch {
		case err == nil:
			a, err := deferd.AlarmOf(d)
			if err != nil {
				return err
			}
			old = &a
		case deferd.CodeOf(err) != deferd.NotFound:
			return err
		}
		next, err := change(old)
		if err != nil {
			return err
		}
		if d, err = next.Document(d.Version); err != nil {
			return err
		}
		_, err = s.Store.PutDocument(c.ctx(), d)
		switch deferd.CodeOf(err) {
		case deferd.Changed, deferd.Exists, deferd.NotFound:
			continue // somebody was faster
		}
		return err
	}
}

// newAlarm is what a request makes of an alarm.
func (c *call) newAlarm(in *awsmodel.PutMetricAlarmInput) (deferd.Alarm, error) {
	a := deferd.Alarm{
		Account: c.principal.Account, Name: *in.AlarmName, ARN: c.alarmARN(*in.AlarmName), ActionsEnabled: true,
		AlarmActions: in.AlarmActions, OKActions: in.OKActions, InsufficientActions: in.InsufficientDataActions,
	}
	if err := c.checkAlarm(in); err != nil {
		return a, err
	}
	dims, err := dimensionsOf(in.Dimensions)
	if err != nil {
		return a, err
	}
	a.Namespace, a.Metric, a.Dimensions, a.Statistic = *in.Namespace, *in.MetricName, dims, *in.Statistic
	a.Period, a.Periods = time.Duration(*in.Period)*time.Second, int(*in.EvaluationPeriods)
	a.Datapoints, a.Threshold, a.Comparison = a.Periods, *in.Threshold, *in.ComparisonOperator
	if in.DatapointsToAlarm != nil {
		a.Datapoints = int(*in.DatapointsToAlarm)
	}
	for _, text := range []struct {
		to   *string
		from *string
	}{{&a.Description, in.AlarmDescription}, {&a.Unit, in.Unit}, {&a.MissingData, in.TreatMissingData}} {
		if text.from != nil {
			*text.to = *text.from
		}
	}
	if in.ActionsEnabled != nil {
		a.ActionsEnabled = *in.ActionsEnabled
	}
	return a, nil
}

// checkAlarm refuses what CloudWatch refuses, and what is not offered here.
func (c *call) checkAlarm(in *awsmodel.PutMetricAlarmInput) error {
	switch {
	case in.Metrics != nil || in.ThresholdMetricId != nil:
		return invalidValue("Alarms on metric math or anomaly detection are not offered: name one metric with MetricName, Namespace and Statistic.")
	case in.EvaluationWindow != nil || in.WarmUpConfiguration != nil || in.EvaluationCriteria != nil || in.EvaluationInterval != nil || in.ActionConfiguration != nil:
		return invalidValue("EvaluationWindow, WarmUpConfiguration, EvaluationCriteria, EvaluationInterval and ActionConfiguration are not offered.")
	case in.ExtendedStatistic != nil || in.EvaluateLowSampleCountPercentile != nil:
		return invalidValue("Percentiles are not kept: Statistic is SampleCount, Average, Sum, Minimum or Maximum.")
	}
	for _, m := range []struct {
		name  string
		there bool
	}{
		{"MetricName", in.MetricName != nil}, {"Namespace", in.Namespace != nil}, {"Statistic", in.Statistic != nil}, {"Period", in.Period != nil},
		{"EvaluationPeriods", in.EvaluationPeriods != nil}, {"Threshold", in.Threshold != nil}, {"ComparisonOperator", in.ComparisonOperator != nil},
	} {
		if !m.there {
			return missingParameter("The parameter %s is required.", m.name)
		}
	}
	for _, arn := range slices.Concat(in.AlarmActions, in.OKActions, in.InsufficientDataActions) {
		if err := checkAction(arn); err != nil {
			return err
		}
	}
	period, err := periodOf(*in.Period)
	if err != nil {
		return err
	}
	longest := maxAlarmSpan
	if period >= time.Hour {
		longest = maxLongSpan
	}
	missing := []string{"breaching", "notBreaching", "ignore", "missing"}
	switch {
	case int64(*in.EvaluationPeriods)*int64(*in.Period) > int64(longest/time.Second):
		return &failure{status: http.StatusBadRequest, msg: "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400), or a week where Period is an hour or more."}
	case in.DatapointsToAlarm != nil && *in.DatapointsToAlarm > *in.EvaluationPeriods:
		return &failure{status: http.StatusBadRequest, msg: "DatapointsToAlarm must be less than or equal to EvaluationPeriods."}
	case in.TreatMissingData != nil && !slices.Contains(missing, *in.TreatMissingData):
		return &failure{status: http.StatusBadRequest, msg: "Option " + *in.TreatMissingData + " is not supported. Supported options for TreatMissingData are breaching, notBreaching, ignore, and missing."}
	case !slices.Contains(plainComparisons, *in.ComparisonOperator):
		return invalidValue("The operator %s compares with a band of anomaly detection, which is not offered.", *in.ComparisonOperator)
	}
	return nil
}

var (
	anyARN   = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:.+`)
	doneHere = regexp.MustCompile(`^arn:aws[a-z-]*:(autoscaling:[a-z0-9-]*:[0-9]+:scalingPolicy|sns:[a-z0-9-]*:[0-9]+):.+`)
)

// checkAction refuses an action that nobody would do.
func checkAction(arn string) error {
	switch {
	case !anyARN.MatchString(arn):
		return &failure{status: http.StatusBadRequest, msg: "Invalid arn syntax: " + arn}
	case !doneHere.MatchString(arn):
		return invalidValue("The action %s is not offered: actions are scaling policies and SNS topics.", arn)
	}
	return nil
}

// plainComparisons compare with a threshold that is a number.
var plainComparisons = []string{"GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"}

func (s *Server) describeAlarms(c *call, in *awsmodel.DescribeAlarmsInput) (any, error) {
	out := &awsmodel.DescribeAlarmsOutput{MetricAlarms: []awsmodel.MetricAlarm{}, CompositeAlarms: []awsmodel.CompositeAlarm{}}
	if in.AlarmNames != nil && in.AlarmNamePrefix != nil {
		return nil, invalidCombination("AlarmNames and AlarmNamePrefix cannot both be specified.")
	}
	if in.AlarmTypes != nil && !slices.Contains(in.AlarmTypes, "MetricAlarm") || in.ChildrenOfAlarmName != nil || in.ParentsOfAlarmName != nil {
		return out, nil // there are no others
	}
	match := func(a *deferd.Alarm) bool {
		return (in.StateValue == nil || string(a.State) == *in.StateValue) && (in.ActionPrefix == nil || slices.ContainsFunc(
			slices.Concat(a.AlarmActions, a.OKActions, a.InsufficientActions),
			func(arn string) bool { return strings.HasPrefix(arn, *in.ActionPrefix) }))
	}
	most := alarmsPage
	if in.MaxRecords != nil {
		most = int(*in.MaxRecords)
	}
	if in.AlarmNames != nil {
		return out, s.namedAlarms(c, in.AlarmNames, match, out)
	}
	prefix, after := "", ""
	if in.AlarmNamePrefix != nil {
		prefix = *in.AlarmNamePrefix
	}
	if in.NextToken != nil {
		after = *in.NextToken
	}
	err := s.eachAlarm(c, prefix, after, func(a *deferd.Alarm) bool {
		if !match(a) {
			return true
		}
		if len(out.MetricAlarms) == most {
			out.NextToken = out.MetricAlarms[most-1].AlarmName
			return false
		}
		out.MetricAlarms = append(out.MetricAlarms, alarmAnswer(a))
		return true
	})
	return out, err
}

// eachAlarm visits the caller's alarms in the order of their names, until visit
// returns false.
func (s *Server) eachAlarm(c *call, prefix, after string, visit func(*deferd.Alarm) bool) error {
	for {
		docs, err := s.Store.Documents(c.ctx(), deferd.KindAlarm, c.principal.Account, prefix, after, alarmsPage)
		if err != nil {
			return err
		}
		for _, d := range docs {
			a, err := deferd.AlarmOf(d)
			if err != nil {
				return err
			}
			if !visit(&a) {
				return nil
			}
			after = d.Name
		}
		if len(docs) < alarmsPage {
			return nil
		}
	}
}

// namedAlarms describes those of the named alarms that there are.
func (s *Server) namedAlarms(c *call, names []string, match func(*deferd.Alarm) bool, out *awsmodel.DescribeAlarmsOutput) error {
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		a, err := s.alarm(c, name)
		if errors.Is(err, error(noAlarm)) {
			continue
		}
		if err != nil {
			return err
		}
		if match(&a) {
			out.MetricAlarms = append(out.MetricAlarms, alarmAnswer(&a))
		}
	}
	return nil
}

var noAlarm = &failure{status: http.StatusNotFound, code: "ResourceNotFound", msg: "There is no such alarm."}

// alarm reads an alarm of the caller's; noAlarm where there is none.
func (s *Server) alarm(c *call, name string) (deferd.Alarm, error) {
	d, err := s.Store.Document(c.ctx(), deferd.KindAlarm, c.principal.Account, name)
	if deferd.CodeOf(err) == deferd.NotFound && err != nil {
		return deferd.Alarm{}, noAlarm
	}
	if err != nil {
		return deferd.Alarm{}, err
	}
	return deferd.AlarmOf(d)
}

func (s *Server) describeAlarmsForMetric(c *call, in *awsmodel.DescribeAlarmsForMetricInput) (any, error) {
	dims, err := dimensionsOf(in.Dimensions)
	if err != nil {
		return nil, err
	}
	out := &awsmodel.DescribeAlarmsForMetricOutput{MetricAlarms: []awsmodel.MetricAlarm{}}
	err = s.eachAlarm(c, "", "", func(a *deferd.Alarm) bool {
		if a.Namespace == *in.Namespace && a.Metric == *in.MetricName && a.Dimensions == dims &&
			(in.Statistic == nil || a.Statistic == *in.Statistic) && (in.Unit == nil || a.Unit == *in.Unit) &&
			(in.Period == nil || a.Period == time.Duration(*in.Period)*time.Second) {
			out.MetricAlarms = append(out.MetricAlarms, alarmAnswer(a))
		}
		return true
	})
	return out, err
}

// alarmAnswer describes an alarm.
func alarmAnswer(a *deferd.Alarm) awsmodel.MetricAlarm {
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	list := func(s []string) []string { return slices.Concat([]string{}, s) }
	return awsmodel.MetricAlarm{
		AlarmName: &a.Name, AlarmArn: &a.ARN, AlarmDescription: text(a.Description), AlarmConfigurationUpdatedTimestamp: awsmodel.Time(a.Configured),
		ActionsEnabled: &a.ActionsEnabled, OKActions: list(a.OKActions), AlarmActions: list(a.AlarmActions), InsufficientDataActions: list(a.InsufficientActions),
		StateValue: new(string(a.State)), StateReason: &a.Reason, StateReasonData: text(a.ReasonData),
		StateUpdatedTimestamp: awsmodel.Time(a.Updated), StateTransitionedTimestamp: awsmodel.Time(a.Transitions),
		MetricName: &a.Metric, Namespace: &a.Namespace, Statistic: &a.Statistic, Dimensions: dimensionsAnswer(a.Dimensions),
		Period: new(int32(a.Period / time.Second)), Unit: text(a.Unit), EvaluationPeriods: new(int32(a.Periods)), DatapointsToAlarm: new(int32(a.Datapoints)),
		Threshold: &a.Threshold, ComparisonOperator: &a.Comparison, TreatMissingData: text(a.MissingData),
	}
}

// deleteAlarms deletes all of the named alarms, or none where one of them is not
// there.
func (s *Server) deleteAlarms(c *call, in *awsmodel.DeleteAlarmsInput) (any, error) {
	for _, name := range in.AlarmNames {
		if _, err := s.alarm(c, name); err != nil {
			return nil, err
		}
	}
	for _, name := range in.AlarmNames {
		err := s.Store.DeleteDocument(c.ctx(), deferd.KindAlarm, c.principal.Account, name)
		if err != nil && deferd.CodeOf(err) != deferd.NotFound { // named twice, or deleted meanwhile
			return nil, err
		}
	}
	return nil, nil
}

func (s *Server) setAlarmState(c *call, in *awsmodel.SetAlarmStateInput) (any, error) {
	if in.StateReasonData != nil && !json.Valid([]byte(*in.StateReasonData)) {
		return nil, &failure{status: http.StatusBadRequest, code: "InvalidFormat", msg: "StateReasonData is not valid JSON."}
	}
	var change deferd.AlarmChange
	err := s.changeAlarm(c, *in.AlarmName, func(a *deferd.Alarm) (*deferd.Alarm, error) {
		if a == nil {
			return nil, noAlarm
		}
		change.Old, change.At = a.State, s.Store.Now()
		a.State, a.Reason, a.ReasonData, a.Updated = deferd.AlarmState(*in.StateValue), *in.StateReason, "", change.At
		if in.StateReasonData != nil {
			a.ReasonData = *in.StateReasonData
		}
		if change.Old != a.State {
			a.Transitions = change.At
		}
		change.Alarm = *a
		return a, nil
	})
	if err == nil && change.Old != change.Alarm.State {
		s.AlarmChanged(change)
	}
	return nil, err
}

func (s *Server) enableAlarmActions(c *call, in *awsmodel.EnableAlarmActionsInput) (any, error) {
	return nil, s.switchActions(c, in.AlarmNames, true)
}

func (s *Server) disableAlarmActions(c *call, in *awsmodel.DisableAlarmActionsInput) (any, error) {
	return nil, s.switchActions(c, in.AlarmNames, false)
}

// switchActions enables or disables the actions of those of the named alarms
// that there are.
func (s *Server) switchActions(c *call, names []string, on bool) error {
	for _, name := range names {
		err := s.changeAlarm(c, name, func(a *deferd.Alarm) (*deferd.Alarm, error) {
			if a == nil {
				return nil, noAlarm
			}
			a.ActionsEnabled = on
			return a, nil
		})
		if err != nil && !errors.Is(err, error(noAlarm)) {
			return err
		}
	}
	return nil
}

// alarmTags reads the tags of a request by the rules of all things.
func alarmTags(in []awsmodel.AlarmTag) ([]deferd.Tag, error) {
	same := make([]awsmodel.Tag, 0, len(in))
	for _, t := range in {
		same = append(same, awsmodel.Tag(t))
	}
	return tagsOf(same)
}

// taggedAlarm is the name of the alarm that an ARN names.
func (c *call) taggedAlarm(arn string) (string, error) {
	name, ok := strings.CutPrefix(arn, c.alarmARN(""))
	if !ok || name == "" {
		return "", &failure{status: http.StatusNotFound, code: "ResourceNotFoundException", msg: "There is no resource " + arn + "."}
	}
	return name, nil
}

func (s *Server) listAlarmTags(c *call, in *awsmodel.ListTagsForResourceInput) (any, error) {
	name, err := c.taggedAlarm(*in.ResourceARN)
	if err != nil {
		return nil, err
	}
	a, err := s.alarm(c, name)
	if err != nil {
		return nil, noTaggedAlarm(err)
	}
	out := &awsmodel.ListTagsForResourceOutput{Tags: []awsmodel.AlarmTag{}}
	for _, t := range tagsAnswer(a.Tags) {
		out.Tags = append(out.Tags, awsmodel.AlarmTag(t))
	}
	return out, nil
}

// noTaggedAlarm is how operations on tags call an alarm that is not there.
func noTaggedAlarm(err error) error {
	if errors.Is(err, error(noAlarm)) {
		return &failure{status: noAlarm.status, code: "ResourceNotFoundException", msg: noAlarm.msg}
	}
	return err
}

// changeAlarmTags stores what change makes of an alarm's tags.
func (s *Server) changeAlarmTags(c *call, arn string, change func([]deferd.Tag) []deferd.Tag) error {
	name, err := c.taggedAlarm(arn)
	if err != nil {
		return err
	}
	err = s.changeAlarm(c, name, func(a *deferd.Alarm) (*deferd.Alarm, error) {
		if a == nil {
			return nil, noAlarm
		}
		if a.Tags = change(a.Tags); len(a.Tags) > maxTags {
			return nil, &failure{status: http.StatusBadRequest, code: "LimitExceededException", msg: "An alarm has at most 50 tags."}
		}
		return a, nil
	})
	return noTaggedAlarm(err)
}

func (s *Server) tagAlarm(c *call, in *awsmodel.TagResourceInput) (any, error) {
	added, err := alarmTags(in.Tags)
	if err != nil {
		return nil, err
	}
	return &awsmodel.TagResourceOutput{}, s.changeAlarmTags(c, *in.ResourceARN, func(tags []deferd.Tag) []deferd.Tag {
		for _, t := range added {
			if i := indexTag(tags, t.Key); i >= 0 {
				tags[i] = t
				continue
			}
			tags = append(tags, t)
		}
		return tags
	})
}

func (s *Server) untagAlarm(c *call, in *awsmodel.UntagResourceInput) (any, error) {
	return &awsmodel.UntagResourceOutput{}, s.changeAlarmTags(c, *in.ResourceARN, func(tags []deferd.Tag) []deferd.Tag {
		return slices.DeleteFunc(tags, func(t deferd.Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
	})
}
