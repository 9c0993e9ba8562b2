package integration

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
)

// TestBehindBalancer connects as a load balancer does, for a client elsewhere: that one's address is what counts.
func TestBehindBalancer(t *testing.T) {
	c := loginCluster(t)
	rules, err := policy.Parse("rules.yaml", []byte("rules: [{client: 192.0.2.0/24, action: deny}, {action: allow}]"))
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
	for _, test := range []struct{ client, began, made string }{
		{"192.0.2.7", "ready I", "ERROR 42501"},
		{"198.51.100.7", "ready I", "done CREATE ROLE"},
		{"203.0.113.7", "FATAL 28000", ""},
	} {
		d := via.dial(t)
		d.write(fmt.Appendf(nil, "PROXY TCP4 %s 198.51.100.1 4711 5432\r\n", test.client))
		d.say(startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "postgres", "application_name", "shop"))
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
	d := via.dial(t) // without a header
	d.say(startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "postgres"))
	d.toTheEnd()
	d.wants()
}
