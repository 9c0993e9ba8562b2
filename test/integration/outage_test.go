package integration

import (
	"context"
	"fmt"
	"net"
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

// TestServerErrors has a server run out of things, directly and through the proxy: clients hear the same, roles that
// were made in the transaction are gone, and the session goes on.
func TestServerErrors(t *testing.T) {
	via := both(t)
	for name, c := range map[string]struct{ sql, want string }{
		"disk full":         {"DO $$ BEGIN RAISE disk_full USING MESSAGE = 'could not extend file: No space left on device', HINT = 'Check free disk space.'; END $$", "53100"},
		"temporary files":   {"SET temp_file_limit = 0; SET work_mem = '64kB'; SELECT count(*) FROM (SELECT i FROM generate_series(1, 100000) i ORDER BY -i OFFSET 1) s", "53400"},
		"statement timeout": {"SET statement_timeout = '100ms'; SELECT pg_sleep(600)", "57014"},
		"division":          {"SELECT 1/0", "22012"},
	} {
		t.Run(name, func(t *testing.T) {
			compare(t, via, func(d *dialogue) {
				for _, sql := range []string{"BEGIN", "CREATE ROLE lost", c.sql, "GRANT lost TO postgres", "ROLLBACK", "RESET ALL", "DROP ROLE lost"} {
					d.say(&query{String: sql})
					d.ready(1)
				}
				if !slices.ContainsFunc(d.lines, func(line string) bool { return strings.HasPrefix(line, "ERROR "+c.want) }) {
					t.Errorf("no error %s: %q", c.want, d.lines)
				}
				withoutHints(d)
			})
		})
	}
}

// withoutHints takes away what the proxy adds where it could not ask the server, in a failed transaction.
func withoutHints(d *dialogue) {
	for i, line := range d.lines {
		if strings.HasPrefix(line, "ERROR 25P02: ") {
			d.lines[i], _, _ = strings.Cut(line, " | hint: ")
		}
	}
	withoutPositions(d)
}

// TestConnectionLimit logs in as a role that has no connection left: its name is short in what the client is told.
func TestConnectionLimit(t *testing.T) {
	via := both(t)
	heard := func(e endpoint) []string {
		e.open(t, "orders", "postgres").query("CREATE ROLE app LOGIN CONNECTION LIMIT 0")
		d := e.dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, "user", "app", "database", "orders"))
		d.toTheEnd()
		return d.take()
	}
	want := []string{"AuthenticationOk", `FATAL 53300: too many connections for role "app"`}
	for name, e := range map[string]endpoint{"direct": direct(plain()), "through the proxy": via} {
		if diff := cmp.Diff(want, heard(e)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestAdminConnectionLost: the admin connection passes nothing any more, and does not end. Clients
// that come then are let in by another.
func TestAdminConnectionLost(t *testing.T) {
	c := authCluster(t)
	m, tampered := tamperAt(t, direct(c))
	via := start(t, c, quiet, authBy(proxy.AuthVerify), withAdmin(t, c, fmt.Sprintf("port=%d", tampered.port), "sslmode=disable"),
		withLimits(proxy.Limits{}, proxy.Timeouts{Login: *patience}))
	logInAtOnce(t, via, "app", 1) // by what is then lost
	m.lose()
	logInAtOnce(t, via, "app", 5)
}

// TestAdminConnectionHangs: no admin connection can be made, and each time that takes a while to know. So many clients
// come at once that there is no time for each to find out.
func TestAdminConnectionHangs(t *testing.T) {
	c := authCluster(t)
	m, tampered := tamperAt(t, direct(c))
	m.set(fault{from: theServer, end: func(_, _ *net.TCPConn) error { return nil }})
	via := start(t, c, quiet, withAdmin(t, c, fmt.Sprintf("port=%d", tampered.port), "sslmode=disable", "connect_timeout=1"),
		withLimits(proxy.Limits{}, proxy.Timeouts{Login: 20 * time.Second}))
	logInAtOnce(t, via, "open", 40)
}

// logInAtOnce lets so many clients log in to database orders.
func logInAtOnce(t *testing.T, via endpoint, user string, clients int) {
	t.Helper()
	ends := make(chan error, clients)
	for range clients {
		go func() {
			conn, err := pgconn.Connect(t.Context(), via.dsn("orders", user)+" password=secret")
			if err == nil {
				err = conn.Close(t.Context())
			}
			ends <- err
		}()
	}
	for range clients {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
}

// TestDeadlock has two sessions wait for each other's roles. The one that looks first is the victim, and the other goes on.
func TestDeadlock(t *testing.T) {
	via := both(t)
	for _, s := range []struct {
		name string
		e    endpoint
		c    *pgtest.Cluster
	}{{"direct", direct(plain()), plain()}, {"through the proxy", via, scoped()}} {
		first, second := s.e.open(t, "orders", "postgres"), s.e.open(t, "orders", "postgres")
		first.query("CREATE ROLE a; CREATE ROLE b")
		first.query("SET deadlock_timeout = '10min'; BEGIN; ALTER ROLE a LOGIN")
		second.query("SET deadlock_timeout = '1ms'; BEGIN; ALTER ROLE b CREATEDB")
		first.say(&query{String: "ALTER ROLE b LOGIN"})
		awaitSome(t, s.c, "datname = 'orders' AND wait_event_type = 'Lock'")
		if got := second.query("ALTER ROLE a CREATEDB"); !strings.HasPrefix(got[0], "ERROR 40P01: deadlock detected") || got[1] != "ready E" {
			t.Errorf("%s: the victim hears %q", s.name, got)
		}
		second.query("ROLLBACK")
		first.ready(1)
		first.wants("done ALTER ROLE", "ready T")
		if got := first.query("COMMIT"); got[0] != "done COMMIT" {
			t.Errorf("%s: the other hears %q", s.name, got)
		}
	}
	if diff := cmp.Diff(memberships(t, plain(), ""), memberships(t, scoped(), "orders_")); diff != "" {
		t.Errorf("roles, direct (-) and through the proxy (+):\n%s", diff)
	}
}

// TestClientLeavesWhileAsked: the server does not answer the proxy's question, and the client that waits for it goes
// away. Then the question is given up, as the server gives up a statement whose client has gone.
func TestClientLeavesWhileAsked(t *testing.T) {
	c := scoped()
	database(t, c, "orders")
	for name, goroutines := range drivers {
		t.Run(name, func(t *testing.T) {
			d := start(t, c, func(o *proxy.Options) { o.Goroutines = goroutines }).open(t, "orders", "postgres")
			holder := direct(c).connect(t, "orders", "postgres")
			tx, err := holder.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }() // the connection ends it too
			if _, err := tx.Exec(t.Context(), "LOCK TABLE pg_catalog.pg_auth_members"); err != nil {
				t.Fatal(err)
			}
			waiting := func(want bool) { // the server's own processes may wait, too
				t.Helper()
				deadline := time.Now().Add(time.Minute)
				for got := !want; got != want; {
					if err := tx.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
						WHERE NOT granted AND backend_type = 'client backend')`).Scan(&got); err != nil {
						t.Fatal(err)
					}
					if time.Now().After(deadline) {
						t.Fatalf("somebody waits: %v, want %v", got, want)
					}
				}
			}
			d.say(&query{String: "CREATE ROLE lost"})
			waiting(true)
			if err := d.tcp().Close(); err != nil {
				t.Fatal(err)
			}
			waiting(false)
		})
	}
}

// TestCrossed has two sessions grant on one table at the same time. The server calls that an internal error; through the
// proxy a client hears that it can try again, in each protocol, and can.
func TestCrossed(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t))
	first, second := via.open(t, "orders", "postgres"), via.open(t, "orders", "postgres")
	first.query("CREATE ROLE a; CREATE TABLE t (a int)")
	const sql = "GRANT INSERT ON t TO a"
	for _, say := range [][]pgproto3.FrontendMessage{{&query{String: sql}}, pipeline(statement(sql), syncPoint())} {
		first.query("BEGIN; GRANT SELECT ON t TO a")
		second.say(say...)
		awaitSome(t, scoped(), "datname = 'orders' AND wait_event_type = 'Lock'")
		first.query("COMMIT")
		second.ready(1)
		lines := second.take()
		const want = "ERROR 40001: could not serialize access due to concurrent update" +
			" | detail: Another session has changed the same role, or the access to the same object, at the same time. | hint: Try again."
		if !slices.Contains(lines, want) || lines[len(lines)-1] != "ready I" {
			t.Errorf("heard %q", lines)
		}
		if got := second.query(sql); got[0] != "done GRANT" {
			t.Errorf("tried again: %q", got)
		}
	}
}

// TestSameRole has two sessions make the same role at the same time, and two take the same new name. The server speaks of
// an index of its own to the second; through the proxy it hears what it would have heard a moment later.
func TestSameRole(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t))
	first, second := via.open(t, "orders", "postgres"), via.open(t, "orders", "postgres")
	first.query("CREATE ROLE one; CREATE ROLE two")
	for _, both := range []struct{ first, second, name string }{
		{"CREATE ROLE customer", "CREATE ROLE customer", "customer"},
		{"ALTER ROLE one RENAME TO owner", "ALTER ROLE two RENAME TO owner", "owner"},
	} {
		first.query("BEGIN; " + both.first)
		second.say(&query{String: both.second})
		awaitSome(t, scoped(), "datname = 'orders' AND wait_event_type = 'Lock'")
		first.query("COMMIT")
		second.ready(1)
		second.wants(`ERROR 42710: role "`+both.name+`" already exists`, "ready I")
	}
}

// TestTwoMakers has two transactions make roles in one database: side by side, or from PostgreSQL 16 on, where a member is
// added to a role under a lock, one after the other.
func TestTwoMakers(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t))
	via.open(t, "orders", "postgres").query("CREATE ROLE enrols; DROP ROLE enrols")
	first, second := via.open(t, "orders", "postgres"), via.open(t, "orders", "postgres")
	first.query("BEGIN; CREATE ROLE a")
	second.say(&query{String: "BEGIN; CREATE ROLE b; COMMIT"})
	if major(t, scoped()) >= 16 {
		awaitSome(t, scoped(), "datname = 'orders' AND wait_event_type = 'Lock'")
		first.query("COMMIT")
	}
	second.ready(1)
	second.wants("done BEGIN", "done CREATE ROLE", "done COMMIT", "ready I")
	first.query("COMMIT")
	if got := memberships(t, scoped(), "orders_"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("roles: %q", got)
	}
}
