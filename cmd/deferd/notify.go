package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsapi"
	"github.com/deferd/deferd/internal/egress"
	"github.com/deferd/deferd/internal/sns"
	"github.com/deferd/deferd/internal/topics"
	"github.com/deferd/deferd/internal/webhook"
)

const (
	// webhookSecretFile holds the secret that webhooks are signed with where
	// the settings name none.
	webhookSecretFile = "webhook-secret"

	// signingKey is what the key of the embedded SNS is sealed for.
	signingKey = "SNS signing key"
)

// openNotifier opens what notifications go through: topics, of the embedded
// SNS or another one, and webhooks.
func (srv *server) openNotifier(ctx context.Context) error {
	s := srv.settings
	client, err := egress.New(egress.Options{Allow: s.EgressAllow, Loopback: isLoopback(s.Listen)})
	if err != nil {
		return fmt.Errorf("egress-allow: %w", err)
	}
	secrets, err := s.webhookSecrets()
	if err != nil {
		return err
	}
	signer, err := webhook.NewSigner(secrets)
	if err != nil {
		return err
	}
	n := &notifiers{webhooks: webhook.New(webhook.Config{Signer: signer, Post: client.Post, Plain: s.plainWebhooks()})}
	srv.notifier = n
	if s.SNS != embedded {
		n.topics, err = openSNS(ctx, s)
		return err
	}
	srv.topics = topics.New(topics.Config{
		Documents: srv.queue, Account: deferd.AccountID(s.Account), Region: s.region(), AnyRegion: s.Region == "",
		URL: s.publicURL(srv.url), Logger: srv.log, Now: srv.store.Now, Post: client.Post, Sign: signer.Sign,
		Seal: func(secret string) []byte { return srv.keys.Seal(signingKey, secret) },
		Unseal: func(sealed []byte) (string, error) {
			return srv.keys.Unseal(deferd.AccessKey{ID: signingKey, Sealed: sealed})
		},
	})
	n.topics = srv.topics
	return nil
}

// snsSurface is the embedded SNS as the API serves it; nil where it is another.
func (srv *server) snsSurface() awsapi.Topics {
	if srv.topics == nil {
		return nil
	}
	return srv.topics
}

func openSNS(ctx context.Context, s Settings) (deferd.Notifier, error) {
	if err := ignoreEndpointURLs(); err != nil {
		return nil, err
	}
	n, err := sns.New(ctx, sns.Config{
		Endpoint: s.SNS, Region: s.region(),
		AccessKey: os.Getenv("DEFERD_SNS_ACCESS_KEY_ID"), SecretKey: os.Getenv("DEFERD_SNS_SECRET_ACCESS_KEY"),
		SessionToken: os.Getenv("DEFERD_SNS_SESSION_TOKEN"),
	})
	if err != nil {
		return nil, fmt.Errorf("open SNS at %s: %w", s.SNS, err)
	}
	return n, nil
}

// notifiers delivers each notification where its target is.
type notifiers struct {
	topics, webhooks deferd.Notifier
}

// Notify tells topics from webhooks.
func (n *notifiers) Notify(ctx context.Context, m deferd.Notification) error {
	if strings.HasPrefix(m.Target, "arn:") {
		return n.topics.Notify(ctx, m)
	}
	return n.webhooks.Notify(ctx, m)
}

// webhookSecrets are those of the settings, or the one in the data directory,
// which is made where it is not there yet.
func (s *Settings) webhookSecrets() ([]string, error) {
	if len(s.WebhookSecrets) > 0 {
		return s.WebhookSecrets, nil
	}
	path := filepath.Join(s.Data, webhookSecretFile)
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.Fields(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the webhook secret: %w", err)
	}
	secret := webhook.NewSecret()
	if err := writeFile(path, secret+"\n", 0o600); err != nil {
		return nil, fmt.Errorf("write the webhook secret: %w", err)
	}
	return []string{secret}, nil
}

// plainWebhooks says whether webhooks may be http:// URLs: on this machine, or
// in networks that the operator has named.
func (s *Settings) plainWebhooks() bool { return isLoopback(s.Listen) || len(s.EgressAllow) > 0 }

// publicURL is where receivers of messages find the listener: as the settings
// say, or at the name that clients call it by, or at its own address.
func (s *Settings) publicURL(own string) string {
	scheme, _, _ := strings.Cut(own, "://")
	switch {
	case s.PublicURL != "":
		return strings.TrimSuffix(s.PublicURL, "/")
	case len(s.PublicHost) > 0:
		return scheme + "://" + s.PublicHost[0]
	}
	return own
}
