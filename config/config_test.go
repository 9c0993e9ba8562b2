package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"

	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/scope"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// sources are what one test has instead of a process's own.
type sources struct {
	args []string
	env  map[string]string
	file string // contents; no file if empty
}

func (s sources) load(t *testing.T) (*config.Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, value := range s.env {
		t.Setenv(name, value)
	}
	args := s.args
	if s.file != "" {
		write(t, "pgscope.yaml", s.file)
		args = append([]string{"--config", "pgscope.yaml"}, args...)
	}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return config.Load(flags)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func defaults() *config.Config {
	upstream, _ := config.ParseDSN("host=db")
	return &config.Config{
		Listen: []string{"127.0.0.1:6432"}, Upstream: upstream, Mode: scope.Transparent, HTTPListen: "127.0.0.1:9632",
		Reconcile: config.Reconcile{Interval: 5 * time.Minute, OnDrift: config.DriftRepair, Mode: "authoritative"},
		LogFormat: config.LogJSON, LogLevel: zapcore.InfoLevel,
		LoginTimeout: time.Minute, ConnectTimeout: 10 * time.Second, ShutdownGrace: 30 * time.Second, MaxStatementSize: 64 << 20,
		Auth: config.AuthPassthrough, LoginFailures: 100, ProxyProtocol: config.ProxyProtocol{Mode: config.ProxyProtocolOff},
		Pool: config.PoolOff, PoolIdle: 20, PoolSize: 50, PoolLifetime: 10 * time.Minute, PoolCheck: time.Second,
		ClientTLS: config.ClientTLS{Mode: config.TLSOff}, Databases: map[string]config.Database{},
		Audit: config.Audit{MaxSize: 100 << 20, Overflow: config.OverflowRefuse},
		Trace: config.Trace{Ratio: 1, Service: "pgscope-proxy"},
	}
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name string
		from sources
		want func(*config.Config)
	}{
		{"defaults", sources{}, func(*config.Config) {}},
		{
			"flag before environment before file",
			sources{
				args: []string{"--mode", "explicit"},
				env:  map[string]string{"PGSCOPE_MODE": "off", "PGSCOPE_LOG_LEVEL": "warn"},
				file: "mode: transparent\nlog-level: debug\nlog-format: console\n",
			},
			func(c *config.Config) {
				c.Mode, c.LogLevel, c.LogFormat = scope.Explicit, zapcore.WarnLevel, config.LogConsole
			},
		},
		{
			"everything in the file",
			sources{file: `
listen: [":0", unix:/run/a.sock, /run/b.sock]
mode: off
policy: p.yaml
manifest: m.yaml
admin-dsn: host=db
reconcile: {interval: 1s, on-drift: report, mode: adopt, database: Orders, required: true}
http-listen: "[::1]:80"
log-format: console
log-level: error
login-timeout: 1m30s
connect-timeout: 500ms
shutdown-grace: 0s
max-statement-size: 1GiB
max-connections: 4
max-connections-per-address: 3
max-connections-per-user: 2
max-connections-per-database: 1
idle-timeout: 1h
idle-in-transaction-timeout: 1m
login-failure-delay: 1s
client-tls:
  mode: verify-full
  cert: c
  key: k
  ca: a
databases:
  Orders.v2: {prefix: 007, mode: explicit}
  b:
`},
			func(c *config.Config) {
				c.Listen, c.Mode, c.Policy, c.Manifest = []string{":0", "/run/a.sock", "/run/b.sock"}, scope.Off, "p.yaml", "m.yaml"
				c.AdminDSN, _ = config.ParseDSN("host=db")
				c.Reconcile = config.Reconcile{Interval: time.Second, OnDrift: config.DriftReport, Mode: "adopt", Database: "Orders", Required: true}
				c.HTTPListen, c.LogFormat, c.LogLevel = "[::1]:80", config.LogConsole, zapcore.ErrorLevel
				c.LoginTimeout, c.ConnectTimeout, c.ShutdownGrace = 90*time.Second, 500*time.Millisecond, 0
				c.MaxStatementSize = 1 << 30
				c.Limits = config.Limits{Connections: 4, PerAddress: 3, PerUser: 2, PerDatabase: 1}
				c.IdleTimeout, c.IdleInTransactionTimeout, c.LoginFailureDelay = time.Hour, time.Minute, time.Second
				c.ClientTLS = config.ClientTLS{Mode: config.TLSVerifyFull, Cert: "c", Key: "k", CA: "a"}
				c.Databases = map[string]config.Database{"Orders.v2": {Prefix: "007", Mode: scope.Explicit}, "b": {}}
			},
		},
		{
			"sections in flags and environment",
			sources{
				args: []string{"--client-tls-mode=allow"},
				env:  map[string]string{"PGSCOPE_CLIENT_TLS_CERT": "env.crt"},
				file: "client-tls: {cert: file.crt, key: file.key}",
			},
			func(c *config.Config) {
				c.ClientTLS = config.ClientTLS{Mode: config.TLSAllow, Cert: "env.crt", Key: "file.key"}
			},
		},
		{
			"who is let in how",
			sources{file: `
auth: verify
admin-dsn: host=db
auth-rules:
  - {method: peer, clients: local, names: {root: [postgres, "a,b"]}}
  - {method: trust, databases: [a, "b,c"], users: d, clients: [10.0.0.0/8, "::1", local]}
login-failures: 0
proxy-protocol: {mode: require, from: [10.0.0.1, "2001:db8::/32"]}
application-name-add-host: true
pool-lifetime: 1h
pool-check: 0s
`},
			func(c *config.Config) {
				c.PoolLifetime, c.PoolCheck = time.Hour, 0
				c.AdminDSN, _ = config.ParseDSN("host=db")
				c.Auth, c.LoginFailures, c.ApplicationNameAddHost = config.AuthVerify, 0, true
				network := netip.MustParsePrefix
				c.AuthRules = []config.AuthRule{
					{Method: config.AuthPeer, Local: true, Names: map[string][]string{"root": {"postgres", "a,b"}}},
					{
						Method: config.AuthTrust, Databases: []string{"a", "b,c"}, Users: []string{"d"}, Local: true,
						Networks: []netip.Prefix{network("10.0.0.0/8"), network("::1/128")},
					},
				}
				c.ProxyProtocol = config.ProxyProtocol{
					Mode: config.ProxyProtocolRequire, From: []netip.Prefix{network("10.0.0.1/32"), network("2001:db8::/32")},
				}
			},
		},
		{
			"several addresses",
			sources{args: []string{"--listen", ":1,:2", "--listen", ":3"}},
			func(c *config.Config) { c.Listen = []string{":1", ":2", ":3"} },
		},
		{
			"the last flag wins",
			sources{args: []string{"--mode", "off", "--mode", "explicit"}},
			func(c *config.Config) { c.Mode = scope.Explicit },
		},
		{
			"empty turns off",
			sources{env: map[string]string{"PGSCOPE_HTTP_LISTEN": "", "PGSCOPE_POLICY": ""}, file: "policy: p.yaml\nhttp-listen: :80"},
			func(c *config.Config) { c.HTTPListen = "" },
		},
		{
			"variables of others",
			sources{env: map[string]string{
				"PGSCOPE_TEST_PG_BIN": "/x", "PGSCOPE_SERVICE_HOST": "10.0.0.1", "PGSCOPE_SERVICE_PORT_HTTP": "1", "PGSCOPE_PORT": "tcp://x",
				"PGSCOPE_PROXY_PORT_6432_TCP": "tcp://x", "PGSCOPE_PROXY_PORT_6432_TCP_ADDR": "x", "PGSCOPED": "x",
			}},
			func(*config.Config) {},
		},
		{
			"audit",
			sources{file: "audit: {file: a.log, stdout: true, syslog: tcp:127.0.0.1:514, max-size: 1MiB, max-age: 24h, keep: 7, overflow: drop}"},
			func(c *config.Config) {
				c.Audit = config.Audit{
					File: "a.log", Stdout: true, Syslog: "tcp:127.0.0.1:514", MaxSize: 1 << 20, MaxAge: 24 * time.Hour, Keep: 7, Overflow: config.OverflowDrop,
				}
			},
		},
		{
			"traces",
			sources{file: `trace: {endpoint: "https://otel.internal:4318/x", ratio: 0.25, service: orders}`},
			func(c *config.Config) {
				c.Trace = config.Trace{Endpoint: "https://otel.internal:4318/x", Ratio: 0.25, Service: "orders"}
			},
		},
		{"a size in bytes", sources{args: []string{"--max-statement-size", "8192"}}, func(c *config.Config) { c.MaxStatementSize = 8192 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.from.args = append(c.from.args, "--upstream", "host=db")
			got, err := c.from.load(t)
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			c.want(want)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(config.DSN{}), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "dsn")
	write(t, secret, "host=db password=file\n")
	for _, c := range []struct {
		name string
		from sources
		want string
	}{
		{"file", sources{file: "upstream: host=db password=yaml"}, "host=db password=yaml"},
		{"environment", sources{env: map[string]string{"PGSCOPE_UPSTREAM": "host=db password=env"}, file: "upstream: host=x"}, "host=db password=env"},
		{"named file", sources{env: map[string]string{"PGSCOPE_UPSTREAM_FILE": secret}, file: "upstream: host=x"}, "host=db password=file"},
		{"flag", sources{env: map[string]string{"PGSCOPE_UPSTREAM_FILE": secret}, args: []string{"--upstream", "host=flag"}}, "host=flag"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.from.load(t)
			if err != nil {
				t.Fatal(err)
			}
			if got.Upstream.Reveal() != c.want {
				t.Errorf("%s, want %s", got.Upstream.Reveal(), c.want)
			}
		})
	}
}

// keysOfFile is the list of all keys of a file, which grows with the table of settings.
var keysOfFile = regexp.MustCompile(`known are admin-dsn, [a-z, -]*`)

func TestMistakes(t *testing.T) {
	const notSet = "upstream: must be set: by --upstream, PGSCOPE_UPSTREAM, the file that PGSCOPE_UPSTREAM_FILE names, or upstream in the file of --config"
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		name string
		from sources
		want []string
	}{
		{"nothing", sources{}, []string{notSet}},
		{"no such file", sources{args: []string{"--config", "nowhere.yaml", "--upstream", "host=db"}}, []string{"--config: open nowhere.yaml: no such file or directory"}},
		{"no such file, nor anything else", sources{args: []string{"--config", "nowhere.yaml"}}, []string{"--config: open nowhere.yaml: no such file or directory"}},
		{"no YAML", sources{file: "upstream: host=db\nauth: ["}, []string{"pgscope.yaml:2:7: sequence end token ']' not found"}},
		{"no such file in the environment", sources{env: map[string]string{"PGSCOPE_CONFIG": "x", "PGSCOPE_UPSTREAM": "host=db"}}, []string{"PGSCOPE_CONFIG: open x: no such file or directory"}},
		{
			"all sources at once, also where another wins",
			sources{
				args: []string{"--mode", "off", "--upstream", "oops"},
				env:  map[string]string{"PGSCOPE_MODE": "", "PGSCOPE_LISTEN": "here", "PGSCOPE_ADMIN_DSN": "host=x", "PGSCOPE_ADMIN_DSN_FILE": "/x", "PGSCOPE_Z": "", "PGSCOPE_A": ""},
				file: "mode: on\nclient-tls: {mode: verify-full}",
			},
			[]string{
				`PGSCOPE_LISTEN: "here" is no address like 127.0.0.1:6432`,
				"--upstream: neither a URI like postgres://db:5432 nor keywords like host=db port=5432",
				"PGSCOPE_ADMIN_DSN_FILE: PGSCOPE_ADMIN_DSN is set too",
				`PGSCOPE_MODE: "" is none of transparent, explicit, off`,
				"PGSCOPE_A: unknown environment variable; no setting has this name",
				"PGSCOPE_Z: unknown environment variable; no setting has this name",
				`pgscope.yaml:1:7: mode: "on" is none of transparent, explicit, off`,
				"client-tls.cert: must be set unless client-tls.mode is off",
				"client-tls.key: must be set unless client-tls.mode is off",
				"client-tls.ca: must be set if client-tls.mode is verify-full",
			},
		},
		{
			"the file",
			sources{file: `
lisen: x
listen:
  - 127.0.0.1
  - localhost:http
  - unix:run/x
  - /` + strings.Repeat("x", 107) + `
upstream: {host: db}
manner: off
policy:
http-listen: /run/x
log-format: xml
log-level: fatal
login-timeout: 60
connect-timeout: -1s
shutdown-grace: soon
max-statement-size: 64MB
client-tls: require
databases:
  ` + long + `:
  a: {prefix: pg, modus: off}
  b: {prefix: c, mode: on}
  c: {}
  d: {prefix: ` + long + `}
`},
			[]string{
				`pgscope.yaml:2:1: unknown key "lisen": did you mean "listen"?`,
				`pgscope.yaml:4:5: listen: "127.0.0.1" is no address like 127.0.0.1:6432`,
				`pgscope.yaml:5:5: listen: "localhost:http" is no address like 127.0.0.1:6432`,
				`pgscope.yaml:6:5: listen: "unix:run/x": the path of a Unix socket is absolute`,
				`pgscope.yaml:7:5: listen: "/` + strings.Repeat("x", 107) + `": the path of a Unix socket has at most 107 bytes`,
				`pgscope.yaml:8:11: a mapping stands where one value should`,
				`pgscope.yaml:9:1: unknown key "manner": known are KEYS`,
				`pgscope.yaml:10:1: a value is missing; "" is the empty one`,
				`pgscope.yaml:11:14: http-listen: "/run/x" is no address like 127.0.0.1:6432`,
				`pgscope.yaml:12:13: log-format: "xml" is none of json, console`,
				`pgscope.yaml:13:12: log-level: "fatal" is none of debug, info, warn, error`,
				`pgscope.yaml:14:16: login-timeout: "60" is no duration like 30s, 1m30s or 500ms`,
				`pgscope.yaml:15:18: connect-timeout: -1s is less than 1ms`,
				`pgscope.yaml:16:17: shutdown-grace: "soon" is no duration like 30s, 1m30s or 500ms`,
				`pgscope.yaml:17:21: max-statement-size: "64MB" is no size like 65536, 64KiB, 16MiB or 1GiB`,
				`pgscope.yaml:18:13: one value stands where keys and values should`,
				`pgscope.yaml:20:3: the name of a database has from 1 to 63 bytes`,
				`pgscope.yaml:21:15: prefix: names that begin with "pg_" are reserved`,
				`pgscope.yaml:21:19: unknown key "modus": known are mode, prefix`,
				`pgscope.yaml:22:24: mode: "on" is none of transparent, explicit, off`,
				`pgscope.yaml:23:6: database "b" has the prefix "c" already`,
				`pgscope.yaml:24:15: prefix: a prefix has at most 61 bytes, this one has 64`,
			},
		},
		{
			"who is let in how",
			sources{file: `
upstream: host=db
auth: md5
auth-rules:
  - {users: [a]}
  - {method: scram}
  - {method: verify, names: {a: b}, clients: [10.0.0.1/8, here, "::ffff:10.0.0.0/104"], user: x}
login-failures: -1
proxy-protocol: {mode: require}
pool: transaction
pool-size: 0
trace: {endpoint: "http://key@collector:4318", ratio: 1.5}
`},
			[]string{
				`pgscope.yaml:3:7: auth: "md5" is none of passthrough, verify, cert, peer, trust, reject`,
				`pgscope.yaml:5:5: a rule needs a method`,
				`pgscope.yaml:6:5: a rule needs a method`,
				`pgscope.yaml:6:14: "scram" is none of passthrough, verify, cert, peer, trust, reject`,
				`pgscope.yaml:7:5: names are of use with the methods cert and peer only`,
				`pgscope.yaml:7:47: "10.0.0.1/8" is no address and no network like 10.0.0.0/8`,
				`pgscope.yaml:7:59: "here" is no address and no network like 10.0.0.0/8`,
				`pgscope.yaml:7:65: "::ffff:10.0.0.0/104" is a network of IPv4 addresses in IPv6; write it as one of IPv4`,
				`pgscope.yaml:7:89: unknown key "user": did you mean "users"?`,
				`pgscope.yaml:8:17: login-failures: "-1" is no number from 0 to 1000000`,
				`pgscope.yaml:10:7: pool: "transaction" is none of off, session`,
				`pgscope.yaml:11:12: pool-size: "0" is no number from 1 to 100000`,
				"pgscope.yaml:12:19: trace.endpoint: no user and password have a place in it; OTEL_EXPORTER_OTLP_HEADERS has",
				`pgscope.yaml:12:55: trace.ratio: "1.5" is no number from 0 to 1`,
				"admin-dsn: must be set where auth, or a rule of auth-rules, is verify",
				"proxy-protocol.from: must be set if proxy-protocol.mode is require",
			},
		},
		{"collector", sources{args: []string{"--trace-endpoint", "127.0.0.1:4318"}}, []string{`invalid argument "127.0.0.1:4318" for "--trace-endpoint" flag: it is no URL like http://127.0.0.1:4318`}},
		{"flag", sources{args: []string{"--max-statement-size", "2GiB"}}, []string{`invalid argument "2GiB" for "--max-statement-size" flag: 2GiB is not from 8KiB to 1GiB`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.from.load(t)
			got := keysOfFile.ReplaceAllString(fmt.Sprint(err), "known are KEYS")
			if diff := cmp.Diff(strings.Join(c.want, "\n"), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDSN(t *testing.T) {
	for _, c := range []struct{ dsn, want string }{
		{"", ""},
		{"host=db port=5432", "host=db port=5432"},
		{"  host = db  password = secret ", "host=db password=xxxxx"},
		{`user='a b' password='secret\' host=x' host=db`, "user='a b' password=xxxxx host=db"},
		{"sslpassword=secret sslkey=secret options=secret", "sslpassword=xxxxx sslkey=xxxxx options=xxxxx"},
		{"postgres://db/orders", "postgres://db/orders"},
		{"postgres://u@db", "postgres://u@db"},
		{"postgresql://u:secret@a:1,b:2/orders?sslmode=require", "postgresql://u:xxxxx@a:1,b:2/orders?sslmode=require"},
		{"postgres://u:sec@ret@db/orders", "postgres://u:xxxxx@db/orders"},
		{"postgres://u:sec/ret@db", "postgres://xxxxx@db"},
		{"postgres://u:secret?x@db", "postgres://xxxxx@db"},
		{"postgres://db/orders?user=u&password=secret&sslmode=require", "postgres://db/orders?user=u&password=xxxxx&sslmode=require"},
		{"postgres://u:secret", "postgres://xxxxx"},
		{"postgres://u:secret/orders", "postgres://xxxxx"},
		{"postgres://[::1]:5432,b/orders", "postgres://[::1]:5432,b/orders"},
		{"postgres:///orders?host=/run/pg&sslpassword=secret", "postgres:///orders?host=/run/pg&xxxxx=xxxxx"},
		{"host= password=secret", "host=xxxxx"},
		{"postgres://db?user=u&password=sec@ret", "postgres://xxxxx@ret"},
	} {
		d, err := config.ParseDSN(c.dsn)
		if err != nil {
			t.Errorf("%s: %v", c.dsn, err)
			continue
		}
		if d.Reveal() != c.dsn || d.Empty() != (c.dsn == "") || d.String() != c.want {
			t.Errorf("%s: %s, want %s", c.dsn, d, c.want)
		}
		inJSON, err := json.Marshal(struct{ D config.DSN }{d})
		if err != nil {
			t.Error(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			printed := fmt.Sprintf(verb+"%s", struct{ D config.DSN }{d}, inJSON)
			if strings.Contains(printed, "secret") {
				t.Errorf("%s shows %s", verb, printed)
			}
		}
	}
	for _, bad := range []string{
		"secret", "host=db secret", "password='secret", "=secret", "host=db postgres://u:secret@x",
		"host=db secret=x", "password=my secret=1", "postgres://u:secret@db/orders?secret=1&sslmode=require",
	} {
		if _, err := config.ParseDSN(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// FuzzDSN looks for connection strings that show their password.
func FuzzDSN(f *testing.F) {
	f.Add("host=db ", "' sslmode=require", "")
	f.Add("postgres://u:", "@db/x?y=z", "pass")
	f.Fuzz(func(t *testing.T, before, after, word string) {
		password := "QzX" + word + "XzQ" // what stands before and after does not hold it
		if strings.Contains(before, "QzX") || strings.Contains(after, "QzX") {
			return
		}
		for _, form := range []string{
			"password=" + password + " " + after,
			"password='" + password + "' " + after,
			before + " password=" + password,
			"postgres://u:" + password + "@" + after,
			"postgres://" + after + "?password=" + password,
		} {
			if d, err := config.ParseDSN(form); err == nil && strings.Contains(d.String(), password) {
				t.Errorf("%q is shown as %q", form, d)
			}
		}
	})
}

func TestFlags(t *testing.T) {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(flags)
	for _, want := range []string{
		"      --listen ADDR                            Addresses to accept clients on (default 127.0.0.1:6432)\n",
		"      --admin-dsn DSN ", "      --config FILE ", "      --client-tls-mode MODE ",
	} {
		if !strings.Contains(flags.FlagUsages(), want) {
			t.Errorf("%q is missing in\n%s", want, flags.FlagUsages())
		}
	}
}

func TestNeedRestart(t *testing.T) {
	before, after := defaults(), defaults()
	before.Databases = map[string]config.Database{"a": {Prefix: "x"}, "b": {Mode: scope.Off}, "c": {Prefix: "y"}}
	after.Databases = map[string]config.Database{"a": {Prefix: "z"}, "c": {Prefix: "y", Mode: scope.Off}, "d": {Prefix: "x"}}
	after.Mode, after.LogLevel, after.Limits.PerUser = scope.Explicit, zapcore.DebugLevel, 1
	after.Listen = []string{"127.0.0.1:6433"}
	after.Upstream, _ = config.ParseDSN("host=db password=other")
	want := []string{"databases.a.prefix", "databases.d.prefix", "listen", "upstream"}
	if diff := cmp.Diff(want, config.NeedRestart(before, after)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if keys := config.NeedRestart(after, after); len(keys) > 0 {
		t.Errorf("no change needs a restart for %v", keys)
	}
}

// TestReference keeps docs/configuration.md in step; -update writes it.
func TestReference(t *testing.T) {
	const file = "../docs/configuration.md"
	if *update {
		write(t, file, config.Reference())
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Reference(), string(have)); diff != "" {
		t.Errorf("%s is out of step; go test ./config -update writes it (-want +have)\n%s", file, diff)
	}
}

// TestExamples loads the examples of the reference: each alone, with what it needs beside it.
func TestExamples(t *testing.T) {
	reference := config.Reference()
	_, block, _ := strings.Cut(reference, "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	examples := []string{block}
	for line := range strings.Lines(reference) {
		if example, ok := strings.CutPrefix(line, "- Example: `"); ok {
			examples = append(examples, strings.TrimSuffix(strings.TrimSpace(example), "`"))
		}
	}
	for _, example := range examples {
		t.Run("", func(t *testing.T) {
			if !strings.Contains(example, "upstream:") {
				t.Setenv("PGSCOPE_UPSTREAM", "host=db")
			}
			if !strings.Contains(example, "admin-dsn:") {
				t.Setenv("PGSCOPE_ADMIN_DSN", "host=db")
			}
			if _, err := (sources{file: example}).load(t); err != nil {
				t.Errorf("%s\n%v", example, err)
			}
		})
	}
}

// TestUseless: a setting that another one turns off is told, and no other.
func TestUseless(t *testing.T) {
	for _, c := range []struct {
		file string
		want []config.Useless
	}{
		{"", nil},
		{"client-tls: {mode: require, cert: a, key: b, ca: c}\nproxy-protocol: {mode: require, from: 10.0.0.0/8}\naudit: {file: a, keep: 1, max-age: 1h}", nil},
		{"client-tls: {cert: a, key: b, ca: c}", []config.Useless{{"client-tls.cert", "client-tls.mode is off"}, {"client-tls.ca", "client-tls.mode is off"}}},
		{"proxy-protocol: {from: 10.0.0.0/8}", []config.Useless{{"proxy-protocol.from", "proxy-protocol.mode is off"}}},
		{"audit: {stdout: true, keep: 1, max-age: 1h}", []config.Useless{{"audit.keep", "audit.file is not set"}, {"audit.max-age", "audit.file is not set"}}},
		{"auth: cert", []config.Useless{{"auth", "client-tls.mode is off: nobody has a certificate"}}},
		{"auth-rules: [{method: cert}]", []config.Useless{{"auth-rules", "client-tls.mode is off: nobody has a certificate"}}},
		{"auth: cert\nclient-tls: {mode: require, cert: a, key: b}", []config.Useless{{"auth", "client-tls.ca is not set: nobody has a certificate"}}},
		{"auth: cert\nclient-tls: {mode: require, cert: a, key: b, ca: c}", nil},
		{"pool: session", []config.Useless{{"pool", "auth lets nobody in but by passthrough"}}},
		{"pool: session\nauth-rules: [{method: trust}]", nil},
		{"reconcile: {database: orders}", []config.Useless{{"reconcile.database", "manifest is not set"}}},
	} {
		got, err := sources{file: "upstream: host=db\n" + c.file}.load(t)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got.Useless()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.file, diff)
		}
	}
}
