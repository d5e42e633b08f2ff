package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/webhook"
)

// A notified remembers what it was to deliver.
type notified struct{ targets []string }

func (n *notified) Notify(_ context.Context, m deferd.Notification) error {
	n.targets = append(n.targets, m.Target)
	return nil
}

func TestNotifiers(t *testing.T) {
	var topics, webhooks notified
	n := &notifiers{topics: &topics, webhooks: &webhooks}
	for _, target := range []string{"arn:aws:sns:us-east-1:000000000000:t", "https://example.org/arn:", "http://127.0.0.1"} {
		if err := n.Notify(t.Context(), deferd.Notification{Target: target}); err != nil {
			t.Fatal(err)
		}
	}
	if len(topics.targets) != 1 || len(webhooks.targets) != 2 {
		t.Errorf("to topics %q, to webhooks %q", topics.targets, webhooks.targets)
	}
}

// TestWebhookSecrets has them made once, in a file that nobody else reads,
// unless the settings name others.
func TestWebhookSecrets(t *testing.T) {
	s := Settings{Data: t.TempDir()}
	first, err := s.webhookSecrets()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := webhook.NewSigner(first); err != nil {
		t.Errorf("%q: %v", first, err)
	}
	if again, err := s.webhookSecrets(); err != nil || !slices.Equal(again, first) {
		t.Errorf("asked again: %q (%v), want %q", again, err, first)
	}
	info, err := os.Stat(filepath.Join(s.Data, webhookSecretFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode is %o, want 600", got)
	}
	s.WebhookSecrets = []string{"whsec_a", "whsec_b"}
	if got, err := s.webhookSecrets(); err != nil || !slices.Equal(got, s.WebhookSecrets) {
		t.Errorf("the settings' are %q (%v)", got, err)
	}
}

// TestSecretSettings shows that secrets come from the file and the environment,
// and go nowhere.
func TestSecretSettings(t *testing.T) {
	got, err := settingsOf(t, "webhook-secrets: [whsec_file]\n", nil)
	if err != nil || !slices.Equal(got.WebhookSecrets, []string{"whsec_file"}) {
		t.Errorf("from the file: %q (%v)", got.WebhookSecrets, err)
	}
	got, err = settingsOf(t, "webhook-secrets: [whsec_file]\n", map[string]string{"DEFERD_WEBHOOK_SECRETS": "whsec_a,whsec_b"})
	if err != nil || !slices.Equal(got.WebhookSecrets, []string{"whsec_a", "whsec_b"}) {
		t.Errorf("from the environment: %q (%v)", got.WebhookSecrets, err)
	}
	if _, err = settingsOf(t, "", nil, "--webhook-secrets", "whsec_flag"); err == nil {
		t.Error("there is a flag for secrets")
	}
	var out strings.Builder
	root := rootCommand()
	root.SetOut(&out)
	root.SetArgs([]string{"config"})
	if err := root.Execute(); err != nil || strings.Contains(out.String(), "whsec_") || !strings.Contains(out.String(), "sns: embedded") {
		t.Errorf("deferd config prints (%v):\n%s", err, out.String())
	}
}

func TestPublicURL(t *testing.T) {
	for _, c := range []struct {
		set   string
		hosts []string
		own   string
		want  string
	}{
		{"", nil, "http://127.0.0.1:8780", "http://127.0.0.1:8780"},
		{"", []string{"a.example:8780", "b.example"}, "http://127.0.0.1:8780", "http://a.example:8780"},
		{"", []string{"b.example"}, "https://127.0.0.1:443", "https://b.example"},
		{"https://inference.example.org/", []string{"a.example"}, "http://127.0.0.1:8780", "https://inference.example.org"},
	} {
		s := Settings{PublicURL: c.set, PublicHost: c.hosts}
		if got := s.publicURL(c.own); got != c.want {
			t.Errorf("public-url %q, public-host %q at %s make %q, want %q", c.set, c.hosts, c.own, got, c.want)
		}
	}
}

func TestPlainWebhooks(t *testing.T) {
	for _, c := range []struct {
		listen string
		allow  []string
		want   bool
	}{
		{"127.0.0.1:8780", nil, true},
		{"0.0.0.0:8780", nil, false},
		{"0.0.0.0:8780", []string{"10.0.0.0/8"}, true},
	} {
		s := Settings{Listen: c.listen, EgressAllow: c.allow}
		if got := s.plainWebhooks(); got != c.want {
			t.Errorf("listening on %s, with %q allowed: %v, want %v", c.listen, c.allow, got, c.want)
		}
	}
}
