package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"time"
)

// startLimit bounds what takes moments: a server's start, an endpoint's.
const startLimit = 60 * time.Second

const tick = 20 * time.Millisecond

// A child is a server that was started here: deferd, or what stands in for it.
type child struct {
	credentials
	console string   // URL; "" where there is none
	said    []string // lines that it printed before it was ready
	cmd     *exec.Cmd
	gone    chan error
}

var readyLine = regexp.MustCompile(`listening on (http://\S+)(?: \(console (http://\S+)\))?$`)

// start starts cmd, on these cores only where any are given, and waits until it
// says where it listens. What it logs goes to a file.
func start(ctx context.Context, cmd *exec.Cmd, cores []int, logFile string) (*child, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(cmd, cores); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, gone: make(chan error, 1)}
	isReady := make(chan []string, 1)
	go func() {
		ready := isReady // nil afterwards
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil && ready != nil {
				ready <- m
				ready = nil
			} else if ready != nil {
				c.said = append(c.said, lines.Text())
			}
		}
		c.gone <- cmd.Wait()
	}()
	select {
	case m := <-isReady:
		c.url, c.console = m[1], m[2]
		return c, nil
	case err := <-c.gone:
		text, _ := os.ReadFile(logFile)
		return nil, fmt.Errorf("%s ended before it was ready: %v\n%s", cmd.Path, err, text)
	case <-time.After(startLimit):
		return nil, errors.Join(fmt.Errorf("%s was not ready after %v", cmd.Path, startLimit), c.stop())
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), c.stop())
	}
}

// stop ends the child in order.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-c.gone:
		return err
	case <-time.After(startLimit):
		c.cmd.Process.Kill()
		return errors.Join(fmt.Errorf("%s did not stop", c.cmd.Path), <-c.gone)
	}
}
