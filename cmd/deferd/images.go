package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deferd/deferd/internal/process"
	"github.com/spf13/cobra"
)

func imagesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Say which images models may run, and what is wrong with them",
		Long: `Say which images models may run: those that images.yaml lists, with the command
that each stands for, and what would keep it from starting. No server is asked.
The exit status is 1 where something is wrong.`,
		Example: `  deferd images
  deferd images --images /etc/deferd/images.yaml --output json`,
		Args: arguments(cobra.NoArgs),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		settings, err := readSettings(cmd)
		if err != nil {
			return usagef("%v", err)
		}
		images, err := process.ReadImages(settings.Images)
		if err != nil {
			return err
		}
		list := []imageReport{}
		for _, name := range slices.Sorted(maps.Keys(images)) {
			list = append(list, reportImage(name, images[name]))
		}
		if err := printImages(cmd.OutOrStdout(), settings.Images, list, *format); err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(i imageReport) bool { return len(i.Problems) > 0 }) {
			return &exitError{code: exitFailed}
		}
		return nil
	}
	cmd.Flags().String("data", "", "data directory (./deferd-data)")
	cmd.Flags().String("images", "", "file with the images (DATA/images.yaml)")
	cmd.Flags().String("config", "", "file with settings; or DEFERD_CONFIG")
	return cmd
}

// An imageReport is what is shown of an image.
type imageReport struct {
	Image    string   `json:"image"`
	Command  []string `json:"command"`
	Dir      string   `json:"dir"`
	Port     int      `json:"port,omitempty"`
	Problems []string `json:"problems"`
}

// reportImage looks for what would keep an image from starting.
func reportImage(name string, image process.Image) imageReport {
	r := imageReport{Image: name, Command: image.Command, Dir: image.Dir, Port: image.Port, Problems: []string{}}
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	if info, err := os.Stat(image.Dir); err != nil || !info.IsDir() {
		problem("there is no directory %s", image.Dir)
		return r
	}
	program := image.Command[0]
	if strings.Contains(program, "/") {
		if !filepath.IsAbs(program) {
			program = filepath.Join(image.Dir, program)
		}
		if _, err := exec.LookPath(program); err != nil {
			problem("%s cannot be run: %v", image.Command[0], rootCause(err))
		}
	} else if _, err := exec.LookPath(program); err != nil {
		problem("%s is not in PATH", program)
	}
	// An argument that looks like a script beside images.yaml and is not there
	// is the commonest mistake; it may still be something else.
	for _, argument := range image.Command[1:] {
		if strings.HasSuffix(argument, ".py") && !strings.ContainsAny(argument, "=*") {
			path := argument
			if !filepath.IsAbs(path) {
				path = filepath.Join(image.Dir, path)
			}
			if _, err := os.Stat(path); err != nil {
				problem("there is no file %s", path)
			}
		}
	}
	return r
}

func printImages(w io.Writer, path string, list []imageReport, f format) error {
	if f == jsonFormat {
		return printJSON(w, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "%s lists no images\n", path)
		return err
	}
	t := newTable(w)
	fmt.Fprintln(t, "IMAGE\tCOMMAND\tPROBLEMS")
	for _, i := range list {
		words := make([]string, len(i.Command))
		for n, word := range i.Command {
			words[n] = quote(word)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", i.Image, strings.Join(words, " "), strings.Join(i.Problems, "; "))
	}
	return t.Flush()
}
