package deferd

import (
	"context"
	"io"
	"time"
)

// A Runtime starts and stops model instances: processes, containers, pods. It
// knows nothing of endpoints' queues; whoever stops an instance has drained it.
// All methods may be called concurrently.
type Runtime interface {
	// Start begins to start an instance and returns when that is accepted, not
	// when the instance runs. It is idempotent by ID. An Invalid error says
	// that no retry can help, with a reason for the endpoint's owner; anything
	// that goes wrong later arrives as an event.
	Start(ctx context.Context, spec InstanceSpec) error

	// Stop ends an instance: SIGTERM, then SIGKILL after grace. It returns when
	// the instance is gone, with all its processes. An instance that is not
	// there is no error.
	Stop(ctx context.Context, id InstanceID, grace time.Duration) error

	// Watch yields what is there, as events, and then every change, until ctx
	// ends, when the channel is closed. A slow reader loses no event.
	Watch(ctx context.Context) <-chan InstanceEvent

	// Logs opens what an instance printed, its last tail bytes. They stay
	// readable for a while after the instance has gone.
	Logs(ctx context.Context, id InstanceID, tail int64) (io.ReadCloser, error)

	// Run keeps the runtime's own affairs going until ctx ends; then it stops
	// every instance that it started, and returns.
	Run(ctx context.Context) error
}

// StopGrace is how long an instance has between SIGTERM and SIGKILL, as on
// SageMaker.
const StopGrace = 30 * time.Second

// Time-outs of an instance's start where the variant does not say, as on
// SageMaker.
const (
	DefaultStartupTimeout  = 8 * time.Minute
	DefaultDownloadTimeout = time.Hour
)

// An InstanceSpec says what to start.
type InstanceSpec struct {
	ID       InstanceID
	Account  AccountID
	Endpoint EndpointName
	Variant  VariantName

	Image           string
	Env             map[string]string // the model's own Environment: it wins over what the platform sets
	PlatformEnv     map[string]string // what the platform adds, such as credentials; sensitive
	Data            ModelData
	DownloadTimeout time.Duration
}

// A Phase is how far an instance has come.
type Phase int

const (
	PhaseStarting Phase = iota // fetching model data, starting
	PhaseRunning               // something of its own listens at Addr; not necessarily healthy
	PhaseGone                  // ended, and cleaned up; the last event of an instance
)

// An InstanceEvent is a change in the life of an instance.
type InstanceEvent struct {
	ID    InstanceID
	Phase Phase
	Addr  string // base URL of the container contract: Addr + "/ping"
	Exit  Exit   // when PhaseGone
}

// An Exit says why an instance has gone.
type Exit struct {
	Message     string // for the endpoint's owner; "" when it was stopped in order
	OutOfMemory bool
	Permanent   bool // starting it again would end the same way
}
