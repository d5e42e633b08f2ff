package awsapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/deferd/deferd"
)

// notices are what is in the outbox, as "target message", in order.
func (s *site) notices() (all []string) {
	s.t.Helper()
	page, err := s.store.Notices(s.t.Context(), deferd.NoticeQuery{Account: account, Max: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range page.Items {
		all = append(all, n.Target+" "+n.Message)
	}
	slices.Sort(all)
	return all
}

// TestTopicsAreTested has each deployment tell whom it will notify, once.
func TestTopicsAreTested(t *testing.T) {
	const test = ` {"eventVersion":"1.0","eventSource":"aws:sagemaker","eventName":"TestNotification"}`
	s := updatable(t)
	config := func(name, n string) {
		t.Helper()
		s.must("CreateEndpointConfig", `{"EndpointConfigName":"`+name+`","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],
			"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/out","NotificationConfig":`+n+`}}}`)
	}
	const a, b = "arn:aws:sns:us-east-1:123456789012:a", "https://hooks.example.org/b"
	config("two", `{"SuccessTopic":"`+a+`","ErrorTopic":"`+b+`"}`)
	config("same", `{"SuccessTopic":"`+a+`","ErrorTopic":"`+a+`"}`)
	var want []string
	for _, step := range []struct {
		operation, body string
		told            []string
	}{
		{"UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"next"}`, nil},
		{"UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"two"}`, []string{a + test, b + test}},
		{"CreateEndpoint", `{"EndpointName":"another","EndpointConfigName":"same"}`, []string{a + test}},
		{"UpdateEndpointWeightsAndCapacities", `{"EndpointName":"e","DesiredWeightsAndCapacities":[{"VariantName":"v","DesiredInstanceCount":2}]}`, []string{a + test, b + test}},
	} {
		s.must(step.operation, step.body)
		want = append(want, step.told...)
		slices.Sort(want)
		if got := s.notices(); !slices.Equal(got, want) {
			t.Errorf("after %s, told is %q, want %q", step.operation, got, want)
		}
		if step.operation != "CreateEndpoint" {
			s.deployed()
		}
	}
	if a := s.call("CreateEndpoint", `{"EndpointName":"another","EndpointConfigName":"two"}`); a.status == http.StatusOK {
		t.Error("an endpoint was created twice")
	}
	if got := s.notices(); !slices.Equal(got, want) {
		t.Errorf("what was refused is told: %q", got)
	}
}

func TestNotificationOperations(t *testing.T) {
	s := open(t, nil)
	ctx := t.Context()
	for _, id := range []string{"a", "b/1", "c"} {
		if err := s.store.AddNotice(ctx, account, deferd.Notification{ID: id, Target: "https://example.org/" + id, Message: "secret"}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := s.store.Notices(ctx, deferd.NoticeQuery{Account: account, Max: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range page.Items {
		if err := s.store.NoticeFailed(ctx, deferd.NoticeTry{Seq: n.Seq, Tries: 1, Error: "it is gone"}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(params string) (ids []string) {
		t.Helper()
		token := ""
		for {
			a := s.send("sagemaker", "GET", "/notifications?"+params+token, "")
			if a.status != http.StatusOK || strings.Contains(a.body, "secret") {
				t.Fatalf("%d %s", a.status, a.body)
			}
			var doc struct {
				Notifications []struct{ ID, State, Target, CreatedTime, DueTime, LastError string }
				NextToken     string
			}
			if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
				t.Fatal(err)
			}
			for _, n := range doc.Notifications {
				ids = append(ids, n.ID)
				dead := n.State == "Dead" && n.DueTime == "" && n.LastError == "it is gone"
				waits := n.State == "Waiting" && n.DueTime != "" && n.LastError == ""
				if !dead && !waits || n.CreatedTime == "" || n.Target != "https://example.org/"+n.ID {
					t.Errorf("notification %+v", n)
				}
			}
			if token = "&nextToken=" + doc.NextToken; doc.NextToken == "" {
				return ids
			}
		}
	}
	for params, want := range map[string]string{"": "[c b/1 a]", "maxResults=1": "[c b/1 a]", "state=Dead&maxResults=1": "[c b/1]"} {
		if got := fmt.Sprint(list(params)); got != want {
			t.Errorf("?%s lists %s, want %s", params, got, want)
		}
	}
	for _, tt := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"POST", "/notifications/b%2F1/replay", 200, `{"replayed":1}`},
		{"POST", "/notifications/b%2F1/replay", 404, "There is no dead notification b/1."},
		{"POST", "/notifications/a/replay", 404, "There is no dead notification a."},
		{"GET", "/notifications?state=Waiting", 400, "state must be Dead"},
		{"GET", "/notifications?maxResults=0", 400, "maxResults must be"},
		{"GET", "/notifications?nextToken=!", 400, "the page token is not one of ours"},
		{"DELETE", "/notifications/c", 404, "There is no operation DELETE /notifications/c."},
		{"GET", "/notifications/", 404, "There is no operation"},
	} {
		a := s.send("sagemaker", tt.method, tt.path, "")
		if a.status != tt.status || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s %s: %d %s, want %d and %q", tt.method, tt.path, a.status, a.body, tt.status, tt.want)
		}
	}
	if got := fmt.Sprint(list("state=Dead")); got != "[c]" {
		t.Errorf("dead is %s, want [c]", got)
	}
	for action, path := range map[string][2]string{
		"deferd:ListNotifications": {"GET", "/notifications"}, "deferd:ReplayNotification": {"POST", "/notifications/c/replay"},
	} {
		s.refusing = action
		if a := s.send("sagemaker", path[0], path[1], ""); a.status != http.StatusForbidden {
			t.Errorf("without %s: %d %s", action, a.status, a.body)
		}
	}
}
