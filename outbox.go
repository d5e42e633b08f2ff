package deferd

import (
	"context"
	"time"
)

// A Notice is a notification that is kept until its receiver has it, or for as
// long as it is of interest that nobody took it.
type Notice struct {
	Notification // without attributes: no notice has any

	Seq      int64 // of the store; grows
	Account  AccountID
	Endpoint EndpointID  // whose invocation ended; "" for none
	Variant  VariantName // that the invocation ran on last; "" for none
	Created  time.Time
	Since    time.Time // when it was begun to be tried: made, or replayed
	Due      time.Time // before which it is not tried; zero for one that is dead
	Tries    int       // since then
	Error    string    // of the last try; "" while there was none
}

// Dead reports whether the notice is given up, and waits to be replayed.
func (n *Notice) Dead() bool { return n.Due.IsZero() }

// MaxNoticeError bounds what is kept of a try's error, in bytes.
const MaxNoticeError = 500

// A NoticeTry is a try to deliver a notice that failed.
type NoticeTry struct {
	Seq   int64
	Tries int    // with this one
	Error string // cut to MaxNoticeError bytes
	Next  time.Time
}

// An Outbox keeps the notifications that are to be delivered. Those of
// invocations come into it by [Queue.Finish]. Delivery is at least once: what
// was delivered and could not be noted is delivered again, under the same ID.
type Outbox interface {
	// AddNotice makes a notification of an account, without attributes, wait to
	// be delivered. It is durable when this returns nil. While one with its ID
	// and target is kept, a repeat adds nothing.
	AddNotice(ctx context.Context, a AccountID, n Notification) error

	// NoticeTargets are up to n targets of waiting notices that come after a
	// target, in their order.
	NoticeTargets(ctx context.Context, after string, n int) ([]string, error)

	// DueNotices are up to n notices that wait for a target, in the order in
	// which they are due; those that are not due yet, too.
	DueNotices(ctx context.Context, target string, n int) ([]Notice, error)

	// NoticeDelivered forgets a notice. One that is not there is no error. It
	// need not be durable when this returns.
	NoticeDelivered(ctx context.Context, seq int64) error

	// NoticeFailed records a try; where Next is zero the notice is dead from
	// now on. A repeat, or a try of a notice that has been replayed or
	// delivered meanwhile, changes nothing. It need not be durable when this
	// returns: after a crash the notice is tried again.
	NoticeFailed(ctx context.Context, t NoticeTry) error

	// Notices lists an account's notices, newest first.
	Notices(ctx context.Context, q NoticeQuery) (Page[Notice], error)

	// ReplayNotice makes an account's dead notices with this ID due now, as if
	// they were new, and returns how many these were. A repeat finds none.
	ReplayNotice(ctx context.Context, a AccountID, id string) (replayed int, err error)

	// OutboxCounts says what is kept.
	OutboxCounts(ctx context.Context) (OutboxCounts, error)

	// OnNotice registers f to be called, after the transaction that caused it,
	// when there is a notice to be delivered to a target that may not have been
	// there before. It may be called for nothing, concurrently, and must not
	// block. There is one f; a later one takes its place.
	OnNotice(f func(target string))
}

// A NoticeQuery selects a page of an account's notices.
type NoticeQuery struct {
	Account AccountID
	Dead    bool // only those that are
	Max     int
	Token   string // of the page before
}

// OutboxCounts are how many notices there are.
type OutboxCounts struct {
	Waiting int64
	Dead    int64
	Oldest  time.Time // when the one was begun to be tried that waits longest; zero where none waits
}
