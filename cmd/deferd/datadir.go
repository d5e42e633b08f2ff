package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/keyring"
)

// secretKeyFile seals the secrets of access keys in the store.
const secretKeyFile = "secret.key"

// storeFile is the file of the queue and registry.
func (s *Settings) storeFile() string { return strings.TrimPrefix(s.Store, "sqlite:") }

// makeDataDir makes the data directory where it is not there yet.
func makeDataDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("the data directory %s is a file: name a directory with --data", dir)
	}
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	return nil
}

// checkDataDir refuses a data directory whose files do not belong together,
// before anything is written: credentials without the store that knows them, a
// store without the key that its secrets are sealed with.
func checkDataDir(s Settings) error {
	secretKey, credentials := filepath.Join(s.Data, secretKeyFile), filepath.Join(s.Data, credentialsFile)
	hasKey, err := isThere(secretKey)
	if err != nil {
		return err
	}
	hasCredentials, err := isThere(credentials)
	if err != nil {
		return err
	}
	hasStore, err := isThere(s.storeFile())
	if err != nil {
		return err
	}
	env := os.Getenv("DEFERD_SECRET_KEY")
	switch {
	case hasKey || env != "":
		if _, err := keyring.Open(secretKey, env); err != nil {
			return fmt.Errorf("%w; bring the right one back: access keys cannot be used without it", err)
		}
	case hasStore && hasCredentials:
		return fmt.Errorf("%s is missing: bring it back, or set DEFERD_SECRET_KEY. If it is lost, so are the access keys: %s", secretKey, howToRenew(credentials))
	}
	if hasCredentials && !hasStore {
		return fmt.Errorf("%s holds an access key, but its store %s is not there or empty: bring the store back, or remove %s to begin anew", credentials, s.storeFile(), credentials)
	}
	return nil
}

func howToRenew(credentials string) string {
	return "remove " + credentials + ", and the next start makes a new one"
}

// isThere reports whether there is a file that is not empty.
func isThere(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Size() > 0, err
}

// checkCredentials refuses a credentials file whose access key the store does
// not have, or not so: what "deferd env" prints from it would be refused.
func (srv *server) checkCredentials(ctx context.Context, known []deferd.AccessKey) error {
	path := filepath.Join(srv.settings.Data, credentialsFile)
	id, secret, err := readCredentials(path)
	if err != nil {
		return fmt.Errorf("%w: bring it back, or %s", err, howToRenew(path))
	}
	i := slices.IndexFunc(known, func(k deferd.AccessKey) bool { return k.ID == id })
	if i < 0 {
		return fmt.Errorf("%s has the access key %s, which the store %s does not know: it is another installation's. Bring the right file back, or %s",
			path, id, srv.settings.storeFile(), howToRenew(path))
	}
	stored, err := srv.keys.Unseal(known[i])
	if err != nil {
		return fmt.Errorf("%w: bring the right %s back, or the right DEFERD_SECRET_KEY. If it is lost, so are the access keys: %s",
			err, filepath.Join(srv.settings.Data, secretKeyFile), howToRenew(path))
	}
	if stored != secret {
		return fmt.Errorf("%s has another secret for the access key %s than the store: bring the right file back, or %s", path, id, howToRenew(path))
	}
	return nil
}
