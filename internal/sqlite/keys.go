package sqlite

import (
	"context"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// expiredKept is how long a key is kept after it has expired, so that its users
// are told that, and not that there is no such key.
const expiredKept = 24 * time.Hour

// PutKey stores an access key, replacing one with its ID. It drops those that
// nobody will use again.
func (s *Store) PutKey(ctx context.Context, k deferd.AccessKey) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.exec("DELETE FROM access_key WHERE expires IS NOT NULL AND expires < ?", t.now.Add(-expiredKept)); err != nil {
			return err
		}
		return t.exec("INSERT OR REPLACE INTO access_key (id, account, arn, sealed, token, service, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			k.ID, string(k.Account), k.ARN, k.Sealed, k.Token, k.Service, k.Created, k.Expires)
	})
}

// Key reads an access key.
func (s *Store) Key(ctx context.Context, id string) (deferd.AccessKey, error) {
	keys, err := s.keys(ctx, "id = ?", id)
	if err == nil && len(keys) == 0 {
		err = deferd.Errorf(deferd.NotFound, "there is no such access key")
	}
	if err != nil {
		return deferd.AccessKey{}, err
	}
	return keys[0], nil
}

// AccessKeys reads all access keys of an account.
func (s *Store) AccessKeys(ctx context.Context, a deferd.AccountID) ([]deferd.AccessKey, error) {
	return s.keys(ctx, "account = ? ORDER BY id", string(a))
}

func (s *Store) keys(ctx context.Context, where string, arg any) (keys []deferd.AccessKey, err error) {
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT id, account, arn, sealed, token, service, created, expires FROM access_key WHERE "+where, func(st *sqlite.Stmt) error {
			keys = append(keys, deferd.AccessKey{
				ID: st.ColumnText(0), Account: deferd.AccountID(st.ColumnText(1)), ARN: st.ColumnText(2),
				Sealed: columnBytes(st, 3), Token: st.ColumnText(4), Service: st.ColumnText(5), Created: columnTime(st, 6),
				Expires: columnTime(st, 7),
			})
			return nil
		}, arg)
	})
	return keys, err
}

// DeleteKey deletes an access key. One that is not there is no error.
func (s *Store) DeleteKey(ctx context.Context, id string) error {
	return s.write(ctx, func(t *tx) error { return t.exec("DELETE FROM access_key WHERE id = ?", id) })
}
