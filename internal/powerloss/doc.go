// Package powerloss tests what a power cut leaves: it records what a program
// does to its disk, and makes the disks that could be found afterwards.
//
// # Recording
//
// The program runs under strace, which writes down every call that changes a
// file or a directory, every sync, and what the program writes to anything
// else: a pipe, a socket. So the recording knows in one order what was done,
// what was synced, and what somebody had been told by then. Nothing has to be
// built into the program, and no layer of it can be forgotten: what cannot be
// accounted for makes [Read] fail.
//
// # The disk that is assumed
//
// It promises no more than POSIX does. A file's content is sure once a sync of
// that file, begun after the write, has ended well. A name, made or taken away
// by create, mkdir, rename or unlink, is sure once a sync of its directory
// has; syncing the file does not help. Whatever is not sure may be there or
// not, each write and each name by itself and in any order, and of a write any
// of its sectors of 512 bytes; those that are missing beyond the old end of the
// file read as zeros. A rename is there as a whole or not at all.
//
// What was written to a file and should have been covered by a sync that failed
// is not made sure by a later one: it has to be written again. Names are: file
// systems keep them in a journal, and take no more changes once that has failed.
//
// Sectors do not change after they were synced, and a write leaves the bytes
// beside it alone.
package powerloss
