// Package dispatch stands between agents and the store, on every server: it
// implements [deferd.Work] over a [deferd.Store] and a [deferd.ObjectStore].
//
// The store never waits; dispatch does. A claim that finds nothing waits here
// and is served in the transaction that brings work, or woken to look again. What agents settle is published
// here: the store decides, the object store follows, and nobody but a server
// ever writes a key that a client can see.
package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
)

var _ deferd.Work = (*Dispatch)(nil)

// Config is what a Dispatch works with.
type Config struct {
	Store   deferd.Store
	Objects deferd.ObjectStore
	Logger  *slog.Logger

	// Publishers is how many outcomes are published at a time. More hide the
	// latency of a distant object store; each holds at most MaxStaged bytes.
	// Default 32.
	Publishers int

	// HoldClaims lets claims wait until Published: an input may be an output that
	// was seen in an earlier life and that a crash has taken back.
	HoldClaims bool

	// Notice is asked, right before an invocation is finished, what is to be said
	// of its end; nil for nothing. The publication is without its body, which
	// body reads. An error puts the finish off. Nil: nothing is ever said.
	Notice func(ctx context.Context, p deferd.Publication, body func(context.Context) ([]byte, error)) (*deferd.Notification, error)

	// Finished is told of every invocation that has ended, once its outcome is
	// where it is going to be. It must not block. Nil: nobody is told.
	Finished func(deferd.Publication)
}

// A Dispatch serves the agents of one server.
type Dispatch struct {
	store   deferd.Store
	objects deferd.ObjectStore
	log     *slog.Logger

	waiting   waiting
	held      bool // claims wait until Published
	publisher *publisher
	refused   atomic.Int64 // settles that came too late

	mu     sync.Mutex
	orders map[deferd.InstanceID]deferd.Order
	speaks map[deferd.SessionID]deferd.Session // sessions opened here
	ended  map[deferd.SessionID]bool           // those whose end could not be stored
}

// New makes a Dispatch and registers it for the store's work.
func New(c Config) *Dispatch {
	if c.Publishers == 0 {
		c.Publishers = 32
	}
	d := &Dispatch{
		store: c.Store, objects: c.Objects, log: c.Logger, held: c.HoldClaims,
		waiting: waiting{claims: map[deferd.EndpointID][]*waiter{}},
		orders:  map[deferd.InstanceID]deferd.Order{},
		speaks:  map[deferd.SessionID]deferd.Session{},
		ended:   map[deferd.SessionID]bool{},
	}
	d.publisher = newPublisher(c)
	c.Store.OnReady(d.ready)
	c.Store.OnPublishing(d.publisher.add)
	return d
}

// Run publishes outcomes and tidies up behind agents until ctx ends. What is
// still to be published then is published by the next server that runs.
func (d *Dispatch) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { d.publisher.run(ctx) })
	wg.Go(func() { d.tidy(ctx) })
	if d.held {
		wg.Go(func() { d.letClaim(ctx) })
	}
	wg.Wait()
	return nil
}

// letClaim wakes the claims that waited until Published.
func (d *Dispatch) letClaim(ctx context.Context) {
	select {
	case <-d.Published():
		d.waiting.wakeEverybody()
	case <-ctx.Done():
	}
}

// isHeld reports whether claims wait until Published.
func (d *Dispatch) isHeld() bool {
	if !d.held {
		return false
	}
	select {
	case <-d.Published():
		return false
	default:
		return true
	}
}

// Published is closed once everything that an earlier life of the server had
// decided is visible, or has at least been tried: once, and for a minute where
// an object that was seen may not have been durable.
func (d *Dispatch) Published() <-chan struct{} { return d.publisher.caughtUp }

// Stats are what an operator wants to know of a Dispatch.
type Stats struct {
	ClaimsWaiting  int
	ToPublish      int   // outcomes queued or on their way
	Published      int64 // invocations ended
	PublishRetries int64
	SettlesRefused int64 // of agents whose lease was not current any more
}

// Stats reads the counters.
func (d *Dispatch) Stats() Stats {
	return Stats{
		ClaimsWaiting:  d.waiting.count(),
		ToPublish:      d.publisher.pending(),
		Published:      d.publisher.published.Load(),
		PublishRetries: d.publisher.retries.Load(),
		SettlesRefused: d.refused.Load(),
	}
}

// Order tells the instance's agent, with its next extend, what it is to do. A
// draining or stopping instance is handed no more work from now on.
func (d *Dispatch) Order(i deferd.InstanceID, o deferd.Order) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o == deferd.OrderServe {
		delete(d.orders, i)
		return
	}
	d.orders[i] = o
	for _, s := range d.speaks {
		if s.Instance == i {
			d.waiting.wakeAll(s.Endpoint) // so that its claim ends
		}
	}
}

// Open begins a session.
func (d *Dispatch) Open(ctx context.Context, s deferd.Session) (deferd.SessionID, error) {
	id, err := d.store.OpenSession(ctx, s)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.speaks[id] = s
	return id, nil
}

// Close ends a session in order. Where the store cannot do that now it is done
// later, also if the agent gives up asking: what the session holds must not stay
// with it.
func (d *Dispatch) Close(ctx context.Context, id deferd.SessionID) error {
	err := d.store.CloseSession(ctx, id, deferd.InstanceEnded)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.ended[id] = true
		return err
	}
	delete(d.ended, id)
	if s, ok := d.speaks[id]; ok {
		delete(d.orders, s.Instance)
		delete(d.speaks, id)
		d.waiting.wakeAll(s.Endpoint) // so that its claim ends
	}
	return nil
}

// session returns a session opened here and the order for its instance.
func (d *Dispatch) session(id deferd.SessionID) (deferd.Session, deferd.Order, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.speaks[id]
	return s, d.orders[s.Instance], ok
}

var errNoSession = &deferd.Error{Code: deferd.Lost, Msg: "the session is not current"}

// Claim waits for work and hands it out.
func (d *Dispatch) Claim(ctx context.Context, c deferd.ClaimRequest) (deferd.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	s, _, ok := d.session(c.Session)
	if !ok {
		return deferd.Claim{}, errNoSession
	}
	passOn := int64(0) // of the wake-up that made this claim look; 0: none
	for {
		// Queued up before the look, so that no work can come in between.
		me := d.waiting.add(s.Endpoint, c)
		claim, final, err := d.look(ctx, c)
		switch {
		case len(claim.Leases) > 0:
			d.waiting.leave(s.Endpoint, me)
			d.waiting.wake(s.Endpoint) // there may be more than this one took
			return claim, nil
		case final:
			d.waiting.leave(s.Endpoint, me)
			d.waiting.passOn(s.Endpoint, passOn)
			return claim, err
		case passOn > 0 && d.queued(ctx, s.Endpoint):
			// Not for this instance, but perhaps for another one.
			d.waiting.passOn(s.Endpoint, passOn)
		}
		select {
		case woken := <-me.woken:
			if len(woken.claim.Leases) > 0 {
				d.waiting.wake(s.Endpoint)
				return woken.claim, nil
			}
			passOn = woken.upTo
		case <-ctx.Done():
			if served := d.waiting.leave(s.Endpoint, me); len(served.Leases) > 0 {
				return served, nil
			}
			return claim, nil
		}
	}
}

// ready returns the claim that is to be served with an endpoint's new work. Those
// that may have none are woken, to look for themselves.
func (d *Dispatch) ready(e deferd.EndpointID) (deferd.WaitingClaim, bool) {
	if d.isHeld() {
		return deferd.WaitingClaim{}, false
	}
	for {
		w, waits := d.waiting.take(e)
		if !waits {
			return w, false
		}
		if _, order, ok := d.session(w.Session); ok && order == deferd.OrderServe {
			return w, true
		}
		w.Answer(deferd.Claim{})
	}
}

// look claims what is there. Final says that waiting for more is no use.
func (d *Dispatch) look(ctx context.Context, c deferd.ClaimRequest) (claim deferd.Claim, final bool, err error) {
	_, order, ok := d.session(c.Session)
	if !ok {
		return deferd.Claim{}, true, errNoSession
	}
	if order != deferd.OrderServe {
		return deferd.Claim{Number: c.Confirmed}, true, nil
	}
	if d.isHeld() {
		return deferd.Claim{Number: c.Confirmed}, false, nil
	}
	// Not given up half way: what was handed out is to be known.
	claim, err = d.store.Claim(context.WithoutCancel(ctx), c.Session, c.Confirmed, c.Free)
	return claim, err != nil, err
}

// queued reports whether an endpoint has work that is ready.
func (d *Dispatch) queued(ctx context.Context, e deferd.EndpointID) bool {
	oldest, err := d.store.OldestQueued(context.WithoutCancel(ctx), e)
	return err != nil || !oldest.IsZero()
}

// Extend keeps a session alive.
func (d *Dispatch) Extend(ctx context.Context, e deferd.ExtendRequest) (deferd.Extension, error) {
	_, order, ok := d.session(e.Session)
	if !ok {
		return deferd.Extension{Lost: e.Held, Order: deferd.OrderOpen}, nil
	}
	lost, err := d.store.Extend(ctx, e.Session, e.Confirmed, e.Held)
	if err != nil && deferd.CodeOf(err) == deferd.Lost {
		return deferd.Extension{Lost: e.Held, Order: deferd.OrderSuperseded}, nil
	}
	return deferd.Extension{Lost: lost, Order: order}, err
}

// Settle decides an outcome.
func (d *Dispatch) Settle(ctx context.Context, s deferd.Settlement) error {
	o := s.Outcome
	if len(o.Body) > deferd.MaxStaged {
		return deferd.Errorf(deferd.TooLarge, "an outcome of %d bytes does not fit into a settle", len(o.Body))
	}
	if !o.State.Terminal() {
		return deferd.Errorf(deferd.Invalid, "%v is no outcome", o.State)
	}
	err := d.store.Settle(ctx, s)
	if err != nil && deferd.CodeOf(err) == deferd.Lost {
		d.refused.Add(1)
	}
	return err
}

// Release gives an attempt back.
func (d *Dispatch) Release(ctx context.Context, r deferd.Release) error {
	return d.store.Release(ctx, r)
}

// Input opens the input of a leased invocation.
func (d *Dispatch) Input(ctx context.Context, id deferd.LeaseID, r deferd.GetObject) (*deferd.Object, error) {
	inv, err := d.store.Leased(ctx, id)
	if err != nil {
		return nil, err
	}
	if inv.Input.IsZero() {
		return d.inline(ctx, inv, r)
	}
	o, err := d.objects.Get(ctx, inv.Input, r)
	if err != nil {
		return nil, downloadError(inv.Input, err)
	}
	if o.Size > deferd.MaxInput {
		o.Body.Close()
		return nil, deferd.Errorf(deferd.TooLarge, "Unable to download the input object %s: it has %d bytes, more than the maximum of %d.",
			inv.Input, o.Size, int64(deferd.MaxInput))
	}
	return o, nil
}

func (d *Dispatch) inline(ctx context.Context, inv deferd.Invocation, r deferd.GetObject) (*deferd.Object, error) {
	body, err := d.store.Body(ctx, inv.ID)
	if err != nil {
		return nil, err
	}
	info := deferd.ObjectInfo{Size: int64(len(body)), ETag: "inline"}
	rest := body[min(r.Offset, int64(len(body))):]
	return &deferd.Object{ObjectInfo: info, Body: io.NopCloser(bytes.NewReader(rest))}, nil
}

// downloadError names the object and S3's own code, for the caller.
func downloadError(l deferd.Location, err error) error {
	code := "InternalError"
	if e, ok := errors.AsType[*deferd.Error](err); ok && e.Msg != "" {
		code = e.Msg
	}
	return &deferd.Error{
		Code: deferd.CodeOf(err),
		Msg:  "Unable to download the input object " + l.String() + ": " + code + ".",
		Err:  err,
	}
}

// Upload begins staging a large outcome.
func (d *Dispatch) Upload(ctx context.Context, id deferd.LeaseID, output bool, a deferd.ObjectAttributes) (*deferd.Upload, error) {
	inv, err := d.store.Leased(ctx, id)
	if err != nil {
		return nil, err
	}
	l := inv.Failure
	if output {
		l = inv.Output
	}
	if l.IsZero() {
		return nil, nil
	}
	created, err := d.objects.CreateUpload(ctx, l, marked(a, inv.ID))
	if err != nil {
		return nil, err
	}
	u := deferd.Upload{Location: l, ID: created}
	noted, err := d.store.RecordUpload(ctx, id, u)
	if err != nil && deferd.CodeOf(err) != deferd.Lost {
		// It may have been recorded: then a repeat gets it. Otherwise it is left
		// to the bucket, which lets uploads expire.
		return nil, err
	}
	if err != nil || noted.ID != created {
		// Not recorded: nobody will ever complete it.
		if aborted := d.objects.AbortUpload(context.WithoutCancel(ctx), u); aborted != nil {
			d.log.WarnContext(ctx, "an upload that is not needed could not be aborted", "invocation", inv.ID, "err", aborted)
		}
	}
	if err != nil {
		return nil, err
	}
	return &noted, nil
}

// UploadPart stores a part of a staged outcome.
func (d *Dispatch) UploadPart(ctx context.Context, _ deferd.LeaseID, u deferd.Upload, n int, size int64, body io.Reader) (deferd.Part, error) {
	return d.objects.UploadPart(ctx, u, n, size, body)
}

// tidyInterval is how often it is looked for what agents have left behind.
// Abandoned uploads cost space only; sessions that could not be closed are rare.
const tidyInterval = time.Minute

// tidy closes sessions that could not be closed, and aborts the uploads of
// leases that ended without a settle, until ctx ends.
func (d *Dispatch) tidy(ctx context.Context) {
	for {
		if err := d.closeEnded(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "sessions could not be closed", "err", err)
		}
		if err := d.abortAbandoned(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "abandoned uploads could not be aborted", "err", err)
		}
		select {
		case <-time.After(tidyInterval):
		case <-ctx.Done():
			return
		}
	}
}

func (d *Dispatch) closeEnded(ctx context.Context) error {
	d.mu.Lock()
	ended := slices.Collect(maps.Keys(d.ended))
	d.mu.Unlock()
	for _, id := range ended {
		if err := d.Close(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// abortAbandoned goes on until none is left but those that cannot be aborted
// now; they wait for the next time, and keep nobody else waiting.
func (d *Dispatch) abortAbandoned(ctx context.Context) error {
	const batch = 100
	failed := map[string]error{}
	for {
		uploads, err := d.store.Abandoned(ctx, batch+len(failed))
		if err != nil {
			return err
		}
		before := len(failed)
		done := 0
		for _, u := range uploads {
			if failed[u.ID] != nil {
				continue
			}
			if err := d.abort(ctx, u); err != nil {
				failed[u.ID] = err
				continue
			}
			done++
		}
		if done == 0 && len(failed) == before || ctx.Err() != nil {
			break
		}
	}
	for id, err := range failed {
		return fmt.Errorf("abort %d uploads, among them %s: %w", len(failed), id, err)
	}
	return nil
}

// abort drops an abandoned upload.
func (d *Dispatch) abort(ctx context.Context, u deferd.Upload) error {
	if err := d.objects.AbortUpload(ctx, u); err != nil {
		return err
	}
	return d.store.Aborted(ctx, u.ID)
}
