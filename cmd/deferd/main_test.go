package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// walk visits all commands that somebody may type.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

// TestExamples finds an example in each command's help, whose commands and flags
// exist.
func TestExamples(t *testing.T) {
	root := rootCommand()
	walk(root, func(cmd *cobra.Command) {
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			_, line, found := strings.Cut(strings.TrimRight(line, ")\"\n"), "deferd ")
			if !found {
				t.Errorf("%s: an example without deferd: %q", cmd.CommandPath(), line)
				continue
			}
			words := strings.Fields(line)
			named, rest, err := root.Find(words)
			if err != nil || named == root {
				t.Errorf("%s: the example %q runs nothing: %v", cmd.CommandPath(), line, err)
				continue
			}
			for _, word := range rest {
				if flag, isFlag := strings.CutPrefix(word, "--"); isFlag && named.Flags().Lookup(flag) == nil {
					t.Errorf("%s: %s has no flag --%s", cmd.CommandPath(), named.CommandPath(), flag)
				}
			}
		}
	})
}

// TestOutputFlags finds --output on each command that prints something but
// scripts, bytes and what servers say.
func TestOutputFlags(t *testing.T) {
	without := map[string]bool{"deferd": true, "deferd serve": true, "deferd demo": true, "deferd s3": true, "deferd credentials": true, "deferd s3 cat": true}
	walk(rootCommand(), func(cmd *cobra.Command) {
		if flag := cmd.Flags().Lookup("output"); (flag == nil) != without[cmd.CommandPath()] {
			t.Errorf("%s: --output is %v", cmd.CommandPath(), flag)
		}
	})
}
