package integration

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestOldCensus changes roles behind the back of a proxy that has listed them a moment ago, through another proxy and
// directly. What it knows may make it miss a global role for a while; it sees what becomes of the database's own at
// once, and nothing of other databases.
func TestOldCensus(t *testing.T) {
	for _, d := range []string{"orders", "billing", "orders_x", "app"} {
		database(t, scoped(), d)
	}
	via, other := start(t, scoped(), permissive(t)), start(t, scoped(), permissive(t))
	other.psql(t, "orders", "postgres", "CREATE ROLE reader; CREATE ROLE gone; CREATE ROLE again; CREATE ROLE x_z; CREATE ROLE was; CREATE ROLE an_other; CREATE TABLE t (a int); GRANT SELECT ON t TO reader, x_z")
	other.psql(t, "billing", "postgres", "CREATE ROLE clerk")
	t.Cleanup(func() { direct(scoped()).psql(t, "orders", "postgres", "DROP TABLE t") }) // before roles are dropped
	c := via.connect(t, "orders", "postgres")
	const list = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'"
	if got := one(t, c, list); got != "again an_other gone postgres reader was x_z" {
		t.Fatalf("roles %q", got)
	}

	other.psql(t, "orders", "postgres", "CREATE ROLE fresh; GRANT INSERT ON t TO fresh; DROP ROLE gone; DROP ROLE again; CREATE ROLE again; ALTER ROLE was RENAME TO now; REVOKE ALL ON t FROM x_z; DROP ROLE x_z")
	other.psql(t, "billing", "postgres", "CREATE ROLE alien SUPERUSER; CREATE ROLE alien_too")
	other.psql(t, "orders_x", "postgres", "CREATE ROLE y SUPERUSER; CREATE ROLE z SUPERUSER")
	other.psql(t, "app", "postgres", "CREATE ROLE admin")
	direct(scoped()).psql(t, "postgres", "postgres", `CREATE ROLE gone; CREATE ROLE boss; CREATE ROLE odd_job; CREATE ROLE big_boss; GRANT pgscope_db_billing TO boss, big_boss`)
	t.Cleanup(func() { direct(scoped()).psql(t, "postgres", "postgres", "DROP ROLE gone, boss, odd_job, big_boss") })

	if got := one(t, c, list); got != "again an_other fresh gone now odd_job postgres reader" {
		t.Errorf("the list has %s", got)
	}
	for name, want := range map[string]struct {
		rows       string
		privileges string // on t
	}{
		"reader": {"1", "r"}, "fresh": {"1", "i"}, "again": {"1", ""}, "now": {"1", ""}, "postgres": {"1", "ri"}, "odd_job": {"1", ""},
		"gone": {"0", missingRole}, // which it takes for one of the database's still
		"was":  {"0", missingRole}, "x_z": {"0", missingRole}, "nobody": {"0", missingRole}, "no_body": {"0", missingRole},
		"alien_too": {"0", missingRole}, "billing_alien": {"0", missingRole}, "billing_clerk": {"0", missingRole}, "app_admin": {"0", missingRole},
		"x_y": {"0", missingRole}, "orders_x_y": {"0", missingRole}, "orders_x_z": {"0", missingRole}, "orders_fresh": {"0", missingRole},
	} {
		ask := func(sql string) string { return one(t, c, strings.ReplaceAll(sql, "NAME", name)) }
		if got := ask("SELECT count(*)::text FROM pg_roles WHERE rolname = 'NAME'"); got != want.rows {
			t.Errorf("%s: %s rows, want %s", name, got, want.rows)
		}
		got := ask("SELECT concat(CASE WHEN has_table_privilege('NAME', 't', 'SELECT') THEN 'r' END, CASE WHEN has_table_privilege('NAME', 't', 'INSERT') THEN 'i' END)")
		if got != strings.ReplaceAll(want.privileges, "NAME", name) {
			t.Errorf("%s: privileges are %s, want %s", name, got, want.privileges)
		}
		there := "false"
		if want.privileges != missingRole {
			there = "true"
		}
		if got := ask("SELECT to_regrole('NAME') IS NOT NULL"); got != there {
			t.Errorf("%s: there is one: %s", name, got)
		}
	}
	if got := one(t, c, "SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = 't'"); !strings.HasSuffix(got, "/postgres reader=r/postgres fresh=a/postgres") {
		t.Errorf("the access list is %s", got)
	}

	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "CREATE ROLE mi_ne; GRANT SELECT ON t TO mi_ne; DROP ROLE an_other; CREATE ROLE an_other", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		"SELECT count(*)::text FROM pg_roles WHERE rolname = 'mi_ne'":     "1",
		"SELECT has_table_privilege('mi_ne', 't', 'SELECT')":              "true",
		"SELECT count(*)::text FROM pg_roles WHERE rolname = 'an_other'":  "1",
		"SELECT has_table_privilege('an_other', 't', 'SELECT')":           "false",
		"SELECT count(*)::text FROM pg_roles WHERE rolname LIKE '%mi%ne'": "1",
	} {
		if got := one(t, c, sql); got != want {
			t.Errorf("in its transaction, %s: %s", sql, got)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := one(t, c, "SELECT has_table_privilege('mi_ne', 't', 'SELECT')"); got != strings.ReplaceAll(missingRole, "NAME", "mi_ne") {
		t.Errorf("after it was undone: %s", got)
	}

	fresh := start(t, scoped(), permissive(t)).connect(t, "orders", "postgres")
	if got := one(t, fresh, list); got != "again an_other big_boss boss fresh gone now odd_job postgres reader" {
		t.Errorf("in a new list are %s", got)
	}
	for _, name := range []string{"gone", "boss", "big_boss", "an_other"} {
		if got := one(t, fresh, "SELECT count(*)::text FROM pg_roles WHERE rolname = '"+name+"'"); got != "1" {
			t.Errorf("after a new list there are %s of %s", got, name)
		}
	}
}

const missingRole = `role "NAME" does not exist`
