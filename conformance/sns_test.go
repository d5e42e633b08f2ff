package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// A topicClient is a client of SNS, with a topic.
type topicClient struct {
	*sns.Client
	t     *testing.T
	topic string
}

func (s *server) topicClient(topic string) *topicClient {
	s.t.Helper()
	c := &topicClient{sns.NewFromConfig(s.awsConfig()), s.t, ""}
	out, err := c.CreateTopic(s.t.Context(), &sns.CreateTopicInput{Name: &topic})
	c.must("create the topic", err)
	c.topic = *out.TopicArn
	return c
}

func (c *topicClient) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// subscribe subscribes a path of a receiver, confirms, and returns the ARN.
func (c *topicClient) subscribe(r *receiver, path string, attributes map[string]string) string {
	c.t.Helper()
	earlier := len(r.at(path))
	out, err := c.Subscribe(c.t.Context(), &sns.SubscribeInput{
		TopicArn: &c.topic, Protocol: aws.String("http"), Endpoint: aws.String(r.URL + path), Attributes: attributes,
	})
	c.must("subscribe", err)
	if got := aws.ToString(out.SubscriptionArn); got != "pending confirmation" {
		c.t.Errorf("subscribed as %q, want it pending", got)
	}
	m := r.await(c.t, path, earlier+1).envelope(c.t)
	answer := follow(c.t, m["SubscribeURL"])
	_, arn, _ := strings.Cut(answer, "<SubscriptionArn>")
	arn, _, _ = strings.Cut(arn, "<")
	if !strings.HasPrefix(arn, c.topic+":") {
		c.t.Fatalf("confirmed as %q, want one of %s:\n%s", arn, c.topic, answer)
	}
	return arn
}

func (c *topicClient) publish(text string) (id string) {
	c.t.Helper()
	out, err := c.Publish(c.t.Context(), &sns.PublishInput{TopicArn: &c.topic, Message: &text})
	c.must("publish", err)
	return *out.MessageId
}

// TestSNS walks through the life of a topic with aws-sdk-go-v2.
func TestSNS(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	t.Run("topics", func(t *testing.T) { testTopics(t, s.with(t)) })
	t.Run("subscriptions", func(t *testing.T) { testSubscriptions(t, s.with(t)) })
	t.Run("envelopes", func(t *testing.T) { testEnvelopes(t, s.with(t)) })
	t.Run("refusals", func(t *testing.T) { testTopicRefusals(t, s.with(t)) })
}

// with returns the same server for the subtest t.
func (s *server) with(t *testing.T) *server {
	d := *s
	d.t = t
	return &d
}

func testTopics(t *testing.T, s *server) {
	c, ctx := s.topicClient("life"), t.Context()
	if got, want := c.topic, "arn:aws:sns:us-east-1:000000000000:life"; got != want {
		t.Errorf("created %s, want %s", got, want)
	}
	if again := s.topicClient("life"); again.topic != c.topic {
		t.Errorf("created again it is %s", again.topic)
	}
	_, err := c.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &c.topic, AttributeName: aws.String("DisplayName"), AttributeValue: aws.String("L & D")})
	c.must("set an attribute", err)
	attributes, err := c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &c.topic})
	c.must("get the attributes", err)
	for name, want := range map[string]string{"TopicArn": c.topic, "Owner": "000000000000", "DisplayName": "L & D", "SubscriptionsConfirmed": "0"} {
		if got := attributes.Attributes[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	_, err = c.TagResource(ctx, &sns.TagResourceInput{ResourceArn: &c.topic, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("")}}})
	c.must("tag", err)
	_, err = c.UntagResource(ctx, &sns.UntagResourceInput{ResourceArn: &c.topic, TagKeys: []string{"a", "c"}})
	c.must("untag", err)
	tags, err := c.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: &c.topic})
	c.must("list the tags", err)
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "b" {
		t.Errorf("tags are %v, want b alone", tags.Tags)
	}
	for i := range 120 {
		s.topicClient(fmt.Sprintf("page-%03d", i))
	}
	var listed []string
	pages := sns.NewListTopicsPaginator(c.Client, &sns.ListTopicsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		c.must("list the topics", err)
		for _, topic := range page.Topics {
			listed = append(listed, *topic.TopicArn)
		}
	}
	if len(listed) != 121 || !slices.IsSorted(listed) {
		t.Errorf("%d topics are listed, want 121 in order", len(listed))
	}
	for range 2 { // a repeat is no error
		_, err = c.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &c.topic})
		c.must("delete the topic", err)
	}
	_, err = c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &c.topic})
	wantAPIError(t, err, "NotFound")
}

func wantAPIError(t *testing.T, err error, want string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func testSubscriptions(t *testing.T, s *server) {
	c, r, ctx := s.topicClient("subscriptions"), newReceiver(t), t.Context()
	arn := c.subscribe(r, "/a", nil)
	again, err := c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &c.topic, Protocol: aws.String("http"), Endpoint: aws.String(r.URL + "/a")})
	c.must("subscribe again", err)
	if got := *again.SubscriptionArn; got != arn {
		t.Errorf("subscribed again as %s, want %s", got, arn)
	}
	pending, err := c.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: &c.topic, Protocol: aws.String("http"), Endpoint: aws.String(r.URL + "/b"), ReturnSubscriptionArn: true,
	})
	c.must("subscribe another", err)
	listed, err := c.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &c.topic})
	c.must("list the subscriptions", err)
	got := map[string]string{}
	for _, l := range listed.Subscriptions {
		got[strings.TrimPrefix(*l.Endpoint, r.URL)] = *l.SubscriptionArn
	}
	if diff := cmp.Diff(map[string]string{"/a": arn, "/b": "PendingConfirmation"}, got); diff != "" {
		t.Errorf("subscriptions (-want +got):\n%s", diff)
	}
	all, err := c.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{})
	c.must("list all subscriptions", err)
	if len(all.Subscriptions) != 2 {
		t.Errorf("%d subscriptions in all, want 2", len(all.Subscriptions))
	}

	// Only who has confirmed gets messages.
	token := r.await(t, "/b", 1).envelope(t)["Token"]
	id := c.publish("one")
	if m := r.await(t, "/a", 2).envelope(t); m["MessageId"] != id || m["Message"] != "one" || m["TopicArn"] != c.topic {
		t.Errorf("got %v, want message %s", m, id)
	}
	if n := len(r.at("/b")); n != 1 {
		t.Errorf("who has not confirmed got %d posts, want 1", n)
	}
	confirmed, err := c.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{
		TopicArn: &c.topic, Token: aws.String(fmt.Sprint(token)), AuthenticateOnUnsubscribe: aws.String("true"),
	})
	c.must("confirm", err)
	if *confirmed.SubscriptionArn != *pending.SubscriptionArn {
		t.Errorf("confirmed %s, want %s", *confirmed.SubscriptionArn, *pending.SubscriptionArn)
	}

	// Raw messages are the message and nothing else.
	_, err = c.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: confirmed.SubscriptionArn, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true"),
	})
	c.must("ask for raw messages", err)
	attributes, err := c.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: confirmed.SubscriptionArn})
	c.must("get the attributes", err)
	for name, want := range map[string]string{
		"RawMessageDelivery": "true", "PendingConfirmation": "false", "ConfirmationWasAuthenticated": "true", "TopicArn": c.topic, "Endpoint": r.URL + "/b",
	} {
		if got := attributes.Attributes[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	c.publish("two")
	raw := r.await(t, "/b", 2)
	if string(raw.body) != "two" || raw.header.Get("x-amz-sns-rawdelivery") != "true" || raw.header.Get("x-amz-sns-subscription-arn") != *confirmed.SubscriptionArn {
		t.Errorf("a raw message is %q with %v", raw.body, raw.header)
	}

	// One may be ended by its link, the other by a signed request only.
	follow(t, r.await(t, "/a", 3).envelope(t)["UnsubscribeURL"])
	resp, err := http.Get(s.url + "/?Action=Unsubscribe&SubscriptionArn=" + *confirmed.SubscriptionArn)
	c.must("follow a link", err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a link that needs a signature answers %s, want 403", resp.Status)
	}
	c.publish("three")
	r.await(t, "/b", 3)
	if n := len(r.at("/a")); n != 3 {
		t.Errorf("who has unsubscribed got %d posts, want 3", n)
	}
	_, err = c.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: confirmed.SubscriptionArn})
	c.must("unsubscribe", err)
	_, err = c.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: confirmed.SubscriptionArn})
	wantAPIError(t, err, "NotFound")
}

func testEnvelopes(t *testing.T, s *server) {
	c, r, ctx := s.topicClient("envelopes"), newReceiver(t), t.Context()
	arn := c.subscribe(r, "/", nil)
	_, err := c.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &c.topic, AttributeName: aws.String("SignatureVersion"), AttributeValue: aws.String("2")})
	c.must("ask for another signature", err)
	const text = `{"a":"<ä> & \"b\""}`
	out, err := c.Publish(ctx, &sns.PublishInput{TopicArn: &c.topic, Message: aws.String(text), Subject: aws.String("S & T"), MessageAttributes: map[string]types.MessageAttributeValue{
		"kind": {DataType: aws.String("String"), StringValue: aws.String("x")},
		"raw":  {DataType: aws.String("Binary"), BinaryValue: []byte{1, 2}},
	}})
	c.must("publish", err)
	p := r.await(t, "/", 2)
	m := p.envelope(t)
	for name, want := range map[string]any{
		"Type": "Notification", "MessageId": *out.MessageId, "TopicArn": c.topic, "Subject": "S & T", "Message": text, "SignatureVersion": "2",
		"MessageAttributes": map[string]any{
			"kind": map[string]any{"Type": "String", "Value": "x"}, "raw": map[string]any{"Type": "Binary", "Value": "AQI="},
		},
	} {
		if diff := cmp.Diff(want, m[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", fmt.Sprint(m["Timestamp"])); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-topic-arn": c.topic, "x-amz-sns-subscription-arn": arn, "webhook-id": *out.MessageId,
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	secret, err := os.ReadFile(filepath.Join(s.data(), "webhook-secret"))
	c.must("read the webhook secret", err)
	if err := verifyWebhook(p, strings.TrimSpace(string(secret))); err != nil {
		t.Error(err)
	}

	_, err = c.Publish(ctx, &sns.PublishInput{TopicArn: &c.topic, MessageStructure: aws.String("json"), Message: aws.String(`{"default":"d","http":"for http"}`)})
	c.must("publish by protocol", err)
	if m := r.await(t, "/", 3).envelope(t); m["Message"] != "for http" {
		t.Errorf("the message for http is %v", m["Message"])
	}
	batch, err := c.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: &c.topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
		{Id: aws.String("1"), Message: aws.String("first")}, {Id: aws.String("2"), Message: aws.String("")},
	}})
	c.must("publish a batch", err)
	if len(batch.Successful) != 1 || len(batch.Failed) != 1 || *batch.Failed[0].Code != "InvalidParameter" || !batch.Failed[0].SenderFault {
		t.Errorf("a batch with an empty message: %+v, %+v", batch.Successful, batch.Failed)
	}
	r.await(t, "/", 4).envelope(t)
}

func testTopicRefusals(t *testing.T, s *server) {
	c, ctx := s.topicClient("refusals"), t.Context()
	subscribe := func(topic, protocol, endpoint string) error {
		_, err := c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint})
		return err
	}
	publish := func(topic, text string) error {
		_, err := c.Publish(ctx, &sns.PublishInput{TopicArn: &topic, Message: &text})
		return err
	}
	create := func(name string, attributes map[string]string) error {
		_, err := c.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name, Attributes: attributes})
		return err
	}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"no such topic, before the protocol", subscribe(c.topic+"-not", "pigeon", "x"), "NotFound"},
		{"protocol", subscribe(c.topic, "pigeon", "x"), "InvalidParameter"},
		{"queue", subscribe(c.topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:q"), "InvalidParameter"},
		{"endpoint of another protocol", subscribe(c.topic, "https", "http://example.org"), "InvalidParameter"},
		{"no ARN", subscribe("topic", "http", "http://example.org"), "InvalidParameter"},
		{"another account's topic", publish("arn:aws:sns:us-east-1:111111111111:t", "x"), "NotFound"},
		{"no message", publish(c.topic, ""), "InvalidParameter"},
		{"long message", publish(c.topic, strings.Repeat("x", 256<<10+1)), "InvalidParameter"},
		{"longest message", publish(c.topic, strings.Repeat("x", 256<<10)), ""},
		{"name", create("a topic", nil), "InvalidParameter"},
		{"FIFO", create("t.fifo", map[string]string{"FifoTopic": "true"}), "InvalidParameter"},
		{"other attributes than it has", create("refusals", map[string]string{"DisplayName": "x"}), "InvalidParameter"},
		{"the attributes that it has", create("refusals", map[string]string{"FifoTopic": "false", "SignatureVersion": "1"}), ""},
	} {
		if test.want != "" {
			wantAPIError(t, test.err, test.want)
		} else if test.err != nil {
			t.Errorf("%s: %v", test.name, test.err)
		}
	}
	resp, err := http.Get(s.url + "/?Action=ConfirmSubscription&Token=x&TopicArn=" + c.topic)
	c.must("follow a link", err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "Invalid parameter: Token") {
		t.Errorf("a token that is none answers %s:\n%s", resp.Status, body)
	}
}

// TestSNSSurvives kills the server while receivers take nothing: what was
// answered arrives in its next life, under the same IDs.
func TestSNSSurvives(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, r := s.topicClient("survives"), newReceiver(t)
	c.subscribe(r, "/a", nil)
	c.subscribe(r, "/b", nil)
	r.answer(http.StatusServiceUnavailable)
	want := map[string]bool{}
	for i := range 20 {
		want[c.publish(fmt.Sprint("message ", i))] = true
	}
	s.kill()
	r.answer(http.StatusOK)
	s.start()
	for _, path := range []string{"/a", "/b"} {
		r.await(t, path, 1+len(want))
		got := map[string]bool{}
		for _, p := range r.at(path)[1:] {
			got[fmt.Sprint(p.envelope(t)["MessageId"])] = true
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("messages at %s (-published +received):\n%s", path, diff)
		}
	}
}

// TestSNSWithClients has other clients do what TestSNS does with Go. JavaScript
// brings AWS's own validator of messages, which wants the certificate over TLS.
func TestSNSWithClients(t *testing.T) {
	t.Parallel()
	certFile, keyFile, _ := makeCertificate(t)
	for _, w := range []struct {
		walk
		args, env []string // of the server, and of the client
	}{
		{walk{"boto3", pythonWalk("sns_walk.py", "DEFERD_BOTO3_PYTHON", "boto3")}, nil, nil},
		{walk{"js", jsWalk("sns.js")}, []string{"--tls-cert", certFile, "--tls-key", keyFile}, []string{"NODE_EXTRA_CA_CERTS=" + certFile}},
	} {
		t.Run(w.client, func(t *testing.T) {
			t.Parallel()
			command, env := w.ready(t)
			s := newServer(t)
			s.args = w.args
			s.start()
			ctx, cancel := context.WithTimeout(t.Context(), walkTime)
			defer cancel()
			cmd := w.on(ctx, s, command, slices.Concat(env, w.env))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
