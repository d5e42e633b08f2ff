package objectserver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/powerloss"
)

// recordLoad records lives of the load, one after another on the same disk,
// each with faults of its own.
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
		if err != nil {
			t.Fatal(err)
		}
		err = r.Check(func(string) bool { return false })
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
	if err := powerloss.Record(cmd, log, faults...); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err != nil && !strings.Contains(fault, "KILL") {
		t.Fatalf("the load: %v: %s", err, stderr.Bytes())
	}
}

// A told is a deed with the positions at which the load spoke of it, 0 for
// never.
type told struct {
	deed
	began, ended, refused int
}

func (d *told) done(at int) bool    { return d.ended > 0 && d.ended < at }
func (d *told) started(at int) bool { return d.began > 0 && d.began < at }

// first is when the load first spoke of it.
func (d *told) first() int { return cmp.Or(d.began, d.ended) }

// A story is all that the load has said.
type story struct {
	created int
	keys    map[string][]*told // changes of a key, in order
	uploads map[string][]*told // by upload
}

func readStory(t *testing.T, r *powerloss.Recording) *story {
	t.Helper()
	s := &story{keys: map[string][]*told{}, uploads: map[string][]*told{}}
	s.read(t, r)
	return s
}

// read adds what was said in a recording.
func (s *story) read(t *testing.T, r *powerloss.Recording) {
	t.Helper()
	for _, word := range []string{sayBegan, sayEnded, sayRefused} {
		lines, positions := r.Lines(word)
		for i, line := range lines {
			var d deed
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatal(err)
			}
			s.add(d, word, positions[i])
		}
	}
	for _, changes := range s.keys {
		slices.SortStableFunc(changes, func(a, b *told) int { return cmp.Compare(a.first(), b.first()) })
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
	old := &story{created: past(s.created), keys: map[string][]*told{}, uploads: map[string][]*told{}}
	for _, m := range []struct{ from, to map[string][]*told }{{s.keys, old.keys}, {s.uploads, old.uploads}} {
		for key, all := range m.from {
			for _, d := range all {
				if past(d.first()) > 0 {
					m.to[key] = append(m.to[key], &told{d.deed, past(d.began), past(d.ended), past(d.refused)})
				}
			}
		}
	}
	return old
}

func (s *story) add(d deed, word string, at int) {
	switch d.Do {
	case "create":
		if s.created == 0 {
			s.created = at
		}
	case "put", "delete", "complete", "saw":
		s.keys[d.Key] = addTo(s.keys[d.Key], d, word, at)
	}
	if d.Upload != "" {
		s.uploads[d.Upload] = addTo(s.uploads[d.Upload], d, word, at)
	}
}

// addTo notes what was said of a deed; one that is tried again is the same.
func addTo(all []*told, d deed, word string, at int) []*told {
	var known *told
	for _, k := range all {
		if k.Do == d.Do && k.Version == d.Version && k.Part == d.Part {
			known = k
		}
	}
	if known == nil {
		known = &told{deed: d}
		all = append(all, known)
	}
	switch {
	case word == sayEnded:
		known.ended, known.deed = at, d
	case word == sayRefused:
		known.refused = at
	case known.began == 0:
		known.began = at
	}
	return all
}

// check opens what a cut at the position has left.
func (s *story) check(ctx context.Context, dir string, at int) error {
	store, err := Open(filepath.Join(dir, "objects"), Options{SegmentSize: 60 << 10})
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.HeadBucket(ctx, loadBucket); err != nil {
		if s.created < at {
			return fmt.Errorf("the bucket: %w", err)
		}
		return nil
	}
	for key, changes := range s.keys {
		if err := checkKey(ctx, store, key, changes, at); err != nil {
			return fmt.Errorf("key %s: %w", key, err)
		}
	}
	for info, err := range store.List(ctx, deferd.Location{Bucket: loadBucket}) {
		if err != nil {
			return err
		}
		if s.keys[info.Key] == nil {
			return fmt.Errorf("there is a key %s", info.Key)
		}
	}
	for id, deeds := range s.uploads {
		if err := checkUpload(ctx, store, id, deeds, at); err != nil {
			return fmt.Errorf("upload %s: %w", id, err)
		}
	}
	return worksOn(ctx, store)
}

// checkKey compares what is there with what may be: the last change that was
// answered, or one that was asked for later.
func checkKey(ctx context.Context, s *Store, key string, changes []*told, at int) error {
	body, err := read(ctx, s, key)
	missing := err != nil && deferd.CodeOf(err) == deferd.NotFound
	if err != nil && !missing {
		return err
	}
	none := told{deed: deed{Do: "delete"}}
	allowed := []*told{&none}
	for _, c := range changes {
		switch {
		case c.done(at):
			allowed = []*told{c}
		case c.started(at):
			allowed = append(allowed, c)
		}
	}
	for _, c := range allowed {
		none := c.Do == "delete" || c.Do == "saw" && c.Size == 0
		if none && missing || !none && !missing && bytes.Equal(body, bodyOf(key, c.Version, c.Size)) {
			return nil
		}
	}
	last := allowed[0]
	return fmt.Errorf("missing is %t, or %d bytes %.40q; want it as after %s of version %d with %d bytes, or one of %d later ones",
		missing, len(body), body, last.Do, last.Version, last.Size, len(allowed)-1)
}

func read(ctx context.Context, s *Store, key string) ([]byte, error) {
	o, err := s.Get(ctx, place(key), deferd.GetObject{})
	if err != nil {
		return nil, err
	}
	defer o.Body.Close()
	return io.ReadAll(o.Body)
}

// checkUpload checks that an upload that was neither completed nor aborted can
// be completed from the parts that were answered.
func checkUpload(ctx context.Context, s *Store, id string, deeds []*told, at int) error {
	u := deferd.Upload{ID: id}
	var parts []deferd.Part
	for _, d := range deeds {
		u.Location = place(d.Key)
		switch {
		case d.Do == "abort" && d.started(at):
			return nil
		case d.Do == "part" && d.done(at):
			parts = append(parts, deferd.Part{Number: d.Part, ETag: d.ETag})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	u.Parts = parts
	// One that was completed answers as it did.
	if err := s.CompleteUpload(ctx, u); err != nil {
		return err
	}
	return nil
}

// worksOn changes the store, and looks at what it left.
func worksOn(ctx context.Context, s *Store) error {
	for _, n := range []int{100, smallObject + 1} {
		key := fmt.Sprint("later/", n)
		if err := s.Put(ctx, place(key), deferd.ObjectAttributes{}, bodyOf(key, 1, n)); err != nil {
			return err
		}
		if body, err := read(ctx, s, key); err != nil || !bytes.Equal(body, bodyOf(key, 1, n)) {
			return errors.Join(err, fmt.Errorf("%s has %d bytes", key, len(body)))
		}
	}
	return nil
}

// TestPowerLoss cuts the power at ends of syncs while clients work.
func TestPowerLoss(t *testing.T) {
	tests := []struct {
		name  string
		lives []string // the faults of each
		cuts  int
		long  bool // only in the long form
	}{
		{"one life", []string{""}, 25, false},
		{"two lives", []string{"", ""}, 10, true},
		{"killed before a directory is synced", []string{"fsync:signal=KILL:when=12", ""}, 6, false},
		{"killed before the log is synced", []string{"fdatasync:signal=KILL:when=12", ""}, 6, true},
		{"one sync fails", []string{"fdatasync:error=EIO:when=10"}, 6, true},
		{"many syncs fail", []string{"fdatasync:error=EIO:when=4+3"}, 8, false},
		{"syncs fail to the end", []string{"fdatasync:error=EIO:when=12+", ""}, 8, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.long && !powerloss.Long() {
				t.Skip("takes long")
			}
			r := recordLoad(t, test.lives...)
			s := readStory(t, r)
			r.Try(t, powerloss.Trial{Cuts: test.cuts, Draws: 3}, func(dir string, at int) error { return s.check(t.Context(), dir, at) })
		})
	}
}

// TestPowerLossAgain cuts the power a second time, in the life that begins on
// what the first cut has left, from its start on.
func TestPowerLossAgain(t *testing.T) {
	r := recordLoad(t, "")
	s := readStory(t, r)
	first := powerloss.Trial{Cuts: 2, Draws: 3}
	turn := 0
	r.Try(t, first, func(dir string, at int) error {
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
		if err := again.Check(func(string) bool { return false }); errors.Is(err, powerloss.ErrInFlight) {
			return nil
		} else if err != nil {
			return err
		}
		both := s.before(at)
		both.read(t, again)
		again.Try(t, powerloss.Trial{Cuts: 6, Draws: 3}, func(dir string, at int) error { return both.check(t.Context(), dir, at) })
		return nil
	})
}
