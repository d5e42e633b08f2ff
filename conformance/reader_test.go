package conformance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A reader does what a document says, word for word, as somebody does who types
// from it:
//
//   - What a sh block says is typed into a terminal. What runs a server keeps
//     its terminal; the rest is typed into another one, which opens where the
//     first one was.
//   - A block with a file name behind its language is saved under that name.
//   - A block without a language that follows at once shows what was printed.
//
// Other blocks are there to be read. Servers take free ports.
type reader struct {
	t     *testing.T
	env   []string
	dir   string    // where the next terminal opens
	term  *terminal // nil: the next one is yet to be opened
	terms []*terminal

	url, console string // of the server that was started last
	printed      string // by the last block

	// python does what a block of Python means that is shown without being
	// saved. Where it is nil there may be none.
	python func(*reader, block) error
}

// newReader returns a reader in an empty directory, whose python3 is the one at
// the path, and for whom the repository's address leads to a copy of this one.
func newReader(t *testing.T, python string) *reader {
	t.Helper()
	bin := t.TempDir()
	// A script rather than a link: a virtual environment knows itself by its path.
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", python)
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ours := func(variable string) bool {
		return strings.HasPrefix(variable, "AWS_") || strings.HasPrefix(variable, "DEFERD_") || strings.HasPrefix(variable, "PATH=")
	}
	env := append(slices.DeleteFunc(os.Environ(), ours),
		"PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"DEFERD_LISTEN=127.0.0.1:0", "DEFERD_CONSOLE=127.0.0.1:0",
		// Nobody's own configuration has a say.
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONIOENCODING=utf-8",
	)
	r := &reader{t: t, env: env, dir: t.TempDir()}
	t.Cleanup(func() {
		for i, term := range r.terms {
			if text := term.screen(); t.Failed() && text != "" {
				t.Logf("terminal %d went on to print:\n%s", i+1, text)
			}
		}
	})
	return r
}

const repository = "https://github.com/deferd/deferd"

// publish makes a repository of the files as they are here, committed or not,
// and has git find it at the public address.
func (r *reader) publish() {
	r.t.Helper()
	dir := r.t.TempDir()
	for name := range strings.SplitSeq(r.git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--full-name", ".."), "\x00") {
		if err := copyFile(filepath.Join(dir, name), filepath.Join("..", name)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("-C", dir, "init", "-q")
	r.git("-C", dir, "add", "-Af")
	r.git("-C", dir, "-c", "user.name=reader", "-c", "user.email=reader@localhost", "commit", "-qm", "All of it")
	r.env = append(r.env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+dir+".insteadOf", "GIT_CONFIG_VALUE_0="+repository)
}

// clone publishes the repository, and makes its clone the reader's directory.
func (r *reader) clone() {
	r.t.Helper()
	r.publish()
	r.git("clone", "-q", repository, r.dir)
}

func (r *reader) git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Env = append(slices.Clone(r.env), "GIT_CONFIG_GLOBAL="+os.DevNull)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		r.t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// copyFile copies a file with its mode. One that is not there, as git knows
// those that were just removed, is left out.
func copyFile(to, from string) error {
	info, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode())
}

// follow does what a document says.
func (r *reader) follow(path string) {
	r.t.Helper()
	blocks, err := readDocument(path)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.do(blocks); err != nil {
		r.t.Fatalf("%s: %v", filepath.Base(path), err)
	}
}

// do stops at the first block that does not hold, and says which it is.
func (r *reader) do(blocks []block) error {
	ran := false // the block before was run
	for _, b := range blocks {
		var err error
		switch {
		case b.file != "":
			ran, err = false, r.save(b)
		case b.language == "sh":
			ran, err = true, r.enter(b.text)
		case b.language == "python" && r.python == nil:
			ran, err = false, errors.New("no file name says where this is to be saved, so nobody knows whether it works")
		case b.language == "python":
			ran, err = true, r.python(r, b)
		case ran && b.showsOutput():
			ran, err = false, checkOutput(b.text, r.printed)
		default:
			ran = false
		}
		if err != nil {
			return fmt.Errorf("line %d, block %q: %w\n%sprinted:\n%s", b.line, b.language, err, b.text, r.printed)
		}
	}
	return nil
}

// save saves a block, if the text before it tells the reader where.
func (r *reader) save(b block) error {
	if !strings.Contains(b.prose, "`"+b.file+"`") {
		return fmt.Errorf("the text before it does not say that it is %s", b.file)
	}
	return os.WriteFile(filepath.Join(r.dir, b.file), []byte(b.text), 0o644)
}

var (
	// another says that what follows is for another terminal.
	another = regexp.MustCompile(`#.*in another terminal:?\s*$`)

	// serves is a line whose command ends only when it is told to.
	serves = regexp.MustCompile(`^[^#]*\bdeferd serve\b[^&#]*(#.*)?$`)

	// elsewhere are commands that CI runs by themselves.
	elsewhere = regexp.MustCompile(`^\s*make (demo|test|check|conformance|bench)\b[^&;|]*$`)
)

// enter types what a sh block says.
func (r *reader) enter(text string) error {
	r.printed = ""
	var commands string // yet to be typed
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", "")) {
		line = strings.TrimSuffix(line, "\n")
		stays := serves.MatchString(line)
		if stays { // what comes before it may go elsewhere first
			if err := r.enterHere(commands, false); err != nil {
				return err
			}
			commands = ""
		}
		if !elsewhere.MatchString(line) {
			commands += line + "\n"
		}
		if !stays && !another.MatchString(line) {
			continue
		}
		if err := r.enterHere(commands, stays); err != nil {
			return err
		}
		r.term, commands = nil, ""
	}
	return r.enterHere(commands, false)
}

// enterHere types commands into the terminal that is open, if there are any.
func (r *reader) enterHere(commands string, stays bool) error {
	if strings.TrimSpace(commands) == "" {
		return nil
	}
	if r.term == nil {
		term, err := openTerminal(r.t, r.dir, r.env)
		if err != nil {
			return fmt.Errorf("open a terminal: %w", err)
		}
		r.term, r.terms = term, append(r.terms, term)
	}
	e, err := r.term.enter(commands, stays)
	r.printed += r.term.screen()
	if err != nil {
		return err
	}
	if stays {
		r.url, r.console = e.url, e.console
		// The document shows the ports that others get.
		r.printed = strings.NewReplacer(e.url, "http://127.0.0.1:8780", e.console, "http://127.0.0.1:8781").Replace(r.printed)
		return nil
	}
	r.dir = e.dir
	return nil
}
