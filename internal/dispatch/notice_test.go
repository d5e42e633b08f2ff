package dispatch

import (
	"context"
	"errors"
	"testing"

	"github.com/deferd/deferd"
)

// say has the bench's publisher say how invocations ended; the first times it
// cannot.
func (b *bench) say(cannot int) (asked *int) {
	asked = new(int)
	b.publisher.notice = func(ctx context.Context, p deferd.Publication, body func(context.Context) ([]byte, error)) (*deferd.Notification, error) {
		if *asked++; *asked <= cannot {
			return nil, errors.New("the store is busy")
		}
		if p.Outcome.Body != nil {
			b.t.Error("the body was kept for it")
		}
		text, err := body(ctx)
		return &deferd.Notification{ID: string(p.Invocation.ID), Target: "t", Subject: p.Outcome.State.String(), Message: string(text)}, err
	}
	return asked
}

// wantNotice checks what is said of the one invocation that ended.
func (b *bench) wantNotice(id deferd.InvocationID, state deferd.State, message string) {
	b.t.Helper()
	notices, err := b.store.DueNotices(b.t.Context(), "t", 10)
	b.must(err)
	if len(notices) != 1 {
		b.t.Fatalf("%d notices, want 1", len(notices))
	}
	if n := notices[0]; n.ID != string(id) || n.Subject != state.String() || n.Message != message {
		b.t.Errorf("of %s, which ended as %v with %q, it is said: %+v", id, state, message, n.Notification)
	}
}

// TestNotice has an end put off until it can be said.
func TestNotice(t *testing.T) {
	b := newBench(t)
	asked := b.say(2)
	b.run()
	l := b.lease()
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("result")}))
	b.awaitEnd(l.Invocation)
	if *asked != 3 {
		t.Errorf("asked %d times, want 3", *asked)
	}
	b.wantNotice(l.Invocation, deferd.Completed, "result")
}

// TestNoticeOfNothing has nothing said.
func TestNoticeOfNothing(t *testing.T) {
	b := newBench(t)
	b.publisher.notice = func(context.Context, deferd.Publication, func(context.Context) ([]byte, error)) (*deferd.Notification, error) {
		return nil, nil
	}
	b.run()
	l := b.lease()
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("result")}))
	b.awaitEnd(l.Invocation)
	if c, err := b.store.OutboxCounts(t.Context()); err != nil || c != (deferd.OutboxCounts{}) {
		t.Errorf("the outbox has %+v (%v)", c, err)
	}
}

// TestNoticeOfSecondDecision has the output refused: what is said is how the
// invocation ended, not how it was to end.
func TestNoticeOfSecondDecision(t *testing.T) {
	b := newBench(t)
	b.say(0)
	l := b.lease()
	inv, err := b.store.Leased(t.Context(), l.ID)
	b.must(err)
	b.objects.onPut = func(_ int64, at deferd.Location) (before, after error) {
		if at == inv.Output {
			return errDenied, nil
		}
		return nil, nil
	}
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("result")}))
	b.ahead.Store(int64(refusalPatience))
	b.run()
	inv = b.awaitEnd(l.Invocation)
	b.wantNotice(inv.ID, deferd.Failed, inv.Message)
}
