package awsapi

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/deferd/deferd"
)

// Topics is the embedded SNS, without its wire. Errors are NotFound, Denied and
// Invalid, with messages in SNS's words.
type Topics interface {
	// Parse reads the ARN of a topic or a subscription, and ARN writes one.
	Parse(arn string) (deferd.TopicARN, error)
	ARN(n deferd.TopicName, subscription string) string

	CreateTopic(ctx context.Context, t deferd.Topic) error
	DeleteTopic(ctx context.Context, n deferd.TopicName) error
	Topic(ctx context.Context, n deferd.TopicName) (deferd.Topic, error)
	Topics(ctx context.Context, after deferd.TopicName, n int) ([]deferd.Topic, error)
	SetTopicAttribute(ctx context.Context, n deferd.TopicName, name, value string) error
	ChangeTopic(ctx context.Context, n deferd.TopicName, change func(*deferd.Topic) error) error

	Subscribe(ctx context.Context, s deferd.Subscription) (deferd.Subscription, error)
	Confirm(ctx context.Context, n deferd.TopicName, token string, signed, signedToCancel bool) (deferd.Subscription, error)
	Unsubscribe(ctx context.Context, n deferd.TopicName, id string, signed bool) error
	Subscription(ctx context.Context, n deferd.TopicName, id string) (deferd.Subscription, error)
	Subscriptions(ctx context.Context, of deferd.TopicName, after string, n int) ([]deferd.Subscription, error)
	Subscribers(ctx context.Context, n deferd.TopicName) (confirmed, pending int, err error)
	SetSubscriptionAttribute(ctx context.Context, n deferd.TopicName, id, name, value string) error

	Publish(ctx context.Context, n deferd.TopicName, m deferd.Message) (id string, err error)

	// Certificate is what stands at a path of a SigningCertURL.
	Certificate(ctx context.Context, path string) (pem []byte, found bool, err error)
}

const (
	snsSpace   = "http://sns.amazonaws.com/doc/"
	snsVersion = "2010-03-31"

	// snsPage is how much of a list stands on one page, as with SNS.
	snsPage = 100
)

// sns serves SNS.
func (s *Server) sns(c *call) error {
	operations := map[string]queryOperation{
		"CreateTopic":               s.createTopic,
		"DeleteTopic":               s.deleteTopic,
		"ListTopics":                s.listTopics,
		"GetTopicAttributes":        s.getTopicAttributes,
		"SetTopicAttributes":        s.setTopicAttributes,
		"Subscribe":                 s.subscribe,
		"ConfirmSubscription":       s.confirmSubscription,
		"Unsubscribe":               s.unsubscribe,
		"ListSubscriptions":         s.listSubscriptions,
		"ListSubscriptionsByTopic":  s.listSubscriptionsByTopic,
		"GetSubscriptionAttributes": s.getSubscriptionAttributes,
		"SetSubscriptionAttributes": s.setSubscriptionAttributes,
		"Publish":                   s.publish,
		"PublishBatch":              s.publishBatch,
		"TagResource":               s.tagTopic,
		"UntagResource":             s.untagTopic,
		"ListTagsForResource":       s.listTopicTags,
	}
	return snsFailure(c.perform(operations, snsSpace, snsVersion))
}

// snsFailure is an error as SNS names it; nil for nil.
func snsFailure(err error) error {
	e, ok := errors.AsType[*deferd.Error](err)
	if !ok {
		return err
	}
	switch e.Code {
	case deferd.NotFound:
		return &failure{status: http.StatusNotFound, code: "NotFound", msg: e.Msg}
	case deferd.Denied:
		return &failure{status: http.StatusForbidden, code: "AuthorizationError", msg: e.Msg}
	case deferd.Invalid, deferd.Exists, deferd.TooLarge:
		return &failure{status: http.StatusBadRequest, code: "InvalidParameter", msg: e.Msg}
	}
	return err
}

func invalidParameter(name string) error {
	return deferd.Errorf(deferd.Invalid, "Invalid parameter: %s", name)
}

// namedTopic is the topic that a parameter names, once the caller may perform
// an action on it.
func (s *Server) namedTopic(c *call, in url.Values, parameter, action string) (deferd.TopicName, error) {
	arn := in.Get(parameter)
	a, err := s.Topics.Parse(arn)
	if deferd.CodeOf(err) == deferd.Invalid || err == nil && a.Subscription != "" {
		return "", invalidParameter(parameter)
	}
	if err := cmp.Or(c.authorize("sns:"+action, arn), err); err != nil {
		return "", err
	}
	return a.Topic, nil
}

// namedSubscription is the same for a subscription.
func (s *Server) namedSubscription(c *call, in url.Values, action string) (deferd.TopicARN, error) {
	a, err := s.Topics.Parse(in.Get("SubscriptionArn"))
	if deferd.CodeOf(err) == deferd.Invalid || err == nil && a.Subscription == "" {
		return a, invalidParameter("SubscriptionArn")
	}
	return a, cmp.Or(c.authorize("sns:"+action, s.Topics.ARN(a.Topic, "")), err)
}

func (s *Server) createTopic(c *call, in url.Values) (any, error) {
	name := deferd.TopicName(in.Get("Name"))
	arn := s.Topics.ARN(name, "")
	if err := c.authorize("sns:CreateTopic", arn); err != nil {
		return nil, err
	}
	if in.Get("DataProtectionPolicy") != "" {
		return nil, deferd.Errorf(deferd.Invalid, "Invalid parameter: DataProtectionPolicy Reason: it is not offered here")
	}
	tags, err := topicTags(in)
	if err != nil {
		return nil, err
	}
	if err := s.Topics.CreateTopic(c.ctx(), deferd.Topic{Name: name, Attributes: entries(in, "Attributes"), Tags: tags}); err != nil {
		return nil, err
	}
	return struct {
		XMLName  xml.Name `xml:"CreateTopicResult"`
		TopicArn string
	}{TopicArn: arn}, nil
}

func (s *Server) deleteTopic(c *call, in url.Values) (any, error) {
	name, err := s.namedTopic(c, in, "TopicArn", "DeleteTopic")
	if err != nil {
		return nil, err
	}
	return nil, s.Topics.DeleteTopic(c.ctx(), name)
}

func (s *Server) listTopics(c *call, in url.Values) (any, error) {
	if err := c.authorize("sns:ListTopics", "*"); err != nil {
		return nil, err
	}
	page, err := s.Topics.Topics(c.ctx(), deferd.TopicName(in.Get("NextToken")), snsPage+1)
	if err != nil {
		return nil, err
	}
	type topic struct{ TopicArn string }
	out := struct {
		XMLName   xml.Name `xml:"ListTopicsResult"`
		Topics    []topic  `xml:"Topics>member"`
		NextToken string   `xml:",omitempty"`
	}{}
	for i, t := range page {
		if i == snsPage {
			out.NextToken = string(page[i-1].Name)
			break
		}
		out.Topics = append(out.Topics, topic{s.Topics.ARN(t.Name, "")})
	}
	return out, nil
}

// anAttribute is an entry of a map of attributes.
type anAttribute struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

// A resultOf is the result of an operation that shares its form with others.
type resultOf struct {
	action string
	form   any
}

// MarshalXML writes the form as the operation's result.
func (r resultOf) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	start.Name.Local = r.action + "Result"
	return e.EncodeElement(r.form, start)
}

// attributes is the answer with a map of attributes, what was set winning over
// what is known.
func attributes(action string, known, were map[string]string) any {
	out := struct {
		Entries []anAttribute `xml:"Attributes>entry"`
	}{}
	for name, value := range known {
		if _, is := were[name]; !is {
			out.Entries = append(out.Entries, anAttribute{name, value})
		}
	}
	for name, value := range were {
		out.Entries = append(out.Entries, anAttribute{name, value})
	}
	slices.SortFunc(out.Entries, func(a, b anAttribute) int { return strings.Compare(a.Key, b.Key) })
	return resultOf{action, out}
}

func (s *Server) getTopicAttributes(c *call, in url.Values) (any, error) {
	name, err := s.namedTopic(c, in, "TopicArn", "GetTopicAttributes")
	if err != nil {
		return nil, err
	}
	topic, err := s.Topics.Topic(c.ctx(), name)
	if err != nil {
		return nil, err
	}
	confirmed, pending, err := s.Topics.Subscribers(c.ctx(), name)
	if err != nil {
		return nil, err
	}
	arn, owner := s.Topics.ARN(name, ""), string(c.principal.Account)
	return attributes("GetTopicAttributes", map[string]string{
		"TopicArn": arn, "Owner": owner, "DisplayName": "", "Policy": ownersPolicy(arn, owner),
		"SubscriptionsConfirmed": strconv.Itoa(confirmed), "SubscriptionsPending": strconv.Itoa(pending), "SubscriptionsDeleted": "0",
	}, topic.Attributes), nil
}

// ownersPolicy is the policy of a topic that nobody has given another.
func ownersPolicy(arn, owner string) string {
	type object = map[string]any
	return string(mustJSON(object{
		"Version": "2008-10-17", "Id": "__default_policy_ID",
		"Statement": []object{{
			"Sid": "__default_statement_ID", "Effect": "Allow", "Principal": object{"AWS": "*"}, "Resource": arn,
			"Action": []string{
				"SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission",
				"SNS:DeleteTopic", "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
			},
			"Condition": object{"StringEquals": object{"AWS:SourceOwner": owner}},
		}},
	}))
}

func (s *Server) setTopicAttributes(c *call, in url.Values) (any, error) {
	name, err := s.namedTopic(c, in, "TopicArn", "SetTopicAttributes")
	if err != nil {
		return nil, err
	}
	return nil, s.Topics.SetTopicAttribute(c.ctx(), name, in.Get("AttributeName"), in.Get("AttributeValue"))
}

// entries reads a map from a form: <name>.entry.<n>.key and .value.
func entries(in url.Values, name string) map[string]string {
	out := map[string]string{}
	for i := 1; ; i++ {
		at := name + ".entry." + strconv.Itoa(i)
		if !in.Has(at + ".key") {
			return out
		}
		out[in.Get(at+".key")] = in.Get(at + ".value")
	}
}
