package sqlite

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// A row is an invocation as it is stored: with what only the store knows.
type row struct {
	deferd.Invocation
	endpoint int64 // row of the endpoint
	gone     bool  // the endpoint is being deleted, or is
	lease    []byte
	session  []byte
	claim    int64
}

// invocationColumns are what scanRow reads, of an invocation i joined with its
// endpoint e and configuration c.
const invocationColumns = `i.seq, i.id, i.endpoint, e.id, e.account, c.id, i.inference_id, i.access_key, i.priority,
	i.redrive_of, i.input, i.inline_size, i.content_type, i.accept, i.attributes, i.output, i.failure, i.ttl, i.timeout,
	i.accepted, i.state, i.lease, i.session, i.claim, i.variant, i.instance, i.attempts, i.deaths, i.losses, i.claimed,
	i.verdict, i.decision, i.reason, i.message, i.model_status, i.outcome_type, i.outcome_size, i.settled, i.finished,
	e.status = 'Deleting' OR e.removed`

const invocationTables = ` FROM invocation i JOIN endpoint e ON e.row = i.endpoint JOIN config c ON c.row = i.config `

func scanRow(s *sqlite.Stmt) (*row, error) {
	r := &row{endpoint: s.ColumnInt64(2), lease: columnBytes(s, 21), session: columnBytes(s, 22), claim: s.ColumnInt64(23), gone: s.ColumnBool(39)}
	inv := &r.Invocation
	inv.Seq = deferd.Sequence(s.ColumnInt64(0))
	inv.ID = columnID(s, 1)
	inv.Endpoint = deferd.EndpointID(s.ColumnText(3))
	inv.Account = deferd.AccountID(s.ColumnText(4))
	inv.Config = deferd.ConfigID(s.ColumnText(5))
	inv.InferenceID = string(inv.ID)
	if !s.ColumnIsNull(6) {
		inv.InferenceID = s.ColumnText(6)
	}
	inv.AccessKey = s.ColumnText(7)
	inv.Priority = s.ColumnInt(8)
	inv.RedriveOf = columnID(s, 9)
	inv.InlineSize = s.ColumnInt64(11)
	inv.ContentType = s.ColumnText(12)
	inv.Accept = s.ColumnText(13)
	inv.CustomAttributes = s.ColumnText(14)
	inv.TTL = columnMillis(s, 17)
	inv.Timeout = columnMillis(s, 18)
	inv.Accepted = columnTime(s, 19)
	inv.State = deferd.State(s.ColumnInt(20))
	inv.Variant = deferd.VariantName(s.ColumnText(24))
	inv.Instance = deferd.InstanceID(s.ColumnText(25))
	inv.Attempts = s.ColumnInt(26)
	inv.ServerDeaths = s.ColumnInt(27)
	inv.InstanceLosses = s.ColumnInt(28)
	inv.Claimed = columnTime(s, 29)
	inv.Verdict = deferd.State(s.ColumnInt(30))
	inv.Decision = s.ColumnInt(31)
	inv.Reason = deferd.Reason(s.ColumnText(32))
	inv.Message = s.ColumnText(33)
	inv.ModelStatus = s.ColumnInt(34)
	inv.OutcomeType = s.ColumnText(35)
	inv.OutcomeSize = s.ColumnInt64(36)
	inv.Settled = columnTime(s, 37)
	inv.Finished = columnTime(s, 38)
	for i, l := range map[int]*deferd.Location{10: &inv.Input, 15: &inv.Output, 16: &inv.Failure} {
		var err error
		if *l, err = columnLocation(s, i); err != nil {
			return nil, fmt.Errorf("row of invocation %s: %v", inv.ID, err) // not a refusal
		}
	}
	return r, nil
}

// invocations returns the rows that a condition over i, e and c selects.
func (t *tx) invocations(where string, args []any) ([]*row, error) {
	var rows []*row
	err := t.query("SELECT "+invocationColumns+invocationTables+"WHERE "+where, func(s *sqlite.Stmt) error {
		r, err := scanRow(s)
		rows = append(rows, r)
		return err
	}, args...)
	return rows, err
}

// invocation returns one row, or nil.
func (t *tx) invocation(where string, args ...any) (*row, error) {
	rows, err := t.invocations(where, args)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
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
	r, err := t.invocation("i.seq = ? AND i.lease = ? AND i.state = 1", seq, lease)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, errLost
	}
	return r, nil
}
