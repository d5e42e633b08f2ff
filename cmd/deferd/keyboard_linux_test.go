package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// openTerminal opens a terminal, and what somebody types on.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// TestKeys reads keys as they are typed, Ctrl-C among them, and leaves the
// terminal as it was.
func TestKeys(t *testing.T) {
	keyboard, terminal := openTerminal(t)
	settings := func() unix.Termios {
		s, err := unix.IoctlGetTermios(int(terminal.Fd()), getTermios)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}
	before := settings()
	restore, err := keysAtOnce(terminal)
	if err != nil {
		t.Fatal(err)
	}
	if settings() == before {
		t.Error("the terminal's settings are the same")
	}
	ctx, cancel := context.WithCancel(t.Context())
	keys, ended := make(chan byte), make(chan struct{})
	go func() {
		defer close(ended)
		readKeys(ctx, terminal, keys)
	}()
	if _, err := keyboard.Write([]byte("x\x03q")); err != nil {
		t.Fatal(err)
	}
	got := string([]byte{<-keys, <-keys, <-keys})
	if got != "x\x03q" {
		t.Errorf("got the keys %q", got)
	}
	cancel()
	<-ended
	restore()
	if diff := cmp.Diff(before, settings()); diff != "" {
		t.Errorf("settings (-before +after):\n%s", diff)
	}
}

// TestTerminalSize follows the terminal.
func TestTerminalSize(t *testing.T) {
	_, terminal := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 120}); err != nil {
		t.Fatal(err)
	}
	if width, height := terminalSize(terminal); width != 120 || height != 10 {
		t.Errorf("the terminal has %dx%d", width, height)
	}
}
