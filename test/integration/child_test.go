package integration

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// childUpstream is the variable of the environment that makes this program a proxy in front of that server, for tests that
// kill one.
const childUpstream = "PGSCOPE_TEST_CHILD_UPSTREAM"

// child runs such a proxy. It prints its address, and works until it is killed or its parent is gone.
func child(dsn string) error {
	upstream, err := proxy.NewUpstream(dsn)
	if err != nil {
		return err
	}
	allow, err := policy.Parse("allow.yaml", []byte("rules: [{action: allow}]"))
	if err != nil {
		return err
	}
	s, err := proxy.New(proxy.Options{Listen: []string{"127.0.0.1:0"}, Upstream: upstream, Settings: proxy.Settings{Policy: allow}})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := s.Listen(ctx); err != nil {
		return err
	}
	fmt.Println(s.Addresses()[0])
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // ends with the parent
		stop()
	}()
	return s.Run(ctx)
}

// startChild starts a proxy as a process of its own. kill ends it at once.
func startChild(t *testing.T, c *pgtest.Cluster) (via endpoint, pid int, kill func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childUpstream+"="+c.DSN("sslmode=disable"))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()         // killed
	}
	t.Cleanup(kill)
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return reach(t, strings.TrimSpace(address)), cmd.Process.Pid, kill
}

// TestProxyKilled kills the proxy (SIGKILL) while the server is at a statement that makes, changes or drops roles: another
// session holds the lock that it waits for. What was begun is there whole or not at all, or another proxy's sweep makes
// it so.
func TestProxyKilled(t *testing.T) {
	c := scoped()
	for _, k := range []struct {
		name, in string
		say      []pgproto3.FrontendMessage
		whole    string // databases and roles; or as they were
	}{
		{"CREATE ROLE", "orders", []pgproto3.FrontendMessage{&query{String: "CREATE ROLE new"}}, "orders: new reader"},
		{"CREATE ROLE, extended", "orders", pipeline(statement("CREATE ROLE new"), syncPoint()), "orders: new reader"},
		{"string of statements", "orders", []pgproto3.FrontendMessage{&query{String: "CREATE ROLE new; GRANT new TO reader; CREATE ROLE more"}}, "orders: more new reader IN new"},
		{"transaction", "orders", []pgproto3.FrontendMessage{&query{String: "BEGIN"}, &query{String: "CREATE ROLE new"}, &query{String: "COMMIT"}}, "orders: new reader"},
		{"ALTER ROLE … RENAME", "orders", []pgproto3.FrontendMessage{&query{String: "ALTER ROLE reader RENAME TO new"}}, "orders: new"},
		{"DROP ROLE", "orders", []pgproto3.FrontendMessage{&query{String: "DROP ROLE reader"}}, "orders:"},
		{"RENAME DATABASE", "billing", []pgproto3.FrontendMessage{&query{String: "ALTER DATABASE orders RENAME TO sales"}}, "sales: reader"},
		{"DROP DATABASE", "billing", []pgproto3.FrontendMessage{&query{String: "DROP DATABASE orders"}}, ""},
	} {
		t.Run(k.name, func(t *testing.T) {
			database(t, c, "billing")
			database(t, c, "orders")
			t.Cleanup(func() { c.Psql(t, "postgres", "DROP DATABASE IF EXISTS sales WITH (FORCE)") })
			maker := start(t, c, permissive(t)).open(t, "orders", "postgres")
			maker.query("CREATE ROLE reader")
			maker.conn.Close()
			awaitNone(t, c, "datname = 'orders'")
			before := inventory(t, c)

			lock := direct(c).connect(t, "postgres", "postgres")
			if _, err := lock.Exec(t.Context(), "BEGIN; LOCK pg_catalog.pg_authid IN SHARE MODE"); err != nil {
				t.Fatal(err)
			}
			via, _, kill := startChild(t, c)
			d := via.open(t, k.in, "postgres")
			d.say(k.say...)
			awaitSome(t, c, fmt.Sprintf("datname = '%s' AND wait_event_type = 'Lock'", k.in))
			kill()
			if _, err := lock.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			awaitNone(t, c, "datname IN ('orders', 'billing', 'sales')")
			d.toTheEnd()
			sweepAll(t, c)
			if got := inventory(t, c); got != before && got != k.whole {
				t.Errorf("before %q, whole %q, got %q", before, k.whole, got)
			}
		})
	}
}

// sweepAll does what a proxy does at its start.
func sweepAll(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), c.DSN("sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }() // nothing was written that matters
	if _, err := provision.Sweep(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
}

// inventory lists the databases that are not there from the beginning, with their roles.
func inventory(t *testing.T, c *pgtest.Cluster) string {
	t.Helper()
	var all []string
	for _, name := range []string{"orders", "sales"} {
		list := strings.TrimSpace(name + ": " + strings.Join(memberships(t, c, name+"_"), " "))
		there := strings.TrimSpace(c.Psql(t, "postgres", "SELECT 1 FROM pg_database WHERE datname = '"+name+"'")) != ""
		if there || list != name+":" {
			all = append(all, list)
		}
	}
	return strings.Join(all, "; ")
}
