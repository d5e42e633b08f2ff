package sqlite

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// Keys of sessions do not pile up, but whose session has just ended is told so.
func TestKeysExpire(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "keys.db"), Options{})
	put := func(id string, expires time.Time) {
		t.Helper()
		k := deferd.AccessKey{ID: id, Account: "000000000000", Sealed: []byte{1}, Created: s.Now(), Expires: expires}
		if err := s.PutKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	put("long over", s.Now().Add(-expiredKept-time.Minute))
	put("over", s.Now().Add(-time.Minute))
	put("to come", s.Now().Add(time.Minute))
	put("lasting", time.Time{})
	keys, err := s.AccessKeys(t.Context(), "000000000000")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range keys {
		got = append(got, k.ID)
	}
	if want := []string{"lasting", "over", "to come"}; !slices.Equal(got, want) {
		t.Errorf("there are the keys %q, want %q", got, want)
	}
}
