// Command bench measures deferd beside the same work without the queue, on one
// machine, against the real program.
//
// Each figure stands next to its limit: what is left when everything that
// deferd adds is taken away. Accepts are compared with the same handler over a
// store that keeps nothing, drained invocations with a loop that reads, calls
// the model and writes, a large payload with a plain copy in the same object
// store. The README says how to read the table.
//
// The program starts itself again under a few verbs: as the model that deferd
// runs, and as the server without a store.
package main
