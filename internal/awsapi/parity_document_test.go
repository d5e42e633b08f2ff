package awsapi

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A verdict is what docs/parity.md says of an operation or a member.
type verdict string

const (
	honoured verdict = "honoured"
	stored   verdict = "stored"
	refused  verdict = "refused"
)

// A parityRow is a line of a table: the same verdict on all that it names.
type parityRow struct {
	names   []string // a member's path; one that ends in "*" means all below
	verdict verdict
	note    string
	line    int
}

// A parityTable is a table of docs/parity.md: of operations, or of the members
// of the operations that its heading names.
type parityTable struct {
	service string
	of      []string // the operations; nil in a table of operations
	rows    []parityRow
}

// A parityDoc is docs/parity.md.
type parityDoc struct{ tables []parityTable }

// operations returns the rows on a service's operations.
func (d parityDoc) operations(service string) (rows []parityRow) {
	for _, t := range d.tables {
		if t.service == service && t.of == nil {
			rows = append(rows, t.rows...)
		}
	}
	return rows
}

// members returns the rows on an operation's members.
func (d parityDoc) members(service, operation string) (rows []parityRow) {
	for _, t := range d.tables {
		for _, of := range t.of {
			if t.service == service && of == operation {
				rows = append(rows, t.rows...)
			}
		}
	}
	return rows
}

// allOperations is the heading of a table of the members of all of a service's
// operations.
const allOperations = "Members of all operations"

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	others   = regexp.MustCompile(`^every other operation \(([0-9]+)\)$`)
)

// parseParity reads the tables of the document, and complains of what is not
// in their form.
func parseParity(text string) (d parityDoc, complaints []string) {
	complain := func(line int, format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
	}
	service, heading := "", ""
	var table *parityTable
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		if rest, ok := strings.CutPrefix(line, "## "); ok {
			service, heading = rest, ""
		}
		if rest, ok := strings.CutPrefix(line, "### "); ok {
			heading = rest
		}
		if !strings.HasPrefix(line, "|") {
			table = nil
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 3 || !strings.HasSuffix(line, "|") {
			complain(n, "is not three cells between bars")
			continue
		}
		if table == nil {
			d.tables = append(d.tables, parityTable{service: service})
			table = &d.tables[len(d.tables)-1]
			switch strings.Join(cells, "|") {
			case "operation|verdict|note":
			case "member|verdict|note":
				if table.of = spans(heading); heading == allOperations {
					table.of = []string{allOperations}
				} else if table.of == nil {
					complain(n, "is a table of members below no operation")
				}
			default:
				complain(n, "is no head of a table: %s", line)
			}
			continue
		}
		if strings.Trim(strings.Join(cells, ""), "-") == "" {
			continue
		}
		row := parityRow{names: spans(cells[0]), verdict: verdict(cells[1]), note: cells[2], line: n}
		if others.MatchString(cells[0]) {
			row.names = []string{cells[0]}
		}
		if row.names == nil {
			complain(n, "names nothing: %s", cells[0])
		}
		if row.verdict != honoured && row.verdict != stored && row.verdict != refused {
			complain(n, "has the verdict %q", row.verdict)
		}
		table.rows = append(table.rows, row)
	}
	return d, complaints
}

// spans returns what a list of code spans, separated by commas, names; nil if
// it is none.
func spans(list string) (names []string) {
	if strings.Trim(codeSpan.ReplaceAllString(list, ""), ", ") != "" {
		return nil
	}
	for _, span := range codeSpan.FindAllStringSubmatch(list, -1) {
		names = append(names, span[1])
	}
	return names
}

// covers reports whether a row's name stands for a member.
func covers(name, member string) bool {
	if prefix, ok := strings.CutSuffix(name, ".*"); ok {
		return strings.HasPrefix(member, prefix+".")
	}
	return name == member
}

// find returns the row on a member, and the name in it that covers it.
func find(rows []parityRow, member string) (parityRow, string) {
	for _, row := range rows {
		for _, name := range row.names {
			if covers(name, member) {
				return row, name
			}
		}
	}
	return parityRow{}, ""
}

// uncovered complains of members that not exactly one row is about, and of
// rows that are about no member.
func uncovered(operation string, rows []parityRow, members []string) (complaints []string) {
	used := map[string]bool{}
	for _, member := range members {
		by := 0
		for _, row := range rows {
			for _, name := range row.names {
				if covers(name, member) {
					used[name] = true
					by++
				}
			}
		}
		if by != 1 {
			complaints = append(complaints, fmt.Sprintf("%s: %d rows are about %s", operation, by, member))
		}
	}
	for _, row := range rows {
		for _, name := range row.names {
			if !used[name] {
				complaints = append(complaints, fmt.Sprintf("line %d: %s has no member %s", row.line, operation, name))
			}
		}
	}
	return complaints
}

// valueVerdict is how a note excepts a value from its row's verdict.
var valueVerdict = regexp.MustCompile("`([^`]+)` is (honoured|stored|refused)")

// on returns the verdict on one value of a row's member.
func (r parityRow) on(value any) verdict {
	for _, m := range valueVerdict.FindAllStringSubmatch(r.note, -1) {
		if m[1] == fmt.Sprint(value) {
			return verdict(m[2])
		}
	}
	return r.verdict
}

// atEndpoint reports whether a row's member is kept by CreateEndpointConfig and
// refused by CreateEndpoint.
func (r parityRow) atEndpoint() bool { return strings.Contains(r.note, "at `CreateEndpoint`") }

// readParity reads docs/parity.md.
func readParity(t *testing.T) parityDoc {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "parity.md"))
	if err != nil {
		t.Fatal(err)
	}
	d, complaints := parseParity(string(text))
	for _, c := range complaints {
		t.Errorf("docs/parity.md: %s", c)
	}
	return d
}
