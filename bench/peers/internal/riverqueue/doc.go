// Package riverqueue is a peer's queue over River, with whatever driver.
//
// Invocations are jobs of one kind in River's default queue. Which settings are
// strict is the driver's owner's to say.
package riverqueue
