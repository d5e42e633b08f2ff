package topics

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/deferd/deferd"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// maxMessage is the size of the largest message, its attributes included.
const maxMessage = 256 << 10

// A delivery is one message that is to be sent to one subscription.
type delivery struct {
	Type       string // of the envelope
	ID         string // of the message
	Subject    string `json:",omitempty"`
	Message    string
	Attributes map[string]deferd.MessageAttribute `json:",omitempty"`
	Time       time.Time                          // of the publishing, by the store's clock
}

// Types of envelopes.
const (
	notification = "Notification"
	confirmation = "SubscriptionConfirmation"
)

// Publish hands a message to the topic's confirmed subscriptions and returns
// its ID. It is durable for all of them when this returns nil; after an error
// it may be for some.
func (t *Topics) Publish(ctx context.Context, n deferd.TopicName, m deferd.Message) (id string, err error) {
	if err := check(m); err != nil {
		return "", err
	}
	id = uuid.Must(uuid.NewV7()).String()
	return id, t.fanOut(ctx, n, id, m)
}

// Notify publishes a notification. It has been taken once it is durable for
// each subscription: from then on it is the lanes that try again.
func (t *Topics) Notify(ctx context.Context, n deferd.Notification) error {
	a, err := t.Parse(n.Target)
	if err != nil {
		return err
	}
	m := deferd.Message{Subject: n.Subject, Text: n.Message, Attributes: n.Attributes}
	if err := check(m); err != nil {
		return err
	}
	return t.fanOut(ctx, a.Topic, n.ID, m)
}

// check refuses a message in SNS's words.
func check(m deferd.Message) error {
	size := 0
	for name, a := range m.Attributes {
		size += len(name) + len(a.Type) + len(a.Value)
	}
	for _, text := range append([]string{m.Text}, texts(m.ByProtocol)...) {
		switch {
		case text == "":
			return invalid("Empty message")
		case !utf8.ValidString(text):
			return invalid("Message Reason: it is not UTF-8")
		case size+len(text) > maxMessage:
			return invalid("Message too long")
		}
	}
	if len(m.Subject) > 100 {
		return invalid("Subject Reason: Subject must be less than 100 characters")
	}
	for _, c := range m.Subject {
		if c < ' ' || c > '~' {
			return invalid("Subject")
		}
	}
	return nil
}

func texts(byProtocol map[string]string) (all []string) {
	for _, text := range byProtocol {
		all = append(all, text)
	}
	return all
}

// atATime is how many deliveries of a message are stored at a time: they share
// the store's syncs.
const atATime = 64

// fanOut stores a delivery for each confirmed subscription of a topic. Those
// that are there already, from an earlier try, stay as they are.
func (t *Topics) fanOut(ctx context.Context, n deferd.TopicName, id string, m deferd.Message) error {
	if _, err := t.Topic(ctx, n); err != nil {
		return err
	}
	now, after := t.Now(), ""
	for {
		page, err := t.Subscriptions(ctx, n, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		after = document(n, page[len(page)-1].ID)
		var g errgroup.Group
		g.SetLimit(atATime)
		for _, s := range page {
			if !s.Confirmed {
				continue
			}
			g.Go(func() error {
				return t.enqueue(ctx, s, delivery{
					Type: notification, ID: id, Subject: m.Subject, Message: m.For(s.Protocol), Attributes: m.Attributes, Time: now,
				})
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
}

// askToConfirm sends a subscription its token.
func (t *Topics) askToConfirm(ctx context.Context, s deferd.Subscription) error {
	return t.enqueue(ctx, s, delivery{
		Type: confirmation, ID: uuid.NewString(), Time: t.Now(),
		Message: "You have chosen to subscribe to the topic " + t.ARN(s.Topic, "") +
			".\nTo confirm the subscription, visit the SubscribeURL included in this message.",
	})
}

// enqueue stores a delivery, and has it made.
func (t *Topics) enqueue(ctx context.Context, s deferd.Subscription, d delivery) error {
	name := document(s.Topic, s.ID)
	if _, err := t.put(ctx, kindDelivery, name+"/"+d.ID, 0, d); err != nil && deferd.CodeOf(err) != deferd.Exists {
		return err
	}
	t.wake(name)
	return nil
}
