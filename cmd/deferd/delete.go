package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func deleteCommand() *cobra.Command {
	var yes, keepModel bool
	cmd := &cobra.Command{
		Use:   "delete ENDPOINT...",
		Short: "Delete an endpoint, its configuration and its models",
		Long: `Delete an endpoint, wait until it has gone, then delete its configuration and
models, unless another endpoint uses them. Objects in S3 stay. What waits for the
endpoint ends as Failed.`,
		Example: `  deferd delete shout
  deferd delete shout digits --yes --keep-model`,
		Args: arguments(cobra.MinimumNArgs(1)),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		what := "endpoint " + strings.Join(args, ", ")
		if !keepModel {
			what += " with its configuration and models"
		}
		if err := confirm(cmd, yes, "Delete "+what+"?"); err != nil {
			return err
		}
		status := newStatusLine(cmd.ErrOrStderr())
		all := []string{}
		for _, name := range args {
			var deleted []string
			deleted, err = s.deleteAll(cmd.Context(), name, keepModel, status)
			status.clear()
			if all = append(all, deleted...); err != nil {
				break
			}
		}
		return errors.Join(printDone(cmd.OutOrStdout(), *format, "deleted", all...), err)
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&keepModel, "keep-model", false, "keep the configuration and the models")
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints
	return cmd
}

// confirm asks before something is destroyed: on a terminal the person there,
// elsewhere for --yes.
func confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	in := cmd.InOrStdin()
	if terminalWidth(in) == 0 {
		return usagef("nobody is there to ask: say --yes")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // reading a terminal does not end with a context
		line, _ := bufio.NewReader(in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return &exitError{exitFailed, fmt.Errorf("nothing was deleted")}
	case <-cmd.Context().Done():
		return context.Cause(cmd.Context())
	}
}

// deleteAll deletes an endpoint and what only it uses, and returns what it has
// deleted, also where it fails.
func (s *site) deleteAll(ctx context.Context, name string, keepModel bool, status *statusLine) (deleted []string, err error) {
	e, err := s.describeEndpoint(ctx, name)
	if err != nil {
		return nil, err
	}
	config, err := s.describeConfig(ctx, e.EndpointConfigName)
	haveConfig := err == nil
	if err != nil && !isMissing(err) {
		return nil, err
	}
	if err := s.removeEndpoint(ctx, name, status); err != nil {
		return nil, err
	}
	deleted = append(deleted, "endpoint "+name)
	if keepModel || !haveConfig {
		return deleted, nil
	}
	others, err := s.usedByOthers(ctx, name)
	if err != nil {
		return deleted, err
	}
	if !slices.Contains(others, "configuration "+e.EndpointConfigName) {
		if err := s.call(ctx, "DeleteEndpointConfig", object{"EndpointConfigName": e.EndpointConfigName}, nil); err != nil && !isMissing(err) {
			return deleted, err
		}
		deleted = append(deleted, "configuration "+e.EndpointConfigName)
	}
	for _, model := range config.models() {
		if slices.Contains(others, "model "+model) {
			continue
		}
		if err := s.call(ctx, "DeleteModel", object{"ModelName": model}, nil); err != nil && !isMissing(err) {
			return deleted, err
		}
		deleted = append(deleted, "model "+model)
	}
	return deleted, nil
}

// usedByOthers names the configurations and models of all endpoints but one.
func (s *site) usedByOthers(ctx context.Context, name string) (used []string, err error) {
	list, err := s.listEndpoints(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	for _, other := range list {
		if other.EndpointName == name {
			continue
		}
		e, err := s.describeEndpoint(ctx, other.EndpointName)
		if err == nil {
			var config configDescription
			config, err = s.describeConfig(ctx, e.EndpointConfigName)
			used = append(used, "configuration "+e.EndpointConfigName)
			for _, model := range config.models() {
				used = append(used, "model "+model)
			}
		}
		if err != nil && !isMissing(err) {
			return nil, err
		}
	}
	return used, nil
}

// removeEndpoint deletes an endpoint and waits until it has gone. Status may be
// nil.
func (s *site) removeEndpoint(ctx context.Context, name string, status *statusLine) error {
	if status == nil {
		status = &statusLine{w: io.Discard}
	}
	err := s.call(ctx, "DeleteEndpoint", object{"EndpointName": name}, nil)
	if err != nil {
		e, err2 := s.describeEndpoint(ctx, name)
		if err2 != nil || e.EndpointStatus != "Deleting" { // somebody else was first
			return err
		}
	}
	for pause := newBackoff(); ; {
		e, err := s.describeEndpoint(ctx, name)
		switch {
		case isMissing(err):
			return nil
		case err != nil:
			return err
		case e.EndpointStatus == "Failed":
			return fmt.Errorf("endpoint %s could not be deleted: %s", name, e.FailureReason)
		}
		status.show(name+": "+e.EndpointStatus, "")
		if err := pause.wait(ctx); err != nil {
			return err
		}
	}
}
