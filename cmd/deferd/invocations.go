package main

import (
	"fmt"
	"io"
	"time"

	"github.com/deferd/deferd/client"
	"github.com/spf13/cobra"
)

func invocationsCommand() *cobra.Command {
	var states []string
	var limit int
	cmd := &cobra.Command{
		Use:   "invocations ENDPOINT [ID]",
		Short: "Say where invocations stand: state, attempts, true reason, times",
		Long: `Say where invocations stand: state, attempts, true reason, times.

ID is an invocation ID or an inference ID.`,
		Example: `  deferd invocations digits
  deferd invocations digits --state Queued,Running --limit 100
  deferd invocations digits 0198c1f2-5b7e-7c3a-9d2e-1f0a6b4c8d7e --output json`,
		Args: arguments(cobra.RangeArgs(1, 2)),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		c := s.invocations()
		if c == nil {
			return usagef("AWS cannot say where invocations stand; a server of deferd can")
		}
		if len(args) == 2 {
			inv, err := c.Invocation(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return printInvocation(cmd.OutOrStdout(), inv, *format)
		}
		list := []client.Invocation{}
		for inv, err := range c.Invocations(cmd.Context(), args[0], states...) {
			if err != nil {
				return err
			}
			if list = append(list, inv); len(list) == limit {
				break
			}
		}
		return printInvocations(cmd.OutOrStdout(), list, *format)
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only these states: Queued, Running, Publishing, Completed, Failed, Expired, Cancelled")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many, newest first")
	completeFlag(cmd, "state", func(*cobra.Command, string) []string {
		return []string{"Queued", "Running", "Publishing", "Completed", "Failed", "Expired", "Cancelled"}
	})
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints
	return cmd
}

func printInvocation(w io.Writer, inv client.Invocation, f format) error {
	if f == jsonFormat {
		return printJSON(w, inv)
	}
	return printRows(w, [][2]string{
		{"invocation", inv.ID},
		{"inference ID", inv.InferenceID},
		{"state", inv.State},
		{"attempts", fmt.Sprint(inv.Attempts)},
		{"reason", inv.Reason},
		{"failure reason", inv.FailureReason},
		{"progress", inv.Progress},
		{"input", inputOf(inv)},
		{"output", inv.Output},
		{"failure", inv.Failure},
		{"instance", inv.Instance},
		{"accepted", showTime(inv.Accepted)},
		{"claimed", showTime(inv.Claimed)},
		{"settled", showTime(inv.Settled)},
		{"finished", showTime(inv.Finished)},
	})
}

func inputOf(inv client.Invocation) string {
	if inv.Input != "" {
		return inv.Input
	}
	return fmt.Sprintf("inline, %d bytes", inv.InlineSize)
}

func printInvocations(w io.Writer, list []client.Invocation, f format) error {
	if f == jsonFormat {
		return printJSON(w, list)
	}
	t := newTable(w)
	fmt.Fprintln(t, "INVOCATION\tSTATE\tATTEMPTS\tREASON\tACCEPTED\tTOOK")
	for _, inv := range list {
		took := ""
		if inv.Ended() {
			took = inv.Finished.Sub(inv.Accepted).Round(time.Millisecond).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", inv.ID, inv.State, inv.Attempts, inv.Reason, showTime(inv.Accepted), took)
	}
	return t.Flush()
}
