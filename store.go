package deferd

import (
	"context"
	"time"
)

// A Store keeps everything that must survive: the registry of models,
// configurations and endpoints, the queue, the access keys, what was measured,
// the documents of the services beside them, and the notifications on their way.
// What a method that changes something has done is durable when it returns nil,
// except where its comment says otherwise. After an Unavailable error it may or
// may not have been done; the methods' comments say what a repeat does. All
// methods may be called concurrently. Each is one transaction.
type Store interface {
	Registry
	Queue
	Keys
	Documents
	History
	Outbox

	// Now is the store's clock, from which all stored times come. It never
	// goes back, not even over a restart.
	Now() time.Time

	// Close may be repeated.
	Close() error
}

// A Registry keeps models, configurations and endpoints. Names are unique among
// the living: Create answers Exists, the others NotFound; a repeat of what was
// done, too. IDs and times of creation are the caller's.
type Registry interface {
	CreateModel(ctx context.Context, m Model) error
	Model(ctx context.Context, a AccountID, n ModelName) (Model, error)
	ModelByID(ctx context.Context, id ModelID) (Model, error) // also a deleted one, while a configuration refers to it
	DeleteModel(ctx context.Context, a AccountID, n ModelName) error
	Models(ctx context.Context, q ListQuery) (Page[Model], error)

	CreateConfig(ctx context.Context, c Config) error
	Config(ctx context.Context, a AccountID, n ConfigName) (Config, error)
	ConfigByID(ctx context.Context, id ConfigID) (Config, error) // also a deleted one, while something refers to it
	DeleteConfig(ctx context.Context, a AccountID, n ConfigName) error
	Configs(ctx context.Context, q ListQuery) (Page[Config], error)

	CreateEndpoint(ctx context.Context, e Endpoint) error
	Endpoint(ctx context.Context, a AccountID, n EndpointName) (Endpoint, error)
	EndpointByID(ctx context.Context, id EndpointID) (Endpoint, error)
	Endpoints(ctx context.Context, q ListQuery) (Page[Endpoint], error)

	// LiveEndpoints are the IDs of all endpoints that have not been removed:
	// what a starting server has to look after.
	LiveEndpoints(ctx context.Context) ([]EndpointID, error)

	// ChangeEndpoint applies change to an endpoint and stores what comes of
	// it. The change may be called more than once; an error of it is returned
	// as it is and nothing is stored. A repeat changes what the first one made.
	// NotFound: there is no such endpoint any more, or no configuration that it
	// refers to. Once an endpoint is Deleting, nothing new is accepted for it.
	ChangeEndpoint(ctx context.Context, id EndpointID, change func(*Endpoint) error) (Endpoint, error)

	// RemoveEndpoint frees the name of an endpoint whose instances are gone.
	// Its invocations stay under its ID until their history is over. Busy: it
	// is not Deleting, or something is queued for it. One that is not there is
	// no error.
	RemoveEndpoint(ctx context.Context, id EndpointID) error

	// Tags reads a thing's tags. ChangeTags stores what change makes of them
	// and returns that; it may call change more than once, and stores nothing
	// where that returns an error, which it returns as it is. A repeat changes
	// what the first one made.
	Tags(ctx context.Context, of Tagged) ([]Tag, error)
	ChangeTags(ctx context.Context, of Tagged, change func([]Tag) ([]Tag, error)) ([]Tag, error)
}

// A ListQuery selects and orders one page of names.
type ListQuery struct {
	Account                       AccountID
	NameContains                  string
	CreatedBefore, CreatedAfter   time.Time // zero: no bound
	ModifiedBefore, ModifiedAfter time.Time // endpoints only
	Status                        EndpointStatus
	SortBy                        ListOrder
	Ascending                     bool
	Max                           int
	Token                         string // of the page before
}

// A ListOrder is what a list is sorted by; equal ones by name.
type ListOrder int

const (
	ByCreation ListOrder = iota
	ByName
	ByStatus
)

// A Page is one page of a list; Token is "" on the last one.
type Page[T any] struct {
	Items []T
	Token string
}

// A Queue keeps accepted invocations until they have ended, and for a while
// after. Delivery is at least once. Its rules are those of [Work], which is
// built on it; unlike there, nothing waits here.
type Queue interface {
	// Accept returns only after the invocation, and its inline body, is
	// durable. NotFound: there is no such endpoint, or it takes nothing now. A
	// repeated retry token within RepeatWindow gets the earlier invocation
	// back, and repeated is true. Anything else is another invocation, whose
	// ID must be another one.
	Accept(ctx context.Context, n NewInvocation) (inv Invocation, repeated bool, err error)

	// Body reads the inline body of an invocation. Nobody may change it.
	Body(ctx context.Context, id InvocationID) ([]byte, error)

	// OpenSession makes a session current for its instance, and returns the
	// leases of the earlier one with reason InstanceLost. So does a repeat, to
	// the session that nobody heard of.
	OpenSession(ctx context.Context, s Session) (SessionID, error)

	// CloseSession ends a session; what it holds returns with reason r. A
	// session that is not there is no error.
	CloseSession(ctx context.Context, id SessionID, r Reason) error

	// Claim leases at most n ready invocations to the session, in order, and
	// never more than its instance has slots, whatever n says. Leases of
	// claims after confirmed are handed out again. An instance runs at most
	// one invocation at a time that has lost an attempt with its instance.
	// Lost: the session is not current. A claim that a crash forgets leaves
	// the work queued, so it need not be durable when this returns.
	Claim(ctx context.Context, id SessionID, confirmed int64, n int) (Claim, error)

	// Extend reports which of the held leases are not the session's any more,
	// and releases those of its leases that were handed out up to confirmed
	// and are not held. Like Claim it need not be durable when this returns.
	// Lost: the session is not current.
	Extend(ctx context.Context, id SessionID, confirmed int64, held []LeaseID) (lost []LeaseID, err error)

	// Leased returns the invocation under a current lease. Lost otherwise.
	Leased(ctx context.Context, id LeaseID) (Invocation, error)

	// RecordUpload notes an upload under a current lease, so that it is
	// aborted if the lease ends without a settle that names it, and returns
	// it; where one is noted for the same location, that one. Lost otherwise.
	RecordUpload(ctx context.Context, id LeaseID, u Upload) (Upload, error)

	// Settle decides the outcome under a lease: Running → Publishing. Nil: it
	// is decided, now or earlier under the same lease. Lost: refused.
	Settle(ctx context.Context, s Settlement) error

	// Release ends a lease without an outcome, as Invocation.Return decides.
	// Lost: the lease is not current; nor is it in a repeat.
	Release(ctx context.Context, r Release) error

	// End decides an outcome without a lease, for an invocation that is Queued
	// or Running, whose lease is void with it. NotFound, or Exists with the
	// invocation as it is where something else was decided before.
	End(ctx context.Context, id InvocationID, o Outcome) (Invocation, error)

	// Sweep moves what time and deletion have made due: work whose wait is
	// over becomes ready, queued work whose TTL is over expires, and what is
	// queued for a deleted endpoint ends. It handles at most n of each and
	// returns when it next has something to do: at once where it did not get
	// through, the zero time where nothing is due.
	Sweep(ctx context.Context, n int) (next time.Time, err error)

	// Publishing returns up to n decided invocations that come after seq and
	// whose outcome is not known to be visible, in sequence order.
	Publishing(ctx context.Context, after Sequence, n int) ([]Publication, error)

	// Finish makes the state of a published invocation terminal, drops what was
	// staged, and puts n (nil: none) into the outbox, all at once. It is guarded
	// by the decision that was published; a repeat, or a decision that has been
	// replaced, changes nothing. It need not be durable when this returns: after
	// a crash the outcome is published again, and finished again. So whatever is
	// terminal has its notification, and it has one: that of the decision that
	// was published.
	Finish(ctx context.Context, id InvocationID, decision int, n *Notification) error

	// GiveUp records that publishing decision 1 is given up; after that,
	// Publication.GivenUp is true. A repeat changes nothing.
	GiveUp(ctx context.Context, id InvocationID) error

	// Redecide replaces decision 1 by decision 2, which is settled now, and
	// abandons the upload that decision 1 names. A repeat changes nothing.
	Redecide(ctx context.Context, id InvocationID, o Outcome) error

	// Abandoned returns up to n recorded uploads whose lease ended without a
	// settle that names them, or whose decision was replaced; Aborted forgets
	// one. One that is not there is no error.
	Abandoned(ctx context.Context, n int) ([]Upload, error)
	Aborted(ctx context.Context, uploadID string) error

	// Invocation returns an invocation of an endpoint: by invocation ID, else
	// the newest with that inference ID.
	Invocation(ctx context.Context, e EndpointID, id string) (Invocation, error)

	// Invocations lists an endpoint's invocations, newest first.
	Invocations(ctx context.Context, q InvocationQuery) (Page[Invocation], error)

	// Counts returns the counts of an endpoint, and Recount what a slow walk
	// finds instead; they differ by a bug.
	Counts(ctx context.Context, e EndpointID) (Counts, error)
	Recount(ctx context.Context, e EndpointID) (Counts, error)

	// OldestQueued is when the oldest invocation that waits was accepted; zero
	// where none does.
	OldestQueued(ctx context.Context, e EndpointID) (time.Time, error)

	// Prune deletes up to n invocations that finished before t, and what is
	// left of deleted things that nothing refers to any more. A repeat goes on
	// with what is left, and tells of that alone.
	Prune(ctx context.Context, before time.Time, n int) (pruned int, err error)

	// OnWork registers f to be called, after the transaction that caused it,
	// when an endpoint has work that it may not have had before. It may be
	// called for nothing, concurrently, and must not block. OnPublishing does
	// the same for a decision that waits to be published, OnDue for something
	// that is due before the time that Sweep returned last. There is one f of
	// each; a later one takes its place.
	OnWork(f func(EndpointID))

	// OnReady registers f to be asked, on the occasions that OnWork tells of,
	// for a claim that waits for an endpoint's work. It is served as [Queue.Claim]
	// serves one, in the very transaction that brings the work, and is answered
	// once that is committed. f must not block, nor wait for the store.
	OnReady(f func(EndpointID) (w WaitingClaim, waits bool))
	OnPublishing(f func(Sequence))
	OnDue(f func())
}

// A WaitingClaim is a claim that found nothing and waits.
type WaitingClaim struct {
	ClaimRequest

	// Answer is called once, and must not block: without leases where there was
	// nothing for the claim after all, or what there was could not be stored.
	Answer func(Claim)
}

// RepeatWindow is how long a repeated retry token gets the first answer again.
const RepeatWindow = 15 * time.Minute

// A Publication is a decided invocation with what there is to publish.
type Publication struct {
	Invocation Invocation
	Outcome    Outcome // with Body or Upload
	Decision   int
	GivenUp    bool
}

// An InvocationQuery selects a page of an endpoint's invocations.
type InvocationQuery struct {
	Endpoint EndpointID
	States   []State // empty: any
	Max      int
	Token    string
}

// Keys keeps access keys, their secrets sealed. One that expired a day ago may
// be gone.
type Keys interface {
	PutKey(ctx context.Context, k AccessKey) error // replaces one with its ID
	Key(ctx context.Context, id string) (AccessKey, error)
	DeleteKey(ctx context.Context, id string) error                   // one that is not there is no error
	AccessKeys(ctx context.Context, a AccountID) ([]AccessKey, error) // in the order of their IDs
}
