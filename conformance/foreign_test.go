package conformance

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// TestForeign starts the server on data directories that are not its own in
// some way. It must end, name the file and what to do, and leave everything as
// it is.
func TestForeign(t *testing.T) {
	t.Parallel()
	used, other := usedDir(t), usedDir(t)
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		says  []string // DIR stands for the directory
		env   string
	}{
		{"the store is a text file", write("deferd.db", "a text, and nothing but a text\n"),
			[]string{"DIR/deferd.db", "not a database", "--store"}, ""},
		{"the store is cut short", write("deferd.db", ""),
			[]string{"DIR/credentials", "DIR/deferd.db", "bring the store back"}, ""},
		{"the store is another program's", query("deferd.db", "PRAGMA application_id = 7"),
			[]string{"DIR/deferd.db", "not one of deferd's", "--store"}, ""},
		{"the store is of a newer version", query("deferd.db", "PRAGMA user_version = 999"),
			[]string{"DIR/deferd.db", "version 999", "newer"}, ""},
		{"the store is gone", remove("deferd.db"),
			[]string{"DIR/credentials", "DIR/deferd.db", "bring the store back"}, ""},
		{"the store is another installation's", copyFrom(other, "deferd.db"),
			[]string{"DIR/credentials", "another installation's", "remove DIR/credentials"}, ""},
		{"the secret key is too short", write("secret.key", "00ff\n"),
			[]string{"DIR/secret.key", "32 bytes", "bring the right one back"}, ""},
		{"the secret key is another installation's", copyFrom(other, "secret.key"),
			[]string{"DIR/secret.key", "another secret key", "remove DIR/credentials"}, ""},
		{"the secret key is gone", remove("secret.key"),
			[]string{"DIR/secret.key is missing", "DEFERD_SECRET_KEY"}, ""},
		{"the secret key may be read by others", chmod("secret.key", 0o644),
			[]string{"DIR/secret.key", "chmod 600"}, ""},
		{"the secret key in the environment is another one", func(*testing.T, string) {},
			[]string{"another secret key", "DEFERD_SECRET_KEY"}, "DEFERD_SECRET_KEY=" + strings.Repeat("ab", 32)},
		{"the credentials are another installation's", copyFrom(other, "credentials"),
			[]string{"DIR/credentials", "another installation's", "remove DIR/credentials"}, ""},
		{"the credentials are a text", write("credentials", "top secret\n"),
			[]string{"DIR/credentials", "holds no access key", "remove DIR/credentials"}, ""},
		{"the objects are of a newer version", write("objects/FORMAT", "deferd object store\nversion 999\n"),
			[]string{"DIR/objects/FORMAT", "version 999"}, ""},
		{"the objects are something else", write("objects/FORMAT", "mine\n"),
			[]string{"DIR/objects/FORMAT", "does not describe an object store", "move"}, ""},
		{"a file among the objects", write("objects/files/holiday.jpg", "…"),
			[]string{"DIR/objects/files/holiday.jpg", "move it away"}, ""},
		{"a file in the objects' log", write("objects/segments/notes.txt", "…"),
			[]string{"DIR/objects/segments/notes.txt", "move it away"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			copyDir(t, used, dir)
			test.spoil(t, dir)
			before := contents(t, dir)
			checkRefused(t, serveCommand(dir, test.env), dir, test.says)
			if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
				t.Errorf("the directory has changed (-before +after):\n%s", diff)
			}
		})
	}
	t.Run("nothing is wrong", func(t *testing.T) { // what the others differ from
		s := newServer(t)
		copyDir(t, used, s.data())
		s.start()
		s.stop()
	})
}

// The directory itself is not what it should be.
func TestForeignDirectory(t *testing.T) {
	t.Parallel()
	t.Run("it is a file", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		write("data", "a file\n")(t, filepath.Dir(dir))
		checkRefused(t, serveCommand(dir, ""), dir, []string{"DIR is a file", "--data"})
	})
	t.Run("it is in use", func(t *testing.T) {
		s := startServer(t)
		before := contents(t, s.data())
		checkRefused(t, serveCommand(s.data(), ""), s.data(), []string{"DIR is in use", "--data"})
		if diff := cmp.Diff(before, contents(t, s.data())); diff != "" {
			t.Errorf("the directory of the running server has changed (-before +after):\n%s", diff)
		}
		s.signer(t).call("ListModels", map[string]any{}) // it goes on
		s.stop()
	})
	t.Run("the address is in use", func(t *testing.T) {
		s := startServer(t)
		dir := filepath.Join(t.TempDir(), "data")
		cmd := exec.Command(deferdProgram, "serve", "--data", dir, "--listen", strings.TrimPrefix(s.url, "http://"), "--console", "127.0.0.1:0")
		checkRefused(t, cmd, dir, []string{"address already in use", "--listen"})
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the data directory was made: %v", err)
		}
	})
	t.Run("it may not be written", testReadOnly)
}

// testReadOnly lets the server run as somebody who may not write there. Root
// may write anywhere, so that root runs it as nobody.
func testReadOnly(t *testing.T) {
	place, err := os.MkdirTemp("", "deferd-read-only") // others may not enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(place) })
	dir := filepath.Join(place, "data")
	if err := errors.Join(os.Chmod(place, 0o755), os.Mkdir(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	cmd := serveCommand(dir, "")
	if os.Getuid() == 0 {
		program := filepath.Join(place, "deferd")
		if err := os.Link(deferdProgram, program); err != nil {
			t.Skipf("the program cannot be put where others may run it: %v", err)
		}
		const nobody = 65534
		cmd.Path = program
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	checkRefused(t, cmd, dir, []string{"DIR", "permission denied"})
	if left := contents(t, dir); len(left) > 0 {
		t.Errorf("there is something in it: %v", left)
	}
}

// usedDir is the data directory of a server that was started and stopped.
func usedDir(t *testing.T) string {
	t.Helper()
	s := startServer(t)
	s.signer(t).send("s3", "PUT", "/"+bucket, http.Header{}, nil)
	s.stop()
	return s.data()
}

func serveCommand(dir, env string) *exec.Cmd {
	cmd := exec.Command(deferdProgram, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), env)
	return cmd
}

// checkRefused runs a server that must end by itself, with status 1 and with
// one line that says everything.
func checkRefused(t *testing.T, cmd *exec.Cmd, dir string, says []string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		t.Fatalf("it still ran after %v:\n%s", patience, &out)
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit status 1:\n%s", err, &out)
	}
	if strings.Contains(out.String(), "listening on") || strings.Contains(out.String(), "panic") {
		t.Errorf("it was on its way:\n%s", &out)
	}
	for _, s := range says {
		if s = strings.ReplaceAll(s, "DIR", dir); !strings.Contains(out.String(), s) {
			t.Errorf("it says\n%s\nwant %q in it", &out, s)
		}
	}
}

// contents are the hashes of all files, less those that come and go with a
// server: its lock, and what SQLite keeps beside a database.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, dir+"/")
		if err != nil || d.IsDir() || name == "lock" || strings.HasSuffix(name, "-wal") || strings.HasSuffix(name, "-shm") {
			return err
		}
		data, err := os.ReadFile(path)
		found[name] = fmt.Sprintf("%d bytes, %x", len(data), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", from, err, out)
	}
}

// The ways to spoil a directory.
func write(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func chmod(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFrom(other, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		copyDir(t, filepath.Join(other, name), filepath.Join(dir, name))
	}
}

func query(name, statement string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		conn, err := sqlite.OpenConn(filepath.Join(dir, name), sqlite.OpenReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(sqlitex.ExecuteTransient(conn, statement, nil), conn.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
