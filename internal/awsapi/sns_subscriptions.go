package awsapi

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/deferd/deferd"
)

// snsLink serves the links in SNS's messages, which receivers follow without a
// signature: to confirm, to end a subscription, and to the certificate that
// verifies the message. It reports whether the request is one of these.
func (s *Server) snsLink(c *call) bool {
	if s.Topics == nil || c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return false
	}
	if strings.HasPrefix(c.r.URL.Path, "/SimpleNotificationService-") {
		return s.certificate(c)
	}
	if c.r.URL.Path != "/" || c.r.Method != http.MethodGet {
		return false
	}
	links := map[string]queryOperation{"ConfirmSubscription": s.confirmLink, "Unsubscribe": s.unsubscribeLink}
	if links[c.r.URL.Query().Get("Action")] == nil {
		return false
	}
	c.protocol = query
	c.answer(snsFailure(c.perform(links, snsSpace, snsVersion)))
	return true
}

// certificate answers with the certificate at the request's path.
func (s *Server) certificate(c *call) bool {
	pem, found, err := s.Topics.Certificate(c.ctx(), c.r.URL.Path)
	if err == nil && !found {
		return false
	}
	c.protocol = query
	if err != nil {
		c.answer(err)
		return true
	}
	c.respond(http.StatusOK, "application/x-pem-file", pem)
	return true
}

func confirmed(s *Server, sub deferd.Subscription) any {
	return struct {
		XMLName         xml.Name `xml:"ConfirmSubscriptionResult"`
		SubscriptionArn string
	}{SubscriptionArn: s.Topics.ARN(sub.Topic, sub.ID)}
}

// confirmLink is the answer of somebody who has the token and nothing else.
func (s *Server) confirmLink(c *call, in url.Values) (any, error) {
	a, err := s.Topics.Parse(in.Get("TopicArn"))
	if err != nil {
		return nil, err
	}
	sub, err := s.Topics.Confirm(c.ctx(), a.Topic, in.Get("Token"), false, false)
	return confirmed(s, sub), err
}

// unsubscribeLink ends a subscription for somebody who knows its ID, which only
// its messages name.
func (s *Server) unsubscribeLink(c *call, in url.Values) (any, error) {
	a, err := s.Topics.Parse(in.Get("SubscriptionArn"))
	if err != nil {
		return nil, err
	}
	return nil, s.Topics.Unsubscribe(c.ctx(), a.Topic, a.Subscription, false)
}

func (s *Server) confirmSubscription(c *call, in url.Values) (any, error) {
	name, err := s.namedTopic(c, in, "TopicArn", "ConfirmSubscription")
	if err != nil {
		return nil, err
	}
	sub, err := s.Topics.Confirm(c.ctx(), name, in.Get("Token"), true, in.Get("AuthenticateOnUnsubscribe") == "true")
	return confirmed(s, sub), err
}

func (s *Server) subscribe(c *call, in url.Values) (any, error) {
	name, err := s.namedTopic(c, in, "TopicArn", "Subscribe")
	if err != nil {
		return nil, err
	}
	sub, err := s.Topics.Subscribe(c.ctx(), deferd.Subscription{
		Topic: name, Protocol: in.Get("Protocol"), Endpoint: in.Get("Endpoint"), Attributes: entries(in, "Attributes"),
	})
	if err != nil {
		return nil, err
	}
	arn := s.Topics.ARN(name, sub.ID)
	if !sub.Confirmed && in.Get("ReturnSubscriptionArn") != "true" {
		arn = "pending confirmation"
	}
	return struct {
		XMLName         xml.Name `xml:"SubscribeResult"`
		SubscriptionArn string
	}{SubscriptionArn: arn}, nil
}

func (s *Server) unsubscribe(c *call, in url.Values) (any, error) {
	a, err := s.namedSubscription(c, in, "Unsubscribe")
	if err != nil {
		return nil, err
	}
	return nil, s.Topics.Unsubscribe(c.ctx(), a.Topic, a.Subscription, true)
}

func (s *Server) listSubscriptions(c *call, in url.Values) (any, error) {
	if err := c.authorize("sns:ListSubscriptions", "*"); err != nil {
		return nil, err
	}
	return s.subscriptionPage(c, in, "ListSubscriptions", "")
}

func (s *Server) listSubscriptionsByTopic(c *call, in url.Values) (any, error) {
	name, err := s.namedTopic(c, in, "TopicArn", "ListSubscriptionsByTopic")
	if err != nil {
		return nil, err
	}
	if _, err := s.Topics.Topic(c.ctx(), name); err != nil {
		return nil, err
	}
	return s.subscriptionPage(c, in, "ListSubscriptionsByTopic", name)
}

// subscriptionPage is a page of a topic's subscriptions, or of all.
func (s *Server) subscriptionPage(c *call, in url.Values, action string, of deferd.TopicName) (any, error) {
	page, err := s.Topics.Subscriptions(c.ctx(), of, in.Get("NextToken"), snsPage+1)
	if err != nil {
		return nil, err
	}
	type subscription struct{ SubscriptionArn, Owner, Protocol, Endpoint, TopicArn string }
	out := struct {
		Subscriptions []subscription `xml:"Subscriptions>member"`
		NextToken     string         `xml:",omitempty"`
	}{}
	for i, sub := range page {
		if i == snsPage {
			out.NextToken = string(page[i-1].Topic) + ":" + page[i-1].ID
			break
		}
		arn := "PendingConfirmation"
		if sub.Confirmed {
			arn = s.Topics.ARN(sub.Topic, sub.ID)
		}
		out.Subscriptions = append(out.Subscriptions, subscription{arn, string(c.principal.Account), sub.Protocol, sub.Endpoint, s.Topics.ARN(sub.Topic, "")})
	}
	return resultOf{action, out}, nil
}

func (s *Server) getSubscriptionAttributes(c *call, in url.Values) (any, error) {
	a, err := s.namedSubscription(c, in, "GetSubscriptionAttributes")
	if err != nil {
		return nil, err
	}
	sub, err := s.Topics.Subscription(c.ctx(), a.Topic, a.Subscription)
	if err != nil {
		return nil, err
	}
	return attributes("GetSubscriptionAttributes", map[string]string{
		"SubscriptionArn": s.Topics.ARN(sub.Topic, sub.ID), "TopicArn": s.Topics.ARN(sub.Topic, ""), "Owner": string(c.principal.Account),
		"Protocol": sub.Protocol, "Endpoint": sub.Endpoint, "RawMessageDelivery": "false",
		"PendingConfirmation":          strconv.FormatBool(!sub.Confirmed),
		"ConfirmationWasAuthenticated": strconv.FormatBool(sub.Authenticated),
	}, sub.Attributes), nil
}

func (s *Server) setSubscriptionAttributes(c *call, in url.Values) (any, error) {
	a, err := s.namedSubscription(c, in, "SetSubscriptionAttributes")
	if err != nil {
		return nil, err
	}
	return nil, s.Topics.SetSubscriptionAttribute(c.ctx(), a.Topic, a.Subscription, in.Get("AttributeName"), in.Get("AttributeValue"))
}
