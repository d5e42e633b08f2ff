package process

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deferd/deferd"
)

// A grip tells when a process that is no child of ours has ended.
type grip struct{ pid, fd int }

func gripAll(t *testing.T, pids []int) []grip {
	t.Helper()
	var grips []grip
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatalf("process %d: %v", pid, err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		grips = append(grips, grip{pid, fd})
	}
	return grips
}

// ended reports whether the process ends within so many milliseconds.
func (g grip) ended(within int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(g.fd), Events: unix.POLLIN}}, within)
		if err != unix.EINTR {
			return err == nil && n == 1
		}
	}
}

func wantEnded(t *testing.T, grips []grip, within int) {
	t.Helper()
	for _, g := range grips {
		if !g.ended(within) {
			t.Errorf("process %d is still there", g.pid)
			_ = syscall.Kill(g.pid, syscall.SIGKILL)
		}
	}
}

func startFamily(t *testing.T) (*Runtime, <-chan deferd.InstanceEvent, []grip) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pids")
	r := open(t, "family", file, nil)
	events := start(t, r, specOf("a", "family"))
	await(t, events, deferd.PhaseRunning)
	return r, events, gripAll(t, readJSON[[]int](t, file))
}

func recordOf(t *testing.T, dir string) record {
	t.Helper()
	return readJSON[record](t, filepath.Join(dir, "instances", "a", recordName))
}

// modelOf waits until the record names the model's process, of which the shim
// tells about when the model listens, and returns its ID.
func modelOf(t *testing.T, dir string) int {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if pid := recordOf(t, dir).Model.PID; pid != 0 {
			return pid
		}
	}
	t.Fatal("the record names no model")
	return 0
}

func TestStopEndsTheWholeFamily(t *testing.T) {
	r, _, family := startFamily(t)
	if err := r.Stop(t.Context(), "a", limit); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, family, 0) // when Stop returns, not some time later
}

func TestCrashEndsTheWholeFamily(t *testing.T) {
	_, events, family := startFamily(t)
	if err := syscall.Kill(family[0].pid, syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	exit := await(t, events, deferd.PhaseGone).Exit
	wantEnded(t, family, 0)
	if exit.Message == "" {
		t.Error("gone without a message")
	}
}

func TestKilledServerLeavesNoOrphans(t *testing.T) {
	dir := t.TempDir()
	server, pids := startServer(t, dir)
	family := gripAll(t, append(pids, recordOf(t, dir).Shim.PID))
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, family, 20_000)
}

func TestKilledShim(t *testing.T) {
	r, events, family := startFamily(t)
	if err := syscall.Kill(recordOf(t, r.options.Dir).Shim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exit := await(t, events, deferd.PhaseGone).Exit
	wantEnded(t, family, 0)
	if exit.Message == "" || exit.Permanent {
		t.Errorf("exit %+v, want a message and another try", exit)
	}
}

// Server and shim are both killed, so that nobody is left to clean up.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	server, pids := startServer(t, dir)
	shim := recordOf(t, dir).Shim.PID
	family := gripAll(t, pids)
	for _, kill := range []struct {
		pid    int
		signal syscall.Signal
	}{
		{shim, syscall.SIGSTOP}, // or it would do its work
		{server.Process.Pid, syscall.SIGKILL},
		{shim, syscall.SIGKILL},
	} {
		if err := syscall.Kill(kill.pid, kill.signal); err != nil {
			t.Fatal(err)
		}
	}
	_ = server.Wait()
	for _, g := range family {
		if g.ended(0) {
			t.Fatalf("process %d has ended before anybody cleaned up", g.pid)
		}
	}

	other := Options{Dir: t.TempDir(), Images: &ImageFile{}, Install: "another", Logger: slog.New(slog.DiscardHandler)}
	if _, err := New(other); err != nil {
		t.Fatal(err)
	}
	if family[0].ended(0) {
		t.Error("another installation killed the leftovers")
	}

	own := other
	own.Dir, own.Install = dir, dir
	if _, err := New(own); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, family, 0)
	if _, err := os.Stat(filepath.Join(dir, "instances")); err == nil {
		t.Error("the instances' directories are still there")
	}
}

func TestRecordSparesStrangers(t *testing.T) {
	stranger := exec.Command(os.Args[0], "model", "waits", "")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	e, _ := identify(stranger.Process.Pid)
	held := gripAll(t, []int{e.PID})
	for _, test := range []struct {
		name string
		rec  record
		dies bool
	}{
		{"started later", record{Boot: bootID(), Model: proc{e.PID, e.Start - 1}}, false},
		{"another boot", record{Boot: "another", Model: e.proc}, false},
		{"no boot", record{Model: e.proc}, false},
		{"itself", record{Boot: bootID(), Model: e.proc}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Dir: t.TempDir(), Images: &ImageFile{}, Install: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
			dir := filepath.Join(o.Dir, "instances", "a")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := test.rec.write(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := New(o); err != nil {
				t.Fatal(err)
			}
			within := 0
			if test.dies {
				within = 10_000
			}
			if got := held[0].ended(within); got != test.dies {
				t.Errorf("killed: %v, want %v", got, test.dies)
			}
		})
	}
}

func TestListening(t *testing.T) {
	for _, test := range []struct{ bind, want string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"0.0.0.0:0", "127.0.0.1"},
		{"[::]:0", "127.0.0.1"},
		{"[::1]:0", "::1"},
	} {
		t.Run(test.bind, func(t *testing.T) {
			l, err := net.Listen("tcp", test.bind)
			if err != nil {
				t.Skipf("no such address here: %v", err)
			}
			defer l.Close()
			port := l.Addr().(*net.TCPAddr).Port
			// The test's parent sees this process as a descendant.
			if addr, ok := listening(os.Getppid(), port); !ok || addr.String() != test.want {
				t.Errorf("listens at %v, %v, want %s", addr, ok, test.want)
			}
			if addr, ok := listening(os.Getpid(), port); ok {
				t.Errorf("a descendant listens at %v, but it is the process itself", addr)
			}
			_ = l.Close()
			if addr, ok := listening(os.Getppid(), port); ok {
				t.Errorf("listens at %v after it was closed", addr)
			}
		})
	}
}

func TestOOMCount(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"a/memory.events":    "low 0\noom 4\noom_kill 3\noom_group_kill 0\n",
		"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
	} {
		path = filepath.Join(root, path)
		_ = os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, group, file string
		want              int
	}{
		{"own group", "/a", "memory.events", 3},
		{"group out of sight", "/not/here", "memory.oom_control", 2},
		{"no such file", "/a", "memory.none", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := oomCount(root, test.group, test.file); got != test.want {
				t.Errorf("%d kills, want %d", got, test.want)
			}
		})
	}
}

// memoryGroup makes a cgroup with little memory, enough for the server with a
// race detector, and returns its directory. It
// skips the test where this may not be done.
func memoryGroup(t *testing.T) string {
	t.Helper()
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip(err)
	}
	dir, file := "", "memory.max"
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case parts[1] == "memory":
			dir, file = filepath.Join("/sys/fs/cgroup/memory", parts[2]), "memory.limit_in_bytes"
		case parts[0] == "0" && dir == "":
			dir = filepath.Join("/sys/fs/cgroup", parts[2])
		}
	}
	dir, err = os.MkdirTemp(dir, "deferd-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := os.WriteFile(filepath.Join(dir, file), []byte("300000000"), 0); err != nil {
		t.Skip(err)
	}
	return dir
}

func TestOutOfMemory(t *testing.T) {
	group := memoryGroup(t)
	server := exec.Command(os.Args[0], "server of the hungry", t.TempDir())
	input, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	server.Stdout = &output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill() })
	// While a model that was killed gives its memory back, the kernel no longer
	// counts it among the group's processes, and may choose the next one.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", server.Process.Pid), []byte("-1000"), 0); err != nil {
		t.Skip(err)
	}
	err = os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, server.Process.Pid), 0)
	_ = input.Close() // now it starts its instance
	if waitErr := server.Wait(); err != nil || waitErr != nil {
		t.Fatal(err, waitErr, output.String())
	}
	var exit deferd.Exit
	if err := json.Unmarshal(output.Bytes(), &exit); err != nil {
		t.Fatal(err)
	}
	if !exit.OutOfMemory || !strings.Contains(exit.Message, "memory ran out") {
		t.Errorf("exit %+v, want out of memory", exit)
	}
}

func TestModelIsTheFirstToGo(t *testing.T) {
	r := open(t, "serves", "", nil)
	await(t, start(t, r, specOf("a", "serves")), deferd.PhaseRunning)
	score := func(pid int) (n int) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Sscan(string(text), &n)
		return n
	}
	if got, want := score(modelOf(t, r.options.Dir)), min(score(os.Getpid())+500, 1000); got != want {
		t.Errorf("the model's oom_score_adj is %d, want %d", got, want)
	}
}

// The shim must not hand its lifeline down: a model that held it, or a server
// whose other children did, would keep the tree alive.
func TestModelInheritsNoFiles(t *testing.T) {
	r := open(t, "serves", "", nil)
	await(t, start(t, r, specOf("a", "serves")), deferd.PhaseRunning)
	dir := fmt.Sprintf("/proc/%d/fd", modelOf(t, r.options.Dir))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	pipes := 0
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(target, "pipe:") {
			pipes++
		}
	}
	if got, want := pipes, 2; got != want { // its output and its errors
		t.Errorf("the model has %d ends of pipes open, want %d", got, want)
	}
}

func TestStopReturnsWithItsContext(t *testing.T) {
	r := open(t, "waits", "", nil)
	events := start(t, r, specOf("a", "waits"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stop(ctx, "a", 0); err == nil {
		t.Error("no error, want the context's")
	}
	await(t, events, deferd.PhaseGone) // it is stopped all the same
}
