//go:build !linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"time"
)

// Cores, CPU times and peaks are measured on Linux only.

func startOn(cmd *exec.Cmd, _ []int) error { return cmd.Start() }

func useCores([]int) error { return nil }

func allCores() []int { return nil }

func cpuOf(int) (own, descendants time.Duration) { return 0, 0 }

func peakMemory(int) (int64, error) { return 0, errors.ErrUnsupported }

func memoryNow(int) (int64, error) { return 0, errors.ErrUnsupported }

func syncData(f *os.File) error { return f.Sync() }

func fileSystem(string) string { return "unknown" }
