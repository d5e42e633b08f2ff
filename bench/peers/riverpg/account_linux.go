package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// capDACReadSearch lets a process pass through directories that are closed to
// it (capabilities(7)).
const capDACReadSearch = 2

// account is what PostgreSQL must be run as, which does not run as root: then
// it is Debian's account, which gets the directory. It also gets the right to
// pass through the directories above, which a test's or a benchmark's
// temporary ones keep closed.
func account(data string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("as root, PostgreSQL needs an account: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(data, uid, gid); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		AmbientCaps: []uintptr{capDACReadSearch},
	}, nil
}
