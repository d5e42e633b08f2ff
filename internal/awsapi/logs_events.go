package awsapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

const (
	maxEvents     = 10_000
	maxEventBytes = 1 << 20 // of the events of an answer
	eventOverhead = 26      // bytes that CloudWatch counts for each event beside its text
)

// A place is between two events of a stream, or of several that are merged: how
// many of those of one millisecond come before it. Unlike an offset it stays
// true when old events go.
type place struct {
	ms int64
	n  int
}

func (p place) compare(o place) int { return cmp.Or(cmp.Compare(p.ms, o.ms), cmp.Compare(p.n, o.n)) }

// token writes a place for the one or the other direction.
func (p place) token(direction string) *string {
	return new(fmt.Sprintf("%s/%d.%d", direction, p.ms, p.n))
}

// parsePlace reads a token that token wrote.
func parsePlace(token string) (p place, direction string, err error) {
	direction, text, ok := strings.Cut(token, "/")
	if n, scan := fmt.Sscanf(text, "%d.%d", &p.ms, &p.n); !ok || n != 2 || scan != nil || p.n < 0 || *p.token(direction) != token {
		return p, "", invalidLogs("The specified nextToken is invalid.")
	}
	return p, direction, nil
}

// A spanOf is the time from which and up to before which events are asked for,
// in milliseconds.
type spanOf struct{ from, to int64 }

func newSpan(start, end *int64) (s spanOf, err error) {
	s = spanOf{0, 1<<63 - 1}
	if start != nil {
		s.from = *start
	}
	if end != nil {
		s.to = *end
	}
	if s.from > s.to {
		err = invalidLogs("The startTime must not be after the endTime.")
	}
	return s, err
}

func (s spanOf) has(ms int64) bool { return ms >= s.from && ms < s.to }

// A placed event is one with the place before it.
type placed struct {
	deferd.LogEvent
	at place
}

func (s *Server) getLogEvents(c *call, in *awsmodel.GetLogEventsRequest) (any, error) {
	e, errGroup := c.logEndpoint(in.LogGroupName, in.LogGroupIdentifier)
	span, errSpan := newSpan(in.StartTime, in.EndTime)
	if err := cmp.Or(errGroup, errSpan); err != nil {
		return nil, err
	}
	forward := in.StartFromHead != nil && *in.StartFromHead
	begin, end := place{}, place{1<<63 - 1, 0}
	if in.NextToken != nil {
		p, direction, err := parsePlace(*in.NextToken)
		switch {
		case err != nil:
			return nil, err
		case direction == "f":
			begin, forward = p, true
		case direction == "b":
			end, forward = p, false
		default:
			return nil, invalidLogs("The specified nextToken is invalid.")
		}
	}
	since := time.UnixMilli(max(span.from, begin.ms))
	found, err := s.streamEvents(c, e, *in.LogStreamName, since, func(p placed) bool {
		return span.has(p.at.ms) && p.at.compare(begin) >= 0 && p.at.compare(end) < 0
	}, eventLimit(in.Limit), forward)
	if err != nil {
		return nil, err
	}
	out := &awsmodel.GetLogEventsResponse{Events: []awsmodel.OutputLogEvent{}}
	first, next := begin, begin
	if !forward {
		first, next = end, end
	}
	for i, p := range found {
		if i == 0 {
			first = p.at
		}
		next = place{p.at.ms, p.at.n + 1}
		out.Events = append(out.Events, awsmodel.OutputLogEvent{Timestamp: &p.at.ms, IngestionTime: &p.at.ms, Message: &p.Message})
	}
	if len(found) == 0 && !forward && in.NextToken == nil { // nothing yet: go on with what comes
		first, next = place{}, place{}
	}
	out.NextForwardToken, out.NextBackwardToken = next.token("f"), first.token("b")
	return out, nil
}

func eventLimit(limit *int32) int {
	if limit == nil {
		return maxEvents
	}
	return int(*limit)
}

// streamEvents reads the events of a stream that match, the first or the last of
// them.
func (s *Server) streamEvents(c *call, e deferd.EndpointName, stream string, since time.Time, match func(placed) bool, limit int, first bool) ([]placed, error) {
	var found []placed
	bytes, last := 0, place{-1, 0}
	exists := false
	for event, err := range s.Logs.ReadLogs(c.ctx(), c.principal.Account, e, since, func(name string) bool { return name == stream }) {
		if err != nil {
			return nil, logError(err)
		}
		exists = true
		ms := event.Time.UnixMilli()
		if ms != last.ms {
			last = place{ms, -1}
		}
		last.n++
		p := placed{event, last}
		if !match(p) {
			continue
		}
		found = append(found, p)
		bytes += len(event.Message) + eventOverhead
		if len(found) <= limit && bytes <= maxEventBytes {
			continue
		}
		if first {
			found = found[:len(found)-1]
			break
		}
		for len(found) > 1 && (len(found) > limit || bytes > maxEventBytes) {
			bytes -= len(found[0].Message) + eventOverhead
			found = found[1:]
		}
	}
	if !exists {
		return nil, s.checkStream(c, e, stream)
	}
	return found, nil
}

// checkStream is nil where there is a stream of that name.
func (s *Server) checkStream(c *call, e deferd.EndpointName, stream string) error {
	streams, err := s.Logs.LogStreams(c.ctx(), c.principal.Account, e)
	if err != nil {
		return logError(err)
	}
	if slices.ContainsFunc(streams, func(l deferd.LogStream) bool { return l.Name == stream }) {
		return nil
	}
	return noLogStream
}

func (s *Server) filterLogEvents(c *call, in *awsmodel.FilterLogEventsRequest) (any, error) {
	e, errGroup := c.logEndpoint(in.LogGroupName, in.LogGroupIdentifier)
	span, errSpan := newSpan(in.StartTime, in.EndTime)
	if err := cmp.Or(errGroup, errSpan); err != nil {
		return nil, err
	}
	switch {
	case in.LogStreamNames != nil && in.LogStreamNamePrefix != nil:
		return nil, invalidLogs("logStreamNames and logStreamNamePrefix cannot both be given.")
	case in.StartFromHead != nil && !*in.StartFromHead:
		return nil, invalidLogs("startFromHead must be true: events come in the order of their time.")
	}
	if in.FilterPattern == nil {
		in.FilterPattern = new("")
	}
	filter, err := parsePattern(*in.FilterPattern)
	if err != nil {
		return nil, err
	}
	begin := place{}
	if in.NextToken != nil {
		p, direction, err := parsePlace(*in.NextToken)
		if err != nil || direction != "n" {
			return nil, invalidLogs("The specified nextToken is invalid.")
		}
		begin = p
	}
	wanted := func(stream string) bool {
		return (in.LogStreamNames == nil || slices.Contains(in.LogStreamNames, stream)) &&
			(in.LogStreamNamePrefix == nil || strings.HasPrefix(stream, *in.LogStreamNamePrefix))
	}
	merged := merged{limit: eventLimit(in.Limit), begin: begin}
	since := time.UnixMilli(max(span.from, begin.ms))
	for event, err := range s.Logs.ReadLogs(c.ctx(), c.principal.Account, e, since, wanted) {
		if err != nil {
			return nil, logError(err)
		}
		if span.has(event.Time.UnixMilli()) && filter.matches(event.Message) {
			merged.add(event)
		}
	}
	events, next := merged.page()
	out := &awsmodel.FilterLogEventsResponse{Events: []awsmodel.FilteredLogEvent{}, SearchedLogStreams: []awsmodel.SearchedLogStream{}}
	for _, p := range events {
		id := fmt.Sprintf("%020d%06d", p.at.ms, p.at.n)
		out.Events = append(out.Events, awsmodel.FilteredLogEvent{
			LogStreamName: &p.Stream, Timestamp: &p.at.ms, IngestionTime: &p.at.ms, Message: &p.Message, EventId: &id,
		})
	}
	if next != nil {
		out.NextToken = next.token("n")
	}
	return out, nil
}

// merged are the earliest events after a place, of several streams that are read
// one after the other. Those of one millisecond are in the order of their
// streams. It holds little more than one answer, however much there is.
type merged struct {
	limit  int
	begin  place
	events []deferd.LogEvent
}

func (m *merged) add(e deferd.LogEvent) {
	m.events = append(m.events, e)
	if len(m.events) > 4*(m.limit+m.begin.n+1) {
		m.sort()
	}
}

// sort puts the events in order, and drops those that come too late to be of
// this page.
func (m *merged) sort() {
	slices.SortStableFunc(m.events, func(a, b deferd.LogEvent) int {
		return cmp.Or(cmp.Compare(a.Time.UnixMilli(), b.Time.UnixMilli()), strings.Compare(a.Stream, b.Stream))
	})
	m.events = m.events[:min(len(m.events), m.limit+m.begin.n+1)]
}

// page returns the events of this page, and the place of the next one; nil where
// there is none.
func (m *merged) page() (events []placed, next *place) {
	m.sort()
	bytes, at := 0, place{-1, 0}
	for _, e := range m.events {
		ms := e.Time.UnixMilli()
		if ms != at.ms {
			at = place{ms, -1}
		}
		at.n++
		if at.compare(m.begin) < 0 {
			continue
		}
		bytes += len(e.Message) + eventOverhead
		if len(events) == m.limit || len(events) > 0 && bytes > maxEventBytes {
			return events, new(at)
		}
		events = append(events, placed{e, at})
	}
	return events, nil
}
