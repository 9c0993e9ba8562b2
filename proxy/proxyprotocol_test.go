package proxy

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"github.com/pgscope/pgscope-proxy/policy"
)

// proxyHeader is a header of version 2.
func proxyHeader(t testing.TB, command proxyproto.ProtocolVersionAndCommand, source, destination net.Addr) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2, source, destination)
	h.Command = command
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProxyProtocol(t *testing.T) {
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	from4, to4 := tcp("192.0.2.7:1234"), tcp("192.0.2.1:6432")
	from6, to6 := tcp("[2001:db8::7]:1234"), tcp("[2001:db8::1]:6432")
	const here = "127.0.0.1"
	for _, test := range []struct{ name, sent, want string }{
		{"version 1", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 6432\r\n", "192.0.2.7:1234"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 1234 6432\r\n", "[2001:db8::7]:1234"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", here},
		{"version 2", proxyHeader(t, proxyproto.PROXY, from4, to4), "192.0.2.7:1234"},
		{"version 2, IPv6", proxyHeader(t, proxyproto.PROXY, from6, to6), "[2001:db8::7]:1234"},
		{"version 2, health check", proxyHeader(t, proxyproto.LOCAL, from4, to4), here},
		{"version 2, Unix", proxyHeader(t, proxyproto.PROXY, &net.UnixAddr{Net: "unix", Name: "/a"}, &net.UnixAddr{Net: "unix", Name: "/b"}), "no IP address"},
		{"none", "\x00\x00\x00\x08\x04\xd2\x16\x2f", "does not begin with a header"},
		{"TLS", "\x16\x03\x01", "does not begin with a header"},
		{"version 1, no end", "PROXY TCP4 " + strings.Repeat("1", 200), "line without end"},
		{"version 1, no address", "PROXY TCP4 here there 1 2\r\n", "PROXY protocol"},
		{"version 2, cut", string(proxyproto.SIGV2[:8]), "EOF"},
		{"version 2, another signature", "\r\n\r\n\x00\r\nQUIX\n\x21\x11\x00\x0c", "no header"},
		{"version 2, too long", string(proxyproto.SIGV2) + "\x21\x11\xff\xff", "too long"},
		{"version 2, shorter than its address", string(proxyproto.SIGV2) + "\x21\x11\x00\x01a", "PROXY protocol"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := connPair(t, "tcp")
			if _, err := io.WriteString(client, test.sent+"and more"); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(test.want, "EOF") {
				if _, err := server.Read(make([]byte, len("and more"))); err != nil { // so that the header ends early
					t.Fatal(err)
				}
				half := client.(*net.TCPConn) //nolint:errcheck // it was dialled so
				if err := half.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			at, err := new(Proxies).client(server)
			if err != nil {
				if !strings.Contains(err.Error(), test.want) && test.want != "EOF" {
					t.Error(err)
				}
				return
			}
			if !strings.HasPrefix(at.String(), test.want) {
				t.Errorf("the client is at %v, want %s", at, test.want)
			}
			rest := make([]byte, len("and more"))
			if _, err := io.ReadFull(server, rest); err != nil || string(rest) != "and more" {
				t.Errorf("what follows is %q, %v", rest, err)
			}
		})
	}
	t.Run("from elsewhere", func(t *testing.T) {
		_, server := connPair(t, "tcp")
		p := Proxies{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
		if _, err := p.client(server); err == nil || !strings.Contains(err.Error(), "none of a load balancer's") {
			t.Error(err)
		}
	})
	t.Run("Unix socket", func(t *testing.T) {
		_, server := connPair(t, "unix")
		if at, err := new(Proxies).client(server); err != nil || at.IsValid() {
			t.Errorf("%v, %v", at, err)
		}
	})
}

// cameFrom is a connection from somewhere.
type cameFrom struct {
	net.Conn
	address net.Addr
}

func (c cameFrom) RemoteAddr() net.Addr { return c.address }

// TestClientsOfNetworks: a network has all clients whose addresses are in it, however the system writes them.
func TestClientsOfNetworks(t *testing.T) {
	tcp := func(ip, zone string) net.Addr {
		return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4711, Zone: zone}
	}
	for _, test := range []struct {
		network string
		client  net.Addr
		in      bool
	}{
		{"::/0", tcp("2001:db8::1", ""), true},
		{"::/0", tcp("fe80::1", "eth0"), true},
		{"fe80::/10", tcp("fe80::1", "eth0"), true},
		{"fe80::2/128", tcp("fe80::1", "eth0"), false},
		{"192.0.2.0/24", tcp("::ffff:192.0.2.1", ""), true},
		{"192.0.2.0/24", tcp("192.0.2.1", ""), true},
		{"::/0", tcp("::ffff:192.0.2.1", ""), false},
	} {
		networks := []netip.Prefix{netip.MustParsePrefix(test.network)}
		conn := cameFrom{address: test.client}
		rules := authRules{fallback: AuthTrust, rules: []AuthRule{{Clients: AddressSet{Networks: networks}, Method: AuthReject}}}
		if got := rules.of(&visitor{client: addressOf(conn)}).Method == AuthReject; got != test.in {
			t.Errorf("%s has %v, to a rule: %v", test.network, test.client, got)
		}
		p, err := policy.Parse("p.yaml", []byte(`rules: [{statement: connect, client: "`+test.network+`", action: deny}, {action: allow}]`))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Decide(policy.Session{Client: addressOf(conn).Addr()}, connecting).Err != nil; got != test.in {
			t.Errorf("%s has %v, to the policy: %v", test.network, test.client, got)
		}
		_, err = (&Proxies{Networks: networks}).client(cameFrom{closed(t), test.client})
		if got := !strings.Contains(err.Error(), "none of a load balancer's"); got != test.in {
			t.Errorf("%s has the load balancer %v: %v", test.network, test.client, got)
		}
	}
}

// closed is a connection whose other end says nothing any more.
func closed(t *testing.T) net.Conn {
	t.Helper()
	client, server := connPair(t, "tcp")
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	return server
}

// FuzzProxyHeader looks for headers that the reader stumbles over, or reads more of than it should.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 1234 6432\r\n"))
	f.Add([]byte(string(proxyproto.SIGV2) + "\x21\x11\x00\x0c0123456789ab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		if h, err := readProxyHeader(r); err == nil && !h.Command.IsLocal() && h.SourceAddr == nil {
			t.Errorf("%q has no address", b)
		}
		if read := len(b) - r.Len(); read > 16+maxProxyV2 {
			t.Errorf("read %d bytes", read)
		}
	})
}
