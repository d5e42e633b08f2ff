package conformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// walks are the clients, in the order of the table.
var walks = []walk{
	{"boto3", pythonWalk("boto3_walk.py", "DEFERD_BOTO3_PYTHON", "boto3")},
	{"boto3-1.26", pythonWalk("boto3_walk.py", "DEFERD_BOTO3_1_26_PYTHON", "boto3==1.26.27", "botocore==1.29.27")},
	{"sagemaker", pythonWalk("sagemaker_walk.py", "DEFERD_SAGEMAKER_PYTHON", "sagemaker<3")},
	{"awscli1", cliWalk("DEFERD_AWSCLI1", "aws-cli/1.", awscli1)},
	{"awscli2.9", cliWalk("DEFERD_AWSCLI2_9", "aws-cli/2.9.", awscliOfDebian)},
	{"awscli2", cliWalk("DEFERD_AWSCLI2", "aws-cli/2.", awscli2)},
	{"go", goWalk("sdk")},
	{"minio", goWalk("minio")},
	{"js", jsWalk("walk.js")},
	{"java", javaWalk},
}

// pythonWalk runs a program of conformance/python. The variable names a Python
// that has the packages; without it a virtual environment is made.
func pythonWalk(program, variable string, packages ...string) preparation {
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
	commands := [][]string{{"python3", "-m", "venv", dir}}
	if len(packages) > 0 {
		commands = append(commands, append([]string{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...))
	}
	return python, setUp(t, ".", commands...)
}

// cliWalk runs conformance/python/awscli_walk.py. The variable names the CLI,
// whose version has to begin as given; without it the CLI is got.
func cliWalk(variable, version string, get func(*testing.T) (program string, err error)) preparation {
	return func(t *testing.T) (command, env []string, err error) {
		program := os.Getenv(variable)
		if program == "" {
			if program, err = get(t); err != nil {
				return nil, nil, err
			}
		}
		out, err := exec.CommandContext(t.Context(), program, "--version").Output()
		if err != nil {
			return nil, nil, fmt.Errorf("%s --version: %w", program, err)
		}
		if !strings.HasPrefix(string(out), version) {
			return nil, nil, fmt.Errorf("%s is %s, not %s", program, strings.TrimSpace(string(out)), version)
		}
		env = []string{"DEFERD_AWSCLI=" + program, "PYTHONDONTWRITEBYTECODE=1"}
		return []string{"python3", filepath.Join("python", "awscli_walk.py")}, env, nil
	}
}

func awscli1(t *testing.T) (string, error) {
	python, err := virtualEnvironment(t, "awscli")
	return filepath.Join(filepath.Dir(python), "aws"), err
}

// awscliOfDebian returns what bookworm's package awscli installs.
func awscliOfDebian(*testing.T) (string, error) {
	const program = "/usr/bin/aws"
	_, err := os.Stat(program)
	return program, err
}

func awscli2(t *testing.T) (string, error) {
	python, err := virtualEnvironment(t)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(t.Context(), setUpTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, filepath.Join("python", "get_awscli2.py"), t.TempDir()).Output()
	return strings.TrimSpace(string(out)), err
}

// goWalk builds a program of conformance/gowalk.
func goWalk(program string) preparation {
	return func(t *testing.T) (command, env []string, err error) {
		binary := filepath.Join(t.TempDir(), program)
		build := []string{"go", "build", "-buildvcs=false", "-o", binary, "./" + program}
		return []string{binary}, nil, setUp(t, "gowalk", build)
	}
}

// jsWalk installs what the programs of conformance/js need. DEFERD_JS_MODULES
// names a node_modules that has it.
func jsWalk(program string) preparation {
	return func(t *testing.T) (command, env []string, err error) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("js")); err != nil {
			return nil, nil, err
		}
		command = []string{"node", filepath.Join(dir, program)}
		if modules := os.Getenv("DEFERD_JS_MODULES"); modules != "" {
			return command, nil, os.Symlink(modules, filepath.Join(dir, "node_modules"))
		}
		return command, nil, setUp(t, dir, []string{"npm", "ci", "--engine-strict", "--ignore-scripts", "--no-audit", "--no-fund"})
	}
}

// javaWalk compiles the program in conformance/java. Maven keeps what it needs
// where it keeps all such things.
func javaWalk(t *testing.T) (command, env []string, err error) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("java")); err != nil {
		return nil, nil, err
	}
	list := filepath.Join(dir, "classpath")
	err = setUp(t, dir, []string{"mvn", "--batch-mode", "--quiet", "--no-transfer-progress",
		"compile", "dependency:build-classpath", "-Dmdep.outputFile=" + list})
	if err != nil {
		return nil, nil, err
	}
	libraries, err := os.ReadFile(list)
	classes := []string{filepath.Join(dir, "target", "classes"), strings.TrimSpace(string(libraries))}
	return []string{"java", "-cp", strings.Join(classes, string(os.PathListSeparator)), "walk.Walk"}, nil, err
}
