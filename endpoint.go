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

	Tags []Tag `json:",omitempty"`

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

// A Config is an endpoint configuration. Nothing of it but its tags ever
// changes.
type Config struct {
	ID      ConfigID
	Account AccountID
	Name    ConfigName
	Created time.Time

	Variants []Variant
	Async    *AsyncConfig // nil: not an asynchronous endpoint; stored but not served

	Tags []Tag `json:",omitempty"`

	Request json.RawMessage `json:",omitempty"` // as in Model
}

// Variant finds a variant by its name; nil where there is none.
func (c *Config) Variant(name VariantName) *Variant {
	for i := range c.Variants {
		if c.Variants[i].Name == name {
			return &c.Variants[i]
		}
	}
	return nil
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

	Managed *ManagedScaling `json:",omitempty"` // nil: as many as are asked for
}

// ManagedScaling has a variant's number of instances follow its work, unless
// the variant is a scalable target, which says more.
type ManagedScaling struct {
	Min, Max int // a Max of 0 is as many as there may be
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
//
// Its instances form a fleet: all of one configuration, started for it. A new
// configuration brings a new fleet beside the one that serves, and takes its
// place once all of it is healthy; the queue stays where it is.
type Endpoint struct {
	ID       EndpointID
	Account  AccountID
	Name     EndpointName
	ConfigID ConfigID
	Created  time.Time
	Modified time.Time

	Status EndpointStatus

	// FailureReason says, for the caller, why Status is Failed, or why the last
	// deployment was rolled back.
	FailureReason string

	Variants   []EndpointVariant // of the fleet that serves
	Fleet      int               // number of the fleet that serves; the first is 0
	Deployment *Deployment       `json:",omitempty"` // under way while Status is Updating; nil otherwise
	Fleets     int               // number of the newest fleet, whatever became of it

	// DeploymentConfig is how the last deployment was asked to be made, as the
	// API validated it; empty where nothing was said.
	DeploymentConfig json.RawMessage `json:",omitempty"`

	Tags []Tag `json:",omitempty"`

	Request json.RawMessage `json:",omitempty"` // as in Model
}

// An EndpointVariant is how many instances of a variant there should be.
// How many there are is counted, never stored.
type EndpointVariant struct {
	Name    VariantName
	Desired int
	Weight  float64
}

// A Deployment is what an endpoint is to become. Until it serves, the endpoint
// stays as it is.
type Deployment struct {
	ConfigID ConfigID
	Variants []EndpointVariant
	Fleet    int           // the endpoint's own where only the number of instances changes
	Started  time.Time     // of the store's clock
	Limit    time.Duration // rolled back when it takes longer; 0: as long as it takes
}

// Deploy begins a deployment. Its fleet is a new one, unless it is to change
// the one that serves. Why an earlier one was rolled back is history.
func (e *Endpoint) Deploy(d Deployment, newFleet bool) {
	d.Fleet = e.Fleet
	if newFleet {
		e.Fleets++
		d.Fleet = e.Fleets
	}
	e.Status, e.FailureReason, e.Deployment = EndpointUpdating, "", &d
}

// Deployed makes a deployment that is under way what the endpoint is.
func (e *Endpoint) Deployed() {
	d := e.Deployment
	e.ConfigID, e.Variants, e.Fleet = d.ConfigID, d.Variants, d.Fleet
	e.Status, e.FailureReason, e.Deployment = EndpointInService, "", nil
}

// RollBack gives a deployment up: the endpoint serves as it did before.
func (e *Endpoint) RollBack(reason string) {
	e.Status, e.FailureReason, e.Deployment = EndpointInService, reason, nil
}

// A Tag is a label of the caller's on a model, a configuration or an endpoint.
type Tag struct{ Key, Value string }

// A Tagged names a living thing that has tags, by its name in whatever case:
// in ARNs, which tags are asked for by, names are in lower case.
type Tagged struct {
	Account AccountID
	Kind    Kind
	Name    string
}

// A Kind is what a name is the name of.
type Kind int

const (
	KindModel Kind = iota
	KindConfig
	KindEndpoint
)
