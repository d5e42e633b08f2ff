package awsmodel

// An Operation is one entry of a service's model.
type Operation struct {
	Name     string
	Method   string
	URI      string // "/" unless the protocol is REST
	Status   int    // of a success
	NewInput func() Input
}

// An Input is the request of an operation.
type Input interface {
	// Validate checks the request against the model's constraints, as widened
	// by l, and returns a *ValidationError with all that are violated.
	Validate(l Limits) error
}
