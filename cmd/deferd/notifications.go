package main

import (
	"fmt"
	"io"

	"github.com/deferd/deferd/client"
	"github.com/spf13/cobra"
)

func notificationsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notifications",
		Short: "Say which notifications nobody has taken, and replay those given up",
		Long: `Say which notifications nobody has taken, and replay those given up.

A notification waits while its receiver takes none, for a day; then it is dead,
and kept until the history of its time is over. That of an invocation has the
invocation's ID.`,
		Example: `  deferd notifications --dead
  deferd notifications replay 0198c1f2-5b7e-7c3a-9d2e-1f0a6b4c8d7e`,
		Args: arguments(cobra.NoArgs),
	}
	listNotifications(cmd)
	list := &cobra.Command{
		Use:     "list",
		Short:   "List them, newest first",
		Example: "  deferd notifications list --dead --output json",
		Args:    arguments(cobra.NoArgs),
	}
	listNotifications(list)
	cmd.AddCommand(list, replayCommand())
	return cmd
}

// listNotifications makes a command list them.
func listNotifications(cmd *cobra.Command) {
	dead, limit := false, 0
	format := addOutput(cmd)
	cmd.Flags().BoolVar(&dead, "dead", false, "only those that were given up")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many, newest first")
	addSiteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := notificationsOf(cmd)
		if err != nil {
			return err
		}
		list := []client.Notification{}
		for n, err := range c.Notifications(cmd.Context(), dead) {
			if err != nil {
				return err
			}
			if list = append(list, n); len(list) == limit {
				break
			}
		}
		return printNotifications(cmd.OutOrStdout(), list, *format)
	}
}

// notificationsOf is the client of the server that a command is for.
func notificationsOf(cmd *cobra.Command) (*client.Client, error) {
	s, err := openSite(cmd)
	if err != nil {
		return nil, err
	}
	c := s.invocations()
	if c == nil {
		return nil, usagef("AWS cannot say which notifications wait; a server of deferd can")
	}
	return c, nil
}

func printNotifications(w io.Writer, list []client.Notification, f format) error {
	if f == jsonFormat {
		return printJSON(w, list)
	}
	t := newTable(w)
	fmt.Fprintln(t, "NOTIFICATION\tSTATE\tTRIES\tCREATED\tTARGET\tLAST ERROR")
	for _, n := range list {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", n.ID, n.State, n.Tries, showTime(n.Created), n.Target, n.Error)
	}
	return t.Flush()
}

func replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay ID... | --all",
		Short: "Have notifications that were given up delivered as if they were new",
		Example: `  deferd notifications replay 0198c1f2-5b7e-7c3a-9d2e-1f0a6b4c8d7e
  deferd notifications replay --all`,
		Args: arguments(cobra.ArbitraryArgs),
	}
	all := cmd.Flags().Bool("all", false, "all that were given up")
	format := addOutput(cmd)
	addSiteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if (len(ids) > 0) == *all {
			return usagef("name notifications, or say --all")
		}
		c, err := notificationsOf(cmd)
		if err != nil {
			return err
		}
		if *all {
			if ids, err = deadNotifications(cmd, c); err != nil {
				return err
			}
		}
		for _, id := range ids {
			if err := c.ReplayNotification(cmd.Context(), id); err != nil {
				return err
			}
		}
		return printDone(cmd.OutOrStdout(), *format, "replayed", ids...)
	}
	return cmd
}

// deadNotifications are the IDs of all that were given up. They are read before
// the first is replayed, as it may die again meanwhile.
func deadNotifications(cmd *cobra.Command, c *client.Client) (ids []string, err error) {
	seen := map[string]bool{}
	for n, err := range c.Notifications(cmd.Context(), true) {
		if err != nil {
			return nil, err
		}
		if !seen[n.ID] {
			ids = append(ids, n.ID)
		}
		seen[n.ID] = true
	}
	return ids, nil
}
