package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/deferd/deferd/client"
	"github.com/spf13/cobra"
)

func endpointsCommand() *cobra.Command {
	var contains string
	cmd := &cobra.Command{
		Use:   "endpoints [ENDPOINT]",
		Short: "List endpoints, or say everything about one",
		Long: `List endpoints with status, instances and backlog, or say everything about one.

INSTANCES is how many serve, of how many should. BACKLOG is how many invocations
wait or run, counted up to 100; AWS does not say.`,
		Example: `  deferd endpoints
  deferd endpoints digits
  deferd endpoints --contains test --output json`,
		Args: arguments(cobra.MaximumNArgs(1)),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		if len(args) == 1 {
			e, err := s.endpointReport(ctx, s.invocations(), args[0])
			if err != nil {
				return err
			}
			return e.print(cmd.OutOrStdout(), *format)
		}
		list, err := s.listEndpoints(ctx, contains, 0)
		if err != nil {
			return err
		}
		reports := []endpointReport{}
		asked := s.invocations()
		for _, item := range list {
			e, err := s.endpointReport(ctx, asked, item.EndpointName)
			if isMissing(err) { // deleted meanwhile
				continue
			}
			if err != nil {
				return err
			}
			reports = append(reports, e)
		}
		return printEndpoints(cmd.OutOrStdout(), reports, *format)
	}
	cmd.Flags().StringVar(&contains, "contains", "", "only those with this in their name")
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints
	return cmd
}

// An endpointReport is what is shown of an endpoint.
type endpointReport struct {
	Name          string    `json:"name"`
	Status        string    `json:"status"`
	FailureReason string    `json:"failureReason,omitempty"`
	Instances     int       `json:"instances"`
	Desired       int       `json:"desiredInstances"`
	Backlog       *int      `json:"backlog,omitempty"` // nil: unknown
	Config        string    `json:"endpointConfig"`
	Models        []string  `json:"models"`
	Concurrency   int       `json:"concurrency,omitempty"`
	Output        string    `json:"output,omitempty"`
	Failure       string    `json:"failure,omitempty"`
	Created       time.Time `json:"created"`
	Modified      time.Time `json:"modified"`
}

// maxBacklog is how far the backlog is counted: one page.
const maxBacklog = 100

// endpointReport puts together what there is to know of an endpoint. Asked is
// nil where nobody can be asked for the backlog.
func (s *site) endpointReport(ctx context.Context, asked *client.Client, name string) (endpointReport, error) {
	e, err := s.describeEndpoint(ctx, name)
	if err != nil {
		return endpointReport{}, err
	}
	r := endpointReport{
		Name: e.EndpointName, Status: e.EndpointStatus, FailureReason: e.FailureReason, Config: e.EndpointConfigName,
		Created: awsTime(e.CreationTime), Modified: awsTime(e.LastModifiedTime), Models: []string{},
	}
	for _, v := range e.ProductionVariants {
		r.Instances += v.CurrentInstanceCount
		r.Desired += v.DesiredInstanceCount
	}
	config, err := s.describeConfig(ctx, e.EndpointConfigName)
	if err != nil && !isMissing(err) { // a configuration may be deleted before its endpoint
		return r, err
	}
	r.Models = append(r.Models, config.models()...)
	r.Concurrency = config.AsyncInferenceConfig.ClientConfig.MaxConcurrentInvocationsPerInstance
	r.Output, r.Failure = config.AsyncInferenceConfig.OutputConfig.S3OutputPath, config.AsyncInferenceConfig.OutputConfig.S3FailurePath
	if asked == nil {
		return r, nil
	}
	backlog := 0
	for _, err := range asked.Invocations(ctx, name, "Queued", "Running") {
		if err != nil {
			return r, nil // not one of ours: it cannot say
		}
		if backlog++; backlog == maxBacklog {
			break
		}
	}
	r.Backlog = &backlog
	return r, nil
}

func (r endpointReport) backlog() string {
	switch {
	case r.Backlog == nil:
		return ""
	case *r.Backlog == maxBacklog:
		return fmt.Sprintf("%d+", maxBacklog)
	}
	return fmt.Sprint(*r.Backlog)
}

func (r endpointReport) print(w io.Writer, f format) error {
	if f == jsonFormat {
		return printJSON(w, r)
	}
	concurrency := ""
	if r.Concurrency > 0 {
		concurrency = fmt.Sprint(r.Concurrency)
	}
	return printRows(w, [][2]string{
		{"endpoint", r.Name}, {"status", r.Status}, {"failure reason", r.FailureReason},
		{"instances", fmt.Sprintf("%d of %d", r.Instances, r.Desired)}, {"backlog", r.backlog()},
		{"configuration", r.Config}, {"models", strings.Join(r.Models, ", ")}, {"concurrency", concurrency},
		{"results", r.Output}, {"failures", r.Failure},
		{"created", showTime(r.Created)}, {"modified", showTime(r.Modified)},
	})
}

func printEndpoints(w io.Writer, list []endpointReport, f format) error {
	if f == jsonFormat {
		return printJSON(w, list)
	}
	t := newTable(w)
	fmt.Fprintln(t, "ENDPOINT\tSTATUS\tINSTANCES\tBACKLOG\tMODELS\tCREATED")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%s\t%d/%d\t%s\t%s\t%s\n", r.Name, r.Status, r.Instances, r.Desired, r.backlog(), strings.Join(r.Models, ","), showTime(r.Created))
	}
	return t.Flush()
}
