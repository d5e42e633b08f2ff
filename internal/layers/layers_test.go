package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/deferd/deferd"

// free are the directories whose packages may import whatever they like.
var free = []string{"cmd", "bench", "conformance", "examples"}

// allowed are the neighbours that a package may import besides the root. Each
// is a leaf: a protocol or a vocabulary that knows nothing of its users.
var allowed = map[string][]string{
	"internal/awsapi":     {"internal/awsmodel", "internal/sigv4"},
	"internal/objecttest": {"internal/faulty"},
	"internal/storetest":  {"internal/faulty"},
}

// meaningless are the names that say nothing about a package.
var meaningless = []string{"util", "utils", "common", "helper", "helpers", "misc", "models", "shared", "types"}

// A pkg is a package of this module without its tests.
type pkg struct {
	dir     string // below the module's root, which is "."
	name    string
	doc     string
	imports []string
}

func TestModule(t *testing.T) {
	pkgs, err := readModule(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.dir == "." }) {
		t.Fatal("the root package was not found")
	}
	for _, p := range pkgs {
		for _, complaint := range check(p) {
			t.Errorf("%s: %s", p.dir, complaint)
		}
	}
}

// TestCheck shows that TestModule can fail.
func TestCheck(t *testing.T) {
	const (
		root    = module
		library = "example.org/library"
	)
	internal := func(name string) string { return module + "/internal/" + name }
	doc := func(name string) string { return "Package " + name + " is one of them.\n" }
	for _, test := range []struct {
		name string
		pkg  pkg
		want []string
	}{
		{
			name: "root on the standard library",
			pkg:  pkg{dir: ".", name: "deferd", doc: doc("deferd"), imports: []string{"net/http"}},
		},
		{
			name: "root on a library",
			pkg:  pkg{dir: ".", name: "deferd", doc: doc("deferd"), imports: []string{library}},
			want: []string{"imports example.org/library: the root imports the standard library only"},
		},
		{
			name: "root on an adapter",
			pkg:  pkg{dir: ".", name: "deferd", doc: doc("deferd"), imports: []string{internal("sqlite")}},
			want: []string{"imports internal/sqlite: the root imports the standard library only"},
		},
		{
			name: "adapter on root and library",
			pkg:  pkg{dir: "internal/sqlite", name: "sqlite", doc: doc("sqlite"), imports: []string{root, library, "io"}},
		},
		{
			name: "adapter on adapter",
			pkg:  pkg{dir: "internal/process", name: "process", doc: doc("process"), imports: []string{internal("modeldata")}},
			want: []string{"imports internal/modeldata: it may import the root and libraries only"},
		},
		{
			name: "work on adapter",
			pkg:  pkg{dir: "internal/dispatch", name: "dispatch", doc: doc("dispatch"), imports: []string{internal("sqlite")}},
			want: []string{"imports internal/sqlite: it may import the root and libraries only"},
		},
		{
			name: "work on work",
			pkg:  pkg{dir: "internal/awsapi", name: "awsapi", doc: doc("awsapi"), imports: []string{internal("dispatch")}},
			want: []string{"imports internal/dispatch: it may import the root and libraries only"},
		},
		{
			name: "work on what it is allowed",
			pkg:  pkg{dir: "internal/awsapi", name: "awsapi", doc: doc("awsapi"), imports: []string{internal("sigv4"), internal("awsmodel")}},
		},
		{
			name: "within one directory",
			pkg:  pkg{dir: "internal/awsmodel/generate", name: "generate", doc: doc("generate"), imports: []string{internal("awsmodel"), internal("awsmodel/shape")}},
		},
		{
			name: "public package on an internal one",
			pkg:  pkg{dir: "client", name: "client", doc: doc("client"), imports: []string{internal("sqlite")}},
			want: []string{"imports internal/sqlite: it may import the root and libraries only"},
		},
		{
			name: "anything on cmd",
			pkg:  pkg{dir: "internal/agent", name: "agent", doc: doc("agent"), imports: []string{module + "/cmd/deferd"}},
			want: []string{"imports cmd/deferd: it may import the root and libraries only"},
		},
		{
			name: "cmd on anything",
			pkg:  pkg{dir: "cmd/deferd", name: "main", doc: "Command deferd is the program.", imports: []string{internal("sqlite"), internal("agent")}},
		},
		{
			name: "no package comment",
			pkg:  pkg{dir: "internal/agent", name: "agent"},
			want: []string{`has no package comment that begins with "Package agent "`},
		},
		{
			name: "meaningless name",
			pkg:  pkg{dir: "internal/sqlite/util", name: "util", doc: doc("util")},
			want: []string{"is called util, which says nothing"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, check(test.pkg)); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

// check returns what is wrong with p.
func check(p pkg) []string {
	var complaints []string
	if slices.Contains(meaningless, p.name) || slices.Contains(meaningless, path.Base(p.dir)) {
		complaints = append(complaints, fmt.Sprintf("is called %s, which says nothing", p.name))
	}
	want := "Package " + p.name + " "
	if p.name == "main" {
		want = "Command " + path.Base(p.dir) + " "
	}
	if !strings.HasPrefix(p.doc, want) {
		complaints = append(complaints, fmt.Sprintf("has no package comment that begins with %q", want))
	}
	for _, i := range p.imports {
		if why := forbidden(p.dir, i); why != "" {
			complaints = append(complaints, fmt.Sprintf("imports %s: %s", short(i), why))
		}
	}
	return complaints
}

// forbidden says why the package in dir may not import what it imports, or "".
func forbidden(dir, imported string) string {
	if dir == "." {
		if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
			return "the root imports the standard library only"
		}
		return ""
	}
	if slices.Contains(free, top(dir, 1)) {
		return ""
	}
	inside, ok := strings.CutPrefix(imported, module+"/")
	switch {
	case !ok: // the root or a library
		return ""
	case top(inside, 2) == top(dir, 2):
		return ""
	case slices.Contains(allowed[top(dir, 2)], inside):
		return ""
	}
	return "it may import the root and libraries only"
}

// top returns the first n elements of a slash-separated path.
func top(p string, n int) string {
	elements := strings.SplitN(p, "/", n+1)
	return strings.Join(elements[:min(n, len(elements))], "/")
}

func short(imported string) string { return strings.TrimPrefix(imported, module+"/") }

// readModule reads the packages below dir, for every platform and build tag.
func readModule(dir string) ([]pkg, error) {
	pkgs := map[string]*pkg{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch base := d.Name(); {
		case d.IsDir() && name != dir && isSkipped(base):
			return filepath.SkipDir
		case d.IsDir(), !strings.HasSuffix(base, ".go"), strings.HasSuffix(base, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(dir, filepath.Dir(name))
		if err != nil {
			return err
		}
		p := pkgs[rel]
		if p == nil {
			p = &pkg{dir: filepath.ToSlash(rel)}
			pkgs[rel] = p
		}
		return p.add(name)
	})
	if err != nil {
		return nil, err
	}
	sorted := make([]pkg, 0, len(pkgs))
	for _, rel := range slices.Sorted(maps.Keys(pkgs)) {
		if p := pkgs[rel]; p.name != "" {
			sorted = append(sorted, *p)
		}
	}
	return sorted, nil
}

// isSkipped reports whether the go command does not look into a directory with
// this name, or has no business there.
func isSkipped(base string) bool {
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules"
}

// add reads a file of p.
func (p *pkg) add(file string) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	if isIgnored(f) {
		return nil
	}
	p.name = f.Name.Name
	if f.Doc != nil && p.doc == "" {
		p.doc = f.Doc.Text()
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		if !slices.Contains(p.imports, imported) {
			p.imports = append(p.imports, imported)
		}
	}
	return nil
}

// isIgnored reports whether f is a program of its own, kept out of its
// directory's package by "//go:build ignore".
func isIgnored(f *ast.File) bool {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if c.Pos() < f.Package && c.Text == "//go:build ignore" {
				return true
			}
		}
	}
	return false
}
