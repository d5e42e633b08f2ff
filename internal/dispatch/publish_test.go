package dispatch

import (
	"bytes"
	"cmp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

func TestPublish(t *testing.T) {
	b := newBench(t)
	b.run()
	l := b.lease()
	o := success("result")
	o.Metadata = map[string]string{"custom-attributes": "c"}
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: o}))
	inv := b.awaitEnd(l.Invocation)
	if inv.State != deferd.Completed {
		t.Errorf("ended as %v", inv.State)
	}
	text, info, ok := b.object(inv.Output)
	if !ok || text != "result" || info.ContentType != "text/csv" {
		t.Errorf("the output is %q (%v), type %q", text, ok, info.ContentType)
	}
	if info.Metadata[mark] != string(inv.ID) || info.Metadata["custom-attributes"] != "c" {
		t.Errorf("metadata %v", info.Metadata)
	}
	if _, _, there := b.object(inv.Failure); there {
		t.Error("there is a failure object, too")
	}
	if s := b.Stats(); s.Published != 1 || s.ToPublish != 0 {
		t.Errorf("stats %+v", s)
	}
	if n := b.ended.Load(); n != 1 {
		t.Errorf("told of %d ends, want 1", n)
	}
}

// TestPublishOverAnother has two invocations whose caller gave them one name.
func TestPublishOverAnother(t *testing.T) {
	b := newBench(t)
	b.run()
	at := deferd.Location{Bucket: "bkt", Key: "out/r.json"}
	var first deferd.InvocationID
	for _, result := range []string{"first", "second"} {
		l := b.lease(func(n *deferd.NewInvocation) { n.Output = at })
		first = cmp.Or(first, l.Invocation)
		b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success(result)}))
		b.awaitEnd(l.Invocation)
		if text, _, _ := b.object(at); text != result {
			t.Errorf("the object is %q, want %q", text, result)
		}
		if got, want := strings.Contains(b.lines.String(), "replaced="+string(first)), result == "second"; got != want {
			t.Errorf("after the %s result, the log says that one was replaced: %v", result, got)
		}
	}
}

func TestPublishFailure(t *testing.T) {
	b := newBench(t)
	b.run()
	inv := b.accept()
	_, err := b.store.End(t.Context(), inv.ID, deferd.End(deferd.TTLExpired, "too late"))
	b.must(err)
	inv = b.awaitEnd(inv.ID)
	text, _, _ := b.object(inv.Failure)
	if inv.State != deferd.Expired || text != "too late" {
		t.Errorf("ended as %v with %q", inv.State, text)
	}
}

// TestPublishLarge publishes an outcome that was staged as an upload.
func TestPublishLarge(t *testing.T) {
	b := newBench(t)
	b.run()
	l := b.lease()
	u, data := b.stage(l)
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: uploaded(u, data)}))
	inv := b.awaitEnd(l.Invocation)
	text, info, _ := b.object(inv.Output)
	if text != string(data) || info.Metadata[mark] != string(inv.ID) {
		t.Errorf("the output has %d bytes, want %d; metadata %v", len(text), len(data), info.Metadata)
	}
}

// stage uploads an outcome in parts.
func (b *bench) stage(l deferd.Lease) (*deferd.Upload, []byte) {
	b.t.Helper()
	data := bytes.Repeat([]byte("0123456789abcdef"), 400<<10) // 6.25 MiB: two parts
	u, err := b.Upload(b.t.Context(), l.ID, true, deferd.ObjectAttributes{})
	b.must(err)
	const size = 5 << 20
	for n, rest := 1, data; len(rest) > 0; n++ {
		part := rest[:min(size, len(rest))]
		rest = rest[len(part):]
		p, err := b.UploadPart(b.t.Context(), l.ID, *u, n, int64(len(part)), bytes.NewReader(part))
		b.must(err)
		u.Parts = append(u.Parts, p)
	}
	return u, data
}

func uploaded(u *deferd.Upload, data []byte) deferd.Outcome {
	return deferd.Outcome{State: deferd.Completed, Reason: deferd.ModelOK, Upload: u, Size: int64(len(data))}
}

// TestPublishEitherWay fails the object store's call both ways, lost and done
// but unanswered: the outcome is published all the same, and once.
func TestPublishEitherWay(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after error
	}{
		{"lost", errUnavailable, nil},
		{"done but unanswered", nil, errUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			fail := func(n int64) (before, after error) {
				if n <= 2 {
					return c.before, c.after
				}
				return nil, nil
			}
			b.objects.onPut = func(n int64, _ deferd.Location) (before, after error) { return fail(n) }
			b.objects.onComplete = fail
			b.run()
			small := b.lease()
			b.must(b.Settle(t.Context(), deferd.Settlement{Lease: small.ID, Outcome: success("small")}))
			large := b.lease()
			u, data := b.stage(large)
			b.must(b.Settle(t.Context(), deferd.Settlement{Lease: large.ID, Outcome: uploaded(u, data)}))
			for id, want := range map[deferd.InvocationID]string{small.Invocation: "small", large.Invocation: string(data)} {
				inv := b.awaitEnd(id)
				text, _, _ := b.object(inv.Output)
				if inv.State != deferd.Completed || inv.Reason != deferd.ModelOK || text != want {
					t.Errorf("ended as %v (%s) with %d bytes, want Completed with %d", inv.State, inv.Reason, len(text), len(want))
				}
			}
			if b.Stats().PublishRetries == 0 {
				t.Error("no retry was counted")
			}
		})
	}
}

// TestPublishWithoutLooking has a put whose answer is lost, and then a store
// that cannot say whether the object is there: it is not written again.
func TestPublishWithoutLooking(t *testing.T) {
	b := newBench(t)
	b.objects.onPut = func(n int64, _ deferd.Location) (before, after error) {
		if n == 1 {
			return nil, errUnavailable
		}
		return nil, nil
	}
	b.objects.onHead = func(n int64) error {
		if n <= 2 {
			return errUnavailable
		}
		return nil
	}
	b.run()
	l := b.lease()
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("result")}))
	b.awaitEnd(l.Invocation)
	if got, want := b.objects.puts.Load(), int64(1); got != want {
		t.Errorf("the object was put %d times, want %d", got, want)
	}
}

// TestRefusedForTenMinutes lets the object store refuse the output: after ten
// minutes the invocation fails, and the failure object says so.
func TestRefusedForTenMinutes(t *testing.T) {
	b := newBench(t)
	l := b.lease()
	inv, err := b.store.Leased(t.Context(), l.ID)
	b.must(err)
	tried := make(chan struct{}, 100)
	b.objects.onPut = func(_ int64, at deferd.Location) (before, after error) {
		if at == inv.Output {
			tried <- struct{}{}
			return errDenied, nil
		}
		return nil, nil
	}
	b.run()
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
	<-tried
	<-tried
	if inv, err = b.store.Invocation(t.Context(), "e", string(inv.ID)); err != nil || inv.State != deferd.Publishing {
		t.Fatalf("before the ten minutes are over it is %v, %v", inv.State, err)
	}
	b.ahead.Store(int64(refusalPatience))
	inv = b.awaitEnd(inv.ID)
	if inv.State != deferd.Failed || inv.Reason != deferd.UploadFailed || inv.Decision != 2 {
		t.Errorf("ended as %v (%s), decision %d", inv.State, inv.Reason, inv.Decision)
	}
	if text, _, _ := b.object(inv.Failure); text != inv.Message || text == "" {
		t.Errorf("the failure object says %q, the status %q", text, inv.Message)
	}
}

// TestNothingCanBeWritten refuses the failure object, too: the invocation ends
// nevertheless, and the status says why.
func TestNothingCanBeWritten(t *testing.T) {
	b := newBench(t)
	l := b.lease()
	inv, err := b.store.Leased(t.Context(), l.ID)
	b.must(err)
	var failures atomic.Int64
	b.objects.onPut = func(_ int64, at deferd.Location) (before, after error) {
		if at == inv.Failure && failures.Add(1) == 2 {
			b.ahead.Store(int64(2 * refusalPatience)) // it, too, was refused for ten minutes
		}
		return errDenied, nil
	}
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
	b.ahead.Store(int64(refusalPatience))
	b.run()
	inv = b.awaitEnd(l.Invocation)
	if inv.State != deferd.Failed || inv.Reason != deferd.UploadFailed {
		t.Errorf("ended as %v (%s)", inv.State, inv.Reason)
	}
	if failures.Load() < 2 {
		t.Error("the failure object was not tried again")
	}
}

// TestGivenUpButThere gives up an outcome that had arrived although every
// answer was an error: the key decides, and the result stands.
func TestGivenUpButThere(t *testing.T) {
	b := newBench(t)
	b.objects.onPut = func(int64, deferd.Location) (before, after error) { return nil, errDenied }
	l := b.lease()
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("arrived")}))
	b.ahead.Store(int64(refusalPatience))
	b.run()
	inv := b.awaitEnd(l.Invocation)
	text, _, _ := b.object(inv.Output)
	if inv.State != deferd.Completed || text != "arrived" {
		t.Errorf("ended as %v with %q", inv.State, text)
	}
	if _, _, there := b.object(inv.Failure); there {
		t.Error("there is a failure object, too")
	}
}

// TestAbortedUpload lets somebody abort the upload that holds an outcome.
func TestAbortedUpload(t *testing.T) {
	b := newBench(t)
	l := b.lease()
	u, data := b.stage(l)
	b.must(b.objects.AbortUpload(t.Context(), *u))
	b.run()
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: uploaded(u, data)}))
	inv := b.awaitEnd(l.Invocation)
	if inv.State != deferd.Failed || inv.Reason != deferd.UploadFailed {
		t.Errorf("ended as %v (%s)", inv.State, inv.Reason)
	}
}

// TestRestart publishes what an earlier life had decided: what it had published
// already is not written again, whatever became of it since.
func TestRestart(t *testing.T) {
	b := newBench(t)
	var ids []deferd.InvocationID
	var outputs []deferd.Location
	for range 300 {
		inv := b.accept()
		_, err := b.store.End(t.Context(), inv.ID, deferd.End(deferd.CancelRequested, "c"))
		b.must(err)
		ids, outputs = append(ids, inv.ID), append(outputs, inv.Failure)
	}
	a := deferd.ObjectAttributes{Metadata: map[string]string{mark: string(ids[0])}}
	b.must(b.objects.Store.Put(t.Context(), outputs[0], a, []byte("from the earlier life")))
	large := b.lease()
	u, data := b.stage(large)
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: large.ID, Outcome: uploaded(u, data)}))
	b.must(b.objects.Store.CompleteUpload(t.Context(), *u))
	b.must(b.objects.Delete(t.Context(), u.Location)) // the client has taken it away

	b.Dispatch = New(Config{Store: b.store, Objects: b.objects, Logger: b.log})
	b.run()
	select {
	case <-b.Published():
	case <-time.After(patienceOfTests):
		t.Fatal("the backlog was not published")
	}
	for _, id := range append(ids, large.Invocation) {
		b.awaitEnd(id)
	}
	if text, _, _ := b.object(outputs[0]); text != "from the earlier life" {
		t.Errorf("an object was written again: %q", text)
	}
	if inv, _ := b.store.Invocation(t.Context(), "e", string(large.Invocation)); inv.State != deferd.Completed {
		t.Errorf("the one that was taken away ended as %v", inv.State)
	}
	if got, want := b.objects.puts.Load(), int64(len(ids)-1); got != want {
		t.Errorf("%d objects were put, want %d", got, want)
	}
}

// TestPublishedWithNothingToDo closes at once where an earlier life left nothing.
func TestPublishedWithNothingToDo(t *testing.T) {
	b := newBench(t)
	b.run()
	select {
	case <-b.Published():
	case <-time.After(patienceOfTests):
		t.Error("there was nothing to publish")
	}
}

// TestNowhereToPublish ends what has no location without touching the object
// store.
func TestNowhereToPublish(t *testing.T) {
	b := newBench(t)
	b.run()
	l := b.lease(func(n *deferd.NewInvocation) { n.Output = deferd.Location{} })
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
	if inv := b.awaitEnd(l.Invocation); inv.State != deferd.Completed {
		t.Errorf("ended as %v", inv.State)
	}
	if n := b.objects.puts.Load(); n != 0 {
		t.Errorf("%d objects were put", n)
	}
}

// TestCosts counts what an invocation costs the object store.
func TestCosts(t *testing.T) {
	b := newBench(t)
	b.run()
	l := b.lease()
	b.must(b.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
	b.awaitEnd(l.Invocation)
	if n := b.objects.puts.Load(); n != 1 {
		t.Errorf("%d puts for one outcome, want 1", n)
	}
}
