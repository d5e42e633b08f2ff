package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/deferd/deferd/client"
	"github.com/spf13/cobra"
)

func invocationsCommand() *cobra.Command {
	var states []string
	var limit int
	var output string
	cmd := &cobra.Command{
		Use:   "invocations ENDPOINT [ID]",
		Short: "Say where invocations stand: state, attempts, true reason, times",
		Long: `Say where invocations stand: state, attempts, true reason, times.

ID is an invocation ID or an inference ID. The server and its keys are found as
AWS's clients find them: eval "$(deferd env)" sets what is needed.`,
		Example: `  deferd invocations digits
  deferd invocations digits --state Queued,Running --limit 100
  deferd invocations digits 0198c1f2-5b7e-7c3a-9d2e-1f0a6b4c8d7e --output json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output %q is neither text nor json", output)
			}
			c, err := client.FromEnvironment(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 2 {
				inv, err := c.Invocation(cmd.Context(), args[0], args[1])
				if err != nil {
					return err
				}
				return printInvocation(cmd.OutOrStdout(), inv, output)
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
			return printInvocations(cmd.OutOrStdout(), list, output)
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only these states: Queued, Running, Publishing, Completed, Failed, Expired, Cancelled")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many, newest first")
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printInvocation(w io.Writer, inv client.Invocation, output string) error {
	if output == "json" {
		return printJSON(w, inv)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
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
	} {
		if row[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	return t.Flush()
}

func inputOf(inv client.Invocation) string {
	if inv.Input != "" {
		return inv.Input
	}
	return fmt.Sprintf("inline, %d bytes", inv.InlineSize)
}

func printInvocations(w io.Writer, list []client.Invocation, output string) error {
	if output == "json" {
		return printJSON(w, list)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
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

func showTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}
