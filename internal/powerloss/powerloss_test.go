package powerloss

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const programVerb = "program"

// programs are what is recorded here; each works below the directory it gets.
var programs = map[string]func(dir string) error{
	"careful": func(dir string) error { return store(dir, true, true) },
	"names are not synced": func(dir string) error {
		return store(dir, true, false)
	},
	"data is not synced": func(dir string) error { return store(dir, false, true) },
	"a failed sync is tried again": func(dir string) error {
		return withFile(dir, func(f *os.File) error {
			if _, err := f.WriteAt([]byte("whole"), 0); err != nil {
				return err
			}
			if f.Sync() != nil {
				return f.Sync()
			}
			return errors.New("the sync has not failed")
		})
	},
	"after a failed sync it is written again": func(dir string) error {
		return withFile(dir, func(f *os.File) error {
			for {
				if _, err := f.WriteAt([]byte("whole"), 0); err != nil {
					return err
				}
				if f.Sync() == nil {
					return nil
				}
			}
		})
	},
	"everything": everything,
}

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == programVerb {
		if err := programs[os.Args[2]](os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// store stores a file as one should: under a temporary name, synced, renamed.
func store(dir string, syncData, syncNames bool) error {
	path := filepath.Join(dir, "file")
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if _, err := f.WriteString("whole"); err != nil {
		return err
	}
	if syncData {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close(), os.Rename(path+".new", path)); err != nil {
		return err
	}
	if syncNames {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	fmt.Println("stored")
	return nil
}

// withFile lets f write a file whose name is durable.
func withFile(dir string, write func(*os.File) error) error {
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(syncDir(dir), write(f)); err != nil {
		return err
	}
	fmt.Println("stored")
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// everything does each thing that a recording accounts for.
func everything(dir string) error {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "sub dir", "b")
	if err := errors.Join(os.MkdirAll(filepath.Dir(b), 0o700), os.Mkdir(filepath.Join(dir, "gone"), 0o700)); err != nil {
		return err
	}
	f, err := os.OpenFile(a, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	g, err := os.Create(b)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { _, err := f.WriteString("appended \"\n\x00\xff"); return err },
		func() error { _, err := f.WriteString(" twice"); return err },
		func() error { _, err := g.WriteString("0123456789"); return err },
		func() error { _, err := g.WriteAt([]byte("xyz"), 3); return err },
		func() error { _, err := g.WriteString("+"); return err },
		func() error { return g.Truncate(9) },
		func() error { return g.Sync() },
		func() error { _, err := g.WriteAt([]byte("far"), 5000); return err },
		func() error { return os.Link(b, filepath.Join(dir, "linked")) },
		func() error { return os.Rename(b, b+"2") },
		func() error { _, err := g.WriteAt([]byte("after the rename"), 100); return err },
		func() error { return os.Remove(a) },
		func() error { _, err := f.WriteString("after the removal"); return err },
		func() error { return os.Remove(filepath.Join(dir, "gone")) },
		func() error { return os.WriteFile(a, []byte("again"), 0o600) },
		func() error { return os.WriteFile(a, []byte("ag"), 0o600) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return errors.Join(f.Close(), g.Close())
}

// recorded records one of the programs.
func recorded(t *testing.T, program string, faults ...string) *Recording {
	t.Helper()
	Need(t)
	dir, log := Scratch(t), filepath.Join(Scratch(t), "recording")
	cmd := exec.Command(os.Args[0], programVerb, program, dir)
	cmd.Stderr = os.Stderr
	if err := Record(cmd, log, faults...); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	r, err := Read(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(func(string) bool { return false }); err != nil {
		t.Error(err)
	}
	return r
}

// found is what is below a directory: files by path, directories as "/".
func found(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if e.IsDir() {
			all[name] = "/"
			return nil
		}
		b, err := os.ReadFile(path)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPrograms shows that the disks which are made find out a program that does
// not sync what it says is stored, and leave a careful one alone.
func TestPrograms(t *testing.T) {
	const fault = "fsync:error=EIO:when=2"
	tests := []struct {
		program string
		faults  []string
		lost    bool // what was stored can be lost
	}{
		{"careful", nil, false},
		{"names are not synced", nil, true},
		{"data is not synced", nil, true},
		{"a failed sync is tried again", []string{fault}, true},
		{"after a failed sync it is written again", []string{fault}, false},
	}
	for _, test := range tests {
		t.Run(test.program, func(t *testing.T) {
			r := recorded(t, test.program, test.faults...)
			told := r.Said("stored")
			if told < 0 {
				t.Fatal("the program said nothing")
			}
			d := r.Disk()
			lost := false
			random := rand.New(rand.NewPCG(1, 1))
			for _, at := range append(slices.Clone(r.Syncs()), r.End()) {
				if err := d.Advance(at); err != nil {
					t.Fatal(err)
				}
				for i, loss := range d.Losses(random, 9) {
					dir := filepath.Join(Scratch(t), fmt.Sprint(i))
					if err := loss.WriteTo(dir); err != nil {
						t.Fatal(err)
					}
					if told < at && found(t, dir)["file"] != "whole" {
						lost = true
						t.Logf("%s: %q", loss.Name, found(t, dir))
					}
				}
			}
			if lost != test.lost {
				t.Errorf("what was stored was lost: %t, want %t", lost, test.lost)
			}
		})
	}
}

// TestEverything checks the extremes of a program that does a bit of all.
func TestEverything(t *testing.T) {
	r := recorded(t, "everything") // with r.Check
	d := r.Disk()
	if err := d.Advance(r.End()); err != nil {
		t.Fatal(err)
	}
	losses := d.Losses(rand.New(rand.NewPCG(1, 1)), 0)
	if len(losses) != 4 {
		t.Fatalf("%d losses, want the four extremes", len(losses))
	}
	const synced = "012xyz678"
	linked := synced + strings.Repeat("\x00", 91) + "after the rename" + strings.Repeat("\x00", 5000-116) + "far"
	want := []map[string]string{
		{}, // no directory was ever synced
		{"a": "ag", "linked": linked, "sub dir": "/", "sub dir/b2": linked},
		{"a": "", "linked": synced, "sub dir": "/", "sub dir/b2": synced},
		{},
	}
	for i, loss := range losses {
		dir := filepath.Join(Scratch(t), "disk")
		if err := loss.WriteTo(dir); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[i], found(t, dir)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", loss.Name, diff)
		}
	}
}

// quote is a string as strace writes it.
func quote(s string) string {
	digits := hex.EncodeToString([]byte(s))
	var b strings.Builder
	for i := 0; i < len(digits); i += 2 {
		b.WriteString(`\x` + digits[i:i+2])
	}
	return b.String()
}

// written makes a recording by hand: <path> and "text" of the lines are put in
// hexadecimal.
func written(t *testing.T, lines ...string) (*Recording, error) {
	t.Helper()
	root := t.TempDir()
	var b strings.Builder
	for _, line := range lines {
		for _, q := range []struct{ open, end string }{{`"`, `"`}, {"</", ">"}} {
			parts := strings.Split(line, q.open)
			if q.open == `"` {
				for i := 1; i < len(parts); i += 2 {
					parts[i] = quote(strings.ReplaceAll(parts[i], "ROOT", root))
				}
				line = strings.Join(parts, `"`)
				continue
			}
			for i := 1; i < len(parts); i++ {
				path, rest, _ := strings.Cut(parts[i], q.end)
				parts[i] = quote("/"+strings.ReplaceAll(path, "ROOT", root[1:])) + q.end + rest
			}
			line = strings.Join(parts, "<")
		}
		b.WriteString(line + "\n")
	}
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return Read(root, log)
}

// TestOverlap checks that a sync covers only what had ended when it began, and
// that it counts when it has ended.
func TestOverlap(t *testing.T) {
	r, err := written(t,
		`1     openat(AT_FDCWD</>, "ROOT/f", O_RDWR|O_CREAT, 0600) = 3</ROOT/f>`,
		`1     openat(AT_FDCWD</>, "ROOT", O_RDONLY) = 4</ROOT>`,
		`1     fsync(4</ROOT>) = 0`,
		`1     pwrite64(3</ROOT/f>, "before", 6, 0) = 6`,
		`12345 pwrite64(3</ROOT/f>, "meanwhile", 9, 6 <unfinished ...>`,
		`1     fdatasync(3</ROOT/f> <unfinished ...>`,
		`12345 <... pwrite64 resumed>) = 9`,
		`1     <... fdatasync resumed>) = 0`,
		`1     write(1</pipe>, "stored", 6) = 6`,
		`1     fdatasync(3</ROOT/f>) = ?`,
		`1     +++ killed by SIGKILL +++`,
	)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Said("stored"), 8; got != want {
		t.Errorf("it was said at %d, want %d", got, want)
	}
	if diff := cmp.Diff([]int{2, 7}, r.Syncs()); diff != "" {
		t.Errorf("syncs (-want +got):\n%s", diff)
	}
	d := r.Disk()
	for _, step := range []struct {
		at            int
		least, utmost string
	}{{7, "", "beforemeanwhile"}, {8, "before", "beforemeanwhile"}, {r.End(), "before", "beforemeanwhile"}} {
		if err := d.Advance(step.at); err != nil {
			t.Fatal(err)
		}
		losses := d.Losses(rand.New(rand.NewPCG(1, 1)), 0)
		for i, want := range []string{step.least, step.utmost} {
			dir := filepath.Join(t.TempDir(), "disk")
			if err := losses[i].WriteTo(dir); err != nil {
				t.Fatal(err)
			}
			if got := found(t, dir)["f"]; got != want {
				t.Errorf("%s: %q, want %q", losses[i].Name, got, want)
			}
		}
	}
}

// TestRefused checks that what cannot be accounted for is no recording.
func TestRefused(t *testing.T) {
	const open = `1 openat(AT_FDCWD</>, "ROOT/f", O_RDWR|O_CREAT, 0600) = 3</ROOT/f>`
	tests := map[string]string{
		"mapped":           `1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</ROOT/f>, 0) = 0x7f0000000000`,
		"copied into":      `1 copy_file_range(5</other>, NULL, 3</ROOT/f>, NULL, 100, 0) = 100`,
		"sent into":        `1 sendfile(3</ROOT/f>, 5</other>, NULL, 100) = 100`,
		"allocated":        `1 fallocate(3</ROOT/f>, 0, 0, 100) = 0`,
		"symbolic link":    `1 symlinkat("f", AT_FDCWD</>, "ROOT/g") = 0`,
		"truncated":        `1 truncate("ROOT/f", 1) = 0`,
		"another file":     `1 openat(AT_FDCWD</>, "ROOT/older", O_RDWR) = 3</ROOT/older>`,
		"a shortened text": `1 write(3</ROOT/f>, "abc"..., 100) = 100`,
		"io_uring":         `1 io_uring_setup(8, {flags=0}) = 4`,
		"not a call":       `1 what is this`,
	}
	for name, line := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := written(t, open, line); err == nil {
				t.Error("it was read")
			}
		})
	}
	if _, err := written(t, open, `1 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</ROOT/f>, 0) = 0x7f0000000000`); err != nil {
		t.Errorf("a mapping to read: %v", err)
	}
}

// TestTorn checks that torn writes are torn at sectors, and everywhere.
func TestTorn(t *testing.T) {
	n := &node{base: []byte(strings.Repeat("a", 1000))}
	c := &change{off: 500, data: []byte(strings.Repeat("b", 1500))}
	n.changes = []*change{c}
	for kept := range 4 {
		got := string(n.content(fate{keeps: func(*change) bool { return true }, sector: func(_ *change, s int64) bool { return s == int64(kept) }}))
		want := []byte(strings.Repeat("a", 1000) + strings.Repeat("\x00", 1000))
		for i := max(500, kept*512); i < min(2000, (kept+1)*512); i++ {
			want[i] = 'b'
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("only sector %d (-want +got):\n%s", kept, diff)
		}
	}
}

// TestSignals checks that the program can be killed while it is recorded.
func TestSignals(t *testing.T) {
	Need(t)
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command("sh", "-c", "echo up; exec sleep 100")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := Record(cmd, log); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil { // until the tracer has ended
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	if r, err := Read(t.TempDir(), log); err != nil || r.Said("up") < 0 {
		t.Errorf("the recording says nothing, %v", err)
	}
}
