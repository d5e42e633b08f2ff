package deferd

import (
	"strings"
	"time"
)

// A TopicName is unique within an account.
type TopicName string

// A Topic hands each message that is published to it to all its subscriptions.
type Topic struct {
	Name       TopicName
	Attributes map[string]string // those that were set, by SNS's names
	Tags       []Tag             `json:",omitempty"`
}

// A Subscription is one receiver of a topic's messages. It gets none until it
// is confirmed with the token that was sent to it.
type Subscription struct {
	ID         string // unique for ever, and hard to guess
	Topic      TopicName
	Protocol   string
	Endpoint   string            // may hold a secret: never logged
	Attributes map[string]string // those that were set, by SNS's names

	Token        string    // that confirms it
	TokenExpires time.Time // while it is not confirmed

	Confirmed      bool
	Authenticated  bool // it was confirmed by a signed request
	SignedToCancel bool // it is ended by a signed request only
}

// Raw reports whether the subscription gets the bare message, not SNS's envelope.
func (s *Subscription) Raw() bool { return s.Attributes["RawMessageDelivery"] == "true" }

// A Message is what is published to a topic.
type Message struct {
	Subject    string
	Text       string
	ByProtocol map[string]string // in place of Text, for subscriptions of these protocols
	Attributes map[string]MessageAttribute
}

// For is the text for subscriptions of a protocol.
func (m *Message) For(protocol string) string {
	if text, ok := m.ByProtocol[protocol]; ok {
		return text
	}
	return m.Text
}

// A TopicARN names a topic, or one of its subscriptions.
type TopicARN struct {
	Region       string
	Account      AccountID
	Topic        TopicName
	Subscription string // its ID; "" for the topic itself
}

// ParseTopicARN reads the ARN of a topic or a subscription.
func ParseTopicARN(arn string) (TopicARN, error) {
	p := strings.Split(arn, ":")
	if len(p) < 6 || len(p) > 7 || p[0] != "arn" || !strings.HasPrefix(p[1], "aws") || p[2] != "sns" || p[3] == "" || p[4] == "" || p[5] == "" {
		return TopicARN{}, Errorf(Invalid, "%q is not the ARN of a topic", arn)
	}
	a := TopicARN{Region: p[3], Account: AccountID(p[4]), Topic: TopicName(p[5])}
	if len(p) == 7 {
		if a.Subscription = p[6]; a.Subscription == "" {
			return TopicARN{}, Errorf(Invalid, "%q is not the ARN of a subscription", arn)
		}
	}
	return a, nil
}

func (a TopicARN) String() string {
	s := "arn:aws:sns:" + a.Region + ":" + string(a.Account) + ":" + string(a.Topic)
	if a.Subscription != "" {
		s += ":" + a.Subscription
	}
	return s
}
