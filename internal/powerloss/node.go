package powerloss

import (
	"maps"
	"slices"
)

// A node is a file or a directory, whatever its names are.
type node struct {
	dir     bool
	base    []byte           // a file's content that is sure
	names   map[string]*node // a directory's names that are sure
	now     map[string]*node // a directory's names as the program sees them
	size    int64            // a file's as the program sees it
	changes []*change        // since base, in order
}

func newDir() *node { return &node{dir: true, names: map[string]*node{}, now: map[string]*node{}} }

// A change is one thing that was done to a node.
type change struct {
	seq   int
	ended int  // position at which it was seen to have ended
	sure  bool // it is on the disk for good
	lost  bool // the sync that was to make it sure has failed

	off      int64 // of a write
	data     []byte
	truncate bool // to off

	names map[string]*node // of a directory; nil for a name that goes
}

// A fate says what becomes of changes that are not sure.
type fate struct {
	name   string
	keeps  func(*change) bool
	sector func(*change, int64) bool // of a write that is kept; nil: all
}

// content is what a file holds after a power cut.
func (n *node) content(f fate) []byte {
	b := slices.Clone(n.base)
	for _, c := range n.changes {
		if !c.sure && !f.keeps(c) {
			continue
		}
		b = c.apply(b, f)
	}
	return b
}

func (c *change) apply(b []byte, f fate) []byte {
	end := c.off + int64(len(c.data))
	if c.truncate || int64(len(b)) < end {
		b = resize(b, end)
	}
	if c.sure || f.sector == nil {
		copy(b[c.off:], c.data)
		return b
	}
	for at := c.off; at < end; {
		next := min(end, (at/sector+1)*sector)
		if f.sector(c, at/sector) {
			copy(b[at:next], c.data[at-c.off:])
		}
		at = next
	}
	return b
}

// sector is what a disk writes as a whole.
const sector = 512

func resize(b []byte, n int64) []byte {
	if int64(len(b)) >= n {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

// entries are a directory's names after a power cut.
func (n *node) entries(f fate) map[string]*node {
	names := maps.Clone(n.names)
	for _, c := range n.changes {
		if c.sure || f.keeps(c) {
			c.applyNames(names)
		}
	}
	return names
}

func (c *change) applyNames(names map[string]*node) {
	for name, child := range c.names {
		if child == nil {
			delete(names, name)
		} else {
			names[name] = child
		}
	}
}

// covered are the changes that a sync which begins now makes sure.
func (n *node) covered(now int) []*change {
	var all []*change
	for _, c := range n.changes {
		if !c.sure && !c.lost && c.ended < now {
			all = append(all, c)
		}
	}
	return all
}

// settle folds changes that are sure, and have none before them that are not,
// into the base.
func (n *node) settle() {
	for len(n.changes) > 0 && n.changes[0].sure {
		c := n.changes[0]
		if n.dir {
			c.applyNames(n.names)
		} else {
			n.base = c.apply(n.base, fate{})
		}
		n.changes = n.changes[1:]
	}
}
