package sqlite

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// A row is an invocation as it is stored: with what only the store knows.
type row struct {
	deferd.Invocation
	endpoint int64 // row of the endpoint
	config   int64 // row of the configuration
	lease    []byte
	givenUp  bool

	// Not stored: they are of rows that are in memory.
	session deferd.SessionID // while it runs
	claim   int64            // number of the claim that handed it out
	uploads bool             // some are recorded under the lease
	outcome *deferd.Outcome  // while it waits to be published; nil: to be read from the file
}

// invocationColumns are what scanRow reads, in its order. There is no join:
// what the rows of endpoints and configurations say of an invocation never
// changes and is remembered.
const invocationColumns = `i.seq, i.id, i.endpoint, i.config, i.inference_id, i.access_key, i.priority,
	i.redrive_of, i.input, i.inline_size, i.content_type, i.accept, i.attributes, i.output, i.failure, i.ttl, i.timeout,
	i.accepted, i.state, i.lease, i.variant, i.instance, i.attempts, i.deaths, i.losses, i.claimed,
	i.verdict, i.decision, i.given_up, i.reason, i.message, i.model_status, i.outcome_type, i.outcome_size, i.settled, i.finished`

// scanRow reads a row but for what it refers to.
func scanRow(s *sqlite.Stmt) (*row, error) {
	c := &columns{s: s}
	r := &row{}
	inv := &r.Invocation
	inv.Seq = deferd.Sequence(c.int64())
	inv.ID = columnID(s, c.next())
	r.endpoint, r.config = c.int64(), c.int64()
	inv.InferenceID = cmp.Or(c.text(), string(inv.ID))
	inv.AccessKey, inv.Priority = c.text(), c.int()
	inv.RedriveOf = columnID(s, c.next())
	inv.Input = c.location()
	inv.InlineSize = c.int64()
	inv.ContentType, inv.Accept, inv.CustomAttributes = c.text(), c.text(), c.text()
	inv.Output, inv.Failure = c.location(), c.location()
	inv.TTL, inv.Timeout = c.millis(), c.millis()
	inv.Accepted = c.time()
	inv.State = deferd.State(c.int())
	r.lease = c.bytes()
	inv.Variant, inv.Instance = deferd.VariantName(c.text()), deferd.InstanceID(c.text())
	inv.Attempts, inv.ServerDeaths, inv.InstanceLosses = c.int(), c.int(), c.int()
	inv.Claimed = c.time()
	inv.Verdict, inv.Decision = deferd.State(c.int()), c.int()
	r.givenUp = c.int() != 0
	inv.Reason, inv.Message = deferd.Reason(c.text()), c.text()
	inv.ModelStatus = c.int()
	inv.OutcomeType, inv.OutcomeSize = c.text(), c.int64()
	inv.Settled, inv.Finished = c.time(), c.time()
	if c.err != nil {
		return nil, fmt.Errorf("row of invocation %s: %v", inv.ID, c.err) // not a refusal
	}
	return r, nil
}

// columns reads the columns of a row one after the other.
type columns struct {
	s   *sqlite.Stmt
	i   int
	err error // the first
}

func (c *columns) next() int             { c.i++; return c.i - 1 }
func (c *columns) int64() int64          { return c.s.ColumnInt64(c.next()) }
func (c *columns) int() int              { return c.s.ColumnInt(c.next()) }
func (c *columns) text() string          { return c.s.ColumnText(c.next()) }
func (c *columns) bytes() []byte         { return columnBytes(c.s, c.next()) }
func (c *columns) time() time.Time       { return columnTime(c.s, c.next()) }
func (c *columns) millis() time.Duration { return columnMillis(c.s, c.next()) }

func (c *columns) location() deferd.Location {
	l, err := columnLocation(c.s, c.next())
	if c.err == nil {
		c.err = err
	}
	return l
}

// invocations returns the first n rows of i that a condition selects.
func (t *tx) invocations(n int, where string, args ...any) ([]*row, error) {
	var rows []*row
	err := t.query("SELECT "+invocationColumns+" FROM invocation i WHERE "+where, func(s *sqlite.Stmt) error {
		r, err := scanRow(s)
		if err != nil {
			return err
		}
		rows = append(rows, r)
		if len(rows) >= n {
			return errEnough
		}
		return nil
	}, args...)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := t.resolve(r); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// invocation returns one row, or nil.
func (t *tx) invocation(where string, args ...any) (*row, error) {
	rows, err := t.invocations(1, where, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// byID returns the row of an invocation, for the caller to change; nil where
// there is none.
func (t *tx) byID(id deferd.InvocationID) (*row, error) {
	if t.store != nil {
		if r := t.live(t.store.live.seq(id)); r != nil {
			return r, nil
		}
	}
	r, err := t.invocation("i.id = ?", invocationKey(id))
	if err != nil || r == nil {
		return nil, err
	}
	if own := t.live(int64(r.Seq)); own != nil { // claimed or decided in this transaction
		return own, nil
	}
	return r, nil
}

// A lease ID is the sequence number of its invocation, by which the row is
// found, and 128 random bits, which make it the right one.
const leaseSize = 8 + 16

func newLease(seq deferd.Sequence) []byte {
	lease := make([]byte, leaseSize)
	binary.BigEndian.PutUint64(lease, uint64(seq))
	rand.Read(lease[8:])
	return lease
}

func leaseID(lease []byte) deferd.LeaseID { return deferd.LeaseID(hex.EncodeToString(lease)) }

// parseLease reads a lease ID; ok is false for what cannot be one.
func parseLease(id deferd.LeaseID) (lease []byte, seq int64, ok bool) {
	lease, err := hex.DecodeString(string(id))
	if err != nil || len(lease) != leaseSize {
		return nil, 0, false
	}
	return lease, int64(binary.BigEndian.Uint64(lease)), true
}

var errLost = &deferd.Error{Code: deferd.Lost, Msg: "the lease is not current"}

// leased returns the row under a current lease, or errLost.
func (t *tx) leased(id deferd.LeaseID) (*row, error) {
	lease, seq, ok := parseLease(id)
	if !ok {
		return nil, errLost
	}
	r := t.live(seq)
	if r == nil || r.State != deferd.Running || !bytes.Equal(r.lease, lease) {
		return nil, errLost
	}
	return r, nil
}
