// Package agent works for one model instance: it claims invocations, runs them
// on the instance, extends its session meanwhile and settles what came of them.
//
// It knows the server as [deferd.Work] and the instance as a base URL, so it is
// the same code in the server's process, beside a pod and on another host. Its
// rules:
//
//   - A slot is taken from the claim until the container has ended the request
//     and the outcome is delivered. Not waiting for an answer any more, because
//     of a time-out or of a lost lease, frees no slot.
//   - Each attempt gets one verdict, and the first one stands: the model's
//     answer, a time-out, a lost lease, a stop.
//   - A finished outcome is kept and settled again until the server says that
//     it is decided.
//   - A connection that ended stands for a request that ended. Where it broke in
//     the middle, the container may still be at work; nobody can see that.
//   - Leases have no clock here. A server that cannot answer is asked again,
//     and what runs goes on meanwhile.
package agent
