package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgscope/pgscope-proxy/proxy"
)

// withLimits sets limits and timeouts.
func withLimits(l proxy.Limits, t proxy.Timeouts) func(*proxy.Options) {
	return func(o *proxy.Options) { o.Limits, o.Timeouts = l, t }
}

// ending returns what a client was told of an error.
func ending(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%s %s: %s (%s)", e.Severity, e.Code, e.Message, e.Hint)
}

func TestLimits(t *testing.T) {
	database(t, scoped(), "orders")
	scoped().Psql(t, "postgres", "CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN")
	for _, c := range []struct {
		name   string
		limits proxy.Limits
		want   string
	}{
		{"all", proxy.Limits{Connections: 1}, "FATAL 53300: sorry, too many clients already (max-connections of the proxy is 1.)"},
		{
			"address",
			proxy.Limits{PerAddress: 1},
			"FATAL 53300: too many connections from address 127.0.0.1 (max-connections-per-address of the proxy is 1.)",
		},
		{"user", proxy.Limits{PerUser: 1}, `FATAL 53300: too many connections for role "alice" (max-connections-per-user of the proxy is 1.)`},
		{
			"database",
			proxy.Limits{PerDatabase: 1},
			`FATAL 53300: too many connections for database "orders" (max-connections-per-database of the proxy is 1.)`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			metrics, await := gauge(t)
			e := start(t, scoped(), quiet, permissive(t), withLimits(c.limits, proxy.Timeouts{}), metrics)
			first := e.connect(t, "orders", "alice")
			_, err := pgx.Connect(t.Context(), e.dsn("orders", "alice"))
			if got := ending(err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if c.limits.PerUser > 0 {
				e.connect(t, "orders", "bob")
			}
			// Who is in can still cancel what it does.
			wait := make(chan error, 1)
			go func() {
				_, err := first.Exec(context.WithoutCancel(t.Context()), "SELECT pg_sleep(600)")
				wait <- err
			}()
			awaitSome(t, scoped(), asleep)
			if err := first.PgConn().CancelRequest(t.Context()); err != nil {
				t.Error(err)
			}
			if got := ending(<-wait); !strings.HasPrefix(got, "ERROR 57014") {
				t.Errorf("cancelled: %s", got)
			}
			if err := first.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if c.limits.PerUser == 0 {
				await(0)
			} else {
				await(1)
			}
			e.connect(t, "orders", "alice") // there is a place again
		})
	}
}

func TestIdleTimeouts(t *testing.T) {
	database(t, scoped(), "orders")
	log, records := observer.New(zap.InfoLevel)
	e, stop := run(t, scoped(), permissive(t), withLimits(proxy.Limits{}, proxy.Timeouts{Idle: time.Second, IdleInTransaction: time.Second}),
		func(o *proxy.Options) { o.Log = zap.New(log) })
	const (
		atRest        = "FATAL 57P05: terminating connection due to idle-session timeout | hint: idle-timeout of the proxy sets it."
		inTransaction = "FATAL 25P03: terminating connection due to idle-in-transaction timeout | hint: idle-in-transaction-timeout of the proxy sets it."
	)
	for _, c := range []struct {
		name string
		says []pgproto3.FrontendMessage // with the startup packet: a slow client would be at rest before it
		want []string
	}{
		{"at rest", []pgproto3.FrontendMessage{&query{String: "SELECT 1"}}, []string{"columns ?column?:23:0", `row "1"`, "done SELECT 1", "ready I", atRest}},
		{"in a transaction", []pgproto3.FrontendMessage{&query{String: "BEGIN"}}, []string{"done BEGIN", "ready T", inTransaction}},
		{
			"in one that has failed",
			[]pgproto3.FrontendMessage{&query{String: "BEGIN; SELECT 1/0"}},
			[]string{"done BEGIN", "ERROR 22012: division by zero", "ready E", inTransaction},
		},
		{"in a pipeline", []pgproto3.FrontendMessage{&parse{Query: "SELECT 1"}, &flush{}}, []string{"ParseComplete", inTransaction}},
		{
			"after long work",
			[]pgproto3.FrontendMessage{&query{String: "SELECT pg_sleep(3)"}},
			[]string{"columns pg_sleep:2278:0", `row ""`, "done SELECT 1", "ready I", atRest},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := e.dial(t)
			d.say(append([]pgproto3.FrontendMessage{startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "postgres")}, c.says...)...)
			d.toTheEnd()
			d.forgetBeginning()
			d.wants(c.want...)
		})
	}
	t.Cleanup(func() {
		stop()
		reasons := make(map[string]int)
		for _, r := range records.FilterMessage("session ended").All() {
			if r.ContextMap()["ended_by"] == "timeout" {
				reasons[fmt.Sprint(r.Level, " ", r.ContextMap()["reason"])]++
			}
		}
		want := map[string]int{
			"info terminating connection due to idle-session timeout":        2,
			"info terminating connection due to idle-in-transaction timeout": 3,
		}
		if diff := cmp.Diff(want, reasons); diff != "" {
			t.Errorf("log (-want +got)\n%s", diff)
		}
	})
}

// TestEnds: the log has who ended each session, and where its client was.
func TestEnds(t *testing.T) {
	database(t, scoped(), "orders")
	scoped().Psql(t, "postgres", "CREATE ROLE bob LOGIN")
	log, records := observer.New(zap.InfoLevel)
	server, stop := serve(t, scoped(), permissive(t), func(o *proxy.Options) {
		o.Log, o.Listen = zap.New(log), append(o.Listen, filepath.Join(t.TempDir(), ".s.PGSQL.5432"))
	})
	e, socket := reach(t, server.Addresses()[0]), reach(t, server.Addresses()[1])
	if err := e.connect(t, "orders", "postgres").Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := socket.connect(t, "orders", "postgres").Close(t.Context()); err != nil {
		t.Error(err)
	}
	_, _ = e.connect(t, "orders", "postgres").Exec(t.Context(), "SELECT pg_terminate_backend(pg_backend_pid())") // it fails
	bob := e.connect(t, "orders", "bob").PgConn()
	var o proxy.Options
	withPolicy(t, "rules:\n  - {statement: connect, user: bob, action: deny}")(&o)
	if err := server.Reload(o.Settings); err != nil {
		t.Fatal(err)
	}
	_, _ = bob.ReceiveMessage(t.Context()) // that it is over
	stop()
	var ends []string
	for _, r := range records.FilterMessage("session ended").All() {
		client := fmt.Sprint(r.ContextMap()["client"])
		if host, _, err := net.SplitHostPort(client); err == nil {
			client = host
		}
		ends = append(ends, fmt.Sprint(r.Level, " ", client, " ", r.ContextMap()["ended_by"]))
	}
	slices.Sort(ends)
	want := []string{"info 127.0.0.1 client", "info 127.0.0.1 policy", "info 127.0.0.1 server", "info local client"}
	if diff := cmp.Diff(want, ends); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}

// TestReload: settings change under sessions that go on.
func TestReload(t *testing.T) {
	database(t, scoped(), "orders")
	allow := allowAll(t)
	server, stop := serve(t, scoped(), quiet, permissive(t))
	t.Cleanup(stop)
	e := reach(t, server.Addresses()[0])
	c := e.connect(t, "orders", "postgres")
	if err := server.Reload(proxy.Settings{Policy: allow, Auth: proxy.AuthVerify}); err == nil {
		t.Error("settings in force that cannot be") // there is no admin connection
	}
	if err := server.Reload(proxy.Settings{Policy: allow, Limits: proxy.Limits{Connections: 1}, Mode: "explicit"}); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), e.dsn("orders", "postgres")); !strings.HasPrefix(ending(err), "FATAL 53300") {
		t.Errorf("one connection more: error %v, want FATAL 53300", err)
	}
	mode := func(c *pgx.Conn) (mode string) {
		t.Helper()
		if err := c.QueryRow(t.Context(), "SHOW pgscope.mode").Scan(&mode); err != nil {
			t.Error(err)
		}
		return mode
	}
	if got := mode(c); got != "transparent" {
		t.Errorf("the session under way is in mode %s", got)
	}
	if err := server.Reload(proxy.Settings{Policy: allow, Mode: "explicit"}); err != nil {
		t.Fatal(err)
	}
	if got := mode(e.connect(t, "orders", "postgres")); got != "explicit" {
		t.Errorf("a new session is in mode %s", got)
	}
	if err := server.Reload(proxy.Settings{Policy: allow, Timeouts: proxy.Timeouts{Idle: time.Second}}); err != nil {
		t.Fatal(err)
	}
	_, err := c.PgConn().ReceiveMessage(t.Context())
	if got := ending(err); !strings.HasPrefix(got, "FATAL 57P05") {
		t.Errorf("the session under way has no timeout: %s", got)
	}
}

// heap is what the process needs now, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// most is how much memory the proxy may need for a peer that does not read, with the test's own.
const most = 24 << 20

// TestClientThatDoesNotRead: a result of a GB waits in the server, not in the proxy.
func TestClientThatDoesNotRead(t *testing.T) {
	database(t, scoped(), "orders")
	e := start(t, scoped(), permissive(t))
	c := e.connect(t, "orders", "postgres").PgConn()
	before := heap()
	c.Frontend().Send(&pgproto3.Query{String: "SELECT repeat('x', 1 << 20) FROM generate_series(1, 1 << 10)"})
	if err := c.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	awaitSome(t, scoped(), `datname = 'orders' AND wait_event = 'ClientWrite'`)
	for rows := 0; ; {
		if rows%64 == 0 {
			if now := heap(); now > before+most {
				t.Fatalf("%d MiB after %d rows", (now-before)>>20, rows)
			}
		}
		m, err := c.Frontend().Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m.(type) {
		case *pgproto3.DataRow:
			rows++
		case *pgproto3.ReadyForQuery:
			if rows != 1<<10 {
				t.Errorf("%d rows", rows)
			}
			return
		}
	}
}

// TestServerThatDoesNotRead: what a client says to a server that is busy waits in the client.
func TestServerThatDoesNotRead(t *testing.T) {
	database(t, scoped(), "orders")
	e := start(t, scoped(), quiet, permissive(t))
	c := e.connect(t, "orders", "postgres").PgConn()
	c.Frontend().Send(&pgproto3.Query{String: "SELECT pg_sleep(600)"})
	if err := c.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	awaitSome(t, scoped(), asleep)
	before := heap()
	message, err := (&pgproto3.Query{String: "SELECT '" + strings.Repeat("x", 1<<20) + "'"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody takes so much; the deadline ends the wait for that.
	if err := c.Conn().SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for err == nil && sent < 512<<20 {
		var n int
		n, err = c.Conn().Write(message)
		sent += n
	}
	if err == nil {
		t.Errorf("%d MiB were taken", sent>>20)
	}
	if now := heap(); now > before+most {
		t.Errorf("%d MiB for %d MiB that were sent", (now-before)>>20, sent>>20)
	}
	_ = c.Conn().Close() // the rest of a message is missing
	scoped().Psql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+asleep)
}
