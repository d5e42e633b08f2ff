package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// startOn starts a command that may use these cores only; all where none are
// given.
func startOn(cmd *exec.Cmd, cores []int) error {
	if len(cores) == 0 {
		return cmd.Start()
	}
	// A child gets the cores of the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read the cores in use: %w", err)
	}
	if err := setCores(0, cores); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before)
	return cmd.Start()
}

// useCores keeps all threads of this program on these cores.
func useCores(cores []int) error {
	for range 2 { // the first look may miss a thread that is just being made
		tasks, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			return err
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(filepath.Base(t))
			if err != nil {
				return err
			}
			if err := setCores(tid, cores); err != nil && err != unix.ESRCH {
				return err
			}
		}
	}
	return nil
}

func setCores(tid int, cores []int) error {
	var set unix.CPUSet
	for _, c := range cores {
		set.Set(c)
	}
	return unix.SchedSetaffinity(tid, &set)
}

// allCores are the cores that this program may use.
func allCores() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var cores []int
	for c := range len(set) * strconv.IntSize {
		if set.IsSet(c) {
			cores = append(cores, c)
		}
	}
	return cores
}

// clockTick is the unit of CPU times in /proc, on every Linux that Go runs on.
const clockTick = time.Second / 100

// cpuOf is the CPU time that a process has used, and that of its descendants.
func cpuOf(pid int) (own, descendants time.Duration) {
	type process struct {
		parent int
		cpu    time.Duration
	}
	all := map[int]process{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		parent, _ := strconv.Atoi(f[1])
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		all[id] = process{parent, time.Duration(user+system) * clockTick}
	}
	for id, p := range all {
		for up := p.parent; up > 1; up = all[up].parent {
			if up == pid {
				descendants += p.cpu
				break
			}
		}
		if id == pid {
			own = p.cpu
		}
	}
	return own, descendants
}

// peakMemory is the most memory that a process has had, in bytes.
func peakMemory(pid int) (int64, error) { return memory(pid, "VmHWM:") }

// memoryNow is what a process has in memory, in bytes.
func memoryNow(pid int) (int64, error) { return memory(pid, "VmRSS:") }

func memory(pid int, name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, name)
}

// syncData makes what was appended to a file durable.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// fileSystem says what kind of file system a directory is on.
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "unknown"
	}
	switch s.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs, which is no disk"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	}
	return fmt.Sprintf("%#x", s.Type)
}
