package powerloss

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A Disk is what a program has done to a directory up to some position of its
// recording.
type Disk struct {
	recording *Recording
	next      int // index of the next step
	position  int

	root    *node
	nodes   []*node
	seq     int
	opened  map[string]*node  // by descriptor
	offsets map[string]*int64 // of what was opened and is written without an offset
	syncing map[*call][]*change
	writing map[*call]*change
}

func newDisk(r *Recording) *Disk {
	d := &Disk{
		recording: r, opened: map[string]*node{}, offsets: map[string]*int64{},
		syncing: map[*call][]*change{}, writing: map[*call]*change{},
	}
	d.root = d.copyOf(r.base)
	return d
}

// copyOf adds a copy of a node that nothing has been done to.
func (d *Disk) copyOf(n *node) *node {
	c := &node{dir: n.dir, base: slices.Clone(n.base), size: n.size}
	d.nodes = append(d.nodes, c)
	if n.dir {
		c.names, c.now = map[string]*node{}, map[string]*node{}
		for name, child := range n.names {
			c.names[name] = d.copyOf(child)
			c.now[name] = c.names[name]
		}
	}
	return c
}

// A step is the beginning or the end of a call.
type step struct {
	position int
	end      bool
	call     *call
}

func stepsOf(calls []*call) []step {
	var steps []step
	for _, c := range calls {
		steps = append(steps, step{c.start, false, c})
		if c.end != never {
			steps = append(steps, step{c.end, true, c})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.position, b.position) })
	return steps
}

// Advance goes on until just before the position.
func (d *Disk) Advance(position int) error {
	steps := d.recording.steps
	for d.next < len(steps) && steps[d.next].position < position {
		s := steps[d.next]
		d.next++
		var err error
		if s.end {
			err = d.end(s.call)
		} else {
			err = d.begin(s.call)
		}
		if err != nil {
			return fmt.Errorf("line %d of the recording: %s: %w", s.position+1, s.call.name, err)
		}
	}
	d.position = position
	return nil
}

// begin accounts for what may happen from the beginning of a call on.
func (d *Disk) begin(c *call) error {
	switch c.name {
	case "write", "pwrite64", "writev", "pwritev", "pwritev2":
		return d.beginWrite(c)
	case "ftruncate":
		n := d.node(c.arg(0))
		if n == nil || c.failed() {
			return nil
		}
		size, err := c.int(1)
		if err != nil {
			return err
		}
		n.size = size
		d.writing[c] = d.change(n, change{off: size, truncate: true})
	case "fsync", "fdatasync":
		if n := d.node(c.arg(0)); n != nil {
			d.syncing[c] = n.covered(c.start)
		}
	}
	return nil
}

func (d *Disk) change(n *node, c change) *change {
	c.seq, c.ended = d.seq, never
	d.seq++
	n.changes = append(n.changes, &c)
	return &c
}

func (d *Disk) beginWrite(c *call) error {
	n := d.node(c.arg(0))
	if n == nil || c.failed() {
		return nil
	}
	data, err := c.written()
	if err != nil {
		return err
	}
	if short := c.number(); short >= 0 {
		data = data[:min(short, int64(len(data)))]
	}
	off, err := d.offset(n, c)
	if err != nil {
		return err
	}
	n.size = max(n.size, off+int64(len(data)))
	d.writing[c] = d.change(n, change{off: off, data: data})
	if p := d.offsets[parseDescriptor(c.arg(0)).number]; p != nil && !strings.HasPrefix(c.name, "p") {
		*p = off + int64(len(data))
	}
	return nil
}

// offset is where a write goes.
func (d *Disk) offset(n *node, c *call) (int64, error) {
	switch c.name {
	case "pwrite64", "pwritev", "pwritev2":
		return c.int(3)
	}
	fd := parseDescriptor(c.arg(0)).number
	if p := d.offsets[fd]; p != nil && d.opened[fd] == n {
		return *p, nil
	}
	return n.size, nil // opened for appending, or inherited
}

// end accounts for what a call has done once it is over.
func (d *Disk) end(c *call) error {
	if w := d.writing[c]; w != nil {
		w.ended = c.end
		delete(d.writing, c)
		return nil
	}
	if covered, ok := d.syncing[c]; ok {
		delete(d.syncing, c)
		for _, w := range covered {
			w.sure, w.lost = !c.failed(), c.failed() && w.names == nil
		}
		if n := d.node(c.arg(0)); n != nil {
			n.settle()
		}
		return nil
	}
	if c.failed() {
		return nil
	}
	switch c.name {
	case "open", "creat", "openat", "openat2":
		return d.open(c)
	case "mkdir", "mkdirat":
		return d.mkdir(c)
	case "unlink", "unlinkat", "rmdir":
		return d.unlink(c)
	case "rename", "renameat", "renameat2":
		return d.rename(c)
	case "link", "linkat":
		return d.link(c)
	}
	return d.refuse(c)
}

// errUnknown is for calls that would make the account wrong.
var errUnknown = errors.New("a call that recordings do not account for")

// refuse fails for calls that change the disk in a way that is not known here.
func (d *Disk) refuse(c *call) error {
	touches := func(i int) bool { return d.node(c.arg(i)) != nil }
	paths := func(at ...int) bool {
		return slices.ContainsFunc(at, func(i int) bool { _, ok := d.path(c, i); return ok })
	}
	switch c.name {
	case "mmap":
		shared := strings.Contains(c.arg(3), "MAP_SHARED") && strings.Contains(c.arg(2), "PROT_WRITE")
		if shared && touches(4) && !strings.HasSuffix(parseDescriptor(c.arg(4)).path, "-shm") {
			return errUnknown
		}
	case "fallocate", "splice", "sync_file_range":
		if touches(0) || touches(2) {
			return errUnknown
		}
	case "sendfile", "copy_file_range":
		if touches(0) && c.name == "sendfile" || touches(2) && c.name == "copy_file_range" {
			return errUnknown
		}
	case "truncate", "symlink", "symlinkat":
		if paths(0, 1, 2, 3) {
			return errUnknown
		}
	case "io_uring_setup", "sync", "syncfs":
		return errUnknown
	}
	return nil
}

func (d *Disk) open(c *call) error {
	at := 0
	if strings.HasPrefix(c.name, "openat") {
		at = 1
	}
	path, ok := d.path(c, at)
	if !ok {
		return nil
	}
	parent, name := d.parent(path)
	if parent == nil {
		return nil // not one that the recorded program can have made
	}
	n := parent.now[name]
	if n == nil && strings.Contains(c.arg(at+1), "O_CREAT") {
		n = &node{}
		d.nodes = append(d.nodes, n)
		d.name(parent, c, map[string]*node{name: n})
	}
	if n == nil {
		return fmt.Errorf("%s was there before the recording", path)
	}
	fd := parseDescriptor(c.result).number
	d.opened[fd], d.offsets[fd] = n, new(int64)
	if n.dir {
		return nil
	}
	if strings.Contains(c.arg(at+1), "O_APPEND") {
		delete(d.offsets, fd)
	}
	if strings.Contains(c.arg(at+1), "O_TRUNC") && n.size > 0 {
		n.size = 0
		d.change(n, change{truncate: true}).ended = c.end
	}
	return nil
}

// name changes names of a directory.
func (d *Disk) name(dir *node, c *call, names map[string]*node) {
	w := d.change(dir, change{names: names})
	w.ended = c.end
	w.applyNames(dir.now)
}

func (d *Disk) mkdir(c *call) error {
	at := 0
	if c.name == "mkdirat" {
		at = 1
	}
	path, ok := d.path(c, at)
	if !ok {
		return nil
	}
	parent, name := d.parent(path)
	if parent == nil {
		return fmt.Errorf("%s has no directory", path)
	}
	n := newDir()
	d.nodes = append(d.nodes, n)
	d.name(parent, c, map[string]*node{name: n})
	return nil
}

func (d *Disk) unlink(c *call) error {
	at := 0
	if c.name == "unlinkat" {
		at = 1
	}
	path, ok := d.path(c, at)
	if !ok {
		return nil
	}
	parent, name := d.parent(path)
	if parent == nil || parent.now[name] == nil {
		return fmt.Errorf("%s was there before the recording", path)
	}
	d.name(parent, c, map[string]*node{name: nil})
	return nil
}

func (d *Disk) rename(c *call) error {
	from, to := 0, 1
	if c.name != "rename" {
		from, to = 1, 3
	}
	source, ok := d.path(c, from)
	target, within := d.path(c, to)
	if !ok && !within {
		return nil
	}
	dir, old := d.parent(source)
	other, name := d.parent(target)
	if dir == nil || dir != other || dir.now[old] == nil {
		return fmt.Errorf("%s becomes %s, which is in another directory: %w", source, target, errUnknown)
	}
	d.name(dir, c, map[string]*node{name: dir.now[old], old: nil})
	return nil
}

func (d *Disk) link(c *call) error {
	from, to := 0, 1
	if c.name == "linkat" {
		from, to = 1, 3
	}
	source, ok := d.path(c, from)
	target, within := d.path(c, to)
	if !ok && !within {
		return nil
	}
	dir, old := d.parent(source)
	other, name := d.parent(target)
	if dir == nil || other == nil || dir.now[old] == nil {
		return fmt.Errorf("%s becomes %s, too: %w", source, target, errUnknown)
	}
	d.name(other, c, map[string]*node{name: dir.now[old]})
	return nil
}

// path is argument i as a path below the root, if it is that.
func (d *Disk) path(c *call, i int) (string, bool) {
	b, err := text(c.arg(i))
	if err != nil {
		return "", false
	}
	path := string(b)
	if !filepath.IsAbs(path) && i > 0 {
		path = filepath.Join(parseDescriptor(c.arg(i-1)).path, path)
	}
	return d.below(path)
}

func (d *Disk) below(path string) (string, bool) {
	rest, ok := strings.CutPrefix(filepath.Clean(path), d.recording.root)
	if !ok || rest == "" || rest[0] != '/' {
		return "", false
	}
	return rest[1:], true
}

// parent returns the directory that holds the path, and its name there.
func (d *Disk) parent(path string) (*node, string) {
	n := d.root
	parts := strings.Split(path, "/")
	for _, p := range parts[:len(parts)-1] {
		if n = n.now[p]; n == nil {
			return nil, ""
		}
	}
	return n, parts[len(parts)-1]
}

// node returns what a descriptor stands for, nil if that is not below the root.
func (d *Disk) node(arg string) *node {
	fd := parseDescriptor(arg)
	if fd.path == d.recording.root {
		return d.root
	}
	path, ok := d.below(fd.path)
	if !ok {
		return nil
	}
	if !fd.deleted {
		if parent, name := d.parent(path); parent != nil && parent.now[name] != nil {
			return parent.now[name]
		}
	}
	return d.opened[fd.number]
}
