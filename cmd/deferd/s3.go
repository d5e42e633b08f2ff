package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"
)

func s3Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "s3",
		Short: "Look at objects, and move them in and out",
		Long:  "Look at objects, and move them in and out. Any other S3 client does as well; these are for where none is at hand.",
		Example: `  deferd s3 ls s3://work/in/
  deferd s3 cp model.tar.gz s3://work/models/
  deferd s3 cat s3://work/out/7.out`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listObjectsCommand(), copyObjectsCommand(), catObjectsCommand(), removeObjectsCommand(), makeBucketCommand(), removeBucketCommand())
	return cmd
}

func listObjectsCommand() *cobra.Command {
	var recursive, bytes bool
	cmd := &cobra.Command{
		Use:   "ls [s3://BUCKET[/PREFIX]]",
		Short: "List buckets, or objects below a prefix",
		Example: `  deferd s3 ls
  deferd s3 ls s3://work/out/
  deferd s3 ls s3://work --recursive --output json`,
		Args: arguments(cobra.MaximumNArgs(1)),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		bucket, prefix := "", ""
		if len(args) == 1 {
			var err error
			if bucket, prefix, err = splitLocation(args[0]); err != nil {
				return usagef("%v", err)
			}
		}
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		l := &lister{out: cmd.OutOrStdout(), format: *format, bytes: bytes}
		if bucket == "" {
			return l.buckets(cmd, s.objects())
		}
		for o, err := range s.objects().list(cmd.Context(), bucket, prefix, !recursive) {
			if err != nil {
				return err
			}
			l.object(o)
		}
		return l.end()
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "everything below the prefix, at any depth")
	cmd.Flags().BoolVar(&bytes, "bytes", false, "sizes in bytes")
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeLocations
	return cmd
}

// A lister prints a list as it comes, so that it may be as long as it likes.
type lister struct {
	out    io.Writer
	format format
	bytes  bool
	n      int
	err    error
}

func (l *lister) buckets(cmd *cobra.Command, o *objects) error {
	all, err := o.buckets(cmd.Context())
	if err != nil {
		return err
	}
	type bucket struct {
		Name    string    `json:"bucket"`
		Created time.Time `json:"created"`
	}
	list := []bucket{}
	for _, b := range all {
		list = append(list, bucket{aws.ToString(b.Name), aws.ToTime(b.CreationDate)})
	}
	if l.format == jsonFormat {
		return printJSON(l.out, list)
	}
	for _, b := range list {
		fmt.Fprintf(l.out, "%-19s  %s\n", b.Created.Local().Format(time.DateTime), b.Name)
	}
	return nil
}

func (l *lister) object(o objectInfo) {
	if l.format == jsonFormat {
		opening := ",\n  "
		if l.n == 0 {
			opening = "[\n  "
		}
		fmt.Fprint(l.out, opening)
		l.err = errors.Join(l.err, printCompact(l.out, o))
		l.n++
		return
	}
	l.n++
	switch {
	case o.Modified.IsZero():
		fmt.Fprintf(l.out, "%-19s  %10s  %s\n", "", "", o.Key)
	case l.bytes:
		fmt.Fprintf(l.out, "%s  %10d  %s\n", o.Modified.Local().Format(time.DateTime), o.Size, o.Key)
	default:
		fmt.Fprintf(l.out, "%s  %10s  %s\n", o.Modified.Local().Format(time.DateTime), showSize(o.Size), o.Key)
	}
}

func (l *lister) end() error {
	switch {
	case l.format != jsonFormat:
	case l.n == 0:
		fmt.Fprintln(l.out, "[]")
	default:
		fmt.Fprintln(l.out, "\n]")
	}
	return l.err
}

func catObjectsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cat s3://BUCKET/KEY...",
		Short:   "Print objects",
		Example: `  deferd s3 cat s3://work/out/7.out`,
		Args:    arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openSite(cmd)
			if err != nil {
				return err
			}
			for _, location := range args {
				bucket, key, err := splitObject(location)
				if err != nil {
					return err
				}
				o, err := s.objects().open(cmd.Context(), bucket, key)
				if err != nil {
					return err
				}
				_, err = io.Copy(cmd.OutOrStdout(), o)
				if err := errors.Join(err, o.Close()); err != nil {
					return fmt.Errorf("read %s: %w", location, err)
				}
			}
			return nil
		},
	}
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeLocations
	return cmd
}

// splitObject reads the location of an object, which has a key.
func splitObject(location string) (bucket, key string, err error) {
	bucket, key, err = splitLocation(location)
	if err != nil {
		return "", "", usagef("%v", err)
	}
	if key == "" {
		return "", "", usagef("%q names no object", location)
	}
	return bucket, key, nil
}

func removeObjectsCommand() *cobra.Command {
	var recursive, yes bool
	cmd := &cobra.Command{
		Use:   "rm s3://BUCKET/KEY...",
		Short: "Delete objects",
		Long:  "Delete objects. One that is not there is no error, as in S3. With --recursive everything below a prefix is deleted.",
		Example: `  deferd s3 rm s3://work/in/7.csv
  deferd s3 rm s3://work/in/ --recursive --yes`,
		Args: arguments(cobra.MinimumNArgs(1)),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		deleted := 0
		for _, location := range args {
			var n int
			if recursive {
				n, err = removeBelow(cmd, s.objects(), location, yes)
			} else {
				n, err = removeOne(cmd, s.objects(), location)
			}
			if deleted += n; err != nil {
				break
			}
		}
		switch {
		case *format == jsonFormat:
			err = errors.Join(printJSON(cmd.OutOrStdout(), map[string]int{"deleted": deleted}), err)
		case recursive:
			fmt.Fprintf(cmd.OutOrStdout(), "deleted %d objects\n", deleted)
		}
		return err
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "everything below the prefix")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before --recursive")
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeLocations
	return cmd
}

func removeOne(cmd *cobra.Command, o *objects, location string) (deleted int, err error) {
	bucket, key, err := splitObject(location)
	if err != nil {
		return 0, err
	}
	if err := o.remove(cmd.Context(), bucket, key); err != nil {
		return 0, err
	}
	return 1, nil
}

func removeBelow(cmd *cobra.Command, o *objects, location string, yes bool) (deleted int, err error) {
	bucket, prefix, err := splitLocation(location)
	if err != nil {
		return 0, usagef("%v", err)
	}
	if err := confirm(cmd, yes, "Delete everything below "+location+"?"); err != nil {
		return 0, err
	}
	status := newStatusLine(cmd.ErrOrStderr())
	defer status.clear()
	var batch []string
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := o.remove(cmd.Context(), bucket, batch...); err != nil {
			return err
		}
		deleted, batch = deleted+len(batch), batch[:0]
		status.show("deleting", fmt.Sprintf(" %d", deleted))
		return nil
	}
	for object, err := range o.list(cmd.Context(), bucket, prefix, false) {
		if err != nil {
			return deleted, err
		}
		if batch = append(batch, object.Key); len(batch) == maxBatch {
			if err := flush(); err != nil {
				return deleted, err
			}
		}
	}
	return deleted, flush()
}

func makeBucketCommand() *cobra.Command {
	return bucketCommand("mb", "Make a bucket", "made", func(cmd *cobra.Command, o *objects, bucket string) error {
		return o.createBucket(cmd.Context(), bucket)
	})
}

func removeBucketCommand() *cobra.Command {
	return bucketCommand("rb", "Remove an empty bucket", "removed", func(cmd *cobra.Command, o *objects, bucket string) error {
		return o.deleteBucket(cmd.Context(), bucket)
	})
}

func bucketCommand(verb, short, done string, do func(*cobra.Command, *objects, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:     verb + " s3://BUCKET",
		Short:   short,
		Example: "  deferd s3 " + verb + " s3://work",
		Args:    arguments(cobra.ExactArgs(1)),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		bucket, key, err := splitLocation(args[0])
		if err != nil || key != "" {
			return usagef("%q is no bucket such as s3://work", args[0])
		}
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		if err := do(cmd, s.objects(), bucket); err != nil {
			return err
		}
		return printDone(cmd.OutOrStdout(), *format, done, "s3://"+bucket)
	}
	addSiteFlags(cmd)
	return cmd
}

// keyInto is the key of a copy of something called name: where the destination
// ends like a folder, below it.
func keyInto(key, name string) string {
	if key == "" || strings.HasSuffix(key, "/") {
		return key + name
	}
	return key
}
