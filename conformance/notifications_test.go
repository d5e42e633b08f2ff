package conformance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// createNotifying creates an endpoint that is like the one that was deployed,
// and notifies.
func (c *client) createNotifying(name string, n *types.AsyncInferenceNotificationConfig) {
	c.t.Helper()
	ctx := c.t.Context()
	like, err := c.control.DescribeEndpointConfig(ctx, &sagemaker.DescribeEndpointConfigInput{EndpointConfigName: aws.String(endpoint)})
	c.must("describe the endpoint configuration", err)
	like.AsyncInferenceConfig.OutputConfig.NotificationConfig = n
	_, err = c.control.CreateEndpointConfig(ctx, &sagemaker.CreateEndpointConfigInput{
		EndpointConfigName: &name, ProductionVariants: like.ProductionVariants, AsyncInferenceConfig: like.AsyncInferenceConfig,
	})
	c.must("create the endpoint configuration", err)
	_, err = c.control.CreateEndpoint(ctx, &sagemaker.CreateEndpointInput{EndpointName: &name, EndpointConfigName: &name})
	c.must("create the endpoint", err)
	c.awaitInService(name)
}

// A told is what a receiver was told: a notice of SageMaker's, under an ID.
type told struct {
	ID      string
	Event   string `json:"eventName"`
	Status  string `json:"invocationStatus"`
	Reason  string `json:"failureReason"`
	Label   string `json:"inferenceId"`
	Request struct {
		Endpoint string `json:"endpointName"`
	} `json:"requestParameters"`
	Response struct {
		Output  string `json:"outputLocation"`
		Failure string `json:"failureLocation"`
	} `json:"responseParameters"`
	Body struct {
		Content string `json:"content"`
	} `json:"responseBody"`
}

// told reads what came to a path, whether from a topic or as a webhook.
func (r *receiver) told(t *testing.T, path string) (all []told) {
	t.Helper()
	for _, p := range r.at(path) {
		id, text := p.header.Get("webhook-id"), p.body
		if p.header.Get("x-amz-sns-message-type") != "" {
			var m struct{ Type, MessageID, Message string }
			if err := json.Unmarshal(p.body, &m); err != nil {
				t.Fatalf("read the message %s: %v", p.body, err)
			}
			if m.Type != "Notification" {
				continue
			}
			id, text = m.MessageID, []byte(m.Message)
		}
		one := told{ID: id}
		if err := json.Unmarshal(text, &one); err != nil {
			t.Fatalf("read the notice %s: %v", text, err)
		}
		all = append(all, one)
	}
	return all
}

// results are those of what was told that tell of invocations, by label. A
// repeat has the ID that the first one had.
func results(t *testing.T, all []told) map[string]told {
	t.Helper()
	found := map[string]told{}
	for _, one := range all {
		if one.Event != "InferenceResult" {
			continue
		}
		if before, is := found[one.Label]; is && (before.ID != one.ID || before.Status != one.Status) {
			t.Errorf("%s was told as %+v and as %+v", one.Label, before, one)
		}
		found[one.Label] = one
	}
	return found
}

// TestNotifications has endpoints tell of their invocations by a topic and by
// webhooks, while the receivers refuse and the server is killed.
func TestNotifications(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newReceiver(t)
	c := s.client()
	c.deploy()
	topic := s.topicClient("notices")
	topic.subscribe(r, "/topic", nil)
	c.createNotifying("by-topic", &types.AsyncInferenceNotificationConfig{
		SuccessTopic: &topic.topic, ErrorTopic: aws.String(r.URL + "/errors"),
		IncludeInferenceResponseIn: []types.AsyncNotificationTopicTypes{types.AsyncNotificationTopicTypesSuccessNotificationTopic},
	})
	c.createNotifying("by-webhook", &types.AsyncInferenceNotificationConfig{
		SuccessTopic: aws.String(r.URL + "/hook"), ErrorTopic: &topic.topic,
	})
	for path, n := range map[string]int{"/topic": 2, "/errors": 1, "/hook": 1} {
		await(t, fmt.Sprintf("%d tests at %s", n, path), func() bool { return len(r.told(t, path)) >= n })
		for _, one := range r.told(t, path) {
			if one.Event != "TestNotification" {
				t.Errorf("%s was told %+v, want a test", path, one)
			}
		}
	}
	testNotice(t, c, r)
	testNoticesKilled(t, s, r)
	testReplay(t, s, r)
	testAlarmNotice(t, s, r, topic.topic)
}

// send invokes an endpoint with a label; a status makes it fail.
func (c *client) send(endpoint, label, status string) *sagemakerruntime.InvokeEndpointAsyncOutput {
	c.t.Helper()
	attributes := "delay=40ms"
	if status != "" {
		attributes += "&status=" + status
	}
	in := &sagemakerruntime.InvokeEndpointAsyncInput{EndpointName: &endpoint, InferenceId: &label, Body: []byte(label), CustomAttributes: &attributes}
	out, err := c.runtime.InvokeEndpointAsync(c.t.Context(), in)
	c.must("invoke "+label, err)
	return out
}

// awaitResult waits for what is told of an invocation.
func (r *receiver) awaitResult(t *testing.T, path, label string) told {
	t.Helper()
	await(t, "the notice of "+label, func() bool { return results(t, r.told(t, path))[label].ID != "" })
	return results(t, r.told(t, path))[label]
}

func testNotice(t *testing.T, c *client, r *receiver) {
	out := c.send("by-topic", "good", "")
	got := r.awaitResult(t, "/topic", "good")
	body, err := base64.StdEncoding.DecodeString(got.Body.Content)
	object := c.awaitObject(*out.OutputLocation)
	if err != nil || got.Status != "Completed" || got.Request.Endpoint != "by-topic" || got.Response.Output != *out.OutputLocation || string(body) != string(object.data) {
		t.Errorf("of a success it was told %+v (%v), whose body is %q; the object has %q", got, err, body, object.data)
	}
	out = c.send("by-topic", "bad", "418")
	got = r.awaitResult(t, "/errors", "bad")
	if got.Status != "Failed" || !strings.Contains(got.Reason, "418") || got.Response.Failure != *out.FailureLocation || got.Body.Content != "" {
		t.Errorf("of a failure it was told %+v", got)
	}
	c.send("by-webhook", "hooked", "")
	if got = r.awaitResult(t, "/hook", "hooked"); got.Status != "Completed" || got.Body.Content != "" {
		t.Errorf("by webhook it was told %+v", got)
	}
}

// testNoticesKilled kills the server while work ends and nobody takes a notice.
func testNoticesKilled(t *testing.T, s *server, r *receiver) {
	c := s.client()
	r.answer(http.StatusServiceUnavailable)
	want := map[string][]string{} // labels by path
	const n = 60
	for i := range n {
		name, status, path := "by-topic", "", "/topic"
		switch i % 3 {
		case 1:
			status, path = "418", "/errors"
		case 2:
			name, path = "by-webhook", "/hook"
		}
		label := fmt.Sprintf("killed-%d", i)
		c.send(name, label, status)
		want[path] = append(want[path], label)
	}
	await(t, "some to end", func() bool { return len(c.list("out/")) >= n/6 })
	ended := len(c.list("out/")) + len(c.list("failed/"))
	s.kill()
	if t.Logf("killed when %d had ended", ended-3); ended-3 >= n {
		t.Error("the server was not killed in the middle of its work")
	}
	s.start()
	c = s.client()
	await(t, "all to end", func() bool { return len(c.list("out/"))+len(c.list("failed/")) >= n+3 })
	var waiting []struct{ State, LastError string }
	await(t, "a notification to wait", func() bool {
		if err := json.Unmarshal([]byte(s.command("notifications", "--limit", "1000", "--output", "json")), &waiting); err != nil {
			t.Fatal(err)
		}
		return len(waiting) > 0 && slices.ContainsFunc(waiting, func(w struct{ State, LastError string }) bool {
			return w.State == "Waiting" && strings.Contains(w.LastError, "503")
		})
	})
	r.answer(http.StatusOK)
	for path, labels := range want {
		for _, label := range labels {
			r.awaitResult(t, path, label)
		}
		ids := map[string]string{}
		for label, one := range results(t, r.told(t, path)) {
			if strings.HasPrefix(label, "killed-") != slices.Contains(labels, label) {
				t.Errorf("%s was told of %s", path, label)
			}
			if other := ids[one.ID]; other != "" {
				t.Errorf("%s and %s were told under one ID, %s", label, other, one.ID)
			}
			ids[one.ID] = label
		}
	}
}

// testReplay has a webhook say that there is nobody any more, and be there again.
func testReplay(t *testing.T, s *server, r *receiver) {
	r.answer(http.StatusGone)
	s.client().send("by-webhook", "late", "")
	dead := ""
	await(t, "it to be given up", func() bool {
		dead = s.command("notifications", "list", "--dead")
		return strings.Contains(dead, "Dead")
	})
	if !strings.Contains(dead, "/hook") || !strings.Contains(dead, "gone") {
		t.Errorf("deferd notifications list --dead prints\n%s", dead)
	}
	if metrics := s.metrics(); !strings.Contains(metrics, "\ndeferd_outbox_dead 1\n") || !strings.Contains(metrics, "\ndeferd_outbox_given_up_total 1\n") {
		t.Error("the metrics know of no dead notification")
	}
	r.answer(http.StatusOK)
	replayed := s.command("notifications", "replay", "--all")
	got := r.awaitResult(t, "/hook", "late")
	if want := "replayed " + got.ID + "\n"; replayed != want {
		t.Errorf("deferd notifications replay --all prints %q, want %q", replayed, want)
	}
	await(t, "the outbox to be empty", func() bool { return strings.Count(s.command("notifications"), "\n") == 1 })
}

// metrics is what the console shows of them.
func (s *server) metrics() string {
	s.t.Helper()
	resp, err := http.Get(s.console + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// testAlarmNotice has an alarm tell a topic that it is raised.
func testAlarmNotice(t *testing.T, s *server, r *receiver, topic string) {
	w := cloudwatch.NewFromConfig(s.awsConfig())
	_, err := w.PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{
		AlarmName: aws.String("by-hand"), Namespace: aws.String("Own"), MetricName: aws.String("m"), Statistic: cwtypes.StatisticSum,
		Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(1),
		ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanThreshold, AlarmActions: []string{topic},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.SetAlarmState(t.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: aws.String("by-hand"), StateValue: cwtypes.StateValueAlarm, StateReason: aws.String("tried")})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the topic to be told of the alarm", func() bool {
		return slices.ContainsFunc(r.at("/topic"), func(p posted) bool {
			var m struct{ Subject, Message string }
			return json.Unmarshal(p.body, &m) == nil && strings.HasPrefix(m.Subject, "ALARM:") &&
				strings.Contains(m.Message, `"AlarmName":"by-hand"`) && strings.Contains(m.Message, `"NewStateValue":"ALARM"`)
		})
	})
}
