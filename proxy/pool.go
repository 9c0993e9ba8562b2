package proxy

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// A server process costs some milliseconds to start. Where clients come and go, the connection of one that has left
// can serve the next that wants the same:
//
//	Terminate ─▶ reset (DISCARD ALL) ─▶ parked ─▶ checked ─▶ the next client
//	                │                     │          │
//	                ▼                     ▼          ▼
//	          closed, if not clean    too old    not what it was
//
// The server authenticates nobody in such a login, so this is only for clients that the proxy has let in
// itself (auth.go). The check looks at all that the server would look at, but for pg_hba.conf.
// pool_link.go has what is said to the server, talk.go how.

// PoolOptions say how many server connections are kept when their clients have left, and for how long.
type PoolOptions struct {
	// Idle is how many there may be without a client that serve the same clients; 0 for none: each
	// client has a connection of its own.
	Idle int
	// Size is how many there may be without a client in all; the one that waited longest gives way.
	Size int
	// Lifetime is for how long after its login a connection may be given to another client.
	Lifetime time.Duration
	// Check is for how long the last check of a role's right to log in is believed; 0 to check each time.
	Check time.Duration
}

// lease is what a server connection can be kept for.
type lease struct {
	// key is the startup packet, with the role's name in the cluster, and whether the server was shown a password: two
	// clients that agree in it would get the same session.
	key      string
	database string
	began    time.Time // its login
	reported []string  // the parameters that the server told in the login; nil before that
	roleless bool      // known to have set no role in its login
	checked  checked
}

// checked is the last check, of whether the role may log in.
type checked struct {
	at    time.Time
	doubt uint64 // pool.doubts at that time
	rest  []byte // what it would say after AuthenticationOk
	kind  serverKind
}

// appendLeaseKey appends the key of a connection that begins with the startup packet, for clients let in by the method.
func appendLeaseKey(dst []byte, s wire.Startup, method AuthMethod) ([]byte, error) {
	kind := "by the proxy "
	if method == AuthVerify {
		kind = "by password "
	}
	return wire.AppendStartup(append(dst, kind...), s)
}

// parked is a server connection without a client.
type parked struct {
	lease
	pool    *pool
	link    *serverLink
	user    scope.Cluster
	version wire.Version
	cancel  string // the body of BackendKeyData; empty where the server sent none
}

// pool holds the server connections that wait for a client. It is safe for concurrent use.
type pool struct {
	o      PoolOptions
	log    *zap.Logger
	idle   prometheus.Gauge
	reused prometheus.Counter
	doubts atomic.Uint64 // how often sessions have changed roles or access: earlier checks say nothing then

	mu      sync.Mutex
	list    []*parked            // the one that waits longest first
	vacated map[string]time.Time // the databases of which all were closed a moment ago
	closed  bool
}

func newPool(o PoolOptions, r prometheus.Registerer, log *zap.Logger) *pool {
	p := &pool{
		o: o, log: log, vacated: make(map[string]time.Time),
		idle: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pgscope_pool_idle_connections", Help: "Server connections that wait for a client.",
		}),
		reused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pgscope_pool_reused_total", Help: "Logins that were given the server connection of a client that had left.",
		}),
	}
	r.MustRegister(p.idle, p.reused)
	return p
}

// take returns the connection that was parked last, which is the least likely to be broken; nil where there is none. It
// belongs to the caller.
func (p *pool) take(key []byte) *parked {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range slices.Backward(p.list) {
		if c.key == string(key) && time.Since(c.began) < p.o.Lifetime {
			p.list = slices.Delete(p.list, i, i+1)
			p.idle.Dec()
			return c
		}
	}
	return nil
}

// put parks a connection, which belongs to the pool from then on. If there is one too many then, the oldest is closed.
func (p *pool) put(c *parked) {
	p.mu.Lock()
	p.list = append(p.list, c)
	p.idle.Inc()
	p.mu.Unlock()
	same, all := 0, 0
	p.drop(func(other *parked) bool {
		all++
		if other.key == c.key {
			same++
		}
		return p.closed || all > p.o.Size || other.key == c.key && same > p.o.Idle || other == c && time.Since(p.vacated[c.database]) < vacancy
	})
}

// drop closes the connections for which which returns true. It asks about the one that was parked last first.
func (p *pool) drop(which func(*parked) bool) {
	for _, c := range p.remove(which) {
		c.close()
	}
}

// remove is drop, but leaves the closing to the caller.
func (p *pool) remove(which func(*parked) bool) (removed []*parked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range slices.Backward(p.list) {
		if which(c) {
			removed = append(removed, c)
			p.list = slices.Delete(p.list, i, i+1)
		}
	}
	p.idle.Sub(float64(len(removed)))
	return removed
}

// doubt makes all roles be checked again: a session of the proxy has changed some.
func (p *pool) doubt() { p.doubts.Add(1) }

// vacancy is for how long the server waits for other sessions of a database to end (CountOtherDBBackends,
// src/backend/storage/ipc/procarray.c).
const vacancy = 5 * time.Second

// vacate closes the connections to a database, and those that their clients leave meanwhile: the server drops,
// renames and copies none that has any.
func (p *pool) vacate(database string) {
	p.mu.Lock()
	maps.DeleteFunc(p.vacated, func(_ string, at time.Time) bool { return time.Since(at) >= vacancy })
	p.vacated[database] = time.Now()
	p.mu.Unlock()
	p.drop(func(c *parked) bool { return c.database == database })
}

// makeRoom closes what may be in the way of a login, where the server has no connection left for it: the role's
// connections and the database's, which may be the role's by a name that it had; else, of all, the one that waits
// longest. It returns when the server has closed them too, and reports whether there were any.
func (p *pool) makeRoom(user scope.Cluster, database string) bool {
	removed := p.remove(func(c *parked) bool { return c.user == user || c.database == database })
	if len(removed) == 0 {
		oldest := p.oldest()
		removed = p.remove(func(c *parked) bool { return c == oldest })
	}
	for _, c := range removed {
		c.terminate()
	}
	for _, c := range removed {
		_, _ = io.Copy(io.Discard, c.link) // the server's process leaves the end to the kernel, when it no longer counts
		_ = c.link.Close()
	}
	return len(removed) > 0
}

// oldest returns the connection that waits longest; nil for none.
func (p *pool) oldest() *parked {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return nil
	}
	return p.list[0]
}

// close closes all connections, and those that are parked from then on.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop(func(*parked) bool { return true })
}

// run closes connections that are too old, until ctx ends.
func (p *pool) run(ctx context.Context) {
	tick := time.NewTicker(max(time.Second, p.o.Lifetime/10))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.drop(func(c *parked) bool { return time.Since(c.began) >= p.o.Lifetime })
		case <-ctx.Done():
			return
		}
	}
}
