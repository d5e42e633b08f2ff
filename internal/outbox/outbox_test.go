package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/faulty"
	"github.com/deferd/deferd/internal/sqlite"
	"github.com/deferd/deferd/internal/storetest"
)

const account = "000000000000"

// Answers of receivers.
var (
	errLater = deferd.Errorf(deferd.Unavailable, "the receiver answered 503")
	errFinal = deferd.Errorf(deferd.NotFound, "there is no such topic")
)

// receivers are who is notified: they answer as they are told to, and remember
// what they took.
type receivers struct {
	mu     sync.Mutex
	answer map[string]func(n deferd.Notification) error // by target; none: they take it
	took   map[string][]string                          // IDs by target
	tried  map[string][]time.Time                       // by target
	now    map[string]int                               // on their way, by target
	most   map[string]int
}

func newReceivers() *receivers {
	return &receivers{
		answer: map[string]func(deferd.Notification) error{}, took: map[string][]string{}, tried: map[string][]time.Time{},
		now: map[string]int{}, most: map[string]int{},
	}
}

func (r *receivers) answers(target string, answer func(deferd.Notification) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer[target] = answer
}

func (r *receivers) Notify(ctx context.Context, n deferd.Notification) error {
	r.mu.Lock()
	answer := r.answer[n.Target]
	r.tried[n.Target] = append(r.tried[n.Target], time.Now())
	r.now[n.Target]++
	r.most[n.Target] = max(r.most[n.Target], r.now[n.Target])
	r.mu.Unlock()
	var err error
	if answer != nil {
		err = answer(n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now[n.Target]--
	if err == nil && ctx.Err() == nil {
		r.took[n.Target] = append(r.took[n.Target], n.ID)
	}
	return err
}

func (r *receivers) taken(target string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := slices.Clone(r.took[target])
	slices.Sort(ids)
	return ids
}

func (r *receivers) tries(target string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tried[target])
}

// A bench is a deliverer over a real store, in a bubble.
type bench struct {
	*testing.T
	*receivers
	store   deferd.Store
	cue     *faulty.Cue
	out     *Deliverer
	givenUp []string
	stop    func()
}

func inBubble(t *testing.T, test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(filepath.Join(t.TempDir(), "deferd.db"), sqlite.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{T: t, receivers: newReceivers(), cue: faulty.NewCue()}
		b.store = b.cue.Store(storetest.Serial(db))
		b.start()
		test(b)
		b.stop()
		b.must(db.Close())
	})
}

// start begins a life of the deliverer.
func (b *bench) start() {
	var mu sync.Mutex
	b.out = New(Config{Outbox: b.store, Notifier: b.receivers, Now: b.store.Now, Logger: slog.New(slog.DiscardHandler), GivenUp: func(n deferd.Notice) {
		mu.Lock()
		defer mu.Unlock()
		b.givenUp = append(b.givenUp, n.ID)
	}})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- b.out.Run(ctx) }()
	b.stop = func() {
		cancel()
		b.must(<-done)
	}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) add(target string, ids ...string) {
	b.Helper()
	for _, id := range ids {
		b.must(b.store.AddNotice(b.Context(), account, deferd.Notification{ID: id, Target: target, Message: "m"}))
	}
}

// after lets time pass.
func (b *bench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) wantTaken(target string, want ...string) {
	b.Helper()
	if got := b.taken(target); !slices.Equal(got, want) {
		b.Errorf("%s has taken %q, want %q", target, got, want)
	}
}

func (b *bench) wantCounts(waiting, dead int64) {
	b.Helper()
	c, err := b.store.OutboxCounts(b.Context())
	b.must(err)
	if c.Waiting != waiting || c.Dead != dead {
		b.Errorf("%d wait and %d are dead, want %d and %d", c.Waiting, c.Dead, waiting, dead)
	}
}

func numbered(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("n%03d", i))
	}
	return ids
}

// TestDeliver has notices arrive at once, without anybody looking for them, and
// no more of them at a time than a lane has.
func TestDeliver(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.answers("t", func(deferd.Notification) error { time.Sleep(time.Second); return nil })
		b.add("t", numbered(30)...)
		b.add("u", "x")
		b.after(0)
		b.wantTaken("u", "x")
		b.after(10 * time.Second)
		b.wantTaken("t", numbered(30)...)
		b.wantCounts(0, 0)
		if b.most["t"] < 2 || b.most["t"] > inLane {
			b.Errorf("%d were on their way at a time, want at most %d", b.most["t"], inLane)
		}
		if got := b.out.Stats(); got != (Stats{Delivered: 31}) {
			b.Errorf("stats %+v", got)
		}
		if n := len(b.out.lanes); n != 0 {
			b.Errorf("%d lanes are left, want none", n)
		}
	})
}

// TestDeadReceiver has one receiver that takes nothing beside one that does:
// the one is tried less and less often, the other notices nothing.
func TestDeadReceiver(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.answers("gone", func(deferd.Notification) error { time.Sleep(15 * time.Second); return errLater })
		b.add("gone", numbered(20)...)
		for i := range 10 {
			b.add("t", fmt.Sprint(i))
			b.after(time.Second)
			if got := len(b.taken("t")); got != i+1 {
				b.Errorf("after %d seconds %d have arrived", i+1, got)
			}
		}
		b.after(2 * time.Hour)
		tries := b.tries("gone")
		if n := len(tries); n < 24 || n > 100 {
			b.Errorf("it was tried %d times in two hours", n)
		}
		for i := inLane + 1; i < len(tries); i++ {
			if gap := tries[i].Sub(tries[i-1]); gap < 15*time.Second || gap > longestWait+15*time.Second {
				b.Errorf("between tries %d and %d there were %v", i-1, i, gap)
			}
		}
		b.answers("gone", nil)
		b.after(2 * longestWait)
		b.wantTaken("gone", numbered(20)...)
		b.wantCounts(0, 0)
	})
}

// TestPoison has a notice that a receiver cannot take wait without the others.
func TestPoison(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.answers("t", func(n deferd.Notification) error {
			if n.ID == "poison" {
				return errLater
			}
			return nil
		})
		b.add("t", "poison")
		b.after(time.Hour)
		began := time.Now()
		b.add("t", numbered(50)...)
		b.after(2 * longestWait)
		b.wantTaken("t", numbered(50)...)
		b.wantCounts(1, 0)
		b.after(24*time.Hour - time.Since(began))
		b.wantCounts(0, 1)
		if !slices.Equal(b.givenUp, []string{"poison"}) {
			b.Errorf("given up: %q", b.givenUp)
		}
	})
}

// TestRestart has another life go on where the first one was.
func TestRestart(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.answers("t", func(deferd.Notification) error { return errLater })
		for i := range 3 * targetPage {
			b.add(fmt.Sprintf("other%d", i), "x")
		}
		b.add("t", "a", "b")
		b.after(time.Minute)
		b.stop()
		b.add("t", "c") // nobody hears of it
		b.add("u", "d")
		b.answers("t", nil)
		b.after(longestWait)
		b.start()
		b.after(0)
		b.wantTaken("t", "a", "b", "c")
		b.wantTaken("u", "d")
		b.wantTaken(fmt.Sprintf("other%d", 3*targetPage-1), "x")
		b.wantCounts(0, 0)
	})
}

// TestStop has a delivery that is cut off count as none.
func TestStop(t *testing.T) {
	inBubble(t, func(b *bench) {
		ctx := b.Context()
		begun := make(chan struct{})
		b.answers("t", func(deferd.Notification) error {
			close(begun)
			time.Sleep(time.Second)
			return errFinal
		})
		b.add("t", "a")
		<-begun
		b.stop()
		page, err := b.store.Notices(ctx, deferd.NoticeQuery{Account: account, Max: 1})
		b.must(err)
		if n := page.Items[0]; n.Dead() || n.Tries != 0 {
			b.Errorf("it is %+v", n)
		}
		b.answers("t", nil)
		b.start()
		b.after(0)
		b.wantTaken("t", "a")
	})
}

// TestFinal has a refusal for good be the end, without waiting for it, until
// the notice is replayed.
func TestFinal(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.answers("t", func(deferd.Notification) error { return errFinal })
		b.add("t", numbered(20)...)
		b.after(0)
		b.wantCounts(0, 20)
		if len(b.givenUp) != 20 || len(b.tries("t")) != 20 {
			b.Errorf("given up %d after %d tries, want 20 after 20", len(b.givenUp), len(b.tries("t")))
		}
		b.answers("t", nil)
		b.after(time.Hour)
		b.wantTaken("t")
		for _, id := range []string{"n003", "n007"} {
			n, err := b.store.ReplayNotice(b.Context(), account, id)
			b.must(err)
			if n != 1 {
				b.Errorf("replayed %d of %s", n, id)
			}
		}
		b.after(0)
		b.wantTaken("t", "n003", "n007")
		b.wantCounts(0, 18)
	})
}

// TestReplayHasItsTime has a notice that died of its age be tried for as long
// again.
func TestReplayHasItsTime(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.answers("t", func(deferd.Notification) error { return errLater })
		b.add("t", "a")
		b.after(deliverFor + longestWait)
		b.wantCounts(0, 1)
		_, err := b.store.ReplayNotice(b.Context(), account, "a")
		b.must(err)
		b.after(deliverFor - time.Hour)
		b.wantCounts(1, 0)
		b.after(time.Hour + longestWait)
		b.wantCounts(0, 1)
		if len(b.givenUp) != 2 {
			b.Errorf("given up %q, want it twice", b.givenUp)
		}
	})
}

// TestStoreFails has each call to the store fail, both ways, for a while. No
// notice is lost; some may come twice.
func TestStoreFails(t *testing.T) {
	for _, rule := range []string{"outbox.read lost 1", "outbox.change lost 1", "outbox.change unanswered 1", "outbox unanswered 0.5"} {
		t.Run(rule, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				failing := true
				b.answers("t", func(deferd.Notification) error {
					if failing {
						failing = false
						return errLater
					}
					return nil
				})
				b.stop()
				b.add("t", "a")
				b.add("u", "b", "c")
				rules, err := faulty.Parse(rule)
				b.must(err)
				b.cue.Set(rules)
				b.start()
				b.after(time.Minute)
				b.cue.Set(faulty.Rules{})
				b.after(2 * longestWait)
				if got := strings.Join(slices.Compact(b.taken("t")), " "); got != "a" {
					b.Errorf("t has taken %q", got)
				}
				if got := strings.Join(slices.Compact(b.taken("u")), " "); got != "b c" {
					b.Errorf("u has taken %q", got)
				}
				b.wantCounts(0, 0)
			})
		})
	}
}
