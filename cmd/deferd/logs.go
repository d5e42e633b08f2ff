package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func logsCommand() *cobra.Command {
	o := logsOptions{}
	cmd := &cobra.Command{
		Use:   "logs ENDPOINT",
		Short: "Print what an endpoint's instances printed, and what became of its requests",
		Long: `Print what an endpoint's instances printed, and what became of its requests.

It is what CloudWatch Logs has of the endpoint, also of AWS's. Streams called
VARIANT/INSTANCE are what instances printed, and those with /data-log behind it
say what became of each request.`,
		Example: `  deferd logs digits
  deferd logs digits -f
  deferd logs digits --since 2h --filter '"Received server error"' --stream primary/`,
		Args: arguments(cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().DurationVar(&o.since, "since", 24*time.Hour, "from how long ago")
	cmd.Flags().IntVar(&o.tail, "tail", 100, "only so many of the newest lines; 0 for all")
	cmd.Flags().StringVar(&o.filter, "filter", "", "only lines with these terms, in CloudWatch's syntax")
	cmd.Flags().StringVar(&o.stream, "stream", "", "only streams whose names begin so")
	o.format = addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		l := &logReader{site: s, o: o, out: cmd.OutOrStdout(), in: object{"logGroupName": "/aws/sagemaker/Endpoints/" + args[0]}}
		if o.filter != "" {
			l.in["filterPattern"] = o.filter
		}
		if o.stream != "" {
			l.in["logStreamNamePrefix"] = o.stream
		}
		return l.print(cmd.Context())
	}
	addSiteFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints
	return cmd
}

type logsOptions struct {
	follow         bool
	since          time.Duration
	tail           int
	filter, stream string
	format         *format
}

// A logLine is an event of a log.
type logLine struct {
	Timestamp              int64
	LogStreamName, Message string
}

// A logReader prints the events of one endpoint.
type logReader struct {
	site *site
	o    logsOptions
	out  io.Writer
	in   object // what every request says

	seen map[logLine]int // how often each of the last moments was printed
}

const (
	logsPause = time.Second

	// logsOverlap is how far back each look goes: lines of several streams come
	// in order only after a moment.
	logsOverlap = 2 * time.Second
)

// print prints what is there, and what comes if that is asked for.
func (l *logReader) print(ctx context.Context) error {
	from := time.Now().Add(-l.o.since).UnixMilli()
	var last []logLine
	newest := from
	err := l.read(ctx, from, func(e logLine) error {
		newest = max(newest, e.Timestamp)
		last = append(last, e)
		if l.o.tail > 0 && len(last) > 2*l.o.tail {
			last = append(last[:0], last[len(last)-l.o.tail:]...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if l.o.tail > 0 {
		last = last[max(0, len(last)-l.o.tail):]
	}
	l.seen = map[logLine]int{}
	for _, e := range last {
		if err := l.printLine(e); err != nil {
			return err
		}
	}
	if !l.o.follow {
		return nil
	}
	return l.followFrom(ctx, newest)
}

// followFrom prints what comes after a moment, until ctx ends. A server that is
// being restarted is waited for.
func (l *logReader) followFrom(ctx context.Context, newest int64) error {
	started := newest
	var patience tolerance
	for {
		select {
		case <-time.After(logsPause):
		case <-ctx.Done():
			return &exitError{code: exitInterrupted} // how it is meant to end
		}
		now := map[logLine]int{}
		err := l.read(ctx, newest-logsOverlap.Milliseconds(), func(e logLine) error {
			now[e]++
			if l.seen[e] >= now[e] || e.Timestamp < started {
				return nil
			}
			newest = max(newest, e.Timestamp)
			return l.printLine(e)
		})
		if patience.bears(ctx, err) || ctx.Err() != nil {
			continue
		}
		if err != nil {
			return err
		}
		l.seen = now
	}
}

// read visits the events from a moment on, in order.
func (l *logReader) read(ctx context.Context, from int64, visit func(logLine) error) error {
	in := object{"startTime": max(from, 0)}
	maps.Copy(in, l.in)
	for {
		var page struct {
			Events    []logLine
			NextToken string
		}
		if err := l.site.callService(ctx, cloudWatchLogs, "Logs_20140328", "FilterLogEvents", in, &page); err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := visit(e); err != nil {
				return err
			}
		}
		if page.NextToken == "" {
			return nil
		}
		in["nextToken"] = page.NextToken
	}
}

func (l *logReader) printLine(e logLine) error {
	l.seen[e]++
	at := time.UnixMilli(e.Timestamp)
	if *l.o.format == textFormat {
		_, err := fmt.Fprintf(l.out, "%s %s %s\n", at.Format("2006-01-02T15:04:05.000Z07:00"), e.LogStreamName, withoutTime(e.Message))
		return err
	}
	err := printCompact(l.out, struct {
		Time    time.Time `json:"time"`
		Stream  string    `json:"stream"`
		Message string    `json:"message"`
	}{at.UTC(), e.LogStreamName, e.Message})
	if err == nil {
		_, err = fmt.Fprintln(l.out)
	}
	return err
}

// withoutTime is a line without the time that lines of a data log begin with.
func withoutTime(line string) string {
	at, rest, _ := strings.Cut(line, ":[")
	if _, err := time.Parse(dataLogTime, at); err != nil {
		return line
	}
	return "[" + rest
}
