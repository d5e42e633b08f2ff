package topics

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net/url"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/uuid"
)

// confirmTime is how long a token confirms a subscription.
const confirmTime = 48 * time.Hour

// document is the name of a subscription's document: those of a topic are
// neighbours.
func document(n deferd.TopicName, id string) string { return string(n) + ":" + id }

// Subscribe makes a subscription and asks its endpoint to confirm it. Where the
// endpoint is subscribed already it returns that subscription, and asks again
// while it is not confirmed.
func (t *Topics) Subscribe(ctx context.Context, s deferd.Subscription) (deferd.Subscription, error) {
	if _, err := t.Topic(ctx, s.Topic); err != nil {
		return s, err
	}
	if err := checkEndpoint(s.Protocol, s.Endpoint); err != nil {
		return s, err
	}
	asked := s.Attributes
	attributes, err := setAll(subscriptionAttributes, asked)
	if err != nil {
		return s, err
	}
	s.Attributes = attributes
	t.subscribing.Lock()
	defer t.subscribing.Unlock()
	if _, err := t.Topic(ctx, s.Topic); err != nil { // it may have gone meanwhile
		return s, err
	}
	there, found, err := t.find(ctx, s.Topic, func(o deferd.Subscription) bool { return o.Protocol == s.Protocol && o.Endpoint == s.Endpoint })
	if err != nil {
		return s, err
	}
	if found {
		return t.subscribeAgain(ctx, there, asked)
	}
	s.ID = uuid.NewString()
	s.Token, s.TokenExpires = newToken(), t.Now().Add(confirmTime)
	if _, err := t.put(ctx, deferd.KindSubscription, document(s.Topic, s.ID), 0, s); err != nil {
		return s, err
	}
	return s, t.askToConfirm(ctx, s)
}

// subscribeAgain answers a repeated request for a subscription.
func (t *Topics) subscribeAgain(ctx context.Context, s deferd.Subscription, asked map[string]string) (deferd.Subscription, error) {
	if differ(s.Attributes, subscriptionAttributes, asked) {
		return s, invalid("Attributes Reason: Subscription already exists with different attributes")
	}
	if s.Confirmed {
		return s, nil
	}
	err := edit(ctx, t, deferd.KindSubscription, document(s.Topic, s.ID), func(o *deferd.Subscription) error {
		if !o.Confirmed {
			o.TokenExpires = t.Now().Add(confirmTime)
		}
		s = *o
		return nil
	})
	if err != nil || s.Confirmed {
		return s, err
	}
	return s, t.askToConfirm(ctx, s)
}

func checkEndpoint(protocol, endpoint string) error {
	switch protocol {
	case "http", "https":
	case "":
		return invalid("Protocol")
	case "sqs", "lambda", "firehose", "application", "sms", "email", "email-json":
		return invalid("Protocol Reason: %s is not offered here; http and https are", protocol)
	default:
		return invalid("Protocol Reason: Does not support this protocol string: %s", protocol)
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != protocol {
		return invalid("Endpoint Reason: Endpoint must match the specified protocol")
	}
	return nil
}

func newToken() string {
	b := make([]byte, 64)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// find looks for a subscription of a topic.
func (t *Topics) find(ctx context.Context, n deferd.TopicName, wanted func(deferd.Subscription) bool) (s deferd.Subscription, found bool, err error) {
	after := ""
	for {
		page, err := t.Subscriptions(ctx, n, after, pageSize)
		if err != nil || len(page) == 0 {
			return s, false, err
		}
		for _, s := range page {
			if wanted(s) {
				return s, true, nil
			}
		}
		after = document(n, page[len(page)-1].ID)
	}
}

// Confirm confirms the subscription that was sent the token; repeated, it
// changes nothing. Signed says that the request is, and only then can it ask
// that an end of the subscription be signed too.
func (t *Topics) Confirm(ctx context.Context, n deferd.TopicName, token string, signed, signedToCancel bool) (deferd.Subscription, error) {
	if _, err := t.Topic(ctx, n); err != nil {
		return deferd.Subscription{}, err
	}
	s, found, err := t.find(ctx, n, func(s deferd.Subscription) bool {
		return token != "" && subtle.ConstantTimeCompare([]byte(s.Token), []byte(token)) == 1
	})
	if err != nil {
		return s, err
	}
	if !found || !s.Confirmed && t.Now().After(s.TokenExpires) {
		return s, invalid("Token")
	}
	err = edit(ctx, t, deferd.KindSubscription, document(n, s.ID), func(o *deferd.Subscription) error {
		if !o.Confirmed {
			o.Confirmed, o.TokenExpires = true, time.Time{}
			o.Authenticated, o.SignedToCancel = signed, signed && signedToCancel
		}
		s = *o
		return nil
	})
	return s, orElse(err, invalid("Token"))
}

// Unsubscribe ends a subscription. One that is not there is no error.
func (t *Topics) Unsubscribe(ctx context.Context, n deferd.TopicName, id string, signed bool) error {
	t.subscribing.Lock()
	defer t.subscribing.Unlock()
	s, err := t.Subscription(ctx, n, id)
	if err != nil {
		return absentIsFine(err)
	}
	if s.SignedToCancel && !signed {
		return deferd.Errorf(deferd.Denied, "The subscription can be ended by a signed request only")
	}
	return t.remove(ctx, s)
}

// remove deletes a subscription; its lane then drops what waits for it.
func (t *Topics) remove(ctx context.Context, s deferd.Subscription) error {
	name := document(s.Topic, s.ID)
	if err := absentIsFine(t.Documents.DeleteDocument(ctx, deferd.KindSubscription, t.Account, name)); err != nil {
		return err
	}
	t.wake(name)
	return nil
}

// Subscription reads a subscription.
func (t *Topics) Subscription(ctx context.Context, n deferd.TopicName, id string) (deferd.Subscription, error) {
	s, _, err := get[deferd.Subscription](ctx, t, deferd.KindSubscription, document(n, id))
	return s, orElse(err, noSubscription)
}

// Subscriptions reads up to n subscriptions that come after another one, which
// is named by its topic's name, a colon and its ID: of one topic, or of all
// where that is "".
func (t *Topics) Subscriptions(ctx context.Context, of deferd.TopicName, after string, n int) ([]deferd.Subscription, error) {
	prefix := ""
	if of != "" {
		prefix = document(of, "")
	}
	return list[deferd.Subscription](ctx, t, deferd.KindSubscription, prefix, after, n)
}

// Subscribers counts a topic's subscriptions.
func (t *Topics) Subscribers(ctx context.Context, n deferd.TopicName) (confirmed, pending int, err error) {
	_, _, err = t.find(ctx, n, func(s deferd.Subscription) bool {
		if s.Confirmed {
			confirmed++
		} else {
			pending++
		}
		return false
	})
	return confirmed, pending, err
}

// SetSubscriptionAttribute sets an attribute of a subscription, for all that is
// sent from now on.
func (t *Topics) SetSubscriptionAttribute(ctx context.Context, n deferd.TopicName, id, name, value string) error {
	err := edit(ctx, t, deferd.KindSubscription, document(n, id), func(s *deferd.Subscription) error {
		return set(s.Attributes, subscriptionAttributes, name, value)
	})
	return orElse(err, noSubscription)
}
