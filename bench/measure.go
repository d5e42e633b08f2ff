package main

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// A machine is what the figures were measured on, and of what.
type machine struct {
	commit, version, goVersion, platform string
	cores                                int
	date                                 time.Time
}

func describeMachine(ctx context.Context, program string) machine {
	output := func(name string, args ...string) string {
		b, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	return machine{
		commit:    cmp.Or(output("git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude=*"), "unknown"),
		version:   output(program, "version"),
		goVersion: runtime.Version(),
		platform:  runtime.GOOS + "/" + runtime.GOARCH,
		cores:     runtime.NumCPU(),
		date:      time.Now().UTC(),
	}
}

// ownCPU is the CPU time that this program has used.
func ownCPU() time.Duration {
	own, _ := cpuOf(os.Getpid())
	return own
}

// syncRate is how often in a second the disk makes 4 KiB durable that are
// appended to a file.
func syncRate(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := bytes.Repeat([]byte{'d'}, 4<<10)
	begun := time.Now()
	n := 0
	for ; time.Since(begun) < time.Second; n++ {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := syncData(f); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}

// loadAverage is how busy the machine has been; "unknown" where it does not say.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
