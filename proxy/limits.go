package proxy

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Limits are how many sessions there may be at a time, of clients that log in too; 0 for any number.
type Limits struct {
	Connections int // in all
	PerAddress  int // of a client, or of its IPv6 network: see origin; those on Unix sockets have none
	PerUser     int // one role of the cluster, once it is logged in
	PerDatabase int // likewise
}

// What limits are called: their settings, without max- in front.
const (
	limitAll      = "connections"
	limitAddress  = "connections-per-address"
	limitUser     = "connections-per-user"
	limitDatabase = "connections-per-database"
)

// strangers is how many connections there may be beyond the limit: those of clients that have not said yet what they
// want, which may be to cancel a query, and those that are about to be told that there are too many.
const strangers = 100

// overrun reports whether a new connection cannot even be told that there are too many.
func (l Limits) overrun(connections int) bool {
	return l.Connections > 0 && connections > l.Connections+strangers
}

// tally counts sessions.
type tally struct {
	mu        sync.Mutex
	all       int
	addresses map[netip.Prefix]int
	users     map[scope.Cluster]int
	databases map[string]int
}

func newTally() *tally {
	return &tally{addresses: make(map[netip.Prefix]int), users: make(map[scope.Cluster]int), databases: make(map[string]int)}
}

// place is what a session is counted as. The zero value is that of one that is not counted.
type place struct {
	user  scope.Cluster // empty until the session is logged in
	taken bool
}

// enter counts a session that wants to log in, or says by which limit it cannot. The address is not valid on a Unix socket.
func (t *tally) enter(p *place, address netip.Addr, l Limits) *crowded {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case full(t.all, l.Connections):
		// ProcessStartupPacket and InitProcess (src/backend) say no more either.
		return &crowded{limitAll, l.Connections, "sorry, too many clients already"}
	case address.IsValid() && full(t.addresses[origin(address)], l.PerAddress):
		return &crowded{limitAddress, l.PerAddress, "too many connections from " + named(origin(address))}
	}
	*p = place{taken: true}
	t.all++
	if address.IsValid() {
		t.addresses[origin(address)]++
	}
	return nil
}

// settle counts a session that is logged in for its role and its database. As on the server, a login that fails
// takes no place. The words are those of CheckMyDatabase and InitializeSessionUserId (src/backend/utils/init). A
// session in no database counts for none.
func (t *tally) settle(p *place, user scope.Cluster, name scope.Short, database string, l Limits) *crowded {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case full(t.users[user], l.PerUser):
		return &crowded{limitUser, l.PerUser, fmt.Sprintf(`too many connections for role "%s"`, name)}
	case database != "" && full(t.databases[database], l.PerDatabase):
		return &crowded{limitDatabase, l.PerDatabase, fmt.Sprintf(`too many connections for database "%s"`, database)}
	}
	p.user = user
	t.users[user]++
	if database != "" {
		t.databases[database]++
	}
	return nil
}

// origin is what an address is counted as: an IPv6 address as its /64 network, since whoever
// has one address of that has them all.
func origin(client netip.Addr) netip.Prefix {
	const network = 64
	bits := client.BitLen()
	if client.Is6() {
		bits = network
	}
	p, _ := client.Prefix(bits) // the number of bits is in range
	return p
}

// named says what an origin is.
func named(from netip.Prefix) string {
	if from.IsSingleIP() {
		return "address " + from.Addr().String()
	}
	return "network " + from.String()
}

func full(n, limit int) bool { return limit > 0 && n >= limit }

// leave takes a session out of what it is counted as.
func (t *tally) leave(p *place, address netip.Addr, database string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !p.taken {
		return
	}
	t.all--
	if address.IsValid() {
		drop(t.addresses, origin(address))
	}
	if p.user != "" {
		drop(t.users, p.user)
		drop(t.databases, database) // of one that is not there, nothing
	}
	*p = place{}
}

// drop counts one less, and forgets what has none: clients must not fill the memory by coming from everywhere.
func drop[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] <= 0 {
		delete(counts, k)
	}
}

// crowded says which limit has been reached.
type crowded struct {
	limit   string
	most    int
	message string
}

func (c *crowded) told() *scope.Error {
	return &scope.Error{
		Code: scope.CodeTooManyConnections, Message: c.message,
		Hint: fmt.Sprintf("max-%s of the proxy is %d.", c.limit, c.most),
	}
}

// limits are those in force now.
func (s *session) limits() Limits { return s.server.settings.Load().Limits }

// crowded refuses a client by a limit.
func (s *session) crowded(v *visitor, c *crowded) error {
	s.server.metrics.rejections.WithLabelValues(c.limit).Inc()
	return v.refuse(c.told())
}
