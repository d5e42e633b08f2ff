package process

import (
	"os"
	"slices"
	"time"
)

// A proc is a process for ever: its ID alone may be given to another one.
type proc struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in the system's own unit
}

// An entry is a row of the process table.
type entry struct {
	proc
	parent int
	group  int
	zombie bool
}

// exists reports whether p is still there, if only as a zombie.
func (p proc) exists() bool {
	now, ok := identify(p.PID)
	return ok && now.proc == p
}

// kill sends SIGKILL to p and to no other process that got its ID.
func (p proc) kill() {
	// On Linux the handle pins the process, so that what is true of it after
	// it was opened stays true.
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return
	}
	defer func() { _ = handle.Release() }()
	if p.exists() {
		_ = handle.Kill() // it may have ended by itself
	}
}

// descendants returns the living processes below pid.
func descendants(pid int) []proc {
	children := map[int][]entry{}
	for _, e := range processes() {
		children[e.parent] = append(children[e.parent], e)
	}
	var below []proc
	queue := []int{pid}
	for len(queue) > 0 {
		parent := queue[0]
		queue = queue[1:]
		for _, e := range children[parent] {
			queue = append(queue, e.PID)
			if !e.zombie {
				below = append(below, e.proc)
			}
		}
	}
	return below
}

// familyOf returns the living among p, its descendants and its process group;
// nothing if p is no more: then its group's number may be another's.
func familyOf(p proc) []proc {
	if !p.exists() {
		return nil
	}
	family := descendants(p.PID)
	for _, e := range processes() {
		if e.group == p.PID && !e.zombie && !slices.Contains(family, e.proc) {
			family = append(family, e.proc)
		}
	}
	if e, ok := identify(p.PID); ok && e.proc == p && !e.zombie && !slices.Contains(family, p) {
		family = append(family, p)
	}
	return family
}

// killAll kills what find returns until it returns nothing, and reports
// whether it came to that in time.
func killAll(find func() []proc, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		found := find()
		if len(found) == 0 {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		for _, p := range found {
			p.kill()
		}
		time.Sleep(killPause)
	}
}

// killPause is how long killed processes have to vanish before we look again.
const killPause = 10 * time.Millisecond
