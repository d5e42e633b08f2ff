package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func endpointsCommand() *cobra.Command {
	var contains string
	cmd := &cobra.Command{
		Use:   "endpoints [ENDPOINT]",
		Short: "List endpoints, or say everything about one",
		Long: `List endpoints with status, instances, backlog and rates, or say everything
about one.

INSTANCES is how many serve, of how many should. BACKLOG is how many invocations
wait or run: with ~ an estimate of CloudWatch's, with + at least. OLDEST is how
long the oldest that waits has done so; the rest is by the minute.`,
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
			e, err := s.endpointReport(ctx, args[0], wholeReport)
			if err != nil {
				return err
			}
			return e.print(cmd.OutOrStdout(), *format)
		}
		list, err := s.listEndpoints(ctx, contains, 0)
		if err != nil {
			return err
		}
		reports, err := s.endpointReports(ctx, list, listReport)
		if err != nil {
			return err
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
	Name          string          `json:"name"`
	Status        string          `json:"status"`
	FailureReason string          `json:"failureReason,omitempty"`
	Instances     int             `json:"instances"`
	Desired       int             `json:"desiredInstances"`
	Variants      []variantReport `json:"variants"`
	activity
	Config      string    `json:"endpointConfig"`
	Models      []string  `json:"models"`
	Concurrency int       `json:"concurrency,omitempty"`
	Output      string    `json:"output,omitempty"`
	Failure     string    `json:"failure,omitempty"`
	Created     time.Time `json:"created"`
	Modified    time.Time `json:"modified"`
}

// A variantReport is what is shown of one of an endpoint's variants.
type variantReport struct {
	Name      string `json:"name"`
	Instances int    `json:"instances"`
	Desired   int    `json:"desiredInstances"`
}

// A detail is what a report is put together of.
type detail struct{ config, latency bool }

var (
	wholeReport = detail{config: true, latency: true}
	listReport  = detail{config: true}
)

// lookedAtOnce is how many endpoints are asked about at the same time.
const lookedAtOnce = 8

// endpointReports puts together what there is to know of endpoints, in their
// order; those that are deleted meanwhile are left out.
func (s *site) endpointReports(ctx context.Context, list []endpointSummary, want detail) ([]endpointReport, error) {
	found := make([]*endpointReport, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookedAtOnce)
	for i, item := range list {
		g.Go(func() error {
			r, err := s.endpointReport(ctx, item.EndpointName, want)
			if err == nil {
				found[i] = &r
			}
			if isMissing(err) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	reports := []endpointReport{}
	for _, r := range found {
		if r != nil {
			reports = append(reports, *r)
		}
	}
	return reports, nil
}

// endpointReport puts together what there is to know of an endpoint.
func (s *site) endpointReport(ctx context.Context, name string, want detail) (endpointReport, error) {
	e, err := s.describeEndpoint(ctx, name)
	if err != nil {
		return endpointReport{}, err
	}
	r := endpointReport{
		Name: e.EndpointName, Status: e.EndpointStatus, FailureReason: e.FailureReason, Config: e.EndpointConfigName,
		Created: awsTime(e.CreationTime), Modified: awsTime(e.LastModifiedTime), Models: []string{}, Variants: []variantReport{},
	}
	for _, v := range e.ProductionVariants {
		r.Instances += v.CurrentInstanceCount
		r.Desired += v.DesiredInstanceCount
		r.Variants = append(r.Variants, variantReport{v.VariantName, v.CurrentInstanceCount, v.DesiredInstanceCount})
	}
	if want.config {
		config, err := s.describeConfig(ctx, e.EndpointConfigName)
		if err != nil && !isMissing(err) { // a configuration may be deleted before its endpoint
			return r, err
		}
		r.Models = append(r.Models, config.models()...)
		r.Concurrency = config.AsyncInferenceConfig.ClientConfig.MaxConcurrentInvocationsPerInstance
		r.Output, r.Failure = config.AsyncInferenceConfig.OutputConfig.S3OutputPath, config.AsyncInferenceConfig.OutputConfig.S3FailurePath
	}
	r.activity, err = s.activity(ctx, s.invocations(), e, want.latency)
	return r, err
}

func (r endpointReport) print(w io.Writer, f format) error {
	if f == jsonFormat {
		return printJSON(w, r)
	}
	concurrency := ""
	if r.Concurrency > 0 {
		concurrency = fmt.Sprint(r.Concurrency)
	}
	rows := [][2]string{
		{"endpoint", r.Name}, {"status", r.Status}, {"failure reason", r.FailureReason},
		{"instances", fmt.Sprintf("%d of %d", r.Instances, r.Desired)},
	}
	if len(r.Variants) > 1 {
		for _, v := range r.Variants {
			rows = append(rows, [2]string{"of " + v.Name, fmt.Sprintf("%d of %d", v.Instances, v.Desired)})
		}
	}
	return printRows(w, append(rows, [][2]string{
		{"backlog", r.backlog()}, {"in flight", r.inFlight()}, {"oldest waits", r.oldest()},
		{"accepted/min", showRate(r.Accepted)}, {"completed/min", showRate(r.Completed)}, {"failed/min", r.failed()},
		{"latency p50", showSeconds(r.P50)}, {"latency p99", showSeconds(r.P99)},
		{"configuration", r.Config}, {"models", strings.Join(r.Models, ", ")}, {"concurrency", concurrency},
		{"results", r.Output}, {"failures", r.Failure},
		{"created", showTime(r.Created)}, {"modified", showTime(r.Modified)},
	}...))
}

func printEndpoints(w io.Writer, list []endpointReport, f format) error {
	if f == jsonFormat {
		return printJSON(w, list)
	}
	t := newTable(w)
	fmt.Fprintln(t, "ENDPOINT\tSTATUS\tINSTANCES\tBACKLOG\tMODELS\tCREATED\tOLDEST\tACCEPTED/MIN\tCOMPLETED/MIN\tFAILED/MIN")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%s\t%d/%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.Name, r.Status, r.Instances, r.Desired, r.backlog(), strings.Join(r.Models, ","), showTime(r.Created),
			known(r.oldest()), known(showRate(r.Accepted)), known(showRate(r.Completed)), known(showRate(r.Failed)))
	}
	return t.Flush()
}
