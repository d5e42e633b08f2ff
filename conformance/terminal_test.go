package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A terminal is a shell that somebody types into. It ends at the first command
// that fails, and whatever it started ends with the test.
type terminal struct {
	cmd     *exec.Cmd
	keys    io.WriteCloser
	scripts string // where what is typed is kept
	typed   int
	events  chan event
	ended   chan struct{} // closed when nothing can be printed any more

	mu      sync.Mutex // guards printed
	printed strings.Builder
}

// An event is a printed line that whoever types waits for.
type event struct {
	done    bool   // what was typed has ended well
	dir     string // and this is where the shell is now
	failed  bool   // the shell has ended
	status  string // with this status
	url     string // a server is ready here
	console string
}

const (
	// typingPatience bounds what is typed at once, which may be to build the
	// program on a busy machine.
	typingPatience = 5 * time.Minute

	doneMark   = "<typed> done "
	failedMark = "<typed> failed "
)

func openTerminal(t *testing.T, dir string, env []string) (*terminal, error) {
	t.Helper()
	term := &terminal{
		cmd: exec.Command("sh"), scripts: t.TempDir(),
		events: make(chan event, 100), ended: make(chan struct{}),
	}
	term.cmd.Dir, term.cmd.Env = dir, env
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	screen, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close() // the shell has its own
	term.cmd.Stdout, term.cmd.Stderr = w, w
	if term.keys, err = term.cmd.StdinPipe(); err == nil {
		err = term.cmd.Start()
	}
	if err != nil {
		screen.Close()
		return nil, err
	}
	go term.watch(screen)
	t.Cleanup(term.close)
	_, err = fmt.Fprintf(term.keys, "trap 'printf \"\\n%s%%s\\n\" $?' EXIT\nset -e\n", failedMark)
	return term, err
}

// watch reads what is printed until everything that could print has ended.
func (t *terminal) watch(screen io.ReadCloser) {
	defer close(t.ended)
	defer screen.Close()
	for r := bufio.NewReader(screen); ; {
		line, err := r.ReadString('\n')
		e, matters := parseEvent(strings.TrimSuffix(line, "\n"))
		if !e.done && !e.failed {
			t.mu.Lock()
			t.printed.WriteString(line)
			t.mu.Unlock()
		}
		if matters {
			select {
			case t.events <- e:
			default: // nobody has typed for a long time
			}
		}
		if err != nil {
			return
		}
	}
}

func parseEvent(line string) (e event, matters bool) {
	if dir, ok := strings.CutPrefix(line, doneMark); ok {
		return event{done: true, dir: dir}, true
	}
	if status, ok := strings.CutPrefix(line, failedMark); ok {
		return event{failed: true, status: status}, true
	}
	if m := readyLine.FindStringSubmatch(line); m != nil {
		return event{url: m[1], console: m[2]}, true
	}
	return event{}, false
}

// screen returns what was printed since it was last asked.
func (t *terminal) screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.printed.Reset()
	return t.printed.String()
}

// enter types commands and returns when they have ended or, where the last of
// them is a server that stays, when that is ready.
func (t *terminal) enter(commands string, stays bool) (event, error) {
	t.screen()
	t.typed++
	script := filepath.Join(t.scripts, fmt.Sprintf("%d.sh", t.typed))
	if err := os.WriteFile(script, []byte(commands+"\n"), 0o644); err != nil {
		return event{}, err
	}
	// From a file, so that no command reads the next ones as its input.
	if _, err := fmt.Fprintf(t.keys, ". '%s' </dev/null\nprintf '\\n%s%%s\\n' \"$PWD\"\n", script, doneMark); err != nil {
		return event{}, fmt.Errorf("type into the shell: %w", err)
	}
	deadline := time.After(typingPatience)
	for {
		select {
		case e := <-t.events:
			switch {
			case e.failed:
				return e, fmt.Errorf("a command failed with status %s", e.status)
			case e.done && stays:
				return e, errors.New("the server has ended")
			case e.done, stays:
				return e, nil
			}
		case <-t.ended:
			return event{}, errors.New("the shell has gone")
		case <-deadline:
			return event{}, fmt.Errorf("not done after %v", typingPatience)
		}
	}
}

// close ends the shell and all that it runs, in order if they let it.
func (t *terminal) close() {
	syscall.Kill(-t.cmd.Process.Pid, syscall.SIGTERM)
	t.keys.Close()
	select {
	case <-t.ended:
	case <-time.After(patience):
		syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL)
	}
	t.cmd.Wait()
}
