package awsapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// scale sends a request to Application Auto Scaling.
func (s *site) scale(operation, body string) answer {
	s.t.Helper()
	return s.send("application-autoscaling", "POST", "/", body,
		"X-Amz-Target", "AnyScaleFrontendService."+operation, "Content-Type", "application/x-amz-json-1.1")
}

// scaled is scale for what has to succeed; it returns the answer.
func (s *site) scaled(operation, body string) (out map[string]any) {
	s.t.Helper()
	a := s.scale(operation, body)
	if a.status != 200 {
		s.t.Fatalf("%s: %d %s", operation, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

const (
	ofE      = `"ServiceNamespace":"sagemaker","ResourceId":"endpoint/e/variant/v","ScalableDimension":"sagemaker:variant:DesiredInstanceCount"`
	tracking = `"PolicyName":"track","PolicyType":"TargetTrackingScaling","TargetTrackingScalingPolicyConfiguration":{"TargetValue":5.0,` +
		`"CustomizedMetricSpecification":{"MetricName":"ApproximateBacklogSizePerInstance","Namespace":"AWS/SageMaker",` +
		`"Dimensions":[{"Name":"EndpointName","Value":"e"}],"Statistic":"Average"},"ScaleOutCooldown":300,"ScaleInCooldown":600}`
	stepping = `"PolicyName":"step","PolicyType":"StepScaling","StepScalingPolicyConfiguration":{"AdjustmentType":"ChangeInCapacity",` +
		`"StepAdjustments":[{"MetricIntervalLowerBound":0,"ScalingAdjustment":1}],"Cooldown":300,"MetricAggregationType":"Average"}`
)

func TestLifeOfATarget(t *testing.T) {
	s := open(t, nil)
	e := s.serve("e")
	const arnPrefix = `arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/`
	a := s.scale("RegisterScalableTarget", `{`+ofE+`,"MinCapacity":0,"MaxCapacity":5,"Tags":{"team":"a"}}`)
	a.check(t, 200, `{"ScalableTargetARN":"`+arnPrefix+`<uuid>"}`)
	again := s.scale("RegisterScalableTarget", `{`+ofE+`,"MaxCapacity":7,"SuspendedState":{"DynamicScalingInSuspended":true}}`)
	if again.body != a.body {
		t.Errorf("registered again it is %s, was %s", again.body, a.body)
	}
	if got := s.changed[len(s.changed)-1]; got != e.ID {
		t.Errorf("%s was looked at, want %s", got, e.ID)
	}
	d := s.scaled("DescribeScalableTargets", `{"ServiceNamespace":"sagemaker"}`)["ScalableTargets"].([]any)[0].(map[string]any)
	if created := d["CreationTime"].(float64); time.Since(time.UnixMilli(int64(created*1000))) > time.Minute {
		t.Errorf("created at %v", created)
	}
	delete(d, "CreationTime")
	delete(d, "ScalableTargetARN")
	want := map[string]any{
		"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/e/variant/v", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
		"MinCapacity": 0.0, "MaxCapacity": 7.0,
		"RoleARN":        "arn:aws:iam::123456789012:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
		"SuspendedState": map[string]any{"DynamicScalingInSuspended": true, "DynamicScalingOutSuspended": false, "ScheduledScalingSuspended": false},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("the target (-want +got):\n%s", diff)
	}

	s.scale("PutScalingPolicy", `{`+ofE+`,`+stepping+`}`).check(t, 200,
		`{"PolicyARN":"arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:<uuid>:resource/sagemaker/endpoint/e/variant/v:policyName/step","Alarms":[]}`)
	const alarm = `{"AlarmName":"TargetTracking-endpoint/e/variant/v-Alarm%[1]s-<uuid>","AlarmARN":"arn:aws:cloudwatch:us-east-1:123456789012:alarm:TargetTracking-endpoint/e/variant/v-Alarm%[1]s-<uuid>"}`
	put := s.scale("PutScalingPolicy", `{`+ofE+`,`+tracking+`}`)
	put.check(t, 200, `{"PolicyARN":"arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:<uuid>:resource/sagemaker/endpoint/e/variant/v:policyName/track","Alarms":[`+
		fmt.Sprintf(alarm, "High")+`,`+fmt.Sprintf(alarm, "Low")+`]}`)
	if again := s.scale("PutScalingPolicy", `{`+ofE+`,`+strings.Replace(tracking, "5.0", "7.5", 1)+`}`); again.body != put.body {
		t.Errorf("put again it is %s, was %s", again.body, put.body)
	}
	policies := s.scaled("DescribeScalingPolicies", `{"ServiceNamespace":"sagemaker","ResourceId":"endpoint/e/variant/v"}`)["ScalingPolicies"].([]any)
	for i, asked := range []string{stepping, strings.Replace(tracking, "5.0", "7.5", 1)} {
		var want map[string]any
		if err := json.Unmarshal([]byte(`{`+ofE+`,`+asked+`}`), &want); err != nil {
			t.Fatal(err)
		}
		got := policies[i].(map[string]any)
		for name, v := range want {
			if diff := cmp.Diff(v, got[name]); diff != "" {
				t.Errorf("%s of policy %d (-want +got):\n%s", name, i, diff)
			}
		}
	}
	named := s.scaled("DescribeScalingPolicies", `{"ServiceNamespace":"sagemaker","PolicyNames":["track"]}`)["ScalingPolicies"].([]any)
	if len(named) != 1 {
		t.Errorf("%d policies have that name, want 1", len(named))
	}

	alarms := func(want int) {
		t.Helper()
		docs, err := s.store.Documents(t.Context(), deferd.KindAlarm, account, "TargetTracking-endpoint/e/variant/v-", "", 10)
		if err != nil || len(docs) != want {
			t.Errorf("there are %d alarms (%v), want %d", len(docs), err, want)
		}
		for _, d := range docs {
			a, err := deferd.AlarmOf(d)
			if err != nil || a.Threshold != 7.5 && a.Threshold != 0.9*7.5 || a.State != deferd.AlarmInsufficient {
				t.Errorf("the alarm is %+v (%v)", a, err)
			}
		}
	}
	alarms(2)
	s.scale("DeleteScalingPolicy", `{`+ofE+`,"PolicyName":"step"}`).check(t, 200, `{}`)
	const noTarget = `for service namespace: sagemaker, resource ID: endpoint/e/variant/v, scalable dimension: sagemaker:variant:DesiredInstanceCount`
	s.scale("DeleteScalingPolicy", `{`+ofE+`,"PolicyName":"step"}`).check(t, 400, `{"__type":"ObjectNotFoundException","message":"No scaling policy found `+noTarget+`: step"}`)
	s.scale("DeregisterScalableTarget", `{`+ofE+`}`).check(t, 200, `{}`)
	alarms(0)
	s.scale("DeregisterScalableTarget", `{`+ofE+`}`).check(t, 400, `{"__type":"ObjectNotFoundException","message":"No scalable target found `+noTarget+`"}`)
	s.scale("DescribeScalingPolicies", `{"ServiceNamespace":"sagemaker"}`).check(t, 200, `{"ScalingPolicies":[]}`)
	s.scale("DescribeScalableTargets", `{"ServiceNamespace":"sagemaker"}`).check(t, 200, `{"ScalableTargets":[]}`)
	s.scale("PutScalingPolicy", `{`+ofE+`,`+stepping+`}`).check(t, 400, `{"__type":"ObjectNotFoundException","message":"No scalable target registered `+noTarget+`"}`)
}

func TestTargetTags(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	arn := s.scaled("RegisterScalableTarget", `{`+ofE+`,"MinCapacity":0,"MaxCapacity":5,"Tags":{"a":"1"}}`)["ScalableTargetARN"].(string)
	list := func(want string) {
		t.Helper()
		s.scale("ListTagsForResource", `{"ResourceARN":"`+arn+`"}`).check(t, 200, `{"Tags":{`+want+`}}`)
	}
	list(`"a":"1"`)
	s.scale("TagResource", `{"ResourceARN":"`+arn+`","Tags":{"b":"2","a":"3"}}`).check(t, 200, `{}`)
	list(`"a":"3","b":"2"`)
	s.scale("UntagResource", `{"ResourceARN":"`+arn+`","TagKeys":["a","b","c"]}`).check(t, 200, `{}`)
	list(``)
	s.scale("TagResource", `{"ResourceARN":"`+arn+`","Tags":{"AWS:x":"2"}}`).check(t, 400,
		`{"__type":"ValidationException","message":"aws: prefixed tag key names are not allowed for external use."}`)
	many := map[string]string{}
	for i := range maxTags + 1 {
		many[fmt.Sprint("k", i)] = ""
	}
	tags, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	s.scale("TagResource", `{"ResourceARN":"`+arn+`","Tags":`+string(tags)+`}`).check(t, 400,
		`{"__type":"TooManyTagsException","message":"The resource cannot have more than 50 tags."}`)
	other := arn[:len(arn)-1] + "z"
	for _, operation := range []string{`"TagResource","Tags":{}`, `"UntagResource","TagKeys":[]`, `"ListTagsForResource"`} {
		name, rest, _ := strings.Cut(strings.TrimPrefix(operation, `"`), `"`)
		a := s.scale(name, `{"ResourceARN":"`+other+`"`+rest+`}`)
		if a.status != 400 || !strings.Contains(a.body, "ResourceNotFoundException") {
			t.Errorf("%s of what is not there: %d %s", name, a.status, a.body)
		}
	}
}

func TestActivities(t *testing.T) {
	s := open(t, nil)
	at := time.UnixMilli(1_800_000_000_000)
	for i, a := range []deferd.ScalingActivity{
		{To: 1, Status: deferd.ActivitySuccessful, Cause: "c1", Ended: at.Add(time.Minute)},
		{To: 2, Status: deferd.ActivityFailed, Message: "no image", Cause: "c2", Ended: at},
		{To: 3, Status: deferd.ActivityInProgress, Cause: "c3"},
	} {
		a.ID, a.Account, a.Started = fmt.Sprint("id", i), account, at.Add(time.Duration(i)*time.Second)
		a.Resource = deferd.VariantRef{Endpoint: "e", Variant: "v"}
		d, err := a.Document()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.store.PutDocument(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	activity := func(i, to int, cause, times, code, message string) string {
		return fmt.Sprintf(`{"ActivityId":"id%d",%s,"Description":"Setting desired instance count to %d.","Cause":"%s",%s,"StatusCode":"%s","StatusMessage":"%s"}`,
			i, ofE, to, cause, times, code, message)
	}
	first := s.scaled("DescribeScalingActivities", `{"ServiceNamespace":"sagemaker","ResourceId":"endpoint/e/variant/v","MaxResults":2}`)
	token := first["NextToken"].(string)
	s.scale("DescribeScalingActivities", `{"ServiceNamespace":"sagemaker","MaxResults":2}`).check(t, 200, `{"ScalingActivities":[`+
		activity(2, 3, "c3", `"StartTime":1800000002`, "InProgress", "Successfully set desired instance count to 3. Waiting for change to be fulfilled by sagemaker.")+`,`+
		activity(1, 2, "c2", `"StartTime":1800000001,"EndTime":1800000000`, "Failed", "Failed to set desired instance count to 2. Reason: no image")+
		`],"NextToken":"`+token+`"}`)
	s.scale("DescribeScalingActivities", `{"ServiceNamespace":"sagemaker","NextToken":"`+token+`"}`).check(t, 200, `{"ScalingActivities":[`+
		activity(0, 1, "c1", `"StartTime":1800000000,"EndTime":1800000060`, "Successful", "Successfully set desired instance count to 1. Change successfully fulfilled by sagemaker.")+`]}`)
	s.scale("DescribeScalingActivities", `{"ServiceNamespace":"sagemaker","NextToken":"?"}`).check(t, 400,
		`{"__type":"InvalidNextTokenException","message":"The next token supplied was invalid."}`)
}

func TestActions(t *testing.T) {
	s := open(t, nil)
	e := s.serve("e")
	const name = `"ScheduledActionName":"morning"`
	put := func(members string) answer {
		t.Helper()
		return s.scale("PutScheduledAction", `{`+ofE+`,`+name+`,`+members+`}`)
	}
	const bounds = `"ScalableTargetAction":{"MinCapacity":1,"MaxCapacity":4}`
	put(`"Schedule":"cron(0 8 * * ? *)",`+bounds).check(t, 400,
		`{"__type":"ObjectNotFoundException","message":"No scalable target registered for service namespace: sagemaker, resource ID: endpoint/e/variant/v, scalable dimension: sagemaker:variant:DesiredInstanceCount"}`)
	s.scaled("RegisterScalableTarget", `{`+ofE+`,"MinCapacity":0,"MaxCapacity":5}`)
	put(`"Schedule":"cron(0 8 * * ? *)","Timezone":"Europe/Vienna","StartTime":1800000000,"EndTime":4000000000,`+bounds).check(t, 200, `{}`)
	if got := s.changed[len(s.changed)-1]; got != e.ID {
		t.Errorf("%s was looked at, want %s", got, e.ID)
	}
	put(`"Schedule":"cron(0 9 * * ? *)"`).check(t, 200, `{}`)
	described := s.scaled("DescribeScheduledActions", `{"ServiceNamespace":"sagemaker","ScheduledActionNames":["morning"]}`)["ScheduledActions"].([]any)
	got := described[0].(map[string]any)
	delete(got, "CreationTime")
	got["ScheduledActionARN"] = uuidPattern.ReplaceAllString(got["ScheduledActionARN"].(string), "<uuid>")
	want := map[string]any{
		"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/e/variant/v", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
		"ScheduledActionName": "morning", "ScheduledActionARN": "arn:aws:autoscaling:us-east-1:123456789012:scheduledAction:<uuid>:resource/sagemaker/endpoint/e/variant/v:scheduledActionName/morning",
		"Schedule": "cron(0 9 * * ? *)", "Timezone": "Europe/Vienna", "StartTime": 1800000000.0, "EndTime": 4000000000.0,
		"ScalableTargetAction": map[string]any{"MinCapacity": 1.0, "MaxCapacity": 4.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the action (-want +got):\n%s", diff)
	}
	s.scale("DescribeScheduledActions", `{"ServiceNamespace":"sagemaker","ScheduledActionNames":["evening"]}`).check(t, 200, `{"ScheduledActions":[]}`)

	for members, want := range map[string]string{
		`"Schedule":"at(2020-01-01T00:00:00)"`:                     "The scheduled action would never be carried out: all times of its schedule are over.",
		`"Schedule":"rate(0 days)"`:                                `Schedule expression "rate(0 days)" is invalid: rate(N minutes), rate(N hours) or rate(N days).`,
		`"Timezone":"Middle/Earth"`:                                `The time zone "Middle/Earth" is not known.`,
		`"ScalableTargetAction":{}`:                                "ScalableTargetAction must have MinCapacity, MaxCapacity or both.",
		`"ScalableTargetAction":{"MinCapacity":-1}`:                "Minimum capacity cannot be less than 0.",
		`"ScalableTargetAction":{"MinCapacity":2,"MaxCapacity":1}`: "Maximum capacity cannot be less than minimum capacity.",
		`"StartTime":8000000000`:                                   "StartTime and EndTime must lie between 1970 and 2199.",
		`"EndTime":1`:                                              "EndTime must be after StartTime.",
	} {
		put(members).check(t, 400, fmt.Sprintf(`{"__type":"ValidationException","message":%q}`, want))
	}
	s.scale("DeleteScheduledAction", `{`+ofE+`,`+name+`}`).check(t, 200, `{}`)
	s.scale("DeleteScheduledAction", `{`+ofE+`,`+name+`}`).check(t, 400,
		`{"__type":"ObjectNotFoundException","message":"No scheduled action found for service namespace: sagemaker, resource ID: endpoint/e/variant/v, scalable dimension: sagemaker:variant:DesiredInstanceCount: morning"}`)
}

func TestScalingRefusals(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	s.scaled("RegisterScalableTarget", `{`+ofE+`,"MinCapacity":0,"MaxCapacity":5}`)
	s.scaled("PutScalingPolicy", `{`+ofE+`,`+stepping+`}`)
	steps := func(steps string) string {
		return `{` + ofE + `,"PolicyName":"p","StepScalingPolicyConfiguration":{"AdjustmentType":"ChangeInCapacity","StepAdjustments":[` + steps + `]}}`
	}
	track := func(config string) string {
		return `{` + ofE + `,"PolicyName":"p","PolicyType":"TargetTrackingScaling","TargetTrackingScalingPolicyConfiguration":{` + config + `}}`
	}
	const unsupported = "Unsupported service namespace, resource type or scalable dimension."
	tests := []struct {
		name, operation, in, want string
	}{
		{"another service", "RegisterScalableTarget", strings.Replace(`{`+ofE+`}`, `"sagemaker"`, `"ecs"`, 1), unsupported},
		{"another resource", "RegisterScalableTarget", strings.Replace(`{`+ofE+`}`, `endpoint/e/variant/v`, `service/e`, 1), unsupported},
		{"another dimension", "RegisterScalableTarget", strings.Replace(`{`+ofE+`}`, `sagemaker:variant:DesiredInstanceCount`, `ecs:service:DesiredCount`, 1), unsupported},
		{
			"no such dimension", "DeregisterScalableTarget", `{"ServiceNamespace":"sagemaker","ResourceId":"endpoint/e/variant/v"}`,
			"1 validation error detected: Value null at 'scalableDimension' failed to satisfy constraint: Member must not be null",
		},
		{"no such endpoint", "RegisterScalableTarget", strings.Replace(`{`+ofE+`,"MinCapacity":0,"MaxCapacity":1}`, `endpoint/e/`, `endpoint/f/`, 1), `Could not find endpoint "` + arnHead + `endpoint/f".`},
		{"no such variant", "RegisterScalableTarget", strings.Replace(`{`+ofE+`,"MinCapacity":0,"MaxCapacity":1}`, `variant/v`, `variant/w`, 1), `The endpoint "e" has no variant "w".`},
		{"more than there may be", "RegisterScalableTarget", `{` + ofE + `,"MinCapacity":6}`, "Maximum capacity cannot be less than minimum capacity."},
		{"less than none", "RegisterScalableTarget", `{` + ofE + `,"MinCapacity":-1}`, "Minimum capacity cannot be less than 0."},
		{"a dimension of nothing", "DescribeScalableTargets", `{"ServiceNamespace":"sagemaker","ScalableDimension":"sagemaker:variant:DesiredInstanceCount"}`, "If you specify a scalable dimension, you must also specify a resource ID."},
		{"too long a page", "DescribeScalableTargets", `{"ServiceNamespace":"sagemaker","MaxResults":51}`, "MaxResults must be between 1 and 50."},

		{"another type", "PutScalingPolicy", `{` + ofE + `,"PolicyName":"p","PolicyType":"PredictiveScaling"}`, "Policies of type PredictiveScaling are not supported here."},
		{"no configuration", "PutScalingPolicy", `{` + ofE + `,"PolicyName":"p"}`, "A policy of type StepScaling has a StepScalingPolicyConfiguration and no other."},
		{"a change of type", "PutScalingPolicy", strings.Replace(track(`"TargetValue":1,"PredefinedMetricSpecification":{"PredefinedMetricType":"SageMakerVariantInvocationsPerInstance"}`), `"p"`, `"step"`, 1), "The policy type of an existing scaling policy cannot be changed."},
		{"no steps", "PutScalingPolicy", steps(``), "At least one StepAdjustment is required."},
		{"steps that overlap", "PutScalingPolicy", steps(`{"MetricIntervalLowerBound":0,"MetricIntervalUpperBound":10,"ScalingAdjustment":1},{"MetricIntervalLowerBound":5,"ScalingAdjustment":2}`), "StepAdjustment intervals must not overlap."},
		{"a gap", "PutScalingPolicy", steps(`{"MetricIntervalLowerBound":0,"MetricIntervalUpperBound":10,"ScalingAdjustment":1},{"MetricIntervalLowerBound":15,"ScalingAdjustment":2}`), "There must be no gap between StepAdjustment intervals."},
		{"an end above", "PutScalingPolicy", steps(`{"MetricIntervalLowerBound":0,"MetricIntervalUpperBound":10,"ScalingAdjustment":1}`), "There must be a StepAdjustment with an unspecified upper bound when one has a positive upper bound."},
		{"an end below", "PutScalingPolicy", steps(`{"MetricIntervalLowerBound":-5,"ScalingAdjustment":1}`), "There must be a StepAdjustment with an unspecified lower bound when one has a negative lower bound."},
		{"the wrong way round", "PutScalingPolicy", steps(`{"MetricIntervalLowerBound":5,"MetricIntervalUpperBound":0,"ScalingAdjustment":1}`), "Each StepAdjustment has a lower bound that is less than its upper bound."},
		{"no target value", "PutScalingPolicy", track(`"TargetValue":0,"PredefinedMetricSpecification":{"PredefinedMetricType":"SageMakerVariantInvocationsPerInstance"}`), "TargetValue must be greater than 0."},
		{"no metric", "PutScalingPolicy", track(`"TargetValue":1`), "Specify exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification."},
		{"half a metric", "PutScalingPolicy", track(`"TargetValue":1,"CustomizedMetricSpecification":{"MetricName":"x"}`), "MetricName, Namespace and Statistic are required in a CustomizedMetricSpecification."},
		{"a metric of others", "PutScalingPolicy", track(`"TargetValue":1,"PredefinedMetricSpecification":{"PredefinedMetricType":"ECSServiceAverageCPUUtilization"}`), "The predefined metric type ECSServiceAverageCPUUtilization is not supported for the scalable dimension sagemaker:variant:DesiredInstanceCount."},
		{"a formula", "PutScalingPolicy", track(`"TargetValue":1,"CustomizedMetricSpecification":{"Metrics":[{"Id":"a","Expression":"1"}]}`), "Metrics, with which metrics are combined, are not supported here: name one metric."},
		{"a cooldown in the past", "PutScalingPolicy", track(`"TargetValue":1,"ScaleInCooldown":-1`), "ScaleInCooldown cannot be negative."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.scale(tt.operation, tt.in).check(t, 400, fmt.Sprintf(`{"__type":"ValidationException","message":%q}`, tt.want))
		})
	}
	s.scale("GetPredictiveScalingForecast", `{}`).check(t, 404, `{"__type":"UnknownOperationException","message":"There is no operation \"AnyScaleFrontendService.GetPredictiveScalingForecast\"."}`)
}

// What policies say becomes what is decided by.
func TestPoliciesAreRead(t *testing.T) {
	s := open(t, nil)
	s.serve("e")
	s.scaled("RegisterScalableTarget", `{`+ofE+`,"MinCapacity":0,"MaxCapacity":5}`)
	metric := func(name string) string {
		return `{` + ofE + `,"PolicyName":"p","PolicyType":"TargetTrackingScaling","TargetTrackingScalingPolicyConfiguration":{"TargetValue":5,"DisableScaleIn":true,` + name + `}}`
	}
	tests := []struct {
		in   string
		want deferd.ScalingMetric
	}{
		{`"PredefinedMetricSpecification":{"PredefinedMetricType":"SageMakerVariantInvocationsPerInstance"}`, deferd.ScalingMetric{Own: deferd.MetricInvocationsPerInstance}},
		{`"PredefinedMetricSpecification":{"PredefinedMetricType":"DeferdEndpointAgeOfOldestRequest"}`, deferd.ScalingMetric{Own: deferd.MetricOldestAge}},
		{
			`"CustomizedMetricSpecification":{"MetricName":"HasBacklogWithoutCapacity","Namespace":"AWS/SageMaker","Dimensions":[{"Name":"EndpointName","Value":"e"}],"Statistic":"Maximum"}`,
			deferd.ScalingMetric{Own: deferd.MetricWithoutCapacity},
		},
		{
			`"CustomizedMetricSpecification":{"MetricName":"load","Namespace":"Mine","Dimensions":[{"Name":"a","Value":"b"}],"Statistic":"Sum","Unit":"Count"}`,
			deferd.ScalingMetric{Namespace: "Mine", Name: "load", Dimensions: map[string]string{"a": "b"}, Statistic: "Sum", Unit: "Count"},
		},
	}
	for _, tt := range tests {
		s.scaled("PutScalingPolicy", metric(tt.in))
		d, err := s.store.Document(t.Context(), deferd.KindScalingPolicy, account, "endpoint/e/variant/v/p")
		if err != nil {
			t.Fatal(err)
		}
		p, err := deferd.ReadScalingPolicy(d)
		if err != nil {
			t.Fatal(err)
		}
		want := &deferd.TargetTracking{Target: 5, Metric: tt.want, OutCooldown: 5 * time.Minute, InCooldown: 5 * time.Minute, DisableIn: true}
		if diff := cmp.Diff(want, p.Tracking); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestManagedScaling(t *testing.T) {
	s := open(t, nil)
	s.must("CreateModel", `{"ModelName":"m","PrimaryContainer":{"Image":"i"}}`)
	tests := []struct {
		in   string
		want *deferd.ManagedScaling
		n    int
	}{
		{`"ManagedInstanceScaling":{"Status":"ENABLED","MinInstanceCount":0,"MaxInstanceCount":3}`, &deferd.ManagedScaling{Max: 3}, 0},
		{`"InitialInstanceCount":2,"ManagedInstanceScaling":{"Status":"ENABLED","MinInstanceCount":0}`, &deferd.ManagedScaling{}, 2},
		{`"ManagedInstanceScaling":{"Status":"ENABLED"}`, &deferd.ManagedScaling{Min: 1}, 1},
		{`"ManagedInstanceScaling":{"Status":"DISABLED","MinInstanceCount":0,"MaxInstanceCount":3}`, nil, 1},
	}
	for i, tt := range tests {
		name := fmt.Sprint("c", i)
		s.must("CreateEndpointConfig", `{"EndpointConfigName":"`+name+`","ProductionVariants":[{"VariantName":"v","ModelName":"m",`+tt.in+`}]}`)
		c, err := s.store.Config(t.Context(), account, deferd.ConfigName(name))
		if err != nil {
			t.Fatal(err)
		}
		if v := c.Variants[0]; !cmp.Equal(v.Managed, tt.want) || v.InitialCount != tt.n {
			t.Errorf("%s: %+v and %d instances, want %+v and %d", tt.in, v.Managed, v.InitialCount, tt.want, tt.n)
		}
	}
}

func TestScalingAsksForPermission(t *testing.T) {
	s := open(t, nil)
	s.refusing = "application-autoscaling:DescribeScalableTargets"
	a := s.scale("DescribeScalableTargets", `{"ServiceNamespace":"sagemaker"}`)
	if a.status != 403 || !strings.Contains(a.body, "AccessDeniedException") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
