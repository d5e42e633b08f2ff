// Package deferd is the domain of deferd, an asynchronous inference service
// that speaks the wire protocol of Amazon SageMaker Asynchronous Inference.
//
// # The life of an invocation
//
// A client asks an endpoint to invoke its model. The invocation is accepted:
// validated, its output and failure locations named, and made durable in the
// [Queue] before the client gets its 202. An agent, which speaks for one model
// instance in a session, claims it and gets a [Lease]. It streams the input to
// the model and the model's answer into a staged outcome that nobody can see,
// and settles: one transaction, guarded by the lease, decides how the
// invocation ended. A server then publishes the outcome, which puts the object
// where the client was told it would be, and finishes the invocation.
//
//	Queued → Running → Publishing → Completed | Failed | Expired | Cancelled
//
// Work that the platform broke goes back from Running to Queued; what ends
// without an instance (expired, cancelled, endpoint deleted) goes from Queued
// to Publishing. [Judge] is the one place that decides which.
//
// # Where to read next
//
// The nouns are in endpoint.go and invocation.go. The contracts that the rest
// of the program meets at are [Store] (durable state), [ObjectStore] (inputs
// and outcomes), [Work] (what an agent may ask of a server) and [Runtime]
// (model instances). Each contract's comment says what is durable when, what
// may be repeated, and what may run concurrently. This package imports the
// standard library only; adapters import it and never each other.
package deferd
