package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shout is a model that answers in capitals, and refuses what begins with "bad".
const shout = `
import http.server, os

class Model(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body.startswith(b"bad"):
            self.answer(418, b"no good\n")
        else:
            self.answer(200, body.upper())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Model).serve_forever()
`

// changing are the parts of what commands print that are others each time.
var changing = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "ID"},
	{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+`), "TIME"},
	{regexp.MustCompile(`-[0-9]{8}-[0-9]{9}`), "-DATE"},
	{regexp.MustCompile(`\b[0-9.]+m?s\b`), "TOOK"},
	{regexp.MustCompile(`AKIA[A-Z2-7]{16}`), "KEY"},
	{regexp.MustCompile(`\s+`), " "},
}

func unchanging(line string) string {
	for _, c := range changing {
		line = c.pattern.ReplaceAllString(line, c.name)
	}
	return strings.TrimSpace(line)
}

// TestCommandsDocument types what docs/commands.md shows behind each $, and
// compares what is printed with what it shows.
func TestCommandsDocument(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("the model of the document needs python3")
	}
	p := &person{t, startServer(t)}
	p.write("images.yaml", "images:\n  local/shout:1:\n    command: [python3, shout.py]\n  local/shout:2:\n    command: [python3, shuot.py]\n")
	p.write("shout.py", shout)
	p.write("hello.txt", "hello\n")
	for n, text := range []string{"hello 1\n", "hello 2\n", "hello 3\n", "bad\n"} {
		p.write(fmt.Sprintf("in/%d.txt", n+1), text)
	}
	bin := t.TempDir()
	if err := os.Symlink(deferdProgram, filepath.Join(bin, "deferd")); err != nil {
		t.Fatal(err)
	}
	blocks, err := readDocument(filepath.Join("..", "docs", "commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	typed := 0
	keys := map[string]string{} // of the document, and what they are here
	for _, b := range blocks {
		if b.language != "" {
			continue
		}
		for _, part := range strings.Split(b.text, "$ ")[1:] {
			command, shown, _ := strings.Cut(part, "\n")
			typed++
			p.enter(bin, command, shown, keys)
		}
	}
	if typed < 15 {
		t.Errorf("the document shows %d commands only", typed)
	}
}

// enter types a command of the document into a shell.
func (p *person) enter(bin, command, shown string, keys map[string]string) {
	p.t.Helper()
	line := command
	for there, here := range keys {
		line = strings.ReplaceAll(line, there, here)
	}
	if strings.Contains(shown, "[y/N]") { // which needs a terminal
		line += " --yes"
	}
	cmd := p.cmd()
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", line}
	cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	got := p.finish(cmd)
	printed := map[string]bool{}
	for l := range strings.Lines(got.out + "\n" + got.err) {
		printed[unchanging(l)] = true
	}
	for want := range strings.Lines(shown) {
		if strings.TrimSpace(want) != "" && !strings.Contains(want, "[y/N]") && !matchesAny(unchanging(want), printed) {
			p.t.Errorf("$ %s\nThe document shows %q, which was not printed:\n%s%s", line, want, got.out, got.err)
		}
	}
	key := regexp.MustCompile(`AKIA[A-Z2-7]{16}`)
	if strings.HasPrefix(command, "deferd credentials create") {
		keys[key.FindString(shown)] = key.FindString(got.out)
	}
}

// matchesAny reports whether a line was printed; "…" in it stands for anything.
func matchesAny(want string, printed map[string]bool) bool {
	if printed[want] {
		return true
	}
	re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + "$")
	for line := range printed {
		if strings.Contains(want, "…") && re.MatchString(line) {
			return true
		}
	}
	return false
}
