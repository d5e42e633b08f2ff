package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// loadVerb makes this binary the load of the power-loss tests.
const loadVerb = "power-loss-load"

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == loadVerb {
		if err := runLoad(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A deed is what the load asks of the store. It says so on its output before
// and after, so that a recording knows what the store had promised when.
type deed struct {
	Do    string
	ID    deferd.InvocationID `json:",omitempty"`
	Size  int                 `json:",omitempty"` // of the body, or of the outcome's
	Token byte                `json:",omitempty"`
	Text  string              `json:",omitempty"`
}

const (
	began   = "began "
	ended   = "ended "
	refused = "refused "
)

// A load is a client and an agent at work.
type load struct {
	*Store
	mu sync.Mutex // guards stdout: a line is said as a whole
}

func (l *load) say(word string, d deed) {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Println(word + string(b))
}

func (l *load) do(d deed, f func() error) error {
	l.say(began, d)
	err := f()
	if err != nil {
		l.say(refused, d)
		return err
	}
	l.say(ended, d)
	return nil
}

// bodyOf is the body that an ID goes with.
func bodyOf(id deferd.InvocationID, n int) []byte {
	return []byte(strings.Repeat(string(id)+"\n", n/37+1)[:n])
}

// said is what is said of the end of an invocation.
func said(id deferd.InvocationID) *deferd.Notification {
	return &deferd.Notification{ID: string(id), Target: "t", Message: string(bodyOf(id, 3000))}
}

// tokenOf is the retry token that an ID goes with.
func tokenOf(id deferd.InvocationID) [16]byte {
	var t [16]byte
	copy(t[:], invocationKey(id))
	t[0] ^= 0xff
	return t
}

// runLoad works on the file in dir until everything is done, or the store has
// failed, and ends as if it were killed.
func runLoad(dir, life string) error {
	s, err := Open(filepath.Join(dir, "deferd.db"), Options{checkpointPages: 200})
	if err != nil {
		return err
	}
	l := &load{Store: s}
	ctx := context.Background()
	for _, create := range []func() error{
		func() error { return s.CreateModel(ctx, testModel) },
		func() error { return s.CreateConfig(ctx, testConfig) },
		func() error { return s.CreateEndpoint(ctx, testEndpoint) },
	} {
		if err := create(); err != nil && deferd.CodeOf(err) != deferd.Exists {
			return err
		}
	}
	l.say(ended, deed{Do: "create"})
	if err := l.look(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	accepted := make(chan struct{})
	for c := range 3 {
		wg.Go(func() { l.accept(ctx, seeded(life, c)) })
	}
	done := make(chan error, 1)
	go func() { done <- l.work(ctx, accepted, seeded(life, 99)) }()
	wg.Wait()
	close(accepted)
	return <-done
}

func seeded(life string, n int) *rand.Rand { return rand.New(rand.NewPCG(uint64(life[0]), uint64(n))) }

// look says what is there: nobody may take that back.
func (l *load) look(ctx context.Context) error {
	return l.read(ctx, func(t *tx) error {
		return t.query("SELECT id, state FROM invocation", func(s *sqlite.Stmt) error {
			id := columnID(s, 0)
			l.say(ended, deed{Do: "accept", ID: id})
			if s.ColumnInt(1) > int(deferd.Running) {
				l.say(ended, deed{Do: "settle", ID: id})
			}
			return nil
		})
	})
}

// unlessFailed is nil if err comes of the store's having failed.
func (l *load) unlessFailed(err error) error {
	if errors.Is(err, errSyncFailed) && l.Watch(context.Background()) != nil {
		return nil
	}
	return err
}

// acceptEach is how many invocations each client has.
const acceptEach = 35

func (l *load) accept(ctx context.Context, random *rand.Rand) {
	for range acceptEach {
		n := newInvocation()
		d := deed{Do: "accept", ID: n.ID, Size: -1}
		if random.IntN(4) > 0 {
			d.Size = random.IntN(1000)
			if random.IntN(3) == 0 {
				d.Size = random.IntN(40_000)
			}
			n.Input, n.Inline = deferd.Location{}, bodyOf(n.ID, d.Size)
		}
		n.RetryToken = tokenOf(n.ID)
		// An error leaves it open whether the invocation is there.
		_ = l.do(d, func() error { _, _, err := l.Accept(ctx, n); return err })
	}
}

// work claims what is ready until nothing is left of what was accepted.
func (l *load) work(ctx context.Context, accepted <-chan struct{}, random *rand.Rand) error {
	id, err := l.OpenSession(ctx, deferd.Session{Endpoint: "e", Variant: "v", Instance: "i", Slots: 8})
	if err != nil {
		return l.unlessFailed(err)
	}
	confirmed := int64(0)
	for {
		last := false
		select {
		case <-accepted:
			last = true
		default:
		}
		c, err := l.Claim(ctx, id, confirmed, 8)
		if err != nil {
			return l.unlessFailed(err)
		}
		if len(c.Leases) == 0 {
			if last {
				return nil
			}
			time.Sleep(time.Millisecond) // the clients' turn
			continue
		}
		confirmed = c.Number
		var wg sync.WaitGroup
		for _, lease := range c.Leases {
			n := random.Uint64()
			wg.Go(func() { l.serve(ctx, lease, rand.New(rand.NewPCG(n, 0))) })
		}
		wg.Wait()
		if random.IntN(8) == 0 {
			_ = l.do(deed{Do: "prune"}, func() error { _, err := l.Prune(ctx, l.Now(), 5); return err })
		}
	}
}

// serve does what agent and publisher do with a lease.
func (l *load) serve(ctx context.Context, lease deferd.Lease, random *rand.Rand) {
	id := lease.Invocation
	var upload *deferd.Upload
	if random.IntN(4) == 0 {
		u := deferd.Upload{ID: fmt.Sprintf("u%x", random.Uint64()), Location: deferd.Location{Bucket: "b", Key: "out/" + string(id)}}
		if l.do(deed{Do: "upload", ID: id, Text: u.ID}, func() error { _, err := l.RecordUpload(ctx, lease.ID, u); return err }) == nil {
			upload = &u
		}
	}
	if random.IntN(6) == 0 {
		err := l.do(deed{Do: "release", ID: id}, func() error {
			return l.Release(ctx, deferd.Release{Lease: lease.ID, Reason: deferd.NeverArrived})
		})
		if err == nil {
			return
		}
	}
	d := deed{Do: "settle", ID: id, Size: random.IntN(3000)}
	o := completed(string(bodyOf(id, d.Size)))
	if upload != nil && random.IntN(2) == 0 {
		u := *upload
		u.Parts = []deferd.Part{{Number: 1, ETag: "x", Size: int64(d.Size)}}
		o.Body, o.Upload, d.Text = nil, &u, u.ID
	}
	err := l.do(d, func() error { return l.Settle(ctx, deferd.Settlement{Lease: lease.ID, Outcome: o}) })
	if err == nil && random.IntN(4) > 0 {
		_ = l.do(deed{Do: "finish", ID: id}, func() error { return l.Finish(ctx, id, 1, said(id)) })
	}
}
