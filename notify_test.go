package deferd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const hint = "Check S3 path location(if configured) or Cloudwatch for additional details."

// ending is one whose notices are SageMaker's own, as people have seen them.
func ending(o Outcome) Ending {
	return Ending{
		Region: "us-east-1", Endpoint: "my-ep", Outcome: o,
		Invocation: Invocation{
			NewInvocation: NewInvocation{
				ID: "28869378-0000-7000-8000-000000000000", InferenceID: "11111111-2222-3333-4444-555555555555",
				Input: Location{"b", "in/x.csv"}, ContentType: "text/csv", Accept: "application/json", CustomAttributes: `trace=<1>&"a"`,
				Output: Location{"b", "out/28869378.out"}, Failure: Location{"b", "fail/28869378-error.out"},
			},
			Accepted: time.Date(2022, 1, 25, 22, 46, 0, 455e6, time.UTC),
		},
		Time: time.Date(2022, 1, 25, 23, 46, 0, 608e6, time.FixedZone("", 3600)),
	}
}

func completed(body string) Outcome {
	return Outcome{State: Completed, Reason: ModelOK, ContentType: "text/csv; charset=utf-8", Body: []byte(body), Size: int64(len(body))}
}

func TestEndingNotification(t *testing.T) {
	bare := func(e *Ending) {
		i := &e.Invocation
		i.Accept, i.CustomAttributes = "", ""
	}
	for _, c := range []struct {
		name    string
		outcome Outcome
		change  func(*Ending)
		include bool
		want    string
	}{
		{"success with everything", completed("1"), nil, false,
			`{"awsRegion":"us-east-1","eventTime":"2022-01-25T22:46:00.608Z","receivedTime":"2022-01-25T22:46:00.455Z","invocationStatus":"Completed",` +
				`"requestParameters":{"accept":"application/json","contentType":"text/csv","customAttributes":"trace=<1>&\"a\"","endpointName":"my-ep","inputLocation":"s3://b/in/x.csv"},` +
				`"responseParameters":{"contentType":"text/csv; charset=utf-8","outputLocation":"s3://b/out/28869378.out"},` +
				`"inferenceId":"11111111-2222-3333-4444-555555555555","eventVersion":"1.0","eventSource":"aws:sagemaker","eventName":"InferenceResult"}`},
		{"success with its response", completed("1,2\n"), bare, true,
			`{"awsRegion":"us-east-1","eventTime":"2022-01-25T22:46:00.608Z","receivedTime":"2022-01-25T22:46:00.455Z","invocationStatus":"Completed",` +
				`"requestParameters":{"contentType":"text/csv","endpointName":"my-ep","inputLocation":"s3://b/in/x.csv"},` +
				`"responseParameters":{"contentType":"text/csv; charset=utf-8","outputLocation":"s3://b/out/28869378.out"},` +
				`"responseBody":{"content":"MSwyCg==","message":"` + hint + `","encoding":"BASE64"},` +
				`"inferenceId":"11111111-2222-3333-4444-555555555555","eventVersion":"1.0","eventSource":"aws:sagemaker","eventName":"InferenceResult"}`},
		{"failure", Outcome{State: Failed, Message: StatusMessage(500), ContentType: "text/plain", Body: []byte("trace"), Size: 5}, func(e *Ending) {
			bare(e)
			e.Invocation.ContentType = "application/json"
		}, false,
			`{"awsRegion":"us-east-1","eventTime":"2022-01-25T22:46:00.608Z","receivedTime":"2022-01-25T22:46:00.455Z","invocationStatus":"Failed",` +
				`"failureReason":"ClientError: Received server error (500) from model. See the SageMaker Endpoint logs in your account for more information.",` +
				`"requestParameters":{"contentType":"application/json","endpointName":"my-ep","inputLocation":"s3://b/in/x.csv"},` +
				`"responseParameters":{"failureLocation":"s3://b/fail/28869378-error.out"},` +
				`"inferenceId":"11111111-2222-3333-4444-555555555555","eventVersion":"1.0","eventSource":"aws:sagemaker","eventName":"InferenceResult"}`},
		{"failure of an inline body, without a failure path", End(CancelRequested, FailureMessage(CancelRequested)), func(e *Ending) {
			bare(e)
			i := &e.Invocation
			i.Input, i.Failure, i.ContentType = Location{}, Location{}, ""
		}, true,
			`{"awsRegion":"us-east-1","eventTime":"2022-01-25T22:46:00.608Z","receivedTime":"2022-01-25T22:46:00.455Z","invocationStatus":"Failed",` +
				`"failureReason":"ClientError: Request cancelled.","requestParameters":{"endpointName":"my-ep"},` +
				`"responseBody":{"content":"Q2xpZW50RXJyb3I6IFJlcXVlc3QgY2FuY2VsbGVkLg==","message":"` + hint + `","encoding":"BASE64"},` +
				`"inferenceId":"11111111-2222-3333-4444-555555555555","eventVersion":"1.0","eventSource":"aws:sagemaker","eventName":"InferenceResult"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := ending(c.outcome)
			if c.change != nil {
				c.change(&e)
			}
			config := AsyncConfig{SuccessTopic: "good", ErrorTopic: "bad", IncludeSuccessResponse: c.include, IncludeErrorResponse: c.include}
			n, wanted := e.Notification(&config)
			if !wanted || n.Message != c.want {
				t.Errorf("wanted %v:\n got %s\nwant %s", wanted, n.Message, c.want)
			}
			target := "good"
			if c.outcome.State != Completed {
				target = "bad"
			}
			if n.Target != target || n.ID != "28869378-0000-7000-8000-000000000000" || n.Subject != "" {
				t.Errorf("notification %q to %q with subject %q", n.ID, n.Target, n.Subject)
			}
		})
	}
}

// TestIncluded looks at the bodies that a notice carries, and at what the
// largest makes of it: SNS takes no message above 256 KB.
func TestIncluded(t *testing.T) {
	const maxMessage = 256 << 10
	largest := strings.Repeat("x", MaxStaged)
	for _, c := range []struct {
		name    string
		outcome Outcome
		want    *string
	}{
		{"empty", completed(""), new("")},
		{"largest", completed(largest), &largest},
		{"in an upload", Outcome{State: Completed, Upload: &Upload{}, Size: MaxStaged + 1}, nil},
		{"dropped", Outcome{State: Completed, Size: MaxStaged + 1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _ := ending(c.outcome).Notification(&AsyncConfig{SuccessTopic: "t", IncludeSuccessResponse: true})
			if len(n.Message) > maxMessage {
				t.Errorf("the message has %d bytes, want at most %d", len(n.Message), maxMessage)
			}
			var got struct{ ResponseBody map[string]string }
			if err := json.Unmarshal([]byte(n.Message), &got); err != nil {
				t.Fatal(err)
			}
			content, included := got.ResponseBody["content"]
			if included != (c.want != nil) || got.ResponseBody["message"] != hint {
				t.Fatalf("response body has the members %v", got.ResponseBody)
			}
			if !included {
				return
			}
			body, err := base64.StdEncoding.DecodeString(content)
			if err != nil || !bytes.Equal(body, []byte(*c.want)) {
				t.Errorf("content has %d bytes (%v), want %d", len(body), err, len(*c.want))
			}
		})
	}
}

func TestNothingToNotify(t *testing.T) {
	if n, wanted := ending(completed("")).Notification(&AsyncConfig{ErrorTopic: "bad"}); wanted {
		t.Errorf("a success is notified to %q, which is for failures", n.Target)
	}
	if n, wanted := ending(Outcome{State: Expired}).Notification(&AsyncConfig{SuccessTopic: "good"}); wanted {
		t.Errorf("a failure is notified to %q, which is for successes", n.Target)
	}
}

func TestTestNotification(t *testing.T) {
	const want = `{"eventVersion":"1.0","eventSource":"aws:sagemaker","eventName":"TestNotification"}`
	if n := TestNotification("id", "topic"); n.Message != want || n.ID != "id" || n.Target != "topic" {
		t.Errorf("got %+v, want the message %s", n, want)
	}
}

func TestParseTopicARN(t *testing.T) {
	for _, c := range []struct {
		arn  string
		want TopicARN // zero: refused
	}{
		{"arn:aws:sns:us-east-1:000000000000:t", TopicARN{"us-east-1", "000000000000", "t", ""}},
		{"arn:aws:sns:eu-west-1:000000000000:t:id", TopicARN{"eu-west-1", "000000000000", "t", "id"}},
		{"arn:aws:sns:eu-west-1:000000000000:", TopicARN{}},
		{"arn:aws:sns:eu-west-1:000000000000:t:", TopicARN{}},
		{"arn:aws:sns:eu-west-1:000000000000:t:id:more", TopicARN{}},
		{"arn:aws:sqs:eu-west-1:000000000000:t", TopicARN{}},
		{"t", TopicARN{}},
		{"https://example.org", TopicARN{}},
	} {
		got, err := ParseTopicARN(c.arn)
		if refused := c.want == (TopicARN{}); got != c.want || (err != nil) != refused {
			t.Errorf("ParseTopicARN(%q) is %+v, %v; want %+v", c.arn, got, err, c.want)
		}
		if err == nil && got.String() != c.arn {
			t.Errorf("%+v is written %s, want %s", got, got, c.arn)
		}
	}
}
