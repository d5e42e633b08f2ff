package awsapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

const (
	logsTarget = "Logs_20140328."

	// logGroupPrefix is how the names of all log groups begin; an endpoint's
	// name follows.
	logGroupPrefix = "/aws/sagemaker/Endpoints/"

	logsPage = 50
)

// cloudWatchLogs returns the operations of CloudWatch Logs, each with the
// resource that it is about.
func (s *Server) cloudWatchLogs() map[string]operation {
	return map[string]operation{
		"DescribeLogGroups": operationOf("logs", func(c *call, _ *awsmodel.DescribeLogGroupsRequest) string { return c.logGroupARN("*") }, s.describeLogGroups),
		"DescribeLogStreams": operationOf("logs", func(c *call, in *awsmodel.DescribeLogStreamsRequest) string {
			return c.logResource(in.LogGroupName, in.LogGroupIdentifier)
		}, s.describeLogStreams),
		"GetLogEvents": operationOf("logs", func(c *call, in *awsmodel.GetLogEventsRequest) string {
			return c.logResource(in.LogGroupName, in.LogGroupIdentifier)
		}, s.getLogEvents),
		"FilterLogEvents": operationOf("logs", func(c *call, in *awsmodel.FilterLogEventsRequest) string {
			return c.logResource(in.LogGroupName, in.LogGroupIdentifier)
		}, s.filterLogEvents),
	}
}

// logs serves CloudWatch Logs.
func (s *Server) logs(c *call) error {
	name, ok := strings.CutPrefix(c.r.Header.Get("X-Amz-Target"), logsTarget)
	op := s.reading[name]
	if !ok || op == nil || s.Logs == nil || c.r.Method != http.MethodPost {
		return unknownOperation(fmt.Sprintf("There is no operation %q.", c.r.Header.Get("X-Amz-Target")))
	}
	document, err := op(c, name)
	if e, ok := errors.AsType[*awsmodel.ValidationError](err); ok {
		return invalidLogs("%s", withoutValues(e))
	}
	if err != nil {
		return err
	}
	return c.respondJSON(http.StatusOK, document)
}

// withoutValues is the text of violations as CloudWatch Logs phrases them: it
// does not repeat what was sent.
func withoutValues(e *awsmodel.ValidationError) string {
	bare := awsmodel.ValidationError{}
	for _, v := range e.Violations {
		end := strings.LastIndex(v, "' failed to satisfy constraint: ")
		begin := strings.LastIndex(v[:max(end, 0)], " at '")
		if begin >= 0 && strings.HasPrefix(v, "Value '") {
			v = "Value" + v[begin:]
		}
		bare.Violations = append(bare.Violations, v)
	}
	return bare.Error()
}

func invalidLogs(format string, args ...any) error {
	return &failure{status: http.StatusBadRequest, code: "InvalidParameterException", msg: fmt.Sprintf(format, args...)}
}

var (
	noLogGroup  = &failure{status: http.StatusBadRequest, code: "ResourceNotFoundException", msg: "The specified log group does not exist."}
	noLogStream = &failure{status: http.StatusBadRequest, code: "ResourceNotFoundException", msg: "The specified log stream does not exist."}
)

// logGroupARN is the ARN of a log group; who may read it is asked for this.
func (c *call) logGroupARN(group string) string {
	return "arn:aws:logs:" + c.server.Region + ":" + string(c.principal.Account) + ":log-group:" + group
}

// logResource is what a request is about, in whichever way it names the group.
func (c *call) logResource(name, identifier *string) string {
	switch {
	case name != nil:
		return c.logGroupARN(*name)
	case identifier != nil && strings.HasPrefix(*identifier, "arn:"):
		return *identifier
	case identifier != nil:
		return c.logGroupARN(*identifier)
	}
	return c.logGroupARN("*")
}

// logEndpoint is the endpoint whose log group a request names.
func (c *call) logEndpoint(name, identifier *string) (deferd.EndpointName, error) {
	if (name == nil) == (identifier == nil) {
		return "", invalidLogs("Exactly one of logGroupName and logGroupIdentifier must be given.")
	}
	group := name
	if name == nil {
		text := strings.TrimSuffix(strings.TrimPrefix(*identifier, c.logGroupARN("")), ":*")
		group = &text
	}
	e, ok := strings.CutPrefix(*group, logGroupPrefix)
	if !ok || e == "" {
		return "", noLogGroup
	}
	return deferd.EndpointName(e), nil
}

// logError words an error of reading logs.
func logError(err error) error {
	if deferd.CodeOf(err) == deferd.NotFound && err != nil {
		return noLogGroup
	}
	return err
}

func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMilli())
}

func (s *Server) describeLogGroups(c *call, in *awsmodel.DescribeLogGroupsRequest) (any, error) {
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, invalidLogs("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	groups, err := s.Logs.LogGroups(c.ctx(), c.principal.Account)
	if err != nil {
		return nil, err
	}
	out := &awsmodel.DescribeLogGroupsResponse{LogGroups: []awsmodel.LogGroup{}}
	limit := pageLimit(in.Limit)
	for _, g := range groups {
		name := logGroupPrefix + string(g.Endpoint)
		switch {
		case in.NextToken != nil && name <= *in.NextToken,
			in.LogGroupNamePrefix != nil && !strings.HasPrefix(name, *in.LogGroupNamePrefix),
			in.LogGroupNamePattern != nil && !strings.Contains(strings.ToLower(name), strings.ToLower(*in.LogGroupNamePattern)),
			in.LogGroupIdentifiers != nil && !slices.Contains(in.LogGroupIdentifiers, name) && !slices.Contains(in.LogGroupIdentifiers, c.logGroupARN(name)),
			in.LogGroupClass != nil && *in.LogGroupClass != "STANDARD":
			continue
		}
		if len(out.LogGroups) == limit {
			out.NextToken = out.LogGroups[limit-1].LogGroupName
			break
		}
		created := g.Changed
		if e, err := s.Store.Endpoint(c.ctx(), c.principal.Account, g.Endpoint); err == nil {
			created = e.Created
		}
		out.LogGroups = append(out.LogGroups, awsmodel.LogGroup{
			LogGroupName: &name, CreationTime: millis(created), MetricFilterCount: new(int32(0)), StoredBytes: &g.Size, LogGroupClass: new("STANDARD"),
			Arn: new(c.logGroupARN(name) + ":*"), LogGroupArn: new(c.logGroupARN(name)),
		})
	}
	return out, nil
}

func pageLimit(limit *int32) int {
	if limit == nil {
		return logsPage
	}
	return int(*limit)
}

func (s *Server) describeLogStreams(c *call, in *awsmodel.DescribeLogStreamsRequest) (any, error) {
	e, err := c.logEndpoint(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	byTime := in.OrderBy != nil && *in.OrderBy == "LastEventTime"
	if byTime && in.LogStreamNamePrefix != nil {
		return nil, invalidLogs("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	streams, err := s.Logs.LogStreams(c.ctx(), c.principal.Account, e)
	if err != nil {
		return nil, logError(err)
	}
	slices.SortStableFunc(streams, func(a, b deferd.LogStream) int {
		order := strings.Compare(a.Name, b.Name)
		if by := a.Last.Compare(b.Last); byTime && by != 0 {
			order = by
		}
		if in.Descending != nil && *in.Descending {
			order = -order
		}
		return order
	})
	out := &awsmodel.DescribeLogStreamsResponse{LogStreams: []awsmodel.LogStream{}}
	limit := pageLimit(in.Limit)
	if in.NextToken != nil { // the name of the last one
		i := slices.IndexFunc(streams, func(l deferd.LogStream) bool { return l.Name == *in.NextToken })
		if i < 0 {
			return nil, invalidLogs("The specified nextToken is invalid.")
		}
		streams = streams[i+1:]
	}
	group := c.logGroupARN(logGroupPrefix + string(e))
	for _, l := range streams {
		if in.LogStreamNamePrefix != nil && !strings.HasPrefix(l.Name, *in.LogStreamNamePrefix) {
			continue
		}
		if len(out.LogStreams) == limit {
			out.NextToken = out.LogStreams[limit-1].LogStreamName
			break
		}
		out.LogStreams = append(out.LogStreams, awsmodel.LogStream{
			LogStreamName: &l.Name, CreationTime: millis(l.First), FirstEventTimestamp: millis(l.First), LastEventTimestamp: millis(l.Last),
			LastIngestionTime: millis(l.Last), Arn: new(group + ":log-stream:" + l.Name), StoredBytes: &l.Size,
		})
	}
	return out, nil
}
