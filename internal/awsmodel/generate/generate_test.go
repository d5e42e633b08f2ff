package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The Go files of package awsmodel are what the models give.
func TestGeneratedFilesAreFresh(t *testing.T) {
	dir := t.TempDir()
	if err := generate("../models", dir); err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		name := s.name + "_gen.go"
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run go generate in internal/awsmodel", name)
		}
	}
}

// Trimming what was trimmed changes nothing but the note on the source, so the
// models hold what the operations need and no more.
func TestModelsAreTrimmed(t *testing.T) {
	data, out := t.TempDir(), t.TempDir()
	for _, s := range services {
		dir := filepath.Join(data, filepath.FromSlash(s.data))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		model, err := os.ReadFile(filepath.Join("../models", s.name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "service-2.json"), model, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := trim(data, "0", out); err != nil {
		t.Fatal(err)
	}
	source := regexp.MustCompile(`"source": "[^"]*"`)
	for _, s := range services {
		a, err := os.ReadFile(filepath.Join("../models", s.name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(out, s.name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(source.ReplaceAll(a, nil), source.ReplaceAll(b, nil)) {
			t.Errorf("%s.json is not what trim makes of it", s.name)
		}
	}
}

func TestRewrittenPatterns(t *testing.T) {
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{`\p{ASCII}*`, []string{"", "a\x00\x7f"}, []string{"é"}},
		{`\A\S[\p{Print}]*\z`, []string{"a", "a b~"}, []string{"", " a", "a\n", "aé"}},
		{`\p{Print}+`, []string{"a b~"}, []string{"", "a\n", "é"}},
		{`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*`, []string{"", "é \U0001F600\n"}, []string{"\x00", "\x1f"}},
		{
			`(?!((^[ ]+.*)|(.*([\u0000-\u001f]|[\u007f-\u009f]|[:/|])+.*)|(.*[ ]+$))).+`,
			[]string{"a", "a b", "é-1"}, []string{"", " a", "a ", "a/b", "a:b", "a|b", "a\nb", "a\u0085"},
		},
		{`[\u0020-\uD7FF]+`, []string{"é "}, []string{"\t"}},
		{`(?!\s*$).+`, []string{"a", " a "}, []string{"", "  ", "a\nb"}},
		{`/(?!.*\.\.)[a-zA-Z0-9/_.\-]+`, []string{"/a", "/.", "/a.b/c.", "/-"}, []string{"/", "/..", "/a..b", "a", "/a b"}},
		{
			`(arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:[a-z\-]*\/)?([a-zA-Z0-9]([a-zA-Z0-9-]){0,62})(?<!-)(\/[0-9]{1,9})?`,
			[]string{"a", "a-b/1", strings.Repeat("a", 63), "arn:aws:sagemaker:us-east-1:123456789012:model-package/m/3"},
			[]string{"a-", "a-/1", "-a", strings.Repeat("a", 64), "a/1234567890"},
		},
		{`^(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_\.]*$`, []string{"a", "a.", "a-_.b"}, []string{"", ".a", "a.b.", "a.."}},
	}
	for _, tt := range tests {
		t.Run(tt.pattern, func(t *testing.T) {
			p, err := re2(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			re := regexp.MustCompile(`\A(?:` + p + `)\z`)
			for _, s := range tt.yes {
				if !re.MatchString(s) {
					t.Errorf("%s does not match %q", p, s)
				}
			}
			for _, s := range tt.no {
				if re.MatchString(s) {
					t.Errorf("%s matches %q", p, s)
				}
			}
		})
	}
	if _, err := re2(`(?=new)lookahead`); err == nil {
		t.Error("a look-ahead that nobody rewrote was taken")
	}
}
