package awsapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// openWatching starts a server with CloudWatch.
func openWatching(t *testing.T) (s *site, changes *[]deferd.AlarmChange) {
	changes = new([]deferd.AlarmChange)
	s = open(t, func(c *Config) {
		c.History = c.Store
		c.AlarmChanged = func(a deferd.AlarmChange) { *changes = append(*changes, a) }
	})
	return s, changes
}

// watch calls an operation of CloudWatch in JSON.
func (s *site) watch(operation, body string) answer {
	s.t.Helper()
	return s.send("monitoring", "POST", "/", body, "X-Amz-Target", cloudWatchTarget+operation, "Content-Type", "application/x-amz-json-1.0", "x-amzn-query-mode", "true")
}

// watchCBOR does so in CBOR, and returns the answer's document.
func (s *site) watchCBOR(operation string, in any) (answer, map[string]any) {
	s.t.Helper()
	body, err := cbor.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	a := s.send("monitoring", "POST", cloudWatchPath+operation, string(body), "Content-Type", "application/cbor", "Smithy-Protocol", "rpc-v2-cbor", "x-amzn-query-mode", "true")
	var document map[string]any
	if err := cbor.Unmarshal([]byte(a.body), &document); err != nil {
		s.t.Fatalf("%s answered %d %q: %v", operation, a.status, a.body, err)
	}
	return a, document
}

// watchForm does so in the query protocol.
func (s *site) watchForm(form string) answer {
	s.t.Helper()
	return s.send("monitoring", "POST", "/", "Version=2010-08-01&"+form, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
}

func (s *site) mustWatch(operation, body string) string {
	s.t.Helper()
	a := s.watch(operation, body)
	if a.status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", operation, a.status, a.body)
	}
	return a.body
}

const stuckAlarm = `{"AlarmName":"stuck","MetricName":"HasBacklogWithoutCapacity","Namespace":"AWS/SageMaker","Statistic":"Average",
	"EvaluationPeriods":2,"DatapointsToAlarm":2,"Threshold":1,"ComparisonOperator":"GreaterThanOrEqualToThreshold","TreatMissingData":"missing",
	"Dimensions":[{"Name":"EndpointName","Value":"ep"}],"Period":60,"AlarmActions":["arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:x"]}`

func TestAlarmsInThreeProtocols(t *testing.T) {
	s, _ := openWatching(t)
	s.mustWatch("PutMetricAlarm", stuckAlarm)
	a, document := s.watchCBOR("DescribeAlarms", map[string]any{"AlarmNames": []string{"stuck", "other"}})
	alarms, _ := document["MetricAlarms"].([]any)
	if len(alarms) != 1 || a.header.Get("Smithy-Protocol") != "rpc-v2-cbor" || a.header.Get("Content-Type") != "application/cbor" {
		t.Fatalf("CBOR: %d %v %v", a.status, a.header, document)
	}
	alarm := alarms[0].(map[any]any)
	for member, want := range map[string]any{
		"AlarmName": "stuck", "AlarmArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:stuck", "StateValue": "INSUFFICIENT_DATA",
		"StateReason": "Unchecked: Initial alarm creation", "Threshold": 1.0, "Period": uint64(60), "ActionsEnabled": true, "TreatMissingData": "missing",
	} {
		if diff := cmp.Diff(want, alarm[member]); diff != "" {
			t.Errorf("CBOR: %s (-want +got):\n%s", member, diff)
		}
	}
	if at, ok := alarm["StateUpdatedTimestamp"].(time.Time); !ok || time.Since(at).Abs() > time.Minute {
		t.Errorf("CBOR: StateUpdatedTimestamp is %v", alarm["StateUpdatedTimestamp"])
	}
	text := s.watchForm("Action=DescribeAlarms&AlarmNamePrefix=st").body
	for _, want := range []string{
		`<DescribeAlarmsResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><DescribeAlarmsResult>`,
		"<MetricAlarms><member><AlarmName>stuck</AlarmName>", "<Dimensions><member><Name>EndpointName</Name><Value>ep</Value></member></Dimensions>",
		"<Threshold>1</Threshold>", "<AlarmActions><member>arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:x</member></AlarmActions>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("query: the answer lacks %s: %s", want, text)
		}
	}
	if a := s.watchForm("Action=DeleteAlarms&AlarmNames.member.1=stuck"); a.status != 200 || strings.Contains(a.body, "Result") {
		t.Errorf("DeleteAlarms: %d %s", a.status, a.body)
	}
	if got := s.mustWatch("DescribeAlarms", `{}`); got != `{"CompositeAlarms":[],"MetricAlarms":[]}` {
		t.Errorf("after the deletion there are %s", got)
	}
}

func TestCloudWatchErrors(t *testing.T) {
	s, _ := openWatching(t)
	long := strings.Repeat("x", 256)
	tests := []struct {
		name, operation, body string
		status                int
		code, shape           string
	}{
		{"not there", "DeleteAlarms", `{"AlarmNames":["none"]}`, 404, "ResourceNotFound", "ResourceNotFound"},
		{"state of none", "SetAlarmState", `{"AlarmName":"none","StateValue":"OK","StateReason":""}`, 404, "ResourceNotFound", "ResourceNotFound"},
		{"too long", "PutMetricAlarm", `{"AlarmName":"` + long + `"}`, 400, "ValidationError", "ValidationException"},
		{"incomplete", "PutMetricAlarm", `{"AlarmName":"a"}`, 400, "MissingParameter", "MissingRequiredParameterException"},
		{"percentile", "PutMetricAlarm", `{"AlarmName":"a","ExtendedStatistic":"p99"}`, 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"seconds", "PutMetricAlarm", strings.Replace(stuckAlarm, `"Period":60`, `"Period":10`, 1), 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"anomaly", "PutMetricAlarm", strings.Replace(stuckAlarm, "GreaterThanOrEqualToThreshold", "LessThanLowerOrGreaterThanUpperThreshold", 1), 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"too many of too few", "PutMetricAlarm", strings.Replace(stuckAlarm, `"DatapointsToAlarm":2`, `"DatapointsToAlarm":3`, 1), 400, "ValidationError", "ValidationException"},
		{"no ARN", "PutMetricAlarm", strings.Replace(stuckAlarm, "arn:aws:autoscaling", "autoscaling", 1), 400, "ValidationError", "ValidationException"},
		{"an action of another kind", "PutMetricAlarm", strings.Replace(stuckAlarm, "autoscaling:us-east-1:123456789012:scalingPolicy", "lambda:us-east-1:123456789012:function", 1), 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"missing data", "PutMetricAlarm", strings.Replace(stuckAlarm, `"missing"`, `"Missing"`, 1), 400, "ValidationError", "ValidationException"},
		{"too long a look", "PutMetricAlarm", strings.Replace(stuckAlarm, `"Period":60`, `"Period":86400`, 1), 200, "", ""},
		{"much too long a look", "PutMetricAlarm", strings.Replace(stuckAlarm, `"EvaluationPeriods":2`, `"EvaluationPeriods":1441`, 1), 400, "ValidationError", "ValidationException"},
		{"back in time", "GetMetricStatistics", `{"Namespace":"N","MetricName":"M","StartTime":60,"EndTime":60,"Period":60,"Statistics":["Sum"]}`, 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"too many points", "GetMetricStatistics", `{"Namespace":"N","MetricName":"M","StartTime":0,"EndTime":86460,"Period":60,"Statistics":["Sum"]}`, 400, "InvalidParameterCombination", "InvalidParameterCombinationException"},
		{"no statistic", "GetMetricStatistics", `{"Namespace":"N","MetricName":"M","StartTime":0,"EndTime":60,"Period":60}`, 400, "MissingParameter", "MissingRequiredParameterException"},
		{"AWS's namespace", "PutMetricData", `{"Namespace":"AWS/SageMaker","MetricData":[{"MetricName":"M","Value":1}]}`, 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"no value", "PutMetricData", `{"Namespace":"N","MetricData":[{"MetricName":"M"}]}`, 400, "MissingParameter", "MissingRequiredParameterException"},
		{"two values", "PutMetricData", `{"Namespace":"N","MetricData":[{"MetricName":"M","Value":1,"Values":[1]}]}`, 400, "InvalidParameterCombination", "InvalidParameterCombinationException"},
		{"long ago", "PutMetricData", `{"Namespace":"N","MetricData":[{"MetricName":"M","Value":1,"Timestamp":1}]}`, 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"one dimension twice", "PutMetricData", `{"Namespace":"N","MetricData":[{"MetricName":"M","Value":1,"Dimensions":[{"Name":"A","Value":"1"},{"Name":"A","Value":"2"}]}]}`, 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"math", "GetMetricData", `{"StartTime":0,"EndTime":60,"MetricDataQueries":[{"Id":"e","Expression":"a+b"}]}`, 400, "InvalidParameterValue", "InvalidParameterValueException"},
		{"token", "GetMetricData", `{"StartTime":0,"EndTime":60,"NextToken":"!","MetricDataQueries":[]}`, 400, "InvalidNextToken", "InvalidNextToken"},
		{"unknown", "PutDashboard", `{}`, 404, "UnknownOperationException", "UnknownOperationException"},
		{"tags of none", "ListTagsForResource", `{"ResourceARN":"arn:aws:cloudwatch:us-east-1:123456789012:alarm:none"}`, 404, "ResourceNotFoundException", "ResourceNotFoundException"},
		{"tags of others", "ListTagsForResource", `{"ResourceARN":"arn:aws:cloudwatch:us-east-1:999999999999:alarm:a"}`, 404, "ResourceNotFoundException", "ResourceNotFoundException"},
	}
	for _, tt := range tests {
		a := s.watch(tt.operation, tt.body)
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		json.Unmarshal([]byte(a.body), &e)
		if a.status != tt.status || tt.code != "" && (e.Type != "com.amazonaws.cloudwatch#"+tt.shape || a.header.Get("x-amzn-query-error") != tt.code+";Sender" || e.Message == "") {
			t.Errorf("%s: %d %s %s, want %d %s", tt.name, a.status, a.header.Get("x-amzn-query-error"), a.body, tt.status, tt.code)
		}
	}
	a, document := s.watchCBOR("DeleteAlarms", map[string]any{"AlarmNames": []string{"none"}})
	if a.status != 404 || document["__type"] != "com.amazonaws.cloudwatch#ResourceNotFound" || a.header.Get("x-amzn-query-error") != "ResourceNotFound;Sender" {
		t.Errorf("CBOR: %d %v %v", a.status, a.header, document)
	}
	if a := s.watchForm("Action=DeleteAlarms&AlarmNames.member.1=none"); a.status != 404 || !strings.Contains(a.body, "<Code>ResourceNotFound</Code>") {
		t.Errorf("query: %d %s", a.status, a.body)
	}
	if a := s.watchForm("Action=Nonsense"); a.status != 400 || !strings.Contains(a.body, "<Code>InvalidAction</Code>") {
		t.Errorf("query: %d %s", a.status, a.body)
	}
}

func TestMetricData(t *testing.T) {
	s, _ := openWatching(t)
	at := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	put := func(minute int, datum string) {
		t.Helper()
		s.mustWatch("PutMetricData", fmt.Sprintf(`{"Namespace":"Mine","MetricData":[{"MetricName":"M","Timestamp":%d,"Unit":"Seconds",%s}]}`, at.Add(time.Duration(minute)*time.Minute).Unix()+7, datum))
	}
	put(0, `"Value":1`)
	put(0, `"Values":[2,5],"Counts":[2,1]`)
	put(1, `"StatisticValues":{"SampleCount":2,"Sum":6,"Minimum":-1,"Maximum":7}`)
	put(5, `"Value":9`)
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	fmt.Fprintf(z, `{"Namespace":"Mine","MetricData":[{"MetricName":"M","Timestamp":%d,"Unit":"Seconds","Value":11}]}`, at.Add(6*time.Minute).Unix())
	z.Close()
	if a := s.send("monitoring", "POST", "/", body.String(), "X-Amz-Target", cloudWatchTarget+"PutMetricData", "Content-Type", "application/x-amz-json-1.0", "Content-Encoding", "gzip"); a.status != 200 {
		t.Fatalf("compressed: %d %s", a.status, a.body)
	}

	type datapoint struct {
		Timestamp                                   float64
		SampleCount, Average, Sum, Minimum, Maximum float64
		Unit                                        string
	}
	var stats struct {
		Label      string
		Datapoints []datapoint
	}
	text := s.mustWatch("GetMetricStatistics", fmt.Sprintf(`{"Namespace":"Mine","MetricName":"M","StartTime":%d,"EndTime":%d,"Period":300,
		"Statistics":["SampleCount","Average","Sum","Minimum","Maximum"]}`, at.Unix(), at.Add(time.Hour).Unix()))
	if err := json.Unmarshal([]byte(text), &stats); err != nil {
		t.Fatal(err)
	}
	first, second := float64(at.Unix()), float64(at.Add(5*time.Minute).Unix())
	want := []datapoint{{first, 6, 16.0 / 6, 16, -1, 7, "Seconds"}, {second, 2, 10, 20, 9, 11, "Seconds"}}
	if diff := cmp.Diff(want, stats.Datapoints); diff != "" || stats.Label != "M" {
		t.Errorf("statistics of %s (-want +got):\n%s", stats.Label, diff)
	}

	var data struct {
		MetricDataResults []struct {
			Id, Label, StatusCode string
			Timestamps, Values    []float64
		}
		NextToken string
	}
	ask := func(more string) {
		t.Helper()
		data.MetricDataResults, data.NextToken = nil, ""
		text := s.mustWatch("GetMetricData", fmt.Sprintf(`{"StartTime":%d,"EndTime":%d,%s"MetricDataQueries":[
			{"Id":"a","MetricStat":{"Metric":{"Namespace":"Mine","MetricName":"M"},"Period":60,"Stat":"Sum"}},
			{"Id":"b","Label":"none","MetricStat":{"Metric":{"Namespace":"Mine","MetricName":"other"},"Period":60,"Stat":"Sum"}},
			{"Id":"c","ReturnData":false,"MetricStat":{"Metric":{"Namespace":"Mine","MetricName":"M"},"Period":60,"Stat":"Sum"}}]}`, at.Unix(), at.Add(time.Hour).Unix(), more))
		if err := json.Unmarshal([]byte(text), &data); err != nil {
			t.Fatal(err)
		}
	}
	ask("")
	if len(data.MetricDataResults) != 2 || data.MetricDataResults[1].Label != "none" || data.MetricDataResults[0].StatusCode != "Complete" {
		t.Fatalf("results %+v", data.MetricDataResults)
	}
	if diff := cmp.Diff([]float64{11, 9, 6, 10}, data.MetricDataResults[0].Values); diff != "" {
		t.Errorf("values, the newest first (-want +got):\n%s", diff)
	}
	var paged []float64
	token := ""
	for range 10 {
		ask(`"ScanBy":"TimestampAscending","MaxDatapoints":3,` + token)
		for _, r := range data.MetricDataResults {
			paged = append(paged, r.Values...)
		}
		if data.NextToken == "" {
			break
		}
		token = `"NextToken":"` + data.NextToken + `",`
	}
	if diff := cmp.Diff([]float64{10, 6, 9, 11}, paged); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if got, want := s.mustWatch("ListMetrics", `{"Namespace":"Mine"}`), `{"Metrics":[{"Namespace":"Mine","MetricName":"M","Dimensions":[]}]}`; got != want {
		t.Errorf("metrics are %s, want %s", got, want)
	}
}

func TestAlarmChanges(t *testing.T) {
	s, changes := openWatching(t)
	s.mustWatch("PutMetricAlarm", strings.Replace(stuckAlarm, `"Period":60`, `"Period":60,"Tags":[{"Key":"k","Value":"v"}]`, 1))
	s.mustWatch("SetAlarmState", `{"AlarmName":"stuck","StateValue":"ALARM","StateReason":"by hand","StateReasonData":"{}"}`)
	s.mustWatch("SetAlarmState", `{"AlarmName":"stuck","StateValue":"ALARM","StateReason":"again"}`)
	if len(*changes) != 1 || (*changes)[0].Alarm.State != deferd.AlarmRaised || (*changes)[0].Old != deferd.AlarmInsufficient {
		t.Errorf("changes are %+v, want one to ALARM", *changes)
	}
	s.mustWatch("PutMetricAlarm", strings.Replace(stuckAlarm, `"Threshold":1`, `"Threshold":5`, 1))
	s.mustWatch("DisableAlarmActions", `{"AlarmNames":["stuck","none"]}`)
	got := s.mustWatch("DescribeAlarms", `{"StateValue":"ALARM","ActionPrefix":"arn:aws:autoscaling"}`)
	for _, want := range []string{`"Threshold":5`, `"StateValue":"ALARM"`, `"StateReason":"again"`, `"ActionsEnabled":false`} {
		if !strings.Contains(got, want) {
			t.Errorf("the alarm lacks %s: %s", want, got)
		}
	}
	const arn = `"ResourceARN":"arn:aws:cloudwatch:us-east-1:123456789012:alarm:stuck"`
	s.mustWatch("TagResource", `{`+arn+`,"Tags":[{"Key":"a","Value":"1"},{"Key":"k","Value":"w"}]}`)
	s.mustWatch("UntagResource", `{`+arn+`,"TagKeys":["a","none"]}`)
	if got, want := s.mustWatch("ListTagsForResource", `{`+arn+`}`), `{"Tags":[{"Key":"k","Value":"w"}]}`; got != want {
		t.Errorf("tags are %s, want %s", got, want)
	}
	if a := s.watch("SetAlarmState", `{"AlarmName":"stuck","StateValue":"OK","StateReason":"","StateReasonData":"{"}`); !strings.Contains(a.header.Get("x-amzn-query-error"), "InvalidFormat") {
		t.Errorf("StateReasonData without an end was answered %d %s", a.status, a.body)
	}
	s.refusing = "cloudwatch:DeleteAlarms"
	if a := s.watch("DeleteAlarms", `{"AlarmNames":["stuck"]}`); a.status != 403 {
		t.Errorf("without permission: %d %s", a.status, a.body)
	}
}

func TestAlarmPages(t *testing.T) {
	s, _ := openWatching(t)
	for i := range 7 {
		s.mustWatch("PutMetricAlarm", strings.Replace(stuckAlarm, `"stuck"`, fmt.Sprintf(`"stuck-%d"`, i), 1))
	}
	found, token := 0, ""
	for range 10 {
		var page struct {
			MetricAlarms []struct{ AlarmName string }
			NextToken    string
		}
		text := s.mustWatch("DescribeAlarms", `{"AlarmNamePrefix":"stuck-","MaxRecords":3`+token+`}`)
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		for _, a := range page.MetricAlarms {
			if want := fmt.Sprintf("stuck-%d", found); a.AlarmName != want {
				t.Errorf("alarm %d is %s, want %s", found, a.AlarmName, want)
			}
			found++
		}
		if page.NextToken == "" {
			break
		}
		token = `,"NextToken":"` + page.NextToken + `"`
	}
	if found != 7 {
		t.Errorf("found %d alarms, want 7", found)
	}
	text := s.mustWatch("DescribeAlarmsForMetric", `{"Namespace":"AWS/SageMaker","MetricName":"HasBacklogWithoutCapacity","Dimensions":[{"Name":"EndpointName","Value":"ep"}]}`)
	if n := strings.Count(text, "AlarmName"); n != 7 {
		t.Errorf("%d alarms for the metric, want 7", n)
	}
}

func TestCloudWatchIsSigned(t *testing.T) {
	s, _ := openWatching(t)
	r := s.request("POST", "/", "Action=DescribeAlarms&Version=2010-08-01", "Content-Type", "application/x-www-form-urlencoded")
	if a := s.do(r); a.status != http.StatusForbidden {
		t.Errorf("unsigned: %d %s", a.status, a.body)
	}
	if a := s.send("sagemaker", "POST", "/", url.Values{"Action": {"DescribeAlarms"}}.Encode(), "X-Amz-Target", cloudWatchTarget+"DescribeAlarms"); a.status != http.StatusNotFound {
		t.Errorf("signed for another service: %d %s", a.status, a.body)
	}
}
