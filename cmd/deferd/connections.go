package main

import (
	"container/list"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sys/unix"
)

// connections bounds how many connections a listener has. Where there are too
// many, the one that has been idle for longest makes room; where none is idle,
// the newest goes. So clients that only hold connections cannot keep others
// out, nor take the files that the server itself has to open.
type connections struct {
	max int
	log *slog.Logger

	mu   sync.Mutex
	open int
	idle list.List // of net.Conn, the longest idle first
	at   map[net.Conn]*list.Element
	full bool // and that was told
}

// most is how many connections there may be at all: an idle one takes about
// 20 KB.
const most = 16 << 10

func newConnections(max int, log *slog.Logger) *connections {
	return &connections{max: max, log: log, at: map[net.Conn]*list.Element{}}
}

// maxConnections leaves half of the files that this process may open for other
// things than connections.
func maxConnections() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return most
	}
	return int(min(max(uint64(l.Cur)/2, 16), most))
}

// changed is told of every change; it is an http.Server's ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if surplus := c.note(conn, state); surplus != nil {
		surplus.Close() // which comes back as a change
	}
}

// note counts a change and returns the connection that has to go.
func (c *connections) note(conn net.Conn, state http.ConnState) (surplus net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.at[conn]; e != nil {
		c.idle.Remove(e)
		delete(c.at, conn)
	}
	switch state {
	case http.StateNew:
		c.open++
		if c.open > c.max {
			surplus = c.longestIdle(conn)
		}
		if surplus != conn {
			c.at[conn] = c.idle.PushBack(conn)
		}
	case http.StateIdle:
		c.at[conn] = c.idle.PushBack(conn)
	case http.StateClosed, http.StateHijacked:
		c.open--
		c.full = c.full && c.open > c.max/2
	}
	return surplus
}

// longestIdle returns the connection that is to make room for conn, which may
// be itself.
func (c *connections) longestIdle(conn net.Conn) net.Conn {
	if !c.full {
		c.full = true
		c.log.Warn("there are as many connections as there may be; those that are idle make room for new ones", "connections", c.max)
	}
	e := c.idle.Front()
	if e == nil {
		return conn
	}
	oldest := e.Value.(net.Conn)
	c.idle.Remove(e)
	delete(c.at, oldest)
	return oldest
}
