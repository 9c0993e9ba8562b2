package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// globals are the statements by which a dump of a cluster brings its roles, as pg_dumpall writes them.
const globals = `
	SELECT format('CREATE ROLE %I; ALTER ROLE %1$I WITH %s;', rolname, CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END)
	FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)';
	SELECT format('COMMENT ON ROLE %I IS %L;', rolname, description)
	FROM pg_roles JOIN pg_shdescription ON objoid = pg_roles.oid WHERE classoid = 'pg_authid'::regclass;
	SELECT format('GRANT %I TO %I;', g.rolname, m.rolname)
	FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member WHERE g.rolname !~ '^pg_'`

// TestRestoredIntoSwappedOIDs restores a cluster into one in which each of two databases has the OID that the other had.
// So a marker's OID says one database, its name the other, as after a renaming on direct connections. Nobody's roles are
// taken for those of the other database meanwhile.
func TestRestoredIntoSwappedOIDs(t *testing.T) {
	source, c := pgtest.Start(t, pgtest.Options{}), pgtest.Start(t, pgtest.Options{})
	oids := func(c *pgtest.Cluster) string {
		return c.Psql(t, "postgres", "SELECT string_agg(oid::text, ' ' ORDER BY datname) FROM pg_database WHERE datname IN ('orders', 'billing')")
	}
	source.Psql(t, "postgres", "CREATE DATABASE orders; \n CREATE DATABASE billing;")
	c.Psql(t, "postgres", "CREATE DATABASE billing; \n CREATE DATABASE orders;")
	first, second, _ := strings.Cut(strings.TrimSpace(oids(source)), " ")
	if got := strings.TrimSpace(oids(c)); got != second+" "+first {
		t.Fatalf("OIDs %s and %s before, %s now", first, second, got)
	}
	before := start(t, source)
	for _, database := range []string{"orders", "billing"} {
		before.psql(t, database, "postgres", "CREATE ROLE reader; CREATE USER app IN ROLE reader; CREATE SCHEMA s; CREATE ROLE s.one;")
		c.Psql(t, database, "CREATE SCHEMA s; CREATE TABLE t (a int)")
	}
	c.Psql(t, "postgres", source.Psql(t, "postgres", globals))

	server := func(database string) *pgconn.PgConn { return direct(c).connect(t, database, "postgres").PgConn() }
	warnings := func(database string) []string {
		t.Helper()
		list, err := provision.Sweep(t.Context(), server(database))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}

	via := start(t, c)
	const told = `ERROR 55000: the roles of database "orders" cannot be told from those of another database`
	d := via.open(t, "orders", "postgres")
	for _, sql := range []string{
		"GRANT SELECT ON t TO reader", "CREATE ROLE x", "DROP ROLE app", "ALTER ROLE billing_reader LOGIN", "SET ROLE reader",
		"GRANT s.one TO reader", "REVOKE reader FROM app", "CREATE ROLE s.two",
	} {
		if heard := d.query(sql); !strings.HasPrefix(heard[0], told) {
			t.Errorf("%s: heard %q", sql, heard)
		}
	}
	if heard := d.query("ALTER SCHEMA s RENAME TO s2"); !strings.HasPrefix(heard[0], `ERROR 0A000: roles of database "orders" cannot be told from those of database "billing"`) {
		t.Errorf("heard %q", heard)
	}
	if diff := cmp.Diff([]string{"done GRANT", "ready I"}, d.query("GRANT SELECT ON t TO PUBLIC")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"columns ?column?:23:0", `row "1"`, "done SELECT 1", "ready I"}, d.query("SELECT 1")); diff != "" {
		t.Error(diff)
	}
	for _, user := range []string{"app", "orders_app", "billing_app"} {
		if _, failure := logIn(t, start(t, c, quiet), user, ""); failure == nil || failure.Code != "28000" {
			t.Errorf("%s logs in, %v", user, failure)
		}
	}
	if warnings := warnings("postgres"); len(warnings) != 4 { // the markers of two databases and of two schemas
		t.Errorf("the sweep says %q", warnings)
	}

	// A person says what is what, of one of them; with it the other is certain too.
	claim := func(database, marker string) error {
		return provision.Claim(t.Context(), server(database), scope.Cluster(marker))
	}
	for database, marker := range map[string]string{"postgres": "pgscope_db_orders", "orders": "orders_reader"} {
		if err := claim(database, marker); err == nil {
			t.Errorf("%s claims %s", database, marker)
		}
	}
	for range 2 {
		if err := claim("orders", "pgscope_db_orders"); err != nil {
			t.Fatal(err)
		}
	}
	if err := claim("billing", "pgscope_db_orders"); err == nil {
		t.Error("billing claims what is certain")
	}
	for _, database := range []string{"billing", "orders"} {
		if warnings := warnings(database); warnings != nil {
			t.Errorf("the sweep in %s says %q", database, warnings)
		}
	}
	via = start(t, c)
	for _, database := range []string{"orders", "billing"} {
		got := via.psql(t, database, "postgres", "GRANT SELECT ON t TO reader, s.one;\nCREATE ROLE late;\nCREATE ROLE s.two;\n")
		if want := "GRANT SELECT ON t TO reader, s.one;\nGRANT\nCREATE ROLE late;\nCREATE ROLE\nCREATE ROLE s.two;\nCREATE ROLE\n"; got != want {
			t.Errorf("%s: %s", database, got)
		}
		if got := c.Psql(t, database, "SELECT grantee FROM information_schema.role_table_grants WHERE table_name = 't' AND grantee NOT IN ('postgres', 'PUBLIC') ORDER BY 1"); got != database+"_reader\n"+database+"_s_one\n" {
			t.Errorf("%s: granted to %s", database, got)
		}
	}
}

// TestRestoredSchemas restores a cluster with roles of schemas. The markers keep the OIDs that they had, of
// which one is that of another schema now. Until a sweep runs in their database, what happens to schemas happens
// to the roles of those that are named so.
func TestRestoredSchemas(t *testing.T) {
	source, c := pgtest.Start(t, pgtest.Options{}), pgtest.Start(t, pgtest.Options{})
	source.CreateDatabase(t, "another") // so that no OID is the same in the other cluster
	source.CreateDatabase(t, "orders")
	source.Psql(t, "orders", "SELECT count(lo_create(0)) FROM generate_series(1, 1000)")
	start(t, source).psql(t, "orders", "postgres", "CREATE SCHEMA sales; CREATE SCHEMA hr;\nCREATE ROLE sales.clerk; CREATE ROLE hr.boss;\n")
	sales := strings.TrimSpace(source.Psql(t, "orders", "SELECT 'sales'::regnamespace::oid"))

	c.CreateDatabase(t, "orders")
	c.Psql(t, "orders", fmt.Sprintf(`CREATE SCHEMA sales; CREATE SCHEMA tmp; CREATE SCHEMA temp; CREATE SCHEMA hr;
		DO $$ BEGIN WHILE 'hr'::regnamespace::oid < %[1]s LOOP DROP SCHEMA hr; CREATE SCHEMA hr; END LOOP; ASSERT 'hr'::regnamespace::oid = %[1]s; END $$`, sales))
	c.Psql(t, "postgres", source.Psql(t, "postgres", globals))
	if warnings, err := provision.Sweep(t.Context(), direct(c).connect(t, "postgres", "postgres").PgConn()); err != nil || warnings != nil {
		t.Fatalf("the sweep says %q, %v", warnings, err)
	}
	d := start(t, c).open(t, "orders", "postgres")
	for _, step := range []struct{ sql, roles string }{
		{"ALTER SCHEMA hr RENAME TO staff", "orders_sales_clerk orders_staff_boss"},
		{"DROP SCHEMA tmp", "orders_sales_clerk orders_staff_boss"},
		{"ALTER SCHEMA sales RENAME TO shop", "orders_shop_clerk orders_staff_boss"},
		{"DROP SCHEMA temp", "orders_shop_clerk orders_staff_boss"},
		{"CREATE ROLE shop.late; GRANT shop.clerk TO staff.boss", "orders_shop_clerk orders_shop_late orders_staff_boss"},
		{"DROP SCHEMA shop", "orders_staff_boss"},
		{"DROP SCHEMA staff", ""},
	} {
		heard := d.query(step.sql)
		if last := heard[len(heard)-2]; !strings.HasPrefix(last, "done ") {
			t.Errorf("%s: heard %q", step.sql, heard)
		}
		if got := strings.TrimSpace(c.Psql(t, "postgres", "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'orders%'")); got != step.roles {
			t.Errorf("%s: roles %s", step.sql, got)
		}
	}
}

// TestSchemaMadeAgain: a schema that is made again while a role of its namesake had to stay goes on with that one's
// marker, and its roles are no dropped schema's.
func TestSchemaMadeAgain(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	schemaRoles(t)
	estate().Psql(t, "orders", "GRANT SELECT ON t TO orders_sales_clerk; CREATE SCHEMA tmp; CREATE SCHEMA temp")
	s := via.speaker(t, "orders", "postgres")
	s.run = func(sql string) error { _, err := s.Exec(t.Context(), sql); return err }
	s.must(t, "DROP SCHEMA sales CASCADE", "CREATE SCHEMA sales", "CREATE ROLE sales.late", "DROP SCHEMA tmp")
	wantRoles(t, sorted(ordersRoles, salesRoles, shopRoles, []string{"orders_sales_late"})...)
	s.must(t, "ALTER SCHEMA sales RENAME TO trade", "DROP SCHEMA temp")
	wantRoles(t, sorted(ordersRoles, shopRoles, []string{"orders_trade_clerk", "orders_trade_late", "pgscope_schema_orders_trade"})...)
}
