package sqlite

import (
	"fmt"
	"sync"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// refs remembers what invocations refer to by row. None of it ever changes.
type refs struct {
	mu        sync.RWMutex
	endpoints map[int64]endpointRef
	configs   map[int64]deferd.ConfigID
	rows      map[deferd.ConfigID]int64
}

type endpointRef struct {
	id      deferd.EndpointID
	account deferd.AccountID
}

func newRefs() *refs {
	r := &refs{}
	r.forget()
	return r
}

// forget empties the memory, so that what was deleted does not stay in it.
func (r *refs) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoints, r.configs, r.rows = map[int64]endpointRef{}, map[int64]deferd.ConfigID{}, map[deferd.ConfigID]int64{}
}

// resolve fills in what a row refers to.
func (t *tx) resolve(r *row) error {
	t.refs.mu.RLock()
	e, known := t.refs.endpoints[r.endpoint]
	c, knownToo := t.refs.configs[r.config]
	t.refs.mu.RUnlock()
	if !known || !knownToo {
		var err error
		if e, c, err = t.lookUp(r.endpoint, r.config); err != nil {
			return err
		}
	}
	r.Invocation.Endpoint, r.Account, r.Config = e.id, e.account, c
	return nil
}

// lookUp reads an endpoint's and a configuration's row, and remembers them.
func (t *tx) lookUp(endpoint, config int64) (e endpointRef, c deferd.ConfigID, err error) {
	err = t.query("SELECT id, account FROM endpoint WHERE row = ?", func(s *sqlite.Stmt) error {
		e = endpointRef{deferd.EndpointID(s.ColumnText(0)), deferd.AccountID(s.ColumnText(1))}
		return nil
	}, endpoint)
	if err != nil {
		return e, c, err
	}
	err = t.query("SELECT id FROM config WHERE row = ?", func(s *sqlite.Stmt) error {
		c = deferd.ConfigID(s.ColumnText(0))
		return nil
	}, config)
	if err != nil {
		return e, c, err
	}
	if e.id == "" || c == "" {
		return e, c, fmt.Errorf("endpoint %d or configuration %d of an invocation is not there", endpoint, config)
	}
	t.refs.mu.Lock()
	defer t.refs.mu.Unlock()
	t.refs.endpoints[endpoint], t.refs.configs[config] = e, c
	return e, c, nil
}

// configRow returns the row of a configuration, or 0.
func (t *tx) configRow(id deferd.ConfigID) (row int64, err error) {
	t.refs.mu.RLock()
	row = t.refs.rows[id]
	t.refs.mu.RUnlock()
	if row != 0 {
		return row, nil
	}
	err = t.query("SELECT row FROM config WHERE id = ?", func(s *sqlite.Stmt) error {
		row = s.ColumnInt64(0)
		return nil
	}, string(id))
	if err == nil && row != 0 {
		t.refs.mu.Lock()
		defer t.refs.mu.Unlock()
		t.refs.rows[id] = row
	}
	return row, err
}

// deleting reports whether an endpoint is being deleted, or has been.
func (t *tx) deleting(endpoint int64) (gone bool, err error) {
	t.refs.mu.RLock()
	ref, known := t.refs.endpoints[endpoint]
	t.refs.mu.RUnlock()
	if known && t.store != nil {
		e, err := t.endpoint(ref.id)
		return e.row == 0 || e.status == deferd.EndpointDeleting, err
	}
	gone = true
	err = t.query("SELECT status = 'Deleting' OR removed FROM endpoint WHERE row = ?", func(s *sqlite.Stmt) error {
		gone = s.ColumnBool(0)
		return nil
	}, endpoint)
	return gone, err
}
