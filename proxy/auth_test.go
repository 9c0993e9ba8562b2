package proxy

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// at is a client that has said what it wants.
func at(conn net.Conn, address, database, user string, more ...wire.Parameter) *visitor {
	v := &visitor{conn: conn, startup: wire.Startup{Parameters: append([]wire.Parameter{
		{Name: "user", Value: user}, {Name: "database", Value: database},
	}, more...)}}
	if e := v.readReplication(); e != nil {
		panic(e) // the test says something else
	}
	if address != "" {
		v.client = netip.MustParseAddrPort(address)
	}
	return v
}

func TestAuthRules(t *testing.T) {
	_, tcp := connPair(t, "tcp")
	_, local := connPair(t, "unix")
	net10 := AddressSet{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	rules := authRules{fallback: AuthReject, rules: []AuthRule{
		{Users: []string{"everywhere"}, Method: AuthTrust},
		{Users: []string{"cert"}, Method: AuthCert},
		{Users: []string{"peer"}, Method: AuthPeer},
		{Databases: []string{"a", "b"}, Users: []string{"u", "v"}, Clients: net10, Method: AuthVerify},
		{Databases: []string{"a"}, Clients: AddressSet{Local: true}, Method: AuthPassthrough},
	}}
	withTLS := at(tcp, "10.0.0.1:1", "a", "cert")
	withTLS.tls = &tls.ConnectionState{}
	for _, test := range []struct {
		name string
		v    *visitor
		want AuthMethod
	}{
		{"by its user", at(tcp, "192.0.2.1:1", "x", "everywhere"), AuthTrust},
		{"cert with TLS", withTLS, AuthCert},
		{"cert without TLS", at(tcp, "10.0.0.1:1", "a", "cert"), AuthReject},
		{"peer on a socket", at(local, "", "x", "peer"), AuthPeer},
		{"peer elsewhere", at(tcp, "127.0.0.1:1", "x", "peer"), AuthReject},
		{"all that the rule names", at(tcp, "10.1.2.3:1", "b", "v"), AuthVerify},
		{"another user", at(tcp, "10.1.2.3:1", "b", "w"), AuthReject},
		{"another database", at(tcp, "10.1.2.3:1", "c", "v"), AuthReject},
		{"another address", at(tcp, "11.1.2.3:1", "b", "v"), AuthReject},
		{"a socket where addresses are named", at(local, "", "b", "v"), AuthReject},
		{"a socket", at(local, "", "a", "v"), AuthPassthrough},
		{"an address where sockets are named", at(tcp, "127.0.0.1:1", "a", "v"), AuthReject},
		{"physical replication", at(local, "", "a", "v", wire.Parameter{Name: "replication", Value: "true"}), AuthReject},
		{"physical replication, though a database is named", at(local, "", "a", "v", wire.Parameter{Name: "replication", Value: "t"}), AuthReject},
		{"no replication", at(local, "", "a", "v", wire.Parameter{Name: "replication", Value: "f"}), AuthPassthrough},
		{"logical replication", at(local, "", "a", "v", wire.Parameter{Name: "replication", Value: "database"}), AuthPassthrough},
	} {
		if got := rules.of(test.v).Method; got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
	}
}

func TestFailures(t *testing.T) {
	f, err := newFailures()
	if err != nil {
		t.Fatal(err)
	}
	f.limit(6)
	now := time.Unix(1000, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 6 {
		if w := f.wait(a, now); w != 0 {
			t.Errorf("wait %v", w)
		}
		f.note(a, now)
	}
	for _, step := range []struct {
		client netip.Addr
		after  time.Duration
		want   time.Duration
	}{
		{a, 0, 10 * time.Second},
		{b, 0, 0},
		{netip.Addr{}, 0, 0},
		{a, 4 * time.Second, 6 * time.Second},
		{a, 10 * time.Second, 0},
		{a, time.Hour, 0},
	} {
		if got := f.wait(step.client, now.Add(step.after)); got != step.want {
			t.Errorf("%v after %v: %v, want %v", step.client, step.after, got, step.want)
		}
	}
	for range 7 {
		f.note(netip.MustParseAddr("2001:db8::1"), now)
	}
	if f.wait(netip.MustParseAddr("2001:db8::2"), now) == 0 || f.wait(netip.MustParseAddr("2001:db8:0:1::1"), now) != 0 {
		t.Error("an IPv6 network is one address")
	}
	f.limit(0)
	f.note(a, now)
	if f.wait(a, now) != 0 {
		t.Error("no bound makes wait")
	}
}

func TestWithHost(t *testing.T) {
	long := strings.Repeat("é", 31) // 62 bytes
	for _, test := range []struct{ client, application, want string }{
		{"192.0.2.1:5", "psql", "psql - 192.0.2.1:5"},
		{"192.0.2.1:5", "", "192.0.2.1:5"},
		{"", "psql", "psql - unix"},
		{"[2001:db8::1]:65535", long, strings.Repeat("é", 20) + " - [2001:db8::1]:65535"},
	} {
		p := withHost(at(nil, test.client, "d", "u", wire.Parameter{Name: "application_name", Value: test.application}))
		if p.Value != test.want || len(p.Value) > 63 {
			t.Errorf("application_name %q of %q from %v, want %q", p.Value, test.application, test.client, test.want)
		}
	}
}
