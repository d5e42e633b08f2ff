package powerloss

import (
	"io"
	"os/exec"
	"strings"
)

// traced are the calls that a recording needs: what changes a disk, what could
// change it unseen, and what tells somebody something.
const traced = "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate," +
	"rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat," +
	"fsync,fdatasync,sync_file_range,sync,syncfs,copy_file_range,sendfile,splice,mmap,io_uring_setup"

// longest is more than any single write.
const longest = "67108864"

// Record makes cmd be recorded in the file log, with strace's injections as
// faults, such as "fdatasync:error=EIO:when=3". It fails where there is no
// strace.
//
// The program stays the direct child, so that signals reach it. The tracer ends
// after it, and holds its output until then: the recording is complete when
// that has come to its end, which cmd.Wait waits for.
func Record(cmd *exec.Cmd, log string, faults ...string) error {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return err
	}
	args := []string{"strace", "-D", "-f", "-y", "-xx", "-s", longest, "-e", "signal=none", "-e", "trace=" + traced, "-o", log}
	signals := false
	for _, f := range faults {
		args = append(args, "-e", "inject="+f)
		signals = signals || strings.Contains(f, "signal=")
	}
	if !signals {
		// Stops at the traced calls only. Signals are not delivered there.
		args = append(args, "--seccomp-bpf")
	}
	args = append(args, "--", cmd.Path)
	cmd.Args = append(args, cmd.Args[1:]...)
	cmd.Path = strace
	if cmd.Stdout == nil {
		cmd.Stdout = io.Discard // which makes it a pipe
	}
	return nil
}
