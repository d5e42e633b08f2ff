package deferd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"time"
)

// A Notification is one message to one receiver.
type Notification struct {
	// ID is the same each time the notification is sent, so that receivers can
	// tell a repeat.
	ID         string
	Target     string // the ARN of a topic, or the URL of a webhook
	Subject    string // "" for none; webhooks have none
	Message    string
	Attributes map[string]MessageAttribute // nil for none; webhooks have none
}

// A MessageAttribute is an attribute of a message on a topic.
type MessageAttribute struct {
	Type  string // String, Number or Binary, or one of these with a dot and a label
	Value string // of a Binary, in base64
}

// A Notifier delivers notifications: to topics, or to webhooks.
//
// Delivery is at least once. Nothing here retries beyond what a client library
// does, and nothing is remembered; callers do both, and keep a receiver that is
// slow from holding up the others. All methods may be called concurrently.
type Notifier interface {
	// Notify returns nil once the receiver has taken the notification. A
	// repeat, under the same ID, may deliver it again. Unavailable: it may or
	// may not have been taken, and is to be tried again later. Any other code
	// is final: this receiver does not take this notification.
	Notify(ctx context.Context, n Notification) error
}

// An Ending is how an invocation ended, as its notification tells it.
type Ending struct {
	Region     string
	Endpoint   EndpointName
	Invocation Invocation
	Outcome    Outcome
	Time       time.Time
}

// Notification returns what the configuration wants to be said of an ending;
// false where that is nothing. Its ID is the invocation's: an invocation ends
// once.
func (e Ending) Notification(c *AsyncConfig) (n Notification, wanted bool) {
	topic, include := c.Notifies(e.Outcome.State)
	if topic == "" {
		return Notification{}, false
	}
	return Notification{ID: string(e.Invocation.ID), Target: topic, Message: e.message(include)}, true
}

// Notifies returns whom the configuration wants to be told of an ending in a
// state, "" for nobody, and whether with the outcome's body.
func (c *AsyncConfig) Notifies(s State) (target string, include bool) {
	if s == Completed {
		return c.SuccessTopic, c.IncludeSuccessResponse
	}
	return c.ErrorTopic, c.IncludeErrorResponse
}

// TestNotification is what a topic is told when it is to be used, which proves
// that it may be.
func TestNotification(id, target string) Notification {
	return Notification{ID: id, Target: target, Message: notice(event{"1.0", "aws:sagemaker", "TestNotification"})}
}

// event says what kind of notice it is. The order of members, here and below,
// is SageMaker's.
type event struct {
	Version string `json:"eventVersion"`
	Source  string `json:"eventSource"`
	Name    string `json:"eventName"`
}

type resultNotice struct {
	Region   string          `json:"awsRegion"`
	Ended    string          `json:"eventTime"`
	Received string          `json:"receivedTime"`
	Status   string          `json:"invocationStatus"`
	Reason   string          `json:"failureReason,omitempty"`
	Request  requestNotice   `json:"requestParameters"`
	Response *responseNotice `json:"responseParameters,omitempty"`
	Body     *responseBody   `json:"responseBody,omitempty"`
	ID       string          `json:"inferenceId"`
	event
}

type requestNotice struct {
	Accept      string       `json:"accept,omitempty"`
	ContentType string       `json:"contentType,omitempty"`
	Attributes  string       `json:"customAttributes,omitempty"`
	Endpoint    EndpointName `json:"endpointName"`
	Input       string       `json:"inputLocation,omitempty"` // an inline body has none
}

type responseNotice struct {
	ContentType string `json:"contentType,omitempty"`
	Output      string `json:"outputLocation,omitempty"`
	Failure     string `json:"failureLocation,omitempty"`
}

type responseBody struct {
	Content  *string `json:"content,omitempty"`
	Message  string  `json:"message"`
	Encoding string  `json:"encoding,omitempty"`
}

// message is SageMaker's notice of an ending, as a document.
func (e Ending) message(include bool) string {
	inv := &e.Invocation
	n := resultNotice{
		Region: e.Region, Ended: noticeTime(e.Time), Received: noticeTime(inv.Accepted),
		Status: "Completed",
		Request: requestNotice{
			Accept: inv.Accept, ContentType: inv.ContentType, Attributes: inv.CustomAttributes,
			Endpoint: e.Endpoint, Input: inv.Input.String(),
		},
		ID:    inv.InferenceID,
		event: event{"1.0", "aws:sagemaker", "InferenceResult"},
	}
	r := responseNotice{ContentType: e.Outcome.ContentType, Output: inv.Output.String()}
	if e.Outcome.State != Completed {
		n.Status, n.Reason = "Failed", e.Outcome.Message
		r = responseNotice{Failure: inv.Failure.String()}
	}
	if r != (responseNotice{}) {
		n.Response = &r
	}
	if include {
		n.Body = e.Outcome.included()
	}
	return notice(n)
}

// included is the outcome's body as a notice carries it. One that is too large
// to be staged is too large for a notice.
func (o *Outcome) included() *responseBody {
	b := &responseBody{Message: "Check S3 path location(if configured) or Cloudwatch for additional details."}
	if o.Upload == nil && o.Size == int64(len(o.Body)) && len(o.Body) <= MaxStaged {
		b.Content, b.Encoding = new(base64.StdEncoding.EncodeToString(o.Body)), "BASE64"
	}
	return b
}

func noticeTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// notice writes a document of strings, with <, > and & as they are.
func notice(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings cannot fail to be written
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
