//go:build !linux

package main

import "syscall"

// account is what PostgreSQL must be run as: here, whoever runs this program,
// who must not be root.
func account(string) (*syscall.SysProcAttr, error) { return &syscall.SysProcAttr{}, nil }
