package main

import (
	"fmt"
	"regexp"
	"strings"
)

// byHand has, for each of AWS's patterns with a look-around, a pattern that
// takes the same strings without one.
var byHand = map[string]string{
	// At most one dot.
	`^(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_\.]*$`: `[a-zA-Z0-9][a-zA-Z0-9_-]*(?:\.[a-zA-Z0-9_-]*)?`,
	// There is no colon in the class, so nothing that it takes begins like this.
	`^(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+$`: `[a-zA-Z0-9!_.*'()/-]+`,
	// Not only blanks.
	`(?!\s*$).+`: `.*\S.*`,
	// The name does not end in a hyphen.
	`(arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:[a-z\-]*\/)?([a-zA-Z0-9]([a-zA-Z0-9-]){0,62})(?<!-)(\/[0-9]{1,9})?`: `(?:arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:[a-z\-]*/)?[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:/[0-9]{1,9})?`,
	// A class outside brackets.
	`\p{Print}+`: `[\x20-\x7E]+`,
	// The last class is of what UTF-16 takes two words for.
	`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*`: `[\x{20}-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}\r\n\t]*`,
	// No control characters, colons, slashes and bars, no blanks at either end.
	`(?!((^[ ]+.*)|(.*([\u0000-\u001f]|[\u007f-\u009f]|[:/|])+.*)|(.*[ ]+$))).+`: `[^\x00-\x20\x7F-\x{9F}:/|](?:[^\x00-\x1F\x7F-\x{9F}:/|]*[^\x00-\x20\x7F-\x{9F}:/|])?`,
	// No two dots in a row.
	`/(?!.*\.\.)[a-zA-Z0-9/_.\-]+`: `/(?:(?:\.?[a-zA-Z0-9/_\-])+\.?|\.)`,
}

// classes are the named classes of Java that RE2 lacks, as they stand inside
// brackets.
var classes = strings.NewReplacer(`\p{ASCII}`, `\x00-\x7F`, `\p{Print}`, `\x20-\x7E`, `\p{Alnum}`, `a-zA-Z0-9`)

var javaEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

// re2 rewrites a pattern of AWS's, in the dialect of Java, as one of Go's that
// takes the same strings when it matches the whole value.
func re2(pattern string) (string, error) {
	if p, ok := byHand[pattern]; ok {
		return p, check(pattern, p)
	}
	p := javaEscape.ReplaceAllString(pattern, `\x{$1}`)
	if after, ok := strings.CutPrefix(p, `\p{ASCII}`); ok {
		p = `[\p{ASCII}]` + after // the one use outside brackets
	}
	p = classes.Replace(p)
	return p, check(pattern, p)
}

func check(pattern, p string) error {
	if _, err := regexp.Compile(`\A(?:` + p + `)\z`); err != nil {
		return fmt.Errorf("pattern %q needs a rewrite by hand: %w", pattern, err)
	}
	return nil
}
