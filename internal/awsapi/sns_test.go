package awsapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/topics"
)

const topicARN = "arn:aws:sns:us-east-1:" + account + ":t"

// openTopics starts a server with the embedded SNS, whose deliveries nobody
// makes.
func openTopics(t *testing.T) *site {
	t.Helper()
	return open(t, func(c *Config) {
		c.Topics = topics.New(topics.Config{
			Documents: c.Store, Account: account, Region: region, URL: "http://127.0.0.1", Logger: c.Logger, Now: time.Now,
			Seal:   func(s string) []byte { return []byte(s) },
			Unseal: func(b []byte) (string, error) { return string(b), nil },
		})
	})
}

// sns sends an operation's parameters, which are names and values in turn.
func (s *site) sns(action string, parameters ...string) answer {
	s.t.Helper()
	in := url.Values{"Action": {action}, "Version": {snsVersion}}
	for pair := range slices.Chunk(parameters, 2) {
		in.Set(pair[0], pair[1])
	}
	return s.send("sns", "POST", "/", in.Encode(), "Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
}

func snsAnswer(action, result string) string {
	return `<` + action + `Response xmlns="http://sns.amazonaws.com/doc/2010-03-31/">` + result +
		`<ResponseMetadata><RequestId><uuid></RequestId></ResponseMetadata></` + action + `Response>`
}

func snsError(code, msg string) string {
	return `<ErrorResponse><Error><Type>Sender</Type><Code>` + code + `</Code><Message>` + msg + `</Message></Error><RequestId><uuid></RequestId></ErrorResponse>`
}

// TestTopicsWire holds SNS's answers as they are on the wire.
func TestTopicsWire(t *testing.T) {
	s := openTopics(t)
	s.sns("ListTopics").check(t, 200, snsAnswer("ListTopics", `<ListTopicsResult><Topics></Topics></ListTopicsResult>`))
	s.sns("CreateTopic", "Name", "t", "Attributes.entry.1.key", "DisplayName", "Attributes.entry.1.value", "a & b", "Tags.member.1.Key", "k", "Tags.member.1.Value", "v").
		check(t, 200, snsAnswer("CreateTopic", `<CreateTopicResult><TopicArn>`+topicARN+`</TopicArn></CreateTopicResult>`))
	s.sns("ListTopics").check(t, 200, snsAnswer("ListTopics", `<ListTopicsResult><Topics><member><TopicArn>`+topicARN+`</TopicArn></member></Topics></ListTopicsResult>`))
	s.sns("ListTagsForResource", "ResourceArn", topicARN).
		check(t, 200, snsAnswer("ListTagsForResource", `<ListTagsForResourceResult><Tags><member><Key>k</Key><Value>v</Value></member></Tags></ListTagsForResourceResult>`))
	s.sns("TagResource", "ResourceArn", topicARN, "Tags.member.1.Key", "l", "Tags.member.1.Value", "").
		check(t, 200, snsAnswer("TagResource", `<TagResourceResult></TagResourceResult>`))
	if a := s.sns("GetTopicAttributes", "TopicArn", topicARN); !strings.Contains(a.body, `<entry><key>DisplayName</key><value>a &amp; b</value></entry>`) {
		t.Errorf("the attributes are %d %s", a.status, a.body)
	}
	s.sns("SetTopicAttributes", "TopicArn", topicARN, "AttributeName", "SignatureVersion", "AttributeValue", "2").check(t, 200, snsAnswer("SetTopicAttributes", ""))
	s.sns("Subscribe", "TopicArn", topicARN, "Protocol", "https", "Endpoint", "https://example.org/").
		check(t, 200, snsAnswer("Subscribe", `<SubscribeResult><SubscriptionArn>pending confirmation</SubscriptionArn></SubscribeResult>`))
	s.sns("ListSubscriptionsByTopic", "TopicArn", topicARN).check(t, 200, snsAnswer("ListSubscriptionsByTopic",
		`<ListSubscriptionsByTopicResult><Subscriptions><member><SubscriptionArn>PendingConfirmation</SubscriptionArn><Owner>`+account+
			`</Owner><Protocol>https</Protocol><Endpoint>https://example.org/</Endpoint><TopicArn>`+topicARN+`</TopicArn></member></Subscriptions></ListSubscriptionsByTopicResult>`))
	s.sns("Publish", "TargetArn", topicARN, "Message", "m").
		check(t, 200, snsAnswer("Publish", `<PublishResult><MessageId><uuid></MessageId></PublishResult>`))
	s.sns("DeleteTopic", "TopicArn", topicARN).check(t, 200, snsAnswer("DeleteTopic", ""))
}

func TestTopicsRefusals(t *testing.T) {
	s := openTopics(t)
	s.sns("CreateTopic", "Name", "t")
	batch := func(ids ...string) (in []string) {
		in = []string{"TopicArn", topicARN}
		for i, id := range ids {
			at := fmt.Sprintf("PublishBatchRequestEntries.member.%d.", i+1)
			in = append(in, at+"Id", id, at+"Message", "m")
		}
		return in
	}
	for _, c := range []struct {
		name, action string
		parameters   []string
		status       int
		code         string
	}{
		{"no such operation", "CreatePlatformApplication", nil, 400, "InvalidAction"},
		{"no such topic", "Publish", []string{"TopicArn", topicARN + "x", "Message", "m"}, 404, "NotFound"},
		{"no such topic's tags", "ListTagsForResource", []string{"ResourceArn", topicARN + "x"}, 404, "ResourceNotFound"},
		{"no such subscription", "GetSubscriptionAttributes", []string{"SubscriptionArn", topicARN + ":x"}, 404, "NotFound"},
		{"a topic in place of a subscription", "Unsubscribe", []string{"SubscriptionArn", topicARN}, 400, "InvalidParameter"},
		{"a subscription in place of a topic", "Publish", []string{"TopicArn", topicARN + ":x", "Message", "m"}, 400, "InvalidParameter"},
		{"nothing named", "Publish", []string{"Message", "m"}, 400, "InvalidParameter"},
		{"phone", "Publish", []string{"PhoneNumber", "+1", "Message", "m"}, 400, "InvalidParameter"},
		{"empty subject", "Publish", []string{"TopicArn", topicARN, "Message", "m", "Subject", ""}, 400, "InvalidParameter"},
		{"structure", "Publish", []string{"TopicArn", topicARN, "Message", "m", "MessageStructure", "xml"}, 400, "InvalidParameter"},
		{"no JSON", "Publish", []string{"TopicArn", topicARN, "Message", "m", "MessageStructure", "json"}, 400, "InvalidParameter"},
		{"no default", "Publish", []string{"TopicArn", topicARN, "Message", `{"http":"m"}`, "MessageStructure", "json"}, 400, "InvalidParameter"},
		{"attribute without a value", "Publish", []string{
			"TopicArn", topicARN, "Message", "m", "MessageAttributes.entry.1.Name", "a", "MessageAttributes.entry.1.Value.DataType", "String",
		}, 400, "ParameterValueInvalid"},
		{"attribute of no type", "Publish", []string{
			"TopicArn", topicARN, "Message", "m", "MessageAttributes.entry.1.Name", "a", "MessageAttributes.entry.1.Value.StringValue", "v",
		}, 400, "ParameterValueInvalid"},
		{"empty batch", "PublishBatch", batch(), 400, "EmptyBatchRequest"},
		{"large batch", "PublishBatch", batch(strings.Split("abcdefghijk", "")...), 400, "TooManyEntriesInBatchRequest"},
		{"two of one name", "PublishBatch", batch("a", "a"), 400, "BatchEntryIdsNotDistinct"},
		{"reserved tag", "TagResource", []string{"ResourceArn", topicARN, "Tags.member.1.Key", "aws:x", "Tags.member.1.Value", ""}, 400, "InvalidParameter"},
		{"empty tag", "TagResource", []string{"ResourceArn", topicARN, "Tags.member.1.Key", "", "Tags.member.1.Value", ""}, 400, "InvalidParameter"},
	} {
		a := s.sns(c.action, c.parameters...)
		if a.status != c.status || !strings.Contains(a.body, "<Code>"+c.code+"</Code>") {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.status, a.body, c.status, c.code)
		}
	}
	s.sns("Publish", "TopicArn", topicARN, "Message", "").check(t, 400, snsError("InvalidParameter", "Invalid parameter: Empty message"))
}

// TestTopicsAuthorize shows that each operation is asked for, and by what name.
func TestTopicsAuthorize(t *testing.T) {
	s := openTopics(t)
	for _, c := range []struct{ action, parameter, asked string }{
		{"CreateTopic", "Name", "t"},
		{"DeleteTopic", "TopicArn", topicARN},
		{"ListTopics", "", "*"},
		{"GetTopicAttributes", "TopicArn", topicARN},
		{"SetTopicAttributes", "TopicArn", topicARN},
		{"Subscribe", "TopicArn", topicARN},
		{"ConfirmSubscription", "TopicArn", topicARN},
		{"Unsubscribe", "SubscriptionArn", topicARN + ":x"},
		{"ListSubscriptions", "", "*"},
		{"ListSubscriptionsByTopic", "TopicArn", topicARN},
		{"GetSubscriptionAttributes", "SubscriptionArn", topicARN + ":x"},
		{"SetSubscriptionAttributes", "SubscriptionArn", topicARN + ":x"},
		{"Publish", "TopicArn", topicARN},
		{"TagResource", "ResourceArn", topicARN},
		{"UntagResource", "ResourceArn", topicARN},
		{"ListTagsForResource", "ResourceArn", topicARN},
	} {
		s.refusing = "sns:" + c.action
		a := s.sns(c.action, c.parameter, c.asked)
		if a.status != http.StatusForbidden || !strings.Contains(a.body, "<Code>AuthorizationError</Code>") {
			t.Errorf("%s: %d %s, want it refused", c.action, a.status, a.body)
		}
	}
}

// TestLinks follows links without a signature: only those of messages lead
// anywhere.
func TestLinks(t *testing.T) {
	s := openTopics(t)
	s.sns("CreateTopic", "Name", "t")
	sub, err := s.server.Topics.Subscribe(t.Context(), deferd.Subscription{Topic: "t", Protocol: "https", Endpoint: "https://example.org"})
	if err != nil {
		t.Fatal(err)
	}
	subscription := topicARN + ":" + sub.ID
	for _, c := range []struct {
		name, method, path string
		status             int
		want               string
	}{
		{"wrong token", "GET", "/?Action=ConfirmSubscription&TopicArn=" + topicARN + "&Token=x", 400, "<Code>InvalidParameter</Code>"},
		{"posted", "POST", "/?Action=ConfirmSubscription&TopicArn=" + topicARN + "&Token=" + sub.Token, 403, "MissingAuthenticationToken"},
		{"confirm", "GET", "/?Action=ConfirmSubscription&TopicArn=" + topicARN + "&Token=" + sub.Token, 200, "<SubscriptionArn>" + subscription + "</SubscriptionArn>"},
		{"another operation", "GET", "/?Action=DeleteTopic&TopicArn=" + topicARN, 403, "MissingAuthenticationToken"},
		{"another path", "GET", "/x?Action=Unsubscribe&SubscriptionArn=" + subscription, 403, ""},
		{"no ARN", "GET", "/?Action=Unsubscribe&SubscriptionArn=x", 400, "<Code>InvalidParameter</Code>"},
		{"end", "GET", "/?Action=Unsubscribe&SubscriptionArn=" + subscription, 200, "<UnsubscribeResponse"},
		{"no certificate", "GET", "/SimpleNotificationService-x.pem", 403, ""},
	} {
		a := s.do(s.request(c.method, c.path, ""))
		if a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.status, a.body, c.status, c.want)
		}
	}
}

// TestNoTopics is a server whose topics are another SNS's.
func TestNoTopics(t *testing.T) {
	s := open(t, nil)
	if a := s.sns("ListTopics"); a.status != http.StatusNotFound || !strings.Contains(a.body, "<Code>UnknownOperationException</Code>") {
		t.Errorf("%d %s, want 404", a.status, a.body)
	}
}
