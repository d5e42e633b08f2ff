package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/deferd/deferd"
)

func newGuard(t *testing.T, loopback bool, allow ...string) *guard {
	t.Helper()
	g := &guard{loopback: loopback, hosts: map[string]bool{}}
	for _, a := range allow {
		if err := g.allow(a); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		address  string
		loopback bool
		allow    []string
		want     bool
	}{
		{address: "1.1.1.1", want: true},
		{address: "2606:4700:4700::1111", want: true},
		{address: "127.0.0.1"},
		{address: "127.0.0.1", loopback: true, want: true},
		{address: "127.8.8.8", loopback: true, want: true},
		{address: "::1"},
		{address: "::1", loopback: true, want: true},
		{address: "::ffff:127.0.0.1"},
		{address: "::ffff:127.0.0.1", loopback: true, want: true},
		{address: "::ffff:10.0.0.1"},
		{address: "::ffff:1.1.1.1", want: true},
		{address: "10.1.2.3"},
		{address: "10.1.2.3", loopback: true},
		{address: "10.1.2.3", allow: []string{"10.0.0.0/8"}, want: true},
		{address: "::ffff:10.1.2.3", allow: []string{"10.0.0.0/8"}, want: true},
		{address: "10.1.2.3", allow: []string{"10.1.2.3"}, want: true},
		{address: "10.1.2.4", allow: []string{"10.1.2.3"}},
		{address: "fd12::7", allow: []string{"fd00::/8"}, want: true},
		{address: "172.16.0.1"},
		{address: "172.32.0.1", want: true},
		{address: "192.168.1.1"},
		{address: "169.254.169.254"}, // metadata of most clouds
		{address: "fd00:ec2::254"},   // of AWS, over IPv6
		{address: "100.100.100.200"}, // of Alibaba
		{address: "192.0.0.192"},     // of Oracle
		{address: "fe80::1"},
		{address: "fe80::1%eth0"},
		{address: "0.0.0.0"},
		{address: "0.0.0.0", loopback: true},
		{address: "0.1.2.3"},
		{address: "::"},
		{address: "::", loopback: true},
		{address: "224.0.0.1"},
		{address: "ff02::1"},
		{address: "255.255.255.255"},
		{address: "64:ff9b::a00:1"},   // 10.0.0.1 by NAT64
		{address: "64:ff9b::7f00:1"},  // 127.0.0.1 by NAT64
		{address: "2002:7f00:1::"},    // 127.0.0.1 by 6to4
		{address: "2002:a9fe:a9fe::"}, // the metadata service by 6to4
		{address: "::a00:1"},          // 10.0.0.1, IPv4-compatible
		{address: "64:ff9b::101:101", want: true},
		{address: "2001:0:1234::1"}, // Teredo
		{address: "203.0.113.7"},
		{address: "2001:db8::1"},
		{address: "fec0::1"},
	} {
		g := newGuard(t, c.loopback, c.allow...)
		if got := g.allows(netip.MustParseAddr(c.address)); got != c.want {
			t.Errorf("%s, loopback %v, allowed %v: %v, want %v", c.address, c.loopback, c.allow, got, c.want)
		}
	}
}

func TestAllowRefuses(t *testing.T) {
	for _, text := range []string{"", "10.0.0.0/33", "https://example.org", "example.org:443", "*.example.org"} {
		if _, err := New(Options{Allow: []string{text}}); err == nil {
			t.Errorf("%q is allowed, want an error", text)
		}
	}
}

// serve starts a server on loopback and returns its URL.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// TestRefused asks for a server on loopback by every name that it has.
func TestRefused(t *testing.T) {
	asked := false
	server := serve(t, func(http.ResponseWriter, *http.Request) { asked = true })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, Options{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433"} {
		resp, err := c.http.Get("http://" + host + ":" + port)
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s answers %s, want it refused", host, resp.Status)
			continue
		}
		// What no resolver knows is no address; every address is judged.
		if _, unknown := errors.AsType[*net.DNSError](err); !unknown && deferd.CodeOf(err) != deferd.Denied {
			t.Errorf("%s: %v, want it denied", host, err)
		}
	}
	if asked {
		t.Error("a request has arrived")
	}
}

func TestAllowed(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	byName := strings.Replace(server, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		name, url string
		options   Options
	}{
		{"loopback", server, Options{Loopback: true}},
		{"network", server, Options{Allow: []string{"127.0.0.0/8"}}},
		{"host", byName, Options{Allow: []string{"LocalHost"}}},
	} {
		resp, err := client(t, c.options).http.Get(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "hello" || err != nil {
			t.Errorf("%s: answer %q (%v), want hello", c.name, body, err)
		}
	}
	// A host that is allowed allows its name only.
	if _, err := client(t, Options{Allow: []string{"localhost"}}).http.Get(server); deferd.CodeOf(err) != deferd.Denied {
		t.Errorf("its address gives %v, want it denied", err)
	}
}

// TestRedirect follows none, not even to an address that is allowed.
func TestRedirect(t *testing.T) {
	target := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect is followed") })
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, http.StatusFound) })
	resp, err := client(t, Options{Loopback: true}).http.Get(server)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("status %d, want the redirect's own", resp.StatusCode)
	}
}

func TestAnswerIsBounded(t *testing.T) {
	size := int64(maxAnswer)
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.CopyN(w, zeros{}, size) })
	c := client(t, Options{Loopback: true})
	for _, extra := range []int64{0, 1, 1 << 20} {
		size = maxAnswer + extra
		resp, err := c.http.Get(server)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if n > maxAnswer || (deferd.CodeOf(err) == deferd.TooLarge) != (extra > 0) {
			t.Errorf("of %d bytes %d were read: %v", size, n, err)
		}
	}
}

// TestNoProxy shows that the environment cannot lead around the guard.
func TestNoProxy(t *testing.T) {
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy is asked") })
	t.Setenv("HTTP_PROXY", proxy)
	c := client(t, Options{})
	transport := c.http.Transport.(bounded).next.(*http.Transport)
	if transport.Proxy != nil {
		u, _ := url.Parse("http://192.0.2.1/")
		p, err := transport.Proxy(&http.Request{URL: u})
		t.Errorf("requests go through %v (%v), want no proxy", p, err)
	}
}

func TestPost(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("X-Test") != "1" || string(body) != "text" {
			t.Errorf("%s of %q with %v", r.Method, body, r.Header)
		}
		w.WriteHeader(http.StatusTeapot)
		io.CopyN(w, zeros{}, 2*maxAnswer)
	})
	for _, c := range []struct {
		name, url string
		options   Options
		status    int
		code      deferd.Code
	}{
		{"answered", server, Options{Loopback: true}, http.StatusTeapot, 0},
		{"no answer", gone.URL, Options{Loopback: true}, 0, deferd.Unavailable},
		{"not allowed", server, Options{}, 0, deferd.Denied},
		{"no URL", "http://[", Options{}, 0, deferd.Invalid},
		{"no HTTP", "ftp://127.0.0.1/", Options{Loopback: true}, 0, deferd.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			const secret = "?token=secret"
			status, err := client(t, c.options).Post(t.Context(), c.url+secret, http.Header{"X-Test": {"1"}}, []byte("text"))
			if status != c.status || (err != nil) != (c.status == 0) || err != nil && deferd.CodeOf(err) != c.code {
				t.Fatalf("status %d, %v; want %d, code %q", status, err, c.status, c.code)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error names the URL: %v", err)
			}
		})
	}
}

// TestRebinding has a name that means a public address when it is looked up
// first and loopback after that: the connection is judged, not the name.
func TestRebinding(t *testing.T) {
	g := newGuard(t, false)
	for _, c := range []struct {
		address string
		denied  bool
	}{{"1.1.1.1:443", false}, {"127.0.0.1:443", true}, {"[::1]:443", true}} {
		err := g.control("tcp", c.address, nil)
		if denied := err != nil && deferd.CodeOf(err) == deferd.Denied; denied != c.denied {
			t.Errorf("a connection to %s: %v, want denied %v", c.address, err, c.denied)
		}
	}
	if _, err := g.dial(context.Background(), "tcp", "localhost:1"); deferd.CodeOf(err) != deferd.Denied {
		t.Errorf("localhost: %v, want it denied", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
