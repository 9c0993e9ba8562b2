package config

import (
	"net/netip"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Config is all settings of the proxy. [Load] makes it, complete and checked. The unit, the default, the effect and an
// example of each stand in the table of settings, and in docs/configuration.md, which is made from it.
type Config struct {
	Listen    []string // addresses for clients: host:port, or the absolute path of a Unix socket
	ReusePort bool     // another process may listen on the same ports
	Upstream  DSN      // the PostgreSQL server; never empty
	AdminDSN  DSN      // the proxy's own login there; may be empty

	Mode   scope.Mode // of databases that Databases does not name
	Policy string     // path of the policy file; empty for the built-in policy

	HTTPListen string // address for health and metrics: host:port; empty for none
	Manifest   string // path of the access manifest; empty for none
	Reconcile  Reconcile

	LogFormat LogFormat
	LogLevel  zapcore.Level

	LoginTimeout             time.Duration // from accept to the end of the login
	Limits                   Limits
	IdleTimeout              time.Duration // outside of a transaction; 0 for any time
	IdleInTransactionTimeout time.Duration // likewise inside of one

	ShutdownGrace    time.Duration // for open transactions when the proxy stops; may be 0
	ConnectTimeout   time.Duration // to one host of the server, where its connection string says nothing
	MaxStatementSize int           // bytes

	Auth              AuthMethod    // of clients that no rule of AuthRules matches
	AuthRules         []AuthRule    // the first that matches holds
	LoginFailures     int           // that one address may have in a minute; 0 for any number
	LoginFailureDelay time.Duration // before a client is told that its password is wrong

	ProxyProtocol          ProxyProtocol
	ApplicationNameAddHost bool

	Pool         PoolMode
	PoolIdle     int           // server connections without a client for the same database, user and parameters; more than 0
	PoolSize     int           // in all; more than 0
	PoolLifetime time.Duration // of one, from its login on
	PoolCheck    time.Duration // for how long its role is believed to be what it was

	ClientTLS ClientTLS
	Audit     Audit
	Trace     Trace
	Databases map[string]Database // by name, as the server has it
}

// Limits are how many sessions there may be at a time; 0 for any number.
type Limits struct {
	Connections int // in all
	PerAddress  int // of one client
	PerUser     int // logged in as one role of the cluster
	PerDatabase int
}

// ClientTLS is what clients are offered.
type ClientTLS struct {
	Mode TLSMode
	Cert string // path of the certificate chain, PEM; set unless Mode is TLSOff
	Key  string // path of its private key, PEM; likewise
	CA   string // path of the authorities of clients' certificates, PEM; set if Mode is TLSVerifyFull
}

// Audit is where audit records go. Without file, standard output and syslog there are none.
type Audit struct {
	File     string        // path; empty for none
	Stdout   bool          // to standard output too
	Syslog   string        // unix:/dev/log or tcp:127.0.0.1:514; empty for none
	MaxSize  int           // of the file, in bytes; 0 for any
	MaxAge   time.Duration // of the file's first record; 0 for any
	Keep     int           // files put aside that are kept; 0 for all
	Overflow Overflow
}

// On reports whether there are audit records.
func (a Audit) On() bool { return a.File != "" || a.Stdout || a.Syslog != "" }

// Overflow is what happens while audit records cannot be written.
type Overflow string

// What happens then.
const (
	OverflowRefuse Overflow = "refuse" // role statements are refused
	OverflowDrop   Overflow = "drop"   // records are dropped and counted
)

// Trace is where traces go.
type Trace struct {
	Endpoint string  // the collector's URL; empty for no traces
	Ratio    float64 // of traces that begin here, from 0 to 1
	Service  string  // what the process is called in them
}

// ProxyProtocol is what load balancers in front of the proxy say of clients.
type ProxyProtocol struct {
	Mode ProxyProtocolMode
	From []netip.Prefix // where they are; empty for everywhere
}

// AuthRule says how some clients are let in. An empty list matches everything.
type AuthRule struct {
	Databases []string
	Users     []string
	Networks  []netip.Prefix // together with Local
	Local     bool           // those on Unix sockets
	Method    AuthMethod
	Names     map[string][]string // by a certificate's common name, or a user of the operating system: the users that it may be
}

// Database is what is set for one database.
type Database struct {
	Prefix string     // of its roles' names on the server; empty for the database's name
	Mode   scope.Mode // empty for the proxy's
}

// Reconcile says how the server is kept at the manifest.
type Reconcile struct {
	Interval time.Duration // between two looks at a database that is as it should be
	OnDrift  OnDrift
	Mode     string // how far a plan goes: authoritative, additive or adopt
	Database string // that a manifest is for, which is no estate; empty for the one of the admin connection
	Required bool   // the proxy is not ready while a database is not as the manifest has it
}

// OnDrift is what happens where a database is not as the manifest has it.
type OnDrift string

// What happens then.
const (
	DriftRepair OnDrift = "repair" // it is made so
	DriftReport OnDrift = "report" // it is told, in the log and the metrics
)

// LogFormat is how log records are written.
type LogFormat string

// The log formats.
const (
	LogJSON    LogFormat = "json"    // one object a line
	LogConsole LogFormat = "console" // for people
)

// TLSMode is what clients are offered, and must do.
type TLSMode string

// The TLS modes.
const (
	TLSOff        TLSMode = "off"         // no TLS
	TLSAllow      TLSMode = "allow"       // as the client wants it
	TLSRequire    TLSMode = "require"     // TLS, but on Unix sockets
	TLSVerifyFull TLSMode = "verify-full" // TLS with a client certificate
)

// PoolMode says which server connections are kept for other clients.
type PoolMode string

// The modes.
const (
	PoolOff     PoolMode = "off"
	PoolSession PoolMode = "session" // those that a client has left
)

// AuthMethod is how clients are let in.
type AuthMethod string

// The methods.
const (
	AuthPassthrough AuthMethod = "passthrough" // the server decides
	AuthVerify      AuthMethod = "verify"      // SCRAM, by what the server has stored
	AuthCert        AuthMethod = "cert"        // by a client certificate
	AuthPeer        AuthMethod = "peer"        // by the operating system's user, on Unix sockets
	AuthTrust       AuthMethod = "trust"
	AuthReject      AuthMethod = "reject"
)

// ProxyProtocolMode is whether connections begin with a header of the PROXY protocol.
type ProxyProtocolMode string

// The modes.
const (
	ProxyProtocolOff     ProxyProtocolMode = "off"
	ProxyProtocolRequire ProxyProtocolMode = "require" // those by TCP do
)
