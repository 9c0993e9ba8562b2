package provision_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

func connect(t *testing.T, c *pgtest.Cluster, database, user string) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), c.DSN("dbname="+database, "user="+user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestEnrolAndAdminister(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.CreateDatabase(t, "orders")
	c.CreateDatabase(t, "billing")
	c.Psql(t, "postgres", "CREATE ROLE dba LOGIN CREATEROLE; CREATE ROLE orders_dba; CREATE ROLE pgscope_db_billing")
	conn := connect(t, c, "orders", "postgres")
	for range 2 {
		db, err := provision.Enrol(t.Context(), conn, "ord")
		if err != nil {
			t.Fatal(err)
		}
		if !db.Enrolled || db.Prefix != "ord" || db.Marker != "pgscope_db_orders" {
			t.Errorf("enrolled as %+v", db)
		}
		if err := provision.Administrator(t.Context(), conn, db, "dba"); err != nil {
			t.Error(err)
		}
		if err := provision.Administrator(t.Context(), conn, db, "ord_dba"); err == nil {
			t.Error("a role with the database's prefix administers it")
		}
	}
	if _, err := provision.Enrol(t.Context(), conn, "other"); err == nil {
		t.Error("enrolled with two prefixes")
	}
	if _, err := provision.Enrol(t.Context(), connect(t, c, "billing", "postgres"), ""); err == nil {
		t.Error("took somebody else's role for a marker")
	}

	dba := connect(t, c, "orders", "dba")
	if _, err := dba.Exec(t.Context(), "CREATE ROLE ord_app LOGIN IN ROLE pgscope_db_orders").ReadAll(); err != nil {
		t.Error(err)
	}
	_, err := dba.Exec(t.Context(), "SET ROLE pgscope_db_orders").ReadAll()
	if major, convErr := strconv.Atoi(c.Major); convErr != nil || (err != nil) != (major >= 16) {
		t.Errorf("PostgreSQL %s: the administrator becomes the marker: %v", c.Major, err)
	}
	list, err := provision.Roles(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	want := []scope.Listed{{Database: "orders", Name: "app", Cluster: "ord_app", Attributes: []string{"LOGIN"}}}
	if diff := cmp.Diff(want, list, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

// TestHardenMayNot: who may not close a database is told so, and changes nothing. The server only warns.
func TestHardenMayNot(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.CreateDatabase(t, "orders")
	c.Psql(t, "postgres", "CREATE ROLE somebody LOGIN; CREATE ROLE landlord LOGIN")
	if _, err := provision.Enrol(t.Context(), connect(t, c, "orders", "postgres"), ""); err != nil {
		t.Fatal(err)
	}
	privileges := func() string { return c.Psql(t, "postgres", "SELECT datacl FROM pg_database WHERE datname = 'orders'") }
	apply := func(user string) error {
		t.Helper()
		conn := connect(t, c, "orders", user)
		h, err := provision.Harden(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		return h.Apply(t.Context(), conn)
	}
	before := privileges()
	if err := apply("somebody"); err == nil || !strings.Contains(err.Error(), `everyone has CONNECT on database "orders" from role postgres, and role somebody may not take that away`) {
		t.Errorf("hardened: %v", err)
	}
	if after := privileges(); after != before {
		t.Errorf("privileges %s", after)
	}
	c.Psql(t, "postgres", "ALTER DATABASE orders OWNER TO landlord")
	if err := apply("landlord"); err != nil {
		t.Error(err)
	}
	if after := privileges(); !strings.Contains(after, "pgscope_db_orders=c/landlord") || !strings.Contains(after, "{=T/landlord,") { // everyone has TEMPORARY
		t.Errorf("privileges %s", after)
	}
}

// TestHardenStranger: a member of the marker that is no role of the database, nor administers them, is told
// of, and not taken for an administrator.
func TestHardenStranger(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.CreateDatabase(t, "orders")
	conn := connect(t, c, "orders", "postgres")
	db, err := provision.Enrol(t.Context(), conn, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Psql(t, "orders", "CREATE ROLE dba LOGIN CREATEROLE; CREATE ROLE hand LOGIN IN ROLE pgscope_db_orders; CREATE ROLE orders_app LOGIN NOINHERIT IN ROLE pgscope_db_orders")
	if err := provision.Administrator(t.Context(), conn, db, "dba"); err != nil {
		t.Fatal(err)
	}
	h, err := provision.Harden(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]scope.Cluster{"dba"}, h.Administrators); diff != "" {
		t.Errorf("administrators (-want +got):\n%s", diff)
	}
	if len(h.Warnings) != 1 || !strings.HasPrefix(h.Warnings[0], `role "hand" is a member of "pgscope_db_orders", but`) {
		t.Errorf("warnings: %q", h.Warnings)
	}
	if want := `GRANT CONNECT ON DATABASE "orders" TO "pgscope_db_orders", "dba", "orders_app"`; h.SQL[0] != want {
		t.Errorf("%s, want %s", h.SQL[0], want)
	}
}

// TestOneSweepAtATime: a sweep that need not wait leaves the work to the one that is under way.
func TestOneSweepAtATime(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.CreateDatabase(t, "orders")
	conn := connect(t, c, "orders", "postgres")
	if _, err := provision.Enrol(t.Context(), conn, ""); err != nil {
		t.Fatal(err)
	}
	first, second := connect(t, c, "postgres", "postgres"), connect(t, c, "postgres", "postgres")
	if _, err := first.Exec(t.Context(), scope.SweepLockSQL()).ReadAll(); err != nil {
		t.Fatal(err)
	}
	c.Psql(t, "postgres", "DROP DATABASE orders WITH (FORCE)")
	for _, left := range []bool{true, false} {
		if _, err := provision.TrySweep(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		got := c.Psql(t, "postgres", "SELECT rolname FROM pg_roles")
		if strings.Contains(got, "pgscope_db_orders") != left {
			t.Errorf("roles %q", got)
		}
		if _, err := first.Exec(t.Context(), scope.SweepUnlockSQL()).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}
