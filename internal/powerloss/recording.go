package powerloss

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Recording is what a program has done to the disk below a directory, and
// what it has said meanwhile.
type Recording struct {
	root  string
	base  *node // what was there before
	steps []step
	lines int
	later []int // where lives after the first begin
	said  []utterance
	syncs []int
}

// An utterance is something that was written to what is not the disk.
type utterance struct {
	position int
	text     []byte
}

// Read reads the recordings of what was done below root, which was empty before,
// one for each life of the program. Of names that were being changed when a life
// ended it is not known what became of them; [ErrInFlight] tells if that matters.
func Read(root string, logs ...string) (*Recording, error) { return read(newDir(), root, logs) }

// ReadOn is Read where root held a copy of what is below before, all of it sure.
func ReadOn(before, root string, logs ...string) (*Recording, error) {
	base, err := load(before)
	if err != nil {
		return nil, err
	}
	return read(base, root, logs)
}

// load makes a node of what is at a path.
func load(path string) (*node, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		b, err := os.ReadFile(path)
		return &node{base: b, size: int64(len(b))}, err
	}
	n := newDir()
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if n.names[e.Name()], err = load(filepath.Join(path, e.Name())); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func read(base *node, root string, logs []string) (*Recording, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, err
	}
	r := &Recording{root: root, base: base}
	var calls []*call
	for i, log := range logs {
		if i > 0 {
			r.later = append(r.later, r.lines)
		}
		more, lines, err := parse(log)
		if err != nil {
			return nil, err
		}
		for _, c := range more {
			c.start += r.lines
			if c.end != never {
				c.end += r.lines
			}
		}
		calls = append(calls, more...)
		r.lines += lines
	}
	r.steps = stepsOf(calls)
	d := newDisk(r)
	for _, s := range r.steps {
		path := parseDescriptor(s.call.arg(0)).path
		_, inside := d.below(path)
		switch s.call.name {
		case "fsync", "fdatasync":
			if s.end && (inside || path == root) {
				r.syncs = append(r.syncs, s.position)
			}
		case "write", "writev":
			if s.end || inside {
				continue
			}
			b, err := s.call.written()
			if err != nil {
				return nil, err
			}
			r.said = append(r.said, utterance{s.position, b})
		}
	}
	// The whole is gone through once, so that what is not understood shows now.
	return r, d.Advance(never)
}

// Syncs are the positions at which syncs of the disk ended.
func (r *Recording) Syncs() []int { return r.syncs }

// End is the position after everything.
func (r *Recording) End() int { return r.lines }

// Said returns the position at which the text was first told to somebody, or
// -1: a cut at or before it comes earlier.
func (r *Recording) Said(text string) int {
	for _, u := range r.said {
		if bytes.Contains(u.text, []byte(text)) {
			return u.position
		}
	}
	return -1
}

// Lines returns the lines that were said beginning with the prefix, without
// it, and where.
func (r *Recording) Lines(prefix string) (lines []string, positions []int) {
	for _, u := range r.said {
		for line := range strings.Lines(string(u.text)) {
			if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), prefix); ok {
				lines, positions = append(lines, rest), append(positions, u.position)
			}
		}
	}
	return lines, positions
}

// Disk returns the disk as it was before the recording began.
func (r *Recording) Disk() *Disk { return newDisk(r) }

// A Loss is one of the disks that a power cut may leave.
type Loss struct {
	Name string
	disk *Disk
	fate fate
}

// Losses returns disks that a cut at the present position may leave: the
// extremes, and n that are drawn. They are to be written before the disk
// advances.
func (d *Disk) Losses(random *rand.Rand, n int) []Loss {
	var open []*change
	data, names := 0, 0
	for _, node := range d.nodes {
		for _, c := range node.changes {
			if c.sure {
				continue
			}
			open = append(open, c)
			if c.names != nil {
				names++
			} else {
				data++
			}
		}
	}
	slices.SortFunc(open, func(a, b *change) int { return a.seq - b.seq })
	fates := []fate{{name: "nothing that was not synced", keeps: func(*change) bool { return false }}}
	if len(open) > 0 {
		fates = append(fates, fate{name: "everything", keeps: func(*change) bool { return true }})
	}
	if names > 0 && data > 0 {
		fates = append(fates,
			fate{name: "names only", keeps: func(c *change) bool { return c.names != nil }},
			fate{name: "data only", keeps: func(c *change) bool { return c.names == nil }})
	}
	if len(open) > 0 {
		for i := range n {
			fates = append(fates, drawn(random, open, i))
		}
	}
	losses := make([]Loss, len(fates))
	for i, f := range fates {
		losses[i] = Loss{fmt.Sprintf("cut at %d, %s", d.position, f.name), d, f}
	}
	return losses
}

// drawn is a fate by chance: by turns a prefix whose last write is torn, and
// each change by itself with whole or torn writes.
func drawn(random *rand.Rand, open []*change, i int) fate {
	seed := random.Uint64()
	coin := func(a, b int64) bool {
		return rand.New(rand.NewPCG(seed^uint64(a), uint64(b))).IntN(2) == 0
	}
	switch i % 3 {
	case 0:
		last := open[random.IntN(len(open))].seq
		at := random.Int64N(64)
		return fate{
			name:  fmt.Sprintf("prefix %d torn at %d", last, at),
			keeps: func(c *change) bool { return c.seq <= last },
			sector: func(c *change, s int64) bool {
				return c.seq < last || s-c.off/sector < at*int64(len(c.data)/sector+1)/64
			},
		}
	case 1:
		return fate{name: fmt.Sprintf("whole writes of draw %x", seed), keeps: func(c *change) bool { return coin(int64(c.seq), -1) }}
	}
	return fate{
		name:   fmt.Sprintf("torn writes of draw %x", seed),
		keeps:  func(c *change) bool { return coin(int64(c.seq), -1) },
		sector: func(c *change, s int64) bool { return coin(int64(c.seq), s) },
	}
}

// WriteTo writes the disk's files below dir, which must be empty or absent.
func (l Loss) WriteTo(dir string) error { return writeNode(l.disk.root, dir, l.fate) }

func writeNode(n *node, path string, f fate) error {
	if !n.dir {
		return os.WriteFile(path, n.content(f), 0o600)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for name, child := range n.entries(f) {
		if err := writeNode(child, filepath.Join(path, name), f); err != nil {
			return err
		}
	}
	return nil
}

// ErrInFlight says that a recording may be wrong about what was in flight when
// the program ended, so that another one has to be made.
var ErrInFlight = errors.New("calls were in flight when the program ended")

// Check compares what the recording says is in the directory now with what is
// there; skip says which files need not agree. It shows that nothing escaped.
func (r *Recording) Check(skip func(path string) bool) error {
	d := newDisk(r)
	if err := d.Advance(never); err != nil {
		return err
	}
	err := errors.Join(compare(d.root, r.root, skip)...)
	if err != nil && slices.ContainsFunc(r.steps, func(s step) bool { return s.call.end == never }) {
		err = errors.Join(ErrInFlight, err)
	}
	return err
}

func compare(n *node, path string, skip func(string) bool) (differences []error) {
	if skip(path) {
		return nil
	}
	if !n.dir {
		b, err := os.ReadFile(path)
		if err != nil {
			return []error{err}
		}
		all := fate{keeps: func(*change) bool { return true }}
		ended := fate{keeps: func(c *change) bool { return c.ended != never }}
		if !bytes.Equal(b, n.content(all)) && !bytes.Equal(b, n.content(ended)) {
			return []error{fmt.Errorf("%s is not what was recorded", path)}
		}
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return []error{err}
	}
	for _, e := range entries {
		if n.now[e.Name()] == nil && !skip(filepath.Join(path, e.Name())) {
			differences = append(differences, fmt.Errorf("%s was not recorded", filepath.Join(path, e.Name())))
		}
	}
	for name, child := range n.now {
		differences = append(differences, compare(child, filepath.Join(path, name), skip)...)
	}
	return differences
}
