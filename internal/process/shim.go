package process

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// ShimVerb is the hidden subcommand under which a program that uses this
// package must call [ShimMain], before anything else.
const ShimVerb = "instance-shim"

// Files that a shim inherits beside its standard ones.
const (
	lifelineFD = 3 // orders from the server, one byte each; its end is the server's
	statusFD   = 4 // reports to the server
)

// Orders to a shim.
const (
	orderTerminate = 't' // SIGTERM to the model's process group
	orderKill      = 'k' // SIGKILL to all its descendants; so does the lifeline's end
)

// A report is what a shim tells the server: first Model or Error, and at the
// end, when no process is left, Exit.
type report struct {
	Model *proc       `json:"model,omitempty"`
	Error string      `json:"error,omitempty"` // why the model could not be started
	Final bool        `json:"final,omitempty"` // the same error would come again
	Exit  *exitStatus `json:"exit,omitempty"`
}

// An exitStatus says how a model's main process ended.
type exitStatus struct {
	Code   int            `json:"code"`
	Signal syscall.Signal `json:"signal,omitempty"`
}

// ShimMain is the process between the server and one model: it runs the
// command args, and sees to it that nothing of it is left when the model has
// ended or the server has gone, however it went. It returns the exit code.
func ShimMain(args []string) int {
	lifeline, status := os.NewFile(lifelineFD, "lifeline"), os.NewFile(statusFD, "status")
	keepFiles()
	reports := json.NewEncoder(status)

	// Caught, not ignored: the model would inherit that a signal is ignored.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	model, err := startModel(args)
	if err != nil {
		_ = reports.Encode(report{Error: err.Error(), Final: isFinal(err)})
		return 1
	}
	e, _ := identify(model)
	_ = reports.Encode(report{Model: &proc{model, e.Start}})

	exit := attend(model, readOrders(lifeline), signals)
	_ = reports.Encode(report{Exit: &exit})
	return 0
}

func startModel(args []string) (pid int, err error) {
	if len(args) == 0 {
		return 0, errors.New("no command")
	}
	if err := becomeSubreaper(); err != nil {
		return 0, err
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(program, args, &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return 0, err
	}
	preferAsVictim(p.Pid)
	return p.Pid, nil
}

// keepFiles keeps the model from inheriting anything but its standard files: a
// lifeline in its hands would outlive the server's.
func keepFiles() {
	syscall.CloseOnExec(lifelineFD)
	syscall.CloseOnExec(statusFD)
	keepInherited(statusFD + 1)
}

// isFinal tells a program that is not there, or may not be run, from a system
// that is short of something.
func isFinal(err error) bool {
	return errors.Is(err, exec.ErrNotFound) || errors.Is(err, exec.ErrDot) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// readOrders delivers the lifeline's bytes, and its end as orderKill.
func readOrders(lifeline *os.File) <-chan byte {
	orders := make(chan byte, 1)
	go func() {
		var order [1]byte
		for {
			if _, err := lifeline.Read(order[:]); err != nil {
				orders <- orderKill
				return
			}
			orders <- order[0]
		}
	}()
	return orders
}

// attend returns when the model and all its descendants have ended, which it
// brings about when it is told to or the model itself has ended.
func attend(model int, orders <-chan byte, signals <-chan os.Signal) exitStatus {
	var (
		exit        exitStatus
		again       <-chan time.Time
		kill        bool
		ended, gone = reap(model)
	)
	terminate := func() {
		if ended != nil { // its number is not another's yet
			_ = syscall.Kill(-model, syscall.SIGTERM)
		}
	}
	for {
		select {
		case <-gone:
			if ended != nil {
				exit = <-ended // sent before gone was closed
			}
			return exit
		case exit = <-ended:
			ended, kill = nil, true
		case <-signals:
			terminate()
		case order := <-orders:
			if order == orderTerminate {
				terminate()
			} else {
				kill = true
			}
		case <-again:
		}
		if kill {
			for _, p := range descendants(os.Getpid()) {
				p.kill()
			}
			again = time.After(killPause)
		}
	}
}

// reap waits for all children, those that were left to this process too. It
// sends how the model ended, and closes gone when no child is left.
func reap(model int) (ended <-chan exitStatus, gone <-chan struct{}) {
	end, none := make(chan exitStatus, 1), make(chan struct{})
	go func() {
		defer close(none)
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, 0, nil)
			switch {
			case errors.Is(err, syscall.EINTR):
			case err != nil:
				return // ECHILD
			case pid == model && status.Signaled():
				end <- exitStatus{Code: -1, Signal: status.Signal()}
			case pid == model && status.Exited():
				end <- exitStatus{Code: status.ExitStatus()}
			}
		}
	}()
	return end, none
}
