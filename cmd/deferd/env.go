package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// Files in the data directory that are for people and their clients.
const (
	credentialsFile = "credentials"           // the first access key, as AWS's shared credentials file
	addressFile     = "address"               // where the server listens
	sdkConfigFile   = "sagemaker-config.yaml" // for the SageMaker Python SDK
)

func envCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the export lines that point AWS clients at the server",
		Example: `  eval "$(deferd env)"
  deferd env --data /var/lib/deferd --output json`,
		Args: arguments(cobra.NoArgs),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := readSettings(cmd)
		if err != nil {
			return usagef("%v", err)
		}
		vars, err := environment(s)
		if err != nil {
			return err
		}
		if *format == jsonFormat {
			all := map[string]string{}
			for _, v := range vars {
				all[v.name] = v.value
			}
			return printJSON(cmd.OutOrStdout(), all)
		}
		for _, v := range vars {
			fmt.Fprintf(cmd.OutOrStdout(), "export %s=%s\n", v.name, quote(v.value))
		}
		return nil
	}
	addFlags(cmd)
	return cmd
}

type variable struct{ name, value string }

// environment is what an AWS client of the server at s needs.
func environment(s Settings) ([]variable, error) {
	id, secret, err := readCredentials(filepath.Join(s.Data, credentialsFile))
	if err != nil {
		return nil, fmt.Errorf("%w (deferd serve makes it at its first start)", err)
	}
	url := "http://" + s.Listen
	if s.TLSCert != "" {
		url = "https://" + s.Listen
	}
	if b, err := os.ReadFile(filepath.Join(s.Data, addressFile)); err == nil {
		url = strings.TrimSpace(string(b))
	}
	vars := []variable{
		{"AWS_ENDPOINT_URL", url},
		{"AWS_ACCESS_KEY_ID", id},
		{"AWS_SECRET_ACCESS_KEY", secret},
		{"AWS_REGION", s.region()},
		{"AWS_DEFAULT_REGION", s.region()},
	}
	sdk, err := filepath.Abs(filepath.Join(s.Data, sdkConfigFile))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(sdk); err == nil {
		vars = append(vars, variable{"SAGEMAKER_USER_CONFIG_OVERRIDE", sdk})
	}
	return vars, nil
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=+-]+$`)

// quote makes text one word of a shell.
func quote(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// readCredentials reads the default profile of a shared credentials file.
func readCredentials(path string) (id, secret string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", "", fmt.Errorf("read credentials: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(key) {
		case "aws_access_key_id":
			id = strings.TrimSpace(value)
		case "aws_secret_access_key":
			secret = strings.TrimSpace(value)
		}
	}
	if id == "" || secret == "" {
		return "", "", fmt.Errorf("read credentials: %s holds no access key", path)
	}
	return id, secret, nil
}

// writeCredentials writes the default profile of a shared credentials file.
func writeCredentials(path, id, secret string) error {
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, secret)
	return writeFile(path, text, 0o600)
}

// writeFile replaces a file durably; its readers see the old content or the
// new.
func writeFile(path, text string, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	for _, step := range []func() error{func() error { return f.Chmod(mode) }, f.Sync, f.Close} {
		if serr := step(); err == nil {
			err = serr
		}
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// makeDir makes a directory and those above it that are not there, durably.
func makeDir(path string) error {
	path = filepath.Clean(path)
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a directory's names durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
