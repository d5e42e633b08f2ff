//go:build !linux

package sqlite

import "time"

// bootID is not known here: the clock begins anew with each process.
func bootID() string { return "" }

// uptime is the time since the process started.
func uptime() time.Duration { return time.Since(processStart) }

var processStart = time.Now()
