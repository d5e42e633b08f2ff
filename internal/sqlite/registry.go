package sqlite

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// A table of the registry keeps documents: the thing as JSON, with the columns
// beside it that names, lists and references need.
type table struct {
	name string // of the table
	noun string // for messages
}

var (
	models    = table{"model", "model"}
	configs   = table{"config", "endpoint configuration"}
	endpoints = table{"endpoint", "endpoint"}
)

// one reads the document that a condition selects into v.
func (t *tx) one(tab table, v any, where string, args ...any) (found bool, err error) {
	err = t.query("SELECT doc FROM "+tab.name+" WHERE "+where, func(s *sqlite.Stmt) error {
		found = true
		return json.Unmarshal([]byte(s.ColumnText(0)), v)
	}, args...)
	return found, err
}

// get reads a document on a reading connection; NotFound where there is none.
func get[T any](ctx context.Context, s *Store, tab table, where string, args ...any) (v T, err error) {
	err = s.read(ctx, func(t *tx) error {
		found, err := t.one(tab, &v, where, args...)
		if err == nil && !found {
			err = deferd.Errorf(deferd.NotFound, "there is no such %s", tab.noun)
		}
		return err
	})
	return v, err
}

const living = "account = ? AND name = ? AND removed = 0"

// livingEndpoint is the same for endpoints. Their index does not know case, so
// it is asked without; only account and name together make it short.
const livingEndpoint = "account = ?1 AND name = ?2 COLLATE NOCASE AND name = ?2 AND removed = 0"

// taken refuses a name that a living thing has.
func (t *tx) taken(tab table, where string, args ...any) error {
	found := false
	err := t.query("SELECT 1 FROM "+tab.name+" WHERE "+where, func(*sqlite.Stmt) error { found = true; return nil }, args...)
	if err == nil && found {
		err = deferd.Errorf(deferd.Exists, "the %s exists already", tab.noun)
	}
	return err
}

// remove marks a living thing removed; its row stays while something refers to
// it.
func (s *Store) remove(ctx context.Context, tab table, a deferd.AccountID, name string) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.change("UPDATE "+tab.name+" SET removed = 1 WHERE "+living, string(a), name)
		if err == nil && n == 0 {
			err = deferd.Errorf(deferd.NotFound, "there is no such %s", tab.noun)
		}
		return err
	})
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

func (s *Store) CreateModel(ctx context.Context, m deferd.Model) error {
	doc, err := encode(m)
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error {
		if err := t.taken(models, living, string(m.Account), string(m.Name)); err != nil {
			return err
		}
		return t.exec("INSERT INTO model (id, account, name, created, doc) VALUES (?, ?, ?, ?, ?)",
			string(m.ID), string(m.Account), string(m.Name), m.Created, doc)
	})
}

func (s *Store) Model(ctx context.Context, a deferd.AccountID, n deferd.ModelName) (deferd.Model, error) {
	return get[deferd.Model](ctx, s, models, living, string(a), string(n))
}

func (s *Store) ModelByID(ctx context.Context, id deferd.ModelID) (deferd.Model, error) {
	return get[deferd.Model](ctx, s, models, "id = ?", string(id))
}

func (s *Store) DeleteModel(ctx context.Context, a deferd.AccountID, n deferd.ModelName) error {
	return s.remove(ctx, models, a, string(n))
}

func (s *Store) Models(ctx context.Context, q deferd.ListQuery) (deferd.Page[deferd.Model], error) {
	return list[deferd.Model](ctx, s, models, q)
}

// CreateConfig stores a configuration; NotFound if one of its models has been
// deleted meanwhile.
func (s *Store) CreateConfig(ctx context.Context, c deferd.Config) error {
	doc, err := encode(c)
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error {
		if err := t.taken(configs, living, string(c.Account), string(c.Name)); err != nil {
			return err
		}
		for _, v := range c.Variants {
			var m deferd.Model
			found, err := t.one(models, &m, "id = ? AND removed = 0", string(v.ModelID))
			if err != nil {
				return err
			}
			if !found {
				return deferd.Errorf(deferd.NotFound, "there is no model %s", v.ModelName)
			}
		}
		err := t.exec("INSERT INTO config (id, account, name, created, doc) VALUES (?, ?, ?, ?, ?)",
			string(c.ID), string(c.Account), string(c.Name), c.Created, doc)
		if err != nil {
			return err
		}
		row := t.conn.LastInsertRowID()
		for _, v := range c.Variants {
			if err := t.exec("INSERT OR IGNORE INTO config_model VALUES (?, ?)", row, string(v.ModelID)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) Config(ctx context.Context, a deferd.AccountID, n deferd.ConfigName) (deferd.Config, error) {
	return get[deferd.Config](ctx, s, configs, living, string(a), string(n))
}

func (s *Store) ConfigByID(ctx context.Context, id deferd.ConfigID) (deferd.Config, error) {
	return get[deferd.Config](ctx, s, configs, "id = ?", string(id))
}

func (s *Store) DeleteConfig(ctx context.Context, a deferd.AccountID, n deferd.ConfigName) error {
	return s.remove(ctx, configs, a, string(n))
}

func (s *Store) Configs(ctx context.Context, q deferd.ListQuery) (deferd.Page[deferd.Config], error) {
	return list[deferd.Config](ctx, s, configs, q)
}

// CreateEndpoint stores an endpoint; NotFound if its configuration has been
// deleted meanwhile.
func (s *Store) CreateEndpoint(ctx context.Context, e deferd.Endpoint) error {
	doc, err := encode(e)
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error {
		err := t.taken(endpoints, "account = ? AND name = ? COLLATE NOCASE AND removed = 0", string(e.Account), string(e.Name))
		if err != nil {
			return err
		}
		var c deferd.Config
		found, err := t.one(configs, &c, "id = ? AND removed = 0", string(e.ConfigID))
		if err != nil {
			return err
		}
		if !found {
			return deferd.Errorf(deferd.NotFound, "there is no endpoint configuration %s", e.ConfigID)
		}
		used, err := t.configsOf(e)
		if err != nil {
			return err
		}
		err = t.exec("INSERT INTO endpoint (id, account, name, status, created, modified, doc) VALUES (?, ?, ?, ?, ?, ?, ?)",
			string(e.ID), string(e.Account), string(e.Name), string(e.Status), e.Created, e.Modified, doc)
		if err != nil {
			return err
		}
		t.changes(e)
		return t.uses(e, used)
	})
}

// configsOf finds the rows of the configuration that an endpoint has, and of
// the one that it is about to have. NotFound: one of them has been pruned,
// perhaps in this very group, which is why none is looked up in memory.
func (t *tx) configsOf(e deferd.Endpoint) (rows []int64, err error) {
	ids := []deferd.ConfigID{e.ConfigID}
	if e.Deployment != nil {
		ids = append(ids, e.Deployment.ConfigID)
	}
	for _, id := range ids {
		var row int64
		err := t.query("SELECT row FROM config WHERE id = ?", func(st *sqlite.Stmt) error {
			row = st.ColumnInt64(0)
			return nil
		}, string(id))
		if err == nil && row == 0 {
			err = deferd.Errorf(deferd.NotFound, "there is no endpoint configuration %s", id)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// uses notes that an endpoint has configurations, by their rows.
func (t *tx) uses(e deferd.Endpoint, configs []int64) error {
	for _, row := range configs {
		err := t.exec("INSERT OR IGNORE INTO endpoint_config SELECT row, ? FROM endpoint WHERE id = ?", row, string(e.ID))
		if err != nil {
			return err
		}
	}
	return nil
}

// Endpoint is asked for with every invocation, and so answered from memory.
func (s *Store) Endpoint(ctx context.Context, a deferd.AccountID, n deferd.EndpointName) (deferd.Endpoint, error) {
	name := endpointName{a, n}
	e, found, mark := s.memory.find(name)
	if found {
		return e, nil
	}
	e, err := get[deferd.Endpoint](ctx, s, endpoints, livingEndpoint, string(a), string(n))
	if err == nil {
		s.memory.remember(name, e, mark)
	}
	return e, err
}

func (s *Store) EndpointByID(ctx context.Context, id deferd.EndpointID) (deferd.Endpoint, error) {
	return get[deferd.Endpoint](ctx, s, endpoints, "id = ?", string(id))
}

func (s *Store) Endpoints(ctx context.Context, q deferd.ListQuery) (deferd.Page[deferd.Endpoint], error) {
	return list[deferd.Endpoint](ctx, s, endpoints, q)
}

func (s *Store) LiveEndpoints(ctx context.Context) (ids []deferd.EndpointID, err error) {
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT id FROM endpoint WHERE removed = 0 ORDER BY row", func(st *sqlite.Stmt) error {
			ids = append(ids, deferd.EndpointID(st.ColumnText(0)))
			return nil
		})
	})
	return ids, err
}

// ChangeEndpoint stores what change makes of an endpoint.
func (s *Store) ChangeEndpoint(ctx context.Context, id deferd.EndpointID, change func(*deferd.Endpoint) error) (e deferd.Endpoint, err error) {
	var refusal error // of change: not a failure of the transaction
	err = s.write(ctx, func(t *tx) error {
		e, refusal = deferd.Endpoint{}, nil
		found, err := t.one(endpoints, &e, "id = ? AND removed = 0", string(id))
		if err != nil {
			return err
		}
		if !found {
			return deferd.Errorf(deferd.NotFound, "there is no such endpoint")
		}
		if refusal = change(&e); refusal != nil {
			return nil
		}
		e.Modified = t.now
		doc, err := encode(e)
		if err != nil {
			return err
		}
		used, err := t.configsOf(e)
		if err != nil {
			return err
		}
		if e.Status == deferd.EndpointDeleting {
			t.announceDue(t.now)
		}
		err = t.exec("UPDATE endpoint SET status = ?, modified = ?, doc = ? WHERE id = ?", string(e.Status), e.Modified, doc, string(id))
		if err != nil {
			return err
		}
		t.changes(e)
		return t.uses(e, used)
	})
	if err == nil {
		err = refusal
	}
	return e, err
}

// RemoveEndpoint frees the name of an endpoint that is being deleted, once
// nothing is queued for it.
func (s *Store) RemoveEndpoint(ctx context.Context, id deferd.EndpointID) error {
	return s.write(ctx, func(t *tx) error {
		var queued, deleting, found bool
		e := deferd.Endpoint{ID: id}
		err := t.query(`SELECT status = 'Deleting', EXISTS (SELECT 1 FROM invocation i WHERE i.endpoint = e.row AND i.state = 0), account, name
			FROM endpoint e WHERE id = ? AND removed = 0`, func(st *sqlite.Stmt) error {
			deleting, queued, found = st.ColumnBool(0), st.ColumnBool(1), true
			e.Account, e.Name = deferd.AccountID(st.ColumnText(2)), deferd.EndpointName(st.ColumnText(3))
			return nil
		}, string(id))
		switch {
		case err != nil:
			return err
		case !found:
			return nil // removed before
		case !deleting:
			return deferd.Errorf(deferd.Busy, "the endpoint is not being deleted")
		case queued:
			return deferd.Errorf(deferd.Busy, "the endpoint's queue is not empty yet")
		}
		t.changes(e)
		return t.exec("UPDATE endpoint SET removed = 1, status = 'Removed' WHERE id = ?", string(id))
	})
}

// tables are where the kinds of things lie that have tags.
var tables = map[deferd.Kind]table{deferd.KindModel: models, deferd.KindConfig: configs, deferd.KindEndpoint: endpoints}

// taggedDoc is what a thing's document says of its tags.
type taggedDoc struct{ Tags []deferd.Tag }

// anyCase finds a living thing whatever the case of its name; of several that
// differ in it alone, the one that is written like this, else the oldest.
const anyCase = "account = ? AND name = ? COLLATE NOCASE AND removed = 0 ORDER BY name = ? DESC, row LIMIT 1"

func (s *Store) Tags(ctx context.Context, of deferd.Tagged) ([]deferd.Tag, error) {
	doc, err := get[taggedDoc](ctx, s, tables[of.Kind], anyCase, string(of.Account), of.Name, of.Name)
	return doc.Tags, err
}

// ChangeTags stores what change makes of a thing's tags.
func (s *Store) ChangeTags(ctx context.Context, of deferd.Tagged, change func([]deferd.Tag) ([]deferd.Tag, error)) (tags []deferd.Tag, err error) {
	tab := tables[of.Kind]
	var refusal error // of change: not a failure of the transaction
	err = s.write(ctx, func(t *tx) error {
		var row int64
		var doc taggedDoc
		var name string
		err := t.query("SELECT row, doc, name FROM "+tab.name+" WHERE "+anyCase, func(st *sqlite.Stmt) error {
			row, name = st.ColumnInt64(0), st.ColumnText(2)
			return json.Unmarshal([]byte(st.ColumnText(1)), &doc)
		}, string(of.Account), of.Name, of.Name)
		if err != nil {
			return err
		}
		if row == 0 {
			return deferd.Errorf(deferd.NotFound, "there is no such %s", tab.noun)
		}
		if tags, refusal = change(doc.Tags); refusal != nil {
			return nil
		}
		text, err := encode(tags)
		if err != nil {
			return err
		}
		if tab == endpoints {
			t.changes(deferd.Endpoint{Account: of.Account, Name: deferd.EndpointName(name)})
		}
		return t.exec("UPDATE "+tab.name+" SET doc = json_set(doc, '$.Tags', json(?)) WHERE row = ?", text, row)
	})
	if err == nil {
		err = refusal
	}
	return tags, err
}

// A cursor is a page token: the sort value and name of the last item of a list.
type cursor struct {
	List string `json:"l"`
	Key  string `json:"k"`
	Name string `json:"n"`
}

func (c cursor) token() string {
	b, _ := json.Marshal(c) // strings always marshal
	return base64.RawURLEncoding.EncodeToString(b)
}

// list reads one page of a table.
func list[T any](ctx context.Context, s *Store, tab table, q deferd.ListQuery) (page deferd.Page[T], err error) {
	q.Max = max(q.Max, 1)
	where, args, err := filter(tab, q)
	if err != nil {
		return page, err
	}
	key := sortKey(q.SortBy)
	order := " DESC"
	if q.Ascending {
		order = " ASC"
	}
	var last cursor
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT doc, name, "+key+" FROM "+tab.name+" WHERE "+where+" ORDER BY "+key+order+", name"+order+" LIMIT ?",
			func(st *sqlite.Stmt) error {
				if len(page.Items) == q.Max {
					page.Token = last.token()
					return nil
				}
				last = cursor{List: listed(tab, q), Key: st.ColumnText(2), Name: st.ColumnText(1)}
				var v T
				err := json.Unmarshal([]byte(st.ColumnText(0)), &v)
				page.Items = append(page.Items, v)
				return err
			}, append(args, q.Max+1)...)
	})
	return page, err
}

// listed is what a token is good for: a list in its order.
func listed(tab table, q deferd.ListQuery) string {
	return fmt.Sprint(tab.name, q.SortBy, q.Ascending)
}

func sortKey(o deferd.ListOrder) string {
	switch o {
	case deferd.ByName:
		return "name"
	case deferd.ByStatus:
		return "status"
	}
	return "printf('%020d', created)"
}

// filter is the condition of a list, with its arguments.
func filter(tab table, q deferd.ListQuery) (string, []any, error) {
	where := []string{"account = ?", "removed = 0"}
	args := []any{string(q.Account)}
	add := func(cond string, arg ...any) {
		where = append(where, cond)
		args = append(args, arg...)
	}
	if q.NameContains != "" {
		add("instr(lower(name), lower(?)) > 0", q.NameContains)
	}
	for _, bound := range []struct {
		cond string
		at   time.Time
	}{
		{"created < ?", q.CreatedBefore}, {"created > ?", q.CreatedAfter},
		{"modified < ?", q.ModifiedBefore}, {"modified > ?", q.ModifiedAfter},
	} {
		if bound.at.IsZero() {
			continue
		}
		if strings.HasPrefix(bound.cond, "modified") && tab != endpoints {
			return "", nil, deferd.Errorf(deferd.Invalid, "a %s has no time of modification", tab.noun)
		}
		add(bound.cond, bound.at)
	}
	if q.Status != "" {
		add("status = ?", string(q.Status))
	}
	if q.Token != "" {
		var c cursor
		b, err := base64.RawURLEncoding.DecodeString(q.Token)
		if err == nil {
			err = json.Unmarshal(b, &c)
		}
		if err != nil || c.List != listed(tab, q) {
			return "", nil, deferd.Errorf(deferd.Invalid, "the page token is not one of this list's")
		}
		op := "<"
		if q.Ascending {
			op = ">"
		}
		add(fmt.Sprintf("(%s, name) %s (?, ?)", sortKey(q.SortBy), op), c.Key, c.Name)
	}
	return strings.Join(where, " AND "), args, nil
}
