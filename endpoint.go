package deferd

import (
	"encoding/json"
	"time"
)

// Names are the caller's, unique within an account among what is alive; IDs are
// ours, unique for ever. Everything that refers to something refers to its ID,
// so that a thing can be deleted and made again under the same name.
type (
	AccountID    string
	ModelName    string
	ConfigName   string
	EndpointName string
	VariantName  string
	ModelID      string
	ConfigID     string
	EndpointID   string
)

// A Model says what a model instance runs.
type Model struct {
	ID      ModelID
	Account AccountID
	Name    ModelName
	Created time.Time

	Image   string
	Data    ModelData
	Env     map[string]string
	RoleARN string

	// Request is the document that created the model, as the API validated it;
	// Describe echoes it. Empty structures and what was not sent are absent.
	Request json.RawMessage `json:",omitempty"`
}

// ModelData names a model's artifacts in S3. The zero value means none.
type ModelData struct {
	Location Location
	Prefix   bool // Location is a prefix: every object below it
	Gzip     bool // the object (or each archive) is a .tar.gz to be unpacked
}

// A Config is an endpoint configuration. It never changes.
type Config struct {
	ID      ConfigID
	Account AccountID
	Name    ConfigName
	Created time.Time

	Variants []Variant
	Async    *AsyncConfig // nil: not an asynchronous endpoint; stored but not served

	Request json.RawMessage `json:",omitempty"` // as in Model
}

// A Variant is one production variant of a configuration.
type Variant struct {
	Name            VariantName
	ModelID         ModelID
	ModelName       ModelName
	InstanceType    string
	InitialCount    int
	InitialWeight   float64
	StartupTimeout  time.Duration // from start to the first healthy ping; 0: the default
	DownloadTimeout time.Duration // for the model data; 0: the default
}

// AsyncConfig holds what AsyncInferenceConfig means to us. Zero Locations mean
// that no such path is configured.
type AsyncConfig struct {
	Concurrency int // MaxConcurrentInvocationsPerInstance; 0: the default
	OutputPath  Location
	FailurePath Location

	SuccessTopic           string
	ErrorTopic             string
	IncludeSuccessResponse bool
	IncludeErrorResponse   bool
}

// DefaultConcurrency is how many invocations an instance runs at a time when
// the configuration does not say. SageMaker "chooses an optimal value"; AWS's
// notebooks use 4.
const DefaultConcurrency = 4

// EndpointStatus is the status of an endpoint as DescribeEndpoint spells it.
type EndpointStatus string

const (
	EndpointCreating  EndpointStatus = "Creating"
	EndpointInService EndpointStatus = "InService"
	EndpointUpdating  EndpointStatus = "Updating"
	EndpointDeleting  EndpointStatus = "Deleting"
	EndpointFailed    EndpointStatus = "Failed"
)

// Accepts reports whether an endpoint in status s takes invocations.
func (s EndpointStatus) Accepts() bool { return s == EndpointInService || s == EndpointUpdating }

// An Endpoint is a queue with the instances that work on it.
type Endpoint struct {
	ID       EndpointID
	Account  AccountID
	Name     EndpointName
	ConfigID ConfigID
	Created  time.Time
	Modified time.Time

	Status        EndpointStatus
	FailureReason string // why Status is Failed, for the caller

	Variants []EndpointVariant

	Request json.RawMessage `json:",omitempty"` // as in Model
}

// An EndpointVariant is how many instances of a variant there should be.
// How many there are is counted, never stored.
type EndpointVariant struct {
	Name    VariantName
	Desired int
	Weight  float64
}
