package storetest

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/faulty"
	"github.com/google/go-cmp/cmp"
)

// A retry is a method of the contract as its callers use it: a call fails, lost
// or done but unanswered, and is made again. What the repeat answers, and what
// the store holds then, must be what one call gives that succeeds.
type retry struct {
	method  string
	name    string // says what a repeat gives, where the same again does not
	prepare func(*testing.T, *fixture) call

	// Of a repeat of what was done: the code that it is refused with; 0: it
	// succeeds. Or what is to be checked instead, where it gives something else.
	refused deferd.Code
	differs func(t *testing.T, once, again result)
}

// A call calls a method, in the same words each time but for IDs that its
// caller draws. It picks what can be compared of the answer.
type call func(context.Context, deferd.Store) (answer any, err error)

// A result is what a call gives.
type result struct {
	Answer any
	Err    string // the code of the error, "" for none
	State  state
}

// noFailure are the methods without an error of their own to be repeated for.
// They are just called twice.
var noFailure = map[string]func(*testing.T, *fixture){
	"Now": func(t *testing.T, x *fixture) {
		first := x.Now()
		if second := x.Now(); second.Before(first) {
			t.Errorf("the clock went from %v to %v", first, second)
		}
	},
	"Close": func(t *testing.T, x *fixture) {
		must(t, x.Close())
		must(t, x.Close())
	},
	"OnWork": func(t *testing.T, x *fixture) {
		told := listen(x.OnWork)
		x.accept(t, 1)
		if got, want := <-told, x.endpoint.ID; got != want {
			t.Errorf("the last that registered was told of %q, want %q", got, want)
		}
	},
	"OnReady": func(t *testing.T, x *fixture) {
		ask := func(e deferd.EndpointID) (c deferd.WaitingClaim, waits bool) { return c, false }
		x.OnReady(ask)
		asked := make(chan deferd.EndpointID, 1)
		x.OnReady(func(e deferd.EndpointID) (c deferd.WaitingClaim, waits bool) {
			asked <- e
			return c, false
		})
		x.accept(t, 1)
		if got, want := <-asked, x.endpoint.ID; got != want {
			t.Errorf("the last that registered was asked for %q, want %q", got, want)
		}
	},
	"OnPublishing": func(t *testing.T, x *fixture) {
		told := listen(x.OnPublishing)
		l := x.running(t)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("x")}))
		if got, want := <-told, x.publication(t).Invocation.Seq; got != want {
			t.Errorf("the last that registered was told of %d, want %d", got, want)
		}
	},
	"OnDue": func(t *testing.T, x *fixture) {
		told := listen(func(f func(struct{})) { x.OnDue(func() { f(struct{}{}) }) })
		x.accept(t, 1)
		<-told
	},
	"OnNotice": func(t *testing.T, x *fixture) {
		told := listen(x.OnNotice)
		x.addNotice(t, "a", "t")
		if got, want := <-told, "t"; got != want {
			t.Errorf("the last that registered was told of %q, want %q", got, want)
		}
	},
}

// listen registers twice, the second time with what it returns.
func listen[T any](register func(func(T))) <-chan T {
	told := make(chan T, 100)
	register(func(T) {})
	register(func(v T) { told <- v })
	return told
}

func runRetries(t *testing.T, f Form) {
	rows := slices.Concat(registryRetries, queueRetries, decisionRetries, readRetries, documentRetries, historyRetries, outboxRetries)
	t.Run("every method has its row", func(t *testing.T) { wantRows(t, rows) })
	for name, test := range noFailure {
		t.Run(name, func(t *testing.T) { test(t, newFixture(t, f)) })
	}
	for _, r := range rows {
		name := r.method
		if r.name != "" {
			name += "/" + r.name
		}
		t.Run(name, func(t *testing.T) { r.run(t, f) })
	}
}

// wantRows checks that no method of the contract is left out.
func wantRows(t *testing.T, rows []retry) {
	covered := slices.Collect(maps.Keys(noFailure))
	for _, r := range rows {
		covered = append(covered, r.method)
	}
	for _, complaint := range faulty.Uncovered[deferd.Store](covered) {
		t.Error(complaint)
	}
}

func (r retry) run(t *testing.T, f Form) {
	x := newFixture(t, f)
	once := x.try(t, r.prepare(t, x), faulty.Rules{})
	if once.Err != "" {
		t.Fatalf("without a failure it is refused: %s", once.Err)
	}
	t.Run("lost", func(t *testing.T) {
		x := newFixture(t, f)
		c := r.prepare(t, x)
		before, drawn := x.state(t), x.drawn
		x.fail(t, c, faulty.Lost)
		diff(t, "before the lost call, after it", before, x.state(t))
		x.drawn = drawn // as if it had never been made
		diff(t, "one call, lost and made again", once, x.try(t, c, faulty.Rules{}))
	})
	t.Run("done but unanswered", func(t *testing.T) {
		x := newFixture(t, f)
		c := r.prepare(t, x)
		x.fail(t, c, faulty.Unanswered)
		diff(t, "one call, the unanswered one", once.State, x.state(t))
		again := x.try(t, c, faulty.Rules{})
		switch {
		case r.differs != nil:
			r.differs(t, once, again)
		case r.refused != 0:
			diff(t, "one call, made again", result{Err: r.refused.String(), State: once.State}, result{Err: again.Err, State: again.State})
		default:
			diff(t, "one call, made again", once, again)
		}
	})
}

// fail makes a call that fails.
func (x *fixture) fail(t *testing.T, c call, how faulty.How) {
	t.Helper()
	var rules faulty.Rules
	for _, what := range faulty.Calls {
		rules.Rules = append(rules.Rules, faulty.Rule{What: what, How: how, Rate: 1})
	}
	if got, want := x.try(t, c, rules).Err, deferd.Unavailable.String(); got != want {
		t.Fatalf("the call that was to be %s ended as %q, want %q", how, got, want)
	}
}

// try makes a call under rules, and looks at what the store holds then.
func (x *fixture) try(t *testing.T, c call, rules faulty.Rules) (r result) {
	t.Helper()
	cue := faulty.NewCue()
	cue.Set(rules)
	answer, err := c(t.Context(), cue.Store(x.Store))
	r.Answer = answer
	if err != nil {
		r.Err = deferd.CodeOf(err).String()
	}
	r.State = x.state(t)
	return r
}

// A state is all that a store shows of itself.
type state struct {
	Models      []deferd.Model
	Configs     []deferd.Config
	Endpoints   []deferd.Endpoint
	Live        []deferd.EndpointID
	Deleted     []string // what is there under an ID, and not under its name
	Keys        []deferd.AccessKey
	Invocations []deferd.Invocation
	Bodies      map[deferd.InvocationID]string
	Counts      deferd.Counts
	Oldest      string
	Publishing  []deferd.Publication
	Abandoned   []deferd.Upload
	Documents   []deferd.Document
	Points      []deferd.Point
	Notices     []deferd.Notice
	Outbox      deferd.OutboxCounts
}

// state reads everything, and checks that nothing is lost or counted twice.
func (x *fixture) state(t *testing.T) (s state) {
	t.Helper()
	ctx := t.Context()
	all := deferd.ListQuery{Account: account, SortBy: deferd.ByName, Ascending: true, Max: 100}
	s.Models = answered(x.Models(ctx, all))(t).Items
	s.Configs = answered(x.Configs(ctx, all))(t).Items
	s.Endpoints = answered(x.Endpoints(ctx, all))(t).Items
	s.Live = answered(x.LiveEndpoints(ctx))(t)
	for what, err := range map[string]error{
		"model": second(x.ModelByID(ctx, "m-ep")), "configuration": second(x.ConfigByID(ctx, "c-ep")), "endpoint": second(x.EndpointByID(ctx, "e-ep")),
	} {
		if deferd.CodeOf(err) != deferd.NotFound {
			s.Deleted = append(s.Deleted, what)
		}
	}
	slices.Sort(s.Deleted)
	s.Keys = answered(x.AccessKeys(ctx, account))(t)
	s.Invocations = answered(x.Invocations(ctx, deferd.InvocationQuery{Endpoint: x.endpoint.ID, Max: 100}))(t).Items
	s.Bodies = map[deferd.InvocationID]string{}
	for _, inv := range s.Invocations {
		if b, err := x.Body(ctx, inv.ID); err == nil {
			s.Bodies[inv.ID] = string(b)
		}
	}
	s.Counts = x.wantConserved(t)
	s.Oldest = answered(x.OldestQueued(ctx, x.endpoint.ID))(t).String()
	s.Publishing = answered(x.Publishing(ctx, 0, 100))(t)
	s.Abandoned = answered(x.Abandoned(ctx, 100))(t)
	s.Documents = answered(x.Documents(ctx, "thing", account, "", "", 100))(t)
	s.Points = answered(x.Points(ctx, series("a"), time.Time{}, x.Now().Add(time.Hour)))(t)
	s.Notices = answered(x.Notices(ctx, deferd.NoticeQuery{Account: account, Max: 100}))(t).Items
	s.Outbox = answered(x.OutboxCounts(ctx))(t)
	return s
}

// answered is for calls that have to succeed.
func answered[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func diff[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-first +second):\n%s", what, diff)
	}
}
