// Command bench measures deferd beside the same work without the queue, and
// beside queues made with libraries, on one machine, against the real program.
//
// Each figure stands next to its limit: what is left when everything that
// deferd adds is taken away. Accepts are compared with the same handler over a
// store that keeps nothing, drained invocations and single ones with a loop
// that reads, calls the model and writes, a large payload with a plain copy in
// the same object store, a long queue and many endpoints with an empty queue
// and one endpoint. The README says how to read the table.
//
// A section (accept.go, drain.go, …) fills figures; report.go and chart.go make
// a table and a drawing of any of them, goal.go says what they are to reach.
//
// The program starts itself again under a few verbs: as the model that deferd
// runs, and as the server without a store.
package main
