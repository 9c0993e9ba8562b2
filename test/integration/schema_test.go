package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// modes are the protocols that statements are sent by.
var modes = map[string]pgx.QueryExecMode{
	"simple":   pgx.QueryExecModeSimpleProtocol,
	"extended": pgx.QueryExecModeExec,
	"prepared": pgx.QueryExecModeDescribeExec,
}

// step is a statement and what comes of it: "" where it succeeds, else the SQLSTATE and the message of the error.
type step struct{ sql, err string }

func play(t *testing.T, c *pgx.Conn, mode pgx.QueryExecMode, steps []step) {
	t.Helper()
	for _, s := range steps {
		_, err := c.Exec(t.Context(), s.sql, mode)
		if got := outcome(err); got != s.err {
			t.Errorf("%s\ngot:  %q\nwant: %q", s.sql, got, s.err)
		}
	}
}

func outcome(err error) string {
	var e *pgconn.PgError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code + " " + e.Message
	default:
		return err.Error()
	}
}

// members lists who is a member of whom among the roles that are not PostgreSQL's own.
func members(t testing.TB, c *pgtest.Cluster) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(c.Psql(t, "postgres", `SELECT r.rolname || ' < ' || g.rolname FROM pg_auth_members m
		JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
		WHERE g.rolname !~ '^pg_' AND r.rolname <> 'postgres' ORDER BY 1`)), "\n")
}

// TestSchemaRoles takes roles of a schema through their life in each protocol, beside a database with a schema and a role
// of the same names.
func TestSchemaRoles(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			database(t, scoped(), "orders")
			database(t, scoped(), "billing")
			via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
			before := roles(t, scoped())
			for _, db := range []string{"orders", "billing"} {
				play(t, via.connect(t, db, "postgres"), mode, []step{
					{`CREATE ROLE sales.customer`, `3F000 schema "sales" does not exist`},
					{`CREATE SCHEMA sales`, ``},
					{`CREATE SCHEMA hr`, ``},
					{`CREATE TABLE sales.t (a int)`, ``},
					{`CREATE ROLE sales.customer`, ``},
					{`CREATE ROLE sales.customer`, `42710 role "sales.customer" already exists`},
					{`CREATE ROLE sales_customer`, `42710 role "sales_customer" already exists`},
					{`CREATE ROLE customer`, ``},
					{`CREATE ROLE hr.customer IN ROLE sales.customer, customer`, ``},
					{`GRANT USAGE ON SCHEMA sales TO sales.customer`, ``},
					{`GRANT SELECT ON sales.t TO sales.customer`, ``},
					{`SET ROLE sales.customer`, ``},
					{`SELECT * FROM sales.t`, ``},
					{`SET ROLE customer`, ``},
					{`SELECT * FROM sales.t`, `42501 permission denied for schema sales`},
					{`SET search_path = hr, sales`, ``},
					{`SET ROLE customer`, ``}, // may not use those schemas: the database's
					{`SELECT * FROM sales.t`, `42501 permission denied for schema sales`},
					{`RESET ROLE`, ``},
					{`SET ROLE customer`, ``}, // that of hr, a member of that of sales
					{`SELECT * FROM sales.t`, ``},
					{`RESET ROLE`, ``},
					{`RESET search_path`, ``},
					{`ALTER ROLE hr.customer RENAME TO client`, ``},
					{`ALTER ROLE "hr.client" RENAME TO "hr.buyer"`, ``}, // as texts show them
					{`ALTER ROLE "hr.buyer" RENAME TO client`, ``},
					{`DROP ROLE hr.customer`, `42704 role "hr.customer" does not exist`},
					{`ALTER ROLE hr.client RENAME TO sales.client`, `0A000 role "hr.client" cannot be moved to schema "sales"`},
					{`ALTER TABLE sales.t OWNER TO hr.client`, ``},
					{`DROP ROLE hr.client`, `2BP01 role "hr.client" cannot be dropped because some objects depend on it`},
					{`GRANT sales.customer TO sales.customer`, `0LP01 role "sales.customer" is a member of role "sales.customer"`},
					{`GRANT sales.nobody TO hr.client`, `42704 role "sales.nobody" does not exist`},
					{`SET ROLE sales.nobody`, `22023 role "sales.nobody" does not exist`},
					{`DROP ROLE IF EXISTS sales.nobody, nowhere.nobody`, ``},
					{`SET ROLE 'sales.customer'`, ``},
					{`RESET ROLE`, ``},
					{`CREATE ROLE "sales.customer"`, `42710 role "sales.customer" already exists`},
				})
			}
			var want []string
			for _, db := range []string{"billing", "orders"} {
				want = append(want,
					db+"_customer", db+"_hr_client", db+"_sales_customer",
					"pgscope_db_"+db, "pgscope_schema_"+db+"_hr", "pgscope_schema_"+db+"_sales")
			}
			slices.Sort(want)
			got := slices.DeleteFunc(roles(t, scoped()), func(r string) bool { return slices.Contains(before, r) })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("roles (-want +got):\n%s", diff)
			}
			want = nil
			for _, db := range []string{"billing", "orders"} {
				want = append(want,
					db+"_customer < pgscope_db_"+db,
					db+"_hr_client < "+db+"_customer",
					db+"_hr_client < "+db+"_sales_customer",
					db+"_hr_client < pgscope_schema_"+db+"_hr",
					db+"_sales_customer < pgscope_schema_"+db+"_sales",
					"pgscope_schema_"+db+"_hr < pgscope_db_"+db,
					"pgscope_schema_"+db+"_sales < pgscope_db_"+db)
			}
			slices.Sort(want)
			got = members(t, scoped())
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("memberships (-want +got):\n%s", diff)
			}
			comment := scoped().Psql(t, "orders", `SELECT replace(replace(shobj_description('pgscope_schema_orders_sales'::regrole, 'pg_authid'),
				':' || (SELECT oid FROM pg_database WHERE datname = current_database()) || ',', ':DB,'),
				':' || 'sales'::regnamespace::oid || ',', ':NSP,')`)
			if want := `{"oid":DB,"database":"orders","prefix":"orders","schema":"sales","schemaoid":NSP,"version":1}` + "\n"; comment != want {
				t.Errorf("comment %s", comment)
			}
			for _, db := range []string{"billing", "orders"} {
				scoped().Psql(t, db, "DROP SCHEMA sales CASCADE")
			}
		})
	}
}

// TestSchemaRolesInTransactions: a role of a schema, and the schema's marker, come and go with their transaction.
func TestSchemaRolesInTransactions(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			database(t, scoped(), "orders")
			via := start(t, scoped())
			c := via.connect(t, "orders", "postgres")
			before := roles(t, scoped())
			play(t, c, mode, []step{
				{`BEGIN`, ``},
				{`CREATE SCHEMA sales`, ``},
				{`SET LOCAL search_path = sales`, ``},
				{`CREATE ROLE sales.customer`, ``},
				{`GRANT USAGE ON SCHEMA sales TO customer`, ``},
				{`SAVEPOINT a`, ``},
				{`CREATE ROLE sales.customer`, `42710 role "sales.customer" already exists`},
				{`SELECT 1`, `25P02 current transaction is aborted, commands ignored until end of transaction block`},
				{`ROLLBACK TO a`, ``},
				{`DROP SCHEMA sales`, ``}, // and with it its role
				{`DROP ROLE sales.customer`, `3F000 schema "sales" does not exist`},
				{`ROLLBACK`, ``},
			})
			if diff := cmp.Diff(before, roles(t, scoped())); diff != "" {
				t.Errorf("roles that a rollback left (-before +after):\n%s", diff)
			}
			play(t, c, mode, []step{
				{`BEGIN`, ``},
				{`CREATE SCHEMA sales`, ``},
				{`CREATE ROLE sales.customer`, ``},
				{`COMMIT`, ``},
				{`DROP SCHEMA sales`, ``},
				{`CREATE ROLE sales.clerk`, `3F000 schema "sales" does not exist`},
				{`CREATE SCHEMA sales`, ``}, // its namesake's role went with it
				{`CREATE ROLE sales.customer`, ``},
				{`CREATE ROLE sales.clerk`, ``},
				{`DROP SCHEMA sales`, ``},
				{`DROP ROLE sales.customer, sales.clerk`, `3F000 schema "sales" does not exist`},
			})
		})
	}
}

// TestSchemaOfOthers: what belongs to another database, or to another scope of this one, cannot be reached, whatever
// the underscores suggest.
func TestSchemaOfOthers(t *testing.T) {
	database(t, scoped(), "a")
	database(t, scoped(), "a_b")
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	const simple = pgx.QueryExecModeSimpleProtocol
	a, ab := via.connect(t, "a", "postgres"), via.connect(t, "a_b", "postgres")
	play(t, ab, simple, []step{
		{`CREATE SCHEMA c`, ``},
		{`CREATE ROLE c.x`, ``}, // a_b_c_x
		{`CREATE ROLE y`, ``},   // a_b_y
	})
	play(t, a, simple, []step{
		{`CREATE SCHEMA b_c`, ``},
		{`CREATE SCHEMA b`, ``},
		{`DROP ROLE b_c.x`, `42704 role "b_c.x" does not exist`},
		{`CREATE ROLE b_c.x`, `42710 role "b_c.x" already exists`},
		{`CREATE ROLE b_c.z`, ``}, // the readable name of the schema's marker is taken
		{`CREATE ROLE b.y`, `42710 role "b.y" already exists`},
		{`CREATE ROLE b.c_z`, `42710 role "b.c_z" already exists`},
		{`DROP ROLE b.c_z`, `42704 role "b.c_z" does not exist`},
		{`DROP ROLE b_c_z`, `42704 role "b_c_z" does not exist`},
		{`GRANT b_c.z TO a_b_c_z`, `42704 role "a_b_c_z" does not exist`},
		{`GRANT pgscope_schema_a_b_c TO CURRENT_USER`, `42704 role "pgscope_schema_a_b_c" does not exist`},
		{`CREATE ROLE b.x IN ROLE pgscope_db_a_b`, `42704 role "pgscope_db_a_b" does not exist`},
		{`DROP ROLE pgscope_schema.a_b_c`, `3F000 schema "pgscope_schema" does not exist`},
	})
	play(t, ab, simple, []step{
		{`DROP ROLE c_z`, `42704 role "c_z" does not exist`},
		{`DROP ROLE c.z`, `42704 role "c.z" does not exist`},
		{`DROP ROLE c.x`, ``},
	})
	got := scoped().Psql(t, "a", `SELECT g.rolname = format('pgscope_schema_%s_%s', d.oid, 'b_c'::regnamespace::oid) FROM pg_database d,
		pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE d.datname = 'a' AND m.member = 'a_b_c_z'::regrole`)
	if got != "t\n" {
		t.Errorf("the marker is called otherwise: %s", got)
	}
}

// TestSchemaRolesInExplicitMode: a qualified name is scoped, an unqualified one is the cluster's.
func TestSchemaRolesInExplicitMode(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), func(o *proxy.Options) { o.Mode = scope.Explicit })
	before := roles(t, scoped())
	play(t, via.connect(t, "orders", "postgres"), pgx.QueryExecModeExec, []step{
		{`CREATE SCHEMA sales`, ``},
		{`CREATE ROLE sales.customer`, ``},
		{`CREATE ROLE customer IN ROLE sales.customer`, ``},
		{`GRANT orders_sales_customer TO customer`, ``},
		{`ALTER ROLE sales.customer RENAME TO client`, ``},
		{`SET search_path = sales`, ``},
		{`DROP ROLE client`, `42704 role "client" does not exist`},
		{`COMMENT ON ROLE DBONLY client IS 'found along the path'`, ``},
	})
	got := slices.DeleteFunc(roles(t, scoped()), func(r string) bool { return slices.Contains(before, r) })
	want := []string{"customer", "orders_sales_client", "pgscope_db_orders", "pgscope_schema_orders_sales"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

// TestSchemaEnrolledAtOnce: sessions that make the first roles of a schema at the same time do not collide.
func TestSchemaEnrolledAtOnce(t *testing.T) {
	database(t, scoped(), "orders")
	scoped().Psql(t, "orders", "CREATE SCHEMA sales")
	via := start(t, scoped())
	var together sync.WaitGroup
	for i := range 8 {
		c := via.connect(t, "orders", "postgres")
		together.Go(func() {
			if _, err := c.Exec(t.Context(), fmt.Sprintf("CREATE ROLE sales.r%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	together.Wait()
	got := scoped().Psql(t, "orders", `SELECT count(*) FROM pg_auth_members WHERE roleid = 'pgscope_schema_orders_sales'::regrole
		AND member::regrole::text ~ '^orders_sales_r[0-7]$'`)
	if got != "8\n" {
		t.Errorf("%s of 8 roles are the schema's", strings.TrimSpace(got))
	}
}

// TestSchemaWaitsForTheOther: the second session waits for the transaction of the first that makes the marker, and goes
// on whether that commits or not.
func TestSchemaWaitsForTheOther(t *testing.T) {
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		t.Run(end, func(t *testing.T) {
			database(t, scoped(), "orders")
			scoped().Psql(t, "orders", "CREATE SCHEMA sales")
			via := start(t, scoped())
			first, second := via.connect(t, "orders", "postgres"), via.connect(t, "orders", "postgres")
			const simple = pgx.QueryExecModeSimpleProtocol
			play(t, first, simple, []step{{"BEGIN", ""}, {"CREATE ROLE sales.one", ""}})
			done := make(chan error, 1)
			go func() {
				_, err := second.Exec(context.WithoutCancel(t.Context()), "CREATE ROLE sales.two")
				done <- err
			}()
			play(t, first, simple, []step{{"SELECT 1", ""}, {end, ""}})
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSchemaAdministrator: who may not use the schema's marker is told so in words of the schema.
func TestSchemaAdministrator(t *testing.T) {
	database(t, scoped(), "orders")
	scoped().Psql(t, "orders", "CREATE SCHEMA sales; CREATE ROLE dba LOGIN")
	via := start(t, scoped())
	const simple = pgx.QueryExecModeSimpleProtocol
	play(t, via.connect(t, "orders", "postgres"), simple, []step{{"CREATE ROLE sales.one", ""}})
	play(t, via.connect(t, "orders", "dba"), simple, []step{
		{"CREATE ROLE sales.two", "42501 permission denied to create role"},
		{"DROP ROLE sales.one", "42501 permission denied to drop role"},
	})

	// An administrator of the database's roles makes the first one of a schema, and with it the marker.
	scoped().Psql(t, "orders", "CREATE SCHEMA hr; ALTER ROLE dba CREATEROLE; GRANT pgscope_db_orders TO dba WITH ADMIN OPTION")
	play(t, via.connect(t, "orders", "dba"), simple, []step{
		{"CREATE ROLE hr.one", ""},
		{"CREATE ROLE hr.two IN ROLE hr.one", ""},
		{"DROP ROLE hr.one, hr.two", ""},
	})
}

// TestUserInSearchPath: "$user" means the schema that is called as the client calls its role.
func TestUserInSearchPath(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	admin := via.connect(t, "orders", "postgres")
	const simple = pgx.QueryExecModeSimpleProtocol
	play(t, admin, simple, []step{
		{`CREATE ROLE "a""pp" LOGIN`, ``},
		{`CREATE ROLE reader LOGIN`, ``},
		{`GRANT reader TO "a""pp"`, ``},
		{`CREATE SCHEMA AUTHORIZATION "a""pp"`, ``},
		{`CREATE SCHEMA AUTHORIZATION reader`, ``},
		{`CREATE SCHEMA other`, ``},
		{`GRANT USAGE ON SCHEMA other TO PUBLIC`, ``},
	})
	path := func(c *pgx.Conn) (s string) {
		t.Helper()
		if err := c.QueryRow(t.Context(), "SELECT array_to_string(current_schemas(false), ',')", simple).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	expect := func(c *pgx.Conn, want string) {
		t.Helper()
		if got := path(c); got != want {
			t.Errorf("search path: %s, want %s", got, want)
		}
	}
	app := via.connect(t, "orders", `a"pp`)
	expect(app, `a"pp,public`)
	play(t, app, simple, []step{{`SET search_path = other, "$user"`, ``}})
	expect(app, `other,a"pp`)
	play(t, app, pgx.QueryExecModeExec, []step{{`SET ROLE reader`, ``}, {`SET search_path = "$user"`, ``}})
	expect(app, `reader`)
	play(t, app, simple, []step{{`RESET ROLE`, ``}, {`BEGIN`, ``}, {`SET LOCAL search_path = "$user"`, ``}})
	expect(app, `a"pp`)
	play(t, app, simple, []step{{`ROLLBACK`, ``}})
	expect(app, `reader`)

	// What brings the session's default back.
	play(t, app, simple, []step{{`RESET search_path`, ``}})
	expect(app, `a"pp,public`)
	play(t, app, simple, []step{{`SET search_path = other`, ``}, {`RESET ALL`, ``}})
	expect(app, `a"pp,public`)
	play(t, app, pgx.QueryExecModeExec, []step{{`SET search_path = other`, ``}, {`DISCARD ALL`, ``}})
	expect(app, `a"pp,public`)
	play(t, app, simple, []step{{`SET search_path = other; SET search_path TO DEFAULT`, ``}})
	expect(app, `a"pp,public`)
	play(t, app, simple, []step{{`SET search_path = other`, ``}, {`BEGIN`, ``}, {`SET LOCAL search_path TO DEFAULT`, ``}})
	expect(app, `a"pp,public`)
	play(t, app, simple, []step{{`COMMIT`, ``}})
	expect(app, `other`)
	play(t, app, simple, []step{{`BEGIN`, ``}, {`RESET search_path`, ``}})
	expect(app, `a"pp,public`)
	play(t, app, simple, []step{{`ROLLBACK`, ``}})
	expect(app, `other`)
	play(t, app, simple, []step{{`BEGIN`, ``}, {`RESET ALL`, ``}, {`SELECT 1/0`, `22012 division by zero`}, {`SELECT 1`, `25P02 current transaction is aborted, commands ignored until end of transaction block`}, {`ROLLBACK`, ``}})
	expect(app, `other`)
	play(t, app, simple, []step{{`RESET ALL; SET search_path = other`, ``}})
	expect(app, `other`)
	play(t, app, simple, []step{{`RESET ALL`, ``}})
	expect(app, `a"pp,public`)

	// What the role, the database and the client itself say is respected.
	play(t, admin, simple, []step{{`ALTER ROLE reader SET search_path = other, "$user"`, ``}})
	expect(via.connect(t, "orders", "reader"), `other,reader`)
	play(t, admin, simple, []step{{`ALTER ROLE reader SET search_path = other`, ``}})
	expect(via.connect(t, "orders", "reader"), `other`)
	given, err := pgx.Connect(t.Context(), via.dsn("orders", "reader")+` search_path='"$user",other'`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = given.Close(context.WithoutCancel(t.Context())) }()
	expect(given, `reader,other`)
	expect(admin, `public`)
}
