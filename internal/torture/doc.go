// Package torture breaks a running deferd on purpose and judges from outside
// whether its promises held.
//
// A run is a number of rounds. Each draws from a seed what clients ask for, what
// the model does with it, and what breaks meanwhile: servers and models that
// are killed, frozen or stopped, connections that are cut, stores that fail.
// The server and its models are real processes. What is judged is what clients
// were answered, what lies in S3, what the model wrote into its own journal and
// what the metrics say; the code under test is never asked whether it was right
// without somebody else having to agree.
//
// schedule.go says what happens and is pure; judge.go says what may have come
// of it and is pure, too, as is the Contest of several requests for one name.
// Between them, world.go runs the processes, load.go the clients, breaker.go the
// faults, and watch.go looks at what becomes visible.
package torture
