package integration

import (
	"os"
	"path/filepath"
	"regexp"
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
