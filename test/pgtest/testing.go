package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// TB is the part of testing.TB that this package uses.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Start launches a cluster for one test and closes it at the test's end; the log of a failed test gets the server's.
// It fails, never skips, where no PostgreSQL can be had.
func Start(t TB, o Options) *Cluster {
	t.Helper()
	c, err := Launch(context.Background(), "", o)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("server log:\n%s", c.Log())
		}
		if err := c.Close(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return c
}

// launchShared makes the cluster of [Shared]. The reaper closes it: no test knows that it is the last.
var launchShared = sync.OnceValues(func() (*Cluster, error) {
	return Launch(context.Background(), "", Options{})
})

// Shared returns a cluster with default options that all tests of the process use, each in databases and with roles of
// its own. It lives until the process ends; tests must not stop it.
func Shared(t TB) *Cluster {
	t.Helper()
	c, err := launchShared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return c
}

// CreateDatabase makes a database for one test and drops it, with whatever sessions it has, at the test's end. Roles
// are the cluster's: the test drops its own, by DropRoles.
func (c *Cluster) CreateDatabase(t TB, name string) {
	t.Helper()
	ident := pgx.Identifier{name}.Sanitize()
	c.exec(t, "CREATE DATABASE "+ident)
	t.Cleanup(func() {
		if c.alive != nil { // the test may have stopped it
			c.exec(t, "DROP DATABASE IF EXISTS "+ident+" WITH (FORCE)")
		}
	})
}

// DropRoles drops the roles whose names match a regular expression, with what they have in
// database postgres and of the cluster.
func (c *Cluster) DropRoles(t TB, pattern string) {
	t.Helper()
	c.Psql(t, "postgres", `\set pattern '`+pattern+`'
SELECT format('DROP OWNED BY %1$I CASCADE; DROP ROLE %1$I', rolname) FROM pg_roles WHERE rolname ~ :'pattern' \gexec`)
}

// exec runs statements as the superuser, through the socket: that way is open whatever Options.HBA says.
func (c *Cluster) exec(t TB, sql string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.DSN("host="+c.SocketDir, "sslmode=disable"))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	if closeErr := conn.Close(ctx); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
}

// Reload has the server read its configuration again, and returns when new sessions are under it. pg_reload_conf only
// asks for that, and sessions that there are follow in their own time.
func (c *Cluster) Reload(t TB) {
	t.Helper()
	const loaded = "SELECT pg_conf_load_time()"
	before := c.Psql(t, "postgres", loaded)
	c.Psql(t, "postgres", "SELECT pg_reload_conf()")
	for c.Psql(t, "postgres", loaded) == before {
	}
}

// Await waits until a condition holds: an expression of SQL, about other sessions or about what has been replayed.
func (c *Cluster) Await(t TB, condition string) {
	t.Helper()
	c.exec(t, Awaiting(condition))
}

const (
	awaitPause   = 2 * time.Millisecond
	awaitTimeout = time.Minute // it only ends a test that hangs
)

// Awaiting is the statement by which a session waits until a condition holds. It fails where that never happens.
func Awaiting(condition string) string {
	return fmt.Sprintf(`DO $do$ BEGIN
	FOR i IN 1..%d LOOP
		PERFORM pg_stat_clear_snapshot();
		IF %s THEN RETURN; END IF;
		PERFORM pg_sleep(%g);
	END LOOP;
	RAISE 'it does not come true: %%', $condition$%[2]s$condition$;
END $do$`, awaitTimeout/awaitPause, condition, awaitPause.Seconds())
}

// Psql runs a script in psql as the superuser, through the socket, and returns what it prints (unaligned, rows only).
// The first error in the script ends the test.
func (c *Cluster) Psql(t TB, database, script string) string {
	t.Helper()
	program := c.program("psql")
	if _, err := os.Stat(program); err != nil { // fetched servers come without clients
		if program, err = exec.LookPath("psql"); err != nil {
			t.Fatalf("pgtest: %v", err)
		}
	}
	cmd := exec.Command(program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-",
		c.DSN("host="+c.SocketDir, "sslmode=disable", "dbname='"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database)+"'"))
	// Nothing of the user's own PostgreSQL: no PGOPTIONS, no locale.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C", "PGCLIENTENCODING=UTF8"}
	cmd.Stdin = strings.NewReader(script)
	var out, diagnostics strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	if err := cmd.Run(); err != nil {
		t.Fatalf("psql: %v\n%s%s", err, &out, &diagnostics)
	}
	return out.String()
}
