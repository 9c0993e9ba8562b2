package proxy

import (
	"cmp"
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Which of several hosts a session goes to: target_session_attrs and load_balance_hosts, as in libpq (PQconnectPoll,
// src/interfaces/libpq/fe-connect.c). A server says what it is only after a login, and a client that has proven its
// password to one host cannot be made to prove it to another. So the hosts are sorted before a login by what is known of
// them, and settle checks the choice after it.

// serverKind is what a server has said of itself and a session when it began.
type serverKind struct {
	standby  bool // in_hot_standby
	readOnly bool // default_transaction_read_only, which may be the role's or the database's
}

// target is a value of target_session_attrs.
type target struct {
	standby  bool                  // of which kind the hosts should be
	prefer   bool                  // but may be of the other
	fits     func(serverKind) bool // whether a server will do
	mismatch string                // what is wrong with one that will not, in the words of libpq
}

var (
	readWrite = target{
		fits: func(k serverKind) bool { return !k.standby && !k.readOnly }, mismatch: "session is read-only",
	}
	readOnly = target{
		standby: true, fits: func(k serverKind) bool { return k.standby || k.readOnly }, mismatch: "session is not read-only",
	}
	primary = target{
		fits: func(k serverKind) bool { return !k.standby }, mismatch: "server is in hot standby mode",
	}
	standby = target{
		standby: true, fits: func(k serverKind) bool { return k.standby }, mismatch: "server is not in hot standby mode",
	}
	preferStandby = target{standby: true, prefer: true, fits: standby.fits, mismatch: standby.mismatch}
)

// targetOf returns the target that a connection string names; nil for any. pgconn keeps of the name only what it would do.
func targetOf(c *pgconn.Config) *target {
	if c.ValidateConnect == nil {
		return nil
	}
	named := map[uintptr]*target{}
	for _, t := range []struct {
		validate pgconn.ValidateConnectFunc
		target   *target
	}{
		{pgconn.ValidateConnectTargetSessionAttrsReadWrite, &readWrite},
		{pgconn.ValidateConnectTargetSessionAttrsReadOnly, &readOnly},
		{pgconn.ValidateConnectTargetSessionAttrsPrimary, &primary},
		{pgconn.ValidateConnectTargetSessionAttrsStandby, &standby},
		{pgconn.ValidateConnectTargetSessionAttrsPreferStandby, &preferStandby},
	} {
		named[reflect.ValueOf(t.validate).Pointer()] = t.target
	}
	return named[reflect.ValueOf(c.ValidateConnect).Pointer()]
}

// knownFor is how long it is believed of a host that it is a standby, or is none. Each login confirms it, or not.
const knownFor = 10 * time.Second

// hostKinds is what is known of the hosts, by address.
type hostKinds struct {
	mu    sync.Mutex
	known map[string]hostKind
}

type hostKind struct {
	standby bool
	since   time.Time
}

func (h *hostKinds) learn(address string, standby bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known[address] = hostKind{standby, time.Now()}
}

func (h *hostKinds) forget(address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, address)
}

// is returns what is known of a host.
func (h *hostKinds) is(address string) (standby, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k, known := h.known[address]
	return k.standby, known && time.Since(k.since) < knownFor
}

// route returns the upstream with the hosts in the order in which a login tries them. With an admin connection it asks
// hosts what they are, where none is known to be what is wanted.
func (u *Upstream) route(ctx context.Context, admin *pgconn.Config) *Upstream {
	if u.target == nil && !u.balance {
		return u
	}
	hosts := u.hosts()
	if u.balance {
		rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] }) //nolint:gosec // no secret
	}
	if u.target != nil {
		if admin != nil && !slices.ContainsFunc(hosts, u.wanted) {
			offLoop(ctx, func(ctx context.Context) { u.askHosts(ctx, admin, hosts) })
		}
		slices.SortStableFunc(hosts, func(a, b []upstreamEntry) int { return cmp.Compare(u.rank(a), u.rank(b)) })
	}
	return u.through(slices.Concat(hosts...))
}

// hosts returns the entries by host.
func (u *Upstream) hosts() (hosts [][]upstreamEntry) {
	for i := 0; i < len(u.entries); i = u.hostEnd(i) {
		hosts = append(hosts, u.entries[i:u.hostEnd(i)])
	}
	return hosts
}

// through is the same upstream by other entries.
func (u *Upstream) through(entries []upstreamEntry) *Upstream {
	other := *u
	other.entries = entries
	return &other
}

func (u *Upstream) wanted(host []upstreamEntry) bool { return u.rank(host) == 0 }

// rank is 0 for a host that is known to be what is wanted, 1 for one of which nothing is known, 2 for the others.
func (u *Upstream) rank(host []upstreamEntry) int {
	standby, known := u.kinds.is(host[0].address)
	switch {
	case !known:
		return 1
	case standby == u.target.standby:
		return 0
	default:
		return 2
	}
}

// askHosts asks all hosts at once, until one is what is wanted.
func (u *Upstream) askHosts(ctx context.Context, admin *pgconn.Config, hosts [][]upstreamEntry) {
	ctx, found := context.WithCancel(ctx)
	defer found()
	var asking sync.WaitGroup
	for _, host := range hosts {
		asking.Go(func() {
			if u.askHost(ctx, admin, host) && u.wanted(host) {
				found()
			}
		})
	}
	asking.Wait()
}

// askHost learns what a host is, and reports whether it has answered. Why it has not, the login will see.
func (u *Upstream) askHost(ctx context.Context, admin *pgconn.Config, host []upstreamEntry) bool {
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	config := admin.Copy()
	config.ValidateConnect = nil
	config.Host, config.Port, config.TLSConfig = host[0].host, host[0].port, host[0].tls
	config.Fallbacks = nil
	for _, e := range host[1:] {
		config.Fallbacks = append(config.Fallbacks, &pgconn.FallbackConfig{Host: e.host, Port: e.port, TLSConfig: e.tls})
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		u.kinds.forget(host[0].address)
		return false
	}
	u.kinds.learn(host[0].address, conn.ParameterStatus("in_hot_standby") == "on")
	_ = conn.Close(ctx) // it has said what it was asked for
	return true
}
