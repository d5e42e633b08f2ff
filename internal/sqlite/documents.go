package sqlite

import (
	"context"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// PutDocument creates a document, or replaces the version that it names.
func (s *Store) PutDocument(ctx context.Context, d deferd.Document) (deferd.Document, error) {
	if d.Body == nil {
		d.Body = []byte{}
	}
	err := s.write(ctx, func(t *tx) error {
		if d.Version == 0 {
			return t.createDocument(d)
		}
		return t.replaceDocument(d)
	})
	if err != nil {
		return deferd.Document{}, err
	}
	d.Version++
	return d, nil
}

func (t *tx) createDocument(d deferd.Document) error {
	n, err := t.change("INSERT INTO document VALUES (?, ?, ?, 1, ?) ON CONFLICT DO NOTHING",
		string(d.Kind), string(d.Account), d.Name, d.Body)
	if err == nil && n == 0 {
		err = deferd.Errorf(deferd.Exists, "there is a %s %q already", d.Kind, d.Name)
	}
	return err
}

func (t *tx) replaceDocument(d deferd.Document) error {
	n, err := t.change("UPDATE document SET version = version + 1, body = ? WHERE kind = ? AND account = ? AND name = ? AND version = ?",
		d.Body, string(d.Kind), string(d.Account), d.Name, d.Version)
	if err != nil || n > 0 {
		return err
	}
	found := false
	err = t.query("SELECT 1 FROM document WHERE kind = ? AND account = ? AND name = ?", func(*sqlite.Stmt) error {
		found = true
		return nil
	}, string(d.Kind), string(d.Account), d.Name)
	switch {
	case err != nil:
		return err
	case found:
		return deferd.Errorf(deferd.Changed, "the %s %q has been changed meanwhile", d.Kind, d.Name)
	}
	return noDocument(d.Kind, d.Name)
}

func noDocument(k deferd.DocumentKind, name string) error {
	return deferd.Errorf(deferd.NotFound, "there is no %s %q", k, name)
}

// Document reads a document.
func (s *Store) Document(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, name string) (deferd.Document, error) {
	docs, err := s.documents(ctx, "kind = ? AND account = ? AND name = ?", string(k), string(a), name)
	if err == nil && len(docs) == 0 {
		err = noDocument(k, name)
	}
	if err != nil {
		return deferd.Document{}, err
	}
	return docs[0], nil
}

// Documents reads documents in the byte order of their names. No name in UTF-8
// holds the byte that ends the range of a prefix.
func (s *Store) Documents(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, prefix, after string, n int) ([]deferd.Document, error) {
	return s.documents(ctx, "kind = ? AND account = ? AND name >= ? AND name < ? AND name > ? ORDER BY name LIMIT ?",
		string(k), string(a), prefix, prefix+"\xff", after, max(n, 0))
}

func (s *Store) documents(ctx context.Context, where string, args ...any) (docs []deferd.Document, err error) {
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT kind, account, name, version, body FROM document WHERE "+where, func(st *sqlite.Stmt) error {
			docs = append(docs, deferd.Document{
				Kind: deferd.DocumentKind(st.ColumnText(0)), Account: deferd.AccountID(st.ColumnText(1)), Name: st.ColumnText(2),
				Version: st.ColumnInt64(3), Body: columnBytes(st, 4),
			})
			return nil
		}, args...)
	})
	return docs, err
}

// DeleteDocument deletes a document.
func (s *Store) DeleteDocument(ctx context.Context, k deferd.DocumentKind, a deferd.AccountID, name string) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.change("DELETE FROM document WHERE kind = ? AND account = ? AND name = ?", string(k), string(a), name)
		if err == nil && n == 0 {
			err = noDocument(k, name)
		}
		return err
	})
}
