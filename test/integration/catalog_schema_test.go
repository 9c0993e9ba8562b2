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
