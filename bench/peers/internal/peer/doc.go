// Package peer is what the peers share, so that only their queues differ: the
// command line, the HTTP front, and the work on an invocation.
//
// A peer's program defines a Queue and calls Main.
package peer
