package conformance

import (
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestTorture breaks a server again and again on one known schedule.
// DEFERD_TORTURE_ROUNDS says how often.
func TestTorture(t *testing.T) {
	t.Parallel()
	torture(t, cmp.Or(os.Getenv("DEFERD_TORTURE_ROUNDS"), "15"))
}

// TestTortureExternalS3 does so where the objects are in another server's S3,
// which is killed, too.
func TestTortureExternalS3(t *testing.T) {
	t.Parallel()
	rounds := "8"
	if os.Getenv("DEFERD_TORTURE_ROUNDS") == "0" {
		rounds = "0"
	}
	torture(t, rounds, "--external-s3")
}

func torture(t *testing.T, rounds string, args ...string) {
	t.Helper()
	if rounds == "0" {
		t.Skip("DEFERD_TORTURE_ROUNDS is 0")
	}
	dir := filepath.Join(t.TempDir(), "torture")
	out, err := tortureCommand(t, append(args, "--seed", "1", "--rounds", rounds, "--dir", dir)...).CombinedOutput()
	t.Logf("%s", out)
	if err == nil {
		return
	}
	t.Error(err)
	for _, name := range []string{"torture.log", "server.log"} {
		log, err := os.ReadFile(filepath.Join(dir, name))
		const tail = 16 << 10
		t.Logf("the end of %s (%v):\n%s", name, err, log[max(0, len(log)-tail):])
	}
}

// tortureCommand stops its server and its models when the test ends.
func tortureCommand(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), deferdProgram, append([]string{"torture"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// TestTortureSeesMemory shows that a server's memory is judged: no server gets
// by with 20 MiB.
func TestTortureSeesMemory(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(t.TempDir(), "torture")
	out, err := tortureCommand(t, "--rounds", "1", "--memory", "20", "--dir", dir).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("promise 8")) {
		t.Errorf("%v, want promise 8 to be broken:\n%s", err, out)
	}
}
