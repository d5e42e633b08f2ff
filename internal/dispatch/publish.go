package dispatch

import (
	"context"
	"errors"
	"fmt"
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

// A publisher makes decided outcomes visible. The queue holds sequence numbers
// only; an outcome is read when its turn comes, so memory does not grow with
// what waits.
//
// A small outcome is put in one piece. On a store that is not embedded a put
// whose answer was lost could land late, over a later invocation's object of
// the same name; fencing that by an upload of its own is not done yet.
type publisher struct {
	store   deferd.Store
	objects deferd.ObjectStore
	log     *slog.Logger
	workers int

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
}

func newPublisher(c Config) *publisher {
	return &publisher{
		store: c.Store, objects: c.Objects, log: c.Logger, workers: c.Publishers,
		caughtUp: make(chan struct{}), known: map[deferd.Sequence]bool{}, more: make(chan struct{}, 1),
	}
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

// run publishes what an earlier life left, and then whatever comes.
func (p *publisher) run(ctx context.Context) {
	var wg sync.WaitGroup
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
				if j.repeat && j.tries == 0 {
					p.triedOne()
				}
			}
		})
	}
	wg.Wait()
}

// triedOne counts one of what an earlier life decided as tried.
func (p *publisher) triedOne() {
	if p.left.Add(-1) == 0 {
		close(p.caughtUp)
	}
}

// loadWait is how long reading what is to be published waits for its next try.
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
		if !p.enqueue(job{seq: last, repeat: true}) {
			p.triedOne() // decided in this life: it was announced before it was read here
		}
	}
	return len(ps), last, err
}

// work does one job, and queues it again where the object store may yet take
// the outcome.
func (p *publisher) work(ctx context.Context, j job) {
	err := p.publish(ctx, j)
	if err == nil {
		p.forget(j.seq)
		return
	}
	if ctx.Err() != nil {
		return
	}
	p.retries.Add(1)
	wait := min(maxRetryWait, 100*time.Millisecond<<min(j.tries, 10))
	if j.tries%10 == 0 {
		p.log.WarnContext(ctx, "an outcome could not be published; trying again", "err", err, "tries", j.tries+1)
	}
	j.tries++
	time.AfterFunc(wait, func() { p.enqueue(j) })
}

// publish makes one outcome visible and finishes its invocation. An error says
// that it is to be tried again.
func (p *publisher) publish(ctx context.Context, j job) error {
	ps, err := p.store.Publishing(ctx, j.seq-1, 1)
	if err != nil {
		return err
	}
	if len(ps) == 0 || ps[0].Invocation.Seq != j.seq {
		return nil // finished before
	}
	pub := ps[0]
	inv := pub.Invocation
	if !pub.GivenUp {
		err := p.makeVisible(ctx, pub, j.repeat || j.tries > 0)
		if err == nil {
			return p.finish(ctx, pub)
		}
		if p.store.Now().Sub(inv.Settled) < patienceFor(err) {
			return fmt.Errorf("publish invocation %s: %w", inv.ID, err)
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

// makeVisible puts or completes an outcome's object. Repeated says that an
// earlier try may have done so.
func (p *publisher) makeVisible(ctx context.Context, pub deferd.Publication, repeated bool) error {
	inv, o := &pub.Invocation, pub.Outcome
	l := inv.Object(o.State)
	if l.IsZero() {
		return nil
	}
	if named := isNamed(inv, o.State); repeated || named {
		info, err := p.objects.Head(ctx, l)
		if err == nil && info.Metadata[mark] == string(inv.ID) {
			return nil // written again it would be the same object with a new date
		}
		if err != nil && deferd.CodeOf(err) == deferd.Unavailable {
			// Not known: written now, it might be a second time, and over what
			// a later invocation was given the name for.
			return err
		}
		if err == nil && named {
			p.log.InfoContext(ctx, "an object is replaced by the output of an invocation that names it", "invocation", inv.ID, "replaced", info.Metadata[mark])
		}
	}
	if o.Upload == nil {
		a := deferd.ObjectAttributes{ContentType: o.ContentType, Metadata: o.Metadata}
		return p.objects.Put(ctx, l, marked(a, inv.ID), o.Body)
	}
	err := p.objects.CompleteUpload(ctx, *o.Upload)
	if err == nil || !isNoSuchUpload(err) {
		return err
	}
	if repeated {
		return nil // the client may have taken the object away already
	}
	return errAborted
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
func (p *publisher) giveUp(ctx context.Context, pub deferd.Publication) error {
	inv := pub.Invocation
	if pub.Decision > 1 {
		// Not even the failure object can be written; the status says why.
		return p.finish(ctx, pub)
	}
	if err := p.store.GiveUp(ctx, inv.ID); err != nil {
		return err
	}
	if u := pub.Outcome.Upload; u != nil {
		if err := p.objects.AbortUpload(ctx, *u); err != nil {
			p.log.WarnContext(ctx, "an upload could not be aborted", "invocation", inv.ID, "err", err)
		}
	}
	info, err := p.objects.Head(ctx, inv.Object(inv.Verdict))
	switch {
	case err == nil && info.Metadata[mark] == string(inv.ID):
		return p.finish(ctx, pub)
	case err != nil && patienceFor(err) == patience && p.store.Now().Sub(inv.Settled) < 2*patience:
		return fmt.Errorf("look whether invocation %s was published: %w", inv.ID, err)
	}
	err = p.store.Redecide(ctx, inv.ID, deferd.End(deferd.UploadFailed, deferd.FailureMessage(deferd.UploadFailed)))
	if err != nil {
		return err
	}
	// The second decision's announcement finds this job still known.
	return p.publish(ctx, job{seq: inv.Seq})
}

// finish ends an invocation whose outcome is where it is going to be.
func (p *publisher) finish(ctx context.Context, pub deferd.Publication) error {
	if err := p.store.Finish(ctx, pub.Invocation.ID, pub.Decision); err != nil {
		return err
	}
	p.published.Add(1)
	return nil
}

// forget says that a job is done. Until then there is no second one for the
// same outcome.
func (p *publisher) forget(seq deferd.Sequence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, seq)
}
