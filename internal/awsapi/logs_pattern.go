package awsapi

import "strings"

// A filterPattern is what CloudWatch Logs filters unstructured lines by. The
// zero value matches every line.
type filterPattern struct {
	all, none []string // terms that must, and must not, be in a line
	any       []string // terms of which one must be
}

// matches reports whether a line has what the pattern asks for; case counts.
func (f filterPattern) matches(line string) bool {
	for _, term := range f.all {
		if !strings.Contains(line, term) {
			return false
		}
	}
	for _, term := range f.none {
		if strings.Contains(line, term) {
			return false
		}
	}
	for _, term := range f.any {
		if strings.Contains(line, term) {
			return true
		}
	}
	return f.any == nil
}

// parsePattern reads terms and quoted phrases, each with "-" or "?" before it
// where it must not be there or is one of several. Patterns for JSON, for lines
// of columns and regular expressions are refused.
func parsePattern(text string) (f filterPattern, err error) {
	rest := strings.TrimSpace(text)
	if rest != "" && strings.ContainsAny(rest[:1], "{[") {
		return f, invalidLogs("Invalid filter pattern: patterns for JSON and for columns are not offered; use terms and quoted phrases.")
	}
	for rest != "" {
		list := &f.all
		switch rest[0] {
		case '-':
			list, rest = &f.none, rest[1:]
		case '?':
			list, rest = &f.any, rest[1:]
		}
		var term string
		if term, rest, err = nextTerm(rest); err != nil {
			return f, err
		}
		*list = append(*list, term)
		rest = strings.TrimLeft(rest, " \t\n")
	}
	if f.any != nil && f.all != nil {
		return f, invalidLogs("Invalid filter pattern: terms with ? cannot stand beside terms without.")
	}
	return f, nil
}

// nextTerm takes a term or a quoted phrase from the beginning of a pattern.
func nextTerm(text string) (term, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " \t\n")
		if end < 0 {
			end = len(text)
		}
		term, rest = text[:end], text[end:]
		switch {
		case term == "":
			return "", "", invalidLogs("Invalid filter pattern: a term is missing.")
		case strings.HasPrefix(term, "%"):
			return "", "", invalidLogs("Invalid filter pattern: regular expressions are not offered; use terms and quoted phrases.")
		case strings.Contains(term, `"`):
			return "", "", invalidLogs("Invalid filter pattern: a quotation mark inside a term.")
		}
		return term, rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\'):
			i++
			b.WriteByte(text[i])
		case text[i] == '"':
			if rest := text[i+1:]; rest != "" && !strings.ContainsAny(rest[:1], " \t\n") {
				return "", "", invalidLogs("Invalid filter pattern: a blank is missing after a phrase.")
			}
			return b.String(), text[i+1:], nil
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", invalidLogs("Invalid filter pattern: a phrase has no end.")
}
