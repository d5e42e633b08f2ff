package process

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// selfExecutable runs this program even if its file has been replaced.
func selfExecutable() (string, error) { return "/proc/self/exe", nil }

// becomeSubreaper makes orphaned descendants this process's own children,
// daemons that left their session too.
func becomeSubreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// keepInherited keeps children from inheriting files from first on, which this
// process may have inherited itself.
func keepInherited(first uint) {
	_ = unix.CloseRange(first, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) // not before Linux 5.11
}

// preferAsVictim makes the kernel choose the model rather than the server when
// memory runs out. Raising the score needs no privilege.
func preferAsVictim(pid int) {
	const more, most = 500, 1000
	path := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
	now, err := os.ReadFile(path)
	if err != nil {
		return
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(now)))
	if err != nil {
		return
	}
	_ = os.WriteFile(path, []byte(strconv.Itoa(min(score+more, most))), 0)
}

// bootID tells this run of the system from the ones before, whose process IDs
// mean nothing.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// identify reads the row of a process.
func identify(pid int) (entry, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return entry{}, false
	}
	// "pid (name) state ppid pgrp …": the name may contain anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const state, parent, group, threads, start = 0, 1, 2, 17, 19
	if len(fields) <= start {
		return entry{}, false
	}
	// The main thread may end before the others.
	dead := (fields[state][0] == 'Z' || fields[state][0] == 'X') && len(fields[threads]) == 1 && fields[threads][0] <= '1'
	e := entry{proc: proc{PID: pid}, zombie: dead}
	e.parent, _ = strconv.Atoi(string(fields[parent]))
	e.group, _ = strconv.Atoi(string(fields[group]))
	e.Start, err = strconv.ParseUint(string(fields[start]), 10, 64)
	return e, err == nil
}

// processes reads the process table.
func processes() []entry {
	var table []entry
	for _, pid := range processIDs() {
		if e, ok := identify(pid); ok {
			table = append(table, e)
		}
	}
	return table
}

func processIDs() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// marked returns the living processes, other than this one, in whose
// environment a mark begins with prefix.
func marked(prefix string) []proc {
	wanted := []byte(markVariable + "=" + prefix)
	var found []proc
	for _, pid := range processIDs() {
		e, ok := identify(pid)
		if !ok || e.zombie || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		if bytes.HasPrefix(environ, wanted) || bytes.Contains(environ, append([]byte{0}, wanted...)) {
			found = append(found, e.proc)
		}
	}
	return found
}

// A listener is a listening TCP socket.
type listener struct {
	addr  netip.Addr
	inode string
}

// listening reports the address at which a descendant of pid listens on port.
// Where another program would answer there, nothing does: its answers to pings
// would be taken for the model's.
func listening(pid, port int) (netip.Addr, bool) {
	all := append(listeners("/proc/self/net/tcp", port), listeners("/proc/self/net/tcp6", port)...)
	if len(all) == 0 {
		return netip.Addr{}, false
	}
	own := map[string]bool{}
	for _, p := range descendants(pid) {
		addSockets(own, p.PID)
	}
	var addr netip.Addr
	for _, l := range all {
		reachable := reachableAt(l.addr)
		switch {
		case !own[l.inode] && reachable.IsLoopback():
			return netip.Addr{}, false
		case own[l.inode] && (!addr.IsValid() || reachable.Is4()):
			addr = reachable
		}
	}
	return addr, addr.IsValid()
}

// reachableAt is where a socket that is bound to addr can be reached.
func reachableAt(addr netip.Addr) netip.Addr {
	if addr.IsUnspecified() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return addr.Unmap()
}

// listeners reads the sockets that listen on port from a table of the kernel.
func listeners(table string, port int) []listener {
	file, err := os.Open(table)
	if err != nil {
		return nil // no IPv6
	}
	defer file.Close()
	var found []listener
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		const local, state, inode, stateListen = 1, 3, 9, "0A"
		if len(fields) <= inode || fields[state] != stateListen {
			continue
		}
		addr, at, ok := parseSocket(fields[local])
		if ok && at == port {
			found = append(found, listener{addr, fields[inode]})
		}
	}
	return found
}

// parseSocket reads "0100007F:1F90": words in the machine's byte order, then
// the port.
func parseSocket(text string) (netip.Addr, int, bool) {
	host, portText, _ := strings.Cut(text, ":")
	words, err := hex.DecodeString(host)
	if err != nil || len(words)%4 != 0 {
		return netip.Addr{}, 0, false
	}
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	addr, ok := netip.AddrFromSlice(words)
	port, err := strconv.ParseUint(portText, 16, 16)
	return addr, int(port), ok && err == nil
}

// addSockets adds the inodes of a process's sockets to set.
func addSockets(set map[string]bool, pid int) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(dir, name.Name()))
		if err != nil {
			continue
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			set[strings.TrimSuffix(inode, "]")] = true
		}
	}
}

// oomKills is how often the kernel has killed a process in our own cgroup for
// want of memory. Models live in it too, as long as they get none of their own.
func oomKills() int {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "memory":
			return oomCount("/sys/fs/cgroup/memory", parts[2], "memory.oom_control")
		case parts[0] == "0" && parts[1] == "":
			if n := oomCount("/sys/fs/cgroup", parts[2], "memory.events"); n > 0 {
				return n
			}
		}
	}
	return 0
}

// oomCount reads oom_kill of a cgroup. Within a container the cgroup's own
// path may not be visible; then the root is the container's.
func oomCount(root, group, file string) int {
	text, err := os.ReadFile(filepath.Join(root, group, file))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(root, file))
	}
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(count))
			return n
		}
	}
	return 0
}
