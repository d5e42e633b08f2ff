package modeldata

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// objects is an object store for reading, with keys of one bucket.
type objects struct {
	deferd.ObjectStore
	content map[string]string
	gets    []deferd.GetObject
	onGet   func(n int, body io.Reader) (io.Reader, error) // the n-th Get, from 1; may be nil
}

func (o *objects) Get(_ context.Context, l deferd.Location, g deferd.GetObject) (*deferd.Object, error) {
	o.gets = append(o.gets, g)
	content, ok := o.content[l.Key]
	if !ok || l.Bucket != "bucket" {
		return nil, deferd.Errorf(deferd.NotFound, "NoSuchKey")
	}
	var body io.Reader = strings.NewReader(content[g.Offset:])
	if o.onGet != nil {
		var err error
		if body, err = o.onGet(len(o.gets), body); err != nil {
			return nil, err
		}
	}
	return &deferd.Object{
		ObjectInfo: deferd.ObjectInfo{Key: l.Key, Size: int64(len(content)), ETag: "etag"},
		Body:       io.NopCloser(body),
	}, nil
}

func (o *objects) List(_ context.Context, l deferd.Location) iter.Seq2[deferd.ObjectInfo, error] {
	return func(yield func(deferd.ObjectInfo, error) bool) {
		if l.Bucket != "bucket" {
			yield(deferd.ObjectInfo{}, deferd.Errorf(deferd.NotFound, "NoSuchBucket"))
			return
		}
		for _, key := range slices.Sorted(maps.Keys(o.content)) {
			if strings.HasPrefix(key, l.Key) && !yield(deferd.ObjectInfo{Key: key}, nil) {
				return
			}
		}
	}
}

// entry is an entry of an archive; a file unless it has a type.
type entry struct {
	name, content, link string
	kind                byte
	mode                int64
}

// archive packs entries. Its headers are written as they are.
func archive(t testing.TB, entries ...entry) string {
	t.Helper()
	var packed bytes.Buffer
	zipper := gzip.NewWriter(&packed)
	w := tar.NewWriter(zipper)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Size: int64(len(e.content)), Mode: e.mode}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipper.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.String()
}

// tree reads a directory: files as their content, directories with a slash at
// the name's end, links as "-> " and where they point.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
		case d.IsDir():
			found[name+"/"] = ""
		case d.Type() == fs.ModeSymlink:
			var to string
			to, err = os.Readlink(path)
			found[name] = "-> " + to
		default:
			var content []byte
			content, err = os.ReadFile(path)
			found[name] = string(content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func at(key string) deferd.Location { return deferd.Location{Bucket: "bucket", Key: key} }

func TestFetch(t *testing.T) {
	packed := archive(t,
		entry{name: "./", kind: tar.TypeDir, mode: 0o755},
		entry{name: "./code/inference.py", content: "import this", mode: 0o644},
		entry{name: "weights.bin", content: "1234"},
		entry{name: "empty/", kind: tar.TypeDir},
		entry{name: "code/latest.py", kind: tar.TypeSymlink, link: "../code/inference.py"},
		entry{name: "twin.bin", kind: tar.TypeLink, link: "weights.bin"},
		entry{name: "later", kind: tar.TypeSymlink, link: "not/yet"},
	)
	unpacked := map[string]string{
		"code/": "", "code/inference.py": "import this", "code/latest.py": "-> ../code/inference.py",
		"weights.bin": "1234", "twin.bin": "1234", "empty/": "", "later": "-> not/yet",
	}
	content := map[string]string{
		"model.tar.gz":     packed,
		"models/a/w.bin":   "w",
		"models/a/":        "",
		"models/a/sub/":    "",
		"models/a/sub/x/y": "y",
		"models/ab/no":     "no",
		"zip/one.tar.gz":   archive(t, entry{name: "one", content: "1"}),
		"zip/two.tgz":      archive(t, entry{name: "two", content: "2"}),
		"zip/readme":       "read me",
		"many.tar.gz":      archive(t, entry{name: "a", content: "1"}, entry{name: "a", content: "22"}),
	}
	below := map[string]string{"w.bin": "w", "sub/": "", "sub/x/": "", "sub/x/y": "y"}
	for _, test := range []struct {
		name string
		data deferd.ModelData
		want map[string]string
	}{
		{"none", deferd.ModelData{}, map[string]string{}},
		{"archive", deferd.ModelData{Location: at("model.tar.gz"), Gzip: true}, unpacked},
		{"archive as it is", deferd.ModelData{Location: at("model.tar.gz")}, map[string]string{"model.tar.gz": packed}},
		{"object", deferd.ModelData{Location: at("models/a/w.bin")}, map[string]string{"w.bin": "w"}},
		{"prefix", deferd.ModelData{Location: at("models/a/"), Prefix: true}, below},
		{"prefix without slash", deferd.ModelData{Location: at("models/a"), Prefix: true}, below},
		{"prefix of archives", deferd.ModelData{Location: at("zip/"), Prefix: true, Gzip: true},
			map[string]string{"one": "1", "two": "2", "readme": "read me"}},
		{"same name twice", deferd.ModelData{Location: at("many.tar.gz"), Gzip: true}, map[string]string{"a": "22"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			f := &Fetcher{Objects: &objects{content: content}}
			if err := f.Fetch(t.Context(), test.data, dir); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, tree(t, dir)); diff != "" {
				t.Errorf("directory (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFetchMissing(t *testing.T) {
	for _, test := range []struct {
		name string
		data deferd.ModelData
		code deferd.Code
	}{
		{"object", deferd.ModelData{Location: at("m/none")}, deferd.NotFound},
		{"archive", deferd.ModelData{Location: at("m/none.tar.gz"), Gzip: true}, deferd.NotFound},
		{"prefix", deferd.ModelData{Location: at("m/none/"), Prefix: true}, deferd.NotFound},
		{"bucket", deferd.ModelData{Location: deferd.Location{Bucket: "other"}, Prefix: true}, deferd.NotFound},
		{"directory", deferd.ModelData{Location: at("m/")}, deferd.Invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &Fetcher{Objects: &objects{content: map[string]string{"m/": ""}}}
			err := f.Fetch(t.Context(), test.data, t.TempDir())
			if got := deferd.CodeOf(err); got != test.code {
				t.Errorf("code %v, want %v", got, test.code)
			}
			if err == nil || !strings.Contains(err.Error(), test.data.Location.String()) {
				t.Errorf("error %v does not name %s", err, test.data.Location)
			}
		})
	}
}

func TestEvilArchives(t *testing.T) {
	good := archive(t, entry{name: "a", content: strings.Repeat("some content ", 100)})
	flipped := []byte(good)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	for _, test := range []struct {
		name    string
		content string
		culprit string // must be in the message
	}{
		{"parent", archive(t, entry{name: "../evil"}), `"../evil"`},
		{"parent within", archive(t, entry{name: "a/../../evil"}), `"a/../../evil"`},
		{"parent directory", archive(t, entry{name: "../evil/", kind: tar.TypeDir}), `"../evil/"`},
		{"absolute", archive(t, entry{name: "/evil"}), `"/evil"`},
		{"no name", archive(t, entry{name: "."}), `"."`},
		{"device", archive(t, entry{name: "evil", kind: tar.TypeChar}), `"evil"`},
		{"block device", archive(t, entry{name: "evil", kind: tar.TypeBlock}), `"evil"`},
		{"pipe", archive(t, entry{name: "evil", kind: tar.TypeFifo}), `"evil"`},
		{"unknown type", archive(t, entry{name: "evil", kind: 'Z'}), `"evil"`},
		{"absolute link", archive(t, entry{name: "evil", kind: tar.TypeSymlink, link: "/etc/passwd"}), `"/etc/passwd"`},
		{"link out", archive(t, entry{name: "evil", kind: tar.TypeSymlink, link: "../secret"}), `"../secret"`},
		{"link to the parent", archive(t, entry{name: "evil", kind: tar.TypeSymlink, link: ".."}), `"evil"`},
		{"hard link out", archive(t, entry{name: "evil", kind: tar.TypeLink, link: "../secret"}), `"../secret"`},
		{"hard link to nothing", archive(t, entry{name: "evil", kind: tar.TypeLink, link: "none"}), `"evil"`},
		{"write through a link", archive(t,
			entry{name: "dir", kind: tar.TypeSymlink, link: ".."},
			entry{name: "dir/evil", content: "evil"}), `"dir/evil"`},
		{"write through a link to a file", archive(t,
			entry{name: "evil", kind: tar.TypeSymlink, link: "../secret"},
			entry{name: "evil", content: "evil"},
			entry{name: "/evil"}), `"/evil"`}, // the second entry replaces the link
		{"link through a link", archive(t,
			entry{name: "here", kind: tar.TypeSymlink, link: "."},
			entry{name: "here/evil", kind: tar.TypeSymlink, link: "here/../../secret"}), `here/evil"`},
		{"link that another entry sends out", archive(t,
			entry{name: "a/b/", kind: tar.TypeDir},
			entry{name: "a/b/link", kind: tar.TypeSymlink, link: "../../here"},
			entry{name: "evil", kind: tar.TypeLink, link: "a/b/link"}), `"evil"`},
		{"link loop", archive(t,
			entry{name: "a", kind: tar.TypeSymlink, link: "b"},
			entry{name: "b", kind: tar.TypeSymlink, link: "a"}), `"a"`},
		{"file in place of a full directory", archive(t,
			entry{name: "a/b"}, entry{name: "a"}), `"a"`},
		{"file as a directory", archive(t, entry{name: "a"}, entry{name: "a/b"}), `"a/b"`},
		{"not gzip", "plainly not", "gzip"},
		{"empty", "", "gzip"},
		{"cut", good[:len(good)/2], "damaged"},
		{"wrong checksum", string(flipped), "damaged"},
		{"not tar", gzipped(t, strings.Repeat("not tar ", 1000)), "damaged"},
		{"endless trailer", gzipped(t, strings.Repeat("\x00", 2*maxTrailer)), "damaged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "model")
			if err := errors.Join(
				os.Mkdir(dir, 0o700),
				os.WriteFile(filepath.Join(outer, "secret"), []byte("secret"), 0o600),
			); err != nil {
				t.Fatal(err)
			}
			f := &Fetcher{Objects: &objects{content: map[string]string{"m.tar.gz": test.content}}}
			err := f.Fetch(t.Context(), deferd.ModelData{Location: at("m.tar.gz"), Gzip: true}, dir)
			if got, want := deferd.CodeOf(err), deferd.Invalid; got != want {
				t.Fatalf("code %v of %v, want %v", got, err, want)
			}
			for _, part := range []string{test.culprit, "s3://bucket/m.tar.gz"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not name %s", err, part)
				}
			}
			wantUntouched(t, outer)
		})
	}
}

// wantUntouched checks what surrounds the directory "model".
func wantUntouched(t testing.TB, outer string) {
	t.Helper()
	entries, err := os.ReadDir(outer)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory's surroundings are now %v, %v", entries, err)
	}
	if secret, err := os.ReadFile(filepath.Join(outer, "secret")); err != nil || string(secret) != "secret" {
		t.Errorf("the secret is now %q, %v", secret, err)
	}
}

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.String()
}

func TestEvilKeys(t *testing.T) {
	for _, key := range []string{"m/../evil", "m//evil", "m/a/../../evil", "m/evil\x00"} {
		t.Run(key, func(t *testing.T) {
			f := &Fetcher{Objects: &objects{content: map[string]string{key: "evil"}}}
			err := f.Fetch(t.Context(), deferd.ModelData{Location: at("m/"), Prefix: true}, t.TempDir())
			if got, want := deferd.CodeOf(err), deferd.Invalid; got != want {
				t.Errorf("code %v of %v, want %v", got, err, want)
			}
		})
	}
}

func TestModes(t *testing.T) {
	dir := t.TempDir()
	packed := archive(t,
		entry{name: "run", mode: 0o4755},
		entry{name: "shut", mode: 0},
		entry{name: "closed/", kind: tar.TypeDir, mode: 0},
		entry{name: "closed/in", content: "in"},
	)
	f := &Fetcher{Objects: &objects{content: map[string]string{"m": packed}}}
	if err := f.Fetch(t.Context(), deferd.ModelData{Location: at("m"), Gzip: true}, dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"run": 0o755, "shut": 0o600, "closed": fs.ModeDir | 0o700,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want {
			t.Errorf("%s has mode %v, want %v", name, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	content := map[string]string{
		"m.tar.gz": archive(t, entry{name: "a", content: "12345"}, entry{name: "b", content: "12345"}),
		"p/a":      "12345",
		"p/b":      "12345",
	}
	for _, test := range []struct {
		name   string
		data   deferd.ModelData
		limits Limits
		ok     bool
	}{
		{"archive fits", deferd.ModelData{Location: at("m.tar.gz"), Gzip: true}, Limits{10, 2}, true},
		{"archive of too many bytes", deferd.ModelData{Location: at("m.tar.gz"), Gzip: true}, Limits{9, 2}, false},
		{"archive of too many entries", deferd.ModelData{Location: at("m.tar.gz"), Gzip: true}, Limits{10, 1}, false},
		{"prefix fits", deferd.ModelData{Location: at("p/"), Prefix: true}, Limits{10, 2}, true},
		{"prefix of too many bytes", deferd.ModelData{Location: at("p/"), Prefix: true}, Limits{9, 2}, false},
		{"prefix of too many entries", deferd.ModelData{Location: at("p/"), Prefix: true}, Limits{10, 1}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &Fetcher{Objects: &objects{content: content}, Limits: test.limits}
			err := f.Fetch(t.Context(), test.data, t.TempDir())
			if test.ok != (err == nil) || err != nil && deferd.CodeOf(err) != deferd.TooLarge {
				t.Errorf("got %v, want success %v, or else TooLarge", err, test.ok)
			}
		})
	}
}

// breaks yields n bytes and then fails, as a connection that was cut.
func breaks(body io.Reader, n int64) io.Reader {
	return io.MultiReader(io.LimitReader(body, n), failing{})
}

type failing struct{}

func (failing) Read([]byte) (int, error) {
	return 0, deferd.Errorf(deferd.Unavailable, "unexpected end")
}

func TestBrokenReadsAreResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := &objects{content: map[string]string{"m": "0123456789"}}
		o.onGet = func(n int, body io.Reader) (io.Reader, error) {
			switch n {
			case 1:
				return nil, deferd.Errorf(deferd.Unavailable, "SlowDown")
			case 2, 4:
				return breaks(body, 3), nil
			case 3:
				return breaks(body, 0), nil
			}
			return body, nil
		}
		f := &Fetcher{Objects: o}
		if err := f.Fetch(t.Context(), deferd.ModelData{Location: at("m")}, dir); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"m": "0123456789"}, tree(t, dir)); diff != "" {
			t.Errorf("directory (-want +got):\n%s", diff)
		}
		want := []deferd.GetObject{{}, {}, {Offset: 3, IfMatch: "etag"}, {Offset: 3, IfMatch: "etag"}, {Offset: 6, IfMatch: "etag"}}
		if diff := cmp.Diff(want, o.gets); diff != "" {
			t.Errorf("reads (-want +got):\n%s", diff)
		}
	})
}

func TestReadsAreGivenUp(t *testing.T) {
	for _, test := range []struct {
		name  string
		onGet func(n int, body io.Reader) (io.Reader, error)
		code  deferd.Code
		gets  int
	}{
		{"always unavailable", func(int, io.Reader) (io.Reader, error) {
			return nil, deferd.Errorf(deferd.Unavailable, "SlowDown")
		}, deferd.Unavailable, resumes + 1},
		{"breaks at the same place", func(_ int, body io.Reader) (io.Reader, error) {
			return breaks(body, 0), nil
		}, deferd.Unavailable, resumes + 1},
		{"denied", func(int, io.Reader) (io.Reader, error) {
			return nil, deferd.Errorf(deferd.Denied, "AccessDenied")
		}, deferd.Denied, 1},
		{"replaced meanwhile", func(n int, body io.Reader) (io.Reader, error) {
			if n > 1 {
				return nil, deferd.Errorf(deferd.Changed, "PreconditionFailed")
			}
			return breaks(body, 3), nil
		}, deferd.Changed, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &objects{content: map[string]string{"m": archive(t, entry{name: "a"})}, onGet: test.onGet}
				err := (&Fetcher{Objects: o}).Fetch(t.Context(), deferd.ModelData{Location: at("m"), Gzip: true}, t.TempDir())
				if got := deferd.CodeOf(err); got != test.code {
					t.Errorf("code %v of %v, want %v", got, err, test.code)
				}
				if got := len(o.gets); got != test.gets {
					t.Errorf("%d reads, want %d", got, test.gets)
				}
			})
		})
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stopped")
		o := &objects{content: map[string]string{"m": archive(t, entry{name: "a"})}}
		o.onGet = func(_ int, body io.Reader) (io.Reader, error) {
			cancel(stop)
			return body, nil
		}
		err := (&Fetcher{Objects: o}).Fetch(ctx, deferd.ModelData{Location: at("m"), Gzip: true}, t.TempDir())
		if !errors.Is(err, stop) {
			t.Errorf("got %v, want the context's cause", err)
		}
	})
}

// Whatever an archive holds, nothing outside of the directory changes, and no
// link in it leads out.
func FuzzUnpack(f *testing.F) {
	f.Add("a", "b", byte(tar.TypeSymlink), "a/c", "x", byte(tar.TypeReg))
	f.Add("a", "..", byte(tar.TypeSymlink), "a/secret", "x", byte(tar.TypeReg))
	f.Add("a", "../secret", byte(tar.TypeLink), "a", "x", byte(tar.TypeReg))
	f.Add("d/d", "../../x", byte(tar.TypeSymlink), "l", "d/d", byte(tar.TypeLink))
	f.Add("./", "", byte(tar.TypeDir), "/etc", "", byte(tar.TypeDir))
	f.Fuzz(func(t *testing.T, name1, link1 string, kind1 byte, name2, link2 string, kind2 byte) {
		var packed bytes.Buffer
		zipper := gzip.NewWriter(&packed)
		w := tar.NewWriter(zipper)
		for _, h := range []tar.Header{
			{Name: name1, Linkname: link1, Typeflag: kind1},
			{Name: name2, Linkname: link2, Typeflag: kind2},
		} {
			if w.WriteHeader(&h) != nil {
				t.Skip() // tar itself refuses it
			}
		}
		if errors.Join(w.Close(), zipper.Close()) != nil {
			t.Skip()
		}
		outer := t.TempDir()
		dir := filepath.Join(outer, "model")
		_ = os.Mkdir(dir, 0o700)
		_ = os.WriteFile(filepath.Join(outer, "secret"), []byte("secret"), 0o600)
		o := &objects{content: map[string]string{"m": packed.String()}}
		err := (&Fetcher{Objects: o}).Fetch(t.Context(), deferd.ModelData{Location: at("m"), Gzip: true}, dir)
		wantUntouched(t, outer)
		if err != nil {
			return
		}
		for name, what := range tree(t, dir) {
			if !strings.HasPrefix(what, "-> ") {
				continue
			}
			if to, err := filepath.EvalSymlinks(filepath.Join(dir, name)); err == nil && to != dir && !strings.HasPrefix(to, dir+"/") {
				t.Errorf("%s leads to %s", name, to)
			}
		}
	})
}

// Bytes that are no archive give an error that says so, never a panic.
func FuzzArchive(f *testing.F) {
	f.Add([]byte(archive(f, entry{name: "a", content: "content"})), false)
	f.Add([]byte("ustar"), true)
	f.Fuzz(func(t *testing.T, data []byte, zip bool) {
		content := string(data)
		if zip {
			content = gzipped(t, content)
		}
		fetcher := &Fetcher{
			Objects: &objects{content: map[string]string{"m": content}},
			Limits:  Limits{Bytes: 1 << 20, Entries: 100},
		}
		err := fetcher.Fetch(t.Context(), deferd.ModelData{Location: at("m"), Gzip: true}, t.TempDir())
		if code := deferd.CodeOf(err); err != nil && code != deferd.Invalid && code != deferd.TooLarge {
			t.Errorf("code %v of %v", code, err)
		}
	})
}
