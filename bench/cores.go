package main

import (
	"fmt"
	"runtime"
)

// Cores says which cores the server under test has for itself, and which the
// load: this program with its clients, and models. None where all share all.
type cores struct{ server, load []int }

// splitCores gives each side half of the cores; with one core nothing is split.
func splitCores() cores {
	all := allCores()
	if len(all) < 2 {
		return cores{}
	}
	return cores{server: all[:len(all)/2], load: all[len(all)/2:]}
}

func (c cores) String() string {
	if len(c.server) == 0 {
		return "shared by server, load and models"
	}
	return fmt.Sprintf("%d for the server, %d for load and models", len(c.server), len(c.load))
}

// moveTo keeps this program on these cores, with as many threads. None: all
// stays as it is.
func moveTo(cores []int) error {
	if len(cores) == 0 {
		return nil
	}
	runtime.GOMAXPROCS(len(cores))
	return useCores(cores)
}

// asServer calls f on the server's cores: what is compared with the server gets
// no more of the machine than it does.
func (p *plan) asServer(f func() error) (err error) {
	return p.movedTo(p.cores.server, f)
}

// unpinned calls f on all cores.
func (p *plan) unpinned(f func() error) (err error) {
	return p.movedTo(append(append([]int(nil), p.cores.server...), p.cores.load...), f)
}

func (p *plan) movedTo(cores []int, f func() error) (err error) {
	defer func() {
		if back := moveTo(p.cores.load); err == nil {
			err = back
		}
	}()
	if err := moveTo(cores); err != nil {
		return fmt.Errorf("choose cores: %w", err)
	}
	return f()
}
