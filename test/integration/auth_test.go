package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// authCluster is a cluster with TLS whose database "orders" has roles, and which knows the proxy by its certificate.
func authCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c := pgtest.Start(t, pgtest.Options{TLS: true, HBA: []string{
		"host    all postgres 127.0.0.1/32 trust",
		"hostssl all orders_known,orders_mapped,global_known 127.0.0.1/32 cert map=proxies",
		"host    all orders_clear 127.0.0.1/32 password",
		"host    all orders_open,orders_staff 127.0.0.1/32 trust",
		"host    all all 127.0.0.1/32 scram-sha-256",
	}, Ident: []string{"proxies pgscope orders_known", "proxies pgscope orders_mapped"}})
	c.CreateDatabase(t, "orders")
	c.Psql(t, "postgres", `CREATE ROLE global LOGIN PASSWORD 'secret'; CREATE ROLE billing_app LOGIN PASSWORD 'secret';
		SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'secret'`)
	start(t, c, permissive(t)).open(t, "orders", "postgres", "application_name", "bystander").query(`
		CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE ROLE clear LOGIN PASSWORD 'secret'; CREATE ROLE open LOGIN PASSWORD 'secret';
		CREATE ROLE known LOGIN; CREATE ROLE mapped LOGIN; CREATE ROLE staff; CREATE ROLE late LOGIN PASSWORD 'secret' VALID UNTIL '2001-01-01'`)
	return c
}

// withTLS gives a proxy a certificate from the cluster's authority, which signs clients' certificates too.
func withTLS(t *testing.T, c *pgtest.Cluster) func(*proxy.Options) {
	t.Helper()
	cert, key, err := c.ServerCert()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(c.CACert)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pem)
	return func(o *proxy.Options) {
		o.ClientTLS = proxy.TLSAllow
		o.TLS = &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12,
		}
	}
}

// upstream is the option of a proxy that comes to the server in another way.
func upstream(t *testing.T, c *pgtest.Cluster, params ...string) func(*proxy.Options) {
	t.Helper()
	u, err := proxy.NewUpstream(c.DSN(params...))
	if err != nil {
		t.Fatal(err)
	}
	return func(o *proxy.Options) { o.Upstream = u }
}

func authBy(method proxy.AuthMethod, rules ...proxy.AuthRule) func(*proxy.Options) {
	return func(o *proxy.Options) { o.Auth, o.AuthRules = method, rules }
}

// clients are the drivers that log in: each returns who the server says that it is, or the error.
var clients = map[string]func(t *testing.T, dsn string) string{
	"psql": func(t *testing.T, dsn string) string {
		cmd := exec.Command("psql", "-X", "-q", "-A", "-t", "-c", "SELECT session_user", dsn)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nowhere", "LC_ALL=C", "PGPASSWORD=secret"}
		out, err := cmd.CombinedOutput()
		if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		text := strings.TrimSpace(string(out))
		if _, after, ok := strings.Cut(text, "FATAL:  "); ok {
			text, _, _ = strings.Cut(after, "\n")
		}
		return text
	},
	"pgx": func(t *testing.T, dsn string) string {
		config, err := pgconn.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		config.Password = "secret"
		c, err := pgconn.ConnectConfig(t.Context(), config)
		if failure := (*pgconn.PgError)(nil); errors.As(err, &failure) {
			return failure.Message
		}
		if err != nil {
			return err.Error()
		}
		defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
		r := c.ExecParams(t.Context(), "SELECT session_user::text", nil, nil, nil, nil).Read()
		if r.Err != nil {
			return r.Err.Error()
		}
		return string(r.Rows[0][0])
	},
}

// TestAuthMatrix logs in by each combination of what the proxy does and the two legs, with and without channel binding.
func TestAuthMatrix(t *testing.T) {
	c := authCluster(t)
	const (
		in      = "app"
		noTLS   = "require, and there is no TLS"
		cannot  = "require, and the proxy ends TLS"
		attack  = "both legs have TLS: looks like an attack"
		notHere = "psql 15 has no sslnegotiation"
	)
	outcomes := map[string]string{ // part of what clients say
		in: "app", noTLS: "hannel binding", cannot: "hannel binding", attack: "channel binding negotiation error", notHere: "sslnegotiation",
	}
	serverLegs := []struct{ name, params string }{{"plain", "sslmode=disable"}, {"TLS", "sslmode=verify-full"}}
	clientLegs := []struct{ name, params string }{
		{"plain", "sslmode=disable"},
		{"TLS", "sslmode=verify-full sslrootcert='" + c.CACert + "'"},
		{"direct TLS", "sslmode=verify-full sslnegotiation=direct sslrootcert='" + c.CACert + "'"},
	}
	want := func(driver, method, client, server, binding string) string {
		switch {
		case driver == "psql" && client == "direct TLS":
			return notHere
		case binding == "require" && client == "plain":
			return noTLS
		case method == "verify":
			return in
		case binding == "require":
			return cannot
		case binding == "prefer" && client != "plain" && server == "TLS":
			return attack
		default:
			return in
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-12s %-10s %-6s %-8s %-4s %s\n", "auth", "client leg", "server", "binding", "by", "result")
	for _, method := range []proxy.AuthMethod{proxy.AuthPassthrough, proxy.AuthVerify} {
		for _, server := range serverLegs {
			via := start(t, c, quiet, withAdmin(t, c), withTLS(t, c), upstream(t, c, server.params), authBy(method))
			for _, client := range clientLegs {
				for _, binding := range []string{"disable", "prefer", "require"} {
					for _, driver := range []string{"psql", "pgx"} {
						dsn := fmt.Sprintf("host=localhost port=%d dbname=orders user=app channel_binding=%s %s", via.port, binding, client.params)
						got := clients[driver](t, dsn)
						expected := want(driver, string(method), client.name, server.name, binding)
						if ok := strings.Contains(got, outcomes[expected]); !ok || expected == in && got != in {
							t.Errorf("%s, client %s, server %s, channel_binding=%s, %s: %s", method, client.name, server.name, binding, driver, got)
						}
						result := "in"
						if expected != in {
							result = expected
						}
						fmt.Fprintf(&table, "%-12s %-10s %-6s %-8s %-4s %s\n", method, client.name, server.name, binding, driver, result)
					}
				}
			}
		}
	}
	t.Logf("\n%s", &table)
}

// TestVerify looks at who is let in where the proxy checks passwords, and at what the others are told: the same.
func TestVerify(t *testing.T) {
	c := authCluster(t)
	via := start(t, c, quiet, withAdmin(t, c), authBy(proxy.AuthVerify))
	for _, l := range []struct{ user, password, code, message string }{
		{"app", "secret", "", ""},
		{"global", "secret", "", ""},
		{"open", "secret", "", ""}, // the server asks for nothing: the proxy has
		{"app", "wrong", "28P01", `password authentication failed for user "app"`},
		{"open", "wrong", "28P01", `password authentication failed for user "open"`},
		{"known", "secret", "28P01", `password authentication failed for user "known"`}, // has no password
		{"late", "secret", "28P01", `password authentication failed for user "late"`},   // has expired
		{"old", "secret", "28P01", `password authentication failed for user "old"`},     // is an MD5 hash
		{"nobody", "secret", "28P01", `password authentication failed for user "nobody"`},
		{"orders_app", "secret", "28P01", `password authentication failed for user "orders_app"`}, // its cluster name is no name here
		{"clear", "secret", "0A000", "the server asks for clear-text password authentication, for which the proxy has no password"},
	} {
		called, failure := logIn(t, via, l.user, l.password)
		switch {
		case l.code == "" && (failure != nil || called != l.user):
			t.Errorf("%s: %q, %v", l.user, called, failure)
		case l.code != "" && (failure == nil || failure.Code != l.code || failure.Message != l.message || failure.Severity != "FATAL"):
			t.Errorf("%s: %v, want %s", l.user, failure, l.message)
		}
	}
	// A password that was changed directly is another one at once.
	c.Psql(t, "postgres", "ALTER ROLE orders_app PASSWORD 'new'")
	if _, failure := logIn(t, via, "app", "secret"); failure == nil || failure.Code != "28P01" {
		t.Errorf("the old password: %v", failure)
	}
	if _, failure := logIn(t, via, "app", "new"); failure != nil {
		t.Errorf("the new password: %v", failure)
	}
}

// TestVerifyWithoutSuperuser has an admin connection that may read passwords, and no more.
func TestVerifyWithoutSuperuser(t *testing.T) {
	c := authCluster(t)
	c.Psql(t, "postgres", `CREATE ROLE reader LOGIN PASSWORD 'secret'`)
	config, err := pgconn.ParseConfig(c.DSN("user=reader", "password=secret"))
	if err != nil {
		t.Fatal(err)
	}
	via := start(t, c, quiet, authBy(proxy.AuthVerify), func(o *proxy.Options) { o.Admin = config })
	if _, failure := logIn(t, via, "app", "secret"); failure == nil || failure.Message != "the proxy cannot check passwords now" {
		t.Errorf("without the privilege: %v", failure)
	}
	c.Psql(t, "postgres", "GRANT SELECT ON pg_authid TO reader")
	if _, failure := logIn(t, via, "app", "secret"); failure != nil {
		t.Errorf("with the privilege: %v", failure)
	}
}

// TestAuthRules lets clients in by what they are. The server knows the proxy by its certificate.
func TestAuthRules(t *testing.T) {
	c := authCluster(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := c.ClientCert(t.TempDir(), "pgscope")
	if err != nil {
		t.Fatal(err)
	}
	socket := t.TempDir() + "/.s.PGSQL.6432"
	local := proxy.AddressSet{Local: true}
	loopback := proxy.AddressSet{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	elsewhere := proxy.AddressSet{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	names := map[string][]string{me.Username: {"mapped"}, "client": {"mapped"}}
	onBoth := func(o *proxy.Options) { o.Listen = append(o.Listen, socket) }
	via := start(t, c, quiet, withAdmin(t, c), withTLS(t, c), onBoth,
		upstream(t, c, "sslcert="+cert, "sslkey="+key),
		authBy(proxy.AuthReject,
			proxy.AuthRule{Users: []string{"known"}, Clients: elsewhere, Method: proxy.AuthTrust},
			proxy.AuthRule{Databases: []string{"billing"}, Method: proxy.AuthTrust},
			proxy.AuthRule{Users: []string{"mapped"}, Clients: local, Method: proxy.AuthPeer, Names: names},
			proxy.AuthRule{Users: []string{"mapped", "known"}, Clients: loopback, Method: proxy.AuthCert, Names: names},
			proxy.AuthRule{Users: []string{"open", "staff", "app"}, Method: proxy.AuthTrust},
			proxy.AuthRule{Users: []string{"known"}, Method: proxy.AuthPeer},
		))
	tcp := fmt.Sprintf("host=127.0.0.1 port=%d dbname=orders", via.port)
	unix := "host=" + socket[:len(socket)-len("/.s.PGSQL.6432")] + " port=6432 dbname=orders"
	withCert := func(name string, others ...string) string {
		cert, key, err := c.ClientCert(t.TempDir(), name, others...)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s sslmode=verify-full sslrootcert='%s' sslcert=%s sslkey=%s", tcp, c.CACert, cert, key)
	}
	tlsOnly := fmt.Sprintf("%s sslmode=verify-full sslrootcert='%s'", tcp, c.CACert)
	for _, l := range []struct{ name, dsn, user, want string }{
		{"peer, mapped", unix, "mapped", "mapped"},
		{"peer, another", unix, "known", `peer authentication failed for user "known"`},
		{"certificate", withCert("known"), "known", "known"},
		{"certificate with two names", withCert("known", "client"), "known", "known"},
		{"certificate with two names, by the second", withCert("client", "known"), "known", `certificate authentication failed for user "known"`},
		{"certificate, mapped", withCert("client"), "mapped", "mapped"},
		{"certificate of another", withCert("known"), "mapped", `certificate authentication failed for user "mapped"`},
		{"certificate, not of the list", withCert("client"), "known", `certificate authentication failed for user "known"`},
		{"no certificate", tlsOnly, "known", `certificate authentication failed for user "known"`},
		{"cert without TLS", tcp + " sslmode=disable", "known", `authentication failed for user "known": connection rejected`},
		{"trust", tcp + " sslmode=disable", "open", "open"},
		{"trust, may not log in", tcp + " sslmode=disable", "staff", `role "staff" is not permitted to log in`},
		{"trust, the server asks", tcp + " sslmode=disable", "app", "the server asks for a password, which the proxy does not have after trust authentication"},
		{"no rule", tcp + " sslmode=disable", "global", `authentication failed for user "global": connection rejected`},
	} {
		if got := clients["pgx"](t, l.dsn+" user="+l.user); !strings.Contains(got, l.want) {
			t.Errorf("%s: %s", l.name, got)
		}
	}
}

// TestLoginFailures guesses passwords until the proxy has enough of it.
func TestLoginFailures(t *testing.T) {
	c := loginCluster(t)
	via := start(t, c, quiet, func(o *proxy.Options) { o.LoginFailures, o.LoginFailureDelay = 3, time.Millisecond })
	for range 3 {
		if _, failure := logIn(t, via, "clear", "wrong"); failure == nil || failure.Code != "28P01" {
			t.Errorf("a wrong password: %v", failure)
		}
	}
	_, failure := logIn(t, via, "clear", "secret")
	if failure == nil || failure.Code != "53300" || failure.Message != "too many failed logins from this address" || failure.Hint == "" {
		t.Errorf("after three: %v", failure)
	}
}
