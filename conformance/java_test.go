package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJava walks through the life of an endpoint with the AWS SDK for Java.
func TestJava(t *testing.T) {
	t.Parallel()
	walkWith(t, "java", prepareJava)
}

// prepareJava compiles the program in java and returns the command that runs
// it. Maven keeps what the program needs where it keeps all such things.
func prepareJava(t *testing.T) (command, env []string, err error) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("java")); err != nil {
		return nil, nil, err
	}
	list := filepath.Join(dir, "classpath")
	if err := prepareIn(t, dir, "mvn", "--batch-mode", "--quiet", "--no-transfer-progress",
		"compile", "dependency:build-classpath", "-Dmdep.outputFile="+list); err != nil {
		return nil, nil, err
	}
	libraries, err := os.ReadFile(list)
	if err != nil {
		return nil, nil, err
	}
	classes := []string{filepath.Join(dir, "target", "classes"), strings.TrimSpace(string(libraries))}
	return []string{"java", "-cp", strings.Join(classes, string(os.PathListSeparator)), "walk.Walk"}, nil, nil
}
