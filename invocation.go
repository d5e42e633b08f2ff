package deferd

import (
	"fmt"
	"time"
)

type (
	// An InvocationID is a UUID (version 7), minted at each accept. It names
	// status and objects.
	InvocationID string

	// A Sequence orders invocations: queue, lists and page tokens. The store
	// gives it.
	Sequence int64
)

// A State is where an invocation stands. Terminal states never reopen.
type State int

const (
	Queued State = iota
	Running
	Publishing // decided; the outcome object is not visible yet
	Completed
	Failed
	Expired
	Cancelled
)

var stateNames = [...]string{"Queued", "Running", "Publishing", "Completed", "Failed", "Expired", "Cancelled"}

func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return stateNames[s]
}

// Terminal reports whether s is an end.
func (s State) Terminal() bool { return s >= Completed }

// ParseState returns the state that String spells so.
func ParseState(name string) (State, error) {
	for i, n := range stateNames {
		if n == name {
			return State(i), nil
		}
	}
	return 0, Errorf(Invalid, "%q is no state of an invocation", name)
}

// Limits of an invocation: those of SageMaker Asynchronous Inference, and ours.
const (
	MaxInline       = 128_000 // bytes of an inline body
	MaxInput        = 1 << 30 // bytes of an input object, and of a model's answer
	DefaultTTL      = 6 * time.Hour
	DefaultTimeout  = 15 * time.Minute
	MaxStaged       = 128 << 10 // bytes of an outcome that may travel in a settle and wait in the store
	MaxProgress     = 1 << 10   // bytes of a progress report
	MaxAttempts     = 3         // attempts in all when the platform breaks them
	MaxServerDeaths = 10        // how many times a server may die under an invocation
)

// A NewInvocation is what an accept makes durable. ID, locations and limits are
// decided by the caller of the store and never derived again.
type NewInvocation struct {
	ID          InvocationID
	InferenceID string // the caller's label, or the ID where the caller gave none
	Account     AccountID
	Endpoint    EndpointID
	Config      ConfigID
	AccessKey   string // of the caller
	Priority    int
	RedriveOf   InvocationID

	Input  Location // zero for an inline body
	Inline []byte   // the body; nil when Input is set

	ContentType      string // "" where the caller gave none
	Accept           string // "" where the caller gave none
	CustomAttributes string // sensitive

	Output  Location // zero: no output path is configured
	Failure Location // zero: no failure path is configured

	TTL     time.Duration // how long it may wait in the queue
	Timeout time.Duration // how long an attempt may take

	// RetryToken identifies the request for de-duplicating SDK retries: a hash
	// of access key, SDK invocation ID, endpoint ID, members and body. The zero
	// token never repeats.
	RetryToken [16]byte
}

// An Invocation is an accepted request and what has become of it. Times that
// have not come are zero.
type Invocation struct {
	NewInvocation        // Inline is nil: the body is read apart; RetryToken is zero: it has no reader
	InlineSize     int64 // bytes of the inline body
	Seq            Sequence
	State          State
	Verdict        State // while Publishing: the terminal state that was decided
	Decision       int   // which decision Publishing is at: 1, or 2 after a publish that failed for good
	Reason         Reason
	Message        string // the failureReason; "" while none and when Completed
	ModelStatus    int    // of the model's last answer; 0 where it gave none
	OutcomeType    string // Content-Type of the outcome
	OutcomeSize    int64
	Variant        VariantName // of the last claim
	Instance       InstanceID  // of the last claim
	Attempts       int         // that counted, the one that settled included
	ServerDeaths   int
	InstanceLosses int // attempts lost together with their instance

	Accepted time.Time
	Claimed  time.Time // the last claim
	Settled  time.Time
	Finished time.Time

	// Progress is what the agent last reported; agents do not report any yet.
	// It does not survive a restart.
	Progress string
}

// An Outcome is a decision: how an invocation ends and what its object holds.
type Outcome struct {
	State       State // terminal
	Reason      Reason
	Message     string // the failureReason; "" when Completed
	ModelStatus int

	// The object at the output location (Completed) or failure location (any
	// other state). Body holds it where it has at most MaxStaged bytes; Upload
	// names the multipart upload that holds it otherwise. Where the invocation
	// has no such location there is no object and both are ignored.
	ContentType string
	Metadata    map[string]string // user metadata of the object
	Body        []byte
	Upload      *Upload
	Size        int64
}

// Object reports where the outcome of inv is to be seen; zero for nowhere.
func (inv *Invocation) Object(end State) Location {
	if end == Completed {
		return inv.Output
	}
	return inv.Failure
}

// End returns the outcome of an invocation that ends without its model's own
// answer: the failure object holds the message.
func End(reason Reason, message string) Outcome {
	return Outcome{
		State:       reason.end(),
		Reason:      reason,
		Message:     message,
		ContentType: "text/plain; charset=utf-8",
		Body:        []byte(message),
		Size:        int64(len(message)),
	}
}

// Counts are the invocations of an endpoint by state. Accepted always equals
// the sum of the others plus Pruned.
type Counts struct {
	Accepted   int64
	Queued     int64
	Running    int64
	Publishing int64
	Completed  int64
	Failed     int64
	Expired    int64
	Cancelled  int64
	Pruned     int64 // terminal ones whose history is over
}

// Drift is accepted less everything that is known of: zero, or a bug.
func (c Counts) Drift() int64 {
	return c.Accepted - c.Queued - c.Running - c.Publishing - c.Completed - c.Failed - c.Expired - c.Cancelled - c.Pruned
}

// Of returns a pointer to the count of state s.
func (c *Counts) Of(s State) *int64 {
	return [...]*int64{&c.Queued, &c.Running, &c.Publishing, &c.Completed, &c.Failed, &c.Expired, &c.Cancelled}[s]
}
