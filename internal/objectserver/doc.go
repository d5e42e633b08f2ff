// Package objectserver is an S3 server on a local directory: a durable object
// store with a Go API, and an http.Handler that speaks S3 in front of it.
//
// # What is durable when
//
// Every change is a record in a log, and a call returns only after a sync that
// covers its record. One goroutine appends: it takes what has come in, writes
// it, syncs once, applies it to the index and answers, so concurrent callers
// share the sync. Readers see applied changes only. The order of records is the
// order of changes: the last writer of a key wins, and conditions are judged by
// the appender against what is there at that point.
//
// One kind of change is applied before it is durable: PutEarly of a small
// object, for a caller who puts it again after a crash. Its record waits in
// memory, is read from there, and is written in front of the next group (and
// before, without a sync, for the sake of a process that is killed), so
// whatever was changed after it, or because of it, is durable only together with
// it. Where nothing is to be synced anyhow that is done for its sake within 20
// ms. The files of an object that it replaced are kept until then.
//
// # What lies where
//
//	FORMAT                  magic and version (2; 1 is upgraded); locked while the store is open
//	segments/<number>.log   the log
//	files/<random>.dat      data of large objects and of parts
//
// Objects up to 256 KiB lie in the record itself. Larger ones and all parts of
// multipart uploads are files, written and synced before the record that names
// them; the record makes them an object, so a crash leaves the old object or
// the new one. A multipart object is the list of its parts' files: completing
// an upload writes one record and copies nothing. Files that no record names
// are removed at start. Names are random and never derived from keys.
//
// The index of keys is kept in memory and rebuilt from the log at start.
// Attributes stay on disk. Tags are attributes: to change them the object's
// record is written anew. A bucket's tags and lifecycle are in its record.
//
// # When the disk fails
//
// If a write or sync of the log fails, its callers get Unavailable and the
// index stays as it was. What was shown early stays visible and goes on waiting
// in memory, for the next group that can be written; until then nothing more is
// shown early. A segment whose sync failed is never written again: a new one is
// begun, whose header says where the old one ends, so what the failed sync may
// have left behind is not read at the next start. Until that header is durable
// every change is refused; reading goes on.
//
// At start, an incomplete tail of the last segment is cut off. Each record
// says up to where the log was synced when it was written; damage below that
// line is no torn tail, and Open refuses the store naming file and offset. What
// lies beyond it is written again and synced before anybody sees it: the process
// that wrote it may have been killed before its sync, or after that had failed.
//
// # Space
//
// The log is cleaned from its oldest segment on: live records move to the end,
// then the segment goes. Because only the oldest goes, a record that deletes
// something never outlives what it deletes, nor goes before it. What an early
// object replaced counts as dead before that object is durable; it is by the
// time the segment goes, as moving takes a group.
package objectserver
