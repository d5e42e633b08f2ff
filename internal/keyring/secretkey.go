package keyring

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const keyLength = 32

var errLength = errors.New("it must be 32 bytes, as 64 hexadecimal digits or in base64")

// Open returns the keyring of an installation. Its key is env, the value of
// DEFERD_SECRET_KEY, where that is not empty: 32 bytes in hexadecimal or
// base64. Otherwise it is in the file at path, which is made if it is not
// there, and is durable when Open returns. All servers of an installation need
// the same key, and what was sealed is lost without it.
func Open(path, env string) (*Keyring, error) {
	if env != "" {
		key, err := decode(env)
		if err != nil {
			return nil, fmt.Errorf("read DEFERD_SECRET_KEY: %w", err)
		}
		return newKeyring(key)
	}
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createKey(path); err == nil {
			key, err = readKey(path) // another process may have been first
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open secret key: %w", err)
	}
	return newKeyring(key)
}

// decode reads a key. The two forms cannot be confused: their lengths differ.
func decode(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	for _, read := range []func(string) ([]byte, error){
		hex.DecodeString,
		base64.StdEncoding.DecodeString,
		base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString,
		base64.RawURLEncoding.DecodeString,
	} {
		if key, err := read(text); err == nil && len(key) == keyLength {
			return key, nil
		}
	}
	return nil, errLength
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if others := info.Mode().Perm() & 0o077; others != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %#o): make it private with chmod 600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := decode(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return key, nil
}

// createKey makes the file with a new key. It is never there in part, and one
// that is there stays as it is.
func createKey(path string) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".secret-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	key := make([]byte, keyLength)
	_, _ = rand.Read(key) // never fails
	_, err = temp.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
