package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// keysAtOnce makes a terminal hand over each key as it is typed, without
// showing it, and Ctrl-C as a key; restore undoes that.
func keysAtOnce(in *os.File) (restore func(), err error) {
	fd := int(in.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, fmt.Errorf("read its settings: %w", err)
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, setTermios, &raw); err != nil {
		return nil, fmt.Errorf("change its settings: %w", err)
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }, nil // a terminal that has gone needs nothing
}

// keyPatience is how soon reading keys ends with its context, in milliseconds.
const keyPatience = 100

// readKeys hands on what is typed until ctx ends, or the terminal has gone.
func readKeys(ctx context.Context, in *os.File, keys chan<- byte) {
	fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}
	key := make([]byte, 1)
	for ctx.Err() == nil {
		n, err := unix.Poll(fds, keyPatience)
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return
		}
		if n, err := unix.Read(int(in.Fd()), key); err != nil || n == 0 {
			return
		}
		select {
		case keys <- key[0]:
		case <-ctx.Done():
		}
	}
}

// terminalSize is how many columns and lines there are where w leads.
func terminalSize(w any) (width, height int) {
	width, height = terminalWidth(w), 24
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Row > 0 {
			height = int(size.Row)
		}
	}
	return max(width, 1), height
}
