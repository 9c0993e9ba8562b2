package integration

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// pooled is the option of a proxy that keeps server connections, for clients that it trusts, and asks about each.
func pooled(o *proxy.Options) {
	o.Auth = proxy.AuthTrust
	o.Pool = proxy.PoolOptions{Idle: 2, Size: 3, Lifetime: time.Hour}
}

// believing is the same where a role that could log in once can.
func believing(o *proxy.Options) {
	pooled(o)
	o.Pool.Check = time.Hour
}

// poolCluster is a cluster with a database of roles, of which app owns a schema, and logs in by a trusted proxy.
func poolCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c := pgtest.Start(t, pgtest.Options{HBA: []string{"local all all trust", "host all all 127.0.0.1/32 trust"}})
	c.CreateDatabase(t, "orders")
	start(t, c, permissive(t)).visit(t, c, "postgres", `CREATE ROLE app LOGIN; CREATE ROLE clerk; GRANT clerk TO app`)
	c.Psql(t, "orders", `CREATE SCHEMA app AUTHORIZATION orders_app; CREATE SEQUENCE public.numbers; GRANT ALL ON SEQUENCE public.numbers TO orders_app;
		CREATE TABLE public.t (a int); GRANT ALL ON public.t TO orders_app`)
	return c
}

// visit runs statements in a session of its own, which it ends, and returns the last row, and the process that served it.
func (e endpoint) visit(t *testing.T, c *pgtest.Cluster, user string, statements ...string) (last string, pid uint32) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), e.dsn("orders", user))
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range statements {
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		for _, row := range results[len(results)-1].Rows {
			last = string(bytes.Join(row, []byte("|")))
		}
	}
	leave(t, c, conn)
	return last, conn.PID()
}

// leave ends a session as clients do, and waits until its server connection was reset, or is gone.
func leave(t *testing.T, c *pgtest.Cluster, conn *pgconn.PgConn) {
	t.Helper()
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitNone(t, c, fmt.Sprintf("pid = %d AND (query NOT IN ('DISCARD ALL', 'RESET ROLE') OR state <> 'idle')", conn.PID()))
}

// TestPoolNothingLeaks leaves everything behind that a session can, and looks for it in the
// next, which the same process has to serve.
func TestPoolNothingLeaks(t *testing.T) {
	c := poolCluster(t)
	unpooled := start(t, c, permissive(t), authBy(proxy.AuthTrust))
	type keeper struct {
		endpoint
		kept func(connections float64) // waits until so many wait for a client
	}
	proxies := make(map[string]keeper)
	for name, change := range map[string]func(*proxy.Options){
		"asked": pooled, "believed": believing, "goroutines": func(o *proxy.Options) { pooled(o); o.Goroutines = true },
	} {
		option, kept := gaugeOf(t, "pgscope_pool_idle_connections")
		via := keeper{start(t, c, permissive(t), change, option, withAdmin(t, c)), kept} // it knows the role, however long the test takes
		via.visit(t, c, "app")
		proxies[name] = via
	}
	for _, leak := range []struct {
		name, look string
		leave      []string
	}{
		{
			"setting", "SELECT current_setting('work_mem'), current_setting('TimeZone'), current_setting('search_path')",
			[]string{"SET work_mem = '1MB'", "SET TimeZone = 'Asia/Tokyo'", "SET search_path = public"},
		},
		{"setting of an application", "SELECT coalesce(current_setting('my.secret', true), '')", []string{"SET my.secret = 'x'"}},
		{"mode", "SELECT current_setting('pgscope.mode'), current_setting('pgscope.database')", []string{"SET pgscope.mode = 'explicit'"}},
		{"role", "SELECT current_user::text, current_setting('role'), session_user::text", []string{"SET ROLE clerk"}},
		{"session authorization", "SELECT current_user::text, session_user::text", []string{"SET SESSION AUTHORIZATION app"}},
		{"temporary table", "SELECT count(*) FROM pg_class WHERE relpersistence = 't'", []string{"CREATE TEMPORARY TABLE secret AS SELECT 1"}},
		{"prepared statement", "SELECT count(*) FROM pg_prepared_statements", []string{"PREPARE p AS SELECT 1"}},
		{"cursor", "SELECT count(*) FROM pg_cursors WHERE is_holdable", []string{"DECLARE c CURSOR WITH HOLD FOR SELECT 1"}},
		{"advisory lock", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", []string{"SELECT pg_advisory_lock(1)"}},
		{"listen", "SELECT count(*) FROM pg_listening_channels()", []string{"LISTEN news"}},
		{
			"isolation", "SHOW default_transaction_isolation",
			[]string{"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"},
		},
		{
			"encoding", "SELECT current_setting('client_encoding'), current_setting('standard_conforming_strings')",
			[]string{"SET client_encoding = LATIN1", "SET standard_conforming_strings = off"},
		},
	} {
		want, _ := unpooled.visit(t, c, "app", leak.look)
		for name, via := range proxies {
			t.Run(leak.name+"/"+name, func(t *testing.T) {
				_, pid := via.visit(t, c, "app", append(leak.leave, leak.look)...)
				via.kept(1)
				got, again := via.visit(t, c, "app", leak.look)
				via.kept(1)
				if again != pid {
					t.Fatalf("process %d served the second client, %d the first", again, pid)
				}
				if got != want {
					t.Errorf("the next client sees %s, a new session %s", got, want)
				}
			})
		}
	}
}

// TestPoolRoleOfTheLogin: a role that the login sets is there for each client, whatever those before it have set.
func TestPoolRoleOfTheLogin(t *testing.T) {
	for _, role := range []string{"clerk", "none"} {
		for name, change := range map[string]func(*proxy.Options){"asked": pooled, "believed": believing} {
			t.Run(role+"/"+name, func(t *testing.T) {
				c := poolCluster(t)
				want := "app|none"
				if role != "none" {
					c.Psql(t, "postgres", "ALTER ROLE orders_app IN DATABASE orders SET role = 'orders_"+role+"'")
					want = role + "|" + role
				}
				option, kept := gaugeOf(t, "pgscope_pool_idle_connections")
				via := start(t, c, permissive(t), change, option, withAdmin(t, c))
				for _, sets := range []string{"SELECT 1", "RESET ROLE", "SET ROLE clerk", "SET ROLE none", "SET SESSION AUTHORIZATION app"} {
					_, pid := via.visit(t, c, "app", sets)
					kept(1)
					got, again := via.visit(t, c, "app", "SELECT current_user::text, current_setting('role')")
					kept(1)
					if got != want || again != pid {
						t.Errorf("after %s the next client sees %s in process %d, want %s in %d", sets, got, again, want, pid)
					}
				}
			})
		}
	}
}

// TestPoolTellsWhatTheServerTells: a client cannot see by what it is told in the beginning that others were there before.
func TestPoolTellsWhatTheServerTells(t *testing.T) {
	c := poolCluster(t)
	option, kept := gaugeOf(t, "pgscope_pool_idle_connections")
	via := start(t, c, permissive(t), pooled, option, withAdmin(t, c))
	beginning := func(e endpoint) (lines []string) {
		d := e.dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "app", "DateStyle", "German"))
		d.ready(1)
		lines = d.take()
		slices.Sort(lines)
		d.query("SET DateStyle = 'ISO'; SET TimeZone = 'Asia/Tokyo'")
		d.say(&pgproto3.Terminate{})
		kept(1)
		return append(lines, fmt.Sprint(d.key.ProcessID))
	}
	if diff := cmp.Diff(beginning(via), beginning(via)); diff != "" {
		t.Errorf("the first client (-) and the second (+):\n%s", diff)
	}
}

// TestPoolOnlyTheSame: what another database, user or parameter asks for, is another connection; and
// so is a session that was not at rest.
func TestPoolOnlyTheSame(t *testing.T) {
	c := poolCluster(t)
	option, kept := gaugeOf(t, "pgscope_pool_idle_connections")
	via := start(t, c, permissive(t), pooled, option, withAdmin(t, c))
	_, pid := via.visit(t, c, "app", "SELECT 1")
	kept(1)
	if who, other := via.visit(t, c, "postgres", "SELECT session_user"); who != "postgres" || other == pid {
		t.Errorf("process %d for %s, process %d for app", other, who, pid)
	}
	kept(2)
	conn, err := pgconn.Connect(t.Context(), via.dsn("orders", "app")+" application_name=other")
	if err != nil {
		t.Fatal(err)
	}
	if conn.PID() == pid {
		t.Error("another application_name, and the same connection")
	}
	leave(t, c, conn)
	kept(3)

	_, within := via.visit(t, c, "app", "BEGIN", "SELECT 1")
	if within != pid {
		t.Errorf("process %d, want %d", within, pid)
	}
	if _, after := via.visit(t, c, "app", "SELECT 1"); after == pid {
		t.Error("a session that ended in a transaction was kept")
	}
}

// TestPoolNothingBehindTerminate: what a client says when it has ended the session is not for
// the server, which the next client gets.
func TestPoolNothingBehindTerminate(t *testing.T) {
	for name, goroutines := range drivers {
		t.Run(name, func(t *testing.T) {
			c := poolCluster(t)
			option, kept := gaugeOf(t, "pgscope_pool_idle_connections")
			via := start(t, c, permissive(t), pooled, option, withAdmin(t, c), func(o *proxy.Options) { o.Goroutines = goroutines })
			via.visit(t, c, "app")
			kept(1)
			d := via.open(t, "orders", "app")
			next := &query{String: "SELECT nextval('public.numbers')"}
			d.say(&pgproto3.Terminate{}, next, next, next, &query{String: "CREATE ROLE behind"})
			d.toTheEnd()
			d.wants()
			kept(1)
			if called, _ := via.visit(t, c, "app", "SELECT is_called FROM public.numbers"); called != "f" {
				t.Error("statements behind Terminate were run")
			}
		})
	}
}

// TestPoolConnectionsLost: the connections that wait pass nothing any more, and do not end. Who comes next has a new one.
func TestPoolConnectionsLost(t *testing.T) {
	c := poolCluster(t)
	m, tampered := tamper(t, c)
	via := start(t, c, permissive(t), pooled, tampered, withLimits(proxy.Limits{}, proxy.Timeouts{Login: *patience}))
	waiting := []*pgconn.PgConn{connectApp(t, via), connectApp(t, via)}
	for _, conn := range waiting {
		leave(t, c, conn)
	}
	m.lose()
	for range 2 {
		if err := connectApp(t, via).Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func connectApp(t *testing.T, via endpoint) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), via.dsn("orders", "app"))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestPoolChecksAgain: whoever could not log in now, does not, though the connection is there.
func TestPoolChecksAgain(t *testing.T) {
	for _, change := range []struct{ name, do, undo string }{
		{"no login", "ALTER ROLE orders_app NOLOGIN", "ALTER ROLE orders_app LOGIN"},
		{"no connect", "REVOKE CONNECT ON DATABASE orders FROM PUBLIC", "GRANT CONNECT ON DATABASE orders TO PUBLIC"},
		{"another name", "ALTER ROLE orders_app RENAME TO orders_late", "ALTER ROLE orders_late RENAME TO orders_app"},
	} {
		t.Run(change.name, func(t *testing.T) {
			c := poolCluster(t)
			via := start(t, c, permissive(t), pooled)
			via.visit(t, c, "app")
			via.visit(t, c, "app", "SELECT 1")
			c.Psql(t, "postgres", change.do)
			if conn, err := pgconn.Connect(t.Context(), via.dsn("orders", "app")); err == nil {
				t.Errorf("logged in as process %d", conn.PID())
				_ = conn.Close(t.Context())
			}
			c.Psql(t, "postgres", change.undo)
			via.visit(t, c, "app", "SELECT 1")
		})
	}
}

// TestPoolBelieves: within the time for which a role is believed nothing is asked, and what a session of the proxy's
// changes is no longer believed at once.
func TestPoolBelieves(t *testing.T) {
	for _, change := range []struct{ name, do, undo string }{
		{"no login", "ALTER ROLE app NOLOGIN", "ALTER ROLE app LOGIN"},
		{"no connect", "REVOKE CONNECT ON DATABASE orders FROM PUBLIC", "GRANT CONNECT ON DATABASE orders TO PUBLIC"},
		{"another name", "ALTER ROLE app RENAME TO late", "ALTER ROLE late RENAME TO app"},
	} {
		t.Run(change.name, func(t *testing.T) {
			c := poolCluster(t)
			option, kept := gaugeOf(t, "pgscope_pool_idle_connections")
			via := start(t, c, permissive(t), believing, option, withAdmin(t, c))
			via.visit(t, c, "app") // whom the server lets in
			kept(1)
			_, pid := via.visit(t, c, "app") // who is asked about
			kept(1)
			conn, err := pgconn.Connect(t.Context(), via.dsn("orders", "app"))
			if err != nil {
				t.Fatal(err)
			}
			if conn.PID() != pid {
				t.Errorf("process %d, want %d", conn.PID(), pid)
			}
			awaitNone(t, c, fmt.Sprintf("pid = %d AND query ~ 'rolcanlogin'", pid))
			leave(t, c, conn)

			via.visit(t, c, "postgres", change.do)
			if conn, err := pgconn.Connect(t.Context(), via.dsn("orders", "app")); err == nil {
				t.Errorf("logged in as process %d", conn.PID())
				_ = conn.Close(t.Context())
			}
			via.visit(t, c, "postgres", change.undo)
			via.visit(t, c, "app", "SELECT 1")
		})
	}
}

// TestPoolBrokenConnections: a connection that the server has closed is not given to a client, and does not keep one out.
func TestPoolBrokenConnections(t *testing.T) {
	for name, keeping := range map[string]func(*proxy.Options){"asked": pooled, "believed": believing} {
		t.Run(name, func(t *testing.T) { brokenConnections(t, keeping) })
	}
}

func brokenConnections(t *testing.T, keeping func(*proxy.Options)) {
	t.Helper()
	c := poolCluster(t)
	via := start(t, c, permissive(t), keeping)
	via.visit(t, c, "app")
	_, pid := via.visit(t, c, "app", "SELECT 1")
	c.Psql(t, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid))
	awaitNone(t, c, fmt.Sprintf("pid = %d", pid))
	if _, after := via.visit(t, c, "app", "SELECT 1"); after == pid {
		t.Error("the process was to be gone")
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	via.visit(t, c, "app", "SELECT 1")
}

// TestPoolMakesRoom: what waits for a client is in nobody's way who drops or renames the
// database, and there is a limit to it.
func TestPoolMakesRoom(t *testing.T) {
	c := poolCluster(t)
	via := start(t, c, permissive(t), pooled)
	via.visit(t, c, "app")
	var conns []*pgconn.PgConn
	for range 3 {
		conn, err := pgconn.Connect(t.Context(), via.dsn("orders", "app"))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		leave(t, c, conn)
	}
	awaitNone(t, c, "datname = 'orders' HAVING count(*) > 2")
	admin := via.open(t, "postgres", "postgres")
	if got := admin.query("ALTER DATABASE orders RENAME TO sales"); !slices.Contains(got, "done ALTER DATABASE") {
		t.Errorf("ALTER DATABASE … RENAME, while the pool has connections to it: %q", got)
	}
	if got := admin.query("DROP DATABASE sales"); !slices.Contains(got, "done DROP DATABASE") {
		t.Errorf("DROP DATABASE, while the pool has connections to it: %q", got)
	}
}

// TestPoolConnectionLimits: what waits for a client takes no connection from one that is there.
func TestPoolConnectionLimits(t *testing.T) {
	type login struct{ database, user string }
	for name, goroutines := range drivers {
		for _, limit := range []struct {
			name, set   string
			waits, next login
		}{
			{"of the role", "ALTER ROLE app CONNECTION LIMIT 1", login{"orders", "app"}, login{"orders", "app"}},
			{"of the role, elsewhere", "ALTER ROLE guest CONNECTION LIMIT 1", login{"postgres", "guest"}, login{"orders", "guest"}},
			{"of the role by another name", "ALTER ROLE app CONNECTION LIMIT 1; ALTER ROLE app RENAME TO apq", login{"orders", "app"}, login{"orders", "apq"}},
			{"of the database", "ALTER DATABASE orders CONNECTION LIMIT 1", login{"orders", "guest"}, login{"orders", "app"}},
			{"of the server", "", login{"postgres", "guest"}, login{"orders", "app"}},
		} {
			t.Run(name+"/"+limit.name, func(t *testing.T) {
				c := pgtest.Start(t, pgtest.Options{
					HBA: []string{"local all all trust", "host all all 127.0.0.1/32 trust"}, Config: map[string]string{"max_connections": "12"},
				})
				c.CreateDatabase(t, "orders")
				start(t, c, permissive(t)).visit(t, c, "postgres", "CREATE ROLE app LOGIN")
				c.Psql(t, "postgres", "CREATE ROLE guest LOGIN")
				option, kept := gaugeOf(t, "pgscope_pool_idle_connections")
				via := start(t, c, permissive(t), pooled, option, withAdmin(t, c), func(o *proxy.Options) { o.Goroutines = goroutines })
				enter := func(l login, name string) (*pgconn.PgConn, error) {
					return pgconn.Connect(t.Context(), via.dsn(l.database, l.user)+" application_name="+name)
				}
				waits, err := enter(limit.waits, "first")
				if err != nil {
					t.Fatal(err)
				}
				leave(t, c, waits)
				kept(1)
				if limit.set != "" {
					via.visit(t, c, "postgres", limit.set)
				} else {
					fill(t, c)
				}
				conn, err := enter(limit.next, "second")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := enter(limit.next, "third"); err == nil || !strings.Contains(err.Error(), "53300") {
					t.Errorf("one too many: %v", err)
				}
				leave(t, c, conn)
			})
		}
	}
}

// fill takes all connections that the server has for who is no superuser.
func fill(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	for {
		conn, err := pgconn.Connect(t.Context(), c.DSN("dbname=postgres", "user=guest"))
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	}
}

// BenchmarkConnect is a client that connects, says SELECT 1 and leaves, the client's and the proxy's allocations
// together: direct 3.2 ms, 22 KB and 172 allocations; global 3.7 ms, 32 KB and 296; scoped 3.9 ms, 36 KB and 323; pooled
// 1.1 ms, 44 KB and 375 (medians of five on 2 cores of an Intel Xeon that others used too, PostgreSQL 15).
func BenchmarkConnect(b *testing.B) {
	c := pgtest.Start(b, pgtest.Options{HBA: []string{"local all all trust", "host all all 127.0.0.1/32 trust"}})
	c.CreateDatabase(b, "orders")
	first := start(b, c, permissive(b)).connect(b, "orders", "postgres")
	if _, err := first.Exec(b.Context(), "CREATE ROLE app LOGIN"); err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name, user string
		endpoint   endpoint
	}{
		{"direct", "orders_app", direct(c)},
		{"global", "postgres", start(b, c, permissive(b))},
		{"scoped", "app", start(b, c, permissive(b))},
		{"pooled", "app", start(b, c, permissive(b), pooled)},
	} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				conn, err := pgconn.Connect(b.Context(), way.endpoint.dsn("orders", way.user))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Exec(b.Context(), "SELECT 1").ReadAll(); err != nil {
					b.Fatal(err)
				}
				if err := conn.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
