package proxy

import (
	"net"
	"runtime"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/audit"
	"github.com/pgscope/pgscope-proxy/trace"
)

// Options are what a [Server] works with. The zero value of a field that has a default stands for it.
type Options struct {
	// Listen are the addresses to listen on: host:port, or the path of a Unix socket.
	Listen []string
	// ReusePort lets another process listen on the same TCP ports, so that the next version can
	// start before this one stops.
	ReusePort bool
	// Inherited are listeners that the process was started with, instead of Listen; [Server.Run] closes them.
	Inherited []net.Listener
	// Upstream is where the PostgreSQL server is.
	Upstream *Upstream
	// Admin is a connection for the proxy's own questions before a session has begun; nil for none. Without it the proxy
	// learns the roles of a database from the first session in it.
	Admin *pgconn.Config
	// Prefixes are what the roles of a database shall be prefixed with when it gets enrolled, for those whose prefix is not
	// their name.
	Prefixes map[string]string
	// Audit keeps a record of each role statement and each refused login; nil for none.
	Audit *audit.Log

	// Tracer traces logins and role statements; nil for none.
	Tracer *trace.Tracer

	// Pool keeps server connections for the next client. The zero value keeps none.
	Pool PoolOptions

	// Settings are what can change while the server runs.
	Settings

	// Processors is how many event loops there are; 0 means GOMAXPROCS. Each loop wants a processor while it is
	// busy. While there is traffic, loops keep all of Go's processors but one, which makes their waits cheaper;
	// so GOMAXPROCS had better be larger.
	Processors int
	// Goroutines lets goroutines relay all sessions, as elsewhere than on Linux: for comparison.
	Goroutines bool

	// LongText is from how many bytes on a text is read apart from its session's driver; 0 for the default.
	LongText int32

	// AccessChanged is told of each database in which a session has run statements that change roles or access, once their
	// transaction has ended. It must not block. nil for nobody.
	AccessChanged func(database string)

	// Log is told of each session. It must not block: the event loops write to it.
	Log *zap.Logger
	// Metrics is where the proxy's metrics are registered; nil for nowhere.
	Metrics prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.Processors == 0 {
		o.Processors = runtime.GOMAXPROCS(0)
	}
	if o.LongText == 0 {
		o.LongText = longText
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	return o
}
