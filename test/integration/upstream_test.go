package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// pair is a primary and its standby, both of which ask for passwords over TCP.
func pair(t *testing.T) (primary, standby *pgtest.Cluster) {
	t.Helper()
	primary = pgtest.Start(t, pgtest.Options{HBA: []string{"host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"}})
	primary.CreateDatabase(t, "orders")
	start(t, primary, permissive(t)).open(t, "orders", "postgres").query(`CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE ROLE reader LOGIN PASSWORD 'secret'`)
	primary.Psql(t, "postgres", "ALTER ROLE orders_reader SET default_transaction_read_only = on")
	standby = primary.Standby(t)
	return primary, standby
}

// hosts is the connection string of clusters, in an order.
func hosts(params string, list ...*pgtest.Cluster) string {
	var names, ports []string
	for _, c := range list {
		names, ports = append(names, c.Host), append(ports, fmt.Sprint(c.Port))
	}
	return fmt.Sprintf("host=%s port=%s sslmode=disable %s", strings.Join(names, ","), strings.Join(ports, ","), params)
}

func upstreamAt(t *testing.T, dsn string) func(*proxy.Options) {
	t.Helper()
	u, err := proxy.NewUpstream(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *proxy.Options) { o.Upstream = u }
}

// adminAt gives the proxy a connection of its own that follows the primary.
func adminAt(t *testing.T, list ...*pgtest.Cluster) func(*proxy.Options) {
	t.Helper()
	config, err := pgconn.ParseConfig(hosts("user=postgres dbname=postgres target_session_attrs=primary", list...))
	if err != nil {
		t.Fatal(err)
	}
	return func(o *proxy.Options) { o.Admin = config }
}

// serverPort logs in and returns the port of the server that the session is at, or the error.
func (e endpoint) serverPort(t *testing.T, user string) string {
	t.Helper()
	config, err := pgconn.ParseConfig(e.dsn("orders", user))
	if err != nil {
		t.Fatal(err)
	}
	config.Password = "secret"
	c, err := pgconn.ConnectConfig(t.Context(), config)
	if failure := (*pgconn.PgError)(nil); errors.As(err, &failure) {
		return failure.Code + " " + failure.Message
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	r := c.ExecParams(t.Context(), "SHOW port", nil, nil, nil, nil).Read()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return string(r.Rows[0][0])
}

// TestTargetSessionAttrs logs in with each value, to two hosts in both orders.
func TestTargetSessionAttrs(t *testing.T) {
	a, b := pair(t)
	atPrimary, atStandby := fmt.Sprint(a.Port), fmt.Sprint(b.Port)
	for _, test := range []struct{ target, user, want string }{
		{"read-write", "app", atPrimary},
		{"primary", "app", atPrimary},
		{"read-only", "app", atStandby},
		{"standby", "app", atStandby},
		{"prefer-standby", "app", atStandby},
		{"read-only", "reader", atStandby},
		{"read-write", "reader", "08001 session is read-only"}, // on either: as its role says
		{"primary", "reader", atPrimary},
	} {
		for _, order := range [][]*pgtest.Cluster{{a, b}, {b, a}} {
			up := upstreamAt(t, hosts("target_session_attrs="+test.target, order...))
			for name, options := range map[string][]func(*proxy.Options){
				"passthrough": {up, quiet, adminAt(t, a, b)},
				"verify":      {up, quiet, adminAt(t, a, b), authBy(proxy.AuthVerify)},
			} {
				via := start(t, a, options...)
				if got := via.serverPort(t, test.user); got != test.want {
					t.Errorf("%s, %s, %s: %s", test.target, test.user, name, got)
				}
			}
		}
	}
	// Without an admin connection, the first login to the wrong host is told so, and the next goes to the right one. The
	// role has to be known as well: global ones are taken for themselves.
	a.Psql(t, "postgres", "CREATE ROLE global LOGIN PASSWORD 'secret'")
	awaitReplayed(t, a, b) // what a host is, is believed for a while only
	via := start(t, a, quiet, upstreamAt(t, hosts("target_session_attrs=standby", a, b)))
	if got := via.serverPort(t, "global"); got != "08001 server is not in hot standby mode" {
		t.Errorf("first: %s", got)
	}
	if got := via.serverPort(t, "global"); got != atStandby {
		t.Errorf("second: %s", got)
	}
	// Where there is but one host, a preference is none.
	via = start(t, a, quiet, adminAt(t, a), upstreamAt(t, hosts("target_session_attrs=prefer-standby", a)))
	if got := via.serverPort(t, "app"); got != atPrimary {
		t.Errorf("one host: %s", got)
	}
}

// awaitReplayed waits until a standby has what its primary has.
func awaitReplayed(t *testing.T, primary, standby *pgtest.Cluster) {
	t.Helper()
	at := strings.TrimSpace(primary.Psql(t, "postgres", "SELECT pg_current_wal_insert_lsn()"))
	standby.Await(t, "pg_last_wal_replay_lsn() >= '"+at+"'")
}

// TestLoadBalance spreads logins over the hosts.
func TestLoadBalance(t *testing.T) {
	a, b := pair(t)
	via := start(t, a, upstreamAt(t, hosts("load_balance_hosts=random", a, b)))
	seen := map[string]bool{}
	for range 100 { // that all go to one happens once in 2^99 runs
		seen[via.serverPort(t, "postgres")] = true
		if len(seen) == 2 {
			return
		}
	}
	t.Errorf("all sessions are at %v", seen)
}

// TestFailover kills the primary under a client, and promotes the standby.
func TestFailover(t *testing.T) {
	a, b := pair(t)
	via := start(t, a, quiet, adminAt(t, a, b), upstreamAt(t, hosts("target_session_attrs=read-write", a, b)))
	session := via.open(t, "orders", "postgres")
	session.query("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
	waiting := via.open(t, "orders", "postgres")
	waiting.say(&pgproto3.Query{String: "SELECT pg_sleep(600)"})
	awaitSome(t, a, asleep)
	awaitReplayed(t, a, b)
	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*dialogue{"at rest": session, "in a query": waiting} {
		d.toTheEnd()
		const want = "FATAL 08006: server closed the connection unexpectedly"
		if got := d.take(); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := via.serverPort(t, "app"); !strings.HasPrefix(got, "08001 ") {
		t.Errorf("no primary: %s", got)
	}
	if err := b.Promote(); err != nil {
		t.Fatal(err)
	}
	if got := via.serverPort(t, "app"); got != fmt.Sprint(b.Port) {
		t.Errorf("after the promotion: %s", got)
	}
	if got := via.open(t, "orders", "postgres").query("INSERT INTO t VALUES (2); TABLE t"); !slices.Contains(got, `row "2"`) {
		t.Errorf("heard %q", got)
	}
}

// TestCancelElsewhere cancels a query by a request that arrives at another proxy, in front of the same two hosts.
func TestCancelElsewhere(t *testing.T) {
	a, b := pair(t)
	for name, at := range map[string]*pgtest.Cluster{"primary": a, "standby": b} {
		here := start(t, a, upstreamAt(t, hosts("", at)))
		elsewhere := start(t, a, upstreamAt(t, hosts("", a, b)))
		d := here.start(t)
		d.say(&pgproto3.Query{String: "SELECT pg_sleep(600)"})
		awaitSome(t, at, asleep)
		request := elsewhere.dial(t)
		request.say(&pgproto3.CancelRequest{ProcessID: d.key.ProcessID, SecretKey: d.key.SecretKey})
		request.toTheEnd()
		d.ready(1)
		if got := strings.Join(d.take(), "\n"); !strings.Contains(got, "ERROR 57014") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
