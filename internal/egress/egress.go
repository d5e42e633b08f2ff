// Package egress is the HTTP client for addresses that callers name: it speaks
// to the world outside, and never to what stands behind the server's back.
//
// An address is judged when the connection is made, after its name was
// resolved, so that a name cannot mean one machine when it is checked and
// another when it is used. Loopback, link-local (where clouds keep their
// metadata and the credentials in it), private, multicast and reserved
// addresses are refused, and IPv6 addresses that stand for IPv4 ones are judged
// as those. The operator may allow networks and hosts. No proxy is used, since
// it would be the proxy's address that is judged, and no redirect is followed.
package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/deferd/deferd"
)

// Options say what is allowed beyond the public addresses of the Internet.
type Options struct {
	// Allow are networks in CIDR notation, addresses, and host names. A host
	// that is allowed may have any address.
	Allow []string

	// Loopback allows the addresses of this machine's loopback.
	Loopback bool

	// Timeout bounds a request and its answer together. Too short, and slow
	// receivers get everything again and again. Default 15s, as SNS's.
	Timeout time.Duration
}

const (
	defaultTimeout = 15 * time.Second
	dialTimeout    = 5 * time.Second

	// maxAnswer is how much of an answer is read. Nobody looks at more than
	// its status.
	maxAnswer  = 64 << 10
	maxHeaders = 16 << 10

	// maxIdle is how many connections to one host are kept for what comes next.
	maxIdle = 8
)

// A Client speaks to the world outside.
type Client struct{ http *http.Client }

// New returns a client.
func New(o Options) (*Client, error) {
	g := guard{loopback: o.Loopback, hosts: map[string]bool{}}
	for _, a := range o.Allow {
		if err := g.allow(a); err != nil {
			return nil, err
		}
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	transport := &http.Transport{
		DialContext:            g.dial,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true, // a small answer cannot become a large one
	}
	return &Client{&http.Client{
		Transport:     bounded{transport},
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Post sends a body and returns the status of the answer. Denied: the address
// may not be spoken to. Invalid: the URL is none. Unavailable: there was no
// answer. What an error says does not name the URL, which may hold a secret.
func (c *Client) Post(ctx context.Context, target string, h http.Header, body []byte) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, deferd.Errorf(deferd.Invalid, "it is not a URL that can be posted to")
	}
	maps.Copy(r.Header, h)
	resp, err := c.http.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if deferd.CodeOf(err) == deferd.Denied {
			return 0, err
		}
		return 0, &deferd.Error{Code: deferd.Unavailable, Msg: "there is no answer", Err: err}
	}
	defer resp.Body.Close()
	// What has been read to its end leaves a connection for the next request;
	// the status has come whether or not the rest does.
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, nil
}

// A guard judges addresses.
type guard struct {
	loopback bool
	networks []netip.Prefix
	hosts    map[string]bool // in lower case
}

// allow adds what an operator allows.
func (g *guard) allow(text string) error {
	text = strings.ToLower(strings.TrimSpace(text))
	if n, err := netip.ParsePrefix(text); err == nil {
		g.networks = append(g.networks, n.Masked())
		return nil
	}
	if a, err := netip.ParseAddr(text); err == nil {
		g.networks = append(g.networks, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		return nil
	}
	if text == "" || strings.ContainsAny(text, "/:*@ ") {
		return fmt.Errorf("%q is neither a network such as 10.0.0.0/8 nor a host name", text)
	}
	g.hosts[strings.TrimSuffix(text, ".")] = true
	return nil
}

// dial connects to a host and port. Addresses of a host that is allowed by its
// name are not judged.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, Control: g.control}
	if host, _, err := net.SplitHostPort(address); err == nil && g.hosts[strings.TrimSuffix(strings.ToLower(host), ".")] {
		d.Control = nil
	}
	return d.DialContext(ctx, network, address)
}

// control sees the address that is about to be connected to.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("judge the address %s: %w", address, err)
	}
	if g.allows(a.Addr()) {
		return nil
	}
	return deferd.Errorf(deferd.Denied, "%s is not a public address, and is not allowed", a.Addr())
}

func (g *guard) allows(a netip.Addr) bool {
	a = embedded(a.WithZone(""))
	for _, n := range g.networks {
		if n.Contains(a) {
			return true
		}
	}
	return public(a) || g.loopback && a.IsLoopback()
}

// Networks in which an IPv6 address stands for an IPv4 one, by where in it
// that is.
var translations = []struct {
	network netip.Prefix
	at      int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible
}

// embedded is the IPv4 address that an IPv6 address stands for, or the address.
func embedded(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is4() || a.IsUnspecified() || a.IsLoopback() {
		return a
	}
	for _, t := range translations {
		if t.network.Contains(a) {
			b := a.As16()
			return netip.AddrFrom4([4]byte(b[t.at:]))
		}
	}
	return a
}

// reserved are networks that are nobody's on the Internet, beside those that
// netip knows of.
var reserved = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// public reports whether an address is one of the Internet's.
func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, n := range reserved {
		if n.Contains(a) {
			return false
		}
	}
	return true
}

// bounded reads no more than maxAnswer bytes of an answer: what is longer ends
// in an error.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, maxAnswer}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 { // there must be nothing more
		n, err := b.ReadCloser.Read(make([]byte, 1))
		if n > 0 {
			err = deferd.Errorf(deferd.TooLarge, "the answer has more than %d bytes", maxAnswer)
		}
		return 0, err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
