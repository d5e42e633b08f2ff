package objecttest

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/faulty"
)

// A retry is a method of the contract as its callers use it: a call fails, lost
// or done but unanswered, and is made again. What the repeat answers, and what
// the store holds then, must be what one call gives that succeeds.
type retry struct {
	method  string
	name    string // says what a repeat gives, where the same again does not
	prepare func(*testing.T, fixture) call

	unseen    bool                                   // no object shows that it was done: the call itself has to see to that
	meanwhile func(*testing.T, fixture)              // what somebody else does before the repeat of what was done
	differs   func(t *testing.T, once, again result) // checks the repeat of what was done, where it gives something else
}

// A call calls a method, in the same words each time. It picks what can be
// compared of the answer.
type call func(context.Context, deferd.ObjectStore) (answer any, err error)

// A result is what a call gives.
type result struct {
	Answer any
	Err    string // the code of the error, "" for none
	Held   map[string]held
}

// held is an object as the store shows it. When it was stored is not compared,
// nor its ETag, which an S3 is free to draw.
type held struct {
	deferd.ObjectInfo
	Body string
}

func (f fixture) held(t *testing.T) map[string]held {
	t.Helper()
	all := map[string]held{}
	for _, key := range f.keys(t, "") {
		body, info := f.get(t, key, deferd.GetObject{})
		all[key] = held{plain(info), body}
	}
	return all
}

func plain(info deferd.ObjectInfo) deferd.ObjectInfo {
	info.ETag, info.Modified = "", time.Time{}
	return info
}

func runRetries(t *testing.T, open func(*testing.T) (deferd.ObjectStore, string)) {
	t.Run("EveryMethodHasItsRow", wantRows)
	for _, r := range retries {
		name := r.method
		if r.name != "" {
			name += "/" + r.name
		}
		t.Run(name, func(t *testing.T) {
			r.run(t, func(t *testing.T) fixture {
				store, bucket := open(t)
				return fixture{store, bucket}
			})
		})
	}
	t.Run("Get/a body that breaks off is read on", func(t *testing.T) {
		store, bucket := open(t)
		testBodyBreaksOff(t, fixture{store, bucket})
	})
}

// wantRows checks that no method of the contract is left out.
func wantRows(t *testing.T) {
	var covered []string
	for _, r := range retries {
		covered = append(covered, r.method)
	}
	for _, complaint := range faulty.Uncovered[deferd.ObjectStore](covered) {
		t.Error(complaint)
	}
}

func (r retry) run(t *testing.T, open func(*testing.T) fixture) {
	f := open(t)
	once := f.try(t, r.prepare(t, f))
	if once.Err != "" {
		t.Fatalf("without a failure it is refused: %s", once.Err)
	}
	t.Run("lost", func(t *testing.T) {
		f := open(t)
		c := r.prepare(t, f)
		before := f.held(t)
		f.fail(t, c, faulty.Lost)
		diff(t, "before the lost call, after it", before, f.held(t))
		diff(t, "one call, lost and made again", once, f.try(t, c))
	})
	t.Run("done but unanswered", func(t *testing.T) {
		f := open(t)
		c := r.prepare(t, f)
		done := once.Held
		if r.unseen {
			done = f.held(t)
		}
		f.fail(t, c, faulty.Unanswered)
		diff(t, "what is done, the unanswered call", done, f.held(t))
		if r.meanwhile != nil {
			r.meanwhile(t, f)
		}
		again := f.try(t, c)
		if r.differs != nil {
			r.differs(t, once, again)
			return
		}
		diff(t, "one call, made again", once, again)
	})
}

// fail makes a call that fails.
func (f fixture) fail(t *testing.T, c call, how faulty.How) {
	t.Helper()
	cue := faulty.NewCue()
	cue.Set(faulty.Rules{Rules: []faulty.Rule{{What: "object", How: how, Rate: 1}}})
	if _, err := c(t.Context(), cue.Objects(f.store)); err == nil || deferd.CodeOf(err) != deferd.Unavailable {
		t.Fatalf("the call that was to be %s ended with %v", how, err)
	}
}

// try makes a call, and looks at what the store holds then.
func (f fixture) try(t *testing.T, c call) (out result) {
	t.Helper()
	answer, err := c(t.Context(), f.store)
	out.Answer = answer
	if err != nil {
		out.Err = deferd.CodeOf(err).String()
	}
	out.Held = f.held(t)
	return out
}

func diff[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-first +second):\n%s", what, diff)
	}
}

// testBodyBreaksOff reads an object to where its body breaks off, and what is
// left of the same object from there on.
func testBodyBreaksOff(t *testing.T, f fixture) {
	body := pattern(10_000)
	f.put(t, "k", body)
	cue := faulty.NewCue()
	for seed := range uint64(1000) { // until the call is answered, and its body breaks off
		cue.Set(faulty.Rules{Seed: seed, Rules: []faulty.Rule{{What: "object.get", How: faulty.Unanswered, Rate: 0.5}}})
		obj, err := cue.Objects(f.store).Get(t.Context(), f.at("k"), deferd.GetObject{})
		if err != nil {
			continue
		}
		first, err := io.ReadAll(obj.Body)
		obj.Body.Close()
		if err == nil {
			continue
		}
		rest, info := f.get(t, "k", deferd.GetObject{Offset: int64(len(first)), IfMatch: obj.ETag})
		if string(first)+rest != body || info.Size != int64(len(body)) {
			t.Errorf("read %d bytes, and then %d of %d: not the object", len(first), len(rest), info.Size)
		}
		return
	}
	t.Fatal("no body broke off")
}

// uploading is an upload with one part.
func (f fixture) uploading(t *testing.T, key, body string) deferd.Upload {
	t.Helper()
	u := f.upload(t, key)
	u.Parts = []deferd.Part{f.part(t, u, 1, body)}
	return u
}

func completing(t *testing.T, f fixture) call {
	f.put(t, "k", "old")
	u := f.uploading(t, "k", "new")
	return func(ctx context.Context, s deferd.ObjectStore) (any, error) { return nil, s.CompleteUpload(ctx, u) }
}

var retries = []retry{
	{method: "Get", prepare: func(t *testing.T, f fixture) call {
		f.put(t, "k", pattern(1000))
		_, info := f.get(t, "k", deferd.GetObject{})
		return func(ctx context.Context, s deferd.ObjectStore) (any, error) {
			obj, err := s.Get(ctx, f.at("k"), deferd.GetObject{Offset: 10, IfMatch: info.ETag})
			if err != nil {
				return nil, err
			}
			defer obj.Body.Close()
			b, err := io.ReadAll(obj.Body)
			return held{plain(obj.ObjectInfo), string(b)}, err
		}
	}},
	{method: "Head", prepare: func(t *testing.T, f fixture) call {
		f.put(t, "k", "body")
		return func(ctx context.Context, s deferd.ObjectStore) (any, error) {
			info, err := s.Head(ctx, f.at("k"))
			return plain(info), err
		}
	}},
	{method: "List", prepare: func(t *testing.T, f fixture) call {
		for _, key := range []string{"a/1", "a/2", "a/3", "b"} {
			f.put(t, key, key)
		}
		return func(ctx context.Context, s deferd.ObjectStore) (any, error) {
			var keys []string
			for info, err := range s.List(ctx, f.at("a/")) {
				if err != nil {
					return nil, err
				}
				keys = append(keys, info.Key)
			}
			return keys, nil
		}
	}},
	{method: "Put", prepare: func(t *testing.T, f fixture) call {
		f.put(t, "k", "old")
		return func(ctx context.Context, s deferd.ObjectStore) (any, error) {
			return nil, s.Put(ctx, f.at("k"), deferd.ObjectAttributes{ContentType: "text/plain", Metadata: map[string]string{"a": "b"}}, []byte("new"))
		}
	}},
	{method: "CreateUpload", name: "there is another upload", unseen: true, prepare: func(t *testing.T, f fixture) call {
		return func(ctx context.Context, s deferd.ObjectStore) (any, error) {
			id, err := s.CreateUpload(ctx, f.at("k"), deferd.ObjectAttributes{ContentType: "text/plain"})
			if err != nil {
				return nil, err
			}
			u := deferd.Upload{Location: f.at("k"), ID: id}
			u.Parts = []deferd.Part{f.part(t, u, 1, "part")}
			return nil, f.store.CompleteUpload(ctx, u)
		}
	}},
	{method: "UploadPart", name: "it is replaced", unseen: true, prepare: func(t *testing.T, f fixture) call {
		u := f.uploading(t, "k", "the part before")
		return func(ctx context.Context, s deferd.ObjectStore) (any, error) {
			p, err := s.UploadPart(ctx, u, 1, 4, strings.NewReader("part"))
			if err != nil {
				return nil, err
			}
			u.Parts = []deferd.Part{p}
			return p.Size, f.store.CompleteUpload(ctx, u)
		}
	}},
	{method: "CompleteUpload", name: "it may be gone", prepare: completing, differs: func(t *testing.T, once, again result) {
		wantCompleted(t, once.Held, again)
	}},
	{method: "CompleteUpload", name: "what replaced it meanwhile stays", prepare: completing, meanwhile: func(t *testing.T, f fixture) {
		f.put(t, "k", "newer")
	}, differs: func(t *testing.T, once, again result) {
		newer := held{deferd.ObjectInfo{Key: "k", Size: 5}, "newer"}
		newer.ObjectAttributes = again.Held["k"].ObjectAttributes // those that a Put without any gives
		wantCompleted(t, map[string]held{"k": newer}, again)
	}},
	{method: "AbortUpload", unseen: true, prepare: func(t *testing.T, f fixture) call {
		u := f.uploading(t, "k", "part")
		return func(ctx context.Context, s deferd.ObjectStore) (any, error) {
			if err := s.AbortUpload(ctx, u); err != nil {
				return nil, err
			}
			return deferd.CodeOf(f.store.CompleteUpload(ctx, u)), nil
		}
	}},
}

// wantCompleted checks the repeat of a completion that was done: it succeeds or
// finds no upload.
func wantCompleted(t *testing.T, want map[string]held, again result) {
	t.Helper()
	if again.Err != "" && again.Err != deferd.NotFound.String() {
		t.Errorf("completed again: %s", again.Err)
	}
	diff(t, "held", want, again.Held)
}
