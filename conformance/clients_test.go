package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table of clients into docs/clients.md")

// steps are what every client does, in this order, or says that it cannot.
var steps = []string{
	"identity", "create", "wait", "upload", "invoke-s3", "invoke-inline", "invoke-named", "poll", "failure", "refusals",
	"presign", "list", "tags", "update", "download", "copy", "delete-objects", "delete",
}

// A walk is a program that walks through the life of an endpoint with one
// client. It learns of the server from its environment: the variables of
// "deferd env", DEFERD_WALK_IMAGE, and DEFERD_WALK_NAME, with which all names
// that it makes begin. It prints one line for the client and one for each step:
//
//	client NAME VERSION
//	step NAME ok SECONDS [REMARK]
//	step NAME absent REASON
//	step NAME failed MESSAGE
//
// and ends with status 1 after the first step that failed.
type walk struct {
	client  string // the word for DEFERD_TEST_REQUIRE, and its name in the table
	prepare preparation
}

// A preparation returns the command that runs a program, and what that wants in
// its environment, after making what it can of what is missing.
type preparation func(t *testing.T) (command, env []string, err error)

const (
	setUpTime = 5 * time.Minute  // Maven downloads the world
	walkTime  = 12 * time.Minute // the CLI starts a hundred times, on a busy machine
	atATime   = 3                // walks, on two cores
)

// TestClients walks with each client through a server of its own, and prints
// who can do what.
func TestClients(t *testing.T) {
	t.Parallel()
	var table table
	slots := make(chan struct{}, atATime)
	t.Run("walk", func(t *testing.T) {
		for _, w := range walks {
			t.Run(w.client, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				column := column{client: w.client, skipped: "did not start"}
				defer func() { table.add(column) }()
				w.run(t, &column)
			})
		}
	})
	t.Logf("client × step:\n%s", table.text())
	if !*update {
		return
	}
	if err := table.write(clientsPage); err != nil {
		t.Error(err)
	}
}

func (w walk) run(t *testing.T, c *column) {
	command, env, err := w.prepare(t)
	if err != nil {
		c.skipped = err.Error()
		if required(w.client) {
			t.Fatalf("%s is required: %v", w.client, err)
		}
		t.Skipf("%s cannot be had here: %v", w.client, err)
	}
	c.skipped = ""
	s := startServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), walkTime)
	defer cancel()
	cmd := w.on(ctx, s, command, env)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	c.read(string(out))
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	for _, name := range steps {
		if o := c.cells[name].outcome; o != stepOK && o != stepAbsent {
			t.Errorf("step %s: %s", name, c.cells[name])
		}
	}
	if t.Failed() {
		return
	}
	s.t = t
	s.awaitNoModels()
}

// ready prepares the walk. Where its client cannot be had it skips the test,
// unless the client is required.
func (w walk) ready(t *testing.T) (command, env []string) {
	t.Helper()
	command, env, err := w.prepare(t)
	if err != nil && required(w.client) {
		t.Fatalf("%s is required: %v", w.client, err)
	}
	if err != nil {
		t.Skipf("%s cannot be had here: %v", w.client, err)
	}
	return command, env
}

// on returns the command with which the walk goes through a server.
func (w walk) on(ctx context.Context, s *server, command, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.WaitDelay = patience
	cmd.Env = slices.Concat(s.environment(), env, []string{
		"DEFERD_WALK_NAME=walk-" + strings.ReplaceAll(w.client, ".", "-"), "DEFERD_WALK_IMAGE=" + image,
		// HOME is elsewhere, so that nobody's AWS configuration has a say.
		"HOME=" + s.t.TempDir(), "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true",
	})
	return cmd
}

// required reports whether DEFERD_TEST_REQUIRE has the word.
func required(word string) bool {
	return slices.Contains(strings.Fields(os.Getenv("DEFERD_TEST_REQUIRE")), word)
}

// setUp runs commands that make a client, one after the other.
func setUp(t *testing.T, dir string, commands ...[]string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), setUpTime)
	defer cancel()
	for _, c := range commands {
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		cmd.Dir, cmd.WaitDelay = dir, time.Second
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(c, " "), err, out)
		}
	}
	return nil
}

// What became of a step.
const (
	stepOK     = "ok"
	stepAbsent = "absent"
	stepFailed = "failed"
)

// A cell is what one client said of one step.
type cell struct {
	outcome string
	detail  string // the remark, the reason or the message
	seconds string
}

func (c cell) String() string {
	if c.outcome == "" {
		return "it was not reached"
	}
	return c.outcome + " " + c.detail
}

// A column is a client and what it said.
type column struct {
	client  string
	version string
	skipped string // why it said nothing
	cells   map[string]cell
}

// read reads what a walk printed.
func (c *column) read(out string) {
	c.cells = map[string]cell{}
	for line := range strings.Lines(out) {
		switch f := strings.SplitN(strings.TrimSpace(line), " ", 4); {
		case f[0] == "client" && len(f) >= 3:
			c.version = strings.Join(f[2:], " ")
		case f[0] == "step" && len(f) >= 3:
			read := cell{outcome: f[2]}
			if len(f) == 4 {
				read.detail = f[3]
			}
			if read.outcome == stepOK {
				read.seconds, read.detail, _ = strings.Cut(read.detail, " ")
			}
			c.cells[f[1]] = read
		}
	}
}

// A table is what all clients said. Its methods may be called concurrently.
type table struct {
	mu      sync.Mutex
	columns []column // guarded by mu
}

func (t *table) add(c column) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.columns = append(t.columns, c)
}

// inOrder returns the columns in the order of walks.
func (t *table) inOrder() []column {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sorted []column
	for _, w := range walks {
		for _, c := range t.columns {
			if c.client == w.client {
				sorted = append(sorted, c)
			}
		}
	}
	return sorted
}

// text returns the table for a reader of the test's output, with the seconds
// that each step took.
func (t *table) text() string {
	var b strings.Builder
	columns := t.inOrder()
	fmt.Fprintf(&b, "%-15s", "")
	for _, c := range columns {
		fmt.Fprintf(&b, " %-11s", c.client)
	}
	fmt.Fprintf(&b, "\n%-15s", "version")
	for _, c := range columns {
		fmt.Fprintf(&b, " %-11s", c.version)
	}
	for _, name := range steps {
		fmt.Fprintf(&b, "\n%-15s", name)
		for _, c := range columns {
			show := c.cells[name].outcome
			switch {
			case c.skipped != "":
				show = "skipped"
			case show == stepOK:
				show += " " + c.cells[name].seconds
			case show == "":
				show = "not reached"
			}
			fmt.Fprintf(&b, " %-11s", show)
		}
	}
	for _, c := range columns {
		if c.skipped != "" {
			fmt.Fprintf(&b, "\n%s was skipped: %s", c.client, c.skipped)
		}
		for _, name := range steps {
			if d := c.cells[name].detail; d != "" {
				fmt.Fprintf(&b, "\n%s, %s: %s", c.client, name, c.cells[name])
			}
		}
	}
	return b.String()
}

// write writes the table into the page, if every client has done all its steps.
func (t *table) write(page string) error {
	columns := t.inOrder()
	if len(columns) != len(walks) {
		return fmt.Errorf("the page is left as it is: %d of %d clients walked", len(columns), len(walks))
	}
	for _, c := range columns {
		for _, name := range steps {
			if o := c.cells[name].outcome; o != stepOK && o != stepAbsent {
				return fmt.Errorf("the page is left as it is: %s, %s: %s%s", c.client, name, c.skipped, c.cells[name])
			}
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !ok || !ends {
		return errors.New(page + " has no place for the table")
	}
	return os.WriteFile(page, []byte(before+tableBegin+"\n"+markdown(columns)+tableEnd+after), 0o644)
}

// Where the table is in the page.
const (
	clientsPage = "../docs/clients.md"
	tableBegin  = "<!-- written by go test ./conformance -run TestClients -update -->"
	tableEnd    = "<!-- end -->"
)

// markdown returns the table for the page. A cell is "yes" or "–", with the
// number of a note where there is something to say.
func markdown(columns []column) string {
	var b strings.Builder
	var notes []string
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	head, line, versions := []string{"step"}, []string{"---"}, []string{"version"}
	for _, c := range columns {
		head, line, versions = append(head, c.client), append(line, "---"), append(versions, c.version)
	}
	row(head...)
	row(line...)
	row(versions...)
	for _, name := range steps {
		cells := []string{name}
		for _, c := range columns {
			shown := "yes"
			if c.cells[name].outcome == stepAbsent {
				shown = "–"
			}
			if d := c.cells[name].detail; d != "" {
				n := slices.Index(notes, d)
				if n < 0 {
					n, notes = len(notes), append(notes, d)
				}
				shown += fmt.Sprintf(" (%d)", n+1)
			}
			cells = append(cells, shown)
		}
		row(cells...)
	}
	io.WriteString(&b, "\n")
	for i, n := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, n)
	}
	return b.String()
}

// TestClientsTable checks that the page has all clients and all steps, and that
// every step went well or has a note that says why it did not go at all.
func TestClientsTable(t *testing.T) {
	if *update {
		t.Skip("the table is being written")
	}
	text, err := os.ReadFile(clientsPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), tableBegin)
	written, _, ok := strings.Cut(rest, tableEnd)
	if !ok {
		t.Fatalf("%s has no place for the table", clientsPage)
	}
	clients := []string{"step"}
	for _, w := range walks {
		clients = append(clients, w.client)
	}
	var names []string
	for i, row := range tableRows(written) {
		if len(row) != len(clients) {
			t.Fatalf("row %q has %d cells, want %d", row, len(row), len(clients))
		}
		switch i {
		case 0:
			if !slices.Equal(row, clients) {
				t.Errorf("the table has the clients %q, want %q", row[1:], clients[1:])
			}
		case 1: // the line below the head
		case 2:
			if row[0] != "version" || slices.Contains(row, "") {
				t.Errorf("not every client has a version: %q", row)
			}
		default:
			names = append(names, row[0])
			for _, c := range row[1:] {
				if !goodCell(c, written) {
					t.Errorf("step %s: cell %q", row[0], c)
				}
			}
		}
	}
	if !slices.Equal(names, steps) {
		t.Errorf("the table has the steps %q, want %q", names, steps)
	}
}

func tableRows(markdown string) (rows [][]string) {
	for line := range strings.Lines(markdown) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "| ")
		if ok {
			rows = append(rows, strings.Split(strings.TrimSuffix(line, " |"), " | "))
		}
	}
	return rows
}

// goodCell reports whether a cell says yes, or has a note that says why not.
func goodCell(c, page string) bool {
	answer, note, noted := strings.Cut(c, " (")
	number := strings.TrimSuffix(note, ")")
	return answer == "yes" && !noted || (answer == "yes" || answer == "–") && noted && strings.Contains(page, "\n"+number+". ")
}
