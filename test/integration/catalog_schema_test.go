package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCatalogSchemaRoles runs scripts about a role of a schema, and compares with a plain server on which a role is called
// as texts show that: "sales.clerk".
func TestCatalogSchemaRoles(t *testing.T) {
	via := both(t)
	direct(plain()).psql(t, "orders", "postgres", `CREATE SCHEMA sales; CREATE ROLE "sales.clerk"`)
	via.psql(t, "orders", "postgres", `CREATE SCHEMA sales`)
	via.psql(t, "orders", "postgres", `CREATE ROLE sales.clerk`)
	scripts, err := filepath.Glob("testdata/schema/*.sql")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range append(scripts, "testdata/compat/catalog_psql.sql") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script := asSchemaRole(string(content))
			want := direct(plain()).psql(t, "orders", "postgres", script)
			got := via.psql(t, "orders", "postgres", script)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("direct (-) and through the proxy (+):\n%s", diff)
			}
		})
	}
}

// TestNamesakeOfASchema: what the server says, and what catalogs show, means the role that it is of, though a role of a
// schema on the search_path would be found by that name.
func TestNamesakeOfASchema(t *testing.T) {
	via := both(t)
	direct(plain()).psql(t, "orders", "postgres", `CREATE SCHEMA sales; CREATE ROLE app LOGIN; CREATE ROLE "sales.app"`)
	for _, sql := range []string{"CREATE SCHEMA sales; CREATE ROLE app LOGIN", "CREATE ROLE sales.app"} {
		via.psql(t, "orders", "postgres", sql)
	}
	const script = `
CREATE TABLE sales.theirs (a int); ALTER TABLE sales.theirs OWNER TO "sales.app";
CREATE TABLE mine (a int); ALTER TABLE mine OWNER TO app;
GRANT USAGE ON SCHEMA sales TO app;
SET SESSION AUTHORIZATION app;
SET search_path = sales, public;
SELECT relname FROM pg_class WHERE relowner = current_user::regrole;
SELECT relname FROM pg_class WHERE relowner = CAST(session_user AS regrole) OR relowner = to_regrole(user::text) OR relowner = regrole(current_role);
SELECT current_user::regrole, current_user::text::regrole::text, CAST(user AS regrole), regrole(session_user), to_regrole(current_user)::text, quote_ident(current_user)::regrole;
SELECT "current_user"()::regrole, to_regrole(quote_ident(user)), quote_ident(session_user::text)::regrole::text;
SELECT pg_get_userbyid(relowner)::regrole, to_regrole(pg_get_userbyid(relowner)), pg_get_userbyid(relowner)::text::regrole::oid = relowner FROM pg_class WHERE relname = 'mine';
SELECT pg_get_userbyid((SELECT oid FROM pg_roles WHERE rolname = 'app'))::regrole, pg_get_userbyid(unnest(ARRAY[c.relowner]))::regrole FROM pg_class c WHERE relname = 'mine';
SELECT has_table_privilege(pg_get_userbyid(relowner), 'theirs', 'SELECT'), pg_has_role(pg_get_userbyid(relowner), 'sales.app', 'USAGE') FROM pg_class WHERE relname = 'mine';
SELECT has_table_privilege(current_user::text, 'theirs', 'SELECT'), has_table_privilege("session_user"(), 'theirs', 'SELECT'), pg_has_role(user, 'sales.app', 'USAGE');
SELECT rolname, has_table_privilege(rolname, 'theirs', 'SELECT'), has_table_privilege(rolname, 'mine', 'SELECT') FROM pg_roles WHERE rolname ~ 'app' ORDER BY 1;
SELECT rolname::regrole = oid FROM pg_roles WHERE rolname = 'app';
SELECT tableowner::regrole, to_regrole(t.tableowner), pg_has_role(tableowner, 'sales.app', 'MEMBER') FROM pg_tables t WHERE tablename = 'mine';
SELECT set_config('role', current_user, false);
SELECT current_setting('role')::regrole, to_regrole(current_setting('role')), has_table_privilege(current_setting('role'), 'theirs', 'SELECT');
SELECT set_config('role', rolname, false) FROM pg_roles WHERE rolname = 'app';
RESET SESSION AUTHORIZATION;
`
	want := direct(plain()).psql(t, "orders", "postgres", script)
	if diff := cmp.Diff(want, via.psql(t, "orders", "postgres", script)); diff != "" {
		t.Errorf("direct (-) and through the proxy (+):\n%s", diff)
	}
}

// asSchemaRole takes a script's role reader for one of a schema that is there already.
func asSchemaRole(script string) string {
	script = regexp.MustCompile(`(?m)^(CREATE|DROP) ROLE reader\b.*\n`).ReplaceAllString(script, "")
	script = regexp.MustCompile(`'reader'`).ReplaceAllString(script, "'sales.clerk'")
	return regexp.MustCompile(`\breader\b`).ReplaceAllString(script, `"sales.clerk"`)
}

// TestDumpSchemaRoles dumps a database with a role of a schema, restores it and dumps it again.
func TestDumpSchemaRoles(t *testing.T) {
	via := both(t)
	database(t, scoped(), "copy")
	t.Cleanup(func() { // before roles are dropped
		direct(scoped()).psql(t, "postgres", "postgres", "DROP DATABASE orders WITH (FORCE); DROP DATABASE copy WITH (FORCE);")
	})
	objects := asSchemaRole(objectsOf(t, "catalog_psql"))
	direct(plain()).psql(t, "orders", "postgres", `CREATE SCHEMA sales; CREATE ROLE "sales.clerk"; `+objects)
	for _, name := range []string{"orders", "copy"} {
		via.psql(t, name, "postgres", "CREATE SCHEMA sales")
		via.psql(t, name, "postgres", "CREATE ROLE sales.clerk")
	}
	via.psql(t, "orders", "postgres", objects)
	for _, options := range [][]string{nil, {"--schema-only", "--use-set-session-authorization"}} {
		want := direct(plain()).pgDump(t, "orders", "postgres", options...)
		got := via.pgDump(t, "orders", "postgres", options...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pg_dump %v, direct (-) and through the proxy (+):\n%s", options, diff)
		}
	}
	dump := via.pgDump(t, "orders", "postgres")
	if strings.Contains(dump, "server version mismatch") {
		return // there is nothing to restore
	}
	if !strings.Contains(dump, `TO "sales.clerk"`) || strings.Contains(dump, "orders_") {
		t.Errorf("this is no dump of the database:\n%s", dump)
	}
	via.psql(t, "copy", "postgres", strings.Join(createRole.FindAllString(objects, -1), "\n"))
	via.psql(t, "copy", "postgres", dump)
	if diff := cmp.Diff(dump, via.pgDump(t, "copy", "postgres")); diff != "" {
		t.Errorf("the dump (-) and that of what was restored from it (+):\n%s", diff)
	}
}
