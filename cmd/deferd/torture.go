package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"github.com/deferd/deferd/internal/torture"
	"github.com/spf13/cobra"
)

// tortureModelVerb runs the model that "deferd torture" deploys.
const tortureModelVerb = "torture-model"

type tortureFlags struct {
	rounds int
	seed   uint64
	dir    string
	data   string
	keep   bool
	large  bool
	memory int64
	s3     bool
}

func tortureCommand() *cobra.Command {
	var f tortureFlags
	var output *format
	cmd := &cobra.Command{
		Use:   "torture",
		Short: "Break a server of its own again and again, and judge from outside what it promised",
		Long: `Start a server and its models in a temporary directory, load them, kill, freeze
and stop them, cut connections and let stores fail, all drawn from a seed, and
judge from outside whether anything was lost, done twice or told wrong. A broken
promise ends it with exit status 1, and everything is kept.`,
		Example: `  deferd torture --rounds 100
  deferd torture --seed 7 --rounds 12 --keep`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				f.seed = uint64(rand.Uint32())
			}
			progress := cmd.OutOrStdout()
			if *output == jsonFormat {
				progress = cmd.ErrOrStderr()
			}
			rep, err := f.run(cmd.Context(), progress)
			if *output == jsonFormat {
				return errors.Join(err, printJSON(cmd.OutOrStdout(), rep))
			}
			rep.Print(progress)
			return err
		},
	}
	cmd.Flags().IntVar(&f.rounds, "rounds", 60, "how many rounds, of a few seconds each")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "what everything is drawn from (a random one)")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory for everything, empty or not there (a temporary one)")
	cmd.Flags().StringVar(&f.data, "data", "", "empty directory for the server's data; on a small file system of its own, that is filled up now and then (in --dir)")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "keep the directory")
	cmd.Flags().BoolVar(&f.large, "large", false, "answers of a gigabyte, too, now and then")
	cmd.Flags().Int64Var(&f.memory, "memory", 0, "how many MiB of memory the server may have at any time (256)")
	cmd.Flags().BoolVar(&f.s3, "external-s3", false, "keep the objects in the S3 of another server, which is killed, too")
	output = addOutput(cmd)
	return cmd
}

// run tortures a server in the directories, and removes them where nothing is
// to be learnt from them.
func (f *tortureFlags) run(ctx context.Context, progress io.Writer) (rep torture.Report, err error) {
	self, err := os.Executable()
	if err != nil {
		return rep, err
	}
	if err := f.makeDirs(); err != nil {
		return rep, err
	}
	log, err := os.Create(filepath.Join(f.dir, "torture.log"))
	if err != nil {
		return rep, err
	}
	defer log.Close()
	fmt.Fprintf(progress, "seed %d, in %s\n", f.seed, f.dir)
	rep, err = torture.Run(ctx, torture.Config{
		Program: self, ModelVerb: tortureModelVerb, Dir: f.dir, Data: f.data, Rounds: f.rounds, Seed: f.seed,
		MaxMemory: f.memory << 20, Options: torture.Options{Large: f.large, FillDisk: f.data != "" && isSmall(f.data), ExternalS3: f.s3},
		Out: progress, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err == nil && len(rep.Broken) > 0 {
		err = errors.New("promises were broken")
	}
	if err != nil {
		return rep, fmt.Errorf("%w (everything is kept in %s)", err, f.dir)
	}
	if f.keep {
		return rep, nil
	}
	return rep, os.RemoveAll(f.dir)
}

func (f *tortureFlags) makeDirs() (err error) {
	if f.dir == "" {
		f.dir, err = os.MkdirTemp("", "deferd-torture-")
		if err != nil {
			return err
		}
	}
	for _, dir := range []string{f.dir, f.data} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			return errors.Join(err, usagef("the directory %s is not empty", dir))
		}
	}
	return nil
}

// isSmall reports whether a directory is on a file system that may be filled up.
func isSmall(dir string) bool {
	const small = 2 << 30
	var fs syscall.Statfs_t
	return syscall.Statfs(dir, &fs) == nil && uint64(fs.Bsize)*fs.Blocks <= small
}
