package proxy

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/audit"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Options are what a [Server] works with. The zero value of a field that has a default stands for it.
type Options struct {
	// Listen are the addresses to listen on: host:port, or the path of a Unix socket.
	Listen []string
	// ReusePort lets another process listen on the same TCP ports, so that the next version can start before this one stops.
	ReusePort bool
	// Inherited are listeners that the process was started with, instead of Listen; [Server.Run] closes them.
	Inherited []net.Listener
	// Upstream is where the PostgreSQL server is.
	Upstream *Upstream
	// Admin is a connection for the proxy's own questions before a session has begun; nil for none. Without it the proxy
	// learns the roles of a database from the first session in it.
	Admin *pgconn.Config

	// Mode is the mode of databases that Databases does not name; empty for transparent.
	Mode      scope.Mode
	Databases map[string]DatabaseOptions

	// Policy decides about role statements, until [Server.SetPolicy] changes it.
	Policy *policy.Policy

	// ClientTLS says what clients are offered; TLS holds the certificate, and the authorities of clients' certificates.
	ClientTLS TLSMode
	TLS       *tls.Config

	// Auth is how clients are let in that none of AuthRules matches; empty for passthrough. The first rule that matches
	// holds. To verify needs Admin, as a role that may read pg_authid.
	Auth      AuthMethod
	AuthRules []AuthRule
	// LoginFailures is how many logins from one address may fail in a minute before it has to wait; 0 for any number.
	LoginFailures int
	// Proxies are load balancers in front; nil for none.
	Proxies *Proxies
	// AddHost puts the client's address into the application_name that the server shows.
	AddHost bool

	// Pool keeps server connections for the next client. The zero value keeps none.
	Pool PoolOptions

	// LoginTimeout bounds the time from accept to the end of the login; 0 means a minute, as authentication_timeout.
	LoginTimeout time.Duration
	// Grace is how long open transactions may go on when the server stops.
	Grace time.Duration
	// MaxStatement bounds the text of a statement in bytes; 0 means 64 MiB.
	MaxStatement int

	// Goroutines lets goroutines relay all sessions, not only those with TLS: for comparison.
	Goroutines bool

	// Audit keeps a record of each role statement and each refused login; nil for none.
	Audit *audit.Log

	// AccessChanged is told of each database in which a session has run statements that change roles or access, once their
	// transaction has ended. It must not block. nil for nobody.
	AccessChanged func(database string)

	Log *zap.Logger
	// Metrics is where the proxy's metrics are registered; nil for nowhere.
	Metrics prometheus.Registerer
}

// DatabaseOptions are what is set for one database.
type DatabaseOptions struct {
	Prefix string     // of its roles, when it gets enrolled; empty for its name
	Mode   scope.Mode // empty for the proxy's
}

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = scope.Transparent
	}
	if o.ClientTLS == "" {
		o.ClientTLS = TLSOff
	}
	if o.Auth == "" {
		o.Auth = AuthPassthrough
	}
	if o.LoginTimeout == 0 {
		o.LoginTimeout = time.Minute
	}
	if o.MaxStatement == 0 {
		o.MaxStatement = 64 << 20
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	return o
}

// mode returns the mode that sessions in a database begin in.
func (o Options) mode(database string) scope.Mode {
	if m := o.Databases[database].Mode; m != "" {
		return m
	}
	return o.Mode
}
