package main

import (
	"fmt"
	"os"
	"time"

	"github.com/deferd/deferd/internal/faulty"
	"github.com/deferd/deferd/internal/sqlite"
)

// faultsVariable names a file of faults that the server makes on purpose, in
// faulty's words. It is for "deferd torture" only, and no setting: nobody turns
// it on by a slip in a file.
const faultsVariable = "DEFERD_FAULTS"

// orderFaults reads what is to break, where that is asked for.
func (srv *server) orderFaults() error {
	path := os.Getenv(faultsVariable)
	if path == "" {
		return nil
	}
	srv.log.Warn("THIS SERVER BREAKS ITS OWN STORES ON PURPOSE: "+faultsVariable+" is set", "file", path)
	srv.faults = faulty.NewCue()
	return srv.faults.Read(path)
}

// machine is what the store's clock reads; nil for the real one.
func (srv *server) machine() *sqlite.Machine {
	if srv.faults == nil {
		return nil
	}
	m := sqlite.ThisMachine()
	real, rules := m, srv.faults.Rules()
	if m.Boot != "" {
		m.Boot += fmt.Sprintf("-%d", rules.Boots)
	}
	m.Uptime = func() time.Duration { return real.Uptime() + srv.faults.Rules().Slept }
	m.Wall = func() time.Time { return real.Wall().Add(rules.Off) }
	return &m
}

// makeFaulty has the stores fail on cue where that is asked for. Clients of the
// embedded S3 see it as it is.
func (srv *server) makeFaulty() {
	if srv.faults != nil {
		srv.queue, srv.objects = srv.faults.Store(srv.store), srv.faults.Objects(srv.objects)
	}
}

// slotWait is how long agents wait for the end of a request that nobody waits
// for; 0 for their own choice.
func (srv *server) slotWait() time.Duration {
	if srv.faults == nil {
		return 0
	}
	return srv.faults.Rules().SlotWait
}
