package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// bystander is a session in an open transaction that nothing which happens to others may disturb. It holds no lock that
// others need.
func bystander(t *testing.T, via endpoint, database string) (undisturbed func()) {
	t.Helper()
	d := via.open(t, database, "postgres", "application_name", "bystander")
	d.query("BEGIN; CREATE TEMP TABLE kept (a int)")
	return func() {
		t.Helper()
		if got := d.query("GRANT SELECT ON kept TO postgres; ROLLBACK"); !cmp.Equal(got, []string{"done GRANT", "done ROLLBACK", "ready I"}) {
			t.Errorf("another session was disturbed: %q", got)
		}
	}
}

// others is the condition of sessions that are not the bystander's.
const others = `datname = 'orders' AND application_name <> 'bystander'`

// gauge makes a proxy count its sessions, and returns a function that waits until it has so many.
func gauge(t *testing.T) (option func(*proxy.Options), await func(sessions float64)) {
	return gaugeOf(t, "pgscope_sessions")
}

// gaugeOf is the same with another of the proxy's metrics.
func gaugeOf(t *testing.T, name string) (option func(*proxy.Options), await func(want float64)) {
	r := prometheus.NewRegistry()
	return func(o *proxy.Options) { o.Metrics = r }, func(want float64) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for late := time.After(*patience); ; {
			got := measured(t, r, name)
			if got == want {
				return
			}
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("%s is %v, want %v", name, got, want)
			}
		}
	}
}

func measured(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric " + name)
	return 0
}

// attempt is a short session that may break at any time. It reports whether it was complete; if it was not, the client
// has been told or the connection was closed.
func attempt(t *testing.T, via endpoint, role string) (complete bool) {
	t.Helper()
	d := via.dial(t)
	defer d.conn.Close()
	for _, m := range []pgproto3.FrontendMessage{
		startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"),
		&query{String: "BEGIN; CREATE ROLE " + role + "; ROLLBACK"},
	} {
		_, err := d.conn.Write(encode(t, m))
		if err == nil {
			err = d.hear(1)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("no answer after %q", d.lines)
		}
		if err != nil {
			d.toTheEnd()
			return false
		}
	}
	d.say(&pgproto3.Terminate{})
	d.toTheEnd()
	return true
}

// TestCut breaks the connection to the server after each number of bytes from it, and after some from the proxy.
func TestCut(t *testing.T) {
	database(t, scoped(), "orders")
	m, upstream := tamper(t, scoped())
	metrics, await := gauge(t)
	via := start(t, scoped(), permissive(t), quiet, upstream, metrics)
	undisturbed := bystander(t, via, "orders")
	if !attempt(t, via, "whole") {
		t.Fatal("a session without a fault is not complete")
	}
	for _, c := range []struct {
		from source
		step int
	}{{theServer, 1}, {theProxy, 23}} {
		m.set(fault{})
		attempt(t, via, "whole")
		total := len(m.sent(c.from))
		for n := 0; n < total; n += c.step {
			m.set(fault{from: c.from, after: n, end: endings[n/c.step%len(endings)]})
			attempt(t, via, fmt.Sprintf("cut%d", n))
		}
		t.Logf("%d bytes", total)
	}
	m.set(fault{})
	await(1)
	awaitNone(t, scoped(), others)
	undisturbed()
	if got := memberships(t, scoped(), "orders_"); got[0] != "" {
		t.Errorf("roles that are left: %q", got)
	}
}

// quiet keeps the warnings of a proxy out of the test's log, where there are thousands.
func quiet(o *proxy.Options) { o.Log = nil }

// TestByteByByte passes a session in pieces of one byte, both ways.
func TestByteByByte(t *testing.T) {
	database(t, plain(), "orders")
	database(t, scoped(), "orders")
	script, err := os.ReadFile("testdata/compat/privileges.sql")
	if err != nil {
		t.Fatal(err)
	}
	m, upstream := tamper(t, scoped())
	m.set(fault{step: 1})
	want := direct(plain()).psql(t, "orders", "postgres", string(script))
	got := start(t, scoped(), permissive(t), upstream).psql(t, "orders", "postgres", string(script))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("direct (-) and through the proxy (+):\n%s", diff)
	}
}

// TestNoServer connects where nobody listens, and where nobody answers.
func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := proxy.NewUpstream(reach(t, l.Addr().String()).dsn("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	toIt := func(o *proxy.Options) { o.Upstream = upstream }

	d := start(t, scoped(), quiet, toIt, soon).dial(t)
	d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres"))
	d.toTheEnd()
	d.wants(notInTime)
	l.Close()
	d = start(t, scoped(), quiet, toIt).dial(t)
	d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres"))
	d.toTheEnd()
	d.wants("FATAL 08001: could not connect to the server | hint: The proxy cannot reach the PostgreSQL server. The proxy's log says why.")
}

const notInTime = "FATAL 08006: the server did not answer in time | hint: login-timeout of the proxy sets how long a login may take. Try again."

// soon is the option of a proxy whose logins may not take long: enough for them on a busy machine.
func soon(o *proxy.Options) { o.Timeouts.Login = 2 * time.Second }

// TestServerFallsSilent: a server that gives no further answer in the midst of a login is waited for as long as that may
// take, and the client is told.
func TestServerFallsSilent(t *testing.T) {
	database(t, scoped(), "orders")
	for driver, goroutines := range drivers {
		for name, after := range map[string]int{"at once": 0, "after AuthenticationOk": 9, "before it is ready": 100} {
			t.Run(driver+"/"+name, func(t *testing.T) {
				t.Parallel()
				m, upstream := tamper(t, scoped())
				m.set(fault{from: theServer, after: after, end: func(_, _ *net.TCPConn) error { return nil }})
				metrics, await := gauge(t)
				d := start(t, scoped(), quiet, upstream, adminAt(t, scoped()), soon, metrics, func(o *proxy.Options) { o.Goroutines = goroutines }).dial(t)
				d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"))
				d.toTheEnd()
				if n := len(d.lines); n == 0 || d.lines[n-1] != notInTime {
					t.Errorf("heard %q", d.lines)
				}
				await(0)
			})
		}
	}
	t.Cleanup(func() { awaitNone(t, scoped(), others) })
}

// states are what a session can be at when something happens to it.
var states = []struct {
	name  string
	enter func(*dialogue)
}{
	{"idle", func(d *dialogue) { d.query("SELECT 1") }},
	{"in a transaction", func(d *dialogue) { d.query("BEGIN; CREATE ROLE r" + fmt.Sprint(d.key.ProcessID)) }},
	{"in a query", func(d *dialogue) { d.say(&query{String: "SELECT pg_sleep(600)"}) }},
	{"in a pipeline", func(d *dialogue) {
		d.say(append(statement("SELECT 1"), &flush{})...)
		until[*pgproto3.CommandComplete](d)
	}},
	{"in copy in", func(d *dialogue) {
		d.say(&query{String: "CREATE TEMP TABLE c (a text); COPY c FROM STDIN"})
		until[*pgproto3.CopyInResponse](d)
		d.say(&copyData{Data: []byte("one\n")})
	}},
	{"in copy out", func(d *dialogue) {
		d.say(&query{String: "COPY (SELECT 1 UNION ALL SELECT length(pg_sleep(600)::text)) TO STDOUT"})
	}},
	{held, func(d *dialogue) { d.say(&query{String: "COMMENT ON ROLE r IS 'held'"}) }},
}

// copied are the processes that have got a line of a COPY FROM, of four bytes. From PostgreSQL 16 on rows are counted later.
const copied = `SELECT pid FROM pg_stat_progress_copy WHERE datname = 'orders' AND command = 'COPY FROM' AND bytes_processed = 4`

// held is the state in which the server does not answer, as another session has locked the comments of roles: neither to
// the statement, nor to the proxy's question about it.
const held = "held"

// inEachState opens a session of a role for each state, and waits until they are in it. release ends what holds one.
func inEachState(t *testing.T, c *pgtest.Cluster, via endpoint, user string) (all map[string]*dialogue, release func()) {
	t.Helper()
	all = make(map[string]*dialogue)
	first := via.open(t, "orders", "postgres")
	first.query("CREATE ROLE r") // and with it the marker, whose comment is locked in no transaction then
	first.say(&pgproto3.Terminate{})
	first.toTheEnd()
	holder := direct(c).open(t, "postgres", "postgres")
	for _, s := range states {
		d := via.open(t, "orders", user)
		if s.name == held {
			holder.query("BEGIN; LOCK TABLE pg_catalog.pg_shdescription")
		}
		s.enter(d)
		d.take()
		all[s.name] = d
	}
	awaitSome(t, c, asleep+" AND query LIKE 'SELECT%'")
	awaitSome(t, c, asleep+" AND query LIKE 'COPY%'")
	awaitSome(t, c, "datname = 'orders' AND wait_event_type = 'Lock'")
	awaitSome(t, c, "wait_event = 'ClientRead' AND pid IN ("+copied+")") // else it may end in the line before
	return all, func() { holder.query("ROLLBACK") }
}

// start is open for a dialogue that knows its key.
func (e endpoint) start(t *testing.T) *dialogue {
	t.Helper()
	d := e.dial(t)
	d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"))
	d.ready(1)
	d.take()
	return d
}

// TestServerKilled loses the server at once, in each state, and gets it back.
func TestServerKilled(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.CreateDatabase(t, "orders")
	via := start(t, c, quiet, permissive(t))
	all, _ := inEachState(t, c, via, "postgres")
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, d := range all {
		d.toTheEnd()
		if got := strings.Join(d.take(), "\n"); !strings.HasPrefix(got, "FATAL 08006: server closed the connection unexpectedly") {
			t.Errorf("%s: %q", name, got)
		}
	}
	d := via.dial(t)
	d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"))
	d.toTheEnd()
	if got := d.take(); len(got) != 1 || !strings.HasPrefix(got[0], "FATAL 08001: ") {
		t.Errorf("without a server: %q", got)
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := via.open(t, "orders", "postgres").query("CREATE ROLE reader"); got[0] != "done CREATE ROLE" {
		t.Errorf("after the restart: %q", got)
	}
}

// shutDown is what a session hears whose end an administrator wants: the server's, or the proxy's.
const shutDown = "FATAL 57P01: terminating connection due to administrator command"

// TestServerTerminates has an administrator end sessions, in each state. Clients hear what they would hear without a proxy.
func TestServerTerminates(t *testing.T) {
	via := both(t)
	undisturbed := bystander(t, via, "orders")
	terminate := func(e endpoint, c *pgtest.Cluster, user string) map[string][]string {
		all, release := inEachState(t, c, e, user)
		defer release()
		c.Psql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+others)
		heard := make(map[string][]string)
		for name, d := range all {
			d.toTheEnd()
			heard[name] = d.take()
			if n := len(heard[name]); n == 0 || !strings.HasPrefix(heard[name][n-1], shutDown) {
				t.Errorf("%s: %q", name, heard[name])
			}
		}
		return heard
	}
	for _, user := range sessionUsers(t, via) {
		if diff := cmp.Diff(terminate(direct(plain()), plain(), user), terminate(via, scoped(), user)); diff != "" {
			t.Errorf("%s, direct (-) and through the proxy (+):\n%s", user, diff)
		}
	}
	undisturbed()
}

// TestServerTerminatesBeginning has an administrator end a session that the proxy has not let begin yet.
func TestServerTerminatesBeginning(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t))
	holder := direct(scoped()).open(t, "postgres", "postgres")
	holder.query("BEGIN; LOCK TABLE pg_catalog.pg_shdescription")
	d := via.dial(t)
	d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"))
	awaitSome(t, scoped(), "datname = 'orders' AND wait_event_type = 'Lock'")
	scoped().Psql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+others)
	d.toTheEnd()
	if n := len(d.lines); n == 0 || d.lines[n-1] != shutDown {
		t.Errorf("the client was told %q, want %q in the end", d.lines, shutDown)
	}
	holder.query("ROLLBACK")
}

// TestClientVanishes loses the client in each state, in several ways. The server must stop what it does for it.
func TestClientVanishes(t *testing.T) {
	database(t, scoped(), "orders")
	metrics, await := gauge(t)
	via := start(t, scoped(), quiet, permissive(t), metrics)
	undisturbed := bystander(t, via, "orders")
	for name, leave := range map[string]func(*net.TCPConn) error{
		"closed": (*net.TCPConn).Close,
		"reset": func(c *net.TCPConn) error {
			return errors.Join(c.SetLinger(0), c.Close())
		},
		"half closed": (*net.TCPConn).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			all, _ := inEachState(t, scoped(), via, "postgres")
			for state, d := range all {
				if err := leave(d.tcp()); err != nil {
					t.Errorf("%s: %v", state, err)
				}
			}
			awaitNone(t, scoped(), others)
			await(1)
		})
	}
	undisturbed()
}

// TestClientStopsReading has the server wait for a client that takes nothing of a large result, and then is gone.
func TestClientStopsReading(t *testing.T) {
	database(t, scoped(), "orders")
	metrics, await := gauge(t)
	via := start(t, scoped(), quiet, permissive(t), metrics)
	undisturbed := bystander(t, via, "orders")
	for _, sql := range []string{
		"SELECT repeat('x', 1000) FROM generate_series(1, 1000000)",
		"COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT",
	} {
		d := via.open(t, "orders", "postgres")
		d.say(&query{String: sql})
		awaitSome(t, scoped(), others+" AND wait_event = 'ClientWrite'")
		undisturbedQuery(t, via)
		d.conn.Close()
		awaitNone(t, scoped(), others)
	}
	await(1)
	undisturbed()
}

// undisturbedQuery begins a session of its own.
func undisturbedQuery(t *testing.T, via endpoint) {
	t.Helper()
	d := via.open(t, "orders", "postgres")
	defer d.conn.Close()
	if got := d.query("CREATE ROLE passing; DROP ROLE passing"); got[len(got)-1] != "ready I" || len(got) != 3 {
		t.Errorf("a new session: %q", got)
	}
}
