package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/google/go-cmp/cmp"
)

// worked deploys the endpoint and lets it fail 3 of 10 invocations; it returns
// the ID of one of the three once all have ended.
func (c *client) worked(s *server) (failed string) {
	c.t.Helper()
	c.deploy()
	outs := c.invokeMany(10, func(i int) string {
		if i < 3 {
			return "status=500"
		}
		return "delay=20ms"
	})
	for id, out := range outs {
		await(c.t, "the end of "+id, func() bool { return c.exists(*out.OutputLocation) || c.exists(*out.FailureLocation) })
		if c.exists(*out.FailureLocation) {
			failed = id
		}
	}
	return failed
}

// sum adds up a metric of the endpoint's over the last minutes.
func sum(t *testing.T, w *cloudwatch.Client, metric string, dims ...types.Dimension) (sum, count float64, unit types.StandardUnit) {
	t.Helper()
	out, err := w.GetMetricStatistics(t.Context(), &cloudwatch.GetMetricStatisticsInput{
		Namespace: aws.String("AWS/SageMaker"), MetricName: &metric, Dimensions: dims, Period: aws.Int32(60),
		StartTime: aws.Time(time.Now().Add(-15 * time.Minute)), EndTime: aws.Time(time.Now().Add(time.Minute)),
		Statistics: []types.Statistic{types.StatisticSum, types.StatisticSampleCount},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range out.Datapoints {
		sum, count, unit = sum+*p.Sum, count+*p.SampleCount, p.Unit
	}
	return sum, count, unit
}

// The Go SDK speaks CBOR.
func TestCloudWatchGo(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	c.worked(s)
	w := cloudwatch.NewFromConfig(s.awsConfig())
	name := types.Dimension{Name: aws.String("EndpointName"), Value: aws.String(endpoint)}
	variant := types.Dimension{Name: aws.String("VariantName"), Value: aws.String("AllTraffic")}
	await(t, "10 invocations to be counted", func() bool {
		n, _, _ := sum(t, w, "InvocationsProcesssed", name, variant)
		return n == 10
	})
	for metric, want := range map[string]struct {
		sum, count float64
		unit       types.StandardUnit
	}{
		"InvocationsProcessed": {10, 10, "Count"}, "InvocationFailures": {3, 3, "Count"}, "Invocation5XXErrors": {3, 10, "None"},
		"Invocation4XXErrors": {0, 10, "None"}, "ExpiredRequests": {0, 0, "Count"},
	} {
		if got, count, unit := sum(t, w, metric, name, variant); got != want.sum || count != want.count || unit != want.unit {
			t.Errorf("%s: sum %v of %v %s, want %+v", metric, got, count, unit, want)
		}
	}
	for metric, least := range map[string]float64{"ModelLatency": 7 * 20_000, "TotalProcessingTime": 7 * 20, "ResponseUploadLatency": 1, "TimeInBacklog": 0} {
		if got, count, _ := sum(t, w, metric, name, variant); got < least || count != 10 {
			t.Errorf("%s: sum %v of %v, want at least %v of 10", metric, got, count, least)
		}
	}
	if got, _, unit := sum(t, w, "ApproximateBacklogSize", name); got < 0 || unit != "" && unit != "Count" {
		t.Errorf("ApproximateBacklogSize: %v %s", got, unit)
	}

	t.Run("alarm", func(t *testing.T) {
		_, err := w.PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{
			AlarmName: aws.String("failures"), Namespace: aws.String("AWS/SageMaker"), MetricName: aws.String("InvocationFailures"),
			Dimensions: []types.Dimension{name, variant}, Statistic: types.StatisticSum, Period: aws.Int32(60), EvaluationPeriods: aws.Int32(10),
			DatapointsToAlarm: aws.Int32(1), Threshold: aws.Float64(3), ComparisonOperator: types.ComparisonOperatorGreaterThanOrEqualToThreshold,
		})
		if err != nil {
			t.Fatal(err)
		}
		// It is judged when the minute is over.
		waiter := cloudwatch.NewAlarmExistsWaiter(w)
		if err := waiter.Wait(t.Context(), &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{"failures"}}, patience); err != nil {
			t.Error(err)
		}
		var got types.MetricAlarm
		for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline) && got.StateValue != types.StateValueAlarm; <-time.After(10 * tick) {
			out, err := w.DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("fail")})
			if err != nil {
				t.Fatal(err)
			}
			got = out.MetricAlarms[0]
		}
		if got.StateValue != types.StateValueAlarm || !strings.Contains(aws.ToString(got.StateReason), "Threshold Crossed") {
			t.Errorf("the alarm is %s: %s", got.StateValue, aws.ToString(got.StateReason))
		}
		_, err = w.SetAlarmState(t.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: aws.String("none"), StateValue: types.StateValueOk, StateReason: aws.String("")})
		if _, ok := errors.AsType[*types.ResourceNotFound](err); !ok {
			t.Errorf("the state of an alarm that is not there: %v, want ResourceNotFound", err)
		}
	})
	t.Run("after a restart", func(t *testing.T) {
		s.stop()
		s.start()
		w := cloudwatch.NewFromConfig(s.awsConfig())
		if got, _, _ := sum(t, w, "InvocationsProcesssed", name, variant); got != 10 {
			t.Errorf("after a restart %v invocations are counted, want 10", got)
		}
	})
}

func TestCloudWatchBoto3(t *testing.T) {
	t.Parallel()
	for client, python := range map[string]func(*testing.T) string{
		"newest": boto3Python,
		"1.26": func(t *testing.T) string { // speaks the query protocol
			python, err := pythonWith(t, "DEFERD_BOTO3_1_26_PYTHON", "boto3==1.26.27", "botocore==1.29.27")
			if err != nil {
				t.Skipf("boto3 1.26 cannot be had here: %v", err)
			}
			return python
		},
	} {
		t.Run(client, func(t *testing.T) {
			program := python(t)
			s := startServer(t)
			c := s.client()
			failed := c.worked(s)
			cmd := exec.CommandContext(t.Context(), program, "python/cloudwatch.py", endpoint, failed)
			cmd.Env = slices.Concat(s.environment(), []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1", "AWS_EC2_METADATA_DISABLED=true"})
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			checkFound(t, out)
		})
	}
}

// TestCloudWatchJS has the SDK for JavaScript look at the same.
func TestCloudWatchJS(t *testing.T) {
	t.Parallel()
	js := jsProgram(t, "cloudwatch.js")
	s := startServer(t)
	c := s.client()
	c.worked(s)
	js.run(s, endpoint)
}

// A program is a client's, with what it wants in its environment.
type program struct {
	walk
	command, env []string
}

// jsProgram returns a program of conformance/js. Where it cannot be had it skips
// the test, unless js is required.
func jsProgram(t *testing.T, name string) program {
	t.Helper()
	w := walk{"js", jsWalk(name)}
	command, env, err := w.prepare(t)
	if err != nil && required(w.client) {
		t.Fatalf("%s is required: %v", w.client, err)
	}
	if err != nil {
		t.Skipf("%s cannot be had here: %v", w.client, err)
	}
	return program{w, command, env}
}

// run runs the program with a server, and ends the test if it fails.
func (p program) run(s *server, args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), walkTime)
	defer cancel()
	if out, err := p.on(ctx, s, slices.Concat(p.command, args), p.env).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

// checkFound checks what python/cloudwatch.py has found.
func checkFound(t *testing.T, out []byte) {
	t.Helper()
	type metric struct {
		Sum, Count float64
		Units      []string
	}
	found := map[string]json.RawMessage{}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]metric{
		"InvocationsProcesssed": {10, 10, []string{"Count"}}, "InvocationsProcessed": {10, 10, []string{"Count"}},
		"InvocationFailures": {3, 3, []string{"Count"}}, "Invocation5XXErrors": {3, 10, []string{"None"}},
	} {
		var got metric
		if err := json.Unmarshal(found[name], &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, want := range map[string]string{
		"own":    `[[7.0], [499.0]]`,
		"alarm":  fmt.Sprintf(`["INSUFFICIENT_DATA", 1.0, [{"Name": "EndpointName", "Value": %q}], true]`, endpoint),
		"error":  `"ResourceNotFound"`,
		"groups": fmt.Sprintf(`["/aws/sagemaker/Endpoints/%s"]`, endpoint),
		"events": "10",
	} {
		if got := string(found[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	var failures []string
	if err := json.Unmarshal(found["failures"], &failures); err != nil || len(failures) != 1 {
		t.Errorf("failures: %s, %v, want one line", found["failures"], err)
	}
}

func TestLogsCommand(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	failed := c.worked(s)
	lines := s.command("logs", endpoint, "--data", s.data(), "--filter", `"Received server error"`)
	if n := strings.Count(lines, "\n"); n != 3 || !strings.Contains(lines, "["+failed+"]") {
		t.Errorf("deferd logs prints %d lines, want 3, one of them of %s:\n%s", n, failed, lines)
	}
	follow := exec.CommandContext(t.Context(), deferdProgram, "logs", endpoint, "-f", "--tail", "1", "--stream", "AllTraffic/", "--data", s.data(), "-o", "json")
	follow.Env = append(os.Environ(), s.environment()...)
	var printed syncedLines
	follow.Stdout = &printed
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the last line", func() bool { return printed.count(`"message"`) > 0 })
	c.invokeMany(1, func(int) string { return "status=404" })
	await(t, "a new line", func() bool { return printed.count("Received client error (404)") == 1 })
	if err := follow.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := follow.Wait(); follow.ProcessState.ExitCode() != 130 {
		t.Errorf("interrupted, it ends with %v, want 130", err)
	}
}

// syncedLines is what a program prints while it is looked at.
type syncedLines struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *syncedLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count counts the lines that have a text in them.
func (l *syncedLines) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
