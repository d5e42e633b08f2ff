package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// A PortRange is the ports that instances get, first and last included.
type PortRange struct{ First, Last int }

// defaultPorts lies below the ports that systems give to outgoing connections.
var defaultPorts = PortRange{20000, 29999}

// ports hands out ports of a range. A port is free to hand out if no instance
// of ours has it and nothing listens on it; between that look and the model's
// own bind another program may take it, which [listening] notices.
type ports struct {
	PortRange

	mu    sync.Mutex // guards the rest
	next  int
	taken map[int]bool
}

func newPorts(r PortRange) (*ports, error) {
	if r == (PortRange{}) {
		r = defaultPorts
	}
	if r.First < 1 || r.Last > 65535 || r.First > r.Last {
		return nil, fmt.Errorf("ports %d to %d are no range of ports", r.First, r.Last)
	}
	// Two installations on one host should not try the same ones.
	return &ports{PortRange: r, next: r.First + rand.IntN(r.Last-r.First+1), taken: map[int]bool{}}, nil
}

// take reserves a port until it is given back: the fixed one unless that is 0.
func (p *ports) take(fixed int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fixed != 0 {
		if p.taken[fixed] || !bindable(fixed) {
			return 0, fmt.Errorf("port %d, which images.yaml fixes, is in use; an image with a fixed port can have one instance at a time", fixed)
		}
		p.taken[fixed] = true
		return fixed, nil
	}
	for range p.Last - p.First + 1 {
		port := p.next
		if p.next++; p.next > p.Last {
			p.next = p.First
		}
		if !p.taken[port] && bindable(port) {
			p.taken[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port between %d and %d is free", p.First, p.Last)
}

func (p *ports) giveBack(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, port)
}

// bindable reports whether nothing listens on a port.
func bindable(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
