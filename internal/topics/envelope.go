package topics

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/deferd/deferd"
)

// An envelope is a message as subscriptions get it, its members in SNS's order.
type envelope struct {
	Type             string
	MessageID        string `json:"MessageId"`
	Token            string `json:",omitempty"`
	TopicARN         string `json:"TopicArn"`
	Subject          string `json:",omitempty"`
	Message          string
	SubscribeURL     string `json:",omitempty"`
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
	UnsubscribeURL   string                             `json:",omitempty"`
	Attributes       map[string]deferd.MessageAttribute `json:"MessageAttributes,omitempty"`
}

// A request is what is posted to a subscription's endpoint.
type request struct {
	header http.Header
	body   []byte
}

// request makes the request for a delivery to a subscription, as both are now.
func (t *Topics) request(ctx context.Context, topic deferd.Topic, s deferd.Subscription, d delivery) (r request, err error) {
	r.header = http.Header{
		"Content-Type":           {"text/plain; charset=UTF-8"},
		"User-Agent":             {"Amazon Simple Notification Service Agent"}, // some receivers ask for it
		"X-Amz-Sns-Message-Type": {d.Type},
		"X-Amz-Sns-Message-Id":   {d.ID},
		"X-Amz-Sns-Topic-Arn":    {t.ARN(s.Topic, "")},
	}
	if d.Type == notification {
		r.header.Set("X-Amz-Sns-Subscription-Arn", t.ARN(s.Topic, s.ID))
	}
	if d.Type == notification && s.Raw() {
		r.header.Set("X-Amz-Sns-Rawdelivery", "true")
		r.body = []byte(d.Message)
	} else if r.body, err = t.envelope(ctx, topic, s, d); err != nil {
		return r, err
	}
	if t.Sign != nil {
		t.Sign(r.header, d.ID, time.Now(), r.body)
	}
	return r, nil
}

// envelope writes a signed envelope.
func (t *Topics) envelope(ctx context.Context, topic deferd.Topic, s deferd.Subscription, d delivery) ([]byte, error) {
	signer, err := t.signerNow(ctx)
	if err != nil {
		return nil, err
	}
	arn := t.ARN(s.Topic, "")
	e := envelope{
		Type: d.Type, MessageID: d.ID, TopicARN: arn, Subject: d.Subject, Message: d.Message,
		Timestamp:        d.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		SignatureVersion: cmp.Or(topic.Attributes["SignatureVersion"], "1"), SigningCertURL: t.URL + signer.path,
	}
	if d.Type == confirmation {
		e.Token = s.Token
		e.SubscribeURL = t.URL + "/?Action=ConfirmSubscription&TopicArn=" + url.QueryEscape(arn) + "&Token=" + url.QueryEscape(s.Token)
	} else {
		e.UnsubscribeURL = t.URL + "/?Action=Unsubscribe&SubscriptionArn=" + url.QueryEscape(t.ARN(s.Topic, s.ID))
		e.Attributes = d.Attributes
	}
	if err := signer.sign(&e); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("write the envelope of %s: %w", d.ID, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
