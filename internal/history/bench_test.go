package history

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

// A stillStore is a store whose clock runs, and that does nothing else.
type stillStore struct{ deferd.Store }

func (stillStore) Now() time.Time { return time.Now() }

// A stillWork is a server that hands out what it is told to.
type stillWork struct {
	deferd.Work
	claim deferd.Claim
}

func (w *stillWork) Open(context.Context, deferd.Session) (deferd.SessionID, error) { return "s", nil }
func (w *stillWork) Claim(context.Context, deferd.ClaimRequest) (deferd.Claim, error) {
	return w.claim, nil
}
func (w *stillWork) Settle(context.Context, deferd.Settlement) error { return nil }

// BenchmarkInvocation is what measuring one invocation costs, from its accept
// to its end.
func BenchmarkInvocation(b *testing.B) {
	r := New(Config{Store: stillStore{}, Logger: slog.New(slog.DiscardHandler)})
	inner := &stillWork{claim: deferd.Claim{Leases: make([]deferd.Lease, 1)}}
	w := r.Work(inner)
	ctx := b.Context()
	if _, err := w.Open(ctx, deferd.Session{Endpoint: "e", Variant: "v", Instance: "i", Slots: 1}); err != nil {
		b.Fatal(err)
	}
	out := deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, ModelStatus: 200}
	p := deferd.Publication{Outcome: out}
	p.Invocation.Endpoint, p.Invocation.Variant = "e", "v"
	p.Invocation.Output = deferd.Location{Bucket: "b", Key: "k"}
	p.Invocation.Accepted, p.Invocation.Claimed, p.Invocation.Settled = time.Now(), time.Now(), time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := deferd.LeaseID(fmt.Sprint(i))
		inner.claim.Leases[0] = deferd.Lease{ID: id, Invocation: "inv", Inline: true}
		r.Touch("e")
		if _, err := w.Claim(ctx, deferd.ClaimRequest{Session: "s"}); err != nil {
			b.Fatal(err)
		}
		if err := w.Settle(ctx, deferd.Settlement{Lease: id, Outcome: out, Times: deferd.AttemptTimes{Model: time.Millisecond}}); err != nil {
			b.Fatal(err)
		}
		r.Finished(p)
	}
}
