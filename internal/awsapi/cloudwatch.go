package awsapi

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

const (
	cloudWatchTarget    = "GraniteServiceVersion20100801."
	cloudWatchPath      = "/service/GraniteServiceVersion20100801/operation/"
	cloudWatchNamespace = "http://monitoring.amazonaws.com/doc/2010-08-01/"
)

// cloudWatch returns the operations of CloudWatch, each with the resource that
// it is about.
func (s *Server) cloudWatch() map[string]operation {
	return map[string]operation{
		"PutMetricAlarm": watching(func(c *call, in *awsmodel.PutMetricAlarmInput) string { return c.alarmARN(*in.AlarmName) }, s.putMetricAlarm),
		"DescribeAlarms": watching(func(c *call, _ *awsmodel.DescribeAlarmsInput) string { return c.alarmARN("*") }, s.describeAlarms),
		"DescribeAlarmsForMetric": watching(func(c *call, _ *awsmodel.DescribeAlarmsForMetricInput) string {
			return c.alarmARN("*")
		}, s.describeAlarmsForMetric),
		"DeleteAlarms":        watching(func(c *call, in *awsmodel.DeleteAlarmsInput) string { return c.alarmARNs(in.AlarmNames) }, s.deleteAlarms),
		"SetAlarmState":       watching(func(c *call, in *awsmodel.SetAlarmStateInput) string { return c.alarmARN(*in.AlarmName) }, s.setAlarmState),
		"EnableAlarmActions":  watching(func(c *call, in *awsmodel.EnableAlarmActionsInput) string { return c.alarmARNs(in.AlarmNames) }, s.enableAlarmActions),
		"DisableAlarmActions": watching(func(c *call, in *awsmodel.DisableAlarmActionsInput) string { return c.alarmARNs(in.AlarmNames) }, s.disableAlarmActions),

		"GetMetricStatistics": watching(anything[*awsmodel.GetMetricStatisticsInput], s.getMetricStatistics),
		"GetMetricData":       watching(anything[*awsmodel.GetMetricDataInput], s.getMetricData),
		"ListMetrics":         watching(anything[*awsmodel.ListMetricsInput], s.listMetrics),
		"PutMetricData":       watching(anything[*awsmodel.PutMetricDataInput], s.putMetricData),

		"ListTagsForResource": watching(func(_ *call, in *awsmodel.ListTagsForResourceInput) string { return *in.ResourceARN }, s.listAlarmTags),
		"TagResource":         watching(func(_ *call, in *awsmodel.TagResourceInput) string { return *in.ResourceARN }, s.tagAlarm),
		"UntagResource":       watching(func(_ *call, in *awsmodel.UntagResourceInput) string { return *in.ResourceARN }, s.untagAlarm),
	}
}

// watching makes an operation of CloudWatch.
func watching[I any, P interface {
	*I
	awsmodel.Input
}](resource func(*call, P) string, handle func(*call, P) (any, error)) operation {
	return operationOf("cloudwatch", resource, handle)
}

// cloudWatchProtocol tells CloudWatch's three protocols apart.
func cloudWatchProtocol(r *http.Request) protocol {
	switch {
	case strings.HasPrefix(r.URL.Path, cloudWatchPath):
		return rpcCBOR
	case r.Header.Get("X-Amz-Target") != "":
		return json10
	}
	return query
}

// monitoring serves CloudWatch.
func (s *Server) monitoring(c *call) error {
	if err := c.inflate(); err != nil {
		return err
	}
	var name string
	switch c.protocol {
	case rpcCBOR:
		name = strings.TrimPrefix(c.r.URL.Path, cloudWatchPath)
		c.w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	case json10:
		name = strings.TrimPrefix(c.r.Header.Get("X-Amz-Target"), cloudWatchTarget)
	default:
		name = form(c.r, c.body).Get("Action")
	}
	op := s.watch[name]
	if op == nil || s.History == nil || c.r.Method != http.MethodPost && c.protocol != query {
		if c.protocol == query {
			return &failure{status: http.StatusBadRequest, code: "InvalidAction", msg: fmt.Sprintf("Could not find operation %s for version 2010-08-01", name)}
		}
		return unknownOperation(fmt.Sprintf("There is no operation %q.", name))
	}
	document, err := op(c, name)
	if err != nil {
		return err
	}
	return c.respondCloudWatch(name, document)
}

// maxInflated bounds what a compressed body may become: CloudWatch's own limit
// for PutMetricData is 1 MB.
const maxInflated = 2 << 20

// inflate unpacks a body that was sent compressed, as SDKs do with large ones.
func (c *call) inflate() error {
	if c.r.Header.Get("Content-Encoding") != "gzip" {
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(c.body))
	if err != nil {
		return &awsmodel.SerializationError{Msg: "The request is not compressed as it says."}
	}
	body, err := io.ReadAll(io.LimitReader(z, maxInflated+1))
	if err != nil {
		return &awsmodel.SerializationError{Msg: "The request is not compressed as it says."}
	}
	if len(body) > maxInflated {
		return tooLarge
	}
	c.body = body
	return nil
}

// respondCloudWatch answers in the call's protocol; nil stands for an operation
// without a result.
func (c *call) respondCloudWatch(name string, document any) error {
	var body []byte
	var err error
	switch {
	case c.protocol == query:
		body = awsmodel.EncodeQuery(cloudWatchNamespace, name, document, c.id)
	case document == nil && c.protocol == json10:
	case document == nil:
		body, err = awsmodel.EncodeCBOR(map[string]any{})
	case c.protocol == rpcCBOR:
		body, err = awsmodel.EncodeCBOR(document)
	default:
		body, err = marshal(document)
	}
	if err != nil {
		return fmt.Errorf("write the answer to %s: %w", name, err)
	}
	c.respond(http.StatusOK, c.protocol.contentType(), body)
	return nil
}

// cloudWatchShapes are the names of errors in the newer protocols, where they
// are others than in the query protocol.
var cloudWatchShapes = map[string]string{
	"ValidationError":             "ValidationException",
	"InvalidParameterValue":       "InvalidParameterValueException",
	"InvalidParameterCombination": "InvalidParameterCombinationException",
	"MissingParameter":            "MissingRequiredParameterException",
	"LimitExceeded":               "LimitExceededFault",
	"InvalidFormat":               "InvalidFormatFault",
	"InternalFailure":             "InternalServiceFault",
}

// cloudWatchError writes an error in one of CloudWatch's newer protocols. Those
// who come from the query protocol get its name of the error, too.
func (c *call) cloudWatchError(f *failure, code string) []byte {
	if c.r.Header.Get("x-amzn-query-mode") == "true" {
		side := "Sender"
		if f.status >= http.StatusInternalServerError {
			side = "Receiver"
		}
		c.w.Header().Set("x-amzn-query-error", code+";"+side)
	}
	e := struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}{"com.amazonaws.cloudwatch#" + cmp.Or(cloudWatchShapes[code], code), f.msg}
	if c.protocol == json10 {
		return mustJSON(e)
	}
	c.w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	b, err := awsmodel.EncodeCBOR(e)
	if err != nil {
		panic(err) // two strings
	}
	return b
}

// The errors of CloudWatch, by their names in the query protocol.
func invalidValue(format string, args ...any) error {
	return &failure{status: http.StatusBadRequest, code: "InvalidParameterValue", msg: fmt.Sprintf(format, args...)}
}

func invalidCombination(format string, args ...any) error {
	return &failure{status: http.StatusBadRequest, code: "InvalidParameterCombination", msg: fmt.Sprintf(format, args...)}
}

func missingParameter(format string, args ...any) error {
	return &failure{status: http.StatusBadRequest, code: "MissingParameter", msg: fmt.Sprintf(format, args...)}
}

// alarmARN is the ARN of an alarm in the caller's account.
func (c *call) alarmARN(name string) string {
	return "arn:aws:cloudwatch:" + c.server.Region + ":" + string(c.principal.Account) + ":alarm:" + name
}

// alarmARNs is what authorization is asked for with a list of alarms: the one,
// or all of them.
func (c *call) alarmARNs(names []string) string {
	if len(names) == 1 {
		return c.alarmARN(names[0])
	}
	return c.alarmARN("*")
}

// dimensionsOf reads the dimensions of a request, of which no two may have one
// name.
func dimensionsOf(in []awsmodel.Dimension) (deferd.Dimensions, error) {
	dims := make([]deferd.Dimension, 0, len(in))
	seen := map[string]bool{}
	for _, d := range in {
		if seen[*d.Name] {
			return "", invalidValue("The dimension %s is named twice.", *d.Name)
		}
		seen[*d.Name] = true
		dims = append(dims, deferd.Dimension{Name: *d.Name, Value: *d.Value})
	}
	return deferd.MakeDimensions(dims...), nil
}

// dimensionsAnswer writes dimensions into an answer.
func dimensionsAnswer(dims deferd.Dimensions) []awsmodel.Dimension {
	out := []awsmodel.Dimension{}
	for _, d := range dims.List() {
		out = append(out, awsmodel.Dimension{Name: &d.Name, Value: &d.Value})
	}
	return out
}
