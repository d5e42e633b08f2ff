package objectserver

import (
	"os"
	"syscall"
)

// fdatasync makes f's data and size durable, leaving its times alone.
func fdatasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == syscall.EINTR {
			continue
		}
		return os.NewSyscallError("fdatasync", err)
	}
}
