package proxy

import (
	"net/netip"
	"testing"

	"github.com/pgscope/pgscope-proxy/scope"
)

func TestTally(t *testing.T) {
	limits := Limits{Connections: 4, PerAddress: 3, PerUser: 2, PerDatabase: 2}
	tally := newTally()
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	type counted struct {
		place
		address  netip.Addr
		database string
	}
	places := make(map[string]*counted)
	leave := func(c *counted) { tally.leave(&c.place, c.address, c.database) }
	for _, step := range []struct {
		session  string // leaves, where there is no more to it
		address  netip.Addr
		user     scope.Cluster
		database string
		want     string // the limit
	}{
		{"1", here, "orders_app", "orders", ""},
		{"2", here, "orders_app", "orders", ""},
		{"3", here, "orders_app", "billing", limitUser},
		{"4", here, "", "", limitAddress}, // 3 logs in still
		{"3", netip.Addr{}, "", "", ""},
		{"4", here, "boss", "orders", limitDatabase},
		{"4", netip.Addr{}, "", "", ""},
		{"5", there, "boss", "billing", ""},
		{"6", netip.Addr{}, "boss", "billing", ""}, // on a Unix socket
		{"7", there, "", "", limitAll},
		{"1", netip.Addr{}, "", "", ""},
		{"7", there, "orders_app", "orders", ""},
	} {
		if p := places[step.session]; p != nil {
			leave(p)
			delete(places, step.session)
			continue
		}
		p := &counted{address: step.address, database: step.database}
		places[step.session] = p
		c := tally.enter(&p.place, step.address, limits)
		if c == nil && step.user != "" {
			c = tally.settle(&p.place, step.user, "app", step.database, limits)
		}
		if c == nil {
			c = &crowded{}
		} else if c.limit == limitAddress || c.limit == limitAll {
			delete(places, step.session)
		}
		if c.limit != step.want {
			t.Errorf("session %s: %q, not %q", step.session, c.limit, step.want)
		}
	}
	for _, p := range places {
		leave(p)
		leave(p) // once is enough
	}
	if tally.all+len(tally.addresses)+len(tally.users)+len(tally.databases) > 0 {
		t.Errorf("remembers %+v", tally)
	}
}

// TestTallyOfNetworks: who has one address of an IPv6 network has them all, and one place.
func TestTallyOfNetworks(t *testing.T) {
	tally := newTally()
	first := netip.MustParseAddr("2001:db8::1")
	var p place
	tally.enter(&p, first, Limits{PerAddress: 1})
	for address, want := range map[string]string{
		"2001:db8::1": "too many connections from network 2001:db8::/64", "2001:db8::ffff:0:0:2": "too many connections from network 2001:db8::/64",
		"2001:db8:0:1::1": "", "192.0.2.1": "",
	} {
		got := tally.enter(new(place), netip.MustParseAddr(address), Limits{PerAddress: 1})
		if got == nil {
			got = new(crowded)
		}
		if got.message != want {
			t.Errorf("%s: %q", address, got.message)
		}
	}
	if tally.leave(&p, first, ""); tally.enter(&p, first, Limits{PerAddress: 1}) != nil {
		t.Error("the place stays taken")
	}
}
