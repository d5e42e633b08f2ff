package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// invokeOptions are what "deferd invoke" is told.
type invokeOptions struct {
	body, inputsFrom, out, upload            string
	inputs                                   []string
	contentType, accept, filename, extension string
	inferenceID, attributes                  string
	ttl, timeout, limit                      time.Duration
	parallel                                 int
	wait                                     bool
}

func invokeCommand() *cobra.Command {
	var o invokeOptions
	cmd := &cobra.Command{
		Use:   "invoke ENDPOINT [INPUT...]",
		Short: "Send inputs to an endpoint, and wait for what comes of them",
		Long: `Send inputs to an endpoint, and with --wait wait for what comes of them.

An INPUT is a file, a pattern such as 'in/*.png', an object (s3://bucket/key), or
- for standard input.
Files of up to 128,000 bytes go with the request; larger ones are uploaded first.

The result of a single input is printed; those of several are written beside the
files, as FILE.out, and into --out DIR where it is given. What failed is reported
with the text of its failure object, and makes the exit status 1.`,
		Example: `  deferd invoke shout --body hello.txt --wait
  echo hello | deferd invoke shout --body - --content-type text/plain --wait
  deferd invoke digits s3://work/in/7.csv --inference-id seven
  deferd invoke digits images/*.csv --out results --parallel 16
  find . -name '*.csv' | deferd invoke digits --inputs-from - --wait --output json`,
		Args: arguments(cobra.MinimumNArgs(1)),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.inputs = append(o.inputs, args[1:]...)
		if err := o.check(); err != nil {
			return err
		}
		inputs, err := o.gather(cmd.InOrStdin())
		if err != nil {
			return err
		}
		if o.filename != "" && len(inputs) > 1 {
			return usagef("--filename names one result: with several inputs each would replace the one before")
		}
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		i := newInvoker(s, args[0], o, inputs)
		i.status, i.stdout = newStatusLine(cmd.ErrOrStderr()), cmd.OutOrStdout()
		i.format = *format
		err = i.run(cmd.Context())
		i.status.clear()
		return i.report(cmd.OutOrStdout(), cmd.ErrOrStderr(), err)
	}
	f := cmd.Flags()
	f.StringVar(&o.body, "body", "", "file that is the only input; - for standard input")
	f.StringArrayVar(&o.inputs, "input", nil, "file or s3://...; repeatable, as INPUT")
	f.StringVar(&o.inputsFrom, "inputs-from", "", "file with an input a line; - for standard input")
	f.StringVar(&o.contentType, "content-type", "", "type of the inputs (by the file's name)")
	f.StringVar(&o.accept, "accept", "", "type that the result should have")
	f.StringVar(&o.attributes, "custom-attributes", "", "custom attributes for the model")
	f.StringVar(&o.filename, "filename", "", "name of the result's object")
	f.StringVar(&o.extension, "extension", "", "path of the result's object below the endpoint's output path")
	f.StringVar(&o.inferenceID, "inference-id", "", "name of the invocation; with several inputs, each gets a number after it")
	f.DurationVar(&o.ttl, "ttl", 0, "how long it may wait for an instance (6h)")
	f.DurationVar(&o.timeout, "timeout", 0, "how long the model may take (15m)")
	f.BoolVar(&o.wait, "wait", false, "wait for the results")
	f.DurationVar(&o.limit, "wait-timeout", 0, "how long to wait; implies --wait (for ever)")
	f.StringVar(&o.out, "out", "", "file or directory for the results; implies --wait")
	f.StringVar(&o.upload, "upload", "", "where files are uploaded (s3://sagemaker-REGION-ACCOUNT/ENDPOINT/input)")
	f.IntVar(&o.parallel, "parallel", 8, "requests at a time")
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints
	return cmd
}

// check refuses what makes no sense, and fills in what follows from the rest.
func (o *invokeOptions) check() error {
	ways := 0
	for _, way := range []bool{o.body != "", len(o.inputs) > 0, o.inputsFrom != ""} {
		if way {
			ways++
		}
	}
	switch {
	case ways == 0:
		return usagef("there is no input: give --body, INPUT or --inputs-from")
	case ways > 1:
		return usagef("--body, INPUT and --inputs-from exclude each other")
	case o.parallel < 1:
		return usagef("--parallel %d is not at least 1", o.parallel)
	case o.ttl != 0 && o.ttl < time.Second || o.timeout != 0 && o.timeout < time.Second || o.limit < 0:
		return usagef("--ttl and --timeout are at least 1s")
	case o.upload != "" && !isLocation(o.upload):
		return usagef("--upload %q is no location such as s3://bucket/prefix", o.upload)
	case isLocation(o.out):
		return usagef("--out is a file or a directory here; the endpoint's own results are in S3 anyway")
	}
	if o.out != "" && !isDirectory(filepath.Dir(filepath.Clean(o.out))) {
		return usagef("--out: there is no directory %s", filepath.Dir(filepath.Clean(o.out)))
	}
	o.wait = o.wait || o.out != "" || o.limit > 0
	return nil
}

// A result is what became of an input.
type result struct {
	Input       string  `json:"input"`
	State       string  `json:"state"` // Accepted, Completed, Failed; or Refused, where it was not accepted
	InferenceID string  `json:"inferenceId,omitempty"`
	Output      string  `json:"outputLocation,omitempty"`
	Failure     string  `json:"failureLocation,omitempty"`
	ContentType string  `json:"contentType,omitempty"` // of the result
	File        string  `json:"file,omitempty"`        // that has the result
	Body        *string `json:"body,omitempty"`        // the result, where no file has it and it is text
	Error       string  `json:"error,omitempty"`       // what the failure object says
	Reason      string  `json:"reason,omitempty"`      // such as model_client_error, where the server says it
	Seconds     float64 `json:"seconds,omitempty"`

	begun time.Time
}

// failed reports whether the input is without the result that was wanted.
func (r *result) failed(waited bool) bool {
	return r.State != "Completed" && (waited || r.State != "Accepted")
}

// report prints what became of the inputs, and returns what the program ends
// with. Err is what ended the run early.
func (i *invoker) report(out, errs io.Writer, err error) error {
	failed, open := 0, 0
	for n := range i.results {
		r := &i.results[n]
		switch {
		case r.State == "Accepted" && i.o.wait || r.State == "":
			open++
		case r.failed(i.o.wait):
			failed++
			if i.format == textFormat && r.State != "Refused" { // that is in err
				state := r.State
				if r.Reason != "" {
					state += " (" + r.Reason + ")"
				}
				fmt.Fprintf(errs, "%s: %s: %s\n", r.Input, state, r.Error)
			}
		}
	}
	if i.format == jsonFormat {
		if perr := printJSON(out, i.results); perr != nil {
			return perr
		}
	} else if !i.o.wait {
		if perr := i.printAccepted(out); perr != nil {
			return perr
		}
	}
	total := len(i.results)
	switch {
	case err != nil && open > 0 && i.accepted() > 0:
		hint := fmt.Sprintf("; what was accepted goes on: `deferd invocations %s` shows it", i.endpoint)
		return &exitError{exitCode(err), fmt.Errorf("%s, %d of %d inputs open%s", explain(err), open, total, hint)}
	case err != nil:
		return err
	case failed > 0 && total > 1:
		return &exitError{exitFailed, fmt.Errorf("%d of %d inputs failed", failed, total)}
	case failed > 0:
		return &exitError{code: exitFailed}
	}
	return nil
}

func (i *invoker) accepted() (n int) {
	for _, r := range i.results {
		if r.InferenceID != "" {
			n++
		}
	}
	return n
}

// printAccepted says where results will be.
func (i *invoker) printAccepted(out io.Writer) error {
	if len(i.results) == 1 {
		r := i.results[0]
		return printRows(out, [][2]string{{"inference ID", r.InferenceID}, {"result", r.Output}, {"failure", r.Failure}})
	}
	t := newTable(out)
	fmt.Fprintln(t, "INPUT\tINFERENCE ID\tRESULT")
	for _, r := range i.results {
		if r.InferenceID != "" {
			fmt.Fprintf(t, "%s\t%s\t%s\n", r.Input, r.InferenceID, r.Output)
		}
	}
	return t.Flush()
}

// waitContext is what bounds the waiting.
func (o *invokeOptions) waitContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.limit, &exitError{exitUnavailable, fmt.Errorf("no end after %v", o.limit)})
}

// single reports whether the result is to be printed instead of written to a
// file.
func (i *invoker) single() bool { return len(i.inputs) == 1 && i.o.out == "" }

// typeFor is the type that an input is sent as; "" for that of its object.
func (o *invokeOptions) typeFor(in input) string {
	if in.location != "" {
		return o.contentType
	}
	return cmp.Or(o.contentType, typeOf(in.path), "application/octet-stream")
}

// isDirectory reports whether results are to go into a directory.
func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
