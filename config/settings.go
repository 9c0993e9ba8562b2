package config

import (
	"net/netip"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/pgscope/pgscope-proxy/scope"
)

// settings is the table of all settings but those of single databases.
var settings = []setting[Config]{
	{
		key: "listen", arg: "ADDR", def: "127.0.0.1:6432", list: true,
		fixed:   true,
		example: "listen: [127.0.0.1:6432, /run/pgscope/.s.PGSQL.6432]",
		doc: "Addresses to accept clients on. A host and a port (an empty host means all interfaces, port 0 a free one), or a Unix " +
			"socket: its absolute path, with unix: in front or not. In a flag or a variable several are separated by commas; the " +
			"flag may also be repeated.",
		set: into(func(c *Config) *[]string { return &c.Listen }, parseListen),
	},
	{
		key: "reuse-port", arg: "BOOL", def: "false",
		fixed:   true,
		example: "reuse-port: true",
		doc: "Whether another process may listen on the same TCP ports, that of http-listen too: true or false (SO_REUSEPORT, " +
			"Linux). With it the next version starts beside this one, which is then stopped. While both listen, clients are shared " +
			"between them.",
		set: into(func(c *Config) *bool { return &c.ReusePort }, parseBool),
	},
	{
		key: "upstream", arg: "DSN", secret: true,
		fixed:   true,
		example: "upstream: host=db.internal sslmode=verify-full",
		doc: "The PostgreSQL server, as a libpq URI or keyword=value string. Hosts, ports and TLS settings of it are used, " +
			"target_session_attrs, load_balance_hosts, connect_timeout and keepalives too; user, password and database are the clients' own. " +
			"Must be set.",
		set: into(func(c *Config) *DSN { return &c.Upstream }, ParseDSN),
	},
	{
		key: "admin-dsn", arg: "DSN", secret: true,
		fixed:   true,
		example: "admin-dsn: host=db.internal user=pgscope_admin dbname=postgres",
		doc: "The proxy's own login at the server, as a libpq URI or keyword=value string. With it the proxy can look up the roles of a " +
			"database before the first session in it has begun, and set up what role statements need. Empty: it has none, and asks in " +
			"the clients' sessions only.",
		set: into(func(c *Config) *DSN { return &c.AdminDSN }, ParseDSN),
	},
	{
		key: "mode", arg: "MODE", def: string(scope.Transparent),
		example: "mode: explicit",
		doc: "Which role statements are scoped to the database: transparent (every one), explicit (those that say DBONLY) or off " +
			"(none: a plain proxy). A section of databases may say otherwise for one of them, and so may a session with SET pgscope.mode " +
			"where the policy allows it.",
		set: into(func(c *Config) *scope.Mode { return &c.Mode }, parseMode),
	},
	{
		key: "policy", arg: "FILE",
		example: "policy: /etc/pgscope/policy.yaml",
		doc: "File with the rules about who may do what to roles. A relative path starts at the working directory. SIGHUP reads it " +
			"again. Empty: the built-in rules alone, which also decide where no rule of the file matches.",
		set: into(func(c *Config) *string { return &c.Policy }, parsePath),
	},
	{
		key: "manifest", arg: "FILE",
		fixed:   true,
		example: "manifest: /etc/pgscope/access.yaml",
		doc: "File with the declared roles and grants, which the proxy keeps the server at: a manifest, a bundle, or an estate with many " +
			"databases. Needs admin-dsn. What is in it is read again when it changes, and on SIGHUP. Empty: none. docs/reconciler.md has the details.",
		set: into(func(c *Config) *string { return &c.Manifest }, parsePath),
	},
	{
		key: "reconcile.interval", arg: "DURATION", def: "5m",
		example: "reconcile: {interval: 1m}",
		doc: "How often each database is compared with the manifest, give or take a tenth. It is compared at once when the manifest has " +
			"changed, and after role statements that passed the proxy. At least 1s.",
		set: into(func(c *Config) *time.Duration { return &c.Reconcile.Interval }, atLeast(time.Second, parseDuration)),
	},
	{
		key: "reconcile.on-drift", arg: "ACTION", def: string(DriftRepair),
		example: "reconcile: {on-drift: report}",
		doc:     "What is done where a database is not as the manifest has it: repair, or report (in the log, the metrics and /readyz; nothing is changed).",
		set:     into(func(c *Config) *OnDrift { return &c.Reconcile.OnDrift }, oneOf(DriftRepair, DriftReport)),
	},
	{
		key: "reconcile.mode", arg: "MODE", def: "authoritative",
		example: "reconcile: {mode: additive}",
		doc: "How far a repair goes: authoritative (all of it), additive (nothing is taken away, nothing that exists is altered) or adopt " +
			"(nothing is dropped; roles with the database's prefix become its own).",
		set: into(func(c *Config) *string { return &c.Reconcile.Mode }, oneOf("authoritative", "additive", "adopt")),
	},
	{
		key: "reconcile.database", arg: "NAME",
		example: "reconcile: {database: orders}",
		doc:     "The database that the manifest is for. An estate names its databases itself. Empty: the one that admin-dsn names.",
		set:     into(func(c *Config) *string { return &c.Reconcile.Database }, parseName),
	},
	{
		key: "reconcile.required", arg: "BOOL", def: "false",
		example: "reconcile: {required: true}",
		doc: "Whether the proxy is ready (/readyz) only while every database is as the manifest has it, true or false. /readyz tells of it in " +
			"any case.",
		set: into(func(c *Config) *bool { return &c.Reconcile.Required }, parseBool),
	},
	{
		key: "http-listen", arg: "ADDR", def: "127.0.0.1:9632",
		fixed:   true,
		example: `http-listen: 0.0.0.0:9632`,
		doc:     "Address for /livez, /readyz and /metrics, a host and a port. Empty: they are not served.",
		set:     into(func(c *Config) *string { return &c.HTTPListen }, parseHTTPListen),
	},
	{
		key: "log-format", arg: "FORMAT", def: string(LogJSON),
		fixed:   true,
		example: "log-format: console",
		doc:     "How log records are written to standard error: json (one object a line) or console (for people).",
		set:     into(func(c *Config) *LogFormat { return &c.LogFormat }, oneOf(LogJSON, LogConsole)),
	},
	{
		key: "log-level", arg: "LEVEL", def: "info",
		example: "log-level: debug",
		doc:     "The least level of the records that are written: debug, info, warn or error.",
		set:     into(func(c *Config) *zapcore.Level { return &c.LogLevel }, parseLevel),
	},
	{
		key: "login-timeout", arg: "DURATION", def: "1m",
		example: "login-timeout: 20s",
		doc: "How long a client may take from connecting to the end of its login. More than zero. The default is that of the " +
			"server's authentication_timeout, which ends a login in any case.",
		set: into(func(c *Config) *time.Duration { return &c.LoginTimeout }, atLeast(time.Millisecond, parseDuration)),
	},
	{
		key: "connect-timeout", arg: "DURATION", def: "10s",
		fixed:   true,
		example: "connect-timeout: 3s",
		doc: "How long to try one host of the server before the next. More than zero. connect_timeout in the connection string goes " +
			"before it.",
		set: into(func(c *Config) *time.Duration { return &c.ConnectTimeout }, atLeast(time.Millisecond, parseDuration)),
	},
	{
		key: "max-connections", arg: "NUMBER", def: "0",
		example: "max-connections: 500",
		doc: "How many sessions there may be at a time, those that are logging in included. More are refused with 53300; cancel " +
			"requests always pass. Should be less than the server's max_connections, so that somebody can still connect there " +
			"directly. 0: any number.",
		set: into(func(c *Config) *int { return &c.Limits.Connections }, parseLimit),
	},
	{
		key: "max-connections-per-address", arg: "NUMBER", def: "0",
		example: "max-connections-per-address: 50",
		doc: "How many sessions may come from one address; of IPv6 from one /64 network, since whoever has one address of it has " +
			"them all. Sessions on Unix sockets do not count. 0: any number.",
		set: into(func(c *Config) *int { return &c.Limits.PerAddress }, parseLimit),
	},
	{
		key: "max-connections-per-user", arg: "NUMBER", def: "0",
		example: "max-connections-per-user: 20",
		doc: "How many sessions may be logged in as one role. Roles of two databases count apart, even if they have the same short " +
			"name. 0: any number.",
		set: into(func(c *Config) *int { return &c.Limits.PerUser }, parseLimit),
	},
	{
		key: "max-connections-per-database", arg: "NUMBER", def: "0",
		example: "max-connections-per-database: 100",
		doc:     "How many sessions may be logged in to one database. 0: any number.",
		set:     into(func(c *Config) *int { return &c.Limits.PerDatabase }, parseLimit),
	},
	{
		key: "idle-timeout", arg: "DURATION", def: "0s",
		example: "idle-timeout: 1h",
		doc: "How long a session may rest outside of a transaction before it is ended with 57P05. The proxy looks once a second. 0s: " +
			"for any time. Set the timeouts of connection pools shorter.",
		set: into(func(c *Config) *time.Duration { return &c.IdleTimeout }, atLeast(0, parseDuration)),
	},
	{
		key: "idle-in-transaction-timeout", arg: "DURATION", def: "0s",
		example: "idle-in-transaction-timeout: 5m",
		doc: "How long a session may rest inside of a transaction before it is ended with 25P03 and the transaction is rolled back. " +
			"The proxy looks once a second. 0s: for any time.",
		set: into(func(c *Config) *time.Duration { return &c.IdleInTransactionTimeout }, atLeast(0, parseDuration)),
	},
	{
		key: "shutdown-grace", arg: "DURATION", def: "30s",
		example: "shutdown-grace: 5m",
		doc: "How long open transactions may go on when the proxy stops, and clients take to read an answer that is on its way. " +
			"Other sessions are ended at once. 0s: none may. " +
			"What supervises the process must wait longer than that before it kills (Kubernetes: terminationGracePeriodSeconds, " +
			"systemd: TimeoutStopSec).",
		set: into(func(c *Config) *time.Duration { return &c.ShutdownGrace }, atLeast(0, parseDuration)),
	},
	{
		key: "max-statement-size", arg: "SIZE", def: "64MiB",
		example: "max-statement-size: 16MiB",
		doc: "The longest statement text that is read; a longer one is refused. In bytes, KiB, MiB or GiB, from 8KiB to 1GiB. One that " +
			"may name roles may have 500,000 words, and takes up to 0.7 GB while it is read; long ones are read by half as many readers as there are processors, and those up to 64 KiB by one more.",
		set: into(func(c *Config) *int { return &c.MaxStatementSize }, parseStatementSize),
	},
	{
		key: "auth", arg: "METHOD", def: string(AuthPassthrough),
		example: "auth: verify",
		doc: "How clients are let in that no rule of auth-rules matches: passthrough (the server checks them, and the proxy relays " +
			"what they say), verify (the proxy checks their password by SCRAM, against what the server has stored; needs admin-dsn, " +
			"as a role that may read pg_authid), cert, peer, trust or reject. docs/authentication.md has the details.",
		set: into(func(c *Config) *AuthMethod { return &c.Auth }, oneOf(authMethods...)),
	},
	{
		key: "login-failures", arg: "NUMBER", def: "100",
		example: "login-failures: 20",
		doc: "How many logins from one address (of IPv6, one /64 network) may fail in a minute. Beyond that the address is refused " +
			"with 53300 until its share of the minute has passed: with 60, one more login may fail each second. 0: any number. " +
			"Logins on Unix sockets are not counted.",
		set: into(func(c *Config) *int { return &c.LoginFailures }, parseLimit),
	},
	{
		key: "login-failure-delay", arg: "DURATION", def: "0s",
		example: "login-failure-delay: 500ms",
		doc: "How long a client waits to be told that its password is wrong. It holds its connection meanwhile, so set " +
			"max-connections-per-address too. Where login-timeout is shorter, it waits for that.",
		set: into(func(c *Config) *time.Duration { return &c.LoginFailureDelay }, atLeast(0, parseDuration)),
	},
	{
		key: "proxy-protocol.mode", arg: "MODE", def: string(ProxyProtocolOff),
		example: "proxy-protocol: {mode: require, from: [10.0.0.0/8]}",
		doc: "Whether each TCP connection begins with a header of the PROXY protocol, version 1 or 2, in which a load balancer says " +
			"where the client is: off or require. Rules, limits and logs then go by the client's address.",
		set: into(func(c *Config) *ProxyProtocolMode { return &c.ProxyProtocol.Mode }, oneOf(ProxyProtocolOff, ProxyProtocolRequire)),
	},
	{
		key: "proxy-protocol.from", arg: "NETWORKS", list: true,
		example: "proxy-protocol: {mode: require, from: [10.0.0.1, 192.0.2.0/24]}",
		doc: "Where the load balancers are: addresses or networks, separated by commas in a flag or a variable. Connections from " +
			"elsewhere are closed. Must be set if proxy-protocol.mode is require: who sends the header can claim any address.",
		set: into(func(c *Config) *[]netip.Prefix { return &c.ProxyProtocol.From }, parseNetworks),
	},
	{
		key: "application-name-add-host", arg: "BOOL", def: "false",
		example: "application-name-add-host: true",
		doc:     "Whether the client's address is put into the application_name that the server shows: true or false.",
		set:     into(func(c *Config) *bool { return &c.ApplicationNameAddHost }, parseBool),
	},
	{
		key: "pool", arg: "MODE", def: string(PoolOff),
		fixed:   true,
		example: "pool: session",
		doc: "What becomes of a server connection whose client has left: off (it is closed) or session (it is reset by DISCARD ALL, " +
			"and serves the next client of the same database, user and startup parameters, application_name among them). Only for " +
			"clients that the proxy has let in itself, by verify, cert, peer or trust. docs/authentication.md has the details.",
		set: into(func(c *Config) *PoolMode { return &c.Pool }, oneOf(PoolOff, PoolSession)),
	},
	{
		key: "pool-idle", arg: "NUMBER", def: "20",
		fixed:   true,
		example: "pool-idle: 50",
		doc:     "How many server connections may wait for clients of the same database, user and startup parameters.",
		set:     into(func(c *Config) *int { return &c.PoolIdle }, parsePool),
	},
	{
		key: "pool-size", arg: "NUMBER", def: "50",
		fixed:   true,
		example: "pool-size: 200",
		doc: "How many server connections may wait for clients in all. They count for the server's max_connections. If there is one " +
			"too many, the one that has waited longest is closed.",
		set: into(func(c *Config) *int { return &c.PoolSize }, parsePool),
	},
	{
		key: "pool-lifetime", arg: "DURATION", def: "10m",
		fixed:   true,
		example: "pool-lifetime: 1h",
		doc: "How long after its login a server connection may be given to another client. What ALTER ROLE or ALTER DATABASE has set " +
			"meanwhile, and a change of pg_hba.conf, holds for new ones only.",
		set: into(func(c *Config) *time.Duration { return &c.PoolLifetime }, atLeast(time.Second, parseDuration)),
	},
	{
		key: "pool-check", arg: "DURATION", def: "1s",
		fixed:   true,
		example: "pool-check: 0s",
		doc: "How long the proxy believes of a waiting server connection that its role has LOGIN and CONNECT, and that its " +
			"parameters are unchanged. 0s: it asks the server at each login. What sessions of this proxy change counts at once.",
		set: into(func(c *Config) *time.Duration { return &c.PoolCheck }, atLeast(0, parseDuration)),
	},
	{
		key: "client-tls.mode", arg: "MODE", def: string(TLSOff),
		example: "client-tls: {mode: require, cert: server.crt, key: server.key}",
		doc: "TLS between clients and the proxy: off, allow (as the client wants it), require, or verify-full (with a client certificate " +
			"that client-tls.ca has signed). Unix sockets have none.",
		set: into(func(c *Config) *TLSMode { return &c.ClientTLS.Mode }, oneOf(TLSOff, TLSAllow, TLSRequire, TLSVerifyFull)),
	},
	{
		key: "client-tls.cert", arg: "FILE",
		example: "client-tls: {mode: allow, cert: /etc/pgscope/server.crt, key: /etc/pgscope/server.key}",
		doc: "File with the certificate that clients are shown, and its chain, in PEM. Must be set unless client-tls.mode is off. " +
			"SIGHUP reads it again.",
		set: into(func(c *Config) *string { return &c.ClientTLS.Cert }, parsePath),
	},
	{
		key: "client-tls.key", arg: "FILE",
		example: "client-tls: {mode: allow, cert: /etc/pgscope/server.crt, key: /etc/pgscope/server.key}",
		doc: "File with the private key of client-tls.cert, in PEM: of RSA (but not an RSASSA-PSS key), ECDSA or Ed25519, and not encrypted. " +
			"Must be set unless client-tls.mode is off. SIGHUP reads it again.",
		set: into(func(c *Config) *string { return &c.ClientTLS.Key }, parsePath),
	},
	{
		key: "client-tls.ca", arg: "FILE",
		example: "client-tls: {mode: verify-full, cert: server.crt, key: server.key, ca: clients.crt}",
		doc: "File with the authorities that sign clients' certificates, in PEM. Must be set if client-tls.mode is verify-full. " +
			"SIGHUP reads it again.",
		set: into(func(c *Config) *string { return &c.ClientTLS.CA }, parsePath),
	},
	{
		key: "audit.file", arg: "FILE",
		fixed:   true,
		example: "audit: {file: /var/log/pgscope/audit.log}",
		doc: "File for audit records: a line of JSON for each role statement and each refused login, chained by hashes (docs/audit.md). " +
			"Several processes on one machine may write it. Empty: none.",
		set: into(func(c *Config) *string { return &c.Audit.File }, parsePath),
	},
	{
		key: "audit.stdout", arg: "BOOL", def: "false",
		fixed:   true,
		example: "audit: {stdout: true}",
		doc:     "Whether audit records go to standard output: true or false. The log goes to standard error.",
		set:     into(func(c *Config) *bool { return &c.Audit.Stdout }, parseBool),
	},
	{
		key: "audit.syslog", arg: "ADDR",
		fixed:   true,
		example: "audit: {syslog: unix:/dev/log}",
		doc: "Syslog server for audit records, in the format of RFC 5424: unix: and the path of a socket, or tcp: with a host and a port. " +
			"Nothing is encrypted: the host should be this one. Empty: none.",
		set: into(func(c *Config) *string { return &c.Audit.Syslog }, parseSyslog),
	},
	{
		key: "audit.max-size", arg: "SIZE", def: "100MiB",
		fixed:   true,
		example: "audit: {file: audit.log, max-size: 1GiB}",
		doc:     "The size at which audit.file is put aside under another name, and a new one begins. 0: any size.",
		set:     into(func(c *Config) *int { return &c.Audit.MaxSize }, parseSize),
	},
	{
		key: "audit.max-age", arg: "DURATION", def: "0s",
		fixed:   true,
		example: "audit: {file: audit.log, max-age: 24h}",
		doc:     "The age of its first record at which audit.file is put aside, when the next record is written. 0s: any age.",
		set:     into(func(c *Config) *time.Duration { return &c.Audit.MaxAge }, atLeast(0, parseDuration)),
	},
	{
		key: "audit.keep", arg: "NUMBER", def: "0",
		fixed:   true,
		example: "audit: {file: audit.log, keep: 30}",
		doc:     "How many files that were put aside are kept; the oldest are removed. 0: all.",
		set:     into(func(c *Config) *int { return &c.Audit.Keep }, parseCount),
	},
	{
		key: "audit.overflow", arg: "WORD", def: string(OverflowRefuse),
		fixed:   true,
		example: "audit: {file: audit.log, overflow: drop}",
		doc: "What happens while audit records cannot be written and too many wait: refuse (role statements are refused with 53000) or drop " +
			"(records are dropped; the next one counts them). Other statements go on in either case.",
		set: into(func(c *Config) *Overflow { return &c.Audit.Overflow }, oneOf(OverflowRefuse, OverflowDrop)),
	},
	{
		key: "trace.endpoint", arg: "URL",
		fixed:   true,
		example: "trace: {endpoint: \"http://127.0.0.1:4318\"}",
		doc: "OpenTelemetry collector that gets a span for each login, each role statement and each run of the reconciler, by OTLP over HTTP: " +
			"http, or https, a host, and a path if it is another than /v1/traces. OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE " +
			"are respected (docs/operations.md). Empty: there are no traces.",
		set: into(func(c *Config) *string { return &c.Trace.Endpoint }, parseCollector),
	},
	{
		key: "trace.ratio", arg: "NUMBER", def: "1",
		fixed:   true,
		example: "trace: {endpoint: \"http://127.0.0.1:4318\", ratio: 0.1}",
		doc:     "The part of the traces that is kept, from 0 to 1. An application that names its trace decides for itself.",
		set:     into(func(c *Config) *float64 { return &c.Trace.Ratio }, parseRatio),
	},
	{
		key: "trace.service", arg: "NAME", def: "pgscope-proxy",
		fixed:   true,
		example: "trace: {endpoint: \"http://127.0.0.1:4318\", service: orders-proxy}",
		doc:     "What the process is called in traces (service.name). OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before it.",
		set:     into(func(c *Config) *string { return &c.Trace.Service }, parseName),
	},
}

// databasesKey is the section of the file with what is set for single databases.
const databasesKey = "databases"

// databaseSettings is the table of what can be set for one database, in the file only.
var databaseSettings = []setting[Database]{
	{
		key: "prefix", arg: "PREFIX",
		fixed:   true,
		example: "databases: {orders_production: {prefix: orders}}",
		doc: "What the names of the database's roles begin with on the server, before an underscore. It is fixed when the database gets its " +
			"first role; a change here does not rename roles. At most 61 bytes; two databases cannot have the same. Empty: the database's name.",
		set: into(func(d *Database) *string { return &d.Prefix }, parsePrefix),
	},
	{
		key: "mode", arg: "MODE",
		example: `databases: {legacy: {mode: "off"}}`,
		doc:     "The mode of this database, as the setting of that name. Not set: the proxy's.",
		set:     into(func(d *Database) *scope.Mode { return &d.Mode }, parseMode),
	},
}
