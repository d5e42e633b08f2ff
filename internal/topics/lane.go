package topics

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/deferd/deferd"
	"golang.org/x/sync/errgroup"
)

const (
	// deliverFor is how long a message is tried. Longer than a receiver is
	// ever gone, and it costs disk for those that are gone for ever.
	deliverFor = 24 * time.Hour

	// inFlight is how many messages are sent to one receiver at a time.
	inFlight = 4

	// lanePage bounds what a lane has in memory: each may have 256 KB.
	lanePage = 16

	// downAfter is how many messages have to fail, one after the other, for it
	// to be the receiver that is down, rather than a message that it cannot take.
	downAfter = 3

	// maxWaiting is how many failed messages a lane remembers; until they are
	// fewer it begins no others.
	maxWaiting = 1000

	firstWait   = time.Second
	longestWait = 10 * time.Minute // of a message that failed
	longestDown = time.Minute      // of a receiver that is down
)

// A lane makes the deliveries to one subscription, the oldest first. Messages
// that fail wait on their own, each longer after each try; when nothing comes
// through any more the whole lane waits, and then tries one.
type lane struct {
	topics *Topics
	name   string        // of the subscription's document
	fresh  chan struct{} // there may be new deliveries

	// The goroutine's own.
	waiting map[string]failure // deliveries that have failed, by their names
	failed  map[string]bool    // since something came through
	downs   int                // tries of a lane that is down
	down    time.Time          // until then nothing is tried; zero while the receiver is up
}

// A failure is a delivery that is to be tried again.
type failure struct {
	tries int
	due   time.Time
}

// wait is how long to wait after a number of tries: twice as long after each,
// and a random part less, so that those that failed together do not come again
// together.
func wait(tries int, longest time.Duration) time.Duration {
	d := min(firstWait<<min(tries-1, 20), longest)
	return d - rand.N(d/2)
}

// Run delivers until ctx ends. What is not delivered then is when it runs again.
func (t *Topics) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	t.mu.Lock()
	t.start = func(l *lane) { wg.Go(func() { l.run(ctx) }) }
	t.mu.Unlock()
	for tries := 1; ; tries++ {
		err := t.resume(ctx)
		if err == nil || ctx.Err() != nil {
			break
		}
		t.Logger.ErrorContext(ctx, "deliveries cannot be read", "err", err)
		sleep(ctx, wait(tries, longestDown))
	}
	<-ctx.Done()
	t.mu.Lock()
	t.start = nil
	t.mu.Unlock()
	wg.Wait()
	return nil
}

// resume finds the lanes of an earlier life. Past a name the next lane's begin
// after the slash has become the next character.
func (t *Topics) resume(ctx context.Context) error {
	after := ""
	for {
		page, err := t.Documents.Documents(ctx, kindDelivery, t.Account, "", after, 1)
		if err != nil || len(page) == 0 {
			return err
		}
		name, _, _ := strings.Cut(page[0].Name, "/")
		t.wake(name)
		after = name + "0"
	}
}

// wake tells a lane that there are deliveries.
func (t *Topics) wake(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.start == nil {
		return // Run will look
	}
	l := t.lanes[name]
	if l == nil {
		l = &lane{topics: t, name: name, fresh: make(chan struct{}, 1), waiting: map[string]failure{}, failed: map[string]bool{}}
		t.lanes[name] = l
		t.start(l)
		return
	}
	select {
	case l.fresh <- struct{}{}:
	default: // it is told already
	}
}

// leave ends a lane that has nothing to do, unless it was told of more.
func (t *Topics) leave(l *lane) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(l.fresh) > 0 {
		return false
	}
	delete(t.lanes, l.name)
	return true
}

func (l *lane) run(ctx context.Context) {
	for troubles := 0; ctx.Err() == nil; {
		select {
		case <-l.fresh: // what it tells of is seen now
		default:
		}
		next, err := l.round(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
		case err != nil:
			troubles++
			l.topics.Logger.WarnContext(ctx, "deliveries cannot be read now", "err", err)
			sleep(ctx, wait(troubles, longestDown))
		case next.IsZero():
			if l.topics.leave(l) {
				return
			}
		default:
			troubles = 0
			l.await(ctx, next)
		}
	}
	l.topics.mu.Lock()
	defer l.topics.mu.Unlock()
	delete(l.topics.lanes, l.name)
}

// await waits until something is due, or new, for which a lane that is down
// has no ear.
func (l *lane) await(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	fresh := l.fresh
	if !l.down.IsZero() {
		fresh = nil
	}
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-fresh:
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// round tries what is due and returns when to come again; the zero time where
// nothing is left.
func (l *lane) round(ctx context.Context) (next time.Time, err error) {
	r, err := l.receiver(ctx)
	if err != nil {
		return next, err
	}
	if !l.down.IsZero() {
		return l.probe(ctx, r)
	}
	seen, after := map[string]bool{}, ""
	for {
		page, err := l.page(ctx, after)
		if err != nil {
			return next, err
		}
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			seen[d.Name] = true
		}
		after = page[len(page)-1].Name
		l.try(ctx, r, l.due(page))
		if ctx.Err() != nil || !l.down.IsZero() {
			return l.down, ctx.Err()
		}
	}
	for name, f := range l.waiting {
		switch {
		case !seen[name]: // somebody else has taken it away
			delete(l.waiting, name)
		case next.IsZero() || f.due.Before(next):
			next = f.due
		}
	}
	return next, nil
}

// A receiver is where a lane leads. Without a subscription it leads nowhere.
type receiver struct {
	topic        deferd.Topic
	subscription *deferd.Subscription
}

func (l *lane) receiver(ctx context.Context) (r receiver, err error) {
	n, id, _ := strings.Cut(l.name, ":")
	s, err := l.topics.Subscription(ctx, deferd.TopicName(n), id)
	if err != nil {
		return r, absentIsFine(err)
	}
	if r.topic, err = l.topics.Topic(ctx, s.Topic); err != nil {
		return r, absentIsFine(err)
	}
	r.subscription = &s
	return r, nil
}

func (l *lane) page(ctx context.Context, after string) ([]deferd.Document, error) {
	return l.topics.Documents.Documents(ctx, kindDelivery, l.topics.Account, l.name+"/", after, lanePage)
}

// due are the deliveries of a page that may be tried now.
func (l *lane) due(page []deferd.Document) (due []deferd.Document) {
	now := time.Now()
	for _, d := range page {
		f, failed := l.waiting[d.Name]
		if failed && !f.due.After(now) || !failed && len(l.waiting) < maxWaiting {
			due = append(due, d)
		}
	}
	return due
}

// probe tries one delivery of a lane that was down: one that is new where there
// is one, since what failed before may fail for its own sake.
func (l *lane) probe(ctx context.Context, r receiver) (next time.Time, err error) {
	if time.Now().Before(l.down) && r.subscription != nil {
		return l.down, nil
	}
	var chosen *deferd.Document
	after := ""
	for range 1 + maxWaiting/lanePage {
		page, err := l.page(ctx, after)
		if err != nil {
			return next, err
		}
		for i := range page {
			if chosen == nil || l.waiting[page[i].Name].tries < l.waiting[chosen.Name].tries {
				chosen = &page[i]
			}
		}
		if len(page) == 0 || l.waiting[chosen.Name].tries == 0 {
			break
		}
		after = page[len(page)-1].Name
	}
	if chosen == nil { // somebody else has taken them all away
		l.down = time.Time{}
		clear(l.waiting)
		return next, nil
	}
	l.try(ctx, r, []deferd.Document{*chosen})
	if l.down.IsZero() {
		return time.Now(), nil // it is up: the others at once
	}
	return l.down, nil
}

// try makes deliveries and takes note of what became of them.
func (l *lane) try(ctx context.Context, r receiver, due []deferd.Document) {
	done := make([]bool, len(due))
	var g errgroup.Group
	g.SetLimit(inFlight)
	for i, d := range due {
		g.Go(func() error {
			done[i] = l.topics.attempt(ctx, r, d)
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	if ctx.Err() != nil {
		return
	}
	for i, d := range due {
		if done[i] {
			l.cameThrough(d.Name)
		} else {
			l.fell(d.Name)
		}
	}
	l.judge(ctx)
}

func (l *lane) cameThrough(name string) {
	delete(l.waiting, name)
	clear(l.failed)
	if l.down.IsZero() {
		return
	}
	l.down, l.downs = time.Time{}, 0
	for name, f := range l.waiting { // they failed because it was down
		l.waiting[name] = failure{tries: f.tries}
	}
}

func (l *lane) fell(name string) {
	f := l.waiting[name]
	f.tries++
	f.due = time.Now().Add(wait(f.tries, longestWait))
	l.waiting[name] = f
	l.failed[name] = true
}

// judge says whether the receiver is down.
func (l *lane) judge(ctx context.Context) {
	if len(l.failed) < downAfter {
		return
	}
	if l.downs++; l.downs == 1 {
		n, id, _ := strings.Cut(l.name, ":")
		l.topics.Logger.InfoContext(ctx, "a subscription's endpoint takes nothing", "subscription", l.topics.ARN(deferd.TopicName(n), id))
	}
	l.down = time.Now().Add(wait(l.downs, longestDown))
}

// attempt makes one delivery. It reports whether the message is gone, because
// it was taken, or because it never will be.
func (t *Topics) attempt(ctx context.Context, r receiver, doc deferd.Document) (done bool) {
	lane, id, _ := strings.Cut(doc.Name, "/")
	log := t.Logger.With("topic_delivery", lane, "message", id)
	if r.subscription != nil {
		d, err := decode[delivery](doc)
		if err == nil {
			err = t.send(ctx, r, d)
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return false
		case deferd.CodeOf(err) != deferd.Unavailable:
			log.InfoContext(ctx, "a message cannot be delivered", "err", err)
		case t.Now().Sub(d.Time) >= deliverFor:
			log.InfoContext(ctx, "a message could not be delivered for too long", "err", err)
		default:
			log.DebugContext(ctx, "a message is not delivered yet", "err", err)
			return false
		}
	}
	err := absentIsFine(t.Documents.DeleteDocument(ctx, kindDelivery, t.Account, doc.Name))
	if err != nil && ctx.Err() == nil {
		log.WarnContext(ctx, "a message that was delivered will be again", "err", err)
	}
	return err == nil
}

// send posts a delivery. As with SNS, an answer of 4xx is final, but for those
// that ask for patience.
func (t *Topics) send(ctx context.Context, to receiver, d delivery) error {
	r, err := t.request(ctx, to.topic, *to.subscription, d)
	if err != nil {
		return &deferd.Error{Code: deferd.Unavailable, Err: err} // the store's trouble, or the key's
	}
	status, err := t.Post(ctx, to.subscription.Endpoint, r.header, r.body)
	switch {
	case err != nil:
		return err
	case status >= 200 && status < 300:
		return nil
	case status == 408, status == 429, status >= 500, status < 200:
		return deferd.Errorf(deferd.Unavailable, "the endpoint answered %d", status)
	}
	return deferd.Errorf(deferd.Invalid, "the endpoint answered %d", status)
}
