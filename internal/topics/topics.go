// Package topics is the embedded SNS: topics, subscriptions to them over HTTP
// and HTTPS, and the deliveries in between.
//
// All of it is kept as [deferd.Documents]. A message that was published is one
// document for each confirmed subscription, durable before the publisher is
// answered, and gone once its receiver has answered, so that deliveries are
// made at least once, with one message ID however often. Each subscription has
// a lane of its own: a receiver that is slow or gone holds up nobody else.
//
// A subscription gets nothing but the request to confirm it until somebody
// confirms it with the token in that. Receivers verify messages by the
// certificate at the message's SigningCertURL; its key is in the store, sealed.
//
// Only one server may run the lanes of a store: nothing keeps a second one from
// delivering the same messages.
package topics

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
)

var _ deferd.Notifier = (*Topics)(nil)

// Config is what Topics work with.
type Config struct {
	Documents deferd.Documents
	Account   deferd.AccountID // whose topics these are
	Region    string           // that ARNs name
	AnyRegion bool             // ARNs of any other are taken too
	URL       string           // by which receivers reach the server, for the links in messages
	Logger    *slog.Logger
	Now       func() time.Time // of the store

	// Post sends a body and returns the status of the answer. Denied and
	// Invalid are final, Unavailable is not.
	Post func(ctx context.Context, url string, h http.Header, body []byte) (status int, err error)

	// Sign adds more signatures to a message that is sent now. Nil: none.
	Sign func(h http.Header, id string, now time.Time, body []byte)

	// Seal and Unseal guard the signing key where it is stored.
	Seal   func(secret string) []byte
	Unseal func(sealed []byte) (string, error)
}

// Topics are an account's topics. They may be used concurrently, and before Run.
type Topics struct {
	Config
	signer signerCache

	// subscribing is held while subscriptions come and go, or two requests
	// for one would make two, and a topic would leave some behind.
	subscribing sync.Mutex

	mu    sync.Mutex // guards lanes and start
	lanes map[string]*lane
	start func(*lane) // nil while nothing runs
}

// New returns the topics that are in the store.
func New(c Config) *Topics { return &Topics{Config: c, lanes: map[string]*lane{}} }

// Kinds of documents that nobody else knows.
const (
	kindDelivery   deferd.DocumentKind = "delivery"
	kindSigningKey deferd.DocumentKind = "signing-key"
)

// ARN is the ARN of a topic, or of its subscription where id is not "".
func (t *Topics) ARN(n deferd.TopicName, id string) string {
	return deferd.TopicARN{Region: t.Region, Account: t.Account, Topic: n, Subscription: id}.String()
}

// Parse reads an ARN. NotFound: what it names cannot be here.
func (t *Topics) Parse(arn string) (deferd.TopicARN, error) {
	a, err := deferd.ParseTopicARN(arn)
	if err != nil {
		return a, err
	}
	if a.Account != t.Account || a.Region != t.Region && !t.AnyRegion {
		return a, noTopic
	}
	return a, nil
}

var (
	noTopic        = deferd.Errorf(deferd.NotFound, "Topic does not exist")
	noSubscription = deferd.Errorf(deferd.NotFound, "Subscription does not exist")
)

// invalid refuses a parameter in SNS's words.
func invalid(format string, args ...any) error {
	return deferd.Errorf(deferd.Invalid, "Invalid parameter: "+format, args...)
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// CreateTopic makes a topic, durably. One that is there already is left as it
// is; Invalid where it differs from what is asked for.
func (t *Topics) CreateTopic(ctx context.Context, n deferd.Topic) error {
	if !topicName.MatchString(string(n.Name)) {
		return invalid("Topic Name")
	}
	asked := n.Attributes
	attributes, err := setAll(topicAttributes, asked)
	if err != nil {
		return err
	}
	n.Attributes = attributes
	slices.SortFunc(n.Tags, func(a, b deferd.Tag) int { return strings.Compare(a.Key, b.Key) })
	_, err = t.put(ctx, deferd.KindTopic, string(n.Name), 0, n)
	if deferd.CodeOf(err) != deferd.Exists {
		return err
	}
	there, err := t.Topic(ctx, n.Name)
	if err != nil {
		return err
	}
	if differ(there.Attributes, topicAttributes, asked) {
		return invalid("Attributes Reason: Topic already exists with different attributes")
	}
	if len(n.Tags) > 0 && !slices.Equal(n.Tags, there.Tags) {
		return invalid("Tags Reason: Topic already exists with different tags")
	}
	return nil
}

// DeleteTopic ends a topic with its subscriptions. One that is not there is no
// error. What is on its way may still arrive.
func (t *Topics) DeleteTopic(ctx context.Context, n deferd.TopicName) error {
	t.subscribing.Lock()
	defer t.subscribing.Unlock()
	for {
		page, err := t.Subscriptions(ctx, n, "", pageSize)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, s := range page {
			if err := t.remove(ctx, s); err != nil {
				return err
			}
		}
	}
	return absentIsFine(t.Documents.DeleteDocument(ctx, deferd.KindTopic, t.Account, string(n)))
}

func absentIsFine(err error) error {
	if err != nil && deferd.CodeOf(err) == deferd.NotFound {
		return nil
	}
	return err
}

// Topic reads a topic.
func (t *Topics) Topic(ctx context.Context, n deferd.TopicName) (deferd.Topic, error) {
	topic, _, err := get[deferd.Topic](ctx, t, deferd.KindTopic, string(n))
	return topic, orElse(err, noTopic)
}

// Topics reads up to n topics that come after a name, in the order of their names.
func (t *Topics) Topics(ctx context.Context, after deferd.TopicName, n int) ([]deferd.Topic, error) {
	return list[deferd.Topic](ctx, t, deferd.KindTopic, "", string(after), n)
}

// SetTopicAttribute sets an attribute of a topic.
func (t *Topics) SetTopicAttribute(ctx context.Context, n deferd.TopicName, name, value string) error {
	return t.ChangeTopic(ctx, n, func(topic *deferd.Topic) error {
		return set(topic.Attributes, topicAttributes, name, value)
	})
}

// ChangeTopic stores what change makes of a topic. It may call change more than
// once, and stores nothing where that returns an error.
func (t *Topics) ChangeTopic(ctx context.Context, n deferd.TopicName, change func(*deferd.Topic) error) error {
	return orElse(edit(ctx, t, deferd.KindTopic, string(n), change), noTopic)
}

// orElse says what it is that was not found.
func orElse(err, notFound error) error {
	if err != nil && deferd.CodeOf(err) == deferd.NotFound {
		return notFound
	}
	return err
}

// pageSize is how many documents are read at a time.
const pageSize = 100

func (t *Topics) put(ctx context.Context, k deferd.DocumentKind, name string, version int64, v any) (deferd.Document, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return deferd.Document{}, fmt.Errorf("write %s %s: %w", k, name, err)
	}
	return t.Documents.PutDocument(ctx, deferd.Document{Kind: k, Account: t.Account, Name: name, Version: version, Body: body})
}

func decode[T any](d deferd.Document) (v T, err error) {
	if err := json.Unmarshal(d.Body, &v); err != nil {
		return v, fmt.Errorf("read %s %s: %w", d.Kind, d.Name, err)
	}
	return v, nil
}

func get[T any](ctx context.Context, t *Topics, k deferd.DocumentKind, name string) (v T, version int64, err error) {
	d, err := t.Documents.Document(ctx, k, t.Account, name)
	if err != nil {
		return v, 0, err
	}
	v, err = decode[T](d)
	return v, d.Version, err
}

func list[T any](ctx context.Context, t *Topics, k deferd.DocumentKind, prefix, after string, n int) ([]T, error) {
	docs, err := t.Documents.Documents(ctx, k, t.Account, prefix, after, n)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(docs))
	for i, d := range docs {
		if out[i], err = decode[T](d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// edit stores what change makes of a document, and begins anew where somebody
// else has changed it meanwhile.
func edit[T any](ctx context.Context, t *Topics, k deferd.DocumentKind, name string, change func(*T) error) error {
	for {
		v, version, err := get[T](ctx, t, k, name)
		if err != nil {
			return err
		}
		if err := change(&v); err != nil {
			return err
		}
		if _, err = t.put(ctx, k, name, version, v); deferd.CodeOf(err) != deferd.Changed {
			return err
		}
	}
}
