// Package bothways is the test that every step of an invocation fails both
// ways and that nothing is lost or changed by it.
//
// A call across a border fails in two ways that look the same to the caller: it
// was lost, or it was done and the answer was lost. There are two more: it is
// lost and nobody says so for a long time, or it is done later, when the caller
// has long tried again. The tests here run agent and dispatch over the real
// store and the real embedded S3, in a bubble whose time is fake, with a load
// of every kind, and let each call between them fail in each of these ways,
// once for each thing that it is about and again and again until whoever makes
// it has given up. When all has ended they ask, from outside, what was promised:
//
//   - what was accepted ends, and what was never accepted is nowhere;
//   - it ends once: no outcome is replaced and no object changes;
//   - there is one object, at the place that the outcome names, with the right
//     content and the invocation's mark;
//   - the model gets each invocation as often as the rules say, never twice at
//     a time, and never more at a time than its instance has slots;
//   - it has one notification, which tells of that end;
//   - the counts lose nothing, and no lease, session, upload or body is left.
package bothways
