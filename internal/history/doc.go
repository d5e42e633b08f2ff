// Package history measures what endpoints do, minute by minute, and watches the
// alarms on it.
//
// Facts come from where they happen: [Recorder.Work] stands between agents and
// the server and sees attempts, [Recorder.Store] sees work arrive, and
// [Recorder.Finished] is told of every invocation that has ended. What they add
// up to is written once a minute, for endpoints that had work; of those that
// rest nothing is written, nothing is read and nobody is asked. That an endpoint
// at rest is at zero is made up when it is read.
//
// A crash forgets the minute in which it comes.
package history
