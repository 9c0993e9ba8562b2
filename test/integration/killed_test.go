package integration

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// middle is something that is cut off in the middle of what it does: there it waits for the transaction of a blocker.
type middle struct {
	renamed string // a further statement, from outside
	blocker string // on a direct connection to database "in"
	in      string
	run     func(t *testing.T, via endpoint, c *pgtest.Cluster) // what is cut off; nil: the sweep at a proxy's start
	home    string                                              // where the roles are when it was cut off and a sweep has been made; empty: nowhere
	after   []string                                            // what roles there are then
}

// through runs a statement through the proxy in a database, by the simple or the extended protocol.
func through(database, sql string, extended bool) func(*testing.T, endpoint, *pgtest.Cluster) {
	return func(t *testing.T, via endpoint, _ *pgtest.Cluster) {
		conn, err := pgconn.Connect(t.Context(), via.dsn(database, "postgres"))
		if err != nil {
			t.Error(err)
			return
		}
		if extended {
			err = conn.ExecParams(t.Context(), sql, nil, nil, nil, nil).Read().Err
		} else {
			_, err = conn.Exec(t.Context(), sql).ReadAll()
		}
		if err == nil {
			t.Error("it was not cut off")
		}
		_ = conn.Close(context.WithoutCancel(t.Context())) // it is broken
	}
}

const (
	schemaWithRole = `CREATE SCHEMA sales; CREATE TABLE sales.t (a int);`
	holdDatabase   = `BEGIN; COMMENT ON DATABASE orders IS 'mine'`
)

var middles = map[string]middle{
	"rename a database": {
		blocker: holdDatabase, in: "postgres", run: through("postgres", "ALTER DATABASE orders RENAME TO store", false), home: "orders", after: withSchema("orders"),
	},
	"rename a database, extended": {
		blocker: holdDatabase, in: "postgres", run: through("postgres", "ALTER DATABASE orders RENAME TO store", true), home: "orders", after: withSchema("orders"),
	},
	"rename a schema": {
		blocker: "BEGIN; LOCK TABLE pg_namespace IN SHARE MODE", in: "orders", run: through("orders", "ALTER SCHEMA sales RENAME TO trade", false), home: "orders", after: withSchema("orders"),
	},
	"drop a schema": {
		blocker: "BEGIN; GRANT SELECT ON t TO orders_sales_clerk", in: "orders", run: through("orders", "DROP SCHEMA sales CASCADE", false), home: "orders", after: ordersRoles,
	},
	"the sweep renames": {
		renamed: "ALTER DATABASE orders RENAME TO store", blocker: "BEGIN; ALTER ROLE orders_reader CONNECTION LIMIT 5", in: "postgres", home: "store", after: withSchema("store"),
	},
	"the sweep drops": {
		renamed: "DROP DATABASE orders", blocker: "BEGIN; CREATE TABLE u (a int); GRANT SELECT ON u TO orders_reader", in: "postgres",
	},
}

// withSchema are the roles of a database with one of its schema sales.
func withSchema(database string) []string {
	return sorted([]string{
		database + "_app", database + "_reader", database + "_sales_clerk", "pgscope_db_" + database, "pgscope_schema_" + database + "_sales",
	})
}

// TestKilledInTheMiddle kills the server, or the proxy, while it moves or drops the roles of a scope. Nothing is half done
// for good: either it did not happen, or a sweep ends it.
func TestKilledInTheMiddle(t *testing.T) {
	for name, m := range middles {
		for _, victim := range []string{"server", "proxy"} {
			t.Run(name+", "+victim, func(t *testing.T) {
				t.Parallel()
				c := pgtest.Start(t, pgtest.Options{Config: map[string]string{"synchronous_commit": "on"}}) // what was done before stays
				m.cutOff(t, c, victim)

				for range 2 {
					for _, database := range strings.Fields(c.Psql(t, "postgres", "SELECT datname FROM pg_database WHERE datname !~ '^template'")) {
						conn := direct(c).connect(t, database, "postgres").PgConn()
						if _, err := provision.Sweep(t.Context(), conn); err != nil {
							t.Fatal(err)
						}
						if err := conn.Close(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
				if diff := cmp.Diff(m.after, roles(t, c), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("roles (-want +got):\n%s", diff)
				}
				if m.home == "" {
					return
				}
				got := start(t, c).psql(t, m.home, "postgres", "CREATE ROLE late IN ROLE reader;\nDROP ROLE late;\n")
				if want := "CREATE ROLE late IN ROLE reader;\nCREATE ROLE\nDROP ROLE late;\nDROP ROLE\n"; got != want {
					t.Errorf("afterwards: %s", got)
				}
			})
		}
	}
}

// cutOff brings a cluster to the middle, and kills the victim there.
func (m middle) cutOff(t *testing.T, c *pgtest.Cluster, victim string) {
	c.Psql(t, "postgres", "CREATE DATABASE orders")
	direct(c).psql(t, "orders", "postgres", schemaWithRole+"CREATE TABLE t (a int);")
	via, kill := run(t, c, quiet, permissive(t), grace(time.Nanosecond))
	defer kill()
	via.psql(t, "orders", "postgres", "CREATE ROLE reader; CREATE USER app IN ROLE reader;\nCREATE ROLE sales.clerk; GRANT SELECT ON sales.t TO sales.clerk;")
	if m.renamed != "" {
		c.Psql(t, "postgres", m.renamed)
	}
	blocker, err := pgconn.Connect(t.Context(), direct(c).dsn(m.in, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blocker.Exec(t.Context(), m.blocker).ReadAll(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	if m.run == nil {
		admin, err := pgconn.ParseConfig(c.DSN("sslmode=disable"))
		if err != nil {
			t.Fatal(err)
		}
		_, kill = run(t, c, quiet, grace(time.Nanosecond), func(o *proxy.Options) { o.Admin = admin })
		close(ended)
	} else {
		go func() {
			defer close(ended)
			m.run(t, via, c)
		}()
	}
	awaitSome(t, c, "wait_event_type = 'Lock'")
	if victim == "server" {
		if err := errors.Join(c.Kill(), c.Restart()); err != nil {
			t.Fatal(err)
		}
		kill()
	} else {
		kill()
		c.Psql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
		if _, err := blocker.Exec(t.Context(), "ROLLBACK").ReadAll(); err != nil {
			t.Error(err)
		}
	}
	<-ended
	if err := blocker.Close(context.WithoutCancel(t.Context())); err != nil && victim == "proxy" && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
