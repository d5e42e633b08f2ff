package peer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// readyLimit bounds a server's start, and its end.
const readyLimit = 30 * time.Second

// A Process is a server that was started for a queue.
type Process struct {
	cmd  *exec.Cmd
	log  string
	gone chan struct{} // closed when it has ended
	err  error         // why; read once gone is closed
}

// Start starts a server, whose output goes to the file, and waits until ready
// returns nil. The server ends with this program, however that ends.
func Start(cmd *exec.Cmd, log string, ready func() error) (*Process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = f, f
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, log: log, gone: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.gone)
	}()
	deadline := time.After(readyLimit)
	for {
		err := ready()
		if err == nil {
			return p, nil
		}
		select {
		case <-p.gone:
			return nil, fmt.Errorf("%s ended before it was ready: %v\n%s", cmd.Path, p.err, p.said())
		case <-deadline:
			return nil, errors.Join(fmt.Errorf("%s was not ready after %v: %w\n%s", cmd.Path, readyLimit, err, p.said()), p.Stop(os.Kill))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Process) said() []byte {
	text, _ := os.ReadFile(p.log)
	return text
}

// ID is the process's.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Stop sends the signal, and waits until the server has ended.
func (p *Process) Stop(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.gone:
		return nil
	case <-time.After(readyLimit):
		p.cmd.Process.Kill()
		<-p.gone
		return fmt.Errorf("%s did not stop", p.cmd.Path)
	}
}
