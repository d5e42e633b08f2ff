package deferd

import (
	"strings"
	"testing"
)

func TestParseLocation(t *testing.T) {
	for _, c := range []struct {
		uri  string
		want Location
		ok   bool
	}{
		{"s3://b/k", Location{"b", "k"}, true},
		{"s3://b", Location{"b", ""}, true},
		{"s3://b/", Location{"b", ""}, true},
		{"s3://b//k", Location{"b", "/k"}, true},
		{"s3://b/../x/./y", Location{"b", "../x/./y"}, true},
		{"s3://b/a%2Fb c+d?e#f", Location{"b", "a%2Fb c+d?e#f"}, true},
		{"s3:///k", Location{}, false},
		{"s3://", Location{}, false},
		{"https://b/k", Location{}, false},
		{"S3://b/k", Location{}, false},
		{"", Location{}, false},
	} {
		got, err := ParseLocation(c.uri)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("ParseLocation(%q) = %+v, %v, want %+v", c.uri, got, err, c.want)
		}
		if err != nil && CodeOf(err) != Invalid {
			t.Errorf("ParseLocation(%q): code %v, want invalid", c.uri, CodeOf(err))
		}
	}
}

func TestOutputLocation(t *testing.T) {
	for _, c := range []struct {
		path, extension, filename string
		output                    string
		failure                   string
	}{
		{"s3://b/out", "", "", "s3://b/out/ID.out", "s3://b/out/ID-error.out"},
		{"s3://b/out/", "", "", "s3://b/out/ID.out", "s3://b/out/ID-error.out"},
		{"s3://b/out//", "", "", "s3://b/out/ID.out", "s3://b/out/ID-error.out"},
		{"s3://b", "", "", "s3://b/ID.out", "s3://b/ID-error.out"},
		{"s3://b/", "/x/", "", "s3://b/x/ID.out", "s3://b/ID-error.out"},
		{"s3://b/out", "a/b", "r.json", "s3://b/out/a/b/r.json", "s3://b/out/ID-error.out"},
		{"s3://b/out", "a//b/../c", "r", "s3://b/out/a//b/../c/r", "s3://b/out/ID-error.out"},
		{"s3://b//lead", "", "r", "s3://b//lead/r", "s3://b//lead/ID-error.out"},
	} {
		path, err := ParseLocation(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := OutputLocation(path, c.extension, c.filename, "ID").String(); got != c.output {
			t.Errorf("output below %s with %q, %q is %s, want %s", c.path, c.extension, c.filename, got, c.output)
		}
		if got := FailureLocation(path, "ID").String(); got != c.failure {
			t.Errorf("failure below %s is %s, want %s", c.path, got, c.failure)
		}
	}
	if got := OutputLocation(Location{}, "x", "y", "ID"); !got.IsZero() || got.String() != "" {
		t.Errorf("without a path the output is at %s", got)
	}
}

func TestKeyTooLong(t *testing.T) {
	for n, want := range map[int]bool{1024: false, 1025: true} {
		if got := (Location{"b", strings.Repeat("k", n)}).KeyTooLong(); got != want {
			t.Errorf("a key of %d bytes is too long: %v", n, got)
		}
	}
}

func FuzzParseLocation(f *testing.F) {
	for _, seed := range []string{"s3://b/k", "s3://b", "s3:///", "https://b/k", "s3://b/\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		l, err := ParseLocation(uri)
		if err != nil {
			return
		}
		again, err := ParseLocation(l.String())
		if err != nil || again != l {
			t.Errorf("%q parses as %+v, which reads back as %+v, %v", uri, l, again, err)
		}
	})
}
