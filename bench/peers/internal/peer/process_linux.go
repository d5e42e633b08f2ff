package peer

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end the server when this program is gone. It
// also keeps a terminal's interrupt from the server, which is stopped in turn.
func endWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	cmd.SysProcAttr.Setpgid = true
}
