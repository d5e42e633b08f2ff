package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/deferd/deferd"
	"github.com/deferd/deferd/client"
	"github.com/google/go-cmp/cmp"
)

// A monitor is a CloudWatch in memory, which is a client of a site.
type monitor struct {
	values map[string]map[int64]float64 // of metric and statistic, by the minute since 1970
	page   int                          // how many queries are answered at once
	answer string                       // in the place of one
	asked  int
}

func (m *monitor) Do(r *http.Request) (*http.Response, error) {
	if r.Header.Get("X-Amz-Target") != "GraniteServiceVersion20100801.GetMetricData" || !strings.Contains(r.Header.Get("Authorization"), "/monitoring/") {
		return nil, &url.Error{Op: r.Method, URL: r.URL.String(), Err: fmt.Errorf("not a question for CloudWatch: %v", r.Header)}
	}
	m.asked++
	if m.answer != "" {
		return answerOf(r, 400, m.answer), nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var in struct {
		StartTime, EndTime int64
		NextToken          int `json:",string"`
		MetricDataQueries  []struct {
			ID         string `json:"Id"`
			MetricStat struct {
				Metric struct{ MetricName string }
				Stat   string
			}
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	type result struct {
		ID                 string `json:"Id"`
		Timestamps, Values []float64
	}
	out := struct {
		MetricDataResults []result
		NextToken         string `json:",omitempty"`
	}{}
	for i, q := range in.MetricDataQueries[in.NextToken:] {
		if i == m.page {
			out.NextToken = fmt.Sprint(in.NextToken + m.page)
			break
		}
		r := result{ID: q.ID}
		for minute, v := range m.values[q.MetricStat.Metric.MetricName+" "+q.MetricStat.Stat] {
			if at := minute * 60; at >= in.StartTime && at < in.EndTime {
				r.Timestamps, r.Values = append(r.Timestamps, float64(at)), append(r.Values, v)
			}
		}
		out.MetricDataResults = append(out.MetricDataResults, r)
	}
	text, err := json.Marshal(out)
	return answerOf(r, 200, string(text)), err
}

func (m *monitor) site(endpoint string) *site {
	cfg := aws.Config{Region: "us-east-1", HTTPClient: m, Credentials: credentials.NewStaticCredentialsProvider("AKIA1", "secret", "")}
	if endpoint != "" {
		cfg.BaseEndpoint = &endpoint
	}
	return newSite(cfg)
}

func described(name string, variants ...string) endpointDescription {
	e := endpointDescription{EndpointName: name}
	for _, v := range variants {
		e.ProductionVariants = append(e.ProductionVariants, struct {
			VariantName                                string
			CurrentInstanceCount, DesiredInstanceCount int
		}{VariantName: v})
	}
	return e
}

// TestActivityOfAWS says of an endpoint of AWS what its metrics have, which are
// late.
func TestActivityOfAWS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * time.Second) // within a minute
		before := time.Now().Unix()/60 - 1
		m := &monitor{page: 3, values: map[string]map[int64]float64{
			"ApproximateBacklogSize Average":        {before - 1: 9.4, before: 12.4},
			"ApproximateAgeOfOldestRequest Maximum": {before: 7},
			"InvocationsProcesssed Sum":             {before: 10},
			"InvocationFailures Sum":                {before: 4},
			"Invocation4XXErrors Sum":               {before: 2},
			"RequestDownloadFailures Sum":           {before: 1},
			"ExpiredRequests Sum":                   {before: 3},
			"NotificationFailures Sum":              {before: 5},
			"TotalProcessingTime p50":               {before: 250},
			"TotalProcessingTime p99":               {before: 4000},
		}}
		got, err := m.site("").activity(t.Context(), nil, described("e", "a", "b"), true)
		if err != nil {
			t.Fatal(err)
		}
		want := activity{
			Backlog: new(12), about: true, Oldest: new(7.0), Accepted: new(29.0), Completed: new(12.0), Failed: new(14.0), P50: new(0.25), P99: new(4.0),
			Failures: map[string]float64{"4xx": 4, "download": 2, "expired": 6, "notification": 10, "other": 2},
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(activity{})); diff != "" {
			t.Errorf("two variants, each with the same (-want +got):\n%s", diff)
		}
		if m.asked != 8 { // for 2 and 20 queries
			t.Errorf("%d pages were read, want 8", m.asked)
		}
	})
}

// TestActivityRefused says nothing where metrics may not be read, and fails
// where nobody answers.
func TestActivityRefused(t *testing.T) {
	m := &monitor{answer: `{"__type":"AccessDeniedException","message":"no"}`}
	got, err := m.site("").activity(t.Context(), nil, described("e", "a"), true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(activity{}, got, cmp.AllowUnexported(activity{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c := &canned{}
	if _, err := c.site().activity(t.Context(), nil, described("e"), false); exitCode(err) != exitUnavailable {
		t.Errorf("where nobody answers: %v", err)
	}
}

func TestPerMinute(t *testing.T) {
	now := time.Unix(600*60+15, 0)
	for _, test := range []struct {
		name   string
		values map[int64]float64
		want   *float64
	}{
		{"nothing", nil, nil},
		{"this minute and the one before", map[int64]float64{599: 8, 600: 2}, new(8.0)},
		{"this minute", map[int64]float64{600: 2}, new(2.0)},
		{"older", map[int64]float64{598: 4, 600: 0}, new(0.0)},
		{"late", map[int64]float64{597: 3, 598: 4}, new(4.0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := measured{deferd.InvocationFailures: test.values}.perMinute(deferd.InvocationFailures, now)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A standing is a server of ours that says where invocations stand.
type standing map[string][]client.Invocation

func (l standing) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := json.Marshal(map[string]any{"invocations": l[r.URL.Query().Get("state")]})
	return answerOf(r, 200, string(text)), err
}

func invocationsOf(n int, accepted, every time.Duration, took time.Duration) []client.Invocation {
	var list []client.Invocation
	for i := range n {
		at := time.Now().Add(-accepted - time.Duration(i)*every)
		list = append(list, client.Invocation{Accepted: at, Finished: at.Add(took + time.Duration(i)*time.Millisecond)})
	}
	return list
}

// TestActivityOfOurs prefers what a server of ours counts to what was measured.
func TestActivityOfOurs(t *testing.T) {
	for _, test := range []struct {
		name     string
		measured activity
		says     func() standing
		want     activity
	}{
		{"idle", activity{Backlog: new(3), about: true, Oldest: new(9.0)}, func() standing { return nil },
			activity{Backlog: new(0), InFlight: new(0), Oldest: new(0.0), Accepted: new(0.0)}},
		{"some", activity{}, func() standing {
			return standing{"Running": invocationsOf(2, 0, 0, 0), "Queued": invocationsOf(3, time.Second, time.Second, 0),
				"": invocationsOf(70, 0, time.Second, 0), "Completed": invocationsOf(100, 0, time.Second, time.Second)}
		}, activity{Backlog: new(5), InFlight: new(2), Oldest: new(3.0), Accepted: new(60.0), P50: new(1.049), P99: new(1.098)}},
		{"more than a page", activity{Backlog: new(5000), about: true, Oldest: new(99.0), Accepted: new(600.0)}, func() standing {
			return standing{"Running": invocationsOf(2, 0, 0, 0), "Queued": invocationsOf(150, 0, 0, 0), "": invocationsOf(150, 100*time.Millisecond, 100*time.Millisecond, 0)}
		}, activity{Backlog: new(5000), about: true, InFlight: new(2), Oldest: new(99.0), Accepted: new(600.0)}},
		{"more than a page, not measured", activity{Backlog: new(7), about: true}, func() standing {
			return standing{"Queued": invocationsOf(150, time.Second, 0, 0), "": invocationsOf(150, time.Second, 0, 0)}
		}, activity{Backlog: new(100), atLeast: true, InFlight: new(0), Oldest: new(1.0), Accepted: new(100.0)}},
		{"old results", activity{}, func() standing { return standing{"Completed": invocationsOf(9, recently+time.Minute, 0, time.Second)} },
			activity{Backlog: new(0), InFlight: new(0), Oldest: new(0.0), Accepted: new(0.0)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client.New(client.Config{
					Endpoint: "http://server:1", HTTPClient: &http.Client{Transport: test.says()},
					Credentials: credentials.NewStaticCredentialsProvider("AKIA1", "secret", ""),
				})
				got := test.measured
				if err := got.ask(t.Context(), c, "e", true, time.Now()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(activity{})); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestShowSeconds(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0ms", 0.0024: "2.4ms", 0.9994: "999ms", 1: "1.0s", 12.4: "12s", 192.4: "3m12s", 3600: "1h00m", 200_000: "2d",
	} {
		if got := showSeconds(&seconds); got != want {
			t.Errorf("showSeconds(%v) = %q, want %q", seconds, got, want)
		}
	}
}

func TestShowRate(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.33: "0.3", 9.96: "10", 10.4: "10", 1520: "1520"} {
		if got := showRate(&v); got != want {
			t.Errorf("showRate(%v) = %q, want %q", v, got, want)
		}
	}
}
