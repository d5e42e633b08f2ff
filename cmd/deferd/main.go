// Command deferd is asynchronous model inference on one's own machines, spoken
// to through the protocol of Amazon SageMaker Asynchronous Inference.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	digits "github.com/deferd/deferd/examples/digits/server"
	"github.com/deferd/deferd/internal/process"
	"github.com/deferd/deferd/internal/torture"
	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "devel"

// demoModelVerb runs the example model that "deferd demo" deploys.
const demoModelVerb = "demo-model"

func main() {
	// The verbs that the program runs itself under come first: they have
	// nothing to do with a command line.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case process.ShimVerb:
			os.Exit(process.ShimMain(os.Args[2:]))
		case demoModelVerb:
			os.Exit(digits.Main(os.Args[2:]))
		case tortureModelVerb:
			os.Exit(torture.ModelMain())
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once, as a crash would: nothing is
	// lost by it, and models do not survive it.
	context.AfterFunc(ctx, stop)
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		if text := explain(err); text != "" {
			fmt.Fprintln(os.Stderr, "deferd:", text)
		}
		code := exitCode(err)
		if ctx.Err() != nil {
			code = exitInterrupted
		}
		stop()
		os.Exit(code)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "deferd",
		Short: "Asynchronous model inference on your own machines, through SageMaker's protocol",
		Long: `Asynchronous model inference on your own machines, through SageMaker's protocol.

The verbs for models, requests, objects and keys are clients: of the server whose
data directory is here, or of what AWS's variables and files name, which may be
AWS itself. They exit with 1 where something failed, 2 for a wrong command line,
3 where something is not there, 4 where it is denied, 5 where nobody answers.`,
		Example: `  deferd serve
  deferd deploy shout --image local/shout:1
  echo hello | deferd invoke shout --body - --wait`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%v; `%s --help` shows what there is", err, cmd.CommandPath())
	})
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"server", "The server:", []*cobra.Command{serveCommand(), configCommand(), imagesCommand(), envCommand(), demoCommand(), tortureCommand()}},
		{"models", "Models and requests:", []*cobra.Command{
			deployCommand(), endpointsCommand(), topCommand(), invokeCommand(), invocationsCommand(), notificationsCommand(), logsCommand(), scaleCommand(), deleteCommand(),
		}},
		{"things", "Objects and keys:", []*cobra.Command{s3Command(), credentialsCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  deferd version",
		Args:    arguments(cobra.NoArgs),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *format == jsonFormat {
			return printJSON(cmd.OutOrStdout(), map[string]string{"version": version, "go": runtime.Version()})
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "deferd", version)
		return err
	}
	return cmd
}
