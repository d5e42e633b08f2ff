package conformance

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// A block is one fenced block of a document.
type block struct {
	line     int    // of its fence, in the document
	language string // the first word behind the fence
	file     string // the second: the name that the block is to be saved under
	prose    string // what stands between the block before and this one
	text     string
}

var fence = regexp.MustCompile("^( *)```(\\S*) *(.*?) *$")

// parseDocument returns the fenced blocks of a Markdown document.
func parseDocument(markdown string) ([]block, error) {
	var blocks []block
	var prose, text strings.Builder
	var open *block
	indent := ""
	number := 0
	for line := range strings.Lines(markdown) {
		number++
		m := fence.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		switch {
		case open == nil && m == nil:
			prose.WriteString(line)
		case open == nil:
			indent = m[1]
			open = &block{line: number, language: m[2], file: m[3], prose: prose.String()}
			prose.Reset()
		case m == nil || m[2] != "":
			text.WriteString(strings.TrimPrefix(line, indent))
		default:
			open.text = text.String()
			blocks, open = append(blocks, *open), nil
			text.Reset()
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block is never closed", open.line)
	}
	return blocks, nil
}

func readDocument(path string) ([]block, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseDocument(string(data))
}

// showsOutput says whether the block shows what the one before it prints: it
// has no language, and nothing stands between the two.
func (b block) showsOutput() bool {
	return b.language == "" && strings.TrimSpace(b.prose) == ""
}

// checkOutput returns an error unless each line that is shown is among those
// printed, in the same order. In a shown line "…" stands for anything. Spaces
// only separate.
func checkOutput(shown, printed string) error {
	lines := strings.Split(printed, "\n")
	for want := range strings.Lines(shown) {
		pattern := regexp.QuoteMeta(strings.Join(strings.Fields(want), " "))
		re, err := regexp.Compile("^" + strings.ReplaceAll(pattern, "…", ".*") + "$")
		if err != nil {
			return err
		}
		found := false
		for !found && len(lines) > 0 {
			found = re.MatchString(strings.Join(strings.Fields(lines[0]), " "))
			lines = lines[1:]
		}
		if !found {
			return fmt.Errorf("the document shows %q there, which was not printed", strings.TrimSpace(want))
		}
	}
	return nil
}
