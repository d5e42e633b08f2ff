package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBoto3 walks through the life of an endpoint with boto3.
func TestBoto3(t *testing.T) {
	t.Parallel()
	python := boto3Python(t)
	s := startServer(t)
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("boto3", "walk.py"))
	// HOME is elsewhere, so that nobody's AWS configuration has a say.
	cmd.Env = append(s.environment(), "HOME="+t.TempDir(), "PATH="+os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// boto3Python returns a Python that has boto3. Where there is none it makes one
// of the newest boto3 on PyPI, and where it cannot it skips the test, unless
// boto3 is required.
func boto3Python(t *testing.T) string {
	t.Helper()
	if python := os.Getenv("DEFERD_BOTO3_PYTHON"); python != "" {
		return python
	}
	venv := t.TempDir()
	python := filepath.Join(venv, "bin", "python")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, command := range [][]string{
		{"python3", "-m", "venv", venv},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "boto3"},
	} {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err == nil {
			continue
		}
		if slices.Contains(strings.Fields(os.Getenv("DEFERD_TEST_REQUIRE")), "boto3") {
			t.Fatalf("boto3 is required: %s: %v\n%s", command[0], err, out)
		}
		t.Skipf("boto3 cannot be had here: %s: %v", command[0], err)
	}
	return python
}
