// Command deferd is asynchronous model inference on one's own machines, spoken
// to through the protocol of Amazon SageMaker Asynchronous Inference.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	digits "github.com/deferd/deferd/examples/digits/server"
	"github.com/deferd/deferd/internal/process"
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
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once, as a crash would: nothing is
	// lost by it, and models do not survive it.
	context.AfterFunc(ctx, stop)
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "deferd:", err)
		stop()
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "deferd",
		Short:         "Asynchronous model inference on your own machines, through SageMaker's protocol",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), envCommand(), configCommand(), demoCommand(), invocationsCommand(), versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "deferd", version)
			return err
		},
	}
}
