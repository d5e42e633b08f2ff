package faulty_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/faulty"
)

func TestParse(t *testing.T) {
	got, err := faulty.Parse("# a comment\n\nseed 7\nstore.settle unanswered 0.1\nobject lost 1\nobject.put slow 0.5 200ms\nslept 1h\noff -30m\nboots 2\nslotwait 3s\n")
	want := faulty.Rules{Seed: 7, Rules: []faulty.Rule{
		{What: "store.settle", How: faulty.Unanswered, Rate: 0.1},
		{What: "object", How: faulty.Lost, Rate: 1},
		{What: "object.put", How: faulty.Slow, Rate: 0.5, Delay: 200 * time.Millisecond},
	}, Slept: time.Hour, Off: -30 * time.Minute, Boots: 2, SlotWait: 3 * time.Second}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{
		"seed x", "slept x", "off 1", "boots x", "slotwait x", "other 1", "store", "store lost", "store lost 2", "store lost -1", "nothing lost 0.1", "store.settle.x lost 1", "stor lost 1",
		"store gone 0.1", "store slow 0.1", "store slow 0.1 soon", "store lost 0.1 5s",
	} {
		if _, err := faulty.Parse(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// doer is a store that counts what was done.
type doer struct {
	deferd.Store
	done int
}

func (d *doer) Settle(context.Context, deferd.Settlement) error { d.done++; return nil }

func (d *doer) Accept(context.Context, deferd.NewInvocation) (deferd.Invocation, bool, error) {
	d.done++
	return deferd.Invocation{Seq: 5}, true, nil
}

func TestStore(t *testing.T) {
	for _, test := range []struct {
		rule string
		done bool
		code deferd.Code
		ok   bool
	}{
		{"store.accept lost 1", true, 0, true},
		{"store.settle lost 0", true, 0, true},
		{"store.settle lost 1", false, deferd.Unavailable, false},
		{"store lost 1", false, deferd.Unavailable, false},
		{"store.settle unanswered 1", true, deferd.Unavailable, false},
	} {
		t.Run(test.rule, func(t *testing.T) {
			cue, d := faulty.NewCue(), &doer{}
			cue.Set(parse(t, test.rule))
			err := cue.Store(d).Settle(t.Context(), deferd.Settlement{})
			if got := d.done == 1; got != test.done {
				t.Errorf("done: %v, want %v", got, test.done)
			}
			if (err == nil) != test.ok || err != nil && deferd.CodeOf(err) != test.code {
				t.Errorf("answered %v, want code %v", err, test.code)
			}
		})
	}
}

// TestLostAnswer shows that an answer that is lost says nothing.
func TestLostAnswer(t *testing.T) {
	cue, d := faulty.NewCue(), &doer{}
	s := cue.Store(d)
	if inv, repeated, err := s.Accept(t.Context(), deferd.NewInvocation{}); err != nil || !repeated || inv.Seq != 5 {
		t.Errorf("without rules: %v, %v, %v", inv, repeated, err)
	}
	cue.Set(parse(t, "store.accept unanswered 1"))
	if inv, repeated, err := s.Accept(t.Context(), deferd.NewInvocation{}); err == nil || inv.Seq != 0 || repeated || d.done != 2 {
		t.Errorf("got %v, %v, %v after %d accepts, want an error and nothing else", inv, repeated, err, d.done)
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cue, d := faulty.NewCue(), &doer{}
		cue.Set(parse(t, "store.settle slow 1 3s"))
		began := time.Now()
		if err := cue.Store(d).Settle(t.Context(), deferd.Settlement{}); err != nil {
			t.Error(err)
		}
		if got, want := time.Since(began), 3*time.Second; got != want {
			t.Errorf("it took %v, want %v", got, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := cue.Store(d).Settle(ctx, deferd.Settlement{}); deferd.CodeOf(err) != deferd.Unavailable || d.done != 1 {
			t.Errorf("given up meanwhile: %v, done %d times", err, d.done)
		}
	})
}

type bucket struct{ deferd.ObjectStore }

func (bucket) Get(context.Context, deferd.Location, deferd.GetObject) (*deferd.Object, error) {
	return &deferd.Object{ObjectInfo: deferd.ObjectInfo{Size: 10}, Body: io.NopCloser(strings.NewReader("0123456789"))}, nil
}

// TestBodyBreaksOff reads objects until one of each kind has come.
func TestBodyBreaksOff(t *testing.T) {
	cue := faulty.NewCue()
	cue.Set(parse(t, "object.get unanswered 0.5"))
	s := cue.Objects(bucket{})
	refused, broken, whole := 0, 0, 0
	for range 100 {
		o, err := s.Get(t.Context(), deferd.Location{}, deferd.GetObject{})
		if err != nil {
			refused++
			continue
		}
		switch data, err := io.ReadAll(o.Body); {
		case err != nil && deferd.CodeOf(err) == deferd.Unavailable && bytes.Equal(data, []byte("01234")):
			broken++
		case err == nil && len(data) == 10:
			whole++
		default:
			t.Fatalf("read %q, %v", data, err)
		}
	}
	if refused == 0 || broken == 0 || whole == 0 {
		t.Errorf("%d refused, %d broken, %d whole, want some of each", refused, broken, whole)
	}
}

func (bucket) List(context.Context, deferd.Location) iter.Seq2[deferd.ObjectInfo, error] {
	return func(yield func(deferd.ObjectInfo, error) bool) {
		_ = yield(deferd.ObjectInfo{Key: "a"}, nil) && yield(deferd.ObjectInfo{Key: "b"}, nil)
	}
}

func TestListBreaksOff(t *testing.T) {
	for rule, want := range map[string][]string{
		"object.list lost 0":       {"a", "b"},
		"object.list lost 1":       {"InjectedFault"},
		"object.list unanswered 1": {"a", "InjectedFault"},
	} {
		cue := faulty.NewCue()
		cue.Set(parse(t, rule))
		var got []string
		for info, err := range cue.Objects(bucket{}).List(t.Context(), deferd.Location{}) {
			if err != nil {
				info.Key = err.Error()
			}
			got = append(got, info.Key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", rule, diff)
		}
	}
}

func TestUncovered(t *testing.T) {
	got := faulty.Uncovered[io.ReadCloser]([]string{"Read", "Read", "Write"})
	if diff := cmp.Diff([]string{"Close is left out", "Write is no method"}, got); diff != "" {
		t.Errorf("complaints (-want +got):\n%s", diff)
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "faults")
		cue, d := faulty.NewCue(), &doer{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			cue.Follow(ctx, name, slog.New(slog.DiscardHandler))
		}()
		settle := func() error {
			time.Sleep(time.Second)
			synctest.Wait()
			return cue.Store(d).Settle(t.Context(), deferd.Settlement{})
		}
		if err := settle(); err != nil {
			t.Errorf("without a file: %v", err)
		}
		for text, fails := range map[string]bool{"store lost 1\n": true, "nonsense": false} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := settle(); (err != nil) != fails {
				t.Errorf("with %q: %v", text, err)
			}
		}
		cancel()
		<-ended
	})
}

func parse(t *testing.T, text string) faulty.Rules {
	t.Helper()
	r, err := faulty.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// earlyBucket shows objects early, and counts what was asked of it.
type earlyBucket struct {
	deferd.EarlyObjectStore
	puts, awaits int
}

func (b *earlyBucket) PutEarly(context.Context, deferd.Location, deferd.ObjectAttributes, []byte) error {
	b.puts++
	return nil
}

func (b *earlyBucket) AwaitDurable(context.Context) error { b.awaits++; return nil }

func TestEarly(t *testing.T) {
	if _, early := faulty.NewCue().Objects(bucket{}).(deferd.EarlyObjectStore); early {
		t.Error("a store that shows nothing early does when it is wrapped")
	}
	type calls struct {
		Puts, Awaits   int
		PutOK, AwaitOK bool
	}
	for rule, want := range map[string]calls{
		"":                            {1, 1, true, true},
		"object.put lost 1":           {0, 1, false, true},
		"object.put unanswered 1":     {1, 1, false, true},
		"object.durable lost 1":       {1, 0, true, false},
		"object.durable unanswered 1": {1, 1, true, false},
	} {
		cue, b := faulty.NewCue(), &earlyBucket{}
		cue.Set(parse(t, rule))
		s, early := cue.Objects(b).(deferd.EarlyObjectStore)
		if !early {
			t.Fatal("a store that shows objects early does not when it is wrapped")
		}
		put := s.PutEarly(t.Context(), deferd.Location{}, deferd.ObjectAttributes{}, nil)
		await := s.AwaitDurable(t.Context())
		if diff := cmp.Diff(want, calls{b.puts, b.awaits, put == nil, await == nil}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", rule, diff)
		}
	}
}
