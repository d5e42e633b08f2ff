package deferd

import "time"

// A Principal is who makes a request.
type Principal struct {
	Account   AccountID
	ARN       string
	AccessKey string
}

// An AccessKey is a pair of keys that signs requests, with what it stands for.
// Its secret is sealed wherever it is stored.
type AccessKey struct {
	ID      string
	Account AccountID
	ARN     string // of the principal
	Sealed  []byte // the secret, as the keyring sealed it
	Token   string // the session token that must accompany it; "" for lasting keys
	Service string // the only service it may be used with; "" for all
	Created time.Time
	Expires time.Time // when it is not valid any more; zero for never
}

// Authorize says whether a principal may perform an action (such as
// "sagemaker:InvokeEndpointAsync") on the resource with this ARN; a refusal is
// a Denied error. It is asked for every operation of every service.
type Authorize func(p Principal, action, resource string) error

// WithinAccount lets every principal do everything within its own account,
// which is all that is ever named. Policies come behind the same call.
func WithinAccount(Principal, string, string) error { return nil }
