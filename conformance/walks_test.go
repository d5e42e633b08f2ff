package conformance

import (
	"os"
	"path/filepath"
	"testing"
)

// walks are the clients, in the order of the table.
var walks = []walk{
	{"boto3", pythonWalk("boto3_walk.py", "DEFERD_BOTO3_PYTHON", "boto3")},
	{"boto3-1.26", pythonWalk("boto3_walk.py", "DEFERD_BOTO3_1_26_PYTHON", "boto3==1.26.27", "botocore==1.29.27")},
	{"go", goWalk("sdk")},
}

// pythonWalk runs a program of conformance/python. The variable names a Python
// that has the packages; without it a virtual environment is made.
func pythonWalk(program, variable string, packages ...string) func(*testing.T) (command, env []string, err error) {
	return func(t *testing.T) (command, env []string, err error) {
		python, err := pythonWith(t, variable, packages...)
		return []string{python, filepath.Join("python", program)}, []string{"PYTHONDONTWRITEBYTECODE=1"}, err
	}
}

// boto3Python returns a Python that has the newest boto3. Where there is none it
// skips the test, unless boto3 is required.
func boto3Python(t *testing.T) string {
	t.Helper()
	python, err := pythonWith(t, "DEFERD_BOTO3_PYTHON", "boto3")
	if err == nil {
		return python
	}
	if required("boto3") {
		t.Fatalf("boto3 is required: %v", err)
	}
	t.Skipf("boto3 cannot be had here: %v", err)
	return ""
}

func pythonWith(t *testing.T, variable string, packages ...string) (python string, err error) {
	t.Helper()
	if python := os.Getenv(variable); python != "" {
		return python, nil
	}
	return virtualEnvironment(t, packages...)
}

// virtualEnvironment makes one with the packages and returns its Python.
func virtualEnvironment(t *testing.T, packages ...string) (python string, err error) {
	t.Helper()
	dir := t.TempDir()
	python = filepath.Join(dir, "bin", "python")
	install := append([]string{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...)
	return python, setUp(t, ".", []string{"python3", "-m", "venv", dir}, install)
}

// goWalk builds a program of conformance/gowalk.
func goWalk(program string) func(*testing.T) (command, env []string, err error) {
	return func(t *testing.T) (command, env []string, err error) {
		binary := filepath.Join(t.TempDir(), program)
		build := []string{"go", "build", "-buildvcs=false", "-o", binary, "./" + program}
		return []string{binary}, nil, setUp(t, "gowalk", build)
	}
}
