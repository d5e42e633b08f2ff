package deferd

import (
	"context"
	"iter"
	"time"
)

// A LogGroup is what there is to read of an endpoint, whether it still lives or
// not.
type LogGroup struct {
	Endpoint EndpointName
	Changed  time.Time // when a stream was added last
	Size     int64     // in bytes
}

// A LogStream is what an instance printed ("variant/instance"), or what became
// of the requests that it ran ("variant/instance/data-log").
type LogStream struct {
	Name        string
	First, Last time.Time // of its events; zero where it has none
	Size        int64     // in bytes
}

// A LogEvent is one line of a stream.
type LogEvent struct {
	Stream  string
	Time    time.Time
	Message string
}

// Logs reads what endpoints log. It is kept for a while, of each stream the
// newest. All methods may be called concurrently, and while it is written.
type Logs interface {
	// LogGroups lists an account's endpoints that have logs, by name.
	LogGroups(ctx context.Context, a AccountID) ([]LogGroup, error)

	// LogStreams lists the streams of an endpoint, by name. NotFound: it has
	// no logs.
	LogStreams(ctx context.Context, a AccountID, e EndpointName) ([]LogStream, error)

	// ReadLogs yields the events of an endpoint from a time on, of the streams
	// that are wanted. Those of one stream are in order of time. NotFound: the
	// endpoint has no logs.
	ReadLogs(ctx context.Context, a AccountID, e EndpointName, since time.Time, wanted func(stream string) bool) iter.Seq2[LogEvent, error]
}
