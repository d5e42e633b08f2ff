package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// settingsOf reads the settings that a command line, variables and the text of
// a configuration file make together.
func settingsOf(t *testing.T, file string, env map[string]string, args ...string) (Settings, error) {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "deferd.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	var s Settings
	cmd := &cobra.Command{Use: "x", SilenceUsage: true, SilenceErrors: true, RunE: func(cmd *cobra.Command, _ []string) (err error) {
		s, err = readSettings(cmd)
		return err
	}}
	addFlags(cmd)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return s, err
}

func TestSettingsPrecedence(t *testing.T) {
	file := "listen: 127.0.0.1:1\nconsole: 127.0.0.1:1\naccount: \"111111111111\"\nstop-limit: 1m\npublic-host: [a.example]\n"
	env := map[string]string{"DEFERD_LISTEN": "127.0.0.1:2", "DEFERD_CONSOLE": "127.0.0.1:2", "DEFERD_PUBLIC_HOST": "b.example,c.example"}
	got, err := settingsOf(t, file, env, "--listen", "127.0.0.1:3", "--instance-credentials=false")
	if err != nil {
		t.Fatal(err)
	}
	want := defaultSettings()
	want.Listen, want.Console, want.Account = "127.0.0.1:3", "127.0.0.1:2", "111111111111"
	want.StopLimit, want.InstanceCredentials = time.Minute, false
	want.PublicHost = []string{"b.example", "c.example"}
	want.Store, want.Images = "sqlite:deferd-data/deferd.db", "deferd-data/images.yaml"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestSettingsRefused(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       string
	}{
		{"unknown key", "listn: x\n", nil, nil, "listn"},
		{"unknown flag", "", nil, []string{"--listn", "x"}, "listn"},
		{"account", "account: \"12\"\n", nil, nil, "12 digits"},
		{"region", "region: a b/c\n", nil, nil, "such as us-east-1"},
		{"instances", "", nil, []string{"--max-instances", "many"}, "is not a number"},
		{"no instances", "max-instances: 0\n", nil, nil, "max-instances"},
		{"public host", "", nil, []string{"--public-host", "https://a.example"}, "public-host"},
		{"PostgreSQL is not there yet", "", nil, []string{"--store", "postgres://x"}, "SQLite"},
		{"runtime", "", map[string]string{"DEFERD_RUNTIME": "docker"}, nil, "docker"},
		{"certificate without key", "", nil, []string{"--tls-cert", "c"}, "tls-key"},
		{"console for strangers", "", nil, []string{"--console", "0.0.0.0:8781"}, "console-password-file"},
		{"address", "", nil, []string{"--listen", "8780"}, "host:port"},
		{"duration", "", nil, []string{"--stop-limit", "soon"}, "duration"},
		{"bool", "", map[string]string{"DEFERD_INSTANCE_CREDENTIALS": "maybe"}, nil, "DEFERD_INSTANCE_CREDENTIALS"},
		{"every mistake at once", "account: x\ns3: ftp://x\n", nil, nil, "ftp://x"},
		{"another SNS", "sns: arn\n", nil, nil, "sns"},
		{"public URL", "", nil, []string{"--public-url", "example.org"}, "public-url"},
		{"no such file", "", nil, []string{"--config", "/nonexistent"}, "/nonexistent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := settingsOf(t, c.file, c.env, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one that says %q", err, c.want)
			}
		})
	}
}

// TestConfigCommand prints the effective configuration, which reads back as
// itself.
func TestConfigCommand(t *testing.T) {
	run := func(args ...string) string {
		var out bytes.Buffer
		root := rootCommand()
		root.SetOut(&out)
		root.SetArgs(append([]string{"config"}, args...))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	first := run("--account", "222222222222", "--max-timeout", "2h")
	path := filepath.Join(t.TempDir(), "deferd.yaml")
	if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, run("--config", path)); diff != "" {
		t.Errorf("read back (-first +second):\n%s", diff)
	}
	for _, want := range []string{"account: \"222222222222\"", "max-timeout: 2h0m0s"} {
		if !strings.Contains(first, want) {
			t.Errorf("the configuration does not say %q:\n%s", want, first)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:8780": "http://127.0.0.1:8780",
		"/a b/c":                "'/a b/c'",
		"it's $HOME":            `'it'\''s $HOME'`,
		"":                      "''",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestCredentialsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), credentialsFile)
	if err := writeCredentials(path, "AKIA1", "secret"); err != nil {
		t.Fatal(err)
	}
	id, secret, err := readCredentials(path)
	if err != nil || id != "AKIA1" || secret != "secret" {
		t.Errorf("read %q, %q, %v", id, secret, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode is %o, want 600", got)
	}
}

func TestEnvironment(t *testing.T) {
	s := defaultSettings()
	s.Data = t.TempDir()
	if _, err := environment(s); err == nil {
		t.Error("there are no credentials, and no error")
	}
	if err := writeCredentials(filepath.Join(s.Data, credentialsFile), "AKIA1", "s"); err != nil {
		t.Fatal(err)
	}
	get := func(name string) string {
		vars, err := environment(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range vars {
			if v.name == name {
				return v.value
			}
		}
		return ""
	}
	if got, want := get("AWS_ENDPOINT_URL"), "http://127.0.0.1:8780"; got != want {
		t.Errorf("endpoint is %q, want %q", got, want)
	}
	if err := writeFile(filepath.Join(s.Data, addressFile), "http://127.0.0.1:9\n", 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := get("AWS_ENDPOINT_URL"), "http://127.0.0.1:9"; got != want {
		t.Errorf("endpoint is %q, want the one that the server wrote, %q", got, want)
	}
}
