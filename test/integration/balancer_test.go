package integration

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestBehindBalancer connects as a load balancer does, for a client elsewhere: that one's address is what counts.
func TestBehindBalancer(t *testing.T) {
	c := loginCluster(t)
	rules, err := policy.Parse("rules.yaml", []byte(`rules: [{client: 192.0.2.0/24, action: deny},
		{client: 198.51.100.8/31, application: shop, action: deny}, {action: allow}]`))
	if err != nil {
		t.Fatal(err)
	}
	network := netip.MustParsePrefix
	via := start(t, c, quiet, func(o *proxy.Options) {
		o.Proxies = &proxy.Proxies{Networks: []netip.Prefix{network("127.0.0.0/8")}}
		o.AddHost, o.Policy = true, rules
	}, authBy(proxy.AuthReject, proxy.AuthRule{
		Clients: proxy.AddressSet{Networks: []netip.Prefix{network("192.0.2.0/24"), network("198.51.100.0/24")}},
		Method:  proxy.AuthPassthrough,
	}))
	for _, test := range []struct{ client, name, application, began, made string }{
		{"192.0.2.7", "application_name", "shop", "ready I", "ERROR 42501"},
		{"198.51.100.7", "application_name", "shop", "ready I", "done CREATE ROLE"},
		{"198.51.100.8", "Application_Name", "shop", "ready I", "ERROR 42501"},
		{"198.51.100.9", "options", "-c geqo=off --application-name=shop", "ready I", "ERROR 42501"},
		{"203.0.113.7", "application_name", "shop", "FATAL 28000", ""},
	} {
		d := via.dial(t)
		d.write(fmt.Appendf(nil, "PROXY TCP4 %s 198.51.100.1 4711 5432\r\n", test.client))
		d.say(startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "postgres", test.name, test.application))
		if test.made == "" {
			d.toTheEnd()
		} else {
			d.ready(1)
		}
		if got := d.take(); !strings.HasPrefix(got[len(got)-1], test.began) {
			t.Errorf("%s: heard %q", test.client, got)
			continue
		}
		if test.made == "" {
			continue
		}
		if got := d.query("SHOW application_name"); got[1] != fmt.Sprintf(`row "shop - %s:4711"`, test.client) {
			t.Errorf("%s: %q", test.client, got)
		}
		if got := d.query("CREATE ROLE made"); !strings.HasPrefix(got[0], test.made) {
			t.Errorf("%s: %q", test.client, got)
		}
	}
	d := via.dial(t) // without a header: TestUnanswered
	d.say(startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "postgres"))
	d.toTheEnd()
	d.wants()
}

// TestUnanswered: the log tells of connections that are closed without an answer, but not of
// those that are only opened and closed.
func TestUnanswered(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{TLS: true})
	behind := func(network string) func(*proxy.Options) {
		return func(o *proxy.Options) {
			o.Proxies = &proxy.Proxies{Networks: []netip.Prefix{netip.MustParsePrefix(network)}}
		}
	}
	packet := encode(t, startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "postgres"))
	for _, test := range []struct {
		name   string
		option func(*proxy.Options)
		says   string
		want   []string
	}{
		{"from elsewhere", behind("192.0.2.0/24"), "PROXY TCP4 192.0.2.7 198.51.100.1 4711 5432\r\n", []string{"client: connection from an address that is none of a load balancer's"}},
		{"without a header", behind("127.0.0.0/8"), string(packet), []string{"client: PROXY protocol: the connection does not begin with a header"}},
		{"HTTP", quiet, "GET / HTTP/1.1\r\n\r\n", []string{"client: invalid length of startup packet"}},
		{"TLS that is none", withTLS(t, c), "\x16\x03\x01\x00\x05hello", []string{"client: could not accept SSL connection"}},
		{"nothing", behind("127.0.0.0/8"), "", nil},
		{"half a header", behind("127.0.0.0/8"), "PROXY TCP4", nil},
		{"half a packet", quiet, string(packet[:9]), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, records := observer.New(zap.InfoLevel)
			via, stop := run(t, c, test.option, func(o *proxy.Options) { o.Log = zap.New(log) })
			address, err := net.ResolveTCPAddr("tcp", via.address())
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.DialTCP("tcp", nil, address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte(test.says)); err != nil {
				t.Fatal(err)
			}
			_ = conn.CloseWrite()            // it fails where the proxy has closed already
			_, _ = io.Copy(io.Discard, conn) // until the proxy has closed, or reset it
			_ = conn.Close()
			stop()
			var got []string
			for _, r := range records.FilterMessage("login failed").All() {
				reason, _, _ := strings.Cut(fmt.Sprint(r.ContextMap()["error"]), ": tls:") // what follows is crypto/tls's
				got = append(got, reason)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("log (-want +got)\n%s", diff)
			}
		})
	}
}
