package main

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// An input is one of those that are sent.
type input struct {
	name     string // as it was given
	path     string // of a file
	location string // of an object
	stream   io.Reader
}

// gather turns what was given into inputs, and finds out what is not there
// before anything is sent.
func (o *invokeOptions) gather(stdin io.Reader) ([]input, error) {
	switch {
	case o.body == "-":
		return []input{{name: "-", stream: stdin}}, nil
	case o.body != "":
		return fileInput(o.body)
	case o.inputsFrom != "":
		return o.readList(stdin)
	}
	var all []input
	for n, name := range o.inputs {
		if name == "-" && !slices.Contains(o.inputs[:n], "-") {
			all = append(all, input{name: "-", stream: stdin})
			continue
		}
		some, err := inputsOf(name)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// readList reads inputs, one a line.
func (o *invokeOptions) readList(stdin io.Reader) ([]input, error) {
	if o.inputsFrom != "-" {
		f, err := os.Open(o.inputsFrom)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	var all []input
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		name := strings.TrimSpace(lines.Text())
		if name == "" {
			continue
		}
		some, err := inputsOf(name)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the list of inputs: %w", err)
	}
	if len(all) == 0 {
		return nil, usagef("the list of inputs is empty")
	}
	return all, nil
}

// inputsOf reads an input: an object, a file, or a pattern of files.
func inputsOf(name string) ([]input, error) {
	if isLocation(name) || strings.HasPrefix(name, "https://") {
		return []input{{name: name, location: name}}, nil
	}
	if _, err := os.Stat(name); err == nil || !strings.ContainsAny(name, "*?[") {
		return fileInput(name)
	}
	found, err := filepath.Glob(name)
	if err != nil {
		return nil, usagef("pattern %q: %v", name, err)
	}
	var all []input
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			all = append(all, input{name: path, path: path})
		}
	}
	if len(all) == 0 {
		return nil, &exitError{exitNotFound, fmt.Errorf("no file matches %s", name)}
	}
	return all, nil
}

func fileInput(name string) ([]input, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, usagef("%s is a directory: name its files, such as '%s'", name, filepath.Join(name, "*"))
	}
	return []input{{name: name, path: name}}, nil
}

// base is the last part of an input's name.
func (in input) base() string {
	switch {
	case in.path != "":
		return filepath.Base(in.path)
	case in.stream != nil:
		return "stdin"
	}
	name := in.location
	if u, err := url.Parse(name); err == nil && u.Scheme == "https" {
		name = u.Path
	}
	if base := path.Base(name); base != "." && base != "/" && base != ".." {
		return base
	}
	return "object"
}

// files decides where the result of each input is written; "" for nowhere.
// Results in one directory get names that no other has.
func (i *invoker) files() []string {
	files := make([]string, len(i.inputs))
	taken := map[string]int{}
	for n, in := range i.inputs {
		switch {
		case i.single():
		case i.o.out == "" && in.path != "":
			files[n] = in.path + ".out"
		case i.o.out == "": // a result whose input is in S3 stays there as well
		case len(i.inputs) == 1 && !isDirectory(i.o.out) && !strings.HasSuffix(i.o.out, "/"):
			files[n] = i.o.out
		default:
			name := in.base()
			taken[name]++
			if again := taken[name]; again > 1 {
				name = fmt.Sprintf("%s-%d", name, again)
			}
			files[n] = filepath.Join(i.o.out, name+".out")
		}
	}
	return files
}
