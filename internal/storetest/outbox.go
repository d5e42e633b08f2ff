package storetest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

// notification is a new notification.
func notification(id, target string) deferd.Notification {
	return deferd.Notification{ID: id, Target: target, Subject: "s", Message: "message of " + id}
}

func (x *fixture) addNotice(t *testing.T, id, target string) {
	t.Helper()
	must(t, x.AddNotice(t.Context(), account, notification(id, target)))
}

// notice returns the one notice with an ID.
func (x *fixture) notice(t *testing.T, id string) deferd.Notice {
	t.Helper()
	page, err := x.Notices(t.Context(), deferd.NoticeQuery{Account: account, Max: 100})
	must(t, err)
	for _, n := range page.Items {
		if n.ID == id {
			return n
		}
	}
	t.Fatalf("there is no notice %s among %+v", id, page.Items)
	return deferd.Notice{}
}

// die has a notice given up.
func (x *fixture) die(t *testing.T, id string) deferd.Notice {
	t.Helper()
	n := x.notice(t, id)
	must(t, x.NoticeFailed(t.Context(), deferd.NoticeTry{Seq: n.Seq, Tries: n.Tries + 1, Error: "refused"}))
	return n
}

// wantDue checks what waits for a target, by ID.
func (x *fixture) wantDue(t *testing.T, target string, n int, want ...string) {
	t.Helper()
	notices, err := x.DueNotices(t.Context(), target, n)
	must(t, err)
	if got := noticeIDs(notices); !slices.Equal(got, want) {
		t.Errorf("%d for %q: %q, want %q", n, target, got, want)
	}
}

func noticeIDs(notices []deferd.Notice) (ids []string) {
	for _, n := range notices {
		ids = append(ids, n.ID)
	}
	return ids
}

func (x *fixture) wantOutbox(t *testing.T, want deferd.OutboxCounts) {
	t.Helper()
	got, err := x.OutboxCounts(t.Context())
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

var outboxTests = map[string]func(*testing.T, *fixture){
	"an end has its notice, and has it once": func(t *testing.T, x *fixture) {
		l := x.running(t)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("result")}))
		n := notification(string(l.Invocation), "t")
		must(t, x.Finish(t.Context(), l.Invocation, 2, &n)) // another decision
		x.wantDue(t, "t", 10)
		x.clock.advance(time.Second)
		must(t, x.Finish(t.Context(), l.Invocation, 1, &n))
		must(t, x.Finish(t.Context(), l.Invocation, 1, &n))
		got := x.notice(t, n.ID)
		want := deferd.Notice{
			Notification: n, Seq: got.Seq, Account: account, Endpoint: x.endpoint.ID, Variant: "v",
			Created: x.Now(), Since: x.Now(), Due: x.Now(),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("notice (-want +got):\n%s", diff)
		}
		x.wantDue(t, "t", 10, n.ID)
		must(t, x.NoticeDelivered(t.Context(), got.Seq))
		must(t, x.Finish(t.Context(), l.Invocation, 1, &n)) // its end is over
		x.wantDue(t, "t", 10)
	},
	"an ID is kept once for each target": func(t *testing.T, x *fixture) {
		x.addNotice(t, "a", "t")
		x.addNotice(t, "a", "t")
		x.addNotice(t, "a", "u")
		x.wantDue(t, "t", 10, "a")
		x.wantDue(t, "u", 10, "a")
		x.wantOutbox(t, deferd.OutboxCounts{Waiting: 2, Oldest: x.Now()})
	},
	"targets are those for which something waits": func(t *testing.T, x *fixture) {
		for _, target := range []string{"t", "ä", "t/2", "s", "t"} {
			x.addNotice(t, target+"1", target)
			x.addNotice(t, target+"2", target)
		}
		x.die(t, "s1")
		x.die(t, "s2")
		for _, test := range []struct {
			after string
			n     int
			want  []string
		}{{"", 10, []string{"t", "t/2", "ä"}}, {"", 2, []string{"t", "t/2"}}, {"t", 1, []string{"t/2"}}, {"ä", 1, nil}} {
			got, err := x.NoticeTargets(t.Context(), test.after, test.n)
			must(t, err)
			if !slices.Equal(got, test.want) {
				t.Errorf("%d after %q: %q, want %q", test.n, test.after, got, test.want)
			}
		}
	},
	"what failed waits, and is behind what is due": func(t *testing.T, x *fixture) {
		for _, id := range []string{"a", "b", "c"} {
			x.addNotice(t, id, "t")
			x.clock.advance(time.Second)
		}
		n, next := x.notice(t, "a"), x.Now().Add(time.Minute)
		must(t, x.NoticeFailed(t.Context(), deferd.NoticeTry{Seq: n.Seq, Tries: 1, Error: strings.Repeat("é", 400), Next: next}))
		x.wantDue(t, "t", 10, "b", "c", "a")
		x.wantDue(t, "t", 1, "b")
		got := x.notice(t, "a")
		if got.Tries != 1 || !got.Due.Equal(next) || len(got.Error) > deferd.MaxNoticeError || !strings.HasPrefix(got.Error, "éé") || got.Dead() {
			t.Errorf("it has %d tries, is due %v, after %q", got.Tries, got.Due, got.Error)
		}
		x.wantOutbox(t, deferd.OutboxCounts{Waiting: 3, Oldest: n.Since})
	},
	"the dead are listed, and live again when they are replayed": func(t *testing.T, x *fixture) {
		for _, id := range []string{"a", "b", "c"} {
			x.addNotice(t, id, "t")
		}
		x.die(t, "a")
		x.die(t, "c")
		x.wantDue(t, "t", 10, "b")
		x.wantOutbox(t, deferd.OutboxCounts{Waiting: 1, Dead: 2, Oldest: x.Now()})
		for _, test := range []struct {
			q    deferd.NoticeQuery
			want []string
		}{
			{deferd.NoticeQuery{Account: account}, []string{"c", "b", "a"}},
			{deferd.NoticeQuery{Account: account, Dead: true}, []string{"c", "a"}},
			{deferd.NoticeQuery{Account: "111111111111"}, nil},
		} {
			for _, test.q.Max = range []int{1, 2, 10} {
				var got []string
				for test.q.Token = ""; ; {
					page, err := x.Notices(t.Context(), test.q)
					must(t, err)
					got = append(got, noticeIDs(page.Items)...)
					if test.q.Token = page.Token; page.Token == "" {
						break
					}
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("%+v: %q, want %q", test.q, got, test.want)
				}
			}
		}
		_, err := x.Notices(t.Context(), deferd.NoticeQuery{Account: account, Token: "!"})
		wantCode(t, err, deferd.Invalid)
		x.clock.advance(time.Hour)
		for id, want := range map[string]int{"a": 1, "b": 0, "x": 0} {
			got, err := x.ReplayNotice(t.Context(), account, id)
			must(t, err)
			if got != want {
				t.Errorf("replayed %d of %s, want %d", got, id, want)
			}
		}
		got, err := x.ReplayNotice(t.Context(), "111111111111", "c")
		must(t, err)
		if got != 0 {
			t.Error("another account replays it")
		}
		a := x.notice(t, "a")
		if a.Dead() || a.Tries != 0 || !a.Since.Equal(x.Now()) || a.Created.Equal(a.Since) || a.Error != "refused" {
			t.Errorf("replayed, it is %+v", a)
		}
		x.wantDue(t, "t", 10, "b", "a")
	},
	"a try that comes late changes nothing": func(t *testing.T, x *fixture) {
		x.addNotice(t, "a", "t")
		n := x.notice(t, "a")
		late := deferd.NoticeTry{Seq: n.Seq, Tries: 1, Error: "late"}
		must(t, x.NoticeFailed(t.Context(), deferd.NoticeTry{Seq: n.Seq, Tries: 1, Error: "first", Next: x.Now().Add(time.Second)}))
		before := x.notice(t, "a")
		must(t, x.NoticeFailed(t.Context(), late))
		if diff := cmp.Diff(before, x.notice(t, "a")); diff != "" {
			t.Errorf("notice (-before +after):\n%s", diff)
		}
		must(t, x.NoticeDelivered(t.Context(), n.Seq))
		must(t, x.NoticeDelivered(t.Context(), n.Seq))
		must(t, x.NoticeFailed(t.Context(), late))
		x.wantOutbox(t, deferd.OutboxCounts{})
	},
	"the dead are pruned in the end, and nothing else is": func(t *testing.T, x *fixture) {
		x.addNotice(t, "dead", "t")
		x.addNotice(t, "waits", "t")
		x.die(t, "dead")
		x.clock.advance(time.Hour)
		x.addNotice(t, "new", "t")
		x.die(t, "new")
		_, err := x.Prune(t.Context(), x.Now(), 10)
		must(t, err)
		page, err := x.Notices(t.Context(), deferd.NoticeQuery{Account: account, Max: 10})
		must(t, err)
		if got, want := noticeIDs(page.Items), []string{"new", "waits"}; !slices.Equal(got, want) {
			t.Errorf("left are %q, want %q", got, want)
		}
		x.wantOutbox(t, deferd.OutboxCounts{Waiting: 1, Dead: 1, Oldest: x.notice(t, "waits").Since})
	},
	"what is kept survives a crash": func(t *testing.T, x *fixture) {
		l := x.running(t)
		must(t, x.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: success("result")}))
		n := notification(string(l.Invocation), "t")
		must(t, x.Finish(t.Context(), l.Invocation, 1, &n))
		x.addNotice(t, "dead", "t")
		x.die(t, "dead")
		x.addNotice(t, "last", "u") // durable, and with it all before
		x.crash(t)
		x.wantDue(t, "t", 10, n.ID)
		x.wantDue(t, "u", 10, "last")
		x.wantOutbox(t, deferd.OutboxCounts{Waiting: 2, Dead: 1, Oldest: x.Now()})
	},
}

// outboxRetries are what changes the outbox.
var outboxRetries = []retry{
	{method: "AddNotice", prepare: func(*testing.T, *fixture) call {
		return func(ctx context.Context, s deferd.Store) (any, error) {
			return nil, s.AddNotice(ctx, account, notification("a", "t"))
		}
	}},
	{method: "NoticeDelivered", prepare: func(t *testing.T, x *fixture) call {
		x.addNotice(t, "a", "t")
		seq := x.notice(t, "a").Seq
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.NoticeDelivered(ctx, seq) }
	}},
	{method: "NoticeFailed", prepare: func(t *testing.T, x *fixture) call {
		x.addNotice(t, "a", "t")
		try := deferd.NoticeTry{Seq: x.notice(t, "a").Seq, Tries: 1, Error: "e", Next: x.Now().Add(time.Second)}
		return func(ctx context.Context, s deferd.Store) (any, error) { return nil, s.NoticeFailed(ctx, try) }
	}},
	{method: "ReplayNotice", name: "there is nothing left", differs: func(t *testing.T, once, again result) {
		once.Answer = 0
		diff(t, "one call, made again", once, again)
	}, prepare: func(t *testing.T, x *fixture) call {
		x.addNotice(t, "a", "t")
		x.die(t, "a")
		return func(ctx context.Context, s deferd.Store) (any, error) { return s.ReplayNotice(ctx, account, "a") }
	}},
	noticeRead("NoticeTargets", func(ctx context.Context, s deferd.Store) (any, error) { return s.NoticeTargets(ctx, "", 10) }),
	noticeRead("DueNotices", func(ctx context.Context, s deferd.Store) (any, error) { return s.DueNotices(ctx, "t", 10) }),
	noticeRead("Notices", func(ctx context.Context, s deferd.Store) (any, error) {
		return s.Notices(ctx, deferd.NoticeQuery{Account: account, Max: 10})
	}),
	noticeRead("OutboxCounts", func(ctx context.Context, s deferd.Store) (any, error) { return s.OutboxCounts(ctx) }),
}

// noticeRead is a method that changes nothing.
func noticeRead(method string, c call) retry {
	return retry{method: method, prepare: func(t *testing.T, x *fixture) call {
		x.addNotice(t, "a", "t")
		return c
	}}
}
