package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func copyObjectsCommand() *cobra.Command {
	c := &copier{}
	cmd := &cobra.Command{
		Use:   "cp SOURCE DESTINATION",
		Short: "Copy to, from or within S3",
		Long: `Copy to, from or within S3. A location is s3://BUCKET/KEY, a file, or - for
standard input and output. A destination that ends with a slash, and a directory,
take the source's name. Whatever the size, it takes little memory.`,
		Example: `  deferd s3 cp model.tar.gz s3://work/models/
  deferd s3 cp s3://work/out/ results --recursive
  tar cz model | deferd s3 cp - s3://work/model.tar.gz
  deferd s3 cp s3://work/a s3://work/b`,
		Args: arguments(cobra.ExactArgs(2)),
	}
	c.format = addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		c.objects, c.stdin, c.stdout = s.objects(), cmd.InOrStdin(), cmd.OutOrStdout()
		c.status = newStatusLine(cmd.ErrOrStderr())
		err = c.copy(cmd.Context(), args[0], args[1])
		c.status.clear()
		if err != nil || args[1] == "-" {
			return err
		}
		return c.print()
	}
	cmd.Flags().BoolVarP(&c.recursive, "recursive", "r", false, "everything in a directory or below a prefix")
	cmd.Flags().StringVar(&c.contentType, "content-type", "", "type of what is written to S3 (by the file's name)")
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeLocations
	return cmd
}

// filesAtOnce is how many files are copied at a time.
const filesAtOnce = 4

// A copier is one run of "deferd s3 cp".
type copier struct {
	objects     *objects
	recursive   bool
	contentType string
	format      *format
	stdin       io.Reader
	stdout      io.Writer

	mu     sync.Mutex // guards the rest
	status *statusLine
	files  int
	bytes  int64
	shown  time.Time
}

func (c *copier) copy(ctx context.Context, from, to string) error {
	switch {
	case !isLocation(from) && !isLocation(to):
		return usagef("neither %s nor %s is in S3", from, to)
	case c.recursive && (from == "-" || to == "-"):
		return usagef("--recursive does not go with -")
	case c.recursive && isLocation(from):
		return c.fromPrefix(ctx, from, to)
	case c.recursive:
		return c.fromDirectory(ctx, from, to)
	}
	c.files = 1
	if isLocation(from) {
		return c.fromObject(ctx, from, to)
	}
	return c.fromFile(ctx, from, to)
}

// moved counts bytes, and shows them now and then.
func (c *copier) moved(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += n
	if c.status.width == 0 || time.Since(c.shown) < 100*time.Millisecond {
		return
	}
	c.shown = time.Now()
	c.status.show("copying", fmt.Sprintf("  %d files, %s", c.files, showSize(c.bytes)))
}

func (c *copier) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files++
}

func (c *copier) fromFile(ctx context.Context, from, to string) error {
	bucket, key, err := splitLocation(to)
	if err != nil {
		return usagef("%v", err)
	}
	if from == "-" {
		if key == "" || strings.HasSuffix(key, "/") {
			return usagef("%s names no object", to)
		}
		return c.objects.uploadStream(ctx, c.stdin, destination{bucket, key, cmp.Or(c.contentType, typeOf(key))}, c.moved)
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return usagef("%s is a directory: --recursive copies it", from)
	}
	key = keyInto(key, filepath.Base(from))
	return c.objects.upload(ctx, f, destination{bucket, key, cmp.Or(c.contentType, typeOf(from))}, c.moved)
}

func (c *copier) fromObject(ctx context.Context, from, to string) error {
	bucket, key, err := splitObject(from)
	if err != nil {
		return err
	}
	switch {
	case to == "-":
		o, err := c.objects.open(ctx, bucket, key)
		if err != nil {
			return err
		}
		defer o.Close()
		_, err = io.Copy(c.stdout, o)
		return err
	case isLocation(to):
		toBucket, toKey, err := splitLocation(to)
		if err != nil {
			return usagef("%v", err)
		}
		return c.objects.copyObject(ctx, bucket, key, destination{toBucket, keyInto(toKey, path.Base(key)), c.contentType}, c.moved)
	case strings.HasSuffix(to, "/"):
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
	}
	if isDirectory(to) {
		name := path.Base(key)
		if !filepath.IsLocal(name) {
			return usagef("%s names no file: say which to write", from)
		}
		to = filepath.Join(to, name)
	}
	return c.objects.download(ctx, bucket, key, to, c.moved)
}

// fromDirectory uploads everything in a directory.
func (c *copier) fromDirectory(ctx context.Context, from, to string) error {
	bucket, prefix, err := splitLocation(to)
	if err != nil {
		return usagef("%v", err)
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	if !isDirectory(from) {
		return usagef("%s is no directory", from)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(filesAtOnce)
	walked := filepath.WalkDir(from, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name, err := filepath.Rel(from, at)
		if err != nil {
			return err
		}
		if info, err := os.Stat(at); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no file", at)
		}
		g.Go(func() error {
			defer c.done()
			f, err := os.Open(at)
			if err != nil {
				return err
			}
			defer f.Close()
			return c.objects.upload(ctx, f, destination{bucket, prefix + filepath.ToSlash(name), cmp.Or(c.contentType, typeOf(at))}, c.moved)
		})
		return nil
	})
	return errors.Join(g.Wait(), walked)
}

// fromPrefix copies everything below a prefix, to a directory or another prefix.
func (c *copier) fromPrefix(ctx context.Context, from, to string) error {
	bucket, prefix, err := splitLocation(from)
	if err != nil {
		return usagef("%v", err)
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(filesAtOnce)
	var listed error
	for o, err := range c.objects.list(ctx, bucket, prefix, false) {
		if err != nil {
			listed = err
			break
		}
		name := strings.TrimPrefix(o.Key, prefix)
		if name == "" || strings.HasSuffix(name, "/") { // what some clients leave for a folder
			continue
		}
		g.Go(func() error {
			defer c.done()
			return c.one(ctx, bucket, o.Key, to, name)
		})
	}
	return errors.Join(g.Wait(), listed)
}

// one copies an object of many. A key may not lead out of the directory.
func (c *copier) one(ctx context.Context, bucket, key, to, name string) error {
	if isLocation(to) {
		toBucket, prefix, err := splitLocation(to)
		if err != nil {
			return usagef("%v", err)
		}
		if prefix != "" && !strings.HasSuffix(prefix, "/") {
			prefix += "/"
		}
		return c.objects.copyObject(ctx, bucket, key, destination{toBucket, prefix + name, c.contentType}, c.moved)
	}
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return fmt.Errorf("the key %q would be a file outside of %s", key, to)
	}
	file := filepath.Join(to, local)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return c.objects.download(ctx, bucket, key, file, c.moved)
}

// print says how much was copied, where that is not plain.
func (c *copier) print() error {
	var err error
	switch {
	case *c.format == jsonFormat:
		err = printJSON(c.stdout, struct {
			Files int   `json:"files"`
			Bytes int64 `json:"bytes"`
		}{c.files, c.bytes})
	case c.recursive:
		_, err = fmt.Fprintf(c.stdout, "copied %d files, %s\n", c.files, showSize(c.bytes))
	}
	return err
}
