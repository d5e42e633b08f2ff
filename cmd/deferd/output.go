package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A format is how a command prints: "text", for people, or "json", for
// programs. It is the value of --output.
type format string

const (
	textFormat format = "text"
	jsonFormat format = "json"
)

// String, Set and Type make a format the value of a flag.
func (f *format) String() string { return string(*f) }

func (f *format) Set(value string) error {
	switch format(value) {
	case textFormat, jsonFormat:
		*f = format(value)
		return nil
	}
	return fmt.Errorf("%q is neither text nor json", value)
}

func (f *format) Type() string { return "text|json" }

// addOutput gives a command the flag --output.
func addOutput(cmd *cobra.Command) *format {
	f := textFormat
	cmd.Flags().VarP(&f, "output", "o", "how to print: text or json")
	completeFlag(cmd, "output", func(*cobra.Command, string) []string { return []string{"text", "json"} })
	return &f
}

// printJSON prints a document for programs.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printCompact prints a document without an end of line.
func printCompact(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// printDone prints what was done to what: a line for each, or a document.
func printDone(w io.Writer, f format, done string, things ...string) error {
	if f == jsonFormat {
		return printJSON(w, map[string][]string{done: append([]string{}, things...)})
	}
	for _, thing := range things {
		if _, err := fmt.Fprintln(w, done, thing); err != nil {
			return err
		}
	}
	return nil
}

// printRows prints what there is to know of one thing, a line each; values that
// are empty are left out.
func printRows(w io.Writer, rows [][2]string) error {
	t := newTable(w)
	for _, row := range rows {
		if row[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	return t.Flush()
}

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

func showTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}

// showSize writes a number of bytes for people.
func showSize(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1000, 0
	for size >= 999.95 && unit < 4 {
		size, unit = size/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", size, "kMGTP"[unit])
}

// terminalWidth is how many columns there are where w leads; 0 where that is no
// terminal.
func terminalWidth(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	switch {
	case err != nil:
		return 0
	case size.Col == 0:
		return 80
	}
	return int(size.Col)
}

// A statusLine says what is going on: a line that changes on a terminal, and
// elsewhere a line for each change.
type statusLine struct {
	w     io.Writer
	width int // of the terminal; 0 where there is none
	turns int
	last  string
}

func newStatusLine(w io.Writer) *statusLine { return &statusLine{w: w, width: terminalWidth(w)} }

// show replaces what the line says. Detail is for terminals only: it may change
// all the time.
func (s *statusLine) show(text, detail string) {
	if s.width == 0 {
		if text != s.last {
			fmt.Fprintln(s.w, text)
		}
		s.last = text
		return
	}
	line := string(`|/-\`[s.turns%4]) + " " + text + detail
	s.turns++
	if r := []rune(line); len(r) >= s.width {
		line = string(r[:s.width-1])
	}
	fmt.Fprintf(s.w, "\r\x1b[K%s", line)
}

// clear makes room for something that stays.
func (s *statusLine) clear() {
	if s.width > 0 {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

// bar draws how much of a total is done.
func bar(done, total, width int) string {
	full := width
	if total > 0 {
		full = width * done / total
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}
