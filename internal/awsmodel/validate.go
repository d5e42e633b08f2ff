package awsmodel

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A ValidationError lists everything in a request that violates a constraint.
type ValidationError struct {
	Violations []string // each as AWS phrases it
}

// Error returns AWS's text for all violations.
func (e *ValidationError) Error() string {
	s := "s"
	if len(e.Violations) == 1 {
		s = ""
	}
	return fmt.Sprintf("%d validation error%s detected: %s", len(e.Violations), s, strings.Join(e.Violations, "; "))
}

// A constraint is what the model demands of the values of a shape. Min and max
// bound the value of a number and the length of everything else.
type constraint struct {
	shape     string // service and name in the model, as in "runtime.Filename"
	min, max  bound
	enum      []string // sorted
	pattern   *pattern
	sensitive bool // values are not repeated in violations
}

// A bound is a minimum or maximum; the zero value is none.
type bound struct {
	n   int64
	set bool
}

func to(n int64) bound { return bound{n, true} }

// A pattern matches whole values. It is compiled when it is first needed: most
// are not in the life of most processes.
type pattern struct {
	text  string // as violations print it
	regex func() *regexp.Regexp
}

func newPattern(text, re2 string) *pattern {
	return &pattern{text, sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\A(?:` + re2 + `)\z`)
	})}
}

// validator is a type that has constraints.
type validator interface{ check(c *checker) }

// validate checks a whole request.
func validate(v validator, l Limits) error {
	c := checker{limits: l}
	v.check(&c)
	if c.violations == nil {
		return nil
	}
	return &ValidationError{c.violations}
}

// A checker walks a request and collects violations.
type checker struct {
	limits     Limits
	prefix     string // path of the structure that is being checked, with a dot at its end
	violations []string
}

// violate notes a violation. The printed value comes with its quotes, or is
// empty where it is not to be shown.
func (c *checker) violate(at, printed, rule string) {
	if printed != "" {
		printed += " "
	}
	c.violations = append(c.violations, fmt.Sprintf("Value %sat '%s%s' failed to satisfy constraint: %s", printed, c.prefix, at, rule))
}

// present reports whether there is a value to check, and notes the violation
// where there must be one.
func (c *checker) present(at string, present, required bool) bool {
	if !present && required {
		c.violate(at, "null", "Member must not be null")
	}
	return present
}

func (c *checker) text(at string, v *string, required bool, k *constraint) {
	if !c.present(at, v != nil, required) {
		return
	}
	rule := c.rule(k)
	printed := "'" + *v + "'"
	if rule.sensitive {
		printed = ""
	}
	for _, broken := range rule.brokenBy(*v) {
		c.violate(at, printed, broken)
	}
}

func (c *checker) blob(at string, v []byte, required bool, k *constraint) {
	if !c.present(at, v != nil, required) {
		return
	}
	for _, broken := range c.rule(k).lengthBrokenBy(int64(len(v))) {
		c.violate(at, "", broken)
	}
}

func checkNumber[T int32 | int64 | float32 | float64](c *checker, at string, v *T, required bool, k *constraint) {
	if !c.present(at, v != nil, required) {
		return
	}
	rule := c.rule(k)
	printed := "'" + strconv.FormatFloat(float64(*v), 'f', -1, 64) + "'"
	if rule.min.set && *v < T(rule.min.n) {
		c.violate(at, printed, rule.atLeast("value"))
	}
	if rule.max.set && *v > T(rule.max.n) {
		c.violate(at, printed, rule.atMost("value"))
	}
}

// texts checks a list of strings. AWS reports a bad item as a fault of the list.
func (c *checker) texts(at string, v []string, required bool, list, item *constraint) {
	if !c.present(at, v != nil, required) {
		return
	}
	printed := "'[" + strings.Join(v, ", ") + "]'"
	c.length(at, printed, len(v), list)
	rule := c.rule(item)
	if slices.ContainsFunc(v, func(s string) bool { return rule.brokenBy(s) != nil }) {
		c.violate(at, printed, "Member must satisfy constraint: "+rule.all())
	}
}

// numbers checks a list of numbers, which have no constraints of their own.
func (c *checker) numbers(at string, v []float64, required bool, list *constraint) {
	if c.present(at, v != nil, required) {
		c.length(at, "", len(v), list)
	}
}

// textMap checks a map of strings. Its values are often secrets, so they are
// never printed.
func (c *checker) textMap(at string, v map[string]string, required bool, m, key, value *constraint) {
	if !c.present(at, v != nil, required) {
		return
	}
	c.length(at, "", len(v), m)
	keys, values := c.rule(key), c.rule(value)
	badKey, badValue := false, false
	for k, s := range v {
		badKey = badKey || keys.brokenBy(k) != nil
		badValue = badValue || values.brokenBy(s) != nil
	}
	if badKey {
		c.violate(at, "", "Map keys must satisfy constraint: "+keys.all())
	}
	if badValue {
		c.violate(at, "", "Map value must satisfy constraint: "+values.all())
	}
}

// length checks how many items a list or map has.
func (c *checker) length(at, printed string, n int, k *constraint) {
	for _, broken := range c.rule(k).lengthBrokenBy(int64(n)) {
		c.violate(at, printed, broken)
	}
}

// checkStruct checks a structure inside another one.
func checkStruct[T any, P interface {
	*T
	validator
}](c *checker, at string, v P, required bool) {
	if c.present(at, v != nil, required) {
		c.within(at, v)
	}
}

// checkStructs checks a list of structures, and each of them.
func checkStructs[T any, P interface {
	*T
	validator
}](c *checker, at string, v []T, required bool, list *constraint) {
	if !c.present(at, v != nil, required) {
		return
	}
	printed := ""
	if len(v) == 0 {
		printed = "'[]'"
	}
	c.length(at, printed, len(v), list)
	for i := range v {
		c.within(fmt.Sprintf("%s.%d.member", at, i+1), P(&v[i]))
	}
}

func (c *checker) within(at string, v validator) {
	outer := c.prefix
	c.prefix += at + "."
	v.check(c)
	c.prefix = outer
}

// brokenBy lists the rules that s breaks; nil for none.
func (k *constraint) brokenBy(s string) []string {
	broken := k.lengthBrokenBy(int64(utf8.RuneCountInString(s)))
	if k.enum != nil && !slices.Contains(k.enum, s) {
		broken = append(broken, k.oneOf())
	}
	if k.pattern != nil && !k.pattern.regex().MatchString(s) {
		broken = append(broken, k.matching())
	}
	return broken
}

func (k *constraint) lengthBrokenBy(n int64) []string {
	var broken []string
	if k.min.set && n < k.min.n {
		broken = append(broken, k.atLeast("length"))
	}
	if k.max.set && n > k.max.n {
		broken = append(broken, k.atMost("length"))
	}
	return broken
}

// all lists the rules of k, broken or not.
func (k *constraint) all() string {
	var rules []string
	if k.max.set {
		rules = append(rules, k.atMost("length"))
	}
	if k.min.set {
		rules = append(rules, k.atLeast("length"))
	}
	if k.enum != nil {
		rules = append(rules, k.oneOf())
	}
	if k.pattern != nil {
		rules = append(rules, k.matching())
	}
	return "[" + strings.Join(rules, ", ") + "]"
}

func (k *constraint) atLeast(what string) string {
	return fmt.Sprintf("Member must have %s greater than or equal to %d", what, k.min.n)
}

func (k *constraint) atMost(what string) string {
	return fmt.Sprintf("Member must have %s less than or equal to %d", what, k.max.n)
}

func (k *constraint) oneOf() string {
	return "Member must satisfy enum value set: [" + strings.Join(k.enum, ", ") + "]"
}

func (k *constraint) matching() string {
	return "Member must satisfy regular expression pattern: " + k.pattern.text
}
