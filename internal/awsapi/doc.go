// Package awsapi is the AWS surface: every AWS service that deferd speaks, on
// one handler.
//
// Which service a request is for is said by the credential scope of its
// signature and by nothing else, since a path proves nothing: a bucket may be
// called "endpoints". Within a service the operation comes from the path, the
// X-Amz-Target header or the form's Action. S3 is served by an [ObjectHandler],
// after its signature was verified here.
//
// Handlers are methods that return an error. An operation checks its members
// first, then asks whether the caller may, then looks at what is stored; the
// answer to an error is written in one place for each protocol (answer.go). The
// package keeps no state but a cache of configurations, which never change, so
// that any number of servers may share one store.
package awsapi
