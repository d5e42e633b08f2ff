package sqlite

import (
	"sync"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// maxRemembered bounds how many endpoints are remembered. Beyond it, all are
// forgotten and read again.
const maxRemembered = 16384

// A memory keeps endpoints as they were last committed, so that an invocation
// reads none of them from the file. This process alone writes the file.
type memory struct {
	mu      sync.RWMutex
	changes int64 // how many have been forgotten: what was read before may be old
	byName  map[endpointName]deferd.Endpoint
}

type endpointName struct {
	account deferd.AccountID
	name    deferd.EndpointName
}

func newMemory() *memory { return &memory{byName: map[endpointName]deferd.Endpoint{}} }

// find returns an endpoint, or the mark under which one that is read from now
// on may be remembered.
func (m *memory) find(n endpointName) (e deferd.Endpoint, found bool, mark int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	e, found = m.byName[n]
	return e, found, m.changes
}

// remember keeps what was read after the mark was given, unless something has
// changed since.
func (m *memory) remember(n endpointName, e deferd.Endpoint, mark int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changes != mark {
		return
	}
	if len(m.byName) >= maxRemembered {
		clear(m.byName)
	}
	m.byName[n] = e
}

// forget is told of every change, once it is committed and before anybody is
// answered.
func (m *memory) forget(n endpointName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	delete(m.byName, n)
}

// A standing is what transactions have to know of an endpoint all the time.
type standing struct {
	row    int64 // 0: it has been removed
	status deferd.EndpointStatus
}

// endpoint returns how an endpoint stands.
func (t *tx) endpoint(id deferd.EndpointID) (e standing, err error) {
	e, known := t.store.endpoints[id]
	if known {
		return e, nil
	}
	err = t.query("SELECT row, status FROM endpoint WHERE id = ? AND removed = 0", func(s *sqlite.Stmt) error {
		e = standing{s.ColumnInt64(0), deferd.EndpointStatus(s.ColumnText(1))}
		return nil
	}, string(id))
	if err != nil {
		return standing{}, err
	}
	if len(t.store.endpoints) >= maxRemembered {
		clear(t.store.endpoints)
	}
	t.store.endpoints[id] = e
	return e, nil
}

// changes has everybody forget an endpoint that this transaction changes: the
// writer at once, others when it is committed.
func (t *tx) changes(e deferd.Endpoint) {
	if t.store == nil {
		return
	}
	delete(t.store.endpoints, e.ID)
	t.after = append(t.after, func() { t.store.memory.forget(endpointName{e.Account, e.Name}) })
	t.undo = append(t.undo, func() { delete(t.store.endpoints, e.ID) })
}
