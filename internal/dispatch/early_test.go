package dispatch

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// holdSync makes nothing that is visible durable until the returned function is
// called.
func (o *faultyObjects) holdSync() (letGo func()) {
	held := make(chan struct{})
	o.onAwait = func(int64) error { <-held; return nil }
	return func() { close(held) }
}

func (b *bench) state(id deferd.InvocationID) deferd.State {
	b.t.Helper()
	inv, err := b.store.Invocation(b.t.Context(), "e", string(id))
	b.must(err)
	return inv.State
}

// settle leases an invocation and settles it with what it shall come to.
func (b *bench) settle(body string, adjust ...func(*deferd.NewInvocation)) (deferd.InvocationID, deferd.Location) {
	b.t.Helper()
	l := b.lease(adjust...)
	inv, err := b.store.Leased(b.t.Context(), l.ID)
	b.must(err)
	b.must(b.Settle(b.t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success(body)}))
	return l.Invocation, inv.Output
}

// TestFinishedOnceDurable holds back what makes outputs durable: they are all
// visible, by one worker, and none of their invocations has ended.
func TestFinishedOnceDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		letGo := b.objects.holdSync()
		b.Dispatch = New(Config{Store: b.store, Objects: b.objects, Logger: b.log, Publishers: 1})
		b.run()
		outputs := map[deferd.InvocationID]deferd.Location{}
		for range 5 {
			id, at := b.settle("result")
			outputs[id] = at
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for id, at := range outputs {
			if text, _, _ := b.object(at); text != "result" || b.state(id) != deferd.Publishing {
				t.Errorf("before it is durable: the output is %q, the invocation %v; want it visible, and Publishing", text, b.state(id))
			}
		}
		if s := b.Stats(); s.Published != 0 || s.ToPublish != len(outputs) || s.PublishRetries != 0 {
			t.Errorf("before: stats %+v", s)
		}
		letGo()
		synctest.Wait()
		for id := range outputs {
			if got := b.state(id); got != deferd.Completed {
				t.Errorf("afterwards: %v, want Completed", got)
			}
		}
		if s := b.Stats(); s.Published != int64(len(outputs)) || s.ToPublish != 0 {
			t.Errorf("afterwards: stats %+v", s)
		}
	})
}

// TestNotDurableAtFirst has outputs that are visible, and cannot be made durable
// for a while: they are waited for again, not put again, also if a client has
// taken them away.
func TestNotDurableAtFirst(t *testing.T) {
	for _, taken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.objects.onAwait = func(n int64) error {
				if n <= 3 {
					return errUnavailable
				}
				return nil
			}
			b.run()
			id, at := b.settle("result")
			synctest.Wait()
			if got := b.state(id); got != deferd.Publishing {
				t.Errorf("after the failure it is %v, want Publishing", got)
			}
			if taken {
				b.must(b.objects.Delete(t.Context(), at))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := b.state(id); got != deferd.Completed {
				t.Errorf("in the end it is %v, want Completed", got)
			}
			if _, _, there := b.object(at); there == taken {
				t.Errorf("taken away %v, there %v", taken, there)
			}
			if n, retries := b.objects.puts.Load(), b.Stats().PublishRetries; n != 1 || retries != 3 {
				t.Errorf("%d puts and %d retries, want 1 and 3", n, retries)
			}
		})
	}
}

// TestUnansweredIsNotDurable has a put that is done and looks as if not: finding
// the object there proves that it is visible, and no more.
func TestUnansweredIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		letGo := b.objects.holdSync()
		b.objects.onPut = func(int64, deferd.Location) (before, after error) { return nil, errUnavailable }
		b.run()
		id, _ := b.settle("result")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.state(id); got != deferd.Publishing || b.objects.heads.Load() == 0 {
			t.Errorf("it is %v after %d looks, want Publishing after some", got, b.objects.heads.Load())
		}
		letGo()
		synctest.Wait()
		if got := b.state(id); got != deferd.Completed {
			t.Errorf("afterwards it is %v, want Completed", got)
		}
	})
}

// TestStopBeforeDurable ends a life whose outputs are visible and not durable:
// the next one publishes them, whether they are there or not, before clients are
// answered, though the first tries fail.
func TestStopBeforeDurable(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.objects.onAwait = func(int64) error { return errUnavailable }
			stop := b.run()
			id, at := b.settle("result")
			synctest.Wait()
			stop()
			if lost {
				b.must(b.objects.Delete(t.Context(), at))
			}
			b.objects.onAwait = nil
			b.objects.onPut = func(n int64, _ deferd.Location) (before, after error) {
				if n < 4 {
					return errUnavailable, nil
				}
				return nil, nil
			}
			b.again(b.store, b.objects)
			b.run()
			<-b.Published()
			if text, _, _ := b.object(at); text != "result" {
				t.Errorf("lost %v: when clients are answered the output is %q", lost, text)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if got := b.state(id); got != deferd.Completed {
				t.Errorf("lost %v: it ends as %v, want Completed", lost, got)
			}
		})
	}
}

// TestSoManyAwait lets outputs wait to be durable until there is no room for
// more of them.
func TestSoManyAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		letGo := b.objects.holdSync()
		b.Dispatch = New(Config{Store: b.store, Objects: b.objects, Logger: b.log, Publishers: 2})
		b.run()
		var all []deferd.InvocationID
		for range maxAwaiting + 5 {
			inv := b.accept()
			_, err := b.store.End(t.Context(), inv.ID, deferd.End(deferd.CancelRequested, "c"))
			b.must(err)
			all = append(all, inv.ID)
		}
		synctest.Wait()
		if got, want := b.objects.puts.Load(), int64(maxAwaiting+2); got != want {
			t.Errorf("%d are visible and not durable, want %d and one of each worker", got, want)
		}
		letGo()
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		for _, id := range all {
			if got := b.state(id); got != deferd.Cancelled {
				t.Fatalf("one is %v", got)
			}
		}
	})
}

// TestHeldClaims claims what reads an output that a crash has taken back: it is
// handed out once that was published again.
func TestHeldClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		_, at := b.settle("result")
		hold := make(chan struct{})
		b.objects.onPut = func(int64, deferd.Location) (before, after error) { <-hold; return nil, nil }
		b.Dispatch = New(Config{Store: b.store, Objects: b.objects, Logger: b.log, HoldClaims: true})
		b.run()
		b.accept(func(n *deferd.NewInvocation) { n.Inline, n.Input = nil, at })
		request := deferd.ClaimRequest{Session: b.open("i", 1), Free: 1, Wait: time.Minute}
		c, err := b.Claim(t.Context(), request)
		if err != nil || len(c.Leases) != 0 {
			t.Errorf("before it is published: %v, %v, want nothing after a minute", c, err)
		}
		time.AfterFunc(time.Second, func() { close(hold) })
		began := time.Now()
		c, err = b.Claim(t.Context(), request)
		if took := time.Since(began); err != nil || len(c.Leases) != 1 || took != time.Second {
			t.Fatalf("once it is published: %v, %v after %v, want one after a second", c, err, took)
		}
		o, err := b.Input(t.Context(), c.Leases[0].ID, deferd.GetObject{})
		b.must(err)
		text, err := io.ReadAll(o.Body)
		b.must(errors.Join(err, o.Body.Close()))
		if string(text) != "result" {
			t.Errorf("the input is %q, want what the other came to", text)
		}
	})
}

// TestHeldClaimsDrain ends a claim that is held when its instance shall drain.
func TestHeldClaimsDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Dispatch = New(Config{Store: b.store, Objects: b.objects, Logger: b.log, HoldClaims: true})
		b.accept()
		id := b.open("i", 1)
		time.AfterFunc(time.Second, func() { b.Order("i", deferd.OrderDrain) })
		began := time.Now()
		c, err := b.Claim(t.Context(), deferd.ClaimRequest{Session: id, Free: 1, Wait: time.Minute})
		if took := time.Since(began); err != nil || len(c.Leases) != 0 || took != time.Second {
			t.Errorf("%v, %v after %v, want nothing after a second", c, err, took)
		}
	})
}

// TestNamesOfAnEarlierLife publishes again what a crash has taken back of
// invocations whose caller gave them one name: the last one stands, whatever was
// there, and whoever is faster.
func TestNamesOfAnEarlierLife(t *testing.T) {
	for _, c := range []struct {
		name  string
		left  int // which of the objects the crash has left; -1: none
		slow  string
		ended bool // the second has ended already
	}{
		{"nothing left, the first is slower", -1, "first", false},
		{"nothing left, the second is slower", -1, "second", false},
		{"the first left", 0, "", false},
		{"the second left", 1, "", false},
		{"the second left and ended", 1, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				at := deferd.Location{Bucket: "bkt", Key: "out/r.json"}
				var ids []deferd.InvocationID
				for i, result := range []string{"first", "second"} {
					id, _ := b.settle(result, func(n *deferd.NewInvocation) { n.Output = at })
					ids = append(ids, id)
					if i == c.left {
						a := marked(deferd.ObjectAttributes{}, id)
						b.must(b.objects.Store.Put(t.Context(), at, a, []byte(result)))
					}
				}
				if c.ended {
					b.must(b.store.Finish(t.Context(), ids[1], 1, nil))
				}
				b.objects.onPutBody = func(body string) {
					if body == c.slow {
						time.Sleep(time.Second)
					}
				}
				b.again(b.store, b.objects)
				b.run()
				<-b.Published()
				if text, _, _ := b.object(at); text != "second" {
					t.Errorf("the object is %q, want the second", text)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				for _, id := range ids {
					if got := b.state(id); got != deferd.Completed {
						t.Errorf("one is %v", got)
					}
				}
			})
		})
	}
}
