// Package modeldata brings a model's artifacts from the object store into a
// directory, as SageMaker does before it starts a container.
//
// Archives are strangers' work: nothing in one reaches outside of the
// directory, neither when it is unpacked nor when a link in it is followed
// later, and nothing but files, directories and links comes out of it.
package modeldata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/deferd/deferd"
)

// Limits bound what the data of one model may come to on disk. Zero fields
// stand for the defaults.
type Limits struct {
	Bytes   int64 // of all files. Default: DefaultBytes
	Entries int   // files, directories and links. Default: DefaultEntries
}

// The defaults are for stopping what would never end: more than any model
// that one host can run.
const (
	DefaultBytes   = 1 << 40
	DefaultEntries = 1_000_000
)

// A Fetcher fetches model data. It is safe for concurrent use.
type Fetcher struct {
	Objects deferd.ObjectStore
	Limits  Limits
}

// Fetch puts the data of d into dir, which must be there and empty. After an
// error dir may hold a part of it.
//
// A single object keeps the last element of its key as its name. A prefix
// stands for a directory: what lies below it keeps its place. Gzip unpacks the
// object, or of a prefix each whose name ends in .tar.gz or .tgz, in dir.
//
// Reads that break are resumed. The error is NotFound, Denied, Invalid or
// TooLarge where fetching again would fail again; its message is for the
// model's owner.
func (f *Fetcher) Fetch(ctx context.Context, d deferd.ModelData, dir string) error {
	if d.Location.IsZero() {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open directory for model data: %w", err)
	}
	defer root.Close()
	t := &target{root: root, budget: f.Limits.budget()}
	if d.Prefix {
		err = f.fetchPrefix(ctx, d, t)
	} else {
		err = f.fetchObject(ctx, d, t)
	}
	if err == nil {
		err = about(d.Location, t.checkLinks())
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = &deferd.Error{Code: deferd.Unavailable, Msg: "the server's disk is full", Err: err}
	}
	if err != nil {
		return fmt.Errorf("fetch model data: %w", err)
	}
	return nil
}

func (f *Fetcher) fetchObject(ctx context.Context, d deferd.ModelData, t *target) error {
	if d.Gzip {
		return f.unpackObject(ctx, d.Location, t)
	}
	name := d.Location.Key[strings.LastIndexByte(d.Location.Key, '/')+1:]
	if name == "" {
		return deferd.Errorf(deferd.Invalid, "model data %s names no object", d.Location)
	}
	return f.copyObject(ctx, d.Location, name, t)
}

func (f *Fetcher) fetchPrefix(ctx context.Context, d deferd.ModelData, t *target) error {
	prefix := d.Location
	if prefix.Key != "" && !strings.HasSuffix(prefix.Key, "/") {
		prefix.Key += "/" // "models/a" must not bring "models/ab" along
	}
	found := false
	for info, err := range f.Objects.List(ctx, prefix) {
		object := deferd.Location{Bucket: prefix.Bucket, Key: info.Key}
		if err != nil {
			return f.explain(err, prefix)
		}
		found = true
		name := strings.TrimPrefix(info.Key, prefix.Key)
		switch {
		case name == "" || strings.HasSuffix(name, "/"): // consoles make these for directories
			err = t.makeDir(name, 0o755)
		case d.Gzip && isArchive(name):
			err = f.unpackObject(ctx, object, t)
		default:
			err = f.copyObject(ctx, object, name, t)
		}
		if err != nil {
			return about(object, err)
		}
	}
	if !found {
		return deferd.Errorf(deferd.NotFound, "model data %s: there is no object below this prefix", prefix)
	}
	return nil
}

func isArchive(name string) bool {
	return strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// copyObject stores an object under a name.
func (f *Fetcher) copyObject(ctx context.Context, l deferd.Location, name string, t *target) error {
	source, err := f.open(ctx, l)
	if err != nil {
		return err
	}
	defer source.Close()
	return about(l, t.writeFile(name, 0o644, source))
}

// unpackObject unpacks an object.
func (f *Fetcher) unpackObject(ctx context.Context, l deferd.Location, t *target) error {
	source, err := f.open(ctx, l)
	if err != nil {
		return err
	}
	defer source.Close()
	err = t.unpack(source)
	if source.err != nil {
		err = source.err // the archive is not to blame
	}
	return about(l, err)
}

// about names the object that an error is about, if it has a code and does not
// name it already.
func about(l deferd.Location, err error) error {
	e, ok := err.(*deferd.Error)
	if !ok || strings.HasPrefix(e.Msg, "model data ") {
		return err
	}
	return &deferd.Error{Code: e.Code, Msg: fmt.Sprintf("model data %s: %s", l, e.Msg), Err: e.Err}
}

// A target is the directory that model data goes to. Names are slash-separated
// and come from outside.
type target struct {
	root *os.Root
	budget
	links []string // made so far, with hard links
}

// A budget is what may still come.
type budget struct {
	limits  Limits
	bytes   int64
	entries int
}

func (l Limits) budget() budget {
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Entries <= 0 {
		l.Entries = DefaultEntries
	}
	return budget{limits: l, bytes: l.Bytes, entries: l.Entries}
}

func (b *budget) takeEntry() error {
	if b.entries--; b.entries < 0 {
		return deferd.Errorf(deferd.TooLarge, "there are more than %d files", b.limits.Entries)
	}
	return nil
}

// cleanName returns the path of a name below the directory; "." for the
// directory itself.
func cleanName(name string) (string, error) {
	if path.IsAbs(name) || strings.ContainsRune(name, 0) || slices.Contains(strings.Split(name, "/"), "..") {
		return "", deferd.Errorf(deferd.Invalid, "%q would lie outside of the model's directory", name)
	}
	return path.Clean(name), nil
}

func (t *target) makeDir(name string, mode fs.FileMode) error {
	clean, err := cleanName(name)
	if err != nil || clean == "." {
		return err
	}
	if err := t.takeEntry(); err != nil {
		return err
	}
	if err := t.root.MkdirAll(clean, 0o755); err != nil {
		return t.refused(name, err)
	}
	return t.refused(name, t.root.Chmod(clean, mode.Perm()|0o700))
}

// place makes way for a new entry: its directory is there, and what had its
// name is not.
func (t *target) place(name string) (string, error) {
	clean, err := cleanName(name)
	if err != nil {
		return "", err
	}
	if clean == "." {
		return "", deferd.Errorf(deferd.Invalid, "%q names no file", name)
	}
	if err := t.takeEntry(); err != nil {
		return "", err
	}
	if dir := path.Dir(clean); dir != "." {
		if err := t.root.MkdirAll(dir, 0o755); err != nil {
			return "", t.refused(name, err)
		}
	}
	// A link that stayed would have us write to what it points to.
	if err := t.root.Remove(clean); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", t.refused(name, err)
	}
	return clean, nil
}

// writeFile stores what source yields. What goes wrong with the source is
// returned as it is.
func (t *target) writeFile(name string, mode fs.FileMode, source io.Reader) error {
	clean, err := t.place(name)
	if err != nil {
		return err
	}
	file, err := t.root.OpenFile(clean, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm()|0o600)
	if err != nil {
		return t.refused(name, err)
	}
	n, err := io.Copy(file, io.LimitReader(source, t.bytes+1))
	if t.bytes -= n; err == nil && t.bytes < 0 {
		err = deferd.Errorf(deferd.TooLarge, "there are more than %d bytes", t.limits.Bytes)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// refused explains why an entry cannot be made. Where that is due to the
// entries before it, the archive is to blame.
func (t *target) refused(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case isLocalTrouble(err):
		return fmt.Errorf("make %q: %w", name, err)
	}
	return &deferd.Error{
		Code: deferd.Invalid,
		Msg:  fmt.Sprintf("%q cannot be made: it would lie outside of the model's directory, or another entry is in its way", name),
		Err:  err,
	}
}
