package bothways

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// A tolerance is what a failing step may lead to, beyond the load's own ends.
type tolerance struct {
	reasons []deferd.Reason // that an invocation may end with instead
	rerun   bool            // an attempt may be lost, and made again
	uploads bool            // an upload may be left to the bucket, which lets it expire
	zombie  bool            // an instance may run what is another one's by now
	session bool            // an instance's last session may be left, without leases
	objects bool            // an outcome that was given up may have no object
}

// and is what either of two tolerates.
func (a tolerance) and(b tolerance) tolerance {
	return tolerance{
		reasons: slices.Concat(a.reasons, b.reasons),
		rerun:   a.rerun || b.rerun,
		uploads: a.uploads || b.uploads,
		zombie:  a.zombie || b.zombie,
		session: a.session || b.session,
		objects: a.objects || b.objects,
	}
}

// broken says which promises do not hold, after everything has ended.
func (w *world) broken(ended []deferd.Invocation, ok tolerance) (wrongs []string) {
	w.t.Helper()
	complain := func(format string, args ...any) { wrongs = append(wrongs, fmt.Sprintf(format, args...)) }
	wrongs = append(wrongs, w.record.complaints()...)
	wrongs = append(wrongs, w.model.complaints(ok.zombie)...)
	seen, notices := w.visible(), w.notices()
	for n, r := range w.load {
		inv := w.get(n)
		for _, before := range ended {
			if before.ID == inv.ID && !cmp.Equal(before, inv) {
				complain("%s ended as %v (%s), and is %v (%s) now", r.name, before.State, before.Reason, inv.State, inv.Reason)
			}
		}
		if !inv.State.Terminal() {
			complain("%s is still %v", r.name, inv.State)
			continue
		}
		wrongs = append(wrongs, r.brokenEnd(inv, ok)...)
		wrongs = append(wrongs, r.brokenRuns(inv, w.model.runsOf(r.name), ok)...)
		wrongs = append(wrongs, r.brokenObject(inv, seen, ok)...)
		wrongs = append(wrongs, r.brokenNotice(inv, notices[string(inv.ID)], seen)...)
		delete(notices, string(inv.ID))
		delete(seen, inv.Output.Key)
		delete(seen, inv.Failure.Key)
	}
	for key := range seen {
		complain("there is an object of nobody's: %s", key)
	}
	for _, n := range notices {
		complain("it was said %d times that %s ended, which is nobody", len(n), n[0].ID)
	}
	return append(wrongs, w.left(ok)...)
}

// notices are what is said of all ends, by invocation.
func (w *world) notices() map[string][]deferd.Notice {
	w.t.Helper()
	all, err := w.inner.DueNotices(w.t.Context(), "t", 1000)
	w.must(err)
	byID := map[string][]deferd.Notice{}
	for _, n := range all {
		byID[n.ID] = append(byID[n.ID], n)
	}
	return byID
}

// brokenNotice checks that an invocation's end is told once, as it is, with what
// its object holds where that is small.
func (r *request) brokenNotice(inv deferd.Invocation, notices []deferd.Notice, seen map[string]object) (wrongs []string) {
	if len(notices) != 1 {
		return []string{fmt.Sprintf("it was said %d times that %s ended", len(notices), r.name)}
	}
	n := notices[0]
	if n.Subject != inv.State.String() || n.Endpoint != inv.Endpoint || n.Variant != inv.Variant {
		wrongs = append(wrongs, fmt.Sprintf("%s ended as %v on %q, and is said to have as %s on %q", r.name, inv.State, inv.Variant, n.Subject, n.Variant))
	}
	o, there := seen[inv.Object(inv.State).Key]
	if small := inv.OutcomeSize <= deferd.MaxStaged; there && small && n.Message != string(o.body) {
		wrongs = append(wrongs, fmt.Sprintf("the object of %s has %d bytes, what is said of it %d", r.name, len(o.body), len(n.Message)))
	}
	return wrongs
}

// brokenEnd checks how an invocation has ended.
func (r *request) brokenEnd(inv deferd.Invocation, ok tolerance) (wrongs []string) {
	if inv.State == r.state && inv.Reason == r.reason {
		return nil
	}
	natural := r.cancel > 0 && inv.Reason == deferd.ModelOK // it ended before anybody could cancel it
	if natural || slices.Contains(ok.reasons, inv.Reason) {
		return nil
	}
	return []string{fmt.Sprintf("%s ended as %v (%s), want %v (%s)", r.name, inv.State, inv.Reason, r.state, r.reason)}
}

// brokenRuns checks how often the model got a request.
func (r *request) brokenRuns(inv deferd.Invocation, runs []run, ok tolerance) (wrongs []string) {
	most := r.runs
	if ok.rerun {
		most += deferd.MaxAttempts - 1
	}
	least := 0
	if inv.Reason == r.reason && r.cancel == 0 {
		least = r.runs
	}
	if len(runs) < least || len(runs) > most {
		wrongs = append(wrongs, fmt.Sprintf("the model ran %s %d times, want %d to %d", r.name, len(runs), least, most))
	}
	for _, run := range runs {
		// The store's times have microseconds.
		if r.cancel == 0 && run.began.Truncate(time.Microsecond).After(inv.Settled) {
			wrongs = append(wrongs, fmt.Sprintf("the model ran %s after it was decided", r.name))
		}
	}
	return wrongs
}

// An object is what lies at a key.
type object struct {
	body []byte
	mark string
}

// visible reads all outcomes.
func (w *world) visible() map[string]object {
	w.t.Helper()
	all := map[string]object{}
	for _, prefix := range []string{"out/", "fail/"} {
		for info, err := range w.bucket.List(w.t.Context(), deferd.Location{Bucket: "bkt", Key: prefix}) {
			w.must(err)
			o, err := w.bucket.Get(w.t.Context(), deferd.Location{Bucket: "bkt", Key: info.Key}, deferd.GetObject{})
			w.must(err)
			body, err := io.ReadAll(o.Body)
			w.must(err)
			o.Body.Close()
			all[info.Key] = object{body, o.Metadata[mark]}
		}
	}
	return all
}

// brokenObject checks that an invocation's outcome is where it belongs, whole,
// and nowhere else.
func (r *request) brokenObject(inv deferd.Invocation, seen map[string]object, ok tolerance) (wrongs []string) {
	at, other := inv.Output.Key, inv.Failure.Key
	want := []byte(inv.Message)
	switch {
	case inv.State != deferd.Completed:
		at, other = other, at
		if inv.Reason == r.reason && r.content != nil {
			want = r.content
		}
	case r.content != nil:
		want = r.content
	case r.cancel > 0:
		want = []byte("a small answer")
	}
	if _, there := seen[other]; there {
		wrongs = append(wrongs, fmt.Sprintf("%s ended as %v (%s) and has an object of the other kind", r.name, inv.State, inv.Reason))
	}
	o, there := seen[at]
	switch {
	case !there && inv.Reason == deferd.UploadFailed && ok.objects:
	case !there:
		wrongs = append(wrongs, fmt.Sprintf("%s ended as %v (%s) and has no object", r.name, inv.State, inv.Reason))
	case o.mark != string(inv.ID):
		wrongs = append(wrongs, fmt.Sprintf("the object of %s has the mark %q", r.name, o.mark))
	case !bytes.Equal(o.body, want):
		wrongs = append(wrongs, fmt.Sprintf("the object of %s has %d other bytes than the %d that it should have", r.name, len(o.body), len(want)))
	}
	return wrongs
}

// left says what is still there that should have gone, and what the counts have
// lost.
func (w *world) left(ok tolerance) (wrongs []string) {
	w.t.Helper()
	ctx := w.t.Context()
	complain := func(format string, args ...any) { wrongs = append(wrongs, fmt.Sprintf(format, args...)) }
	var accepted int64
	for _, e := range []deferd.EndpointID{"e", "idle"} {
		c, err := w.inner.Counts(ctx, e)
		w.must(err)
		again, err := w.inner.Recount(ctx, e)
		w.must(err)
		if c.Drift() != 0 || c != again {
			complain("%s has counts %+v, a recount finds %+v", e, c, again)
		}
		if c.Queued+c.Running+c.Publishing != 0 {
			complain("%s has not come to rest: %+v", e, c)
		}
		accepted += c.Accepted
	}
	if accepted != int64(len(w.load)) {
		complain("%d invocations were accepted for %d requests", accepted, len(w.load))
	}
	if ps, err := w.inner.Publishing(ctx, 0, 100); err != nil || len(ps) > 0 {
		complain("%d outcomes are still to be published (%v)", len(ps), err)
	}
	if us, err := w.inner.Abandoned(ctx, 100); err != nil || len(us) > 0 {
		complain("%d uploads are still to be aborted (%v)", len(us), err)
	}
	if open := w.record.openUploads(); len(open) > 0 && !ok.uploads {
		complain("uploads are left of %v", open)
	}
	for n, r := range w.load {
		_, err := w.inner.Body(ctx, w.ids[n])
		if kept := err == nil; kept && w.get(n).State == deferd.Completed {
			complain("the body of %s is kept", r.name)
		}
	}
	live := 0
	for _, id := range w.record.allSessions() {
		if _, err := w.inner.Extend(ctx, id, 0, nil); deferd.CodeOf(err) != deferd.Lost {
			live++
		}
	}
	if live > instances || live > 0 && !ok.session {
		complain("%d sessions are left", live)
	}
	s := w.dispatch.Load().Stats()
	if s.ToPublish != 0 || s.ClaimsWaiting != 0 {
		complain("the dispatch has not come to rest: %+v", s)
	}
	return wrongs
}
