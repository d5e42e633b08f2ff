package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A tree is a model with all its processes, under a shim of its own.
type tree struct {
	shim     *exec.Cmd
	lifeline *os.File      // closing it kills the tree
	reports  <-chan report // closed when the shim has ended
	logged   <-chan struct{}
	output   *os.File
}

// plant starts a shim that starts command in dir. What the tree prints goes to
// log.
func plant(executable string, command []string, dir string, env []string, log *logFile) (*tree, error) {
	var pipes [3]struct{ r, w *os.File }
	for i := range pipes {
		r, w, err := os.Pipe()
		if err != nil {
			for _, p := range pipes[:i] {
				_, _ = p.r.Close(), p.w.Close()
			}
			return nil, fmt.Errorf("open pipe: %w", err)
		}
		pipes[i].r, pipes[i].w = r, w
	}
	lifeline, status, output := pipes[0], pipes[1], pipes[2]

	shim := exec.Command(executable, append([]string{ShimVerb}, command...)...)
	shim.Dir, shim.Env = dir, env
	// Files of our own, not writers: with those Wait waits for every process
	// that has them open.
	shim.Stdout, shim.Stderr = output.w, output.w
	shim.ExtraFiles = []*os.File{lifeline.r, status.w} // lifelineFD, statusFD
	shim.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := shim.Start()
	_ = errors.Join(lifeline.r.Close(), status.w.Close(), output.w.Close())
	if err != nil {
		_ = errors.Join(lifeline.w.Close(), status.r.Close(), output.r.Close())
		return nil, err
	}

	logged := make(chan struct{})
	go func() {
		defer close(logged)
		log.copyFrom(output.r)
	}()
	return &tree{
		shim:     shim,
		lifeline: lifeline.w,
		reports:  readReports(status.r),
		logged:   logged,
		output:   output.r,
	}, nil
}

// readReports delivers a shim's reports until it has ended.
func readReports(status *os.File) <-chan report {
	reports := make(chan report, 2) // as many as a shim sends
	go func() {
		defer close(reports)
		defer status.Close()
		for decoder := json.NewDecoder(status); ; {
			var r report
			if decoder.Decode(&r) != nil {
				return
			}
			reports <- r
		}
	}()
	return reports
}

// order sends an order to the shim. One that has ended needs none.
func (t *tree) order(o byte) { _, _ = t.lifeline.Write([]byte{o}) }

// identity names the shim's process.
func (t *tree) identity() proc {
	e, _ := identify(t.shim.Process.Pid)
	return e.proc
}

// fell releases what belongs to a tree after its shim has ended.
func (t *tree) fell() {
	_ = t.shim.Wait() // how it ended was reported, or it was killed
	_ = t.lifeline.Close()
	// The pipe ends with the last process of the tree. Should one have escaped
	// (on macOS), it is not waited for.
	_ = t.output.SetReadDeadline(time.Now().Add(time.Second))
	<-t.logged
	_ = t.output.Close()
}
