package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/deferd/deferd"
)

// testKey is a key for tests only.
var testKey = bytes.Repeat([]byte{7}, keyLength)

func open(t *testing.T) *Keyring {
	t.Helper()
	r, err := Open("", hex.EncodeToString(testKey))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSeal(t *testing.T) {
	r := open(t)
	for _, secret := range []string{"", "s", strings.Repeat("long ", 100)} {
		sealed := r.Seal("AKIA1", secret)
		if len(secret) > 3 && bytes.Contains(sealed, []byte(secret)) {
			t.Errorf("%q is visible in its sealed form", secret)
		}
		if got, err := r.Unseal(deferd.AccessKey{ID: "AKIA1", Sealed: sealed}); err != nil || got != secret {
			t.Errorf("unsealed %q, %v, want %q", got, err, secret)
		}
	}
	if bytes.Equal(r.Seal("AKIA1", "s"), r.Seal("AKIA1", "s")) {
		t.Error("the same secret is sealed to the same bytes twice")
	}
}

func TestUnsealRefuses(t *testing.T) {
	r := open(t)
	other, err := Open("", strings.Repeat("ab", keyLength))
	if err != nil {
		t.Fatal(err)
	}
	sealed := r.Seal("AKIA1", "secret")
	for _, test := range []struct {
		name   string
		ring   *Keyring
		id     string
		sealed []byte
	}{
		{"another key", other, "AKIA1", sealed},
		{"another access key", r, "AKIA2", sealed},
		{"changed", r, "AKIA1", append(bytes.Clone(sealed[:len(sealed)-1]), ^sealed[len(sealed)-1])},
		{"cut", r, "AKIA1", sealed[:5]},
		{"another version", r, "AKIA1", append([]byte{2}, sealed[1:]...)},
		{"empty", r, "AKIA1", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := test.ring.Unseal(deferd.AccessKey{ID: test.id, Sealed: test.sealed}); err == nil {
				t.Errorf("unsealed %q", got)
			}
		})
	}
}

func TestMint(t *testing.T) {
	r := open(t)
	lasting, secret := r.NewKey("123456789012", "arn:user")
	session, sessionSecret := r.NewSession("123456789012", "arn:role", "s3")
	for _, test := range []struct {
		name, got, pattern string
	}{
		{"ID", lasting.ID, `^AKIA[A-Z2-7]{16}$`},
		{"secret", secret, `^[A-Za-z0-9]{40}$`},
		{"token", lasting.Token, `^$`},
		{"service", lasting.Service, `^$`},
		{"ARN", lasting.ARN, `^arn:user$`},
		{"session's ID", session.ID, `^ASIA[A-Z2-7]{16}$`},
		{"session's secret", sessionSecret, `^[A-Za-z0-9]{40}$`},
		{"session's token", session.Token, `^[A-Za-z0-9]{64}$`},
		{"session's service", session.Service, `^s3$`},
		{"session's account", string(session.Account), `^123456789012$`},
	} {
		if !regexp.MustCompile(test.pattern).MatchString(test.got) {
			t.Errorf("%s is %q, want %s", test.name, test.got, test.pattern)
		}
	}
	if got, err := r.Unseal(session); err != nil || got != sessionSecret {
		t.Errorf("the session's sealed secret is %q, %v, want %q", got, err, sessionSecret)
	}
	if lasting.Created.IsZero() {
		t.Error("the key has no time of creation")
	}
	if again, _ := r.NewKey("123456789012", "arn:user"); again.ID == lasting.ID {
		t.Error("two keys have one ID")
	}
}

func TestDraw(t *testing.T) {
	counts := map[rune]int{}
	for _, c := range draw("abc", 30_000) {
		counts[c]++
	}
	for _, c := range "abc" { // 10000 expected, deviation 82
		if counts[c] < 9_300 || counts[c] > 10_700 {
			t.Errorf("%c was drawn %d times of 30000", c, counts[c])
		}
	}
}

func TestKeyFromEnvironment(t *testing.T) {
	k := deferd.AccessKey{ID: "AKIA1", Sealed: open(t).Seal("AKIA1", "secret")}
	for _, test := range []struct {
		name, env string
		ok        bool
	}{
		{"hexadecimal", hex.EncodeToString(testKey), true},
		{"base64", base64.StdEncoding.EncodeToString(testKey), true},
		{"base64 without padding", base64.RawStdEncoding.EncodeToString(testKey), true},
		{"base64 for URLs", base64.URLEncoding.EncodeToString(testKey), true},
		{"with an end of line", hex.EncodeToString(testKey) + "\n", true},
		{"too short", hex.EncodeToString(testKey[1:]), false},
		{"too long", base64.StdEncoding.EncodeToString(append([]byte{1}, testKey...)), false},
		{"a password", "correct horse battery staple", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Open(filepath.Join(t.TempDir(), "not", "used"), test.env)
			if !test.ok {
				if err == nil {
					t.Error("it is taken")
				} else if strings.Contains(err.Error(), test.env) {
					t.Errorf("the error tells the key: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.Unseal(k); err != nil || got != "secret" {
				t.Errorf("unsealed %q, %v", got, err)
			}
		})
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	first, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
		t.Errorf("mode %#o, want %#o", got, want)
	}
	again, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Unseal(deferd.AccessKey{ID: "a", Sealed: first.Seal("a", "secret")}); err != nil || got != "secret" {
		t.Errorf("after it was opened again: %q, %v", got, err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("files %v, want the key alone", files)
	}
}

func TestKeyFileRefuses(t *testing.T) {
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"empty", "", 0o600},
		{"half", strings.Repeat("ab", keyLength/2), 0o600},
		{"readable by the group", strings.Repeat("ab", keyLength), 0o640},
		{"readable by all", strings.Repeat("ab", keyLength), 0o604},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret.key")
			if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path, "")
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error that names the file", err)
			}
			if text, _ := os.ReadFile(path); string(text) != test.text {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "no", "dir", "secret.key"), ""); err == nil {
		t.Error("a key in a directory that is not there")
	}
}

// Whoever comes second uses the key of the first.
func TestKeyFileCreatedByManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	rings := make([]*Keyring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			var err error
			if rings[i], err = Open(path, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	k := deferd.AccessKey{ID: "a", Sealed: rings[0].Seal("a", "secret")}
	for i, r := range rings {
		if _, err := r.Unseal(k); err != nil {
			t.Errorf("keyring %d: %v", i, err)
		}
	}
}
