package deferd

import (
	"context"
	"io"
	"time"
)

type (
	// A SessionID and a LeaseID are drawn at random (128 bits and more), so
	// that neither can be guessed, and none repeats after a crash.
	SessionID string
	LeaseID   string

	// An InstanceID names a model instance for ever.
	InstanceID string
)

// Work is everything an agent may ask of a server. In the server's process it
// is a plain call, elsewhere it travels over HTTP; nothing else differs. The
// agent never sees the Store.
//
// An agent speaks for one instance, in one session at a time; a new session of
// an instance voids the old one and its leases. A lease is the right to settle
// one attempt of one invocation, and its ID is the fencing token: what names a
// lease that is not current any more is refused with Lost and changes nothing.
// Leases have no clock of the agent's. Every call may be repeated after an
// answer that did not arrive. Errors with code Unavailable mean that the server
// cannot answer now: the agent goes on with what it has and asks again.
type Work interface {
	// Open begins a session.
	Open(ctx context.Context, s Session) (SessionID, error)

	// Claim hands out at most Free invocations, in the queue's order. It waits
	// up to Wait for the first one and is woken by work, never by polling; no
	// leases and no error means that the wait is over. Claims of a session are
	// made one at a time. What was handed out since the claim that the agent
	// last confirmed comes again. Lost: the session is not current.
	Claim(ctx context.Context, c ClaimRequest) (Claim, error)

	// Extend keeps a session and its leases alive, every ExtendInterval. What
	// was handed out up to the confirmed claim and is not named by Held is
	// released. An unknown session is answered by OrderOpen.
	Extend(ctx context.Context, e ExtendRequest) (Extension, error)

	// Input opens the input of a leased invocation. Unavailable may pass;
	// Changed says that the object was replaced since the ETag was seen;
	// NotFound, Denied, Invalid and TooLarge are final for the invocation, with
	// a message for the caller that names the object and S3's code.
	Input(ctx context.Context, id LeaseID, r GetObject) (*Object, error)

	// Upload begins staging an outcome above MaxStaged bytes. The upload is at
	// the output location of the invocation when output is true and at its
	// failure location otherwise, and is recorded under the lease before it is
	// answered; a repeat gets the recorded one. A nil Upload says that there is
	// no such location: the answer is read and dropped.
	Upload(ctx context.Context, id LeaseID, output bool, a ObjectAttributes) (*Upload, error)

	// UploadPart stores a part of the staged outcome; durable when it returns.
	UploadPart(ctx context.Context, id LeaseID, u Upload, n int, size int64, body io.Reader) (Part, error)

	// Settle decides the outcome of a leased invocation. Nil means settled, now
	// or earlier under this lease; Lost means refused: somebody else decided.
	Settle(ctx context.Context, s Settlement) error

	// Release gives a leased invocation back. The server decides from the
	// reason whether it is tried again.
	Release(ctx context.Context, r Release) error

	// Close ends a session in order. Leases that it still holds are released
	// with reason InstanceEnded.
	Close(ctx context.Context, id SessionID) error
}

const (
	// ExtendInterval is how often an agent extends its session.
	ExtendInterval = 5 * time.Second

	// ClaimWait is how long a claim waits for work before it answers empty.
	// It bounds nothing but how long a dead connection goes unnoticed.
	ClaimWait = 30 * time.Second
)

// A Session is an instance as its agent introduces it.
type Session struct {
	Endpoint EndpointID
	Variant  VariantName
	Instance InstanceID
	Slots    int // how many invocations the instance runs at a time
}

// A ClaimRequest asks for work.
type ClaimRequest struct {
	Session   SessionID
	Confirmed int64 // number of the last claim whose answer arrived; 0 for none
	Free      int
	Wait      time.Duration
}

// A Claim is what was handed out.
type Claim struct {
	Number int64 // to be confirmed by the next claim and by extends
	Leases []Lease
}

// A Lease is one attempt of an invocation, and all that the agent needs to run it.
type Lease struct {
	ID          LeaseID
	Invocation  InvocationID
	InferenceID string
	Attempt     int // from 1

	Inline           bool // the input is an inline body
	ContentType      string
	Accept           string
	CustomAttributes string // sensitive

	Timeout time.Duration // from the first byte to the model to the last one back
}

// An ExtendRequest names everything the agent holds.
type ExtendRequest struct {
	Session   SessionID
	Confirmed int64
	Held      []LeaseID
	Progress  map[LeaseID]string // optional; at most MaxProgress bytes each
}

// An Extension says which leases are no longer the agent's, and what it is to do.
type Extension struct {
	Lost  []LeaseID
	Order Order
}

// An Order is what a server wants of an agent.
type Order int

const (
	OrderServe      Order = iota // go on
	OrderDrain                   // claim no more, finish what runs
	OrderStop                    // claim no more, give back what runs
	OrderSuperseded              // another session speaks for the instance: stop
	OrderOpen                    // the session is unknown: open again
)

// A Settlement is an outcome under a lease.
type Settlement struct {
	Lease   LeaseID
	Outcome Outcome
	Times   AttemptTimes
}

// AttemptTimes are how long the parts of an attempt took. They are for metrics;
// the queue does not keep them.
type AttemptTimes struct {
	Download time.Duration // reading the input from S3
	Model    time.Duration // the model's round trip, less the waits for S3
	Upload   time.Duration // staging the outcome
}

// A Release is an attempt that is given back.
type Release struct {
	Lease   LeaseID
	Reason  Reason
	Message string        // what the caller is told if this turns out to be the last attempt
	After   time.Duration // ready again after this long
}
