// Package layers is the test that keeps this module's arrows pointing inwards.
//
//   - The root is the domain: it imports the standard library only.
//   - Every other package that a program is made of imports the root and
//     libraries, and none of its neighbours, but for the few named in allowed.
//     So adapters never know each other, and the packages that do the work
//     never know an adapter.
//   - cmd knows them all. So do bench, conformance, examples, and tests.
//
// Besides, every package says what it is in its package comment, and none is
// called after what it cannot name.
package layers
