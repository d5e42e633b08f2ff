package conformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestJS walks through the life of an endpoint with the AWS SDK for JavaScript.
func TestJS(t *testing.T) {
	t.Parallel()
	walkWith(t, "js", prepareJS)
}

// prepareJS installs what the program in js needs and returns the command that
// runs it.
func prepareJS(t *testing.T) (command, env []string, err error) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("js")); err != nil {
		return nil, nil, err
	}
	err = prepareIn(t, dir, "npm", "ci", "--engine-strict", "--ignore-scripts", "--no-audit", "--no-fund")
	return []string{"node", filepath.Join(dir, "walk.js")}, nil, err
}

// prepareIn runs a command in dir that makes a client ready.
func prepareIn(t *testing.T, dir string, command ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command[0], err, out)
	}
	return nil
}

// walkWith runs a client's walk against a server of its own. Where the client
// cannot be had the test is skipped, unless the client is required.
func walkWith(t *testing.T, client string, prepare func(*testing.T) (command, env []string, err error)) {
	t.Helper()
	command, env, err := prepare(t)
	if err != nil && slices.Contains(strings.Fields(os.Getenv("DEFERD_TEST_REQUIRE")), client) {
		t.Fatalf("%s is required: %v", client, err)
	}
	if err != nil {
		t.Skipf("%s cannot be had here: %v", client, err)
	}
	s := startServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	// HOME is elsewhere, so that nobody's AWS configuration has a say.
	cmd.Env = slices.Concat(s.environment(), env, []string{
		"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "DEFERD_WALK_NAME=walk", "DEFERD_WALK_IMAGE=" + image,
	})
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	s.awaitNoModels()
}
