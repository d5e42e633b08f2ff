package main

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// A noticeStore is a store of one configuration and one endpoint, which counts how
// often it is asked.
type noticeStore struct {
	deferd.Store
	async *deferd.AsyncConfig
	err   error
	asked int
}

func (r *noticeStore) ConfigByID(_ context.Context, id deferd.ConfigID) (deferd.Config, error) {
	r.asked++
	return deferd.Config{ID: id, Async: r.async}, r.err
}

func (r *noticeStore) EndpointByID(_ context.Context, id deferd.EndpointID) (deferd.Endpoint, error) {
	r.asked++
	return deferd.Endpoint{ID: id, Name: "ep"}, r.err
}

func (r *noticeStore) Now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC) }

func TestNoticeMaker(t *testing.T) {
	body := func(text string, err error) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { return []byte(text), err }
	}
	trouble := errors.New("trouble")
	for _, tt := range []struct {
		name   string
		async  *deferd.AsyncConfig
		state  deferd.State
		body   func(context.Context) ([]byte, error)
		target string // "": nothing is said
		text   string // base64 of the included body
		err    error
	}{
		{"a success", &deferd.AsyncConfig{SuccessTopic: "s", ErrorTopic: "e"}, deferd.Completed, body("", trouble), "s", "", nil},
		{"with its body", &deferd.AsyncConfig{SuccessTopic: "s", IncludeSuccessResponse: true}, deferd.Completed, body("abc", nil), "s", "YWJj", nil},
		{"whose body cannot be read", &deferd.AsyncConfig{SuccessTopic: "s", IncludeSuccessResponse: true}, deferd.Completed, body("", trouble), "", "", trouble},
		{"of which nobody wants to know", &deferd.AsyncConfig{ErrorTopic: "e", IncludeSuccessResponse: true}, deferd.Completed, body("", trouble), "", "", nil},
		{"a failure", &deferd.AsyncConfig{SuccessTopic: "s", ErrorTopic: "e"}, deferd.Expired, body("", trouble), "e", "", nil},
		{"no asynchronous endpoint", nil, deferd.Failed, body("", trouble), "", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := deferd.Publication{
				Invocation: deferd.Invocation{NewInvocation: deferd.NewInvocation{ID: "i", InferenceID: "label", Endpoint: "e1", Config: "c1"}},
				Outcome:    deferd.Outcome{State: tt.state, Size: 3},
			}
			m := &noticeMaker{store: &noticeStore{async: tt.async}, region: "eu-west-1"}
			n, err := m.notice(t.Context(), p, tt.body)
			if !errors.Is(err, tt.err) || (n != nil) != (tt.target != "") {
				t.Fatalf("got %+v, %v", n, err)
			}
			if n == nil {
				return
			}
			var doc struct {
				AWSRegion, EventTime, InferenceID string
				RequestParameters                 struct{ EndpointName string }
				ResponseBody                      struct{ Content string }
			}
			if err := json.Unmarshal([]byte(n.Message), &doc); err != nil {
				t.Fatal(err)
			}
			if n.ID != "i" || n.Target != tt.target || doc.InferenceID != "label" || doc.AWSRegion != "eu-west-1" || doc.RequestParameters.EndpointName != "ep" ||
				doc.EventTime != "2026-01-02T03:04:05.006Z" || doc.ResponseBody.Content != tt.text {
				t.Errorf("got %+v", n)
			}
		})
	}
}

// TestNoticeOfNothingIsFree has a configuration read once, and nothing else
// where it names nobody.
func TestNoticeOfNothingIsFree(t *testing.T) {
	r := &noticeStore{err: errors.New("trouble")}
	m := &noticeMaker{store: r}
	if _, err := m.notice(t.Context(), deferd.Publication{}, nil); !errors.Is(err, r.err) {
		t.Errorf("while the configuration cannot be read: %v", err)
	}
	r.err, r.asked, r.async = nil, 0, &deferd.AsyncConfig{}
	for range 3 {
		if n, err := m.notice(t.Context(), deferd.Publication{}, nil); n != nil || err != nil {
			t.Errorf("got %+v, %v", n, err)
		}
	}
	if r.asked != 1 {
		t.Errorf("the store was asked %d times, want once", r.asked)
	}
}

// TestAlarmNotice has a change of an alarm be one notification, however often
// it is acted on.
func TestAlarmNotice(t *testing.T) {
	srv := &server{settings: defaultSettings()}
	c := deferd.AlarmChange{Alarm: deferd.Alarm{Name: "a", ARN: "arn:a", State: deferd.AlarmRaised}, At: time.Unix(1, 0)}
	n := srv.alarmNotice("arn:aws:sns:us-east-1:000000000000:t", c)
	if n.Target != "arn:aws:sns:us-east-1:000000000000:t" || n.Subject == "" || n.Message == "" || len(n.ID) != 36 {
		t.Errorf("it is %+v", n)
	}
	if again := srv.alarmNotice("t", c); again.ID != n.ID {
		t.Errorf("acted on again its ID is %s, want %s", again.ID, n.ID)
	}
	for _, change := range []func(*deferd.AlarmChange){
		func(c *deferd.AlarmChange) { c.At = time.Unix(1, 1) },
		func(c *deferd.AlarmChange) { c.Alarm.State = deferd.AlarmOK },
		func(c *deferd.AlarmChange) { c.Alarm.ARN = "arn:b" },
	} {
		other := c
		change(&other)
		if srv.alarmNotice("t", other).ID == n.ID {
			t.Errorf("%+v has the same ID", other)
		}
	}
}
