package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/powerloss"
	"zombiezen.com/go/sqlite"
)

// recordLoad records lives of the load, one after another on the same disk,
// each with a fault of its own.
func recordLoad(t *testing.T, faults ...string) *powerloss.Recording {
	t.Helper()
	powerloss.Need(t)
	for {
		dir, logs := powerloss.Scratch(t), powerloss.Scratch(t)
		var all []string
		for life, fault := range faults {
			all = append(all, filepath.Join(logs, fmt.Sprint(life)))
			recordLife(t, dir, all[life], life, fault)
		}
		r, err := powerloss.Read(dir, all...)
		must(t, err)
		err = r.Check(func(path string) bool { return strings.HasSuffix(path, "-shm") })
		if err == nil {
			return r
		}
		if !errors.Is(err, powerloss.ErrInFlight) {
			t.Fatal(err)
		}
		t.Logf("recorded again: %v", err)
	}
}

func recordLife(t *testing.T, dir, log string, life int, fault string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], loadVerb, dir, fmt.Sprint(life))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var faults []string
	if fault != "" {
		faults = append(faults, fault)
	}
	must(t, powerloss.Record(cmd, log, faults...))
	if err := cmd.Run(); err != nil {
		if fault == "" {
			t.Fatalf("the load: %v: %s", err, stderr.Bytes())
		}
		t.Logf("a life with a fault ended with %v: %s", err, stderr.Bytes())
	}
}

// A history is what the load has said of an invocation.
type history struct {
	accept, settle, finish deedTimes
	size, outcome          int
	settleUpload           string
	uploads                map[string]*deedTimes
}

// deedTimes are positions, 0 for never.
type deedTimes struct{ began, ended int }

func (d deedTimes) done(at int) bool    { return d.ended > 0 && d.ended < at }
func (d deedTimes) started(at int) bool { return d.began > 0 && d.began < at }

// A story is all that the load has said.
type story struct {
	byID    map[deferd.InvocationID]*history
	created int
	pruned  int // first began
}

func readStory(t *testing.T, r *powerloss.Recording) *story {
	t.Helper()
	s := &story{byID: map[deferd.InvocationID]*history{}}
	s.read(t, r)
	return s
}

// read adds what was said in a recording.
func (s *story) read(t *testing.T, r *powerloss.Recording) {
	t.Helper()
	for _, word := range []string{began, ended} {
		lines, positions := r.Lines(word)
		for i, line := range lines {
			var d deed
			must(t, json.Unmarshal([]byte(line), &d))
			s.add(d, word, positions[i])
		}
	}
}

// before is the story up to a position, as the past of another recording.
func (s *story) before(at int) *story {
	past := func(position int) int {
		if position > 0 && position < at {
			return 1 // where no recording says anything yet
		}
		return 0
	}
	times := func(d deedTimes) deedTimes { return deedTimes{past(d.began), past(d.ended)} }
	old := &story{byID: map[deferd.InvocationID]*history{}, created: past(s.created), pruned: past(s.pruned)}
	for id, h := range s.byID {
		o := *h
		o.accept, o.settle, o.finish = times(h.accept), times(h.settle), times(h.finish)
		o.uploads = map[string]*deedTimes{}
		for u, d := range h.uploads {
			d := times(*d)
			o.uploads[u] = &d
		}
		old.byID[id] = &o
	}
	return old
}

func (s *story) add(d deed, word string, at int) {
	h := s.byID[d.ID]
	if h == nil {
		h = &history{uploads: map[string]*deedTimes{}}
		s.byID[d.ID] = h
	}
	var times *deedTimes
	switch d.Do {
	case "create":
		if s.created == 0 {
			s.created = at
		}
		return
	case "prune":
		if s.pruned == 0 {
			s.pruned = at
		}
		return
	case "accept":
		times = &h.accept
		if word == began {
			h.size = d.Size
		}
	case "settle":
		times = &h.settle
		if word == began {
			h.outcome, h.settleUpload = d.Size, d.Text
		}
	case "finish":
		times = &h.finish
	case "upload":
		if h.uploads[d.Text] == nil {
			h.uploads[d.Text] = &deedTimes{}
		}
		times = h.uploads[d.Text]
	default:
		return
	}
	switch {
	case word == ended && times.ended == 0:
		times.ended = at
	case word == began && times.began == 0:
		times.began = at
	}
}

// check opens what a cut at the position has left.
func (s *story) check(t *testing.T, dir string, at int) error {
	path := filepath.Join(dir, "deferd.db")
	if _, err := os.Stat(path); err != nil && s.created < at {
		return err
	}
	store, err := Open(path, Options{checkpointPages: 200})
	if err != nil {
		return err
	}
	defer store.Close()
	ctx := t.Context()
	if err := whole(ctx, store); err != nil {
		return err
	}
	publications, err := store.Publishing(ctx, 0, 10_000)
	if err != nil {
		return err
	}
	staged := map[deferd.InvocationID]deferd.Publication{}
	for _, p := range publications {
		staged[p.Invocation.ID] = p
	}
	abandoned, err := store.Abandoned(ctx, 10_000)
	if err != nil {
		return err
	}
	left := map[string]bool{}
	for _, u := range abandoned {
		left[u.ID] = true
	}
	notices, err := store.DueNotices(ctx, "t", 10_000)
	if err != nil {
		return err
	}
	told := map[deferd.InvocationID]bool{}
	for _, n := range notices {
		told[deferd.InvocationID(n.ID)] = true
	}
	var errs []error
	for id, h := range s.byID {
		if id == "" {
			continue
		}
		err := s.checkOne(ctx, store, id, h, at, staged, left)
		if err == nil {
			err = checkTold(ctx, store, id, told[id], s.pruned > 0 && s.pruned < at)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("invocation %s: %w", id, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs[:min(3, len(errs))]...)
	}
	if s.created < at {
		return worksOn(ctx, store)
	}
	return nil
}

// whole checks the file and what is counted of it.
func whole(ctx context.Context, s *Store) error {
	err := s.read(ctx, func(t *tx) error {
		return t.query("PRAGMA integrity_check", func(st *sqlite.Stmt) error {
			if got := st.ColumnText(0); got != "ok" {
				return fmt.Errorf("integrity check: %s", got)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	counts, err := s.Counts(ctx, "e")
	if err != nil {
		return err
	}
	again, err := s.Recount(ctx, "e")
	if err == nil && counts != again {
		err = fmt.Errorf("counts are %+v, a recount finds %+v", counts, again)
	}
	return err
}

func (s *story) checkOne(ctx context.Context, store *Store, id deferd.InvocationID, h *history, at int, staged map[deferd.InvocationID]deferd.Publication, left map[string]bool) error {
	inv, err := store.Invocation(ctx, "e", string(id))
	if deferd.CodeOf(err) == deferd.NotFound && err != nil {
		pruned := s.pruned > 0 && s.pruned < at && h.finish.started(at)
		if h.accept.done(at) && !pruned {
			return errors.New("was accepted, and is not there")
		}
		return nil
	}
	if err != nil {
		return err
	}
	if !h.accept.started(at) {
		return errors.New("is there, and was not asked for")
	}
	decided := inv.State > deferd.Running
	if h.settle.done(at) && !decided {
		return fmt.Errorf("was settled, and is %v", inv.State)
	}
	if decided && !h.settle.started(at) {
		return fmt.Errorf("is %v, and was not settled", inv.State)
	}
	if inv.State > deferd.Publishing && !h.finish.started(at) {
		return fmt.Errorf("is %v, and was not finished", inv.State)
	}
	if inv.State == deferd.Running {
		return errors.New("runs after a start")
	}
	if h.size >= 0 && inv.State <= deferd.Publishing {
		if body, err := store.Body(ctx, id); err != nil || !bytes.Equal(body, bodyOf(id, h.size)) {
			return fmt.Errorf("its body has %d bytes, want %d (%v)", len(body), h.size, err)
		}
	}
	for u, times := range h.uploads {
		if times.done(at) && !left[u] && !(decided && u == h.settleUpload) {
			return fmt.Errorf("upload %s was recorded and is forgotten", u)
		}
	}
	if inv.State != deferd.Publishing {
		return nil
	}
	p := staged[id]
	if h.settleUpload != "" {
		if p.Outcome.Upload == nil || p.Outcome.Upload.ID != h.settleUpload {
			return fmt.Errorf("its outcome's upload is %v", p.Outcome.Upload)
		}
	} else if !bytes.Equal(p.Outcome.Body, bodyOf(id, h.outcome)) {
		return fmt.Errorf("its outcome has %d bytes, want %d", len(p.Outcome.Body), h.outcome)
	}
	return nil
}

// checkTold checks that the end of an invocation is said where it has ended, and
// only there.
func checkTold(ctx context.Context, store *Store, id deferd.InvocationID, told, pruned bool) error {
	inv, err := store.Invocation(ctx, "e", string(id))
	switch {
	case err != nil && deferd.CodeOf(err) != deferd.NotFound:
		return err
	case err != nil && told && !pruned:
		return errors.New("is not there, and is said to have ended")
	case err == nil && told != inv.State.Terminal():
		return fmt.Errorf("is %v; that it has ended is said: %v", inv.State, told)
	}
	return nil
}

// worksOn takes an invocation through the store.
func worksOn(ctx context.Context, s *Store) error {
	n := newInvocation()
	if _, _, err := s.Accept(ctx, n); err != nil {
		return err
	}
	session, err := s.OpenSession(ctx, deferd.Session{Endpoint: "e", Variant: "v", Instance: "another", Slots: 1})
	if err != nil {
		return err
	}
	c, err := s.Claim(ctx, session, 0, 1)
	if err != nil {
		return err
	}
	if len(c.Leases) != 1 {
		return fmt.Errorf("%d leases after the start, want 1", len(c.Leases))
	}
	if err := s.Settle(ctx, deferd.Settlement{Lease: c.Leases[0].ID, Outcome: completed("out")}); err != nil {
		return err
	}
	return s.Finish(ctx, c.Leases[0].Invocation, 1, nil)
}

// TestPowerLoss cuts the power at ends of syncs while clients and an agent
// work.
func TestPowerLoss(t *testing.T) {
	const syncs = "fsync,fdatasync:"
	tests := []struct {
		name  string
		lives []string // the fault of each
		cuts  int
		long  bool // only in the long form
	}{
		{"one life", []string{""}, 25, false},
		{"two lives", []string{"", ""}, 8, true},
		{"killed before a sync", []string{syncs + "signal=KILL:when=30", ""}, 6, false},
		{"the first sync fails", []string{syncs + "error=EIO:when=1", ""}, 6, true},
		{"the store cannot be made", []string{syncs + "error=EIO:when=5", ""}, 6, false},
		{"a sync fails", []string{syncs + "error=EIO:when=30", ""}, 8, false},
		{"a later sync fails", []string{syncs + "error=EIO:when=45", syncs + "error=EIO:when=20", ""}, 10, true},
		{"no sync succeeds any more", []string{syncs + "error=EIO:when=25+", ""}, 8, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.long && !powerloss.Long() {
				t.Skip("takes long")
			}
			r := recordLoad(t, test.lives...)
			s := readStory(t, r)
			r.Try(t, powerloss.Trial{Cuts: test.cuts, Draws: 3}, func(dir string, at int) error { return s.check(t, dir, at) })
		})
	}
}

// TestPowerLossAgain cuts the power a second time, in the life that begins on
// what the first cut has left, from its start on.
func TestPowerLossAgain(t *testing.T) {
	r := recordLoad(t, "")
	s := readStory(t, r)
	turn := 0
	r.Try(t, powerloss.Trial{Cuts: 2, Draws: 2}, func(dir string, at int) error {
		if turn++; turn%4 > 0 && !powerloss.Long() {
			return nil // there are too many
		}
		before, log := powerloss.Scratch(t), filepath.Join(powerloss.Scratch(t), "recording")
		if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
			return err
		}
		recordLife(t, dir, log, 1, "")
		again, err := powerloss.ReadOn(before, dir, log)
		if err != nil {
			return err
		}
		err = again.Check(func(path string) bool { return strings.HasSuffix(path, "-shm") })
		if errors.Is(err, powerloss.ErrInFlight) {
			return nil
		}
		if err != nil {
			return err
		}
		both := s.before(at)
		both.read(t, again)
		again.Try(t, powerloss.Trial{Cuts: 6, Draws: 3}, func(dir string, at int) error { return both.check(t, dir, at) })
		return nil
	})
}
