package peer

import (
	"context"
	"log/slog"
)

// An Invocation is what a queue keeps.
type Invocation struct {
	ID          string `json:"id"`
	Endpoint    string `json:"endpoint"`
	ContentType string `json:"content_type,omitempty"`
	Input       string `json:"input,omitempty"` // s3://bucket/key; "" if it is inline
	Body        []byte `json:"body,omitempty"`
}

// Work does what an invocation asks for. The output is stored when it returns
// nil.
type Work func(context.Context, Invocation) error

// A Queue keeps invocations until they are worked on. Add and Counts may be
// called concurrently with everything.
type Queue interface {
	// Durability asks the running store for the settings that make an accepted
	// invocation durable. It is an error if one of them is not strict.
	Durability(context.Context) (string, error)

	// Add returns only after the invocation is durable.
	Add(context.Context, Invocation) error

	// SetWorkers ends the work, and begins again with n invocations at a time.
	// With 0, nothing is taken from the queue.
	SetWorkers(ctx context.Context, n int) error

	// Counts tells how many invocations the store knows to be completed, and
	// how many attempts have failed.
	Counts(context.Context) (completed, failed int64, err error)

	// Processes are those that were started for the queue.
	Processes() []int

	// Close ends the workers and what was started for the queue.
	Close() error
}

// Settings are what a queue is opened with.
type Settings struct {
	Dir    string // empty, and the queue's own
	Group  bool   // concurrent Adds may share a transaction
	Work   Work
	Logger *slog.Logger
}
