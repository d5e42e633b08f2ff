package dispatch

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
)

// How long an object store that refuses is asked again before an outcome is
// given up: errors that may pass for a day, refusals for ten minutes.
const (
	patience        = 24 * time.Hour
	refusalPatience = 10 * time.Minute
	maxRetryWait    = 30 * time.Second
)

// mark is the user metadata that says whose outcome an object is.
const mark = "deferd-invocation"

func marked(a deferd.ObjectAttributes, id deferd.InvocationID) deferd.ObjectAttributes {
	m := maps.Clone(a.Metadata)
	if m == nil {
		m = map[string]string{}
	}
	m[mark] = string(id)
	a.Metadata = m
	return a
}

// A publisher makes decided outcomes visible, and finishes what is durable. The
// queue holds sequence numbers only; an outcome is read when its turn comes, so
// memory does not grow with what waits.
//
// Where the object store shows objects early, a worker is free once its object
// is visible, and the invocation is finished when the object is durable. What a
// crash takes back then is still to be published, and is so again by the next
// life, before clients may look.
//
// A small outcome is put in one piece. On a store that is not embedded a put
// whose answer was lost could land late, over a later invocation's object of
// the same name; fencing that by an upload of its own is not done yet.
type publisher struct {
	store   deferd.Store
	objects deferd.ObjectStore
	early   deferd.EarlyObjectStore // objects, if it is one; else nil
	log     *slog.Logger
	workers int
	told    func(deferd.Publication) // of what has ended; may be nil
	notice  func(context.Context, deferd.Publication, func(context.Context) ([]byte, error)) (*deferd.Notification, error)

	finishing sync.WaitGroup // those who wait until what is visible is durable
	awaiting  chan struct{}  // has room for as many of them as there may be

	seed  maphash.Seed
	names [64]chan struct{} // by hash of the location, full while one of them is published again

	began     time.Time
	caughtUp  chan struct{}
	left      atomic.Int64 // of what an earlier life decided, plus one until all of that is queued
	published atomic.Int64
	retries   atomic.Int64

	mu    sync.Mutex
	queue []job
	known map[deferd.Sequence]bool // queued, on its way or waiting to be tried again
	more  chan struct{}            // has room for one: something was queued
}

// A job is one outcome to be published.
type job struct {
	seq    deferd.Sequence
	tries  int
	repeat bool // an earlier life of the server may have published it
	shown  int  // the decision that is visible already, and perhaps not durable; 0 for none
	left   bool // clients wait for it
}

// maxAwaiting is how many outcomes may be visible and not durable. They hold no
// bodies here; beyond it, workers wait themselves.
const maxAwaiting = 1024

func newPublisher(c Config) *publisher {
	early, _ := c.Objects.(deferd.EarlyObjectStore)
	p := &publisher{
		store: c.Store, objects: c.Objects, early: early, log: c.Logger, workers: c.Publishers, told: c.Finished, notice: c.Notice,
		awaiting: make(chan struct{}, maxAwaiting), seed: maphash.MakeSeed(),
		caughtUp: make(chan struct{}), known: map[deferd.Sequence]bool{}, more: make(chan struct{}, 1),
	}
	for i := range p.names {
		p.names[i] = make(chan struct{}, 1)
	}
	return p
}

// add queues an outcome that was just decided.
func (p *publisher) add(seq deferd.Sequence) { p.enqueue(job{seq: seq}) }

// enqueue queues a job, and reports false where the outcome is queued already.
func (p *publisher) enqueue(j job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known[j.seq] && j.tries == 0 {
		return false
	}
	p.known[j.seq] = true
	p.queue = append(p.queue, j)
	p.signal()
	return true
}

func (p *publisher) signal() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// next takes a job from the queue; ok is false when ctx has ended.
func (p *publisher) next(ctx context.Context) (j job, ok bool) {
	for {
		p.mu.Lock()
		if len(p.queue) > 0 {
			j, p.queue = p.queue[0], p.queue[1:]
			if len(p.queue) > 0 {
				p.signal() // for the next worker
			}
			p.mu.Unlock()
			return j, ctx.Err() == nil
		}
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-ctx.Done():
			return job{}, false
		}
	}
}

func (p *publisher) pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.known)
}

// run publishes what an earlier life left, and then whatever comes. What is not
// durable when ctx ends is left to the next life.
func (p *publisher) run(ctx context.Context) {
	var wg sync.WaitGroup
	p.began = time.Now()
	p.left.Store(1)
	wg.Go(func() {
		if p.loadAll(ctx) {
			p.triedOne()
		}
	})
	for range p.workers {
		wg.Go(func() {
			for {
				j, ok := p.next(ctx)
				if !ok {
					return
				}
				p.work(ctx, j)
			}
		})
	}
	wg.Wait()
	p.finishing.Wait()
}

// startPatience is how long clients wait for what they may have seen, and what
// cannot be made visible again. On a disk that is full or broken they are
// answered in the end: it may be they who make room.
const startPatience = time.Minute

// account counts a job of what an earlier life decided as done with, as far as
// clients wait for it: when it was tried, and where it may have been visible
// without being durable, when it is visible or refused.
func (p *publisher) account(j *job, err error) {
	if !j.left || err != nil && p.early != nil && patienceFor(err) == patience && time.Since(p.began) < startPatience {
		return
	}
	j.left = false
	p.triedOne()
}

// triedOne counts one of what an earlier life decided as tried.
func (p *publisher) triedOne() {
	if p.left.Add(-1) == 0 {
		close(p.caughtUp)
	}
}

// loadWait is how long what clients wait for is put off when it fails.
const loadWait = time.Second

// loadAll queues everything that was decided before this life of the server. It
// reports false if ctx ended before.
func (p *publisher) loadAll(ctx context.Context) bool {
	var after deferd.Sequence
	for {
		n, last, err := p.load(ctx, after)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil && n == 0:
			return true
		case err == nil:
			after = last
			continue
		}
		p.log.ErrorContext(ctx, "what is to be published could not be read; trying again", "err", err)
		select {
		case <-time.After(loadWait):
		case <-ctx.Done():
			return false
		}
	}
}

// load queues a batch of what comes after a sequence number. A batch holds
// bodies of at most MaxStaged bytes each, so it is small.
func (p *publisher) load(ctx context.Context, after deferd.Sequence) (n int, last deferd.Sequence, err error) {
	const batch = 64
	ps, err := p.store.Publishing(ctx, after, batch)
	for _, pub := range ps {
		last = pub.Invocation.Seq
		p.left.Add(1)
		if !p.enqueue(job{seq: last, repeat: true, left: true}) {
			p.triedOne() // decided in this life: it was announced before it was read here
		}
	}
	return len(ps), last, err
}

// work does one job up to where its outcome is visible, and sees to it that it
// is finished.
func (p *publisher) work(ctx context.Context, j job) {
	e, err := p.publish(ctx, j)
	p.account(&j, err)
	if err != nil || !e.early {
		p.conclude(ctx, j, e, err)
		return
	}
	j.shown = e.pub.Decision
	select {
	case p.awaiting <- struct{}{}:
	case <-ctx.Done():
		return
	}
	p.finishing.Go(func() {
		defer func() { <-p.awaiting }()
		// All whom one sync covers come from here at a time, and share a commit.
		p.conclude(ctx, j, e, p.early.AwaitDurable(ctx))
	})
}

// conclude finishes what was published, or queues it again where an error says
// that it is not, or not durably.
func (p *publisher) conclude(ctx context.Context, j job, e ending, err error) {
	if err == nil {
		err = p.finish(ctx, e)
	}
	if err == nil {
		p.forget(j.seq)
		return
	}
	if ctx.Err() != nil {
		return
	}
	p.retries.Add(1)
	wait := min(maxRetryWait, 100*time.Millisecond<<min(j.tries, 10))
	if j.left {
		wait = min(wait, loadWait)
	}
	if j.tries%10 == 0 {
		p.log.WarnContext(ctx, "an outcome could not be published; trying again", "err", err, "tries", j.tries+1)
	}
	j.tries++
	time.AfterFunc(wait, func() { p.enqueue(j) })
}

// An ending is what is left to do of an outcome that is where it is going to
// be. The zero value is nothing.
type ending struct {
	pub   *deferd.Publication // without its body; nil: nothing is left to do
	early bool                // its object is visible, but perhaps not durable
}

func endingOf(pub deferd.Publication, early bool) ending {
	pub.Outcome.Body = nil
	return ending{&pub, early}
}

// publish makes one outcome visible. An error says that it is to be tried again.
func (p *publisher) publish(ctx context.Context, j job) (ending, error) {
	ps, err := p.store.Publishing(ctx, j.seq-1, 1)
	if err != nil {
		return ending{}, err
	}
	if len(ps) == 0 || ps[0].Invocation.Seq != j.seq {
		return ending{}, nil // finished before
	}
	pub := ps[0]
	inv := pub.Invocation
	if j.shown == pub.Decision {
		return endingOf(pub, true), nil
	}
	if !pub.GivenUp {
		early, err := p.makeVisible(ctx, pub, j)
		if err == nil {
			return endingOf(pub, early), nil
		}
		if ctx.Err() != nil || p.store.Now().Sub(inv.Settled) < patienceFor(err) {
			return ending{}, fmt.Errorf("publish invocation %s: %w", inv.ID, err)
		}
		p.log.ErrorContext(ctx, "an outcome is given up: the object store refuses it", "invocation", inv.ID, "location", inv.Object(inv.Verdict), "err", err)
	}
	return p.giveUp(ctx, pub)
}

// errAborted says that somebody else ended the upload of an outcome.
var errAborted = errors.New("the upload is gone")

// patienceFor is how long after the settle an error is worth another try.
func patienceFor(err error) time.Duration {
	if errors.Is(err, errAborted) {
		return 0
	}
	switch deferd.CodeOf(err) {
	case deferd.Denied, deferd.NotFound, deferd.Invalid, deferd.TooLarge:
		return refusalPatience
	}
	return patience
}

// makeVisible puts or completes an outcome's object, unless an earlier try did
// so. Early says that it may not be durable yet.
func (p *publisher) makeVisible(ctx context.Context, pub deferd.Publication, j job) (early bool, err error) {
	inv, o, repeated := &pub.Invocation, pub.Outcome, j.repeat || j.tries > 0
	l := inv.Object(o.State)
	if l.IsZero() {
		return false, nil
	}
	if named := isNamed(inv, o.State); repeated || named {
		if named && j.repeat {
			free, err := p.lockName(ctx, l)
			if err != nil {
				return false, err
			}
			defer free()
		}
		info, err := p.objects.Head(ctx, l)
		if err == nil && info.Metadata[mark] == string(inv.ID) {
			return p.early != nil, nil // written again it would be the same object with a new date
		}
		if err != nil && deferd.CodeOf(err) == deferd.Unavailable {
			// Not known: written now, it might be a second time, and over what
			// a later invocation was given the name for.
			return false, err
		}
		if err == nil && named && j.repeat && isLater(info.Metadata[mark], inv.ID) {
			return p.early != nil, nil // it was replaced in the earlier life, or overlapped
		}
		if err == nil && named {
			p.log.InfoContext(ctx, "an object is replaced by the output of an invocation that names it", "invocation", inv.ID, "replaced", info.Metadata[mark])
		}
	}
	if o.Upload == nil {
		a := marked(deferd.ObjectAttributes{ContentType: o.ContentType, Metadata: o.Metadata}, inv.ID)
		if p.early != nil {
			return true, p.early.PutEarly(ctx, l, a, o.Body)
		}
		return false, p.objects.Put(ctx, l, a, o.Body)
	}
	err = p.objects.CompleteUpload(ctx, *o.Upload)
	if err == nil || !isNoSuchUpload(err) {
		return false, err
	}
	if repeated {
		return false, nil // the client may have taken the object away already
	}
	return false, errAborted
}

// lockName keeps outcomes that share a name apart while an earlier life's are
// published again. One may have been visible before the other was accepted, and
// a crash may have taken both objects.
func (p *publisher) lockName(ctx context.Context, l deferd.Location) (free func(), err error) {
	name := p.names[maphash.Comparable(p.seed, l)%uint64(len(p.names))]
	select {
	case name <- struct{}{}:
		return func() { <-name }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// isLater reports whether an object's mark is of an invocation that was accepted
// after another: IDs are in order of time.
func isLater(marked string, id deferd.InvocationID) bool {
	return len(marked) == len(id) && marked > string(id)
}

// isNamed reports whether the caller chose the name of the outcome's object, so
// that another one may be there. Only outputs can be named.
func isNamed(inv *deferd.Invocation, s deferd.State) bool {
	return s == deferd.Completed && !strings.HasSuffix(inv.Output.Key, string(inv.ID)+".out")
}

func isNoSuchUpload(err error) bool {
	e, ok := errors.AsType[*deferd.Error](err)
	return ok && e.Code == deferd.NotFound && e.Msg == "NoSuchUpload"
}

// giveUp ends an outcome that the object store does not take. The order
// matters: once giving up is recorded, the key alone says what happened.
func (p *publisher) giveUp(ctx context.Context, pub deferd.Publication) (ending, error) {
	inv := pub.Invocation
	if pub.Decision > 1 {
		// Not even the failure object can be written; the status says why.
		return endingOf(pub, false), nil
	}
	if err := p.store.GiveUp(ctx, inv.ID); err != nil {
		return ending{}, err
	}
	if u := pub.Outcome.Upload; u != nil {
		if err := p.objects.AbortUpload(ctx, *u); err != nil {
			p.log.WarnContext(ctx, "an upload could not be aborted", "invocation", inv.ID, "err", err)
		}
	}
	info, err := p.objects.Head(ctx, inv.Object(inv.Verdict))
	switch {
	case err == nil && info.Metadata[mark] == string(inv.ID):
		return endingOf(pub, p.early != nil), nil
	case err != nil && patienceFor(err) == patience && p.store.Now().Sub(inv.Settled) < 2*patience:
		return ending{}, fmt.Errorf("look whether invocation %s was published: %w", inv.ID, err)
	}
	err = p.store.Redecide(ctx, inv.ID, deferd.End(deferd.UploadFailed, deferd.FailureMessage(deferd.UploadFailed)))
	if err != nil {
		return ending{}, err
	}
	// The second decision's announcement finds this job still known.
	return p.publish(ctx, job{seq: inv.Seq})
}

// finish ends an invocation, together with what is said of that. Where it is
// repeated the notice is made again, and the store takes one.
func (p *publisher) finish(ctx context.Context, e ending) error {
	if e.pub == nil {
		return nil
	}
	var n *deferd.Notification
	if p.notice != nil {
		var err error
		n, err = p.notice(ctx, *e.pub, func(ctx context.Context) ([]byte, error) { return p.body(ctx, e.pub) })
		if err != nil {
			return fmt.Errorf("say how invocation %s ended: %w", e.pub.Invocation.ID, err)
		}
	}
	if err := p.store.Finish(ctx, e.pub.Invocation.ID, e.pub.Decision, n); err != nil {
		return err
	}
	p.published.Add(1)
	if p.told != nil {
		p.told(*e.pub)
	}
	return nil
}

// body reads what was staged of an outcome. Nothing is left of one that was
// finished before, or replaced: then its finish changes nothing.
func (p *publisher) body(ctx context.Context, pub *deferd.Publication) ([]byte, error) {
	ps, err := p.store.Publishing(ctx, pub.Invocation.Seq-1, 1)
	if err != nil || len(ps) == 0 || ps[0].Invocation.Seq != pub.Invocation.Seq || ps[0].Decision != pub.Decision {
		return nil, err
	}
	return ps[0].Outcome.Body, nil
}

// forget says that a job is done. Until then there is no second one for the
// same outcome.
func (p *publisher) forget(seq deferd.Sequence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, seq)
}
