package faulty

import (
	"fmt"
	"reflect"
	"slices"
)

// Uncovered holds the methods of contract T against those that a suite fails,
// and says what is left out, and what is no method of it.
func Uncovered[T any](covered []string) (complaints []string) {
	var methods []string
	for m := range reflect.TypeFor[T]().Methods() {
		methods = append(methods, m.Name)
		if !slices.Contains(covered, m.Name) {
			complaints = append(complaints, fmt.Sprintf("%s is left out", m.Name))
		}
	}
	for _, name := range covered {
		if !slices.Contains(methods, name) {
			complaints = append(complaints, fmt.Sprintf("%s is no method", name))
		}
	}
	return complaints
}
