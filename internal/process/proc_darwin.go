package process

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// macOS has no subreaper, no process environments to read and no table of
// sockets that needs no privilege. A daemon that leaves its parent therefore
// outlives its instance there, and whoever listens on the port is believed.

func selfExecutable() (string, error) { return os.Executable() }

func becomeSubreaper() error { return nil }

func keepInherited(uint) {}

func preferAsVictim(int) {}

func oomKills() int { return 0 }

func marked(string) []proc { return nil }

func bootID() string {
	boot, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return fmt.Sprint(boot.Sec)
}

func identify(pid int) (entry, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid {
		return entry{}, false
	}
	return entryOf(info), true
}

func processes() []entry {
	infos, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	table := make([]entry, len(infos))
	for i := range infos {
		table[i] = entryOf(&infos[i])
	}
	return table
}

func entryOf(info *unix.KinfoProc) entry {
	const zombie = 5 // SZOMB
	start := info.Proc.P_starttime
	return entry{
		proc:   proc{PID: int(info.Proc.P_pid), Start: uint64(start.Sec)*1e6 + uint64(start.Usec)},
		parent: int(info.Eproc.Ppid),
		group:  int(info.Eproc.Pgid),
		zombie: info.Proc.P_stat == zombie,
	}
}

func listening(_, port int) (netip.Addr, bool) {
	addr := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(addr, uint16(port)).String(), time.Second)
	if err != nil {
		return netip.Addr{}, false
	}
	_ = conn.Close()
	return addr, true
}
