package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deferd/deferd"
)

// Whatever images.yaml says, it is refused under its name, or every name in it
// is found and stands for something that can be run.
func FuzzImages(f *testing.F) {
	f.Add([]byte("images:\n  local/a:1:\n    command: [serve]\n    dir: /x\n    env: {A: b}\n    port: 80\n"), "local/a:1")
	f.Add([]byte("images:\n  host:5000/a:*:\n    command: [./a, b]\n"), "host:5000/a:v2")
	f.Add([]byte("images: {a: {command: [x]}, a: {command: [y]}}"), "a")
	f.Add([]byte("images: &a {b: {command: [*a]}}"), "*")
	f.Add([]byte("images:\n  a: null\n---\n- x"), "")
	f.Add([]byte("\xff\xfe\x00"), "\x00")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		path := filepath.Join(t.TempDir(), "images.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := LoadImages(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the refusal does not name the file: %v", err)
			}
			return
		}
		if _, err := file.Image(name); err != nil && deferd.CodeOf(err) != deferd.Invalid {
			t.Errorf("look up %q: %v", name, err)
		}
		for listed := range file.images {
			image, err := file.Image(listed)
			if err != nil || len(image.Command) == 0 || !filepath.IsAbs(image.Dir) {
				t.Errorf("%q stands for %+v, %v", listed, image, err)
			}
		}
	})
}
