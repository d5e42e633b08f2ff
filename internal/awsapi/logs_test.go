package awsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// memoryLogs are the logs of one endpoint, by stream.
type memoryLogs struct {
	endpoint deferd.EndpointName
	streams  map[string][]deferd.LogEvent
}

func (l *memoryLogs) LogGroups(context.Context, deferd.AccountID) ([]deferd.LogGroup, error) {
	return []deferd.LogGroup{{Endpoint: "a", Changed: time.UnixMilli(1), Size: 1}, {Endpoint: l.endpoint, Changed: time.UnixMilli(2), Size: 2}}, nil
}

func (l *memoryLogs) LogStreams(_ context.Context, _ deferd.AccountID, e deferd.EndpointName) ([]deferd.LogStream, error) {
	if e != l.endpoint {
		return nil, deferd.Errorf(deferd.NotFound, "no logs")
	}
	var out []deferd.LogStream
	for _, name := range slices.Sorted(maps.Keys(l.streams)) {
		s := deferd.LogStream{Name: name}
		if events := l.streams[name]; len(events) > 0 {
			s.First, s.Last = events[0].Time, events[len(events)-1].Time
		}
		out = append(out, s)
	}
	return out, nil
}

func (l *memoryLogs) ReadLogs(_ context.Context, _ deferd.AccountID, e deferd.EndpointName, since time.Time, wanted func(string) bool) iter.Seq2[deferd.LogEvent, error] {
	return func(yield func(deferd.LogEvent, error) bool) {
		if e != l.endpoint {
			yield(deferd.LogEvent{}, deferd.Errorf(deferd.NotFound, "no logs"))
			return
		}
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(l.streams))) { // in no order that helps
			for _, event := range l.streams[name] {
				if wanted(name) && !event.Time.Before(since) && !yield(event, nil) {
					return
				}
			}
		}
	}
}

// add appends an event of a millisecond.
func (l *memoryLogs) add(stream string, ms int64, message string) {
	l.streams[stream] = append(l.streams[stream], deferd.LogEvent{Stream: stream, Time: time.UnixMilli(ms), Message: message})
}

func openLogs(t *testing.T) (*site, *memoryLogs) {
	l := &memoryLogs{endpoint: "ep", streams: map[string][]deferd.LogEvent{}}
	return open(t, func(c *Config) { c.Logs = l }), l
}

const group = `"logGroupName":"/aws/sagemaker/Endpoints/ep"`

// read calls an operation of CloudWatch Logs.
func (s *site) read(operation, body string) answer {
	s.t.Helper()
	return s.send("logs", "POST", "/", body, "X-Amz-Target", logsTarget+operation, "Content-Type", "application/x-amz-json-1.1")
}

// An eventPage is an answer of either operation that reads events.
type eventPage struct {
	Events []struct {
		Timestamp              int64
		LogStreamName, Message string
	}
	NextForwardToken, NextBackwardToken, NextToken string
}

func (p eventPage) messages() (all []string) {
	for _, e := range p.Events {
		all = append(all, fmt.Sprintf("%d %s", e.Timestamp, e.Message))
	}
	return all
}

func (s *site) events(operation, more string) (p eventPage) {
	s.t.Helper()
	a := s.read(operation, `{`+group+more+`}`)
	if a.status != 200 {
		s.t.Fatalf("%s %s: %d %s", operation, more, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func TestGetLogEvents(t *testing.T) {
	s, l := openLogs(t)
	const stream = `,"logStreamName":"v/i-1"`
	for i := range 10 {
		l.add("v/i-1", int64(100+i/4), fmt.Sprint("line ", i)) // four in a millisecond
	}
	l.add("v/i-2", 100, "another")
	all := s.events("GetLogEvents", stream).messages()
	if len(all) != 10 || all[0] != "100 line 0" || all[9] != "102 line 9" {
		t.Errorf("events are %q", all)
	}
	walk := func(first, direction string) (lines []string) {
		t.Helper()
		more := first
		for range 20 {
			p := s.events("GetLogEvents", stream+`,"limit":3`+more)
			if len(p.Events) == 0 {
				return lines
			}
			token := p.NextForwardToken
			if direction == "backward" {
				token = p.NextBackwardToken
				lines = append(p.messages(), lines...)
			} else {
				lines = append(lines, p.messages()...)
			}
			more = `,"nextToken":"` + token + `"`
		}
		t.Fatalf("walking %s does not end", direction)
		return nil
	}
	if diff := cmp.Diff(all, walk(`,"startFromHead":true`, "forward")); diff != "" {
		t.Errorf("forward (-all +walked):\n%s", diff)
	}
	if diff := cmp.Diff(all, walk("", "backward")); diff != "" {
		t.Errorf("backward (-all +walked):\n%s", diff)
	}
	if diff := cmp.Diff(all[4:8], s.events("GetLogEvents", stream+`,"startTime":101,"endTime":102`).messages()); diff != "" {
		t.Errorf("within a time (-want +got):\n%s", diff)
	}
	end := s.events("GetLogEvents", stream)
	follow := `,"nextToken":"` + end.NextForwardToken + `"`
	if p := s.events("GetLogEvents", stream+follow); len(p.Events) != 0 || p.NextForwardToken != end.NextForwardToken {
		t.Errorf("at the end: %+v, want no events and the same token", p)
	}
	l.streams["v/i-1"] = l.streams["v/i-1"][4:] // the oldest go, in whole milliseconds
	l.add("v/i-1", 102, "line 10")
	l.add("v/i-1", 103, "line 11")
	if diff := cmp.Diff([]string{"102 line 10", "103 line 11"}, s.events("GetLogEvents", stream+follow).messages()); diff != "" {
		t.Errorf("following (-want +got):\n%s", diff)
	}
}

func TestFilterLogEvents(t *testing.T) {
	s, l := openLogs(t)
	l.add("v/i-1", 100, "a ERROR one")
	l.add("v/i-1", 102, "b WARN one")
	l.add("v/i-2", 100, "c ERROR two")
	l.add("v/i-2", 101, `d "quoted" two`)
	l.add("w/i-3", 101, "e ERROR three")
	tests := []struct{ name, more, want string }{
		{"everything", ``, "a c d e b"},
		{"a term", `,"filterPattern":"ERROR"`, "a c e"},
		{"two terms", `,"filterPattern":"ERROR two"`, "c"},
		{"a phrase", `,"filterPattern":"\"ERROR three\""`, "e"},
		{"phrases", `,"filterPattern":"\"ERROR\" \"one\""`, "a"},
		{"a quoted mark", `,"filterPattern":"\"\\\"quoted\\\"\""`, "d"},
		{"without", `,"filterPattern":"-ERROR"`, "d b"},
		{"with and without", `,"filterPattern":"ERROR -two"`, "a e"},
		{"either", `,"filterPattern":"?WARN ?quoted"`, "d b"},
		{"case counts", `,"filterPattern":"error"`, ""},
		{"a stream", `,"logStreamNames":["v/i-2","none"]`, "c d"},
		{"a prefix", `,"logStreamNamePrefix":"v/"`, "a c d b"},
		{"a time", `,"startTime":101,"endTime":102`, "d e"},
	}
	letters := func(p eventPage) string {
		var all []string
		for _, e := range p.Events {
			all = append(all, e.Message[:1])
		}
		return strings.Join(all, " ")
	}
	for _, tt := range tests {
		if got := letters(s.events("FilterLogEvents", tt.more)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		var paged []string
		token := ""
		for range 10 {
			p := s.events("FilterLogEvents", tt.more+`,"limit":1`+token)
			if len(p.Events) > 0 {
				paged = append(paged, letters(p))
			}
			if p.NextToken == "" {
				break
			}
			token = `,"nextToken":"` + p.NextToken + `"`
		}
		if got := strings.Join(paged, " "); got != tt.want {
			t.Errorf("%s, one by one: %q, want %q", tt.name, got, tt.want)
		}
	}
	if p := s.events("FilterLogEvents", ""); p.Events[0].LogStreamName != "v/i-1" || p.Events[0].Timestamp != 100 {
		t.Errorf("the first event is %+v", p.Events[0])
	}
}

func TestLogsAnswerBounds(t *testing.T) {
	s, l := openLogs(t)
	long := strings.Repeat("x", 100_000)
	for i := range 25 {
		l.add("v/i-1", int64(i), long)
	}
	if n := len(s.events("FilterLogEvents", "").Events); n != 10 {
		t.Errorf("FilterLogEvents answers with %d events of 100,000 bytes, want 10", n)
	}
	for _, more := range []string{``, `,"startFromHead":true`} {
		if n := len(s.events("GetLogEvents", `,"logStreamName":"v/i-1"`+more).Events); n != 10 {
			t.Errorf("GetLogEvents%s answers with %d events of 100,000 bytes, want 10", more, n)
		}
	}
}

func TestLogGroupsAndStreams(t *testing.T) {
	s, l := openLogs(t)
	l.add("v/i-1", 5, "x")
	l.add("v/i-2", 3, "x")
	l.streams["v/i-3"] = nil
	const arn = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/"
	a := s.read("DescribeLogGroups", `{"logGroupNamePrefix":"/aws/sagemaker/Endpoints/e"}`)
	want := `{"logGroups":[{"logGroupName":"/aws/sagemaker/Endpoints/ep","creationTime":2,"metricFilterCount":0,"arn":"` + arn + `ep:*",` +
		`"storedBytes":2,"logGroupClass":"STANDARD","logGroupArn":"` + arn + `ep"}]}`
	if a.body != want {
		t.Errorf("groups are %s, want %s", a.body, want)
	}
	a = s.read("DescribeLogGroups", `{"limit":1}`)
	if !strings.Contains(a.body, `"nextToken":"/aws/sagemaker/Endpoints/a"`) {
		t.Errorf("the first page is %s", a.body)
	}
	names := func(more string) (all []string) {
		t.Helper()
		a := s.read("DescribeLogStreams", `{`+more+`}`)
		var out struct {
			LogStreams []struct{ LogStreamName string }
		}
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
		for _, l := range out.LogStreams {
			all = append(all, l.LogStreamName[4:])
		}
		return all
	}
	for more, want := range map[string][]string{
		group:                                    {"1", "2", "3"},
		group + `,"descending":true`:             {"3", "2", "1"},
		group + `,"logStreamNamePrefix":"v/i-2"`: {"2"},
		group + `,"orderBy":"LastEventTime","descending":true,"limit":2`: {"1", "2"},
		group + `,"limit":1,"nextToken":"v/i-1"`:                         {"2"},
		`"logGroupIdentifier":"` + arn + `ep"`:                           {"1", "2", "3"},
	} {
		if diff := cmp.Diff(want, names(more)); diff != "" {
			t.Errorf("streams of %s (-want +got):\n%s", more, diff)
		}
	}
}

func TestLogsErrors(t *testing.T) {
	s, l := openLogs(t)
	l.add("v/i-1", 1, "x")
	tests := []struct{ name, operation, body, code, message string }{
		{"no group", "DescribeLogStreams", `{"logGroupName":"/aws/sagemaker/Endpoints/none"}`, "ResourceNotFoundException", "The specified log group does not exist."},
		{"another's group", "DescribeLogStreams", `{"logGroupIdentifier":"arn:aws:logs:us-east-1:999999999999:log-group:/aws/sagemaker/Endpoints/ep"}`, "ResourceNotFoundException", "The specified log group does not exist."},
		{"no stream", "GetLogEvents", `{` + group + `,"logStreamName":"v/i-2"}`, "ResourceNotFoundException", "The specified log stream does not exist."},
		{"neither", "FilterLogEvents", `{}`, "InvalidParameterException", ""},
		{"both", "FilterLogEvents", `{` + group + `,"logGroupIdentifier":"x"}`, "InvalidParameterException", ""},
		{"bad identifier", "FilterLogEvents", `{"logGroupIdentifier":"a b"}`, "InvalidParameterException",
			"1 validation error detected: Value at 'logGroupIdentifier' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w#+=/:,.@-]*"},
		{"token", "FilterLogEvents", `{` + group + `,"nextToken":"f/1.1"}`, "InvalidParameterException", "The specified nextToken is invalid."},
		{"token", "GetLogEvents", `{` + group + `,"logStreamName":"v/i-1","nextToken":"f/01.1"}`, "InvalidParameterException", "The specified nextToken is invalid."},
		{"JSON", "FilterLogEvents", `{` + group + `,"filterPattern":"{ $.a = 1 }"}`, "InvalidParameterException", ""},
		{"columns", "FilterLogEvents", `{` + group + `,"filterPattern":"[a, b]"}`, "InvalidParameterException", ""},
		{"regular expression", "FilterLogEvents", `{` + group + `,"filterPattern":"%a%"}`, "InvalidParameterException", ""},
		{"no end", "FilterLogEvents", `{` + group + `,"filterPattern":"\"a"}`, "InvalidParameterException", ""},
		{"nothing after a sign", "FilterLogEvents", `{` + group + `,"filterPattern":"a -"}`, "InvalidParameterException", ""},
		{"either beside all", "FilterLogEvents", `{` + group + `,"filterPattern":"?a b"}`, "InvalidParameterException", ""},
		{"unknown", "PutLogEvents", `{}`, "UnknownOperationException", ""},
	}
	for _, tt := range tests {
		a := s.read(tt.operation, tt.body)
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		json.Unmarshal([]byte(a.body), &e)
		if e.Type != tt.code || e.Message == "" || tt.message != "" && e.Message != tt.message {
			t.Errorf("%s: %d %s, want %s %q", tt.name, a.status, a.body, tt.code, tt.message)
		}
	}
	s.refusing = "logs:FilterLogEvents"
	if a := s.read("FilterLogEvents", `{`+group+`}`); a.status != 403 {
		t.Errorf("without permission: %d %s", a.status, a.body)
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{`ERROR -"a \" b" ?c`, `"`, `- a`, `%x%`} {
		f.Add(seed, "an ERROR line")
	}
	f.Fuzz(func(t *testing.T, pattern, line string) {
		p, err := parsePattern(pattern)
		if err == nil {
			p.matches(line)
		}
	})
}
