package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// goroutines runs the tests with the other driver of sessions: by default they are relayed by event loops.
var goroutines = flag.Bool("goroutines", false, "relay sessions by goroutines")

// apart has each text read as long ones are.
var apart = flag.Bool("apart", false, "read each text apart")

func TestMain(m *testing.M) {
	if dsn := os.Getenv(childUpstream); dsn != "" {
		if err := child(dsn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	for _, c := range launched {
		if err := c.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Two clusters: roles belong to a whole cluster, so a script that makes them can only be compared across two.
var (
	launched []*pgtest.Cluster
	plain    = sync.OnceValue(launch) // roles have the names that scripts say
	scoped   = sync.OnceValue(launch) // roles have the names that the proxy makes of them
)

func launch() *pgtest.Cluster {
	c, err := pgtest.Launch(context.Background(), "", pgtest.Options{Config: map[string]string{"wal_level": "logical", "max_prepared_transactions": "5"}})
	if err != nil {
		panic(err) // without a server there is nothing to test
	}
	launched = append(launched, c)
	return c
}

func major(t testing.TB, c *pgtest.Cluster) int {
	t.Helper()
	n, err := strconv.Atoi(c.Major)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// allowAll is the policy that leaves everything to the server.
func allowAll(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("allow.yaml", []byte("rules: [{action: allow}]"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// endpoint is where a client connects: a server or a proxy.
type endpoint struct {
	host string
	port int
}

func direct(c *pgtest.Cluster) endpoint { return endpoint{c.Host, c.Port} }

func (e endpoint) dsn(database, user string) string {
	return fmt.Sprintf("host=%s port=%d dbname='%s' user='%s' sslmode=disable", e.host, e.port, database, user)
}

// address is for TCP.
func (e endpoint) address() string { return net.JoinHostPort(e.host, strconv.Itoa(e.port)) }

// connect returns a connection that is closed with the test.
func (e endpoint) connect(t testing.TB, database, user string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), e.dsn(database, user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) }) // the test may have broken it
	return c
}

// psql runs a script and returns what psql shows of it: each statement, its result, its error.
func (e endpoint) psql(t testing.TB, database, user, script string) string {
	t.Helper()
	cmd := exec.Command("psql", "-X", "-a", "-v", "VERBOSITY=default", "-v", "SHOW_CONTEXT=errors", e.dsn(database, user))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C", "PGCLIENTENCODING=UTF8"}
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(out)
}

// start runs a proxy in front of a cluster until the test ends, and checks that it ends well.
func start(t testing.TB, c *pgtest.Cluster, change ...func(*proxy.Options)) endpoint {
	t.Helper()
	e, stop := run(t, c, change...)
	t.Cleanup(stop)
	return e
}

// run is start for tests that stop the proxy themselves.
func run(t testing.TB, c *pgtest.Cluster, change ...func(*proxy.Options)) (_ endpoint, stop func()) {
	t.Helper()
	s, stop := serve(t, c, change...)
	return reach(t, s.Addresses()[0]), stop
}

// serve is run for tests that have something to tell the proxy.
func serve(t testing.TB, c *pgtest.Cluster, change ...func(*proxy.Options)) (_ *proxy.Server, stop func()) {
	t.Helper()
	upstream, err := proxy.NewUpstream(c.DSN("sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	o := proxy.Options{
		Listen: []string{"127.0.0.1:0"}, Upstream: upstream, Goroutines: *goroutines,
		Settings: proxy.Settings{Policy: policy.Default(), Grace: 5 * time.Second},
		Log:      zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)),
	}
	if *apart {
		o.LongText = 1
	}
	for _, f := range change {
		f(&o)
	}
	s, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	if err := s.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("proxy: %v", err)
		}
	})
}

// reach reads the address of a listener: host:port, or the path of a socket as libpq names it.
func reach(t testing.TB, address string) endpoint {
	t.Helper()
	host, port, ok := strings.Cut(address, "/.s.PGSQL.")
	if !ok {
		var err error
		if host, port, err = net.SplitHostPort(address); err != nil {
			t.Fatal(err)
		}
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return endpoint{host, number}
}

// permissive is the option of a proxy that leaves everything to the server.
func permissive(t testing.TB) func(*proxy.Options) {
	p := allowAll(t)
	return func(o *proxy.Options) { o.Policy = p }
}

// both makes a database "orders" in each of the two clusters, and starts a proxy in front of the second that leaves
// everything to the server.
func both(t testing.TB) endpoint {
	t.Helper()
	database(t, plain(), "orders")
	database(t, scoped(), "orders")
	return start(t, scoped(), permissive(t))
}

// database makes a database in a cluster, and drops it at the test's end with all roles that the cluster did not have
// before.
func database(t testing.TB, c *pgtest.Cluster, name string) {
	t.Helper()
	ident := pgx.Identifier{name}.Sanitize()
	before := c.Psql(t, "postgres", "SELECT string_agg(quote_literal(rolname), ',') FROM pg_roles")
	c.Psql(t, "postgres", "CREATE DATABASE "+ident)
	t.Cleanup(func() {
		c.Psql(t, "postgres", fmt.Sprintf(`DROP DATABASE IF EXISTS %s WITH (FORCE);
			SELECT format('DROP OWNED BY %%I; DROP ROLE %%1$I', rolname) FROM pg_roles WHERE rolname NOT IN (%s) \gexec`, ident, before))
	})
}

// roles lists the cluster's roles that are not PostgreSQL's own.
func roles(t testing.TB, c *pgtest.Cluster) []string {
	t.Helper()
	return strings.Fields(c.Psql(t, "postgres", "SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)' ORDER BY 1"))
}

// memberships lists the roles of the cluster that begin with a prefix, without it, each with those that it is a member
// of. Markers are left out.
func memberships(t testing.TB, c *pgtest.Cluster, prefix string) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(c.Psql(t, "postgres", fmt.Sprintf(`
		WITH role AS (
			SELECT oid, substr(rolname, 1 + length(%[1]s)) AS name, rolcanlogin FROM pg_roles
			WHERE starts_with(rolname, %[1]s) AND rolname !~ '^(pg_|pgscope_|postgres$)')
		SELECT role.name || CASE WHEN role.rolcanlogin THEN ' LOGIN' ELSE '' END ||
			coalesce(' IN ' || string_agg(g.name, ', ' ORDER BY g.name), '')
		FROM role LEFT JOIN (pg_auth_members m JOIN role g ON g.oid = m.roleid) ON m.member = role.oid
		GROUP BY role.oid, role.name, role.rolcanlogin ORDER BY 1`, scope.QuoteLiteral(prefix)))), "\n")
}

// asleep is the condition of a query of a test that waits for its end. One that is only active may have said nothing yet.
const asleep = `datname = 'orders' AND query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'`

// awaitSome waits until the server has a session of some kind (a condition on pg_stat_activity), awaitNone until it has
// none any more.
func awaitSome(t testing.TB, c *pgtest.Cluster, condition string) {
	t.Helper()
	c.Await(t, some(condition))
}

func awaitNone(t testing.TB, c *pgtest.Cluster, condition string) {
	t.Helper()
	c.Await(t, none(condition))
}

func some(condition string) string {
	return "EXISTS (SELECT FROM pg_stat_activity WHERE " + condition + ")"
}

func none(condition string) string { return "NOT " + some(condition) }
