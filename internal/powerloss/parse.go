package powerloss

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// never is the position of what was not seen to happen.
const never = math.MaxInt

// A call is a system call of the recorded program.
type call struct {
	name   string
	args   []string
	result string // "?" for one that was not seen to end
	start  int    // position, by line of the recording
	end    int    // never for one that was not seen to end
}

// parse reads what strace has written.
func parse(log string) (calls []*call, lines int, err error) {
	f, err := os.Open(log)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	open := map[string]*begun{}
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			break // what has no end of line was cut off with the tracer
		}
		if err != nil {
			return nil, 0, err
		}
		c, err := parseLine(strings.TrimSuffix(line, "\n"), lines, open)
		if err != nil {
			return nil, 0, fmt.Errorf("line %d of the recording: %w: %.200s", lines+1, err, line)
		}
		if c != nil {
			calls = append(calls, c)
		}
		lines++
	}
	for _, b := range open {
		c, err := parseCall(b.text+") = ?", b.start, never)
		if err != nil {
			return nil, 0, err
		}
		calls = append(calls, c)
	}
	return calls, lines, nil
}

// A begun call's end stands in a later line.
type begun struct {
	text  string
	start int
}

// parseLine reads a line, and returns the call that it ends.
func parseLine(line string, n int, open map[string]*begun) (*call, error) {
	pid, text, ok := strings.Cut(line, " ")
	if !ok {
		return nil, errors.New("no process")
	}
	text = strings.TrimLeft(text, " ")
	switch {
	case strings.HasPrefix(text, "+++"), strings.HasPrefix(text, "---"), strings.HasPrefix(text, "???"):
		return nil, nil
	case strings.HasPrefix(text, "<... "):
		_, rest, ok := strings.Cut(text, " resumed>")
		b := open[pid]
		if !ok || b == nil {
			return nil, errors.New("the end of a call without a beginning")
		}
		delete(open, pid)
		return parseCall(b.text+rest, b.start, n)
	}
	if before, ok := strings.CutSuffix(text, " <unfinished ...>"); ok {
		open[pid] = &begun{strings.TrimSuffix(before, ","), n}
		return nil, nil
	}
	return parseCall(text, n, n)
}

func parseCall(text string, start, end int) (*call, error) {
	name, rest, ok := strings.Cut(text, "(")
	at := strings.LastIndex(rest, ") = ")
	if i := strings.LastIndex(rest, ") "); at < 0 && i >= 0 { // strace pads short calls
		at = i
	}
	if !ok || at < 0 {
		return nil, errors.New("not a call")
	}
	_, result, _ := strings.Cut(rest[at:], "= ")
	c := &call{name: name, args: splitArgs(rest[:at]), result: result, start: start, end: end}
	if strings.HasPrefix(result, "?") {
		c.end = never
	}
	return c, nil
}

// splitArgs splits at commas outside of brackets. Strings and paths are in
// hexadecimal, so they hold none.
func splitArgs(s string) []string {
	var args []string
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 0 {
				args = append(args, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	return append(args, strings.TrimSpace(s[from:]))
}

// failed reports whether the call was seen to fail.
func (c *call) failed() bool { return strings.HasPrefix(c.result, "-1") }

// number is the call's result, or -1 where there is none.
func (c *call) number() int64 {
	digits, _, _ := strings.Cut(c.result, "<")
	digits, _, _ = strings.Cut(digits, " ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (c *call) arg(i int) string {
	if i < len(c.args) {
		return c.args[i]
	}
	return ""
}

func (c *call) int(i int) (int64, error) { return strconv.ParseInt(c.arg(i), 0, 64) }

// A descriptor is an argument like 5<path>.
type descriptor struct {
	number  string
	path    string
	deleted bool
}

func parseDescriptor(arg string) descriptor {
	number, rest, ok := strings.Cut(arg, "<")
	if !ok {
		return descriptor{number: arg}
	}
	path, rest, _ := strings.Cut(rest, ">")
	return descriptor{number, string(unhex(path)), strings.HasPrefix(rest, "(deleted)")}
}

// text is an argument that is a string.
func text(arg string) ([]byte, error) {
	if len(arg) < 2 || arg[0] != '"' || arg[len(arg)-1] != '"' {
		return nil, fmt.Errorf("%.40q is not a whole string", arg)
	}
	return unhex(arg[1 : len(arg)-1]), nil
}

// unhex reads \x12\x34, and leaves what is not like that as it is.
func unhex(s string) []byte {
	if len(s)%4 != 0 || !strings.HasPrefix(s, `\x`) {
		return []byte(s)
	}
	digits := bytes.ReplaceAll([]byte(s), []byte(`\x`), nil)
	b := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(b, digits); err != nil {
		return []byte(s)
	}
	return b
}

// written returns what a write, pwrite64, writev or pwritev writes.
func (c *call) written() ([]byte, error) {
	if !strings.Contains(c.name, "writev") {
		return text(c.arg(1))
	}
	var all []byte
	for _, piece := range strings.Split(c.arg(1), "iov_base=")[1:] {
		quoted, _, _ := strings.Cut(piece, ", iov_len")
		b, err := text(quoted)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}
